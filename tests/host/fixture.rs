//! A network as it is to be, and what tests do with it.
#![allow(unreachable_pub, reason = "it is a library to the tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::inside::sh;
use kube_dhcp::dnsmasq::{self};
use kube_dhcp::host::{Applied, Host, LinuxHost};
use kube_dhcp::node::{
    Action, Attached, Bridge, Device, Family, Namespace, Rule, Segment, Sysctl, namespace_name,
};
use kube_dhcp::plan::plan;
use kube_dhcp::service::{Addressing, Code, Offer, OptionList, Reservation, Scope, Service};
use kube_dhcp::types::{MacAddr, NetworkUid};

pub const STATE: &str = "/run/state";
pub const BRIDGE: &str = "br0";

pub fn uid(n: u32) -> NetworkUid {
    format!("{n:08x}-0000-4000-8000-000000000001").parse().unwrap()
}

pub fn mac(n: u16) -> MacAddr {
    let [a, b] = n.to_be_bytes();
    MacAddr::local([0, 0, 0, a, b])
}

/// The lease of the guest that `lease` asks for: so udhcpc calls itself.
pub fn held(n: u16) -> dnsmasq::Lease {
    let client_id = format!("01:{}", mac(n)).parse().ok();
    dnsmasq::Lease::V4 { mac: mac(n), client_id }
}

pub fn ip(n: u16) -> IpAddr {
    let [a, b] = n.to_be_bytes();
    IpAddr::from([10, 0, a, b])
}

pub fn port(n: u16) -> Reservation {
    let offer = Offer { ip: ip(n), more: Vec::new(), name: format!("vm{n}").parse().unwrap() };
    Reservation {
        key: format!("p{n}"),
        identity: mac(n).into(),
        device: Some(mac(n)),
        family: Family::V4,
        offer: Some(offer),
        scope: "s1".into(),
        options: OptionList::default(),
    }
}

/// The same as dnsmasq knows it, with this address.
pub fn host_line(n: u16, ip: IpAddr) -> dnsmasq::Host {
    let port = port(n);
    let offer = port.offer.map(|offer| Offer { ip, ..offer });
    dnsmasq::Host { offer, tag: port.key }
}

pub fn service(ports: impl IntoIterator<Item = u16>) -> Service {
    let reservations: Vec<_> = ports.into_iter().map(port).collect();
    let plain = BTreeMap::from([(Code::V4(3), vec![10, 0, 0, 1])]);
    let options = OptionList { plain, special: Vec::new() };
    let cidr = "10.0.0.0/16".parse().unwrap();
    let names = reservations.iter().filter_map(|port| port.offer.as_ref());
    let names = names.map(|offer| (offer.ip, vec![(&offer.name).into()])).collect();
    let scope = Scope {
        key: "s1".into(),
        cidr,
        addressing: Addressing::Dhcp,
        advertised: false,
        dynamic: Vec::new(),
        lease_seconds: 3600,
        options,
    };
    Service { scopes: vec![scope], reservations, names, ..Service::default() }
}

pub fn desired(uid: NetworkUid, service: &Service) -> Segment {
    let rules = Rule::ALL.into();
    let namespace = Namespace {
        usable: true,
        sysctls: BTreeSet::from(Sysctl::ALL),
        rules,
        known: None,
        directed: BTreeMap::new(),
    };
    let [a, b, c, d, ..] = uid.bytes();
    let device = Device {
        attached: Some(Attached::Bridge { bridge: BRIDGE.into(), vlan: None }),
        addresses: BTreeSet::from(["10.0.0.250/16".parse().unwrap(), "10.9.0.2/24".parse().unwrap()]),
        gateways: [(Family::V4, [10, 0, 0, 1].into())].into(),
        ..Device::bare(MacAddr::local([1, a, b, c, d]), 1400)
    };
    let layout = dnsmasq::Layout::new(Path::new(STATE), uid);
    let (server, refused) = dnsmasq::server(service.clone(), &layout);
    assert!(refused.is_empty());
    let bridge = Some(Bridge { name: BRIDGE.into(), ours: true, vlan: None });
    let shares = BTreeMap::new();
    let (namespace, device, server) = (Some(namespace), Some(device), Some(server));
    Segment { namespace, bridge, device, server, shares, rooms: BTreeMap::new(), metadata: None }
}

