//! Addresses that their guests declined (RFC 2131 §3.1.5, RFC 8415 §18.2.8): somebody else had them.
//!
//! Used by the network's worker. dnsmasq does not offer such an address for ten minutes; a fresh process
//! does. So it is started anew as soon as nobody else answers at the address, less often the more is
//! declined: a guest may do so at its pleasure, and the others wait for the start.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::context::Context;
use super::next::until;
use super::repeat::Bucket;
use crate::api::{DeclinedAddress, MOST_LISTED};
use crate::backoff::Backoff;
use crate::desired::Desired;
use crate::dnsmasq::{Rights, Server};
use crate::host::{Error, Host};
use crate::types::{Identity, MacAddr, NetworkUid};

/// How long dnsmasq keeps such an address back: `DECLINE_BACKOFF` in its `config.h`.
const KEPT_BACK: Duration = Duration::from_secs(600);
/// Between two times of asking who has them.
const ASK: Backoff = Backoff { first: Duration::from_secs(1), last: Duration::from_secs(30) };
/// Between two starts.
const REOPEN: Backoff = Backoff { first: Duration::from_secs(2), last: KEPT_BACK };

type Holders = BTreeMap<IpAddr, MacAddr>;

/// Who has these addresses?
type Question = (BTreeSet<IpAddr>, AbortOnDropHandle<Result<Holders, Error>>);

/// See the module.
#[derive(Default)]
pub(super) struct Declined {
    all: BTreeMap<IpAddr, Address>,
    question: Option<Question>,
    /// When to ask; `None`: no address is kept back.
    ask_at: Option<Instant>,
    /// Times that were asked since one was declined.
    asked: u32,
    reopen_at: Option<Instant>,
    /// dnsmasq is to be started for them.
    reopens: bool,
    not_before: Option<Instant>,
    reopened: u32,
    said: Bucket,
}

#[derive(Debug)]
struct Address {
    /// Whose it is.
    owner: Identity,
    /// By which device, as far as that is known.
    device: Option<MacAddr>,
    /// Until when this is of interest.
    until: Instant,
    /// Whether the process that runs keeps it back.
    kept_back: bool,
    holder: Holder,
}

/// Who answers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    NotAsked,
    Nobody,
    Other(MacAddr),
}

impl Declined {
    /// Takes in what a server says was declined: the lease is gone.
    pub(super) fn hear(&mut self, declined: &BTreeMap<IpAddr, Option<MacAddr>>, server: &mut Server) {
        if declined.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.not_before.is_some_and(|at| now > at + KEPT_BACK) {
            self.reopened = 0;
        }
        let rights = server.rights();
        let owned = declined.iter().filter_map(|(ip, by)| Some((*ip, rights.owner(*ip)?.clone(), *by)));
        for (ip, owner, device) in owned.collect::<Vec<_>>() {
            if let Some(withheld) = self.said.take(now) {
                warn!(%ip, guest = %owner, withheld, "an address was declined by its guest");
            }
            server.leases.remove(&ip);
            let device = owner.mac().or(device);
            let holder = self.all.get(&ip).map_or(Holder::NotAsked, |address| address.holder);
            self.all.insert(ip, Address { owner, device, until: now + KEPT_BACK, kept_back: true, holder });
            self.asked = 0;
            self.ask_at = Some(self.ask_at.map_or(now, |at| at.min(now + ASK.first)));
        }
    }

