//! Who comes to a large network is served at once as it is served when all of the network is gone through.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use kube_dhcp::allocate::Ledger;
use kube_dhcp::api::{DHCPServer, DHCPServerSpec, Port, ServerAddress, Subnet};
use kube_dhcp::desired::{Declared, Inputs, Known, desired};
use kube_dhcp::dnsmasq;
use kube_dhcp::node::{Action, Segment};
use kube_dhcp::plan::{arrivals, plan};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::world::{World, crowd, declared, inputs, node, uid};

/// A network that is as it shall be: what is known of it, its ledger, and the node.
fn settled(inputs: &Inputs) -> (Option<Known>, Ledger, Segment) {
    let (mut ledger, mut is) = (Ledger::default(), Segment::default());
    let mut all = desired(&node(), uid(), inputs, &mut ledger);
    all.share_out(&is);
    plan(all.segment.as_ref(), &is, true).actions.iter().for_each(|action| is.record(action));
    (Known::new(inputs.clone(), &all), ledger, is)
}

/// With one port more, wherever its name is among the others.
fn with(inputs: &Inputs, name: &str, one: &Value) -> Inputs {
    let mut more = inputs.clone();
    more.ports.push(declared(name, one));
    more.ports.sort_by(|a: &Arc<Declared>, b| a.metadata.name.cmp(&b.metadata.name));
    more
}

/// The same where a controller has allocated what the agent would; of those who `wait` nothing yet.
fn recorded(inputs: &Inputs, ledger: &Ledger, wait: Option<&str>) -> Inputs {
    let found = desired(&node(), uid(), inputs, &mut ledger.clone());
    let port = |port: &Arc<Declared>| {
        let (mut object, name) = (Port::clone(port.object()), port.metadata.name.as_deref().unwrap());
        let addresses = found.ports[name].addresses.iter().filter(|_| wait != Some(name));
        let address = |(ip, subnet): &(IpAddr, String)| json!({"ip": ip.to_string(), "subnetName": subnet});
        let status = json!({"addresses": addresses.map(address).collect::<Vec<_>>()});
        object.status = Some(serde_json::from_value(status).unwrap());
        Arc::new(Declared::from(Arc::new(object)))
    };
    let address = |ip: &IpAddr| {
        let has = |subnet: &&Arc<Subnet>| subnet.spec.cidr.parse::<IpNet>().unwrap().contains(ip);
        let subnet = inputs.subnets.iter().find(has).unwrap();
        let name = subnet.metadata.name.clone().unwrap();
        ServerAddress { subnet_name: name, ip: ip.to_string(), ..ServerAddress::default() }
    };
    let addresses = found.server_addresses.iter().map(address).collect();
    let spec = DHCPServerSpec { addresses, ..DHCPServerSpec::default() };
    let server = Some(Arc::new(DHCPServer::new("n", spec)));
    Inputs { ports: inputs.ports.iter().map(port).collect(), server, ..inputs.clone() }
}

/// Whether the port is served at once, however its address is found.
fn is_served_at_once(world: &World, name: &str, one: &Value) -> bool {
    let before = inputs(world).unwrap();
    let (known, ledger, is) = settled(&before);
    let now = with(&before, name, one);
    let own = served_at_once(known, ledger.clone(), is, &now);
    let of_controller = |before: &Inputs| {
        let (known, _, is) = settled(before);
        let now = recorded(&now, &ledger, None);
        let server = before.server.clone();
        served_at_once(known, Ledger::default(), is, &Inputs { server, ..now })
    };
    let fresh = of_controller(&recorded(&before, &ledger, None));
    let waited = of_controller(&recorded(&now, &ledger, Some(name)));
    assert!(fresh == waited, "{fresh} if it comes with its addresses, {waited} if it waited for them");
    own
}

/// If so, then nothing of it is left to do but to answer for its names.
fn served_at_once(known: Option<Known>, mut ledger: Ledger, mut is: Segment, now: &Inputs) -> bool {
    let whole_ledger = &mut ledger.clone();
    let whole = desired(&node(), uid(), now, whole_ledger);
    let at_once = known.and_then(|known| {
        let new = known.arrivals(&node(), uid(), now, &mut ledger)?;
        arrivals(new, known.spread(), &is)
    });
    let Some(actions) = at_once else { return false };
    assert_eq!(&ledger, whole_ledger);
    for action in &actions {
        is.record(action);
    }
    let mut then = desired(&node(), uid(), now, &mut ledger);
    assert_eq!(then, whole);
    then.share_out(&is);
    let left = plan(then.segment.as_ref(), &is, true);
    let is_of_names = |action: &Action| matches!(action, Action::Server(dnsmasq::Action::WriteNames(_)));
    assert!(left.actions.iter().all(is_of_names) && !left.postponed, "{actions:?}, and then {left:?}");
    true
}

