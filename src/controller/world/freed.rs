//! Addresses that were given back: they rest as long as others are free, and who had one finds it again.
//!
//! Part of the controller's world. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::allocate::{Holder, Ledger};
use crate::api::IPAllocationSpec;
use crate::controller::holder;

/// An address that was given back.
#[derive(Debug, Clone)]
pub(in crate::controller) struct Freed {
    pub subnet_name: String,
    pub holder: Holder,
    pub order: u64,
}

/// Of Networks that are there, by UID.
#[derive(Debug, Default)]
pub(super) struct Memory {
    networks: BTreeMap<String, BTreeMap<IpAddr, Freed>>,
    frees: u64,
}

impl Memory {
    /// A Port gave it back.
    pub(super) fn remember(&mut self, gone: &IPAllocationSpec) {
        let (Ok(ip), Some(name)) = (gone.ip.parse(), &gone.holder.name) else { return };
        self.frees += 1;
        let holder = holder::as_written(name, &gone.holder);
        let freed = Freed { subnet_name: gone.subnet_name.clone(), holder, order: self.frees };
        let all = self.networks.entry(gone.network_uid.clone()).or_default();
        all.insert(ip, freed);
        if all.len() > Ledger::REMEMBERED {
            let oldest = all.iter().min_by_key(|(_, freed)| freed.order).map(|(ip, _)| *ip);
            oldest.and_then(|ip| all.remove(&ip));
        }
    }

    /// The Network is gone.
    pub(super) fn forget(&mut self, uid: &str) {
        self.networks.remove(uid);
    }

    pub(super) fn of(&self, uid: &str) -> BTreeMap<IpAddr, Freed> {
        self.networks.get(uid).cloned().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.networks.values().map(BTreeMap::len).sum()
    }
}
