//! What a network's servers write down while nobody tells it anything: leases, and what it says of guests.
//!
//! Used by the network's worker, which is woken when there is news. Leases change with every guest that
//! comes: they are read when the kernel says so, and not often. Its log is read sooner: there a guest waits.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::context::Context;
use super::next::until;
use super::reborn::Reborn;
use super::repeat::Repeat;
use super::signal::Signal;
use crate::dnsmasq::{self, Lease, Share};
use crate::host::{Ends, Error, Host, Leases, Said, Solicitor};
use crate::node::{Action, Family, Segment};
use crate::types::{MacAddr, NetworkUid};

/// Leases are at least this long what they were said to be: each time makes a pass here and, where there is
/// a controller, one of its own.
const LEASES_EVERY: Duration = Duration::from_secs(10);
/// The log is read at most so often: a guest can have much written into it.
const LOG_EVERY: Duration = Duration::from_millis(200);
/// Between two times of listening.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// Guests that are listened for at a time.
const LISTENED_FOR: usize = 64;

type Listening = AbortOnDropHandle<Result<Vec<Solicitor>, Error>>;

/// See the module.
pub(super) struct Hearing {
    /// When the leases are to be read; `None`: not before something is written.
    leases_due: Option<Instant>,
    leases_not_before: Instant,
    /// Of the leases that were read last.
    known: u64,
    leases: Option<Leases>,
    log_due: Option<Instant>,
    log_not_before: Instant,
    /// Up to where the logs are read; `None`: what is in them is of another time.
    log: Option<Ends>,
    /// Identifiers of guests that got no address, to be listened for.
    nameless: BTreeSet<String>,
    /// Addresses that their guests declined, and by which device.
    pub(super) declined: BTreeMap<IpAddr, Option<MacAddr>>,
    listening: Option<Listening>,
    listen_not_before: Instant,
    /// Who asked by DHCPv6 and got no address because all of theirs are leased.
    asked: Vec<Solicitor>,
    reborn: Reborn,
    repeat: Repeat,
    /// Leases that the server did not give up when it was told.
    pub(super) withheld: Leases,
}

