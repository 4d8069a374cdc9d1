//! Objects in, desired state out.

mod dynamic;
mod identity;
mod ipv6;
mod metadata;

use super::*;
use crate::api::Port;
use crate::dnsmasq;
use crate::node::{Action, Family};
use crate::plan::plan;
use crate::service::Code;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn object<T: DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> Arc<T> {
    let uid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{kind}/{name}").as_bytes());
    let metadata = json!({"name": name, "namespace": "a", "uid": uid.to_string()});
    let api = "kube-dhcp.io/v1alpha1";
    let value = json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec});
    Arc::new(serde_json::from_value(value).unwrap())
}

fn declared(name: &str, spec: &Value) -> Arc<Declared> {
    Arc::new(object::<Port>("Port", name, spec).into())
}

fn inputs(network: &Value, subnets: &[(&str, Value)], ports: &[(&str, Value)]) -> Inputs {
    let with = |spec: &Value, field: &str, value: Value| {
        let mut spec = spec.clone();
        spec[field] = value;
        spec
    };
    let of = |spec: &Value| with(spec, "networkRef", json!({"name": "n"}));
    let ports: BTreeMap<_, _> = ports.iter().map(|(name, spec)| (name, declared(name, &of(spec)))).collect();
    Inputs {
        network: object("Network", "n", &with(network, "physicalNetworkRef", json!({"name": "p"}))),
        physical_network: None,
        segment_holder: None,
        server: None,
        subnets: subnets.iter().map(|(name, spec)| object("Subnet", name, &of(spec))).collect(),
        ports: ports.into_values().collect(),
    }
}

fn node() -> NodeConfig {
    NodeConfig {
        name: "n1".into(),
        attachments: BTreeMap::from([("p".into(), "bridge:br0".parse().unwrap())]),
        create_bridges: true,
        state: "/state".into(),
        ..NodeConfig::default()
    }
}

fn uid() -> NetworkUid {
    "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap()
}

fn run(inputs: &Inputs) -> Desired {
    desired(&node(), uid(), inputs, &mut Ledger::default())
}

fn v4() -> (&'static str, Value) {
    ("v4", json!({"cidr": "10.0.0.0/24"}))
}

fn mac(n: u8) -> Value {
    json!({"macAddress": format!("02:00:00:00:00:{n:02x}")})
}

/// Options of one subnet as dnsmasq's lines, by code.
fn options(desired: &Desired, prefix: char) -> Vec<String> {
    let server = desired.segment.as_ref().and_then(|segment| segment.server.as_ref()).unwrap();
    let of = server.options.values.iter().filter(|(key, _)| key.tag.starts_with(prefix));
    of.map(|(key, value)| format!("{} {value}", key.code)).collect()
}

fn reason(problem: Option<&Problem>) -> &'static str {
    problem.map_or("", |problem| problem.reason.as_str())
}

#[test]
fn a_subnet_tells_its_guests_what_its_fields_say() {
    let network = json!({"mtu": 1450, "dns": {"domain": "vm.example.org"}});
    let subnet = json!({
        "cidr": "10.0.0.0/24",
        "dhcp": {"renewalSeconds": 600, "rebindingSeconds": 900},
        "hostRoutes": [{"destination": "10.8.0.0/16", "nextHop": "10.0.0.254"}],
        "options": [{"name": "ntp-server", "values": ["10.0.0.7"]}],
    });
    let found = run(&inputs(&network, &[("v4", subnet)], &[]));
    assert_eq!(
        options(&found, 's'),
        [
            "3 10.0.0.1",
            "6 10.0.0.2",
            "15 \"vm.example.org\"",
            "42 10.0.0.7",
            "58 600",
            "59 900",
            "121 10:0a:08:0a:00:00:fe:00:0a:00:00:01",
            "249 10:0a:08:0a:00:00:fe:00:0a:00:00:01",
        ]
    );
    let process = found.segment.and_then(|segment| segment.server).and_then(|server| server.process);
    let to_all = "--dhcp-option-force=option:mtu,1450".to_owned();
    assert!(process.unwrap().argv.contains(&to_all), "the MTU is for those, too, who do not ask");
}

