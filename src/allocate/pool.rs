//! A subnet's addresses, as far as they can be given.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::types::{IpRange, is_reserved};

/// A subnet to allocate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The Subnet.
    pub subnet_name: String,
    /// What its addresses are.
    pub cidr: IpNet,
    /// From where to take one when none in particular is asked for.
    pub ranges: Vec<IpRange>,
    /// Given only to who asks for it.
    pub gateway: Option<IpAddr>,
    /// Whether a Port without a wish gets an address here.
    pub automatic: bool,
    /// Whether its guests make themselves addresses: a Port that wishes for any has none of these.
    pub formed: bool,
}

impl Pool {
    /// Given only to who asks for it, or never.
    pub(super) fn is_barred(&self, ip: IpAddr) -> bool {
        Some(ip) == self.gateway || is_reserved(self.cidr, ip)
    }

    pub(super) fn offers(&self, ip: IpAddr) -> bool {
        !self.is_barred(ip) && self.ranges.iter().any(|range| range.contains(ip))
    }

    /// How many addresses it can give, as far as 64 bits can say.
    pub fn size(&self) -> u64 {
        let special = BTreeSet::from([Some(self.cidr.network()), Some(self.cidr.broadcast()), self.gateway]);
        let barred = |range: &IpRange| {
            let special = special.iter().flatten();
            special.filter(|ip| range.contains(**ip) && self.is_barred(**ip)).count() as u128
        };
        let all = self.ranges.iter().map(|range| range.len() - barred(range));
        all.fold(0, u128::saturating_add).try_into().unwrap_or(u64::MAX)
    }
}
