//! What a controller learns late, in another order, or cannot read: nobody loses anything by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::world::{Kind, Object, World};
use super::sim::{Sim, name};
use super::{MINUTE, cluster, yes};
use crate::api::{Network, PhysicalNetwork, Port};
use crate::types::{ObjectName, Revision};

fn of<K: serde::de::DeserializeOwned>(value: &Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value.clone()).unwrap())
}

/// On VLAN 7; `accepted` is what its status says.
fn on_seven(namespace: &str, revision: u64, accepted: Option<bool>, options: &Value) -> Arc<Network> {
    let time = "2026-01-01T00:00:00Z";
    let conditions = accepted.map(|accepted| {
        json!([{"type": "Accepted", "status": if accepted { "True" } else { "False" }, "reason": "Ready",
            "message": "", "lastTransitionTime": time}])
    });
    of(&json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Network",
        "metadata": {"name": "net", "namespace": namespace, "uid": format!("00000000-0000-4000-8000-00000000000{namespace}"),
            "resourceVersion": revision.to_string(), "creationTimestamp": time},
        "spec": {"physicalNetworkRef": {"name": "lan"}, "segmentation": {"type": "VLAN", "vlan": {"id": 7}},
            "options": options},
        "status": {"observedGeneration": 1, "conditions": conditions.unwrap_or(json!([]))},
    }))
}

fn for_prod(revision: u64) -> Object {
    Object::Physical(of::<PhysicalNetwork>(&json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "PhysicalNetwork",
        "metadata": {"name": "lan", "resourceVersion": revision.to_string()},
        "spec": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"tier": "prod"}}},
            "vlanRanges": [{"first": 7, "last": 8}]},
    })))
}

fn prod(namespace: &str) -> Object {
    Object::Namespace(namespace.into(), Arc::new(BTreeMap::from([("tier".into(), "prod".into())])))
}

/// Who has the segment, by namespace.
fn holder(world: &World) -> Option<String> {
    let has = |namespace: &str| {
        let snapshot = world.snapshot(&ObjectName::new(namespace, "net"));
        snapshot.inputs.is_some_and(|inputs| inputs.segment_holder.is_none())
    };
    let all: Vec<_> = ["a", "b"].into_iter().filter(|namespace| has(namespace)).collect();
    assert!(all.len() < 2, "{all:?}");
    all.first().map(|namespace| (*namespace).to_owned())
}

#[test]
fn in_whichever_order_the_lists_come_a_segment_stays_its_holders() {
    let late = || Object::Network(on_seven("a", 1, Some(false), &json!([])));
    let had_it = || Object::Network(on_seven("b", 2, Some(true), &json!([])));
    for order in [
        [for_prod(3), prod("a"), prod("b"), late(), had_it()],
        [for_prod(3), late(), had_it(), prod("a"), prod("b")],
        [late(), had_it(), prod("a"), prod("b"), for_prod(3)],
    ] {
        let mut world = World::default();
        for object in order {
            world.replace(object);
        }
        world.contest_all();
        assert_eq!(holder(&world).as_deref(), Some("b"));
    }
}

#[test]
fn a_mistake_in_its_spec_costs_nobody_its_segment() {
    let mut world = World::default();
    for object in [for_prod(1), prod("a"), prod("b")] {
        world.apply(object);
    }
    let wrong = json!([{"name": "ntp-server", "values": ["ntp.example.org"]}]);
    // Who never had it and is refused anyway keeps nobody from it.
    world.apply(Object::Network(on_seven("b", 2, None, &wrong)));
    world.apply(Object::Network(on_seven("a", 3, None, &json!([]))));
    assert_eq!(holder(&world).as_deref(), Some("a"));
    world.apply(Object::Network(on_seven("b", 4, None, &json!([]))));
    let touched = world.apply(Object::Network(on_seven("a", 5, Some(false), &wrong)));
    assert_eq!((holder(&world).as_deref(), touched.len()), (Some("a"), 1));
}

#[test]
fn who_has_addresses_had_the_segment_though_its_spec_is_wrong_now() {
    let mut sim = cluster(2);
    let wrong = json!([{"name": "ntp-server", "values": ["n"]}]);
    sim.options("x", serde_json::from_value(wrong).unwrap());
    sim.network("other", 2);
    sim.settle();
    sim.turn("other");
    // As the next leader finds them.
    sim.world.contest_all();
    let other = sim.world.snapshot(&name("other")).inputs.unwrap();
    assert_eq!(other.segment_holder, Some(name("x")));
}

