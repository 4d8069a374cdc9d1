//! Whatever happens in whichever order: no address is given to two, and it settles.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::world::Kind;
use super::sim::Sim;
use crate::api::ServerState;

#[derive(Debug, Clone)]
enum Op {
    Port(u8, Option<u8>, Option<u8>),
    DeletePort(u8),
    Subnet(u8),
    DeleteSubnet(u8),
    Network(u8),
    DeleteNetwork,
    Grant(bool),
    Dead(Vec<u8>),
    Turn,
    Agent(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..6u8, prop::option::of(0..5u8), prop::option::of(0..6u8)).prop_map(|(n, m, i)| Op::Port(n, m, i)),
        3 => (0..6u8).prop_map(Op::DeletePort),
        1 => (0..2u8).prop_map(Op::Subnet),
        1 => (0..2u8).prop_map(Op::DeleteSubnet),
        1 => (1..4u8).prop_map(Op::Network),
        1 => Just(Op::DeleteNetwork),
        1 => any::<bool>().prop_map(Op::Grant),
        1 => prop::collection::vec(1..4u8, 0..2).prop_map(Op::Dead),
        8 => Just(Op::Turn),
        6 => (1..4u8).prop_map(Op::Agent),
    ]
}

/// Who was what, so that one who comes back as it was is known.
fn remember(sim: &mut Sim, n: u8) {
    if let Some(port) = sim.ports.get(&format!("p{n}")) {
        let (uid, name) = (port.metadata.uid.clone().unwrap(), port.metadata.name.clone());
        let line = format!("{uid} was {name:?} {:?}", port.spec.mac_address);
        sim.events.push(line);
    }
}

fn run(sim: &mut Sim, op: &Op) {
    match op {
        Op::Port(n, mac, ip) => {
            // A MAC address is not taken away.
            let had = sim.ports.get(&format!("p{n}")).is_some_and(|port| port.spec.mac_address.is_some());
            let mac = mac.or(had.then_some(7));
            sim.port(&format!("p{n}"), mac, ip.map(|ip| format!("10.0.0.{}", 10 + ip)).as_deref());
            remember(sim, *n);
        }
        Op::DeletePort(n) => sim.delete(Kind::Port, &format!("p{n}")),
        Op::Subnet(n) if !sim.subnets.contains_key(&format!("s{n}")) => {
            sim.subnet(&format!("s{n}"), ["10.0.0.0/28", "10.0.1.0/29"][usize::from(*n)]);
        }
        Op::Subnet(_) => {}
        Op::DeleteSubnet(n) => sim.delete(Kind::Subnet, &format!("s{n}")),
        Op::Network(servers) => sim.network("x", *servers),
        Op::DeleteNetwork => sim.delete(Kind::Network, "x"),
        Op::Grant(all) => sim.grant(*all),
        Op::Dead(nodes) => {
            let nodes: Vec<_> = nodes.iter().map(|n| format!("n{n}")).collect();
            let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
            sim.set_dead(&nodes, Duration::from_secs(120));
        }
        Op::Turn => {
            sim.turn("x");
        }
        Op::Agent(n) => sim.agent(&format!("n{n}")),
    }
}

fn no_address_is_held_twice(sim: &Sim) {
    let mut holders = BTreeMap::new();
    for (name, port) in &sim.ports {
        for address in port.status.iter().flat_map(|status| &status.addresses) {
            let other = holders.insert(address.ip.clone(), name.clone());
            assert_eq!(other, None, "{} is {name}'s too", address.ip);
        }
    }
    // Of one that is to go and that nobody can tell, the address may be taken when no other one is free.
    for server in sim.servers.values().filter(|server| server.spec.state == ServerState::Active) {
        for address in &server.spec.addresses {
            assert!(!holders.contains_key(&address.ip), "{} is a server's and a port's", address.ip);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_given_to_two_and_it_settles(ops in prop::collection::vec(op(), 1..60)) {
        let mut sim = Sim::new(3);
        sim.network("x", 2);
        sim.subnet("s0", "10.0.0.0/28");
        for op in &ops {
            run(&mut sim, op);
            no_address_is_held_twice(&sim);
        }
        sim.set_dead(&[], Duration::ZERO);
        sim.settle();
        no_address_is_held_twice(&sim);
        prop_assert_eq!(sim.turn("x"), 0);
        // What is gone leaves nothing behind.
        sim.delete(Kind::Network, "x");
        for n in 0..6 {
            sim.delete(Kind::Port, &format!("p{n}"));
        }
        sim.settle();
        prop_assert!(sim.allocations.is_empty(), "{:?}", sim.allocations.keys());
        prop_assert!(sim.servers.is_empty() && sim.serving.is_empty());
    }
}
