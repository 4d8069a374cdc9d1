//! A subnet's addresses, as far as they can be given.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::types::Ipv4Range;

/// A subnet to allocate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The Subnet.
    pub subnet_name: String,
    /// What its addresses are.
    pub cidr: Ipv4Net,
    /// From where to take one when none in particular is asked for.
    pub ranges: Vec<Ipv4Range>,
    /// Given only to who asks for it.
    pub gateway: Option<Ipv4Addr>,
    /// Whether a Port without a wish gets an address here.
    pub automatic: bool,
}

impl Pool {
    /// Given only to who asks for it, or never.
    pub(super) fn is_barred(&self, ip: Ipv4Addr) -> bool {
        let edge = ip == self.cidr.network() || ip == self.cidr.broadcast();
        Some(ip) == self.gateway || (edge && self.cidr.prefix_len() < 31)
    }

    pub(super) fn offers(&self, ip: Ipv4Addr) -> bool {
        !self.is_barred(ip) && self.ranges.iter().any(|range| range.contains(ip))
    }

    /// How many addresses it can give.
    pub fn size(&self) -> u64 {
        let special = BTreeSet::from([Some(self.cidr.network()), Some(self.cidr.broadcast()), self.gateway]);
        let barred = |range: &Ipv4Range| {
            let special = special.iter().flatten();
            special.filter(|ip| range.contains(**ip) && self.is_barred(**ip)).count() as u64
        };
        self.ranges.iter().map(|range| range.len() - barred(range)).sum()
    }
}
