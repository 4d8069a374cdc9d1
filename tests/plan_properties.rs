//! The pure core as a whole: whatever is there and however far a plan came, the next one finishes it
//! and the one after is empty; and no text of a user's becomes more than one value in what is rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use kube_dhcp::allocate::Ledger;
use kube_dhcp::desired::{Desired, Inputs, NodeConfig, desired};
use kube_dhcp::dnsmasq::{self, Server};
use kube_dhcp::node::{Action, Family, Segment, Sysctl};
use kube_dhcp::plan::plan;
use kube_dhcp::types::{MacAddr, NetworkUid};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// The objects of a network; `None`: it shall not be.
type World = Option<(Value, BTreeMap<u8, Value>, BTreeMap<u8, Value>)>;

fn object<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> Arc<T> {
    let uid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{kind}/{name}").as_bytes());
    let metadata = json!({"name": name, "namespace": "a", "uid": uid.to_string()});
    let api = "kube-dhcp.io/v1alpha1";
    let value = json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec});
    Arc::new(serde_json::from_value(value).unwrap())
}

fn wanted(world: &World, ledger: &mut Ledger) -> Desired {
    let Some((network, subnets, ports)) = world else { return Desired::default() };
    let inputs = Inputs {
        network: object("Network", "n", network),
        physical_network: None,
        segment_holder: None,
        subnets: subnets.iter().map(|(n, spec)| object("Subnet", &format!("s{n}"), spec)).collect(),
        ports: ports.iter().map(|(n, spec)| object("Port", &format!("p{n}"), spec)).collect(),
    };
    let node = NodeConfig {
        attachments: BTreeMap::from([("lan".into(), "bridge:br0".parse().unwrap())]),
        create_bridges: true,
        state: "/state".into(),
        ..NodeConfig::default()
    };
    desired(&node, uid(), &inputs, ledger)
}

fn uid() -> NetworkUid {
    "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap()
}

fn network() -> impl Strategy<Value = Value> {
    (any::<bool>(), prop::option::of(1400..1403u16)).prop_map(|(domain, mtu)| {
        let mut spec = json!({"physicalNetworkRef": {"name": "lan"}});
        if domain {
            spec["dns"] = json!({"domain": "vm.example.org"});
        }
        if let Some(mtu) = mtu {
            spec["mtu"] = mtu.into();
        }
        spec
    })
}

fn subnet(n: u8) -> impl Strategy<Value = Value> {
    (0..4u8, any::<bool>()).prop_map(move |(gateway, dns)| {
        let mut spec = json!({"networkRef": {"name": "n"}, "cidr": format!("10.0.{n}.0/24")});
        spec["gateway"] = match gateway {
            0 => json!({"type": "Auto"}),
            1 => json!({"type": "None"}),
            2 => json!({"type": "Address", "address": format!("10.0.{n}.9")}),
            _ => json!({"type": "Address", "address": "192.168.99.1"}),
        };
        if dns {
            spec["dns"] = json!({"type": "Addresses", "addresses": ["192.0.2.53"]});
        }
        spec
    })
}

/// MACs and addresses are few, so that ports swap, share and take over.
fn port() -> impl Strategy<Value = Value> {
    let parts = (0..4u8, prop::option::of((0..2u8, 20..23u8)), 0..3u8, prop::option::of(1..3u8), any::<bool>());
    parts.prop_map(|(mac, address, hostname, ntp, dhcp)| {
        let mut spec = json!({"networkRef": {"name": "n"}, "macAddress": format!("02:00:00:00:00:0{mac}")});
        if let Some((subnet, host)) = address {
            spec["addresses"] = json!([{"ip": format!("10.0.{subnet}.{host}")}]);
        }
        if hostname > 0 {
            spec["hostname"] = format!("vm{hostname}").into();
        }
        if let Some(ntp) = ntp {
            let value = format!("192.0.2.{ntp}");
            spec["options"] = json!([{"name": "ntp-server", "values": [value], "family": "IPv4"}]);
        }
        if !dhcp {
            spec["dhcp"] = "Disabled".into();
        }
        spec
    })
}