    /// Forgets those that are their guests' again, or nobody's.
    pub(super) fn settle<'a>(&mut self, servers: impl IntoIterator<Item = &'a Server>) {
        if self.all.is_empty() {
            return;
        }
        let servers: Vec<_> = servers.into_iter().map(|server| (server.rights(), server)).collect();
        if servers.is_empty() {
            return *self = Self::default();
        }
        let now = Instant::now();
        self.all.retain(|ip, address| {
            let owns = |rights: &Rights<'_>| rights.owner(*ip) == Some(&address.owner);
            let Some((rights, server)) = servers.iter().find(|(rights, _)| owns(rights)) else {
                return false;
            };
            let leased = || server.leases.get(ip).is_some_and(|lease| rights.has(*ip, lease));
            now < address.until && (address.kept_back || !leased())
        });
        self.plan(now);
    }

    /// dnsmasq was started, for the guests of this server: it keeps nothing back of theirs.
    pub(super) fn begin_anew(&mut self, server: &Server) {
        if self.all.is_empty() {
            return;
        }
        let own = self.kept_back_by(server);
        if !own.is_empty() && std::mem::take(&mut self.reopens) {
            info!("dnsmasq was started anew for addresses that were declined and that nobody has");
            self.not_before = Some(Instant::now() + REOPEN.after(self.reopened));
            self.reopened = self.reopened.saturating_add(1);
        }
        self.all.iter_mut().for_each(|(ip, address)| address.kept_back &= !own.contains(ip));
        if self.all.values().all(|address| !address.kept_back) {
            (self.ask_at, self.question, self.reopen_at) = (None, None, None);
        }
    }

    /// Whether the dnsmasq that is this server is to be started for them.
    pub(super) fn reopens(&self, server: &Server) -> bool {
        self.reopens && !self.kept_back_by(server).is_empty()
    }

    fn kept_back_by(&self, server: &Server) -> BTreeSet<IpAddr> {
        let rights = server.rights();
        let own = |(ip, address): &(&IpAddr, &Address)| {
            address.kept_back && rights.owner(**ip) == Some(&address.owner)
        };
        self.all.iter().filter(own).map(|(ip, _)| *ip).collect()
    }

    /// Those of Ports.
    pub(super) fn list(&self, desired: &Desired) -> Vec<DeclinedAddress> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let ports = desired.ports.iter();
        let owned = ports.flat_map(|(name, view)| view.addresses.iter().map(move |(ip, _)| (ip, name)));
        let of = |(ip, name): (&IpAddr, &String)| {
            let held_by = match self.all.get(ip)?.holder {
                Holder::NotAsked => return None,
                Holder::Nobody => None,
                Holder::Other(mac) => Some(mac.to_string()),
            };
            Some(DeclinedAddress { ip: ip.to_string(), port_name: name.clone(), held_by })
        };
        owned.filter_map(of).take(MOST_LISTED).collect()
    }

    /// Returns when something else is known than before, or is to be done. Cancel-safe: the question goes on.
    pub(super) async fn told<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        loop {
            let over = self.all.values().map(|address| address.until).min();
            tokio::select! {
                () = until(over) => return,
                () = until(self.reopen_at) => {
                    (self.reopens, self.reopen_at) = (true, None);
                    return;
                }
                () = until(self.ask_at.filter(|_| self.question.is_none())) => self.ask(context, uid),
                answer = answered(self.question.as_mut()) => {
                    let asked = self.question.take().map(|(asked, _)| asked).unwrap_or_default();
                    let now = Instant::now();
                    match answer {
                        Ok(found) => if self.learn(&asked, &found, now) { return },
                        Err(e) => {
                            self.plan_again(now);
                            context.metrics.failed("ask-who-has");
                            let error = &e as &(dyn std::error::Error + 'static);
                            warn!(error, "cannot ask who has an address");
                        }
                    }
                }
            }
        }
    }

    fn ask<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        let kept_back = self.all.iter().filter(|(_, address)| address.kept_back);
        let asked: BTreeSet<_> = kept_back.map(|(ip, _)| *ip).collect();
        let (context, addresses) = (context.clone(), asked.clone());
        let ask = async move { context.host.who_has(uid, &addresses).await };
        self.question = Some((asked, AbortOnDropHandle::new(tokio::spawn(ask))));
    }

    /// Whether that is new.
    fn learn(&mut self, asked: &BTreeSet<IpAddr>, holders: &Holders, now: Instant) -> bool {
        let mut news = false;
        for (ip, address) in
            self.all.iter_mut().filter(|(ip, address)| address.kept_back && asked.contains(ip))
        {
            let other = holders.get(ip).filter(|mac| Some(**mac) != address.device);
            let holder = other.map_or(Holder::Nobody, |mac| Holder::Other(*mac));
            news |= holder != address.holder;
            address.holder = holder;
        }
        self.plan_again(now);
        news
    }

    /// After they were asked for.
    fn plan_again(&mut self, now: Instant) {
        self.ask_at = Some(now + ASK.after(self.asked));
        self.asked = self.asked.saturating_add(1);
        self.plan(now);
    }

    /// When to start dnsmasq: what nobody has can be given.
    fn plan(&mut self, now: Instant) {
        let kept_back = || self.all.values().filter(|address| address.kept_back);
        let free =
            self.asked > 0 && !self.reopens && kept_back().any(|address| address.holder == Holder::Nobody);
        self.ask_at = self.ask_at.filter(|_| kept_back().next().is_some());
        self.reopen_at = free.then(|| self.not_before.unwrap_or(now).max(now));
    }
}

