//! A dnsmasq that ends again and again soon after its start.
//!
//! Called by the worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::next::RETRY;
use crate::dnsmasq::{self, Share};
use crate::node::Action;

/// A process that ends sooner after its start did not do its work.
const SHORT_LIFE: Duration = Duration::from_secs(10);

/// When it was started, and how often in a row it did not live long.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    started: Option<Instant>,
    short_lives: u32,
}

/// Of all of a network's servers.
#[derive(Debug, Default)]
pub(super) struct AllCrashes(BTreeMap<Option<Share>, Crashes>);

impl AllCrashes {
    pub(super) fn started(&mut self, share: Option<Share>, now: Instant) {
        self.0.entry(share).or_default().started = Some(now);
    }

    /// It could not be started: no life, and no short one.
    pub(super) fn not_started(&mut self, share: Option<Share>) {
        self.0.remove(&share);
    }

    /// Leaves out what is to be done for servers that have to wait; until when, if there is one.
    pub(super) fn hold_back(&mut self, actions: &mut Vec<Action>) -> Option<Instant> {
        let mut due: Option<Instant> = None;
        let servers: BTreeSet<_> = actions.iter().filter_map(|a| Some(a.of_server()?.0)).collect();
        for share in servers {
            let own = actions.iter().filter_map(Action::of_server).filter(|(of, _)| *of == share);
            let own: Vec<_> = own.map(|(_, action)| action).collect();
            let Some(at) = self.0.get_mut(&share).and_then(|crashes| crashes.wait(&own)) else { continue };
            due = Some(due.map_or(at, |due| due.min(at)));
            actions.retain(|action| action.of_server().is_none_or(|(of, _)| of != share));
        }
        due
    }
}

impl Crashes {
    /// A process that was found dead is started at once, but not for ever.
    fn wait(&mut self, actions: &[&dnsmasq::Action]) -> Option<Instant> {
        let stops = actions.contains(&&dnsmasq::Action::Stop);
        let starts = actions.iter().any(|a| matches!(a, dnsmasq::Action::Start(_)));
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
