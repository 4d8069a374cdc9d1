//! A network's ear at its segment: opened when it is time, and again when that failed or the device went.
//!
//! Used by `foreigners` and `newcomers`, who say what is listened for, and what to say of failures.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::next::{RETRY, until};
use crate::host::Error;

/// See the module.
pub(super) struct Ear<T> {
    open: Option<mpsc::Receiver<T>>,
    /// When to open it; `None`: there is nothing to listen for.
    pub(super) next: Option<Instant>,
    failures: u32,
}

impl<T> Default for Ear<T> {
    fn default() -> Self {
        Self { open: None, next: None, failures: 0 }
    }
}

impl<T> Ear<T> {
    /// Closes it, to be opened then.
    pub(super) fn reopen(&mut self, next: Option<Instant>) {
        (self.open, self.next) = (None, next);
    }

    /// Returns when it is open. `failed` is told how many failures in a row there were before. Cancel-safe.
    pub(super) async fn open<F: Future<Output = Result<mpsc::Receiver<T>, Error>>>(
        &mut self,
        pause: Duration,
        listen: impl Fn() -> F,
        failed: impl Fn(&Error, u32),
    ) {
        while self.open.is_none() {
            until(self.next).await;
            match listen().await {
                Ok(open) => (self.open, self.failures) = (Some(open), 0),
                Err(e) => {
                    failed(&e, self.failures);
                    self.failures = self.failures.saturating_add(1);
                    self.retry(pause);
                }
            }
        }
    }

    /// What is heard; `None`: the device is gone, or another one. Cancel-safe: what is heard waits.
    pub(super) async fn heard(&mut self, pause: Duration) -> Option<T> {
        let heard = self.open.as_mut()?.recv().await;
        if heard.is_none() {
            self.retry(pause);
        }
        heard
    }

    fn retry(&mut self, pause: Duration) {
        self.reopen(Some(Instant::now() + pause + RETRY.after(self.failures)));
    }
}
