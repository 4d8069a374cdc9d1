//! When to look at which network again: one time for each.
//!
//! Used by the controller's loop. Pure. The next one is found without looking at all.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::types::ObjectName;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_network: BTreeMap<ObjectName, Instant>,
    by_time: BTreeSet<(Instant, ObjectName)>,
}

impl Timers {
    /// At this time, or when it was to be looked at before, if that is sooner.
    pub(super) fn no_later(&mut self, network: &ObjectName, at: Instant) {
        if self.by_network.get(network).is_none_or(|old| at < *old) {
            self.clear(network);
            self.by_network.insert(network.clone(), at);
            self.by_time.insert((at, network.clone()));
        }
    }

    /// It need not be looked at.
    pub(super) fn clear(&mut self, network: &ObjectName) {
        if let Some(old) = self.by_network.remove(network) {
            self.by_time.remove(&(old, network.clone()));
        }
    }

    /// The time of the next one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// A network whose time has come; it is taken out.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ObjectName> {
        let (_, network) = self.by_time.first().filter(|(at, _)| *at <= now).cloned()?;
        self.clear(&network);
        Some(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_network_has_one_time_the_soonest() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let (a, b) = (ObjectName::new("x", "a"), ObjectName::new("x", "b"));
        let mut timers = Timers::default();
        timers.no_later(&a, now + 3 * second);
        timers.no_later(&b, now + 2 * second);
        timers.no_later(&a, now + second);
        timers.no_later(&a, now + 9 * second);
        assert_eq!(timers.next(), Some(now + second));
        assert_eq!(timers.pop(now), None);
        assert_eq!(timers.pop(now + 9 * second), Some(a));
        assert_eq!(timers.next(), Some(now + 2 * second));
        timers.clear(&b);
        assert_eq!(timers.pop(now + 9 * second), None);
    }
}
