//! The metadata service of a network: where it is, who its guests are, what of their requests is let
//! through.
//!
//! Used by `desired`, which says who is served, and by `proxy`, which serves. Pure.

mod limits;
mod request;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::node::Family;
use crate::types::MacAddr;

pub use limits::{Entry, Limits};
pub use request::{Refused, admit, from_upstream, to_upstream};
pub use upstream::Upstream;

/// Where guests look for it; the same on every network.
pub const V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The same for IPv6.
pub const V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe);
/// HTTP's.
pub const PORT: u16 = 80;

/// Its address in a family.
pub fn address(family: Family) -> IpAddr {
    match family {
        Family::V4 => V4.into(),
        Family::V6 => V6.into(),
    }
}

/// The service as the kernel of a node knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// In which families it listens, at its address there, behind its guard.
    pub families: BTreeSet<Family>,
    /// Whose packets the guard lets through: from these addresses only if they come from these devices.
    pub guests: BTreeMap<IpAddr, MacAddr>,
}

/// Whose requests are answered, and under which name they go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// Of the Network.
    pub namespace: String,
    /// Its name.
    pub network: String,
    /// Its UID.
    pub network_uid: String,
    /// The Ports by the addresses that requests come from.
    pub guests: BTreeMap<IpAddr, Guest>,
}

/// The Port that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// Its name.
    pub port: String,
    /// Its UID.
    pub port_uid: String,
}
