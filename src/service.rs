//! What the guests of one network shall get, in the terms of the protocols and not of a server.
//!
//! Made by `desired`, rendered by `dnsmasq`. Another server would start from here. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::types::{DomainName, HostName, MacAddr};

/// DHCPv4 options by code (RFC 2132), each the bytes of its value; no bytes: the option is not sent,
/// not even a default.
pub type Options = BTreeMap<u8, Vec<u8>>;

/// DHCP and DNS of one network on one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The subnets with DHCP, in the order of their names.
    pub scopes: Vec<Scope>,
    /// The ports that DHCP answers.
    pub reservations: Vec<Reservation>,
    /// The names of each address, the one of its reverse look-up first.
    pub names: BTreeMap<Ipv4Addr, Vec<DomainName>>,
    /// The network's domain: names below it are never forwarded.
    pub domain: Option<DomainName>,
    /// Prefixes whose reverse look-ups are never forwarded: all subnets of the network.
    pub reverse: Vec<Ipv4Net>,
    /// Where all other questions go; none: they are refused.
    pub forwarders: Vec<IpAddr>,
}

/// A subnet with DHCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Stands for the subnet in the server's files: letters and digits.
    pub key: String,
    /// The subnet.
    pub cidr: Ipv4Net,
    /// Lease time in seconds; `u32::MAX` is infinite (RFC 2131 §3.3).
    pub lease_seconds: u32,
    /// What every guest of the subnet gets.
    pub options: Options,
}

/// A port that DHCP answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Stands for the port in the server's files: letters and digits.
    pub key: String,
    /// Whom to answer.
    pub mac: MacAddr,
    /// With which address.
    pub ip: Ipv4Addr,
    /// The host name it gets (option 12).
    pub hostname: HostName,
    /// What it gets besides, or instead of, the subnet's.
    pub options: Options,
}
