//! Whose an address is, and whose a lease.
//!
//! Used wherever the two are compared: before a start, for releases, for what is told of leases.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::leases::mac_of;
use super::{Client, Host, Lease};
use crate::node::Family;
use crate::types::{HostName, IpRange, MacAddr};

/// Who may have which address.
#[derive(Debug)]
pub struct Rights<'a> {
    hosts: &'a BTreeMap<Client, Host>,
    owners: BTreeMap<IpAddr, (MacAddr, &'a HostName)>,
    /// Addresses that strangers may have.
    dynamic: Vec<IpRange>,
}

impl<'a> Rights<'a> {
    /// Those that these hosts' lines give, and ranges for strangers.
    pub fn new(hosts: &'a BTreeMap<Client, Host>, dynamic: Vec<IpRange>) -> Self {
        let all = |(client, host): (&'a Client, &'a Host)| {
            let offer = host.offer.as_ref();
            offer.into_iter().flat_map(move |offer| offer.ips().map(|ip| (ip, (client.0, &offer.name))))
        };
        Self { hosts, owners: hosts.iter().flat_map(all).collect(), dynamic }
    }

    /// Whose line has an address.
    pub fn owner(&self, ip: IpAddr) -> Option<MacAddr> {
        self.owners.get(&ip).map(|(mac, _)| *mac)
    }

    /// Whether an address of DHCPv6 was another MAC address's before.
    pub(super) fn took(&self, ip: IpAddr, before: &Self) -> bool {
        let owners = self.owner(ip).zip(before.owner(ip));
        ip.is_ipv6() && owners.is_some_and(|(now, before)| now != before)
    }

    /// Whether the holder of a lease has a right to it.
    pub fn has(&self, ip: IpAddr, lease: &Lease) -> bool {
        match lease {
            // Who is a Port now uses the address of a stranger's that he had until he asks again.
            Lease::V4(mac) => {
                let host = self.hosts.get(&(*mac, Family::V4));
                host.is_some_and(|host| host.ip() == Some(ip)) || self.is_strangers(ip)
            }
            // dnsmasq forgets the name of a lease when another one gets the same.
            Lease::V6 { name: None, .. } => self.owners.contains_key(&ip),
            Lease::V6 { name: Some(name), .. } => self.owners.get(&ip).is_some_and(|(_, own)| *own == name),
        }
    }

    /// Whether a stranger may have an address.
    fn is_strangers(&self, ip: IpAddr) -> bool {
        !self.owners.contains_key(&ip) && self.dynamic.iter().any(|range| range.contains(ip))
    }

    /// Whose lease it is, as far as can be told: in DHCPv6 by the name of the line that it was given by,
    /// else by the address that is part of most identifiers.
    pub fn holder(&self, ip: IpAddr, lease: &Lease) -> Option<MacAddr> {
        match lease {
            Lease::V4(mac) => Some(*mac),
            Lease::V6 { .. } if self.has(ip, lease) => self.owner(ip),
            Lease::V6 { name, duid, .. } => {
                let own = |host: &Host| host.offer.as_ref().map(|offer| offer.name.clone());
                let named = |(_, host): &(&Client, &Host)| name.is_some() && own(host) == *name;
                let mut clients = self.hosts.iter().filter(|((_, family), _)| *family == Family::V6);
                let client = clients.find(named).map(|((mac, _), _)| *mac);
                client.or_else(|| mac_of(duid))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Offer;

    #[test]
    fn a_stranger_may_have_what_is_for_strangers_and_nobodys() {
        let (mac, ip) = (|n| MacAddr::local([0, 0, 0, 0, n]), |n| IpAddr::from([10, 0, 0, n]));
        let offer = Offer { ip: ip(101), more: vec![], name: "a".parse().unwrap() };
        let line = Host { offer: Some(offer), tag: "p".into() };
        let hosts = BTreeMap::from([((mac(1), Family::V4), line)]);
        let rights = Rights::new(&hosts, vec![IpRange { first: ip(100), last: ip(110) }]);
        let has = |n, m| rights.has(ip(n), &Lease::V4(mac(m)));
        assert!(has(100, 9) && has(110, 9) && has(101, 1));
        assert!(has(100, 1), "until it asks again");
        assert!(!has(101, 9), "it is a Port's");
        assert!(!has(99, 9) && !has(111, 9));
    }
}
