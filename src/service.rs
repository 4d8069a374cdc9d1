//! What the guests of one network shall get, in the terms of the protocols and not of a server.
//!
//! Made by `desired`, rendered by `dnsmasq`. Another server would start from here. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::node::Family;
use crate::types::{DomainName, HostName, MacAddr};

/// An option's number in its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// RFC 2132; 255 stands for the packet's `siaddr`.
    V4(u8),
    /// RFC 8415.
    V6(u16),
}

impl Code {
    /// Before and after all there are.
    pub const ALL: RangeInclusive<Self> = Self::V4(0)..=Self::V6(u16::MAX);

    /// In which protocol.
    pub fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(code) => write!(f, "{code}"),
            Self::V6(code) => write!(f, "{code} of DHCPv6"),
        }
    }
}

/// DHCP options by code, each the bytes of its value; no bytes: the option is not sent, not even a
/// default.
pub type Options = BTreeMap<Code, Vec<u8>>;

/// DHCP and DNS of one network on one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The subnets with DHCP, in the order of their names.
    pub scopes: Vec<Scope>,
    /// The ports that DHCP answers.
    pub reservations: Vec<Reservation>,
    /// The names of each address, the one of its reverse look-up first.
    pub names: BTreeMap<IpAddr, Vec<DomainName>>,
    /// The network's domain: names below it are never forwarded.
    pub domain: Option<DomainName>,
    /// Prefixes whose reverse look-ups are never forwarded: all subnets of the network.
    pub reverse: Vec<IpNet>,
    /// Where all other questions go; none: they are refused.
    pub forwarders: Vec<IpAddr>,
    /// What all servers of the network are one DHCPv6 server by: the part of their DUID that is ours to
    /// choose (DUID-EN, RFC 8415 §11.3).
    pub identity: [u8; 16],
    /// Who is answered although no guest, if anybody is.
    pub asker: Option<Asker>,
}

/// The agent, who asks the server whether it answers. It gets no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// What its frames come from, and what it calls itself in DHCPv4. No guest sees it, so that none can
    /// speak in its name.
    pub mac: MacAddr,
    /// Who it is in DHCPv6: the server's own device, from whose address it asks.
    pub device: MacAddr,
}

/// A subnet with DHCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Stands for the subnet in the server's files: letters and digits.
    pub key: String,
    /// The subnet.
    pub cidr: IpNet,
    /// Lease time in seconds; `u32::MAX` is infinite (RFC 2131 §3.3).
    pub lease_seconds: u32,
    /// What every guest of the subnet gets.
    pub options: Options,
}

/// A port that DHCP answers, in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Stands for the port in the server's files: letters and digits.
    pub key: String,
    /// Whom to answer.
    pub mac: MacAddr,
    /// With which address.
    pub ip: IpAddr,
    /// Addresses besides: a DHCPv6 client may ask for several (RFC 8415 §12.1, an IAID for each).
    pub more: Vec<IpAddr>,
    /// The host name it gets (option 12; in DHCPv6 option 39).
    pub hostname: HostName,
    /// What it gets besides, or instead of, the subnet's.
    pub options: Options,
}