pub async fn observe(host: &LinuxHost, uid: NetworkUid) -> Segment {
    observe_as(host, uid, None).await
}

/// As one who wants `desired`.
pub async fn observe_as(host: &LinuxHost, uid: NetworkUid, desired: Option<&Segment>) -> Segment {
    let bridge = Attached::Bridge { bridge: BRIDGE.into(), vlan: None };
    let wanted = desired.and_then(Segment::attached).unwrap_or(&bridge);
    host.observe(uid, Some(wanted)).await.unwrap()
}

pub async fn apply(host: &LinuxHost, uid: NetworkUid, action: &Action) -> Applied {
    host.apply(uid, "team-a/lan-a", action).await.unwrap_or_else(|error| panic!("{action}: {error:?}"))
}

/// Does what is to be done; returns it.
pub async fn reconcile(host: &LinuxHost, uid: NetworkUid, desired: Option<&Segment>) -> Vec<Action> {
    try_reconcile(host, uid, desired).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// The same, up to the first action that fails: what the agent's loop does before it tries again.
pub async fn try_reconcile(
    host: &LinuxHost,
    uid: NetworkUid,
    desired: Option<&Segment>,
) -> Result<Vec<Action>, kube_dhcp::host::Error> {
    let actions = plan(desired, &observe_as(host, uid, desired).await, true).actions;
    for action in &actions {
        host.apply(uid, "team-a/lan-a", action).await?;
    }
    Ok(actions)
}

pub async fn settle(host: &LinuxHost, uid: NetworkUid, desired: &Segment) -> Vec<Action> {
    let actions = reconcile(host, uid, Some(desired)).await;
    let left = plan(Some(desired), &observe_as(host, uid, Some(desired)).await, true);
    assert!(left.actions.is_empty() && !left.postponed, "left after {actions:#?}: {left:#?}");
    actions
}

pub fn dnsmasqs() -> Vec<i32> {
    let list = sh("pidof dnsmasq || true");
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

pub fn in_netns(uid: NetworkUid, line: &str) -> String {
    sh(&format!("ip netns exec {} {line}", namespace_name(uid)))
}

/// Whether a guest on the bridge gets its lease.
pub fn lease(n: u16) -> bool {
    lease_from(n, BRIDGE)
}

/// Whether a guest on this bridge does.
pub fn lease_from(n: u16, bridge: &str) -> bool {
    lease_through(
        n,
        &format!("ip link add t{n} type veth peer name eth0 netns g{n}; ip link set t{n} master {bridge} up"),
    )
}

/// Whether a guest does whose `eth0` in namespace `g<n>` is made by this.
pub fn lease_through(n: u16, plug: &str) -> bool {
    let mac = mac(n);
    sh(&format!("ip netns add g{n}\n{plug}\nip -n g{n} link set eth0 address {mac} up"));
    let line = format!("ip netns exec g{n} udhcpc -i eth0 -n -q -f -t 3 -T 1 -s /bin/true 2>&1 || true");
    let said = sh(&line);
    sh(&format!("ip netns delete g{n}; ip link delete t{n} 2>/dev/null || true"));
    said.contains(&format!("lease of {} obtained", ip(n)))
}

/// Returns the network of the next event; none within `patience` is a failure.
pub async fn event(events: &mut tokio::sync::mpsc::Receiver<NetworkUid>, patience: Duration) -> NetworkUid {
    tokio::time::timeout(patience, events.recv()).await.expect("no event").unwrap()
}

/// The rules beside everything else, as the agent does it.
pub async fn bring_up(host: Arc<LinuxHost>, uid: NetworkUid) {
    let wanted = desired(uid, &service(1..=10));
    let actions = plan(Some(&wanted), &observe(&host, uid).await, true).actions;
    let (first, rest) = actions.split_first().unwrap();
    apply(&host, uid, first).await;
    let is_rule = |action: &&Action| matches!(action, Action::AddRule(_));
    let (rules, others): (Vec<_>, Vec<_>) = rest.iter().partition(is_rule);
    let all = async |actions: Vec<&Action>| {
        for action in actions {
            apply(&host, uid, action).await;
        }
    };
    tokio::join!(all(rules), all(others));
}

pub async fn tear_down(host: Arc<LinuxHost>, uid: NetworkUid) {
    reconcile(&host, uid, None).await;
}
