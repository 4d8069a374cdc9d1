//! Guests that DHCPv6 knows by what they call themselves, as they come.
//!
//! Used by the network's worker. Strangers are kept from the server by their MAC addresses; of such a guest
//! nobody knows that before it asks. So it is listened for, and let through when it asks again, which it does
//! after a second (RFC 8415 §15). Nobody listens where no Port is known so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::context::Context;
use super::ear::Ear;
use super::next::until;
use crate::host::{Error, Host};
use crate::node::{Newcomer, Segment};
use crate::types::{Identifier, MacAddr, NetworkUid};

/// Devices that one guest may have: the first of more is let through no longer.
const DEVICES: usize = 4;
/// Between two times that guests are let through: whoever knows what a Port's guest calls itself may come by
/// any number of devices.
const EVERY: Duration = Duration::from_secs(1);
/// Between two times of beginning to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Newcomers {
    /// The last ones last.
    all: Vec<Newcomer>,
    /// Who is listened for.
    duids: BTreeSet<Identifier>,
    /// Who is let through anyway.
    known: BTreeSet<MacAddr>,
    ear: Ear<Newcomer>,
    /// When to let those through that came.
    due: Option<Instant>,
    not_before: Option<Instant>,
}

impl Newcomers {
    /// Those that were let through by the agent before this one.
    pub(super) fn remember<'a>(&mut self, all: impl Iterator<Item = &'a Newcomer>) {
        self.all = all.cloned().collect();
    }

    /// Those that are let through.
    pub(super) fn list(&self) -> &[Newcomer] {
        &self.all
    }

    /// Lets through who came and is still a Port's guest.
    pub(super) fn welcome(&mut self, segment: Option<&mut Segment>) {
        let duids: BTreeSet<_> = segment.iter().flat_map(|segment| segment.duids()).cloned().collect();
        if duids != self.duids {
            // Whoever listens does so for the others.
            self.ear.reopen((!duids.is_empty()).then(Instant::now));
            self.all.retain(|newcomer| duids.contains(&newcomer.duid));
            self.duids = duids;
        }
        self.due = None;
        let Some(segment) = segment.filter(|_| !self.duids.is_empty()) else { return };
        let known = segment.namespace.iter().flat_map(|namespace| &namespace.known).flatten();
        self.known = known.copied().collect();
        segment.welcome(&self.all);
    }

    /// Returns when somebody is to be let through. Cancel-safe: what is heard waits.
    pub(super) async fn told<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        // Before there is a device there is nothing to hear.
        let failed = |e: &Error, before| {
            if before > 0 {
                context.metrics.failed("listen");
                warn!(error = e as &(dyn std::error::Error + 'static), "cannot listen for guests");
            }
        };
        loop {
            self.ear.open(PAUSE, || context.host.newcomers(uid, &self.duids), failed).await;
            tokio::select! {
                newcomer = self.ear.heard(PAUSE) => if let Some(newcomer) = newcomer {
                    self.hear(newcomer);
                },
                () = until(self.due) => {
                    (self.due, self.not_before) = (None, Some(Instant::now() + EVERY));
                    return;
                }
            }
        }
    }

    fn hear(&mut self, newcomer: Newcomer) {
        if self.known.contains(&newcomer.mac_address) || self.all.contains(&newcomer) {
            return;
        }
        debug!(duid = %newcomer.duid, mac = %newcomer.mac_address, "the guest of a Port came by a device that is new");
        self.all.retain(|other| other.mac_address != newcomer.mac_address);
        let own = |other: &Newcomer| other.duid == newcomer.duid;
        if self.all.iter().filter(|other| own(other)).count() >= DEVICES
            && let Some(first) = self.all.iter().position(own)
        {
            self.all.remove(first);
        }
        self.all.push(newcomer);
        let now = Instant::now();
        self.due = self.due.or(Some(self.not_before.map_or(now, |at| at.max(now))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer(duid: u8, n: u8) -> Newcomer {
        let mac_address = MacAddr::local([n; 5]);
        let duid = Identifier::new(&[0, 4, duid]).unwrap();
        Newcomer { duid, mac_address, link_local: mac_address.link_local() }
    }

    fn devices(newcomers: &Newcomers) -> Vec<Newcomer> {
        newcomers.list().to_vec()
    }

    #[tokio::test]
    async fn a_guest_has_a_few_devices_and_none_of_anothers_is_lost_for_it() {
        let mut newcomers = Newcomers::default();
        newcomers.hear(newcomer(2, 9));
        for n in 1..=6 {
            newcomers.hear(newcomer(1, n));
            newcomers.hear(newcomer(1, n));
        }
        let left: Vec<_> = [(2, 9), (1, 3), (1, 4), (1, 5), (1, 6)].map(|(id, n)| newcomer(id, n)).into();
        assert_eq!(devices(&newcomers), left);
        newcomers.hear(newcomer(3, 9));
        assert_eq!(newcomers.list().last(), Some(&newcomer(3, 9)), "another guest by the same device");
        assert_eq!(newcomers.list().len(), 5);
    }

    #[tokio::test]
    async fn whoever_is_known_is_no_news_and_many_are_let_through_together() {
        let mut newcomers = Newcomers::default();
        newcomers.known.insert(MacAddr::local([7; 5]));
        newcomers.hear(newcomer(1, 7));
        assert_eq!((newcomers.due, newcomers.list().len()), (None, 0));
        newcomers.hear(newcomer(1, 1));
        assert!(newcomers.due.is_some_and(|due| due <= Instant::now()), "the first at once");
        let later = Instant::now() + EVERY;
        (newcomers.due, newcomers.not_before) = (None, Some(later));
        newcomers.hear(newcomer(1, 2));
        newcomers.hear(newcomer(1, 3));
        assert_eq!(newcomers.due, Some(later));
    }

    #[tokio::test]
    async fn where_nobody_is_known_so_nobody_is_kept() {
        let mut newcomers = Newcomers::default();
        newcomers.remember([newcomer(1, 1)].iter());
        newcomers.duids.insert(newcomer(1, 1).duid);
        newcomers.welcome(Some(&mut Segment::default()));
        assert!(newcomers.list().is_empty() && newcomers.ear.next.is_none());
        newcomers.remember([newcomer(1, 1)].iter());
        newcomers.welcome(None);
        assert!(newcomers.ear.next.is_none());
    }
}
