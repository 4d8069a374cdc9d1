use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::types::ObjectName;

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message,
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn well(types: &[&str]) -> Vec<Value> {
    types.iter().map(|type_| condition(type_, "True", "Ready", "")).collect()
}

fn mk<T: DeserializeOwned>(kind: &str, name: &str, spec: &Value, status: &Value) -> T {
    serde_json::from_value(json!({
        "apiVersion": crate::api::API_VERSION, "kind": kind,
        "metadata": {"name": name, "namespace": "a", "uid": name, "generation": 1, "resourceVersion": "7"},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

/// All is well.
fn scene() -> Scene {
    let port = json!({"networkRef": {"name": "lan"}, "macAddress": "02:00:00:00:00:01"});
    let port_status = json!({"observedGeneration": 1, "addresses": [{"ip": "10.0.0.20", "subnetName": "v4"}],
        "conditions": well(&["Accepted", "Allocated", "Ready"])});
    let network = json!({"physicalNetworkRef": {"name": "dc"}});
    let subnet = json!({"networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24"});
    let status = |types: &[&str]| json!({"observedGeneration": 1, "conditions": well(types)});
    let server = |node: &str| {
        let spec = json!({"networkRef": {"name": "lan", "uid": "lan"}, "nodeName": node, "slot": 0,
            "state": "Active", "addresses": []});
        mk("DHCPServer", node, &spec, &status(&["Programmed", "Serving", "Ready"]))
    };
    let agent =
        |node: &str| (node.to_owned(), Found::Known(mk("DHCPAgent", node, &json!({}), &status(&["Ready"]))));
    Scene {
        name: ObjectName::new("a", "vm1"),
        port: Found::Known(mk("Port", "vm1", &port, &port_status)),
        network: Found::Known(mk("Network", "lan", &network, &status(&["Accepted", "Scheduled", "Ready"]))),
        physical: Found::Known(mk("PhysicalNetwork", "dc", &json!({}), &status(&["Ready"]))),
        subnets: vec![mk("Subnet", "v4", &subnet, &status(&["Accepted", "Ready"]))],
        servers: vec![server("n1"), server("n2")],
        agents: BTreeMap::from([agent("n1"), agent("n2")]),
    }
}

fn first(scene: &Scene) -> String {
    let explanation = scene.explain();
    explanation.first_wrong().map_or_else(|| "nothing".to_owned(), |step| step.what.clone())
}

fn known<T>(found: &mut Found<T>) -> &mut T {
    match found {
        Found::Known(object) => object,
        _ => panic!("it is not there"),
    }
}

macro_rules! becomes {
    ($object:expr, $type_:literal, $condition:expr) => {
        let conditions = &mut $object.status.as_mut().unwrap().conditions;
        conditions.retain(|condition| condition.type_ != $type_);
        conditions.push(serde_json::from_value($condition).unwrap());
    };
}

#[test]
fn nothing_is_wrong_where_all_is_well() {
    let explanation = scene().explain();
    assert!(explanation.steps.iter().all(|step| step.verdict == Verdict::Right), "{explanation:#?}");
    let addresses = explanation.steps.iter().find(|step| step.what == "Port has addresses").unwrap();
    assert_eq!(addresses.message, "10.0.0.20");
    assert!(explanation.steps.iter().any(|step| step.message == "on n1, n2"));
}

#[test]
fn the_first_fault_is_the_one_from_which_others_follow() {
    let mut scene = scene();
    // From the end to the beginning: each is found before the one that was made earlier.
    let port = known(&mut scene.port);
    becomes!(port, "Ready", condition("Ready", "False", "Progressing", ""));
    assert_eq!(first(&scene), "n1: dnsmasq knows the Port");
    becomes!(scene.servers[0], "Serving", condition("Serving", "False", "NotAnswering", "deaf"));
    assert_eq!(first(&scene), "n1: dnsmasq answers");
    scene.agents.insert("n1".into(), Found::Missing);
    assert_eq!(first(&scene), "n1: agent is alive");
    let network = known(&mut scene.network);
    becomes!(network, "Scheduled", condition("Scheduled", "False", "NoAgent", "none"));
    assert_eq!(first(&scene), "Network has servers");
    let port = known(&mut scene.port);
    becomes!(port, "Allocated", condition("Allocated", "False", "PoolExhausted", "full"));
    assert_eq!(first(&scene), "Port has addresses");
    becomes!(scene.subnets[0], "Accepted", condition("Accepted", "False", "SubnetsOverlap", "v5"));
    assert_eq!(first(&scene), "Subnet v4 (10.0.0.0/24)");
    scene.physical = Found::Missing;
    assert_eq!(first(&scene), "PhysicalNetwork dc");
    scene.network = Found::Missing;
    assert_eq!(first(&scene), "Network lan");
    scene.port = Found::Missing;
    assert_eq!(first(&scene), "Port a/vm1");
}

#[test]
fn what_a_server_refuses_is_said_with_its_cure() {
    let mut scene = scene();
    let refused = json!({"name": "vm1", "uid": "vm1", "reason": "RefusedByServer", "message": "no"});
    scene.servers[1].status.as_mut().unwrap().refused_ports = vec![serde_json::from_value(refused).unwrap()];
    let explanation = scene.explain();
    let step = explanation.first_wrong().unwrap();
    assert_eq!((&*step.what, &*step.message), ("n2: dnsmasq knows the Port", "RefusedByServer: no"));
    assert_eq!(step.cure.as_deref(), Some(Reason::RefusedByServer.cure()));
}

#[test]
fn a_change_that_nobody_has_seen_is_no_verdict() {
    let mut scene = scene();
    known(&mut scene.network).metadata.generation = Some(2);
    let explanation = scene.explain();
    let step = explanation.first_wrong().unwrap();
    assert_eq!(step.message, "its last change has not been looked at yet");
}

#[test]
fn warnings_and_what_may_not_be_seen_are_no_faults() {
    let mut scene = scene();
    scene.physical = Found::Hidden("forbidden".into());
    let network = known(&mut scene.network);
    becomes!(
        network,
        "ForeignDHCPServer",
        condition("ForeignDHCPServer", "True", "ForeignDHCPServer", "02:…")
    );
    let explanation = scene.explain();
    assert_eq!(explanation.first_wrong(), None);
    let verdicts: Vec<_> = explanation.steps.iter().map(|step| step.verdict).collect();
    assert!(verdicts.contains(&Verdict::Unknown) && verdicts.contains(&Verdict::Warning), "{verdicts:?}");
}

#[test]
fn a_manifest_of_another_port_is_no_fault_of_this_one() {
    let problem = |object: Option<&str>| crate::report::ManifestProblem {
        place: "a.yaml:1".to_owned(),
        object: object.map(str::to_owned),
        message: "macAddress: no".to_owned(),
    };
    let faults = |object: Option<&str>| {
        let node = crate::report::NodeReport { problems: vec![problem(object)], ..Default::default() };
        let explanation = explain_local(&ObjectName::new("a", "vm1"), &node, &[], |_| None);
        explanation.steps.len() - 1
    };
    assert_eq!((faults(Some("Port a/vm1")), faults(Some("Port b/vm1")), faults(None)), (1, 1, 1));
    assert_eq!((faults(Some("Port a/vm10")), faults(Some("Network vm1-net"))), (0, 0));
}
