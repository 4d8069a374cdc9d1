//! When a worker is to look again.
//!
//! Used by the worker.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::backoff::{Backoff, jittered};

/// After failures in a row.
pub(super) const RETRY: Backoff =
    Backoff { first: Duration::from_millis(200), last: Duration::from_secs(60) };

/// How often something failed in a row.
#[derive(Default)]
pub(super) struct Failures(pub(super) u32);

impl Failures {
    /// One more; when to try again: later each time, and not at the same time as others that failed
    /// together.
    pub(super) fn retry_at(&mut self) -> Instant {
        let wait = RETRY.after(self.0);
        self.0 = self.0.saturating_add(1);
        Instant::now() + wait / 2 + jittered(wait)
    }
}

/// For ever, if there is nothing to wait for.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// When to look again without being woken.
#[derive(Clone, Copy)]
pub(super) enum Next {
    Never,
    At(Instant),
    /// Nothing of this network is wanted or there.
    End,
}

impl Next {
    /// Returns when it is time; never, if there is none.
    pub(super) async fn due(&self) {
        match self {
            Self::At(when) => until(Some(*when)).await,
            Self::Never | Self::End => until(None).await,
        }
    }

    pub(super) fn is_never(self) -> bool {
        matches!(self, Self::Never)
    }

    pub(super) fn no_later(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::Never, other) => other,
            (own, _) => own,
        }
    }
}
