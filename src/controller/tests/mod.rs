//! The controller's judgement, turn by turn, on a cluster in memory.

mod knowledge;
mod lacking;
mod orders;
mod properties;
mod sim;

use std::time::Duration;

use super::world::Kind;
use sim::Sim;

const MINUTE: Duration = Duration::from_secs(60);

/// Three nodes, the network `x` with 10.0.0.0/24, settled.
fn cluster(servers: u8) -> Sim {
    let mut sim = Sim::new(3);
    sim.network("x", servers);
    sim.subnet("s", "10.0.0.0/24");
    sim.settle();
    sim
}

fn yes() -> (String, String) {
    ("True".into(), "Ready".into())
}

#[test]
fn a_network_gets_servers_and_a_port_its_address() {
    let mut sim = cluster(2);
    assert_eq!(sim.network_ready(), yes());
    assert_eq!(sim.nodes().len(), 2);
    sim.port("p", Some(1), None);
    sim.settle();
    assert_eq!((sim.addresses("p"), sim.ready("p")), (vec!["10.0.0.4".into()], yes()));
}

#[test]
fn a_new_port_takes_two_writes_of_its_status() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    let (_, first) = sim.judged("x");
    assert_eq!(first.ports.len(), 1);
    sim.turn("x");
    assert_eq!(sim.judged("x").1.ports.len(), 0, "nothing more before the servers have it");
    for node in ["n1", "n2", "n3"] {
        sim.agent(node);
    }
    assert_eq!(sim.judged("x").1.ports.len(), 1);
    sim.turn("x");
    assert_eq!(sim.judged("x").1.ports.len(), 0);
}

#[test]
fn what_is_settled_takes_no_writes() {
    let mut sim = cluster(2);
    for n in 0..20 {
        sim.port(&format!("p{n}"), Some(n), None);
    }
    sim.settle();
    assert_eq!(sim.turn("x"), 0);
}

#[test]
fn a_port_before_its_subnet_and_network_is_no_failure() {
    let mut sim = Sim::new(3);
    sim.port("p", Some(1), Some("10.0.0.20"));
    sim.turn("x");
    let reconciling = |sim: &Sim| {
        let conditions = sim.ports["p"].status.clone().unwrap().conditions;
        assert!(conditions.iter().all(|c| c.type_ != "Stalled"), "{conditions:?}");
        conditions.iter().any(|c| c.type_ == "Reconciling" && c.status == "True")
    };
    assert_eq!(sim.ready("p").1, "NetworkNotFound");
    assert!(reconciling(&sim));
    sim.network("x", 2);
    sim.settle();
    assert!(reconciling(&sim));
    sim.subnet("other", "10.0.1.0/24");
    sim.settle();
    assert!(reconciling(&sim), "a Subnet that has the address may come");
    sim.subnet("s", "10.0.0.0/24");
    sim.settle();
    assert_eq!((sim.addresses("p"), sim.ready("p")), (vec!["10.0.0.20".into()], yes()));
}

#[test]
fn a_removed_ports_address_is_free_when_all_servers_forgot_it() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), Some("10.0.0.20"));
    sim.settle();
    sim.delete(Kind::Port, "p");
    sim.port("q", Some(2), Some("10.0.0.20"));
    sim.turn("x");
    sim.turn("x");
    assert_eq!((sim.addresses("q"), sim.ready("q").1), (vec![], "AddressReleasing".into()));
    sim.settle();
    assert_eq!((sim.addresses("q"), sim.ready("q")), (vec!["10.0.0.20".into()], yes()));
}

#[test]
fn a_dead_nodes_server_is_waited_for_until_its_node_is_out_of_service() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), Some("10.0.0.20"));
    sim.settle();
    let (_, dead) = sim.nodes()[0].clone();
    sim.set_dead(&[&dead], MINUTE * 2);
    sim.delete(Kind::Port, "p");
    sim.port("q", Some(2), Some("10.0.0.20"));
    sim.settle();
    assert_eq!(sim.ready("q").1, "AddressReleasing");
    sim.out_of_service(&dead);
    sim.settle();
    assert_eq!(sim.addresses("q"), ["10.0.0.20"]);
}

#[test]
fn the_quarantine_ends() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), Some("10.0.0.20"));
    sim.settle();
    let (_, dead) = sim.nodes()[0].clone();
    sim.set_dead(&[&dead], MINUTE * 2);
    sim.delete(Kind::Port, "p");
    sim.port("q", Some(2), Some("10.0.0.20"));
    sim.settle();
    assert_eq!(sim.ready("q").1, "AddressReleasing");
    sim.silence(&dead);
    sim.now += jiff::SignedDuration::from_hours(25);
    sim.settle();
    assert_eq!(sim.addresses("q"), ["10.0.0.20"]);
}

