//! Whether the API server answers, as all requests of a process see it.
//!
//! Fed by the client of `client::connect`, asked by whoever waits before trying again. Something of a
//! process always asks every few seconds, its Lease at least; so the others need not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::backoff::jittered;

/// Who failed tries again after this time at the earliest, even if others are answered.
const FLOOR: Duration = Duration::from_secs(1);
/// When the API server is back, those that waited for it come one after the other.
const SPREAD: Duration = Duration::from_secs(1);
/// Longer than from one renewal of a Lease to the next.
const SILENT: Duration = Duration::from_secs(10);

/// Clones are one.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<State>);

#[derive(Debug)]
struct State {
    last: Mutex<Instant>,
    answers: watch::Sender<u64>,
    revivals: watch::Sender<u64>,
}

impl Default for Pulse {
    fn default() -> Self {
        let (answers, revivals) = (watch::Sender::new(0), watch::Sender::new(0));
        Self(Arc::new(State { last: Mutex::new(Instant::now()), answers, revivals }))
    }
}

impl Pulse {
    /// Somebody was answered.
    pub fn answered(&self) {
        let now = Instant::now();
        let last = std::mem::replace(&mut *self.0.last.lock().unwrap_or_else(PoisonError::into_inner), now);
        if self.0.answers.receiver_count() > 0 {
            self.0.answers.send_modify(|n| *n += 1);
        }
        if now.saturating_duration_since(last) > SILENT {
            self.revived();
        }
    }

    /// What was not there is there again: whoever looks only now and then looks now.
    pub fn revived(&self) {
        self.0.revivals.send_modify(|n| *n += 1);
    }

    /// Waits for `wait`, or less if somebody is answered meanwhile. Cancel-safe.
    pub async fn pause(&self, wait: Duration) {
        let mut answers = self.0.answers.subscribe();
        sleep(wait.min(FLOOR)).await;
        answers.mark_unchanged();
        tokio::select! {
            () = sleep(wait.saturating_sub(FLOOR)) => {}
            // We have the sender.
            _ = answers.changed() => sleep(jittered(SPREAD)).await,
        }
    }

    /// Changes each time that somebody is answered after nobody was for a while, and when definitions are
    /// back that were gone.
    pub fn revivals(&self) -> watch::Receiver<u64> {
        self.0.revivals.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_comes_soon_after_somebody_was_answered() {
        let pulse = Pulse::default();
        let (began, other) = (Instant::now(), pulse.clone());
        let pause = pulse.pause(Duration::from_secs(600));
        tokio::pin!(pause);
        // However often others are answered, who fails does not fail in a loop.
        while tokio::time::timeout(Duration::from_millis(10), &mut pause).await.is_err() {
            other.answered();
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        assert!(began.elapsed() >= FLOOR + SPREAD / 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn only_an_answer_after_a_silence_is_a_revival() {
        let pulse = Pulse::default();
        let revivals = pulse.revivals();
        pulse.answered();
        assert!(!revivals.has_changed().unwrap());
        *pulse.0.last.lock().unwrap() -= SILENT;
        pulse.answered();
        assert!(revivals.has_changed().unwrap());
    }
}
