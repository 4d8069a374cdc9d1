//! What changed between two states of a ledger: for journals.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Allocation, Ledger};

/// What became of an address; `None`: it counts as never used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change(IpAddr, Option<Allocation>);

impl Ledger {
    /// What makes `before` this ledger.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let new = self.0.iter().filter(|(ip, allocation)| before.0.get(ip) != Some(allocation));
        let new = new.map(|(ip, allocation)| Change(*ip, Some(allocation.clone())));
        let forgotten = before.0.keys().filter(|ip| !self.0.contains_key(ip)).map(|ip| Change(*ip, None));
        new.chain(forgotten).collect()
    }

    /// Makes the change.
    pub fn apply(&mut self, Change(ip, allocation): Change) {
        match allocation {
            Some(allocation) => self.0.insert(ip, allocation),
            None => self.0.remove(&ip),
        };
    }
}
