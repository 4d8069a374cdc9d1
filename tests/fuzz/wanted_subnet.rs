//! A subnet as it was written and accepted, and what a dnsmasq is to be told of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::net::{Net, octets};
use crate::scene::Subject;

/// A subnet that was accepted.
pub struct Subnet<'a> {
    pub subject: &'a Subject,
    pub net: Net,
    pub gateway: Option<IpAddr>,
    pub server: Option<IpAddr>,
    /// First and last addresses of what is for strangers.
    pub strangers: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// So many pieces are told to dnsmasq.
const PIECES: usize = 64;

impl<'a> Subnet<'a> {
    pub fn new(subject: &'a Subject) -> Self {
        let net = Net::new(text(&subject.spec["cidr"]));
        let gateway = match subject.spec["gateway"]["type"].as_str() {
            Some("None") => None,
            Some("Address") => Some(text(&subject.spec["gateway"]["address"]).parse().unwrap()),
            _ => Some(net.first()),
        };
        Self { subject, net, gateway, server: None, strangers: Vec::new() }
    }

    pub fn has_dhcp(&self) -> bool {
        self.subject.spec["dhcp"]["mode"] != "Disabled"
    }

    /// Whether its guests make themselves addresses.
    pub fn is_formed(&self) -> bool {
        ["SLAAC", "DHCPv6Stateless"].contains(&text(&self.subject.spec["ipv6"]["addressMode"]))
    }

    pub fn is_slaac(&self) -> bool {
        self.subject.spec["ipv6"]["addressMode"] == "SLAAC"
    }

    pub fn is_advertised(&self) -> bool {
        self.server.is_some() && self.subject.spec["ipv6"]["routerAdvertisements"] == "Server"
    }

    /// Whether DHCPv6 answers its guests.
    pub fn has_dhcpv6(&self) -> bool {
        self.server.is_some() && self.net.is_ipv6() && !self.is_slaac()
    }

    /// Whether it has addresses for strangers.
    pub fn is_dynamic(&self) -> bool {
        !self.strangers.is_empty()
    }

    /// All of its range that is nobody's, or the longest pieces of it.
    pub fn leave_to_strangers(&mut self, taken: &BTreeSet<IpAddr>) {
        let dynamic = &self.subject.spec["dhcp"]["dynamic"];
        if self.server.is_none() || self.subject.spec["dhcp"]["mode"] != "Dynamic" {
            return;
        }
        let number = |field: &str| u32::from(text(&dynamic[field]).parse::<Ipv4Addr>().unwrap());
        let mut pieces: Vec<(u32, u32)> = Vec::new();
        for n in number("first")..=number("last") {
            let ip = IpAddr::V4(n.into());
            if taken.contains(&ip) || self.net.is_reserved(ip) {
                continue;
            }
            match pieces.last_mut() {
                Some((_, last)) if *last + 1 == n => *last = n,
                _ => pieces.push((n, n)),
            }
        }
        pieces.sort_by_key(|(first, last)| (std::cmp::Reverse(last - first), *first));
        pieces.truncate(PIECES);
        pieces.sort_unstable();
        self.strangers = pieces.into_iter().map(|(first, last)| (first.into(), last.into())).collect();
    }

    /// The routers and DNS servers in it, by its own words.
    pub fn named(&self) -> Vec<IpAddr> {
        let spec = &self.subject.spec;
        let hops = list(&spec["hostRoutes"]).map(|route| text(&route["nextHop"]));
        let servers =
            list(&spec["dns"]["addresses"]).map(text).filter(|_| spec["dns"]["type"] == "Addresses");
        hops.chain(servers).map(|ip| ip.parse().unwrap()).collect()
    }

    pub fn ranges(&self) -> Vec<String> {
        let (key, size, lease) = (self.subject.key('s'), self.net.size(), self.lease());
        let of = |(first, last): &(Ipv4Addr, Ipv4Addr)| {
            format!("--dhcp-range=set:{key},tag:!known,{first},{last},{size},{lease}")
        };
        self.range().into_iter().chain(self.strangers.iter().map(of)).collect()
    }

    fn lease(&self) -> String {
        match self.subject.spec["dhcp"]["leaseDurationSeconds"].as_u64() {
            None => "86400".to_owned(),
            Some(4_294_967_295) => "infinite".to_owned(),
            Some(seconds) => seconds.to_string(),
        }
    }

    fn range(&self) -> Option<String> {
        let mode = match (self.is_slaac(), self.is_formed() && self.is_advertised()) {
            (true, true) => "slaac",
            (true, false) => return None,
            (false, true) => "ra-stateless",
            (false, false) => "static",
        };
        let (key, net, size) = (self.subject.key('s'), self.net.ip, self.net.size());
        let not_gone = if self.net.is_ipv6() { ",tag:!gone" } else { "" };
        let lease = self.lease();
        Some(format!("--dhcp-range=set:{key},tag:known{not_gone},{net},{mode},{size},{lease}"))
    }

    /// The DNS servers that its guests are told.
    pub fn resolvers(&self) -> Vec<u8> {
        let dns = &self.subject.spec["dns"];
        match dns["type"].as_str() {
            Some("None") => Vec::new(),
            Some("Addresses") => {
                list(&dns["addresses"]).flat_map(|ip| octets(text(ip).parse().unwrap())).collect()
            }
            _ => octets(self.server.unwrap()),
        }
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