#[test]
fn a_port_that_comes_back_as_it_was_has_its_address_at_once() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    let before = sim.addresses("p");
    let uid = sim.ports["p"].metadata.uid.clone().unwrap();
    sim.events.push(format!("{uid} was {:?} {:?}", Some("p"), Some("02:00:00:00:00:01")));
    sim.delete(Kind::Port, "p");
    sim.port("p", Some(1), None);
    sim.turn("x");
    assert_eq!(sim.addresses("p"), before);
    sim.settle();
    assert_eq!(sim.ready("p"), yes());
}

#[test]
fn a_wish_that_changes_moves_the_port_and_frees_the_old_address() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), Some("10.0.0.20"));
    sim.settle();
    sim.port("p", Some(1), Some("10.0.0.21"));
    sim.port("q", Some(2), Some("10.0.0.20"));
    sim.settle();
    assert_eq!(
        (sim.addresses("p"), sim.addresses("q")),
        (vec!["10.0.0.21".into()], vec!["10.0.0.20".into()])
    );
}

#[test]
fn a_collision_names_the_holder() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), Some("10.0.0.20"));
    sim.settle();
    sim.port("q", Some(2), Some("10.0.0.20"));
    sim.settle();
    let status = sim.ports["q"].status.clone().unwrap();
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!((ready.reason.as_str(), ready.message.contains("Port p")), ("AddressInUse", true));
    assert_eq!(sim.ready("p"), yes());
}

#[test]
fn a_grant_that_is_withdrawn_takes_the_network_down_and_keeps_its_addresses() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    let before = sim.addresses("p");
    sim.grant(false);
    sim.settle();
    assert_eq!((sim.nodes(), sim.network_ready().1), (vec![], "NotGranted".into()));
    assert!(sim.servers.is_empty() && sim.serving.is_empty());
    assert_eq!(sim.addresses("p"), before);
    sim.grant(true);
    sim.settle();
    assert_eq!((sim.nodes().len(), sim.ready("p"), sim.addresses("p")), (2, yes(), before));
}

#[test]
fn a_subnet_that_goes_while_its_network_may_not_be_served_takes_its_addresses_along() {
    let mut sim = cluster(2);
    sim.subnet("t", "10.0.1.0/24");
    sim.port("p", Some(1), None);
    sim.port("q", Some(2), Some("10.0.1.20"));
    sim.settle();
    let before = sim.addresses("p");
    sim.ungrant();
    sim.settle();
    sim.delete(Kind::Subnet, "t");
    sim.settle();
    assert_eq!((sim.addresses("p"), sim.addresses("q")), (before, vec![]));
    assert!(sim.allocations.keys().all(|name| !name.contains("10.0.1.")), "{:?}", sim.allocations.keys());
    sim.delete(Kind::Subnet, "s");
    sim.settle();
    assert!(sim.allocations.is_empty(), "{:?}", sim.allocations.keys());
}

#[test]
fn a_silent_agent_is_replaced_after_a_while_and_at_once_if_it_was_the_only_one() {
    let mut sim = cluster(2);
    let (slot, dead) = sim.nodes()[0].clone();
    let addresses = |sim: &Sim| {
        sim.servers.values().filter(|s| s.spec.slot == slot).map(|s| s.spec.addresses.clone()).next_back()
    };
    let before = addresses(&sim);
    sim.set_dead(&[&dead], Duration::from_secs(10));
    sim.settle();
    assert_eq!((sim.nodes()[0].1.clone(), sim.network_ready().1), (dead.clone(), "FewerServers".into()));
    sim.set_dead(&[&dead], MINUTE * 2);
    sim.silence(&dead);
    sim.settle();
    assert!(sim.nodes().iter().all(|(_, node)| *node != dead));
    assert_eq!((addresses(&sim), sim.network_ready()), (before, yes()));
    let mut sim = cluster(1);
    let (_, dead) = sim.nodes()[0].clone();
    sim.set_dead(&[&dead], Duration::from_secs(1));
    sim.silence(&dead);
    sim.settle();
    assert!(sim.nodes()[0].1 != dead);
    assert_eq!(sim.network_ready(), ("True".into(), "SingleServer".into()));
}

#[test]
fn everything_of_a_deleted_network_goes() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    sim.delete(Kind::Network, "x");
    sim.settle();
    assert_eq!((sim.servers.len(), sim.serving.len()), (0, 0));
    assert_eq!(sim.ready("p").1, "NetworkNotFound");
    sim.delete(Kind::Port, "p");
    sim.delete(Kind::Subnet, "s");
    sim.settle();
    assert!(sim.allocations.is_empty(), "{:?}", sim.allocations);
}

#[test]
fn a_network_of_the_same_name_starts_anew() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    sim.delete(Kind::Network, "x");
    sim.network("x", 2);
    sim.settle();
    assert_eq!((sim.network_ready(), sim.ready("p")), (yes(), yes()));
    let uid = sim.networks["x"].metadata.uid.clone().unwrap();
    assert!(sim.servers.values().all(|server| server.spec.network_ref.uid == uid));
}

