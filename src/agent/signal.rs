//! How the loop wakes a worker, how it knows that all were at work, and how others know that it turns.
//!
//! Shared by the loop and the workers, and with whoever asks from outside.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::types::NetworkUid;

/// Wakes a worker. Several calls before it looks are one.
#[derive(Debug, Default)]
pub(super) struct Signal {
    notify: Notify,
    written: Notify,
    woken: AtomicBool,
    observe: AtomicBool,
}

impl Signal {
    /// Objects changed.
    pub(super) fn change(&self) {
        self.woken.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Something may have happened on the node.
    pub(super) fn observe(&self) {
        self.observe.store(true, Ordering::Release);
        self.change();
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

    /// A pass begins: it takes in what was there before.
    pub(super) fn begin(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Whether it was woken since.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Whether the node is to be looked at.
    pub(super) fn is_to_observe(&self) -> bool {
        self.observe.load(Ordering::Acquire)
    }

    /// The same; asked once.
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

/// Whether the loop turns: it is asked, and answers when it comes round.
#[derive(Debug, Clone, Default)]
pub struct Turning(Arc<Turns>);

#[derive(Debug, Default)]
struct Turns {
    asked: Notify,
    answers: watch::Sender<u64>,
}

impl Turning {
    /// How long the loop may be at one thing. Whoever asks should ask several times before it acts.
    const PATIENCE: Duration = Duration::from_secs(4);

    pub(super) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    pub(super) fn answer(&self) {
        self.0.answers.send_modify(|answers| *answers += 1);
    }

    /// Whether it answers in time. Before its first turn it waits for others, and is not asked.
    pub async fn answers(self) -> bool {
        self.answers_within(Self::PATIENCE).await
    }

    async fn answers_within(&self, patience: Duration) -> bool {
        let mut answers = self.0.answers.subscribe();
        if *answers.borrow_and_update() == 0 {
            return true;
        }
        self.0.asked.notify_one();
        timeout(patience, answers.changed()).await.is_ok_and(|changed| changed.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_loop_that_does_not_come_round_is_found() {
        let turning = Turning::default();
        assert!(turning.answers_within(SHORT).await, "it was asked before its first turn");
        turning.answer();
        assert!(!turning.answers_within(SHORT).await, "nobody turned");
        let turned = async {
            turning.asked().await;
            turning.answer();
        };
        let (answers, ()) = tokio::join!(turning.answers_within(Turning::PATIENCE), turned);
        assert!(answers);
        // What answered then does not answer for later.
        assert!(!turning.answers_within(SHORT).await);
    }
}
