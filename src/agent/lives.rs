//! How long a network's dnsmasq lived: one that ends again and again soon after its start is not started
//! at once for ever.
//!
//! Used by the network's worker.

use std::time::Duration;

use tokio::time::Instant;

use super::next::RETRY;
use crate::dnsmasq;
use crate::node::Action;

/// A process that ends sooner after its start did not do its work.
const SHORT_LIFE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub(super) struct Lives {
    short: u32,
    started: Option<Instant>,
}

impl Lives {
    /// A process was started.
    pub(super) fn begin(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// A process that was found dead is started at once, but not for ever: when, if that is not now.
    pub(super) fn crash_loop(&mut self, actions: &[Action]) -> Option<Instant> {
        let stops = actions.contains(&Action::Server(dnsmasq::Action::Stop));
        let starts = actions.iter().any(|a| matches!(a, Action::Server(dnsmasq::Action::Start(_))));
        if !starts || stops {
            return None;
        }
        let started = self.started?;
        if started.elapsed() > SHORT_LIFE.max(RETRY.after(self.short) * 2) {
            self.short = 0;
            return None;
        }
        let at = started + RETRY.after(self.short);
        if self.short > 1 && Instant::now() < at {
            return Some(at);
        }
        self.short += 1;
        None
    }
}