#[test]
fn a_subnet_that_is_added_gets_server_addresses_without_a_new_server() {
    let mut sim = cluster(2);
    let before = sim.nodes();
    sim.subnet("t", "10.0.1.0/24");
    sim.settle();
    assert_eq!((sim.nodes(), sim.network_ready()), (before, yes()));
    let has = |ip: &str| sim.servers.values().any(|s| s.spec.addresses.iter().any(|a| a.ip == ip));
    assert!(has("10.0.1.2") && has("10.0.1.3"));
    sim.delete(Kind::Subnet, "t");
    sim.settle();
    assert!(sim.allocations.keys().all(|name| !name.contains("10.0.1.")), "{:?}", sim.allocations.keys());
}

#[test]
fn a_late_word_of_a_deletion_takes_nothing_newer() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), Some("10.0.0.20"));
    sim.settle();
    let name = sim::name("x.10.0.0.20");
    let before = sim.turn("x");
    sim.world.deleted(Kind::Allocation, &name, None, crate::types::Revision(1));
    assert_eq!((before, sim.turn("x")), (0, 0));
    sim.world.deleted(Kind::Allocation, &name, None, crate::types::Revision(u64::MAX));
    assert_eq!(sim.judged("x").0.entries.create.len(), 1);
}

#[test]
fn a_replacement_has_other_addresses_while_its_predecessor_answers() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    let (slot, lost) = sim.nodes()[0].clone();
    let address = |sim: &Sim| {
        let mut servers = sim.servers.values().filter(|s| s.spec.slot == slot);
        servers.rfind(|s| s.spec.node_name != lost).map(|s| s.spec.addresses[0].clone()).unwrap()
    };
    let own = sim.servers.values().find(|s| s.spec.node_name == lost).unwrap().spec.addresses[0].clone();
    sim.set_dead(&[&lost], MINUTE * 2);
    sim.settle();
    let now = address(&sim);
    assert_eq!((&now.in_place_of, now.ip != own.ip), (&Some(own.ip.clone()), true));
    assert_eq!(now.resolvers, own.resolvers, "guests are told what they were told before");
    assert_eq!(sim.network_ready(), ("True".into(), "AddressHeldByPredecessor".into()));
    assert!(sim.allocations[&format!("x.{}", now.ip)].spec.holder.temporary);
    // It goes on where it was: it hears that it is to serve no more.
    sim.set_dead(&[], MINUTE);
    sim.settle();
    assert_eq!((address(&sim), sim.network_ready(), sim.ready("p")), (own, yes(), yes()));
    assert!(!sim.allocations.contains_key(&format!("x.{}", now.ip)), "{:?}", sim.allocations.keys());
}

#[test]
fn without_a_free_address_a_replacement_waits_for_its_predecessor() {
    let mut sim = Sim::new(3);
    sim.network("x", 2);
    sim.subnet("s", "10.0.0.0/29");
    for n in 1..=3 {
        sim.port(&format!("p{n}"), Some(n), None);
    }
    sim.settle();
    let (_, lost) = sim.nodes()[0].clone();
    sim.set_dead(&[&lost], MINUTE * 2);
    sim.settle();
    assert_eq!(sim.network_ready(), ("True".into(), "AddressHeldByPredecessor".into()));
    assert!((1..=3).all(|n| sim.ready(&format!("p{n}")) == yes()));
    assert!(sim.allocations.values().all(|allocation| !allocation.spec.holder.temporary));
    sim.silence(&lost);
    sim.settle();
    assert_eq!(sim.network_ready(), yes());
}

#[test]
fn where_no_agent_can_serve_beside_others_there_is_one_server() {
    let mut sim = cluster(2);
    sim.alone(&["n1", "n2", "n3"]);
    sim.settle();
    assert_eq!((sim.nodes().len(), sim.network_ready().1), (1, "SingleServer".into()));
    assert!(sim.servers.values().all(|server| server.spec.addresses[0].resolvers.len() == 1));
    sim.port("p", Some(1), None);
    sim.settle();
    assert_eq!(sim.ready("p"), yes());
    assert_eq!(sim.turn("x"), 0);
}

#[test]
fn an_address_whose_allocation_somebody_deleted_stays_its_holders() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    for (number, ip) in [(2, "10.0.0.2"), (3, "10.0.0.4")] {
        let name = format!("x.{ip}");
        let before = sim.allocations.remove(&name).unwrap().spec;
        sim.world.deleted(Kind::Allocation, &sim::name(&name), None, crate::types::Revision(u64::MAX));
        sim.port(&format!("q{number}"), Some(number), Some(ip));
        sim.settle();
        assert_eq!(sim.ready(&format!("q{number}")).1, "AddressInUse");
        assert_eq!(sim.allocations[&name].spec, before);
    }
    assert_eq!(sim.addresses("p"), ["10.0.0.4"]);
}