#[test]
fn txt_records_of_agent_and_network_are_told_in_whatever_order_they_stand() {
    let node = NodeConfig { txt_records: vec!["all.test,x".parse().unwrap()], ..node() };
    let (one, two) =
        (json!({"name": "_a", "texts": ["y"]}), json!({"name": "all.test.", "texts": ["z", "y"]}));
    let told = |records: Value| {
        let network = json!({"dns": {"domain": "in.test", "txtRecords": records}});
        let found = desired(&node, uid(), &inputs(&network, &[v4()], &[]), &mut Ledger::default());
        let argv = found.segment.unwrap().server.unwrap().process.unwrap().argv;
        argv.into_iter().filter(|argument| argument.contains("-txt-")).collect::<Vec<_>>()
    };
    let all = ["_a.in.test,y", "all.test,x", "all.test,z,y"].map(|record| format!("--txt-record={record}"));
    assert_eq!(told(json!([one, two])), all);
    assert_eq!(told(json!([two, one, one])), all);
    assert_eq!(told(json!([])), all[1..2]);
    let bad =
        json!({"dns": {"domain": "in.test", "txtRecords": [one, {"name": "b", "texts": ["x", "y\n"]}]}});
    let found = run(&inputs(&bad, &[v4()], &[]));
    assert_eq!(reason(found.problem.as_ref()), "InvalidValue");
    assert!(found.problem.unwrap().message.starts_with("spec.dns.txtRecords[1].texts[1]: "));
}

#[test]
fn without_gateway_and_dns_guests_are_told_none() {
    let subnet = json!({"cidr": "10.0.0.0/24", "gateway": {"type": "None"}, "dns": {"type": "None"}});
    let found = run(&inputs(&json!({}), &[("v4", subnet)], &[]));
    assert_eq!(options(&found, 's'), ["3 ", "6 "]);
    assert_eq!(found.segment.unwrap().device.unwrap().gateways, BTreeMap::new());
}

#[test]
fn a_gateway_outside_the_subnet_gets_a_route_of_its_own() {
    let subnet = json!({"cidr": "10.0.0.0/24", "gateway": {"type": "Address", "address": "192.0.2.1"}});
    let found = run(&inputs(&json!({}), &[("v4", subnet)], &[]));
    assert!(options(&found, 's').contains(&"121 20:c0:00:02:01:00:00:00:00:00:c0:00:02:01".to_owned()));
}

#[test]
fn each_subnet_knows_the_way_to_the_others() {
    let other = ("w4", json!({"cidr": "10.1.0.0/16", "dhcp": {"mode": "Disabled"}}));
    let found = run(&inputs(&json!({}), &[v4(), other], &[]));
    assert!(options(&found, 's').contains(&"121 10:0a:01:00:00:00:00:00:0a:00:00:01".to_owned()));
    let addresses = found.segment.unwrap().device.unwrap().addresses;
    assert_eq!(addresses, BTreeSet::from(["10.0.0.2/24".parse().unwrap()]));
}

#[test]
fn a_port_option_comes_before_a_subnets_and_a_networks() {
    let ntp = |ip: &str| json!([{"name": "ntp-server", "values": [ip]}]);
    let network = json!({"options": ntp("10.0.0.7")});
    let subnet = json!({"cidr": "10.0.0.0/24", "options": ntp("10.0.0.8")});
    let mut port = mac(1);
    port["options"] = ntp("10.0.0.9");
    let found = run(&inputs(&network, &[("v4", subnet)], &[("x", port)]));
    assert!(options(&found, 's').contains(&"42 10.0.0.8".to_owned()));
    assert_eq!(options(&found, 'p'), ["42 10.0.0.9"]);
}

#[test]
fn names_are_the_full_one_first() {
    let network = json!({"dns": {"domain": "example.org"}});
    let mut port = mac(1);
    port["hostname"] = json!("vm");
    port["dnsNames"] = json!(["db.example.org"]);
    let found = run(&inputs(&network, &[v4()], &[("x", port), ("y", mac(2))]));
    let names = found.segment.unwrap().server.unwrap().names;
    let text: Vec<_> = names
        .values()
        .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(text, ["vm.example.org vm db.example.org", "host-10-0-0-4.example.org host-10-0-0-4"]);
}

#[test]
fn a_bad_object_harms_no_other() {
    let mut stranger = mac(3);
    stranger["dnsNames"] = json!(["www.example.com"]);
    let ports = [
        ("a", mac(1)),
        ("b", mac(1)),
        ("c", stranger),
        ("d", json!({"addresses": [{"ip": "10.9.0.1"}]})),
        ("e", mac(5)),
    ];
    let subnets = [v4(), ("x4", json!({"cidr": "10.0.0.128/25"}))];
    let found = run(&inputs(&json!({"dns": {"domain": "example.org"}}), &subnets, &ports));
    let of = |name: &str| {
        let view = &found.ports[name];
        reason(view.problem.as_ref().or(view.unallocated.as_ref()).or(view.unserved.as_ref()))
    };
    assert_eq!(
        ["a", "b", "c", "d", "e"].map(of),
        ["", "DuplicateMAC", "NameOutsideDomain", "AddressOutsideSubnet", ""]
    );
    assert!(found.ports["b"].problem.as_ref().unwrap().message.contains("Port a"));
    assert_eq!(reason(found.subnets["x4"].problem.as_ref()), "SubnetsOverlap");
    // c is answered: it only lacks the name that it may not have.
    assert_eq!(found.segment.unwrap().server.unwrap().hosts.entries.len(), 3);
}