/// Never, if nothing is asked.
async fn answered(question: Option<&mut Question>) -> Result<Holders, Error> {
    match question {
        Some((_, question)) => question.await.unwrap_or(Err(Error::NotRunning)),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::PortView;
    use crate::dnsmasq::{Host as Line, Hosts, Lease};
    use crate::node::Family;
    use crate::service::Offer;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

    fn other() -> MacAddr {
        MacAddr::local([9; 5])
    }

    fn owner() -> MacAddr {
        MacAddr::local([1; 5])
    }

    fn server() -> Server {
        let offer = Offer { ip: IP, more: vec![], name: "vm1".parse().unwrap() };
        let line = Line { offer: Some(offer), tag: "p".into() };
        let hosts = Hosts::fresh(BTreeMap::from([((owner().into(), Family::V4), line)]));
        Server {
            hosts,
            leases: [(IP, Lease::V4 { mac: owner(), client_id: None })].into(),
            ..Server::default()
        }
    }

    fn declined(server: &mut Server) -> Declined {
        let mut declined = Declined::default();
        declined.hear(&[(IP, None), ([10, 0, 0, 8].into(), None)].into(), server);
        declined
    }

    fn said(declined: &Declined) -> Vec<Option<String>> {
        let view = PortView { addresses: vec![(IP, "s".into())], ..PortView::default() };
        let desired = Desired { ports: [("vm1".to_owned(), view)].into(), ..Desired::default() };
        declined.list(&desired).into_iter().map(|address| address.held_by).collect()
    }

    #[tokio::test]
    async fn what_somebody_else_has_waits_until_he_is_gone() {
        let mut server = server();
        let (mut declined, now) = (declined(&mut server), Instant::now());
        assert!(server.leases.is_empty() && declined.all.len() == 1 && said(&declined).is_empty());
        assert!(declined.learn(&[IP].into(), &[(IP, other())].into(), now));
        assert_eq!((said(&declined), declined.reopen_at), (vec![Some(other().to_string())], None));
        assert!(!declined.learn(&[IP].into(), &[(IP, other())].into(), now));
        assert_eq!(declined.ask_at, Some(now + ASK.first * 2));
        assert!(declined.learn(&[IP].into(), &Holders::new(), now));
        assert_eq!((said(&declined), declined.reopen_at), (vec![None], Some(now)));
        declined.begin_anew(&server);
        declined.settle(Some(&server));
        assert_eq!((said(&declined), declined.ask_at), (vec![None], None), "until its guest has it");
        server.leases.insert(IP, Lease::V4 { mac: owner(), client_id: None });
        declined.settle(Some(&server));
        assert!(said(&declined).is_empty());
    }

    #[tokio::test]
    async fn who_declines_what_he_has_himself_gets_it_again() {
        let mut declined = declined(&mut server());
        assert!(declined.learn(&[IP].into(), &[(IP, owner())].into(), Instant::now()));
        assert!(declined.reopen_at.is_some());
    }

    #[tokio::test]
    async fn dnsmasq_is_started_less_and_less_often() {
        let (mut server, mut declined) = (server(), Declined::default());
        let mut waits = Vec::new();
        for _ in 0..11 {
            declined.hear(&[(IP, None)].into(), &mut server);
            assert!(!declined.reopens && declined.reopen_at.is_none(), "not before somebody was asked");
            let now = Instant::now();
            declined.learn(&[IP].into(), &Holders::new(), now);
            waits.push(declined.reopen_at.unwrap().duration_since(now).as_secs_f64().round());
            declined.reopens = true;
            assert!(declined.reopens(&server) && !declined.reopens(&Server::default()));
            declined.begin_anew(&server);
        }
        assert_eq!(waits, [0., 2., 4., 8., 16., 32., 64., 128., 256., 512., 600.]);
    }

    #[tokio::test]
    async fn of_a_server_that_is_gone_nothing_is_remembered() {
        let mut declined = declined(&mut server());
        declined.settle(None);
        assert!(declined.all.is_empty() && declined.ask_at.is_none());
    }
}
