//! How the loop wakes a worker, and how it knows that all were at work.
//!
//! Shared by the loop and the workers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::types::NetworkUid;

/// Wakes a worker. Several calls before it looks are one.
#[derive(Debug, Default)]
pub(super) struct Signal {
    notify: Notify,
    written: Notify,
    observe: AtomicBool,
}

impl Signal {
    /// Objects changed.
    pub(super) fn change(&self) {
        self.notify.notify_one();
    }

    /// Something may have happened on the node.
    pub(super) fn observe(&self) {
        self.observe.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// The next pass is to look, whenever it comes.
    pub(super) fn observe_again(&self) {
        self.observe.store(true, Ordering::Release);
    }

    /// The server wrote something.
    pub(super) fn wrote(&self) {
        self.written.notify_one();
    }

    pub(super) async fn written(&self) {
        self.written.notified().await;
    }

    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Whether the node is to be looked at; asked once.
    pub(super) fn take_observe(&self) -> bool {
        self.observe.swap(false, Ordering::AcqRel)
    }
}

/// Which networks of the start were not yet attempted to their end. Once none is left, that stays so.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Option<BTreeSet<NetworkUid>>>>);

impl Readiness {
    pub(super) fn expect(&self, networks: BTreeSet<NetworkUid>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(networks);
    }

    pub(super) fn attempted(&self, uid: NetworkUid) {
        if let Some(left) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            left.remove(&uid);
        }
    }

    /// How many are left; `None`: it is not known yet how many there are.
    pub fn left(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(BTreeSet::len)
    }
}
