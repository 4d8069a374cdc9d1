//! What a network's dnsmasq says, said again in the agent's own log, where it has keys and a network.
//!
//! Used by the network's worker, in whose span it stands. Guests may have dnsmasq say much: of each network
//! only so much is repeated, and how much was not.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::dnsmasq::Message;

/// So many at once …
const BURST: u32 = 20;
/// … and then one in this time.
const EVERY: Duration = Duration::from_secs(3);

/// How much there may be.
#[derive(Debug)]
pub(super) struct Bucket {
    left: u32,
    since: Option<Instant>,
    withheld: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { left: BURST, since: None, withheld: 0 }
    }
}

impl Bucket {
    /// Whether there may be one now, and how many there might not be before it.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        let more = u32::try_from(elapsed.as_secs() / EVERY.as_secs()).unwrap_or(BURST);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.since = Some(now);
        }
        if self.left == 0 {
            self.withheld += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

/// See the module. Routine does not keep from being said what is none.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    routine: Bucket,
    news: Bucket,
}

impl Repeat {
    /// Repeats what is to be repeated.
    pub(super) fn tell(&mut self, messages: Vec<Message>, now: Instant) {
        for Message { program, text, is_routine } in messages {
            let bucket = if is_routine { &mut self.routine } else { &mut self.news };
            let Some(withheld) = bucket.take(now) else { continue };
            if is_routine {
                debug!(program, dnsmasq = text, withheld, "dnsmasq says");
            } else {
                warn!(program, dnsmasq = text, withheld, "dnsmasq says");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn much_is_repeated_in_part_and_it_is_said_how_much_was_not() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let taken: Vec<_> = (0..100).filter_map(|_| bucket.take(now)).collect();
        assert_eq!(taken, vec![0; 20]);
        assert_eq!(bucket.take(now + EVERY - Duration::from_millis(1)), None);
        assert_eq!(bucket.take(now + EVERY), Some(81));
        assert_eq!(bucket.take(now + EVERY), None);
        let later = now + Duration::from_secs(3600);
        let taken: Vec<_> = (0..100).filter_map(|_| bucket.take(later)).collect();
        assert_eq!((taken.len(), taken[0], taken[1]), (20, 1, 0));
    }
}
