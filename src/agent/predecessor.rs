//! Whether somebody else still answers at a server's addresses: the server of a node that cannot be told
//! that it is to serve no more.
//!
//! Used by a network's worker while the controller says that there may be one. It asks the segment, and
//! holds back what is found to be another's; it never takes away what the device has: others are given
//! by the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::context::Context;
use crate::api::{DHCPServer, HeldAddress};
use crate::host::{Error, Host};
use crate::node::{Family, Segment};
use crate::reason::{Problem, Reason};
use crate::types::{MacAddr, NetworkUid};

/// A predecessor may come back, and it may end.
const AGAIN: Duration = Duration::from_secs(5);

/// Who answers, by address.
type Holders = BTreeMap<IpAddr, MacAddr>;

/// See the module.
#[derive(Default)]
pub(super) struct Predecessor {
    /// Its node; empty: there is none.
    node: String,
    /// The addresses of the slot.
    asked: BTreeSet<IpAddr>,
    /// `None`: not known yet.
    held: Option<Holders>,
    question: Option<AbortOnDropHandle<Result<Holders, Error>>>,
    /// When to ask; `None`: there is nothing to ask through.
    next: Option<Instant>,
}

impl Predecessor {
    /// Takes in what the controller says.
    pub(super) fn watch(&mut self, server: Option<&DHCPServer>) {
        let predecessor = server.and_then(|server| server.spec.predecessor.as_deref()).unwrap_or_default();
        let asked = server.filter(|_| !predecessor.is_empty()).map(own_addresses).unwrap_or_default();
        if (predecessor, &asked) != (self.node.as_str(), &self.asked) {
            *self = Self { node: predecessor.to_owned(), asked, ..Self::default() };
        }
    }

    /// What can be had of `desired` now, if that is not all.
    pub(super) fn hold_back(&self, desired: &Segment, observed: &Segment) -> Option<Segment> {
        let device = desired.device.as_ref()?;
        let has = observed.device.as_ref().map(|device| &device.addresses);
        let is_doubtful = |net: &&ipnet::IpNet| {
            let there = has.is_some_and(|has| has.contains(*net));
            !there && self.is_doubtful(net.addr())
        };
        let doubtful: BTreeSet<_> = device.addresses.iter().filter(is_doubtful).copied().collect();
        if doubtful.is_empty() {
            return None;
        }
        let mut device = device.clone();
        device.addresses.retain(|net| !doubtful.contains(net));
        let families: Vec<_> = Family::ALL.into_iter().filter(|family| device.speaks(*family)).collect();
        device.gateways.retain(|family, _| families.contains(family));
        // Nobody could ask a server without an address.
        let mut held = Segment { device: Some(device), ..desired.clone() };
        for room in held.rooms.values_mut() {
            room.addresses.retain(|net| !doubtful.contains(net));
        }
        if !families.contains(&Family::V6) {
            keep_shares(&mut held, Family::V6, observed);
        }
        if families.is_empty() {
            held.server.clone_from(&observed.server);
            keep_shares(&mut held, Family::V4, observed);
        }
        Some(held)
    }

    fn is_doubtful(&self, ip: IpAddr) -> bool {
        self.asked.contains(&ip) && self.held.as_ref().is_none_or(|held| held.contains_key(&ip))
    }

    /// Why something was held back.
    pub(super) fn problem(&self) -> Problem {
        let Some(held) = &self.held else {
            let message = format!("asking whether node {} still answers at its addresses", self.node);
            return Problem::new(Reason::Progressing, message);
        };
        let held = held.iter().map(|(ip, mac)| format!("{mac} answers at {ip}"));
        let message = format!("{}, which node {} had before", held.collect::<Vec<_>>().join(", "), self.node);
        Problem::new(Reason::AddressHeldByPredecessor, message)
    }

