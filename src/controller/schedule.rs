//! Which network is worked on next, and when each is looked at again.
//!
//! Used by the controller's loop. Pure. A network that was just worked on rests: echoes of our own writes
//! and the reports that answer them are taken together.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::queue::Queue;
use super::timers::Timers;
use crate::types::ObjectName;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    queue: Queue,
    timers: Timers,
    resting: BTreeMap<ObjectName, Instant>,
}

impl Schedule {
    /// There is something to do for this network: at once, or when it has rested.
    pub(super) fn touch(&mut self, network: ObjectName, now: Instant) {
        match self.resting.get(&network).copied() {
            Some(until) if until > now && !self.queue.is_busy(&network) => {
                self.timers.no_later(&network, until);
            }
            _ => self.queue.push(network),
        }
    }

    /// The next network; it is busy until it is [`done`](Self::done).
    pub(super) fn pop(&mut self) -> Option<ObjectName> {
        self.queue.pop()
    }

    /// It rests until then, and is looked at again `at`, if that is said.
    pub(super) fn done(&mut self, network: &ObjectName, rests_until: Instant, at: Option<Instant>) {
        self.resting.insert(network.clone(), rests_until);
        self.timers.clear(network);
        if self.queue.done(network) {
            self.timers.no_later(network, rests_until);
        }
        if let Some(at) = at {
            self.timers.no_later(network, at.max(rests_until));
        }
    }

    /// Nothing is left of it.
    pub(super) fn forget(&mut self, network: &ObjectName) {
        self.resting.remove(network);
    }

    /// When the next one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Those whose time has come are to be worked on.
    pub(super) fn ring(&mut self, now: Instant) {
        while let Some(network) = self.timers.pop(now) {
            self.queue.push(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_that_was_just_worked_on_rests() {
        let (now, rest, a) = (Instant::now(), Duration::from_millis(25), ObjectName::new("x", "a"));
        let mut schedule = Schedule::default();
        schedule.touch(a.clone(), now);
        assert_eq!(schedule.pop(), Some(a.clone()));
        // Twice while it is busy, once while it rests: one turn.
        schedule.touch(a.clone(), now);
        schedule.touch(a.clone(), now);
        schedule.done(&a, now + rest, Some(now + 9 * rest));
        schedule.touch(a.clone(), now);
        assert_eq!(schedule.pop(), None);
        assert_eq!(schedule.next(), Some(now + rest));
        schedule.ring(now + rest);
        assert_eq!(schedule.pop(), Some(a.clone()));
        schedule.done(&a, now + 2 * rest, None);
        assert_eq!((schedule.pop(), schedule.next()), (None, None));
        // Rested: at once.
        schedule.touch(a.clone(), now + 2 * rest);
        assert_eq!(schedule.pop(), Some(a));
    }
}