#[test]
fn who_was_first_stays_when_a_double_comes_with_a_lower_name() {
    let mut ledger = Ledger::default();
    desired(&node(), uid(), &inputs(&json!({}), &[v4()], &[("z", mac(1))]), &mut ledger);
    let both =
        inputs(&json!({}), &[("a4", json!({"cidr": "10.0.0.0/25"})), v4()], &[("a", mac(1)), ("z", mac(1))]);
    let found = desired(&node(), uid(), &both, &mut ledger);
    assert_eq!(reason(found.ports["a"].problem.as_ref()), "DuplicateMAC");
    assert_eq!(found.ports["z"].problem, None);
    assert_eq!(reason(found.subnets["a4"].problem.as_ref()), "SubnetsOverlap");
}

#[test]
fn what_stands_in_a_ports_way_takes_no_address_from_it() {
    let mut ledger = Ledger::default();
    let ports = [("a", mac(1)), ("b", mac(2))];
    desired(&node(), uid(), &inputs(&json!({}), &[v4()], &ports), &mut ledger);
    let before = ledger.clone();
    let double = inputs(&json!({}), &[v4()], &[("a", mac(1)), ("b", mac(1))]);
    let found = desired(&node(), uid(), &double, &mut ledger);
    assert_eq!(reason(found.ports["b"].problem.as_ref()), "DuplicateMAC");
    assert_eq!(ledger, before);
}

#[test]
fn a_subnet_without_dhcp_is_not_displaced_by_a_new_one() {
    let mut ledger = Ledger::default();
    let old = || ("z4", json!({"cidr": "10.0.0.0/24", "dhcp": {"mode": "Disabled"}}));
    let ports = [("x", json!({"addresses": [{"subnetRef": {"name": "z4"}}]}))];
    desired(&node(), uid(), &inputs(&json!({}), &[old()], &ports), &mut ledger);
    let new = ("a4", json!({"cidr": "10.0.0.0/16"}));
    let found = desired(&node(), uid(), &inputs(&json!({}), &[new, old()], &ports), &mut ledger);
    assert_eq!(reason(found.subnets["a4"].problem.as_ref()), "SubnetsOverlap");
    assert_eq!(found.ports["x"].addresses.len(), 1);
}

#[test]
fn a_pool_without_room_for_the_server_says_so() {
    let subnet = json!({"cidr": "10.0.0.0/30", "gateway": {"type": "None"}});
    let port =
        |ip: &str| json!({"addresses": [{"ip": ip}], "macAddress": format!("02:00:00:00:00:0{}", &ip[7..])});
    let ports = [("x", port("10.0.0.1")), ("y", port("10.0.0.2"))];
    let found = run(&inputs(&json!({}), &[("v4", subnet)], &ports));
    assert_eq!(reason(found.problem.as_ref()), "PoolExhausted");
    assert_eq!(reason(found.ports["x"].unserved.as_ref()), "PoolExhausted");
    assert_eq!(reason(found.subnets["v4"].problem.as_ref()), "PoolExhausted");
}

#[test]
fn a_gateway_that_cannot_be_one_harms_its_subnet_only() {
    for address in ["10.1.0.255", "10.1.0.0", "127.0.0.1", "224.0.0.1", "0.0.0.0"] {
        let bad = ("w4", json!({"cidr": "10.1.0.0/24", "gateway": {"type": "Address", "address": address}}));
        let found = run(&inputs(&json!({}), &[v4(), bad], &[]));
        assert_eq!(reason(found.subnets["w4"].problem.as_ref()), "InvalidValue", "{address}");
        assert_eq!(found.subnets["v4"].problem, None);
    }
}

