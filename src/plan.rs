//! From what a node holds to what it shall hold, one network at a time.
//!
//! Called by the agent's workers and by `kube-dhcp plan`. Pure: decides, never does.

mod arrivals;
mod shares;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::dnsmasq;
use crate::node::{Action, Bridge, Device, Family, Namespace, Rule, Segment, Sysctl};
use crate::types::MacAddr;

pub use arrivals::arrivals;
pub use why::why;

/// Steps for one network, and whether more is left to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order; the next one only after the one before succeeded.
    pub actions: Vec<Action>,
    /// The server needs a fresh process for what is left, and `may_restart` was false.
    pub postponed: bool,
}

/// The steps from `observed` to `desired` for one network; `None`: it shall not be on this node.
/// A server that serves is restarted only if `may_restart`.
pub fn plan(desired: Option<&Segment>, observed: &Segment, may_restart: bool) -> Plan {
    match desired {
        Some(desired) => mend(desired, observed, may_restart),
        None => Plan { actions: remove(observed), postponed: false },
    }
}

/// The server first, so that nobody gets an answer from a half-removed network.
fn remove(observed: &Segment) -> Vec<Action> {
    let all = observed.servers().flat_map(|(share, server)| {
        let steps = dnsmasq::plan(None, Some(server), false, true).actions;
        steps.into_iter().map(move |step| Action::for_server(share, step))
    });
    let is_last = |action: &Action| matches!(action.of_server(), Some((_, dnsmasq::Action::Remove)));
    let (last, mut actions): (Vec<_>, Vec<_>) = all.partition(is_last);
    actions.extend(observed.rooms.keys().map(|share| Action::DeleteRoom(*share)));
    // Its sockets would keep the namespace.
    actions.extend(observed.metadata.as_ref().map(|_| Action::StopMetadata));
    actions.extend(observed.device.as_ref().map(|_| Action::DeleteDevice));
    actions.extend(observed.namespace.as_ref().map(|_| Action::DeleteNamespace));
    // The files go last, those of the shares before the directory that they are in: it is how a network that
    // is half gone is found again.
    actions.extend(last.into_iter().rev());
    actions
}

fn mend(desired: &Segment, observed: &Segment, may_restart: bool) -> Plan {
    let mut actions = Vec::new();
    let nothing = Namespace::default();
    let namespace = observed.namespace.as_ref().filter(|namespace| namespace.usable);
    if namespace.is_none() {
        actions.push(Action::CreateNamespace);
    }
    inside(desired, namespace.unwrap_or(&nothing), &mut actions);
    let device = observed.device.as_ref().filter(|_| namespace.is_some());
    let mut devices = Vec::new();
    let replaced = bridge_and_device(desired, observed, device, &mut devices);
    let mut servers = shares::servers(desired, observed, replaced, may_restart);
    // First: they may hold another namespace, and a macvlan there that has the MAC address.
    actions.append(&mut servers.ended);
    actions.extend(devices);
    // A guest that comes is admitted before the server hears of it, and one that goes is shut out before. Who is
    // led to a share is admitted after that: the one server would look for it, for half a second each time.
    let filter = desired.namespace.as_ref().map(|wanted| filter(wanted, namespace.unwrap_or(&nothing)));
    let [admitted, led] = filter.unwrap_or_default();
    actions.extend(admitted);
    let waits = servers.postponed && !servers.steps.iter().any(leads);
    actions.append(&mut servers.steps);
    actions.extend(led.filter(|_| !waits));
    // Last: no guest waits for DHCP because of it.
    let is_new = replaced || device.is_none_or(|device| !device.up);
    actions.extend(metadata(desired, observed, is_new));
    Plan { actions, postponed: servers.postponed }
}

fn inside(desired: &Segment, observed: &Namespace, actions: &mut Vec<Action>) {
    let Some(desired) = &desired.namespace else { return };
    let sysctls = Sysctl::ALL.into_iter().filter(|s| desired.sysctls.contains(s));
    actions.extend(sysctls.filter(|s| !observed.sysctls.contains(s)).map(Action::SetSysctl));
    let rules = Rule::ALL.into_iter().filter(|rule| desired.rules.contains(rule));
    actions.extend(rules.filter(|rule| !observed.rules.contains(rule)).map(Action::AddRule));
}

/// What was made for a device went with it.
fn metadata(desired: &Segment, observed: &Segment, is_new: bool) -> Option<Action> {
    let (wanted, there) = (&desired.metadata, &observed.metadata);
    match wanted {
        Some(wanted) if is_new || there.as_ref() != Some(wanted) => {
            Some(Action::ServeMetadata(wanted.clone()))
        }
        None if there.is_some() => Some(Action::StopMetadata),
        _ => None,
    }
}

fn leads(action: &Action) -> bool {
    matches!(action, Action::Direct { family: Family::V6, .. })
}

/// For those whom the one server hears, and for those who are led to a share.
fn filter(desired: &Namespace, observed: &Namespace) -> [Option<Action>; 2] {
    let Some(wanted) = &desired.known else {
        return [observed.known.as_ref().map(|_| Action::OpenDhcpv6), None];
    };
    let nobody = BTreeSet::new();
    let known = observed.known.as_ref().unwrap_or(&nobody);
    let (whole, remove) = (observed.known.is_none(), known - wanted);
    let shares = desired.directed.get(&Family::V6).filter(|_| !whole);
    let is_led = |mac: &MacAddr| shares.is_some_and(|shares| shares.contains_key(mac));
    let (led, add): (BTreeSet<_>, BTreeSet<_>) = (wanted - known).into_iter().partition(is_led);
    let differs = whole || !add.is_empty() || !remove.is_empty();
    [differs.then_some(Action::AdmitToDhcpv6 { whole, add, remove }), admit(led)]
}

