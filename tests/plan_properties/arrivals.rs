//! Who comes to a large network is served at once as it is served when all of the network is gone through.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use kube_dhcp::allocate::Ledger;
use kube_dhcp::api::{DHCPServer, DHCPServerSpec, Port, ServerAddress, Subnet};
use kube_dhcp::desired::{Arrivals, Declared, Inputs, Known, desired};
use kube_dhcp::dnsmasq;
use kube_dhcp::node::{Action, Segment};
use kube_dhcp::plan::{arrivals, plan};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::world::{World, crowd, declared, inputs, node, port, uid};

/// Who comes: the name and the spec of a port.
type Come<'a> = (&'a str, &'a Value);

/// A network that is as it shall be: what is known of it, its ledger, and the node.
fn settled(inputs: &Inputs) -> (Option<Known>, Ledger, Segment) {
    let (mut ledger, mut is) = (Ledger::default(), Segment::default());
    let mut all = desired(&node(), uid(), inputs, &mut ledger);
    all.share_out(&is);
    plan(all.segment.as_ref(), &is, true).actions.iter().for_each(|action| is.record(action));
    (Known::new(Arc::new(inputs.clone()), &all), ledger, is)
}

/// With one port more, wherever its name is among the others.
fn with(inputs: &Inputs, name: &str, one: &Value) -> Inputs {
    let mut more = inputs.clone();
    more.ports.push(declared(name, one));
    more.ports.sort_by(|a: &Arc<Declared>, b| a.metadata.name.cmp(&b.metadata.name));
    more
}

