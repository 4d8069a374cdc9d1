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
        let explanation = explain_local(&ObjectName::new("a", "vm1"), &node, &[], |_| None, None);
        explanation.steps.len() - 1
    };
    assert_eq!((faults(Some("Port a/vm1")), faults(Some("Port b/vm1")), faults(None)), (1, 1, 1));
    assert_eq!((faults(Some("Port a/vm10")), faults(Some("Network vm1-net"))), (0, 0));
}

#[test]
fn a_port_that_dhcp_is_not_to_answer_is_not_called_answered() {
    let mut scene = scene();
    let port = known(&mut scene.port);
    becomes!(port, "Ready", condition("Ready", "True", "Reserved", ""));
    port.spec.dhcp = crate::api::PortDhcp::Disabled;
    let explanation = scene.explain();
    assert_eq!(explanation.first_wrong(), None);
    let last = explanation.steps.last().unwrap();
    assert_eq!(last.what, "Port is reserved");
    assert!(last.message.contains("dhcp: Disabled"), "{last:?}");
}

#[test]
fn where_there_are_no_addresses_that_is_not_right() {
    let mut scene = scene();
    let port = known(&mut scene.port);
    port.status.as_mut().unwrap().addresses.clear();
    becomes!(port, "Ready", condition("Ready", "False", "NetworkNotServed", "it is not granted"));
    assert_eq!(first(&scene), "Port has addresses");
    // One that asks for none has all.
    let port = known(&mut scene.port);
    becomes!(port, "Ready", condition("Ready", "True", "Reserved", ""));
    assert_eq!(first(&scene), "nothing");
}

#[test]
fn what_is_not_accepted_is_nothing_that_a_server_comes_to() {
    let mut scene = scene();
    let port = known(&mut scene.port);
    becomes!(port, "Accepted", condition("Accepted", "False", "DuplicateMAC", "vm2 has it"));
    becomes!(port, "Ready", condition("Ready", "False", "DuplicateMAC", "vm2 has it"));
    let knows = |scene: &Scene| {
        let steps = scene.explain().steps.into_iter();
        let knows = steps.filter(|step| step.what.ends_with(": dnsmasq knows the Port"));
        knows.map(|step| (step.verdict, step.message)).collect::<Vec<_>>()
    };
    let not_yet = (Verdict::Wrong, "not while the Port is not accepted, or has no addresses".to_owned());
    assert_eq!(knows(&scene), [not_yet.clone(), not_yet.clone()]);
    // That the server has come as far as to this Port says nothing of one that it is not to know.
    scene.servers[0].status.as_mut().unwrap().ports_revision = Some("9".into());
    assert_eq!(knows(&scene)[0], not_yet);
}

#[test]
fn a_network_without_servers_is_not_on_nothing() {
    let mut scene = scene();
    scene.servers.clear();
    let port = known(&mut scene.port);
    becomes!(port, "Ready", condition("Ready", "False", "Progressing", "no server is placed yet"));
    let explanation = scene.explain();
    let step = explanation.first_wrong().unwrap();
    assert_eq!((&*step.what, &*step.message), ("Network has servers", "none is placed yet"));
}

mod on_a_machine {
    use super::*;
    use crate::report::{ManifestProblem, NetworkReport, NodeReport};

