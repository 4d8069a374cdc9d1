//! The steps for a network's server, and for those that serve a share of its guests each.
//!
//! A guest is never between two of them: whoever shall answer it is told before it is directed there, and
//! whoever answered it ends after. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::settings;
use crate::dnsmasq::{self, Share, Shares};
use crate::node::{Action, Device, Family, Segment};
use crate::types::MacAddr;

/// What is to be done about the servers.
#[derive(Default)]
pub(super) struct Servers {
    /// Before their device goes: the ends of those that hold it.
    pub(super) ended: Vec<Action>,
    pub(super) steps: Vec<Action>,
    /// A fresh process is needed that was not allowed yet.
    pub(super) postponed: bool,
}

/// As in [`dnsmasq::plan`], for all of them.
pub(super) fn servers(desired: &Segment, observed: &Segment, replaced: bool, may_restart: bool) -> Servers {
    let hands_over = hands_over(desired, observed);
    let there = observed.server.as_ref().and_then(|server| server.process.as_ref());
    if hands_over && !replaced && !may_restart && there.is_some_and(|process| process.current) {
        // Until then all stay where they are.
        return Servers { postponed: true, ..Servers::default() };
    }
    let mut servers = Servers::default();
    let made = servers.rooms(desired, observed);
    for (share, wanted) in &desired.shares {
        let replaced = if share.has_room() { made.contains(share) } else { replaced };
        let planned = dnsmasq::plan(Some(wanted), observed.shares.get(share), replaced, may_restart);
        servers.take(planned, replaced, |step| Action::Share(*share, step));
    }
    // What leads to rooms is tied to the devices that there are.
    let untied = replaced || !made.is_empty() || !desired.rooms.keys().eq(observed.rooms.keys());
    let direct = Family::ALL.map(|f| directed(f, desired, observed, f == Family::V6 && untied));
    let direct = direct.into_iter().flatten();
    // A switch goes before those to whom it leads, and after the server took its guests back.
    let (close, direct): (Vec<_>, Vec<_>) =
        direct.partition(|action| matches!(action, Action::DirectNobody(_)));
    servers.steps.extend(direct);
    let anew = replaced || hands_over;
    let planned = dnsmasq::plan(desired.server.as_ref(), observed.server.as_ref(), anew, may_restart);
    servers.take(planned, replaced, Action::Server);
    servers.steps.extend(close);
    for (share, there) in observed.shares.iter().filter(|(share, _)| !desired.shares.contains_key(share)) {
        let planned = dnsmasq::plan(None, Some(there), false, true);
        servers.take(planned, replaced, |step| Action::Share(*share, step));
    }
    let gone = observed.rooms.keys().filter(|share| !desired.rooms.contains_key(share));
    servers.steps.extend(gone.map(|share| Action::DeleteRoom(*share)));
    servers
}

impl Servers {
    /// Those that are made anew.
    fn rooms(&mut self, desired: &Segment, observed: &Segment) -> BTreeSet<Share> {
        let nothing = BTreeMap::new();
        let is_cut_off = observed.namespace.as_ref().is_none_or(|namespace| !namespace.usable);
        let there = if is_cut_off { &nothing } else { &observed.rooms };
        let mut made = BTreeSet::new();
        for (share, wanted) in &desired.rooms {
            let fits = |room: &&Device| room.up && (room.mac, room.mtu) == (wanted.mac, wanted.mtu);
            if let Some(room) = there.get(share).filter(fits) {
                let mut changes = Vec::new();
                settings(wanted, room, &mut changes);
                let in_room = |change| Action::InRoom(*share, Box::new(change));
                self.steps.extend(changes.into_iter().map(in_room));
            } else {
                self.steps.push(Action::CreateRoom(*share, wanted.clone()));
                made.insert(*share);
            }
        }
        made
    }

    fn take(
        &mut self,
        planned: dnsmasq::Planned,
        replaced: bool,
        action: impl Fn(dnsmasq::Action) -> Action,
    ) {
        self.postponed |= planned.postponed;
        for step in planned.actions {
            let first = replaced && step == dnsmasq::Action::Stop;
            let place = if first { &mut self.ended } else { &mut self.steps };
            place.push(action(step));
        }
    }
}

/// Whether guests go from the server to the shares or come back: it is started anew for that. It would hold
/// their leases for ever, or read the ones that it gets from nowhere.
fn hands_over(desired: &Segment, observed: &Segment) -> bool {
    let Some((wanted, there)) = desired.server.as_ref().zip(observed.server.as_ref()) else { return false };
    let (wanted, there) = (&wanted.hosts.entries, &there.hosts.entries);
    let families = |segment: &Segment| segment.shares.keys().map(|s| s.family).collect::<BTreeSet<_>>();
    let of_shares = |segment: &Segment, client: &dnsmasq::Client| {
        let mut own = segment.shares.iter().filter(|(share, _)| share.family == client.1);
        own.any(|(_, server)| server.hosts.entries.contains_key(client))
    };
    let (shared, was) = (families(desired), families(observed));
    let goes = |client: &_| of_shares(desired, client);
    let comes = |client: &_| !there.contains_key(client) && of_shares(observed, client);
    there.keys().filter(|client| shared.contains(&client.1)).any(goes)
        || wanted.keys().filter(|client| was.contains(&client.1)).any(comes)
}

/// `untied`: what there is of the switch is of no use.
fn directed(family: Family, desired: &Segment, observed: &Segment, untied: bool) -> Option<Action> {
    let (wanted, there) = (led(desired, family), led(observed, family));
    let Some(wanted) = wanted else { return there.map(|_| Action::DirectNobody(family)) };
    let there = there.filter(|_| !untied);
    let (whole, nobody) = (there.is_none(), Shares::new());
    let there = there.unwrap_or(&nobody);
    if !whole && wanted == there {
        return None;
    }
    let (add, remove) = (without(wanted, there), without(there, wanted));
    Some(Action::Direct { family, whole, add, remove })
}

/// Those of `all` that `others` does not have just so. Both are in order.
fn without(all: &Shares, others: &Shares) -> Shares {
    let mut others = others.iter().peekable();
    let is_alone = |one: &(&MacAddr, &Share)| {
        while others.next_if(|other| other.0 < one.0).is_some() {}
        others.peek() != Some(one)
    };
    all.iter().filter(is_alone).map(|(mac, share)| (*mac, *share)).collect()
}

/// What a namespace that is to be made anew has counts for nothing.
fn led(segment: &Segment, family: Family) -> Option<&Shares> {
    segment.namespace.as_ref().filter(|namespace| namespace.usable)?.directed.get(&family)
}