/// Besides all others.
fn admit(add: BTreeSet<MacAddr>) -> Option<Action> {
    let remove = BTreeSet::new();
    (!add.is_empty()).then_some(Action::AdmitToDhcpv6 { whole: false, add, remove })
}

/// Returns whether the device will be another one than dnsmasq's sockets are bound to.
fn bridge_and_device(
    desired: &Segment,
    observed: &Segment,
    device: Option<&Device>,
    actions: &mut Vec<Action>,
) -> bool {
    let Some((wanted, attached)) = desired.device.as_ref().and_then(|d| Some((d, d.attached.as_ref()?)))
    else {
        return false;
    };
    let there = |bridge: &Bridge, have: &Bridge| have.name == bridge.name && have.vlan == bridge.vlan;
    let missing = |bridge: &&Bridge| observed.bridge.as_ref().is_none_or(|have| !there(bridge, have));
    actions.extend(desired.bridge.as_ref().filter(missing).cloned().map(Action::RequireBridge));
    // A MAC is changed by a new device: no half-way state, and no guest depends on the old one.
    // A macvlan stays what it is, and so does a veth.
    let fits = |device: &Device| match &device.attached {
        Some(other) => attached.can_follow(other),
        None => attached.takes_a_veth(),
    };
    let kept = device.filter(|device| device.mac == wanted.mac && fits(device));
    if kept.is_none() {
        actions.extend(device.map(|_| Action::DeleteDevice));
        let (mac, mtu, attached) = (wanted.mac, wanted.mtu, attached.clone());
        actions.push(Action::CreateDevice { mac, mtu, attached });
    }
    let fresh = Device { attached: wanted.attached.clone(), ..Device::bare(wanted.mac, wanted.mtu) };
    settings(wanted, kept.unwrap_or(&fresh), actions);
    kept.is_none()
}

fn settings(wanted: &Device, observed: &Device, actions: &mut Vec<Action>) {
    if observed.attached != wanted.attached {
        actions.extend(wanted.attached.clone().map(Action::AttachDevice));
    }
    if observed.mtu != wanted.mtu {
        actions.push(Action::SetMtu(wanted.mtu));
    }
    if !observed.up {
        actions.push(Action::SetUp);
    }
    let missing = |a: &BTreeSet<IpNet>, b: &BTreeSet<IpNet>| a.difference(b).copied().collect::<Vec<_>>();
    // New ones first: a server never is without an address while it changes.
    actions.extend(missing(&wanted.addresses, &observed.addresses).into_iter().map(Action::AddAddress));
    let gone = missing(&observed.addresses, &wanted.addresses);
    // Setting a link down or removing the address that the route leads through takes the route along.
    let routeless = |family| !observed.up || gone.iter().any(|net| Family::of(net.addr()) == family);
    let gateways = Family::ALL.into_iter().filter_map(|family| {
        let (want, have) = (wanted.gateways.get(&family), observed.gateways.get(&family));
        let differs = want != have || (routeless(family) && want.is_some());
        differs.then(|| Action::SetGateway(family, want.copied()))
    });
    let (set, removed): (Vec<_>, Vec<_>) =
        gateways.partition(|a| matches!(a, Action::SetGateway(_, Some(_))));
    // The address goes last: where there is none, nobody looks for what the kernel keeps of IPv6.
    actions.extend(neighbours(wanted, observed));
    actions.extend(removed);
    actions.extend(gone.iter().copied().map(Action::RemoveAddress));
    actions.extend(set);
}

fn neighbours(wanted: &Device, observed: &Device) -> Option<Action> {
    let is_new = |(ip, mac): &(&_, &_)| observed.neighbours.get(*ip) != Some(*mac);
    let add: BTreeMap<_, _> = wanted.neighbours.iter().filter(is_new).map(|(ip, mac)| (*ip, *mac)).collect();
    let is_gone = |ip: &&_| !wanted.neighbours.contains_key(*ip);
    let remove: BTreeSet<_> = observed.neighbours.keys().filter(is_gone).copied().collect();
    let differs = !add.is_empty() || !remove.is_empty();
    differs.then_some(Action::ChangeNeighbours { add, remove })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnsmasq::Share;

    #[test]
    fn the_one_server_never_hears_of_who_is_led_to_a_share() {
        let [old, new, own] = [1, 2, 3].map(|n| MacAddr::local([0, 0, 0, 0, n]));
        let share = Share::new(Family::V6, 1).unwrap();
        let segment = |known: &[MacAddr], led: &[MacAddr]| Segment {
            namespace: Some(Namespace {
                usable: true,
                known: Some(known.iter().copied().collect()),
                directed: [(Family::V6, led.iter().map(|mac| (*mac, share)).collect())].into(),
                ..Namespace::default()
            }),
            ..Segment::default()
        };
        let (before, after) = (segment(&[old], &[old]), segment(&[old, new, own], &[old, new]));
        let steps = |from, to| -> Vec<String> {
            let actions = plan(Some(to), from, true).actions;
            actions.iter().map(ToString::to_string).collect()
        };
        let admit = "admit 1 guests to the DHCPv6 server and shut out 0";
        let lead = "share out 1 guests of IPv6 and 0 no longer";
        assert_eq!(steps(&before, &after), [admit, lead, admit]);
        let shut_out = "admit 0 guests to the DHCPv6 server and shut out 2";
        assert_eq!(steps(&after, &before), [shut_out, "share out 0 guests of IPv6 and 1 no longer"]);
    }
}
