//! Whose an address is, and whose a lease.
//!
//! Used wherever the two are compared: before a start, for releases, for what is told of leases.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::leases::mac_of;
use super::{Client, Host, Lease};
use crate::node::Family;
use crate::types::{HostName, Identifier, Identity, IpRange, MacAddr};

/// Who may have which address.
#[derive(Debug)]
pub struct Rights<'a> {
    hosts: &'a BTreeMap<Client, Host>,
    owners: BTreeMap<IpAddr, (&'a Identity, &'a HostName)>,
    /// Addresses that strangers may have.
    dynamic: Vec<IpRange>,
}

impl<'a> Rights<'a> {
    /// Those that these hosts' lines give, and ranges for strangers.
    pub fn new(hosts: &'a BTreeMap<Client, Host>, dynamic: Vec<IpRange>) -> Self {
        let all = |(client, host): (&'a Client, &'a Host)| {
            let offer = host.offer.as_ref();
            offer.into_iter().flat_map(move |offer| offer.ips().map(|ip| (ip, (&client.0, &offer.name))))
        };
        Self { hosts, owners: hosts.iter().flat_map(all).collect(), dynamic }
    }

    /// Whose line has an address.
    pub fn owner(&self, ip: IpAddr) -> Option<&'a Identity> {
        self.owners.get(&ip).map(|(identity, _)| *identity)
    }

    /// Whether an address of DHCPv6 was another client's before.
    pub(super) fn took(&self, ip: IpAddr, before: &Self) -> bool {
        let owners = self.owner(ip).zip(before.owner(ip));
        ip.is_ipv6() && owners.is_some_and(|(now, before)| now != before)
    }

    /// Whether the holder of a lease has a right to it.
    pub fn has(&self, ip: IpAddr, lease: &Lease) -> bool {
        match (lease, self.owners.get(&ip)) {
            // Who is a Port now uses the address of a stranger's that he had until he asks again.
            (Lease::V4 { .. }, None) => self.dynamic.iter().any(|range| range.contains(ip)),
            (Lease::V4 { mac, .. }, Some((Identity::Mac(own), _))) => own == mac,
            (Lease::V4 { client_id, .. }, Some((Identity::ClientId(own), _))) => {
                client_id.as_ref().is_some_and(|id| is_taken_for(id, own))
            }
            (Lease::V6 { duid, .. }, Some((Identity::Duid(own), _))) => own.to_string() == *duid,
            // dnsmasq forgets the name of a lease when another one gets the same.
            (Lease::V6 { name, .. }, Some((Identity::Mac(_), own))) => {
                name.as_ref().is_none_or(|name| name == *own)
            }
            _ => false,
        }
    }

    /// Whose lease it is, as far as can be told: in DHCPv6 by the name of the line that it was given by,
    /// else by the address that is part of most identifiers.
    pub fn holder(&self, ip: IpAddr, lease: &Lease) -> Option<MacAddr> {
        match lease {
            Lease::V4 { mac, .. } => Some(*mac),
            Lease::V6 { duid, .. } if self.has(ip, lease) => {
                self.owner(ip).and_then(Identity::mac).or_else(|| mac_of(duid))
            }
            Lease::V6 { name, duid, .. } => {
                let own = |host: &Host| host.offer.as_ref().map(|offer| offer.name.clone());
                let named = |(_, host): &(&Client, &Host)| name.is_some() && own(host) == *name;
                let mut clients = self.hosts.iter().filter(|((_, family), _)| *family == Family::V6);
                let client = clients.find(named).and_then(|((identity, _), _)| identity.mac());
                client.or_else(|| mac_of(duid))
            }
        }
    }
}

/// As some clients do with a text, dnsmasq puts up with a zero before it.
fn is_taken_for(id: &Identifier, own: &Identifier) -> bool {
    let zero = || id.octets().strip_prefix(&[0]).is_some_and(|rest| rest == own.octets());
    id == own || zero()
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
        let hosts = BTreeMap::from([((mac(1).into(), Family::V4), line)]);
        let rights = Rights::new(&hosts, vec![IpRange { first: ip(100), last: ip(110) }]);
        let has = |n, m| rights.has(ip(n), &Lease::V4 { mac: mac(m), client_id: None });
        assert!(has(100, 9) && has(110, 9) && has(101, 1));
        assert!(has(100, 1), "until it asks again");
        assert!(!has(101, 9), "it is a Port's");
        assert!(!has(99, 9) && !has(111, 9));
    }

    #[test]
    fn who_is_known_by_an_identifier_has_a_right_by_that_alone() {
        let (mac, v4) = (|n| MacAddr::local([0, 0, 0, 0, n]), IpAddr::from([10, 0, 0, 1]));
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let line = |ip| {
            let offer = Offer { ip, more: vec![], name: "a".parse().unwrap() };
            Host { offer: Some(offer), tag: "p".into() }
        };
        let (id, duid) = (Identity::client_id("0a:0b").unwrap(), Identity::duid("00:04:0a").unwrap());
        let hosts = BTreeMap::from([((id, Family::V4), line(v4)), ((duid, Family::V6), line(v6))]);
        let rights = Rights::new(&hosts, Vec::new());
        let has4 = |id: Option<&str>| {
            let client_id = id.map(|id| id.parse().unwrap());
            rights.has(v4, &Lease::V4 { mac: mac(7), client_id })
        };
        assert!(has4(Some("0a:0b")) && has4(Some("00:0a:0b")));
        assert!(!has4(Some("00:00:0a:0b")) && !has4(Some("01:0a:0b")) && !has4(None));
        let has6 = |duid: &str, name: Option<&str>| {
            let name = name.map(|name| name.parse().unwrap());
            rights.has(v6, &Lease::V6 { duid: duid.to_owned(), iaid: 1, name })
        };
        assert!(has6("00:04:0a", Some("a")) && has6("00:04:0a", None));
        assert!(!has6("00:04:0b", Some("a")));
    }
}
