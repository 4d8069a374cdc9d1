//! Whose an address is, and whose a lease.
//!
//! Used wherever the two are compared: before a start, for releases, for what is told of leases.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::leases::mac_of;
use super::{Client, Host, Lease};
use crate::node::Family;
use crate::types::{HostName, MacAddr};

/// Who may have which address.
#[derive(Debug)]
pub struct Rights<'a> {
    hosts: &'a BTreeMap<Client, Host>,
    owners: BTreeMap<IpAddr, (MacAddr, &'a HostName)>,
}

impl<'a> Rights<'a> {
    /// Those that these hosts' lines give.
    pub fn new(hosts: &'a BTreeMap<Client, Host>) -> Self {
        let all = |(client, host): (&'a Client, &'a Host)| {
            let offer = host.offer.as_ref();
            offer.into_iter().flat_map(move |offer| offer.ips().map(|ip| (ip, (client.0, &offer.name))))
        };
        Self { hosts, owners: hosts.iter().flat_map(all).collect() }
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
            Lease::V4(mac) => self.hosts.get(&(*mac, Family::V4)).is_some_and(|host| host.ip() == Some(ip)),
            // dnsmasq forgets the name of a lease when another one gets the same.
            Lease::V6 { name: None, .. } => self.owners.contains_key(&ip),
            Lease::V6 { name: Some(name), .. } => self.owners.get(&ip).is_some_and(|(_, own)| *own == name),
        }
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