fn world() -> impl Strategy<Value = World> {
    let subnets = (prop::option::weighted(0.9, subnet(0)), prop::option::of(subnet(1)));
    let subnets = subnets.prop_map(|(a, b)| {
        let both = [(0, a), (1, b)].into_iter();
        both.filter_map(|(n, spec)| Some((n, spec?))).collect::<BTreeMap<u8, Value>>()
    });
    let ports = prop::collection::btree_map(0..5u8, port(), 0..5);
    prop::option::weighted(0.9, (network(), subnets, ports))
}

/// What happens to a node without our doing.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Rule,
    Sysctl,
    Down,
    Unplugged,
    Address,
    ExtraAddress,
    Route,
    Mtu,
    Device,
    Namespace,
    UnusableName,
    Bridge,
    Process,
    OldBinary,
    Hosts,
    Options,
    Names,
    ForeignLease,
    Leases,
    Directory,
}

fn damage() -> impl Strategy<Value = Damage> {
    use Damage as D;
    prop::sample::select(vec![
        D::Rule,
        D::Sysctl,
        D::Down,
        D::Unplugged,
        D::Address,
        D::ExtraAddress,
        D::Route,
        D::Mtu,
        D::Device,
        D::Namespace,
        D::UnusableName,
        D::Bridge,
        D::Process,
        D::OldBinary,
        D::Hosts,
        D::Options,
        D::Names,
        D::ForeignLease,
        D::Leases,
        D::Directory,
    ])
}

fn suffer(segment: &mut Segment, damage: Damage) {
    match damage {
        Damage::Namespace => {
            segment.record(&Action::DeleteNamespace);
            outdate(segment);
        }
        Damage::UnusableName => {
            segment.record(&Action::DeleteNamespace);
            segment.namespace = Some(kube_dhcp::node::Namespace::default());
            outdate(segment);
        }
        Damage::Device => segment.device = None,
        Damage::Bridge => {
            segment.bridge = None;
            if let Some(device) = &mut segment.device {
                device.bridge = None;
            }
        }
        Damage::Directory if segment.server.as_ref().is_some_and(|server| server.process.is_none()) => {
            segment.server = None;
        }
        Damage::Rule | Damage::Sysctl => {
            if let Some(namespace) = &mut segment.namespace {
                namespace.rules.remove(&Family::V4);
                namespace.sysctls.remove(&Sysctl::NonlocalBind);
            }
        }
        other => {
            suffer_device(segment, other);
            suffer_server(segment.server.as_mut(), other);
        }
    }
}

/// Its process is in a namespace that is no longer the network's.
fn outdate(segment: &mut Segment) {
    if let Some(process) = segment.server.as_mut().and_then(|server| server.process.as_mut()) {
        process.current = false;
    }
}

fn suffer_device(segment: &mut Segment, damage: Damage) {
    let Some(device) = &mut segment.device else { return };
    match damage {
        Damage::Down => device.up = false,
        Damage::Unplugged => device.bridge = None,
        Damage::Address => device.addresses.clear(),
        Damage::ExtraAddress => {
            device.addresses.insert("10.9.9.9/24".parse().unwrap());
        }
        Damage::Route => device.gateway = Some(Ipv4Addr::new(10, 9, 9, 9)),
        Damage::Mtu => device.mtu = 0,
        _ => {}
    }
}

fn suffer_server(server: Option<&mut Server>, damage: Damage) {
    let Some(server) = server else { return };
    match damage {
        Damage::Process => server.process = None,
        Damage::OldBinary => server.process.iter_mut().for_each(|process| process.current = false),
        Damage::Hosts => server.hosts.foreign = true,
        Damage::Options => server.options.foreign = true,
        Damage::Names => server.names.clear(),
        Damage::ForeignLease => {
            server.leases.insert(Ipv4Addr::new(10, 0, 0, 99), MacAddr::local([9; 5]));
        }
        Damage::Leases => {
            let hosts = server.hosts.entries.iter();
            server.leases = hosts.map(|(mac, host)| (host.ip, *mac)).collect();
        }
        _ => {}
    }
}

