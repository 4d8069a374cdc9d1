//! What changed between two states of a ledger: for journals.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Allocation, Holder, Ledger};

/// What became of an address; `None`: it counts as never used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change(IpAddr, Option<Arc<Allocation>>);

/// Of what some got besides all that others have: what it was before, in the order in which it was changed.
#[derive(Debug)]
pub struct Added(pub(super) Vec<Change>);

impl Change {
    pub(super) fn new(ip: IpAddr, allocation: Option<Arc<Allocation>>) -> Self {
        Self(ip, allocation)
    }

    /// Whether somebody has an address now, and had not `before`, that `asked` does not know: one that
    /// nobody could find again if the ledger were lost.
    pub fn chooses(&self, before: &Ledger, asked: impl Fn(&str, IpAddr) -> bool) -> bool {
        let Self(ip, Some(now)) = self else { return false };
        let Allocation { holder, released: None, .. } = &**now else { return false };
        let had = before.0.get(ip).is_some_and(|old| old.released.is_none() && old.holder == *holder);
        let is_asked = match holder {
            Holder::Port { name, .. } => asked(name, *ip),
            Holder::ServerSlot { .. } | Holder::TemporaryServer { .. } | Holder::Leaving { .. } => false,
        };
        !had && !is_asked
    }
}

impl Ledger {
    /// What makes `before` this ledger.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let (mut changes, mut old) = (Vec::new(), before.0.iter().peekable());
        let forgotten = |ip: &IpAddr| Change(*ip, None);
        for (ip, allocation) in &self.0 {
            while let Some((gone, _)) = old.next_if(|(other, _)| *other < ip) {
                changes.push(forgotten(gone));
            }
            let same = old.next_if(|(other, _)| *other == ip).is_some_and(|(_, old)| old == allocation);
            if !same {
                changes.push(Change(*ip, Some(allocation.clone())));
            }
        }
        changes.extend(old.map(|(gone, _)| forgotten(gone)));
        changes
    }

    /// What was added last.
    pub fn changes_of(&self, Added(before): &Added) -> Vec<Change> {
        before.iter().map(|Change(ip, _)| Change(*ip, self.0.get(ip).cloned())).collect()
    }

    /// Takes back what was added last.
    pub fn undo(&mut self, Added(before): Added) {
        before.into_iter().rev().for_each(|change| self.apply(change));
    }

    /// Makes the change.
    pub fn apply(&mut self, Change(ip, allocation): Change) {
        match allocation {
            Some(allocation) => self.0.insert(ip, allocation),
            None => self.0.remove(&ip),
        };
    }
}