    /// For the API server; `None`: not known yet.
    pub(super) fn report(&self) -> Option<Vec<HeldAddress>> {
        if self.asked.is_empty() {
            return Some(Vec::new());
        }
        let held =
            |(ip, mac): (&IpAddr, &MacAddr)| HeldAddress { ip: ip.to_string(), mac_address: mac.to_string() };
        self.held.as_ref().map(|all| all.iter().map(held).collect())
    }

    /// Asks from now on, if there is a device to ask through.
    pub(super) fn ask_through(&mut self, segment: Option<&Segment>) {
        let device = segment.and_then(|segment| segment.device.as_ref());
        let can = !self.asked.is_empty() && device.is_some_and(|device| device.up);
        self.next = can.then(|| self.next.unwrap_or_else(Instant::now));
    }

    /// Returns when something else is known than before. Cancel-safe: the question goes on.
    pub(super) async fn told<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        loop {
            let Some(next) = self.next else { return pending().await };
            if self.question.is_none() {
                sleep_until(next).await;
            }
            let question = self.question.get_or_insert_with(|| {
                let (context, asked) = (context.clone(), self.asked.clone());
                let ask = async move { context.host.who_has(uid, &asked).await };
                AbortOnDropHandle::new(tokio::spawn(ask))
            });
            let answer = question.await;
            self.question = None;
            self.next = Some(Instant::now() + AGAIN);
            let found = match answer {
                Ok(Ok(found)) => found,
                Ok(Err(e)) => {
                    context.metrics.failed("ask-predecessor");
                    warn!(error = &e as &(dyn std::error::Error + 'static), "cannot ask for a predecessor");
                    // Guests are answered, whoever else may answer them.
                    self.held.clone().unwrap_or_default()
                }
                Err(_) => continue,
            };
            if self.held.as_ref() != Some(&found) {
                self.learn(found);
                return;
            }
        }
    }

    fn learn(&mut self, found: Holders) {
        for (ip, mac) in &found {
            warn!(node = self.node, %ip, %mac, "a predecessor still answers at this address");
        }
        let before = self.held.replace(found);
        if before.is_some_and(|before| !before.is_empty())
            && self.held.as_ref().is_some_and(Holders::is_empty)
        {
            info!(node = self.node, "the predecessor answers no more");
        }
    }
}

/// The slot's own ones, in whose place others may be used.
fn own_addresses(server: &DHCPServer) -> BTreeSet<IpAddr> {
    let own = server.spec.addresses.iter().map(|address| address.in_place_of.as_ref().unwrap_or(&address.ip));
    own.filter_map(|ip| ip.parse().ok()).collect()
}

/// Leaves the shares of a family as they are.
fn keep_shares(held: &mut Segment, family: Family, observed: &Segment) {
    held.shares.retain(|share, _| share.family != family);
    let own = observed.shares.iter().filter(|(share, _)| share.family == family);
    held.shares.extend(own.map(|(share, server)| (*share, server.clone())));
    if family == Family::V6 {
        held.rooms.clone_from(&observed.rooms);
    }
    if let Some(namespace) = &mut held.namespace {
        namespace.directed.remove(&family);
        namespace.directed.extend(observed.directed(family).map(|directed| (family, directed.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DHCPServerSpec, ServerAddress};
    use crate::dnsmasq::{Server, Share, Shares};
    use crate::node::{Device, Namespace};

    fn server(addresses: &[(&str, Option<&str>)]) -> DHCPServer {
        let address = |(ip, own): &(&str, Option<&str>)| ServerAddress {
            ip: (*ip).to_owned(),
            in_place_of: own.map(str::to_owned),
            ..ServerAddress::default()
        };
        let spec = DHCPServerSpec {
            addresses: addresses.iter().map(address).collect(),
            predecessor: Some("n1".to_owned()),
            ..DHCPServerSpec::default()
        };
        DHCPServer::new("a.n2", spec)
    }

    fn segment(addresses: &[&str]) -> Segment {
        let device = Device {
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            gateways: [(Family::V4, [10, 0, 0, 1].into())].into(),
            ..Device::bare(MacAddr::local([1; 5]), 1500)
        };
        Segment { device: Some(device), ..Segment::default() }
    }

    fn addresses(segment: Option<Segment>) -> Option<Vec<String>> {
        let device = segment?.device?;
        Some(device.addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_address_is_taken_when_nobody_answers_there() {
        let mut predecessor = Predecessor::default();
        let (desired, none) = (segment(&["10.0.0.2/24"]), Segment::default());
        assert_eq!(predecessor.hold_back(&desired, &none), None);
        predecessor.watch(Some(&server(&[("10.0.0.2", None)])));
        let held_back = predecessor.hold_back(&desired, &none).unwrap();
        assert_eq!(held_back.device.as_ref().unwrap().gateways.len(), 0);
        assert_eq!((addresses(Some(held_back)), predecessor.report()), (Some(vec![]), None));
        predecessor.learn(Holders::new());
        assert_eq!((predecessor.hold_back(&desired, &none), predecessor.report()), (None, Some(vec![])));
    }

    #[test]
    fn shares_of_a_family_without_an_address_wait_and_no_others_for_them() {
        let mut predecessor = Predecessor::default();
        let shares = Family::ALL.map(|family| Share::new(family, 1).unwrap());
        let mut desired = segment(&["10.0.0.2/24", "2001:db8::2/64"]);
        desired.shares = shares.map(|share| (share, Server::default())).into();
        desired.rooms = [(shares[1], Device::bare(MacAddr::local([1; 5]), 1500))].into();
        let directed = Family::ALL.map(|family| (family, Shares::new())).into();
        desired.namespace = Some(Namespace { directed, ..Namespace::default() });
        predecessor.watch(Some(&server(&[("2001:db8::2", None)])));
        let held = predecessor.hold_back(&desired, &Segment::default()).unwrap();
        assert_eq!(held.shares.keys().collect::<Vec<_>>(), [&shares[0]]);
        assert!(held.rooms.is_empty() && held.directed(Family::V6).is_none());
        assert!(held.directed(Family::V4).is_some());
        let there = predecessor.hold_back(&desired, &desired.clone());
        assert_eq!(there, None, "its address is there already");
    }

    #[test]
    fn what_another_has_is_held_back_and_what_is_there_stays() {
        let mut predecessor = Predecessor::default();
        predecessor.watch(Some(&server(&[("10.0.0.2", None), ("10.0.1.2", None)])));
        predecessor.learn(Holders::from([([10, 0, 0, 2].into(), MacAddr::local([9; 5]))]));
        let desired = segment(&["10.0.0.2/24", "10.0.1.2/24"]);
        let some = predecessor.hold_back(&desired, &Segment::default());
        assert_eq!(addresses(some), Some(vec!["10.0.1.2/24".to_owned()]));
        assert_eq!(predecessor.hold_back(&desired, &segment(&["10.0.0.2/24"])), None);
        assert_eq!(predecessor.problem().reason, Reason::AddressHeldByPredecessor);
        assert_eq!(predecessor.report().unwrap().len(), 1);
    }

    #[test]
    fn what_is_known_outlives_a_change_of_address_and_not_of_the_slot() {
        let mut predecessor = Predecessor::default();
        predecessor.watch(Some(&server(&[("10.0.0.2", None)])));
        predecessor.learn(Holders::from([([10, 0, 0, 2].into(), MacAddr::local([9; 5]))]));
        predecessor.watch(Some(&server(&[("10.0.0.77", Some("10.0.0.2"))])));
        assert_eq!(predecessor.hold_back(&segment(&["10.0.0.77/24"]), &Segment::default()), None);
        assert_eq!(predecessor.report().unwrap().len(), 1);
        predecessor.watch(Some(&server(&[("10.0.0.3", None)])));
        assert_eq!(predecessor.report(), None);
        predecessor.watch(None);
        assert_eq!(predecessor.report(), Some(vec![]));
    }
}