/// On the way to a world: whether restarts are allowed, how far the plan comes, what happens then.
type Step = (World, bool, Index, Vec<Damage>);

fn step() -> impl Strategy<Value = Step> {
    (world(), any::<bool>(), any::<Index>(), prop::collection::vec(damage(), 0..3))
}

/// Where a node is after all this.
fn after(steps: &[Step], ledger: &mut Ledger) -> Segment {
    let mut segment = Segment::default();
    for (world, may_restart, cut, damages) in steps {
        let actions = plan(wanted(world, ledger).segment.as_ref(), &segment, *may_restart).actions;
        actions.iter().take(cut.index(actions.len() + 1)).for_each(|action| segment.record(action));
        damages.iter().for_each(|damage| suffer(&mut segment, *damage));
    }
    segment
}

/// One whole pass.
fn pass(wanted: Option<&Segment>, segment: &mut Segment) {
    let plan = plan(wanted, segment, true);
    assert!(!plan.postponed);
    plan.actions.iter().for_each(|action| segment.record(action));
}

fn assert_reached(wanted: Option<&Segment>, is: &Segment) {
    let left = plan(wanted, is, true);
    assert!(left.actions.is_empty() && !left.postponed, "left to do: {left:?}");
    let Some(wanted) = wanted else {
        assert!(is.is_absent(), "{is:?}");
        return;
    };
    assert_eq!((&is.namespace, &is.device), (&wanted.namespace, &wanted.device));
    assert_eq!(is.bridge.as_ref().map(|b| &b.name), wanted.bridge.as_ref().map(|b| &b.name));
    let (is, wanted) = (is.server.as_ref().unwrap(), wanted.server.as_ref().unwrap());
    assert_eq!((&is.process, &is.hosts.entries, &is.names), (&wanted.process, &wanted.hosts.entries, &wanted.names));
    let hosts = wanted.hosts.entries.values().map(|host| host.tag.as_str());
    let tags: BTreeSet<_> = hosts.chain(wanted.options.values.keys().map(|(tag, _)| tag.as_str())).collect();
    let in_use = is.options.values.iter().filter(|((tag, _), _)| tags.contains(tag.as_str()));
    assert_eq!(in_use.collect::<BTreeMap<_, _>>(), wanted.options.values.iter().collect());
    assert!(!is.hosts.foreign && !is.options.foreign);
    assert_eq!(is.stale_leases().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_plan_that_was_cut_anywhere_is_finished_by_the_next(
        steps in prop::collection::vec(step(), 0..4),
        last in world(),
        may_restart: bool,
    ) {
        let mut ledger = Ledger::default();
        let before = after(&steps, &mut ledger);
        let wanted = wanted(&last, &mut ledger).segment;
        let actions = plan(wanted.as_ref(), &before, may_restart).actions;
        for cut in 0..=actions.len() {
            let mut segment = before.clone();
            actions[..cut].iter().for_each(|action| segment.record(action));
            pass(wanted.as_ref(), &mut segment);
            assert_reached(wanted.as_ref(), &segment);
        }
    }

    #[test]
    fn without_a_restart_no_server_is_stopped_and_what_is_left_is_told(
        steps in prop::collection::vec(step(), 0..3),
        last in world(),
    ) {
        let mut ledger = Ledger::default();
        let mut segment = after(&steps, &mut ledger);
        let wanted = wanted(&last, &mut ledger).segment;
        pass(wanted.as_ref(), &mut segment);
        let next = world_beside(&last);
        let wanted = self::wanted(&next, &mut ledger).segment;
        let first = plan(wanted.as_ref(), &segment, false);
        let stops = first.actions.contains(&Action::Server(dnsmasq::Action::Stop));
        prop_assert!(wanted.is_none() || !stops, "{first:?}");
        first.actions.iter().for_each(|action| segment.record(action));
        let second = plan(wanted.as_ref(), &segment, false);
        prop_assert!(second.actions.is_empty(), "{second:?}");
        prop_assert_eq!(second.postponed, first.postponed);
        if first.postponed {
            pass(wanted.as_ref(), &mut segment);
        }
        assert_reached(wanted.as_ref(), &segment);
    }

    #[test]
    fn a_text_is_never_more_than_one_value(texts in prop::collection::vec(text(), 6), code: u8) {
        let own = json!({"physicalNetworkRef": {"name": "lan"}, "dns": {"domain": texts[0]}});
        assert_rendered(&own, &texts, code);
        assert_rendered(&json!({"physicalNetworkRef": {"name": "lan"}}), &texts, code);
    }
}

/// The same with another option, name and address for each port: what a running server is told.
fn world_beside(world: &World) -> World {
    let (network, subnets, mut ports) = world.clone()?;
    for (n, port) in &mut ports {
        port["options"] = json!([{"name": "ntp-server", "values": ["192.0.2.9"], "family": "IPv4"}]);
        if n % 2 == 0 {
            port["addresses"] = json!([{"ip": format!("10.0.0.{}", 100 + n)}]);
        }
    }
    Some((network, subnets, ports))
}

/// Any text, often one with what files and command lines are made of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-c\n\r\0,;:#\"'\\\\ =.-]{0,12}", "[a-z][a-z0-9-]{0,5}"]
}

