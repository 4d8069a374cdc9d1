//! A dnsmasq that ends again and again soon after its start.
//!
//! Called by the worker.

use std::time::Duration;

use tokio::time::Instant;

use super::next::RETRY;
use crate::dnsmasq;
use crate::node::Action;

/// A process that ends sooner after its start did not do its work.
const SHORT_LIFE: Duration = Duration::from_secs(10);

/// When it was started, and how often in a row it did not live long.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    started: Option<Instant>,
    short_lives: u32,
}

impl Crashes {
    pub(super) fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// A process that was found dead is started at once, but not for ever.
    pub(super) fn wait(&mut self, actions: &[Action]) -> Option<Instant> {
        let stops = actions.contains(&Action::Server(dnsmasq::Action::Stop));
        let starts = actions.iter().any(|a| matches!(a, Action::Server(dnsmasq::Action::Start(_))));
        if !starts || stops {
            return None;
        }
        let started = self.started?;
        if started.elapsed() > SHORT_LIFE.max(RETRY.after(self.short_lives) * 2) {
            self.short_lives = 0;
            return None;
        }
        let at = started + RETRY.after(self.short_lives);
        if self.short_lives > 1 && Instant::now() < at {
            return Some(at);
        }
        self.short_lives += 1;
        None
    }
}
