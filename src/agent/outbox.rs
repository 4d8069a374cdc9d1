//! What the workers have to say of their networks for the API server, until it is written.
//!
//! Filled by the workers after each pass, emptied by `publish`. Pure but for the waking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::leased::Leased;
use crate::api::{HeldAddress, RefusedPort, ServedPorts, ServedSubnet, ServerDevice};
use crate::foreign::Kind;
use crate::reason::Problem;
use crate::store::PortsRevision;
use crate::types::{NetworkUid, ObjectName};

/// What is true of one network on this node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServerReport {
    pub(super) network: ObjectName,
    pub(super) device: Option<ServerDevice>,
    /// Done up to here; `None`: something is still to be done.
    pub(super) done: Option<PortsRevision>,
    /// Whether a Port waits to be served.
    pub(super) awaited: bool,
    pub(super) generation: i64,
    pub(super) subnets: Vec<ServedSubnet>,
    pub(super) ports: ServedPorts,
    pub(super) refused: Vec<RefusedPort>,
    /// At which of its addresses a predecessor answers; `None`: not known yet.
    pub(super) held: Option<Vec<HeldAddress>>,
    /// Of its leases.
    pub(super) leased: Leased,
    /// The server was told everything.
    pub(super) programmed: Result<(), Problem>,
    /// Guests are answered.
    pub(super) serving: Result<(), Problem>,
    /// Guests are offered the metadata service; `None`: it was not asked for.
    pub(super) metadata: Option<Result<(), Problem>>,
    /// Who is on the segment that should not be.
    pub(super) foreign: Vec<(Kind, Problem)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct State {
    reports: BTreeMap<NetworkUid, ServerReport>,
    /// What keeps networks from being taken down.
    stuck: BTreeMap<NetworkUid, Problem>,
    changed: BTreeSet<ObjectName>,
    /// Networks of which something was taken back, and the number of the copy that says so.
    taken: BTreeMap<ObjectName, u64>,
    /// The last copy that is kept.
    kept: u64,
}

impl Outbox {
    /// Takes what a worker says now.
    pub(super) fn put(&self, uid: NetworkUid, report: ServerReport) {
        let mut state = self.state();
        state.stuck.remove(&uid);
        if state.reports.get(&uid) == Some(&report) {
            return;
        }
        state.changed.insert(report.network.clone());
        state.reports.insert(uid, report);
        drop(state);
        self.notify.notify_one();
    }

    /// Nothing of this network is on the node any more.
    pub(super) fn forget(&self, uid: NetworkUid) {
        let report = {
            let mut state = self.state();
            state.stuck.remove(&uid);
            state.reports.remove(&uid)
        };
        if let Some(report) = report {
            self.look(report.network);
        }
    }

    /// Takes what keeps a network from being taken down; `None`: nothing does.
    pub(super) fn hold(&self, uid: NetworkUid, network: &ObjectName, problem: Option<&Problem>) {
        let mut state = self.state();
        let before = match problem {
            Some(problem) => state.stuck.insert(uid, problem.clone()),
            None => state.stuck.remove(&uid),
        };
        drop(state);
        if before.as_ref() != problem {
            self.look(network.clone());
        }
    }

    /// What keeps a network from being taken down.
    pub(super) fn stuck(&self, uid: NetworkUid) -> Option<Problem> {
        self.state().stuck.get(&uid).cloned()
    }

    /// The decision for a network may be another.
    pub(super) fn look(&self, network: ObjectName) {
        self.state().changed.insert(network);
        self.notify.notify_one();
    }

    /// That something is taken back is not said before this copy is kept: else the next start gives it again.
    pub(super) fn withhold(&self, networks: BTreeSet<ObjectName>, copy: u64) {
        let mut state = self.state();
        if copy > state.kept {
            state.taken.extend(networks.into_iter().map(|network| (network, copy)));
        }
    }

    /// The copies up to this one are kept.
    pub(super) fn kept(&self, copy: u64) {
        let mut state = self.state();
        state.kept = copy;
        let (kept, taken): (BTreeMap<_, _>, _) =
            std::mem::take(&mut state.taken).into_iter().partition(|(_, number)| *number <= copy);
        state.taken = taken;
        state.changed.extend(kept.into_keys());
        drop(state);
        self.notify.notify_one();
    }

    /// Whether what is taken back of a network may be said.
    pub(super) fn is_kept(&self, network: &ObjectName) -> bool {
        !self.state().taken.contains_key(network)
    }

    /// What is said of a network.
    pub(super) fn report(&self, uid: NetworkUid) -> Option<ServerReport> {
        self.state().reports.get(&uid).cloned()
    }

    /// How many networks serve.
    pub(super) fn serving(&self) -> usize {
        self.state().reports.values().filter(|report| report.serving.is_ok()).count()
    }

    /// The networks of which something changed; waits until there is one. Cancel-safe.
    pub(super) async fn changed(&self) -> BTreeSet<ObjectName> {
        loop {
            let changed = std::mem::take(&mut self.state().changed);
            if !changed.is_empty() {
                return changed;
            }
            self.notify.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_back_waits_for_the_copy_that_says_so() {
        let (outbox, a, b) = (Outbox::default(), ObjectName::new("n", "a"), ObjectName::new("n", "b"));
        outbox.withhold([a.clone()].into(), 3);
        outbox.withhold([a.clone()].into(), 4);
        assert!(!outbox.is_kept(&a) && outbox.is_kept(&b));
        outbox.kept(3);
        assert!(!outbox.is_kept(&a));
        outbox.kept(5);
        assert!(outbox.is_kept(&a));
        assert_eq!(outbox.changed().await, [a.clone()].into());
        // The copy may be quicker than who takes the news.
        outbox.withhold([a.clone()].into(), 5);
        assert!(outbox.is_kept(&a));
    }
}