#[test]
fn who_comes_is_served_at_once_as_among_all_others() {
    const CASES: u32 = 1_000;
    let names = prop::sample::select(vec!["p", "p3x", "p9"]);
    let served = Cell::new(0);
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) });
    let result = runner.run(&(crowd(), names), |((world, one), name)| {
        served.set(served.get() + u32::from(is_served_at_once(&world, name, &one)));
        Ok(())
    });
    result.unwrap();
    assert!(served.get() > CASES / 20, "{} of {CASES}: the others show nothing", served.get());
}

#[allow(clippy::unnecessary_wraps, reason = "a world may have no network")]
fn ports(count: u8, more: &Value) -> World {
    let of = |n: u8| {
        let mut spec = more.clone();
        spec["networkRef"] = json!({"name": "n"});
        spec["macAddress"] = format!("02:00:00:00:00:1{n}").into();
        spec
    };
    let net = json!({"name": "n"});
    let six = json!({"addressMode": "DHCPv6Stateful"});
    let subnets = [
        (0, json!({"networkRef": net, "cidr": "10.0.0.0/24"})),
        (1, json!({"networkRef": net, "cidr": "2001:db8::/64", "ipv6": six})),
    ];
    let network = json!({"physicalNetworkRef": {"name": "lan"}, "dns": {"domain": "vm.example.org"}});
    Some((network, subnets.into(), (0..count).map(|n| (n, of(n))).collect()))
}

#[test]
fn who_comes_again_gets_none_of_what_one_of_its_name_had() {
    let ntp = json!({"options": [{"name": "ntp-server", "values": ["192.0.2.123"], "family": "IPv4"}]});
    let one = |mac: &str, more: &Value| {
        let mut spec = json!({"networkRef": {"name": "n"}, "macAddress": mac});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let before = inputs(&ports(5, &json!({}))).unwrap();
    let (_, mut ledger, mut is) = settled(&before);
    let mut pass = |now: &Inputs, is: &mut Segment| {
        let mut all = desired(&node(), uid(), now, &mut ledger);
        all.share_out(is);
        for action in plan(all.segment.as_ref(), is, false).actions {
            is.record(&action);
        }
        (Known::new(now.clone(), &all).unwrap(), ledger.clone())
    };
    pass(&with(&before, "p9", &one("02:00:00:00:00:20", &ntp)), &mut is);
    let (known, mut ledger) = pass(&before, &mut is);
    let now = with(&before, "p9", &one("02:00:00:00:00:21", &json!({})));
    let new = known.arrivals(&node(), uid(), &now, &mut ledger).unwrap();
    assert_eq!(arrivals(new, known.spread(), &is), None, "a fresh process is needed");
}

#[test]
fn a_plain_port_is_and_whoever_is_somebody_elses_business_is_not() {
    let world = ports(5, &json!({}));
    let one = |mac: &str, more: Value| {
        let mut spec = json!({"networkRef": {"name": "n"}, "macAddress": mac});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let new = |more| one("02:00:00:00:00:20", more);
    assert!(is_served_at_once(&world, "p9", &new(json!({}))));
    let ntp = json!({"options": [{"name": "ntp-server", "values": ["192.0.2.1"]}]});
    assert!(is_served_at_once(&world, "p", &new(ntp)));
    assert!(is_served_at_once(&world, "p2x", &new(json!({"addresses": [{"ip": "10.0.0.77"}]}))));
    assert!(!is_served_at_once(&world, "p9", &new(json!({"addresses": [{"ip": "10.0.0.2"}]}))), "anothers");
    assert!(!is_served_at_once(&world, "p9", &one("02:00:00:00:00:11", json!({}))), "known by the same");
    let duid = json!({"identity": {"type": "DUID", "duid": "00:04:01"}});
    assert!(!is_served_at_once(&world, "p9", &new(duid)));
    assert!(!is_served_at_once(&ports(1, &json!({})), "p9", &new(json!({}))), "it is small");
}