#[test]
fn a_network_that_comes_again_on_another_segment_leaves_the_old_one() {
    let mut world = World::default();
    for object in [for_prod(1), prod("a"), prod("b")] {
        world.apply(object);
    }
    world.apply(Object::Network(on_seven("a", 2, None, &json!([]))));
    world.apply(Object::Network(on_seven("b", 3, None, &json!([]))));
    assert_eq!(holder(&world).as_deref(), Some("a"));
    let mut again = Network::clone(&on_seven("a", 4, None, &json!([])));
    again.spec.segmentation.vlan.as_mut().unwrap().id = 8;
    let touched = world.replace(Object::Network(Arc::new(again)));
    let waited = ObjectName::new("b", "net");
    assert!(touched.contains(&waited) && world.snapshot(&waited).inputs.unwrap().segment_holder.is_none());
}

fn as_of(port: &Port, revision: u64) -> Object {
    let mut port = port.clone();
    port.metadata.resource_version = Some(revision.to_string());
    Object::Port(Arc::new(port))
}

#[test]
fn a_late_answer_to_a_write_brings_no_deleted_object_back() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    let port = sim.ports["p"].clone();
    let there = |world: &World| !world.snapshot(&name("x")).ports.is_empty();
    sim.world.deleted(Kind::Port, &name("p"), port.metadata.uid.as_deref(), Revision(1_001));
    sim.world.apply(as_of(&port, 1_000));
    assert!(!there(&sim.world));
    // A list says what is so: a backup may have been put back.
    sim.world.replace(as_of(&port, 1_000));
    assert!(there(&sim.world));
    sim.world.apply(as_of(&port, 1_002));
    sim.world.remove(Kind::Port, &name("p"), Revision(1_003));
    sim.world.apply(as_of(&port, 1_002));
    assert!(!there(&sim.world), "a list that lacks it");
    // One that we made after the list was made.
    sim.world.replace(as_of(&port, 1_010));
    sim.world.remove(Kind::Port, &name("p"), Revision(1_005));
    sim.world.apply(as_of(&port, 1_010));
    assert!(there(&sim.world));
    sim.world.deleted(Kind::Port, &name("p"), port.metadata.uid.as_deref(), Revision(1_020));
    let mut other = port.clone();
    other.metadata.uid = Some("00000000-0000-4000-8000-00000000ffff".into());
    sim.world.apply(as_of(&other, 999));
    assert!(there(&sim.world), "another one of its name");
}

/// What the controller would do.
fn does(sim: &Sim) -> (usize, usize, usize) {
    let (judged, statuses) = sim.judged("x");
    let entries = &judged.entries;
    let entries = entries.create.len() + entries.release.len() + entries.free.len();
    (entries, judged.servers.len(), statuses.ports.len() + statuses.subnets.len())
}

#[test]
fn what_a_new_controller_cannot_read_is_there_all_the_same() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.port("q", Some(2), None);
    sim.settle();
    let unread = |sim: &mut Sim, kind, text: &str| {
        // As if it had never been known.
        sim.world.forget(kind, &name(text), Revision(0));
        sim.world.unreadable(kind, [(name(text), Some("x".to_owned()))]);
    };
    let whole = sim.world.snapshot(&name("x"));
    for (kind, text, object) in [
        (Kind::Port, "p", Object::Port(whole.ports[0].clone())),
        (Kind::Subnet, "s", Object::Subnet(whole.subnets[0].clone())),
        (Kind::Network, "x", Object::Network(whole.inputs.clone().unwrap().network)),
    ] {
        unread(&mut sim, kind, text);
        assert_eq!(does(&sim), (0, 0, 0), "{kind:?}");
        sim.world.replace(object);
        assert_eq!(does(&sim), (0, 0, 0), "{kind:?}");
    }
    // Of one that is deleted nothing is kept for a Subnet's sake.
    unread(&mut sim, Kind::Subnet, "s");
    let network = sim.world.snapshot(&name("x")).inputs.unwrap().network;
    sim.world.forget(Kind::Network, &name("x"), Revision(0));
    assert_eq!(does(&sim).1, 2, "its servers");
    sim.world.replace(Object::Network(network));
    sim.world.replace(Object::Subnet(whole.subnets[0].clone()));
    assert_eq!(does(&sim), (0, 0, 0));
    // And it can be deleted.
    unread(&mut sim, Kind::Port, "p");
    sim.world.deleted(Kind::Port, &name("p"), None, Revision(u64::MAX));
    assert_eq!(sim.judged("x").0.entries.release.len(), 1);
    assert_eq!(sim.ready("q"), yes());
}

