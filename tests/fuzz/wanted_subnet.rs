//! A subnet as it was written and accepted, and what a dnsmasq is to be told of it.

use std::net::IpAddr;

use serde_json::Value;

use crate::net::{Net, octets};
use crate::scene::Subject;

/// A subnet that was accepted.
pub struct Subnet<'a> {
    pub subject: &'a Subject,
    pub net: Net,
    pub gateway: Option<IpAddr>,
    pub server: Option<IpAddr>,
}

impl<'a> Subnet<'a> {
    pub fn new(subject: &'a Subject) -> Self {
        let net = Net::new(text(&subject.spec["cidr"]));
        let gateway = match subject.spec["gateway"]["type"].as_str() {
            Some("None") => None,
            Some("Address") => Some(text(&subject.spec["gateway"]["address"]).parse().unwrap()),
            _ => Some(net.first()),
        };
        Self { subject, net, gateway, server: None }
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
        self.server.is_some() && self.subject.spec["dhcp"]["mode"] == "Dynamic"
    }

    pub fn ranges(&self) -> Vec<String> {
        self.range().into_iter().chain(self.strangers()).collect()
    }

    fn strangers(&self) -> Option<String> {
        let dynamic = &self.subject.spec["dhcp"]["dynamic"];
        let (key, size, lease) = (self.subject.key('s'), self.net.size(), self.lease());
        let ip = |field: &str| text(&dynamic[field]).parse::<IpAddr>().unwrap();
        let addresses = || format!("{},{}", ip("first"), ip("last"));
        self.is_dynamic().then(|| format!("--dhcp-range=set:{key},tag:!known,{},{size},{lease}", addresses()))
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
