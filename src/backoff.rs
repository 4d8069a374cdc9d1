//! How long to wait before something that failed is tried again.
//!
//! Used by every loop that tries again. Pure but for chance.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Waits that double from `first` up to `last`.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// No wait is longer.
    pub last: Duration,
}

impl Backoff {
    /// The wait after a failure that so many others in a row went before.
    pub fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(failures)).min(self.last)
    }
}

/// Between half of `wait` and all of it, so that those who failed together do not come together.
pub fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + chance() / 2.0)
}

/// A number from 0 to 1.
pub fn chance() -> f64 {
    f64::from(u16::try_from(RandomState::new().build_hasher().finish() % 1_000).unwrap_or_default()) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_the_last() {
        let backoff = Backoff { first: Duration::from_millis(200), last: Duration::from_secs(60) };
        let waits = [0, 1, 2, 8, 9, u32::MAX].map(|failures| backoff.after(failures).as_millis());
        assert_eq!(waits, [200, 400, 800, 51_200, 60_000, 60_000]);
    }

    #[test]
    fn jitter_takes_away_half_at_most() {
        let wait = Duration::from_secs(10);
        let waits: Vec<_> = (0..100).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|jittered| (wait / 2..=wait).contains(jittered)), "{waits:?}");
        assert!(waits.iter().any(|jittered| *jittered != waits[0]), "{waits:?}");
    }
}