#[test]
fn a_network_that_may_not_be_served_says_why_and_its_objects_wait() {
    let physical = |spec: Value| Some(object("PhysicalNetwork", "p", &spec));
    let mut case = inputs(&json!({}), &[v4()], &[("x", mac(1))]);
    let why = |case: &Inputs| {
        let found = run(case);
        assert_eq!(reason(found.ports["x"].unserved.as_ref()), "NetworkNotServed");
        assert!(found.segment.is_none());
        reason(found.problem.as_ref())
    };
    case.physical_network = physical(json!({"namespaces": {"from": "None"}, "untagged": "Allowed"}));
    assert_eq!(why(&case), "NotGranted");
    case.physical_network = physical(json!({"namespaces": {"from": "All"}, "untagged": "Denied"}));
    assert_eq!(why(&case), "NotGranted");
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "b"}});
    case.physical_network =
        physical(json!({"namespaces": {"from": "Selector", "selector": selector}, "untagged": "Allowed"}));
    assert_eq!(why(&case), "NotGranted");
    case.physical_network = None;
    case.segment_holder = Some(ObjectName::new("b", "m"));
    assert_eq!(why(&case), "SegmentInUse");
    let vlan = json!({"segmentation": {"type": "VLAN", "vlan": {"id": 7}}});
    let case = inputs(&vlan, &[v4()], &[("x", mac(1))]);
    let node =
        |text: &str| NodeConfig { attachments: [("p".into(), text.parse().unwrap())].into(), ..node() };
    let found = desired(&node("macvlan:eth1"), uid(), &case, &mut Ledger::default());
    assert_eq!(reason(found.problem.as_ref()), "NotSupported");
    // Whether a bridge has VLANs only the node knows.
    let found = desired(&node("bridge:br0"), uid(), &case, &mut Ledger::default());
    let bridge = found.segment.and_then(|segment| segment.bridge).unwrap();
    assert_eq!((bridge.name.as_str(), bridge.vlan, bridge.ours), ("br0", Some(7), false));
}

#[test]
fn the_same_objects_plan_nothing_the_second_time() {
    let case = inputs(&json!({"mtu": 1400}), &[v4()], &[("x", mac(1))]);
    let wanted = run(&case).segment.unwrap();
    let mut have = Segment::default();
    let planned = plan(Some(&wanted), &have, true);
    assert!(planned.actions.contains(&Action::CreateNamespace));
    planned.actions.iter().for_each(|action| have.record(action));
    assert_eq!(plan(Some(&run(&case).segment.unwrap()), &have, true).actions, []);
    plan(None, &have, true).actions.iter().for_each(|action| have.record(action));
    assert!(have.is_absent());
}

#[test]
fn a_network_has_room_for_sixty_four_subnets() {
    let names: Vec<_> = (0..65).map(|n| format!("s{n:02}")).collect();
    let subnet = |(n, name): (usize, &'_ String)| (name.clone(), json!({"cidr": format!("10.0.{n}.0/24")}));
    let subnets: Vec<_> = names.iter().enumerate().map(subnet).collect();
    let subnets: Vec<_> = subnets.iter().map(|(name, spec)| (name.as_str(), spec.clone())).collect();
    let desired = run(&inputs(&json!({}), &subnets, &[]));
    assert_eq!(desired.server_addresses.len(), 64);
    assert_eq!(reason(desired.subnets["s64"].problem.as_ref()), "TooManySubnets");
    assert_eq!(desired.subnets["s63"].problem, None);
}

#[test]
fn options_that_no_answer_has_room_for_are_told_and_sent_as_far_as_they_fit() {
    let long = |count: u8| {
        let option = |n| json!({"code": 160 + n, "values": ["x".repeat(255)], "family": "IPv4"});
        json!((0..count).map(option).collect::<Vec<_>>())
    };
    for (count, said) in [(4, ""), (5, "OptionsTooLong")] {
        let mut port = mac(1);
        port["options"] = long(count);
        let desired = run(&inputs(&json!({}), &[v4()], &[("a", port)]));
        assert_eq!(reason(desired.ports["a"].crowded.as_ref()), said);
        assert_eq!(desired.ports["a"].unserved, None);
        assert_eq!(options(&desired, 'p').len(), usize::from(count));
    }
}

#[test]
fn routes_to_many_subnets_leave_room_for_the_users_own() {
    let names: Vec<_> = (0..64).map(|n| format!("s{n:02}")).collect();
    let mut subnets: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (name.as_str(), json!({"cidr": format!("10.0.{n}.0/24")})))
        .collect();
    let routes: Vec<_> = (10..44)
        .map(|n| json!({"destination": format!("172.{n}.0.0/16"), "nextHop": "10.0.0.254"}))
        .collect();
    subnets[0].1["hostRoutes"] = json!(routes);
    let desired = run(&inputs(&json!({}), &subnets, &[]));
    let server = desired.segment.unwrap().server.unwrap();
    let of_code = |code: u8| {
        server
            .options
            .values
            .iter()
            .filter(move |(key, _)| key.code == Code::V4(code))
            .map(|(_, value)| value)
    };
    assert_eq!(of_code(121).count(), 64);
    assert!(of_code(121).all(|value| value.split(':').count() <= 255));
    let all: Vec<_> = (10..44).map(|n| format!("10:ac:{n:02x}:0a:00:00:fe")).collect();
    assert!(of_code(121).any(|value| value.contains(&all.join(":"))), "a user's own route is lost");
}