/// The same where a controller has allocated what the agent would; of those who `wait` nothing yet.
fn recorded(inputs: &Inputs, ledger: &Ledger, wait: &[Come<'_>]) -> Inputs {
    let found = desired(&node(), uid(), inputs, &mut ledger.clone());
    let port = |port: &Arc<Declared>| {
        let (mut object, name) = (Port::clone(port.object()), port.metadata.name.as_deref().unwrap());
        let addresses = found.ports[name].addresses.iter().filter(|_| wait.iter().all(|(of, _)| *of != name));
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

/// How many of those who come are served at once, one after the other, however their addresses are found.
fn served_at_once(world: &World, come: &[Come<'_>]) -> usize {
    let before = inputs(world).unwrap();
    let (known, ledger, is) = settled(&before);
    let (mut steps, mut ledgers) = (vec![before], vec![ledger.clone()]);
    for (i, (name, one)) in come.iter().enumerate() {
        let (now, mut ledger) = (with(&steps[i], name, one), ledgers[i].clone());
        desired(&node(), uid(), &now, &mut ledger);
        steps.push(now);
        ledgers.push(ledger);
    }
    let own = in_a_row(known, ledger, is, &steps[1..]);
    let of_controller = |before: &Inputs, then: &[Inputs]| {
        let (known, _, is) = settled(before);
        let server = |now: &Inputs| Inputs { server: before.server.clone(), ..now.clone() };
        in_a_row(known, Ledger::default(), is, &then.iter().map(server).collect::<Vec<_>>())
    };
    let with_addresses: Vec<_> = steps.iter().zip(&ledgers).map(|(now, l)| recorded(now, l, &[])).collect();
    let fresh = of_controller(&with_addresses[0], &with_addresses[1..]);
    let (all, ledger) = steps.iter().zip(&ledgers).next_back().unwrap();
    let waiting: Vec<_> = (0..steps.len()).map(|i| recorded(all, ledger, &come[i..])).collect();
    let waited = of_controller(&waiting[0], &waiting[1..]);
    // As they really come: first they wait, and the server is asked how far it has come.
    let (known, _, is) = settled(&with_addresses[0]);
    let server = with_addresses[0].server.as_deref().map(|server| {
        let mut server = server.clone();
        server.metadata.generation = Some(2);
        server.spec.awaited_revision = Some("7".to_owned());
        Arc::new(server)
    });
    let now = |step: &Inputs| Inputs { server: server.clone(), ..step.clone() };
    let come_waiting = known.and_then(|known| received(known, &now(&waiting[0]), &mut Ledger::default()));
    let then: Vec<_> = waiting[1..].iter().map(now).collect();
    let really = in_a_row(come_waiting.map(|all| all.known), Ledger::default(), is, &then);
    assert_eq!(really, waited);
    // One that waits is there, for all that is known by the same.
    let macs: BTreeSet<_> = come.iter().map(|(_, one)| one["macAddress"].as_str()).collect();
    let is_same = if macs.len() == come.len() { waited == fresh } else { waited <= fresh };
    assert!(is_same, "{fresh} if they come with addresses, {waited} if they waited for them");
    own
}

/// What becomes of it by those who came; the ledger changes just by what is said of that, or not at all.
fn received(known: Known, now: &Inputs, ledger: &mut Ledger) -> Option<Arrivals> {
    let (before, now) = (ledger.clone(), Arc::new(now.clone()));
    let Some(mut arrived) = known.arrivals(&node(), uid(), &now, ledger) else {
        assert_eq!(ledger, &before);
        return None;
    };
    if let Some(added) = arrived.added.take() {
        let (mut then, mut undone) = (before.clone(), ledger.clone());
        ledger.changes_of(&added).into_iter().for_each(|change| then.apply(change));
        undone.undo(added);
        assert_eq!((&then, undone), (&*ledger, before));
    }
    Some(arrived)
}

/// How many of the steps are: each adds a port, of which nothing is left to do then but to answer for its names.
fn in_a_row(mut known: Option<Known>, mut ledger: Ledger, mut is: Segment, steps: &[Inputs]) -> usize {
    for (served, now) in steps.iter().enumerate() {
        let mut whole_ledger = ledger.clone();
        let whole = desired(&node(), uid(), now, &mut whole_ledger);
        let arrived = known.take().and_then(|known| received(known, now, &mut ledger));
        let at_once = arrived.and_then(|Arrivals { known, segment, .. }| {
            let actions = arrivals(segment?, known.spread(), &is)?;
            Some((known, actions))
        });
        let Some((with_it, actions)) = at_once else { return served };
        known = Some(with_it);
        assert_eq!(ledger, whole_ledger);
        for action in &actions {
            is.record(action);
        }
        let mut then = desired(&node(), uid(), now, &mut ledger);
        assert_eq!(then, whole);
        then.share_out(&is);
        let left = plan(then.segment.as_ref(), &is, true);
        let is_of_names = |action: &Action| matches!(action, Action::Server(dnsmasq::Action::WriteNames(_)));
        assert!(
            left.actions.iter().all(is_of_names) && !left.postponed,
            "step {served}: {actions:?}, and then {left:?}"
        );
    }
    steps.len()
}

#[test]
fn who_comes_is_served_at_once_as_among_all_others() {
    const CASES: u32 = 1_000;
    let names = prop::sample::subsequence(vec!["p", "p3x", "p9"], 2).prop_shuffle();
    let served = [const { Cell::new(0) }; 3];
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) });
    let result = runner.run(&(crowd(), port(), names), |((world, one), two, names)| {
        let of = &served[served_at_once(&world, &[(names[0], &one), (names[1], &two)])];
        of.set(of.get() + 1);
        Ok(())
    });
    result.unwrap();
    assert!(served.iter().all(|of| of.get() > CASES / 100), "{served:?} of {CASES}: they show nothing");
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
        (Known::new(Arc::new(now.clone()), &all).unwrap(), ledger.clone())
    };
    pass(&with(&before, "p9", &one("02:00:00:00:00:20", &ntp)), &mut is);
    let (known, mut ledger) = pass(&before, &mut is);
    let now = Arc::new(with(&before, "p9", &one("02:00:00:00:00:21", &json!({}))));
    let Arrivals { known, segment, .. } = known.arrivals(&node(), uid(), &now, &mut ledger).unwrap();
    assert_eq!(arrivals(segment.unwrap(), known.spread(), &is), None, "a fresh process is needed");
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
    let is_served = |name, spec: Value| served_at_once(&world, &[(name, &spec)]) == 1;
    assert!(is_served("p9", new(json!({}))));
    let ntp = json!({"options": [{"name": "ntp-server", "values": ["192.0.2.1"]}]});
    assert!(is_served("p", new(ntp)));
    assert!(is_served("p2x", new(json!({"addresses": [{"ip": "10.0.0.77"}]}))));
    assert!(!is_served("p9", new(json!({"addresses": [{"ip": "10.0.0.2"}]}))), "anothers");
    assert!(!is_served("p9", one("02:00:00:00:00:11", json!({}))), "known by the same");
    let duid = json!({"identity": {"type": "DUID", "duid": "00:04:01"}});
    assert!(!is_served("p9", new(duid)));
    let small = ports(1, &json!({}));
    assert_eq!(served_at_once(&small, &[("p9", &new(json!({})))]), 0, "it is small");
    let all = [("p9", new(json!({}))), ("p8", one("02:00:00:00:00:21", json!({}))), ("p", new(json!({})))];
    let all: Vec<_> = all.iter().map(|(name, one)| (*name, one)).collect();
    assert_eq!(served_at_once(&world, &all), 2, "the third is known by the same as the first");
}