    fn node(value: &Value) -> NodeReport {
        let mut node = json!({"node": "n", "version": "1", "bridgeFilterActive": false, "problems": [],
            "physicalNetworks": [], "subnets": [], "ports": []});
        node.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_network_that_does_not_exist_is_a_step() {
        let conditions = [
            condition("Accepted", "True", "Ready", ""),
            condition("Allocated", "True", "Ready", ""),
            condition("Ready", "False", "NetworkNotFound", "Network lann does not exist in this namespace"),
        ];
        let port = json!({"namespace": "a", "name": "vm1", "macAddress": "02:00:00:00:00:01", "network": "lann",
            "status": {"observedGeneration": 1, "conditions": conditions}});
        let node = node(&json!({"ports": [port]}));
        let explanation = explain_local(&ObjectName::new("a", "vm1"), &node, &[], |_| None, None);
        let whats: Vec<_> = explanation.steps.iter().map(|step| (step.verdict, &*step.what)).collect();
        let wrong =
            ["Network lann", "Port has addresses", "Port is answered"].map(|what| (Verdict::Wrong, what));
        assert_eq!(whats[..2], [(Verdict::Right, "Port a/vm1"), wrong[0]]);
        assert!(whats.contains(&wrong[1]) && whats.contains(&wrong[2]), "{whats:?}");
    }

    fn network(servers: u32, port: &Value) -> NetworkReport {
        serde_json::from_value(json!({"namespace": "a", "name": "lan", "uid": uuid::Uuid::nil().to_string(),
            "status": {"observedGeneration": 1, "servers": {"desired": servers, "ready": servers},
                "conditions": well(&["Accepted", "Ready"])},
            "subnets": [], "ports": [port]}))
        .unwrap()
    }

    fn port(mac: Option<&str>, ready: &str) -> Value {
        let ready = condition("Ready", "True", ready, "");
        let conditions = [&well(&["Accepted", "Allocated"])[..], &[ready]].concat();
        json!({"namespace": "a", "name": "vm1", "macAddress": mac, "status": {"observedGeneration": 1,
            "addresses": [{"ip": "10.0.0.20", "subnetName": "v4"}], "conditions": conditions}})
    }

    #[test]
    fn why_dhcp_is_not_to_answer_is_said() {
        let reserved = |mac, ready| {
            let networks = [network(1, &port(mac, ready))];
            let explanation =
                explain_local(&ObjectName::new("a", "vm1"), &node(&json!({})), &networks, |_| Some(1), None);
            assert_eq!(explanation.first_wrong(), None);
            explanation.reserved
        };
        assert!(reserved(None, "Reserved").unwrap().ends_with("no macAddress and no identity"));
        assert!(reserved(Some("02:00:00:00:00:01"), "Reserved").unwrap().ends_with("dhcp: Disabled"));
        assert_eq!(reserved(Some("02:00:00:00:00:01"), "Ready"), None);
    }

    #[test]
    fn a_dnsmasq_that_is_not_to_be_is_not_missed() {
        let is_missed = |servers| {
            let networks = [network(servers, &port(None, "Reserved"))];
            let name = ObjectName::new("a", "vm1");
            explain_local(&name, &node(&json!({})), &networks, |_| None, None).first_wrong().is_some()
        };
        assert_eq!((is_missed(0), is_missed(1)), (false, true));
    }

    #[test]
    fn a_broken_file_is_why_there_is_no_network() {
        let problem = |object: &str| json!({"place": "lan.yaml:3", "object": object, "message": "spec: no"});
        let first = |object: &str| {
            let port = json!({"namespace": "a", "name": "vm1", "network": "lan",
                "status": {"observedGeneration": 1, "conditions": []}});
            let node = node(&json!({"ports": [port], "problems": [problem(object)]}));
            let explanation = explain_local(&ObjectName::new("a", "vm1"), &node, &[], |_| None, None);
            explanation.first_wrong().unwrap().clone()
        };
        let step = first("Network a/lan");
        assert_eq!((&*step.what, &*step.message), ("Network a/lan", "lan.yaml:3: spec: no"));
        assert!(step.cure.unwrap().starts_with("correct the manifest"));
        for other in ["Network b/lan", "Network a/lan2", "Subnet a/lan"] {
            assert_eq!(first(other).what, "Network lan", "{other}");
        }
    }

    #[test]
    fn a_broken_file_is_why_there_is_no_subnet() {
        let first = |object: &str, ready: &str| {
            let mut port = port(None, "Ready");
            port["status"]["conditions"] = json!([condition("Ready", ready, "NoSubnet", "none")]);
            let known = json!({"namespace": "a", "name": "known", "status": {"observedGeneration": 1,
                "conditions": well(&["Accepted", "Ready"])}});
            let mut lan = network(1, &port);
            lan.subnets.push(serde_json::from_value(known).unwrap());
            let problem = json!({"place": "v4.yaml:3", "object": object, "message": "spec: no"});
            let node = node(&json!({"problems": [problem]}));
            let explanation = explain_local(&ObjectName::new("a", "vm1"), &node, &[lan], |_| Some(1), None);
            explanation.steps.iter().any(|step| step.message.starts_with("v4.yaml:3"))
        };
        assert!(first("Subnet a/v4", "False"));
        assert!(!first("Subnet a/v4", "True"), "it may be another Network's");
        assert!(!first("Subnet a/known", "False"), "what it was is in force");
        assert!(!first("Subnet b/v4", "False"));
    }

    #[test]
    fn that_no_agent_runs_is_the_first_thing_that_is_not_right() {
        let networks = [network(1, &port(None, "Reserved"))];
        let name = ObjectName::new("a", "vm1");
        let ended = Some(jiff::Timestamp::UNIX_EPOCH);
        let explanation = explain_local(&name, &node(&json!({})), &networks, |_| Some(1), ended);
        let step = &explanation.steps[0];
        assert_eq!((&*step.what, step.verdict), ("an agent runs", Verdict::Wrong));
        assert!(step.message.ends_with("what the last one said, at 1970-01-01T00:00:00Z"), "{step:?}");
    }

    #[test]
    fn what_cannot_be_changed_is_to_be_made_again() {
        let problem = |message: &str| ManifestProblem {
            place: "a.yaml:1".to_owned(),
            object: Some("Port a/vm1".to_owned()),
            message: message.to_owned(),
        };
        let cure = |message: &str| {
            let node = NodeReport { problems: vec![problem(message)], ..NodeReport::default() };
            let explanation = explain_local(&ObjectName::new("a", "vm1"), &node, &[], |_| None, None);
            explanation.first_wrong().unwrap().cure.clone().unwrap()
        };
        assert!(cure("spec.macAddress: no").starts_with("correct the manifest"));
        let immutable = crate::api::rules::IMMUTABLE;
        assert!(cure(&format!("spec.networkRef: Invalid value: {immutable}")).contains("make it again"));
    }
}

#[test]
fn a_physical_network_that_is_missing_is_for_an_administrator_or_for_the_agent() {
    let mut scene = scene();
    scene.physical = Found::Missing;
    let explanation = scene.explain();
    let cure = explanation.first_wrong().unwrap().cure.clone().unwrap();
    assert!(cure.contains("create") && !cure.contains("--physical-network"), "{cure}");
    let cure = Reason::PhysicalNetworkNotFound.cure();
    assert!(cure.contains("create") && cure.contains("--physical-network"), "{cure}");
}