/// As a source that checks nothing would hand them over.
fn assert_rendered(network: &Value, texts: &[String], code: u8) {
    let options = json!([{"code": code, "values": [texts[1]], "family": "IPv4"}]);
    let subnet = json!({"networkRef": {"name": "n"}, "cidr": "10.0.0.0/24"});
    let named = |more: Value| {
        let mut spec = json!({"networkRef": {"name": "n"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let ports = BTreeMap::from([
        (0, named(json!({"macAddress": "02:00:00:00:00:01", "hostname": texts[2]}))),
        (1, named(json!({"macAddress": "02:00:00:00:00:02", "dnsNames": [texts[3], format!("a.{}", texts[0])]}))),
        (2, named(json!({"macAddress": "02:00:00:00:00:03", "options": options}))),
        (3, named(json!({"macAddress": texts[4]}))),
        (4, named(json!({"macAddress": "02:00:00:00:00:04", "addresses": [{"ip": texts[5]}]}))),
        (5, named(json!({"macAddress": "02:00:00:00:00:05"}))),
    ]);
    let desired = wanted(&Some((network.clone(), BTreeMap::from([(0, subnet)]), ports)), &mut Ledger::default());
    // A Network with a domain that is none is not served at all.
    let Some(server) = desired.segment.and_then(|segment| segment.server) else { return };
    let hosts: Vec<_> = server.hosts.entries.iter().collect();
    let changes: Vec<_> = hosts.iter().map(|(mac, host)| dnsmasq::HostChange::Set(**mac, (*host).clone())).collect();
    assert_lines(&dnsmasq::hosts_text(&changes), hosts.len(), |line| line.split(',').count() == 4);
    let values = &server.options.values;
    assert_lines(&dnsmasq::options_text(values), values.len(), |line| line.starts_with("tag:"));
    let names = server.names.values().map(Vec::len).sum();
    assert_lines(&dnsmasq::names_text(&server.names), names, |line| line.split(' ').count() == 2);
    let argv = server.process.unwrap().argv;
    assert!(argv.iter().skip(1).all(|arg| arg.starts_with("--") && !arg.contains(char::is_control)), "{argv:?}");
    let of_domain = network["dns"]["domain"].is_string();
    assert_eq!(argv.iter().filter(|arg| arg.starts_with("--domain=")).count(), usize::from(of_domain));
    assert!(server.hosts.entries.len() >= 1, "the port without any text of a user's is always there");
}

fn assert_lines(text: &str, count: usize, whole: impl Fn(&str) -> bool) {
    assert_eq!(text.split_terminator('\n').count(), count, "{text:?}");
    assert!(text.split_terminator('\n').all(whole), "{text:?}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}