impl Hearing {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            leases_due: None,
            leases_not_before: now,
            known: 0,
            leases: None,
            log_due: Some(now),
            log_not_before: now,
            log: None,
            nameless: BTreeSet::new(),
            declined: BTreeMap::new(),
            listening: None,
            listen_not_before: now,
            asked: Vec::new(),
            reborn: Reborn::default(),
            repeat: Repeat::default(),
            withheld: Leases::new(),
        }
    }

    /// Brings a segment's leases up to date, if there are others. They are older than what is looked at
    /// after this.
    pub(super) fn tell(&mut self, segment: Option<&mut Segment>) {
        let Some(segment) = segment.filter(|segment| segment.server.is_some()) else { return };
        let Some(mut all) = self.leases.take() else { return };
        for (share, server) in segment.servers_mut() {
            let mut leases = all.remove(&share).unwrap_or_default();
            // It was told so before.
            let withheld = self.withheld.entry(share).or_default();
            withheld.retain(|ip, lease| leases.get(ip) == Some(lease));
            leases.retain(|ip, _| !withheld.contains_key(ip));
            server.leases = leases;
        }
    }

    /// These the server did not give up.
    pub(super) fn withhold(&mut self, kept: &[(Option<Share>, IpAddr, Lease)]) {
        for (share, ip, lease) in kept {
            self.withheld.entry(*share).or_default().insert(*ip, lease.clone());
        }
    }

    /// Gives back leases that are in the way of guests that have come again under another identity.
    pub(super) fn in_the_way(&mut self, segment: &Segment) -> impl Iterator<Item = Action> + use<> {
        let (asked, now) = (std::mem::take(&mut self.asked), Instant::now());
        let mut actions = Vec::new();
        for (share, server) in segment.servers_of(Family::V6).filter(|(_, server)| server.process.is_some()) {
            let leases = self.reborn.in_the_way(&asked, server, now).into_iter();
            let release = |(ip, lease)| Action::for_server(share, dnsmasq::Action::Release(ip, lease));
            actions.extend(leases.map(release));
        }
        actions.into_iter()
    }

    /// Returns when there is news. Cancel-safe: what is written stays to be read, and listening goes on.
    pub(super) async fn told<H: Host>(
        &mut self,
        context: &Arc<Context<H>>,
        uid: NetworkUid,
        signal: &Signal,
    ) {
        loop {
            let listen =
                (!self.nameless.is_empty() && self.listening.is_none()).then_some(self.listen_not_before);
            tokio::select! {
                () = signal.written() => self.written(),
                () = until(self.leases_due) => if self.read_leases(context, uid).await { return },
                () = until(self.log_due) => if self.read_log(context, uid).await { return },
                () = until(listen) => self.listen(context, uid),
                found = heard(self.listening.as_mut()) => if self.found(context, uid, found).await { return },
            }
        }
    }

    fn written(&mut self) {
        self.leases_due = self.leases_due.or(Some(self.leases_not_before));
        self.log_due = self.log_due.or(Some(self.log_not_before));
    }

    /// Whether they are others than before.
    async fn read_leases<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) -> bool {
        let leases = context.host.leases(uid).await;
        self.leases_due = None;
        self.leases_not_before = Instant::now() + LEASES_EVERY;
        leases.is_ok_and(|leases| self.learn(leases))
    }

    fn learn(&mut self, leases: Leases) -> bool {
        let news = self.are_news(&leases);
        self.leases = Some(leases).filter(|_| news);
        news
    }

    /// That they are renewed is none.
    fn are_news(&mut self, leases: &Leases) -> bool {
        let mut hasher = DefaultHasher::new();
        leases.hash(&mut hasher);
        let known = std::mem::replace(&mut self.known, hasher.finish());
        known != self.known
    }

    /// Learns who waits, and whether something was declined. Many identifiers have a MAC address in them:
    /// any that their guest likes, so all are listened for.
    async fn read_log<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) -> bool {
        let said = context.host.said(uid, self.log.as_ref()).await;
        self.log_due = None;
        self.log_not_before = Instant::now() + LOG_EVERY;
        let Ok(Said { without_address, declined, messages, ends }) = said else { return false };
        self.log = Some(ends);
        self.repeat.tell(messages, Instant::now());
        let room = LISTENED_FOR.saturating_sub(self.nameless.len());
        self.nameless.extend(without_address.into_iter().take(room));
        self.declined.extend(declined);
        !self.declined.is_empty()
    }

    fn listen<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        let (context, duids) = (context.clone(), std::mem::take(&mut self.nameless));
        let listen = async move { context.host.solicitors(uid, &duids).await };
        self.listening = Some(AbortOnDropHandle::new(tokio::spawn(listen)));
    }

    async fn found<H: Host>(
        &mut self,
        context: &Arc<Context<H>>,
        uid: NetworkUid,
        found: Result<Vec<Solicitor>, Error>,
    ) -> bool {
        self.listening = None;
        self.listen_not_before = Instant::now() + LISTEN_EVERY;
        match found {
            Ok(found) => self.asked.extend(found),
            Err(e) => {
                context.metrics.failed("listen");
                warn!(error = &e as &(dyn std::error::Error + 'static), "cannot listen for guests");
            }
        }
        self.refresh(context, uid).await
    }

    /// Whoever asked is judged by the leases as they are now.
    async fn refresh<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) -> bool {
        if self.asked.is_empty() {
            return false;
        }
        self.look(context, uid).await;
        true
    }

    /// Reads the leases as they are now; whether that went well.
    pub(super) async fn look<H: Host>(&mut self, context: &Context<H>, uid: NetworkUid) -> bool {
        let Ok(leases) = context.host.leases(uid).await else { return false };
        self.are_news(&leases);
        self.leases = Some(leases);
        true
    }
}

async fn heard(listening: Option<&mut Listening>) -> Result<Vec<Solicitor>, Error> {
    match listening {
        Some(listening) => listening.await.unwrap_or(Ok(Vec::new())),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_leases_are_no_news() {
        let mut hearing = Hearing::new();
        let leases = |n: u8| {
            let lease = Lease::V4 { mac: MacAddr::local([n; 5]), client_id: None };
            Leases::from([(None, [([10, 0, 0, n].into(), lease)].into())])
        };
        assert!(hearing.learn(leases(1)));
        assert_eq!((hearing.leases.take(), hearing.leases.take()), (Some(leases(1)), None));
        assert!(!hearing.learn(leases(1)));
        assert_eq!(hearing.leases, None);
        assert!(hearing.learn(leases(2)));
    }
}
