//! Guests that DHCPv6 knows by what they call themselves: by which device they came, so that they are let
//! through to the server.
//!
//! Kept by the agent as it hears them. Pure.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{Family, Segment};
use crate::types::{Identifier, Identity, MacAddr};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Newcomer {
    /// What it calls itself.
    pub duid: Identifier,
    /// Whose frame it was.
    pub mac_address: MacAddr,
    /// The link-local address that it asked from.
    pub link_local: Ipv6Addr,
}

impl Segment {
    /// By what the server knows guests of DHCPv6, but for MAC addresses.
    pub fn duids(&self) -> impl Iterator<Item = &Identifier> {
        let hosts = self.server.iter().flat_map(|server| server.hosts.entries.keys());
        hosts.filter_map(|(identity, _)| match identity {
            Identity::Duid(duid) => Some(duid),
            Identity::Mac(_) | Identity::ClientId(_) => None,
        })
    }

    /// Lets the guests through that the server knows. An address that somebody has stays his.
    pub fn welcome(&mut self, newcomers: &[Newcomer]) {
        for Newcomer { duid, mac_address, link_local } in newcomers {
            let client = (Identity::Duid(duid.clone()), Family::V6);
            if !self.server.as_ref().is_some_and(|server| server.hosts.entries.contains_key(&client)) {
                continue;
            }
            if let Some(known) = self.namespace.as_mut().and_then(|namespace| namespace.known.as_mut()) {
                known.insert(*mac_address);
            }
            if let Some(device) = self.device.as_mut().filter(|d| d.mac.link_local() != *link_local) {
                device.neighbours.entry(*link_local).or_insert(*mac_address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::dnsmasq::{Host, Hosts, Server};
    use crate::node::{Device, Namespace};

    #[test]
    fn whom_the_server_knows_is_let_through_and_takes_nobodys_address() {
        let mac = |n| MacAddr::local([n; 5]);
        let duid = |n: u8| Identifier::new(&[0, 4, n]).unwrap();
        let line = Host { offer: None, tag: "s".into() };
        let hosts = Hosts::fresh(BTreeMap::from([((Identity::Duid(duid(1)), Family::V6), line)]));
        let mut device = Device::bare(mac(9), 1500);
        device.neighbours.insert(mac(1).link_local(), mac(1));
        let mut segment = Segment {
            namespace: Some(Namespace { known: Some(BTreeSet::from([mac(1)])), ..Namespace::default() }),
            device: Some(device),
            server: Some(Server { hosts, ..Server::default() }),
            ..Segment::default()
        };
        assert_eq!(segment.duids().cloned().collect::<Vec<_>>(), [duid(1)]);
        let of = |id, from, by: u8| Newcomer {
            duid: duid(id),
            mac_address: mac(from),
            link_local: mac(by).link_local(),
        };
        segment.welcome(&[of(1, 2, 2), of(1, 3, 1), of(1, 4, 9), of(2, 5, 5)]);
        assert_eq!(segment.namespace.unwrap().known, Some(BTreeSet::from([1, 2, 3, 4].map(mac))));
        let neighbours = [(mac(1).link_local(), mac(1)), (mac(2).link_local(), mac(2))];
        assert_eq!(segment.device.unwrap().neighbours, BTreeMap::from(neighbours));
    }
}
