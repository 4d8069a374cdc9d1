//! What the workers have to say of their networks for the API server, until it is written.
//!
//! Filled by the workers after each pass, emptied by `publish`. Pure but for the waking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::api::{HeldAddress, RefusedPort, ServedPorts, ServedSubnet, ServerDevice};
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
    /// The server was told everything.
    pub(super) programmed: Result<(), Problem>,
    /// Guests are answered.
    pub(super) serving: Result<(), Problem>,
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
    changed: BTreeSet<ObjectName>,
}

impl Outbox {
    /// Takes what a worker says now.
    pub(super) fn put(&self, uid: NetworkUid, report: ServerReport) {
        let mut state = self.state();
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
        let report = self.state().reports.remove(&uid);
        if let Some(report) = report {
            self.look(report.network);
        }
    }

    /// The decision for a network may be another.
    pub(super) fn look(&self, network: ObjectName) {
        self.state().changed.insert(network);
        self.notify.notify_one();
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
