//! The steps for a network's server, and for those that serve a share of its guests each.
//!
//! A guest is never between two of them: whoever shall answer it is told before it is directed there, and
//! whoever answered it ends after. Pure.

use crate::dnsmasq::{self, Shares};
use crate::node::{Action, Family, Segment};

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
    for (share, wanted) in &desired.shares {
        let planned = dnsmasq::plan(Some(wanted), observed.shares.get(share), replaced, may_restart);
        servers.take(planned, replaced, |step| Action::Share(*share, step));
    }
    let direct = directed(desired, observed);
    // The switch goes before those to whom it leads, and after the server took its guests back.
    let closes = direct == Some(Action::DirectNobody);
    servers.steps.extend(direct.clone().filter(|_| !closes));
    let anew = replaced || hands_over;
    let planned = dnsmasq::plan(desired.server.as_ref(), observed.server.as_ref(), anew, may_restart);
    servers.take(planned, replaced, Action::Server);
    servers.steps.extend(direct.filter(|_| closes));
    for (share, there) in observed.shares.iter().filter(|(share, _)| !desired.shares.contains_key(share)) {
        let planned = dnsmasq::plan(None, Some(there), false, true);
        servers.take(planned, replaced, |step| Action::Share(*share, step));
    }
    servers
}

impl Servers {
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

/// Whether guests of DHCPv4 go from the server to the shares or come back: it is started anew for that. It
/// would hold their leases for ever, or read the ones that it gets from nowhere.
fn hands_over(desired: &Segment, observed: &Segment) -> bool {
    let Some((wanted, there)) = desired.server.as_ref().zip(observed.server.as_ref()) else { return false };
    let (wanted, there) = (&wanted.hosts.entries, &there.hosts.entries);
    let of_shares =
        |segment: &Segment, client| segment.shares.values().any(|s| s.hosts.entries.contains_key(client));
    let goes = there.keys().any(|client| client.1 == Family::V4 && of_shares(desired, client));
    let comes = || wanted.keys().any(|client| !there.contains_key(client) && of_shares(observed, client));
    (!desired.shares.is_empty() && goes) || (!observed.shares.is_empty() && comes())
}

fn directed(desired: &Segment, observed: &Segment) -> Option<Action> {
    let (wanted, there) = (led(desired), led(observed));
    let Some(wanted) = wanted else { return there.map(|_| Action::DirectNobody) };
    let (whole, nobody) = (there.is_none(), Shares::new());
    let there = there.unwrap_or(&nobody);
    let without = |all: &Shares, others: &Shares| -> Shares {
        all.iter()
            .filter(|(mac, share)| others.get(*mac) != Some(*share))
            .map(|(mac, s)| (*mac, *s))
            .collect()
    };
    let (add, remove) = (without(wanted, there), without(there, wanted));
    let differs = whole || !add.is_empty() || !remove.is_empty();
    differs.then_some(Action::Direct { whole, add, remove })
}

/// What a namespace that is to be made anew has counts for nothing.
fn led(segment: &Segment) -> Option<&Shares> {
    segment.namespace.as_ref().filter(|namespace| namespace.usable)?.directed.as_ref()
}