#[test]
fn an_address_that_is_newer_than_all_that_is_known_of_ports_is_not_given_up() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    let newest =
        sim.allocations.values().filter_map(|a| a.metadata.resource_version.clone()?.parse().ok()).max();
    let newest: u64 = newest.unwrap();
    // The leader before made it; what this one knows of Ports is older.
    let uid = sim.ports["p"].metadata.uid.clone().unwrap();
    sim.world.forget(Kind::Port, &name("p"), Revision(newest - 1));
    sim.world.ports_revision = Revision(newest - 1);
    sim.world.forget_deletion(&uid);
    let entries = sim.judged("x").0.entries;
    assert_eq!((entries.release.len(), entries.waiting), (0, 1));
    sim.world.ports_revision = Revision(newest);
    assert_eq!(sim.judged("x").0.entries.release.len(), 1);
}

#[test]
fn an_allocation_says_by_what_its_port_is_known_now() {
    let mut sim = cluster(2);
    let mac = |n: u8| format!("02:00:00:00:00:{n:02x}");
    sim.port("p", None, None);
    sim.settle();
    let before = sim.addresses("p");
    for n in [2, 3] {
        sim.port("p", Some(n), None);
        sim.settle();
        let allocation = &sim.allocations[&format!("x.{}", before[0])];
        assert_eq!(allocation.spec.holder.mac_address, Some(mac(n)));
        assert_eq!((sim.addresses("p"), sim.ready("p"), sim.turn("x")), (before.clone(), yes(), 0));
    }
    let uid = sim.ports["p"].metadata.uid.clone().unwrap();
    sim.events.push(format!("{uid} was {:?} {:?}", Some("p"), Some(mac(3))));
    sim.delete(Kind::Port, "p");
    // What it was called long ago is not what it was.
    sim.port("p", Some(2), None);
    sim.turn("x");
    assert_ne!(sim.addresses("p"), before);
    sim.delete(Kind::Port, "p");
    sim.settle();
    sim.port("p", Some(3), None);
    sim.settle();
    assert_eq!(sim.addresses("p"), before);
}

#[test]
fn the_quarantine_of_a_server_begins_when_it_is_withdrawn() {
    let mut sim = Sim::new(1);
    sim.network("x", 1);
    sim.subnet("s", "10.0.0.0/24");
    sim.settle();
    sim.set_dead(&["n1"], MINUTE);
    sim.settle();
    sim.now += jiff::SignedDuration::from_hours(25);
    sim.set_dead(&["n1"], MINUTE * 60 * 25);
    sim.settle();
    sim.node("n2");
    for _ in 0..3 {
        sim.turn("x");
        sim.now += jiff::SignedDuration::from_secs(5);
    }
    let left: BTreeSet<_> = sim.servers.values().map(|s| s.spec.node_name.clone()).collect();
    assert_eq!(left, BTreeSet::from(["n1".to_owned(), "n2".to_owned()]));
    sim.now += jiff::SignedDuration::from_hours(25);
    sim.turn("x");
    assert!(sim.servers.values().all(|server| server.spec.node_name == "n2"));
}

#[test]
fn what_was_given_back_is_not_remembered_for_ever() {
    let mut sim = cluster(2);
    for n in 0..5 {
        sim.port("p", Some(n), None);
        sim.settle();
        sim.delete(Kind::Port, "p");
        sim.settle();
    }
    assert!(!sim.world.snapshot(&name("x")).freed.is_empty());
    sim.port("p", Some(9), None);
    sim.settle();
    sim.delete(Kind::Network, "x");
    sim.delete(Kind::Subnet, "s");
    sim.settle();
    sim.delete(Kind::Port, "p");
    sim.settle();
    assert_eq!((sim.allocations.len(), sim.world.remembered()), (0, 0));
}
