//! Agents that do not know to do what a network asks for: in the midst of an upgrade they are of an older
//! version.

use super::sim::Sim;
use super::{cluster, yes};
use crate::api::{
    AddressRange, DhcpMode, IdentityType, NetworkSpec, NetworkTxtRecord, PortSpec, SubnetSpec, find,
};

const OLD: [&str; 2] = ["IPv4", "SeveralServers"];

fn txt(network: &mut NetworkSpec) {
    network.dns.txt_records = vec![NetworkTxtRecord { name: "a.test.".into(), texts: vec!["b".into()] }];
}

fn by_client_id(port: &mut PortSpec) {
    port.identity.r#type = IdentityType::ClientId;
    port.identity.client_id = Some("01:02".into());
}

fn dynamic(subnet: &mut SubnetSpec) {
    subnet.dhcp.mode = DhcpMode::Dynamic;
    subnet.dhcp.dynamic = Some(AddressRange { first: "10.0.0.200".into(), last: "10.0.0.250".into() });
}

fn message(sim: &Sim) -> String {
    let conditions = &sim.networks["x"].status.as_ref().unwrap().conditions;
    find(conditions, "Ready").unwrap().message.clone()
}

fn names(sim: &Sim) -> Vec<String> {
    sim.nodes().into_iter().map(|(_, node)| node).collect()
}

#[test]
fn an_agent_that_does_not_know_it_gets_no_such_network() {
    let mut sim = Sim::new(3);
    sim.features("n2", &["IPv4", "SeveralServers", "TXTRecords"]);
    sim.network("x", 2);
    sim.change_network(txt);
    sim.subnet("s", "10.0.0.0/24");
    sim.settle();
    assert_eq!(names(&sim), ["n2"]);
    let missing = sim.judged("x").0.missing.unwrap().to_string();
    assert!(missing.contains("2 lack TXTRecords"), "{missing}");
}

#[test]
fn who_serves_it_already_gives_it_up_when_another_one_can() {
    let mut sim = cluster(2);
    sim.port("p", Some(1), None);
    sim.settle();
    sim.change_port("p", by_client_id);
    let (before, new) = (names(&sim), [&OLD[..], &["Identities"]].concat());
    let third = ["n1", "n2", "n3"].into_iter().find(|node| !before.iter().any(|name| name == node)).unwrap();
    sim.features(third, &new);
    sim.settle();
    let after = names(&sim);
    assert!(after.len() == 2 && after.iter().any(|name| name == third), "{after:?}");
    assert!(sim.events.iter().any(|why| why == "the node lacks Identities"), "{:?}", sim.events);
    for node in &before {
        sim.features(node, &new);
    }
    sim.settle();
    assert_eq!(names(&sim), after, "nothing moves back");
    assert_eq!((sim.network_ready(), sim.ready("p")), (yes(), yes()));
}

#[test]
fn where_no_other_one_can_it_serves_on_and_that_is_said() {
    let mut sim = cluster(2);
    for n in 1..=2 {
        sim.port(&format!("p{n}"), Some(n), None);
    }
    sim.settle();
    let served = names(&sim);
    sim.change_network(txt);
    sim.change_port("p1", by_client_id);
    sim.settle();
    assert_eq!(names(&sim), served);
    assert_eq!(sim.network_ready(), ("True".into(), "AgentLacksFeature".into()));
    let first = served.iter().min().unwrap();
    assert_eq!(message(&sim), format!("node {first}: its agent lacks Identities and TXTRecords"));
    assert_eq!(sim.ready("p1"), ("False".into(), "AgentLacksFeature".into()));
    assert_eq!(sim.ready("p2"), yes(), "its guest is answered as it shall be");
    assert_eq!(sim.turn("x"), 0);
    for node in served {
        sim.features(&node, &["IPv4", "SeveralServers", "Identities", "TXTRecords"]);
    }
    sim.settle();
    assert_eq!((sim.network_ready(), sim.ready("p1")), (yes(), yes()));
}

#[test]
fn guests_that_are_no_port_are_not_given_to_who_does_not_know_them() {
    let mut sim = cluster(2);
    sim.change_subnet("s", dynamic);
    sim.settle();
    let ready = |sim: &Sim| {
        let status = sim.subnets["s"].status.clone().unwrap();
        let ready = find(&status.conditions, "Ready").unwrap().clone();
        (ready.status, ready.reason)
    };
    assert_eq!(ready(&sim), ("False".into(), "AgentLacksFeature".into()));
    assert!(sim.servers.values().all(|server| !server.spec.dynamic), "{:#?}", sim.servers);
    let last = names(&sim).pop().unwrap();
    sim.features(&last, &[&OLD[..], &["Dynamic"]].concat());
    sim.settle();
    assert_eq!(ready(&sim), yes());
    let answers = sim.servers.values().find(|server| server.spec.dynamic).unwrap();
    assert_eq!(answers.spec.node_name, last);
    assert_eq!(sim.network_ready().1, "AgentLacksFeature");
}
