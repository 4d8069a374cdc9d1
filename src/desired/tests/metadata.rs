//! Who is offered the metadata service.

use super::*;

fn found(kind: &str, gateway: &Value) -> Desired {
    let network = json!({"metadataService": {"type": kind}});
    let subnet = json!({"cidr": "10.0.0.0/24", "gateway": gateway});
    let inputs = inputs(&network, &[("v4", subnet)], &[("x", mac(1)), ("vip", json!({}))]);
    let node = NodeConfig { metadata: true, ..node() };
    desired(&node, uid(), &inputs, &mut Ledger::default())
}

fn routes(desired: &Desired) -> Vec<String> {
    options(desired, 's').into_iter().filter(|option| option.starts_with("121 ")).collect()
}

#[test]
fn guests_of_an_isolated_subnet_are_offered_it_and_told_the_way() {
    let found = found("IsolatedSubnets", &json!({"type": "None"}));
    assert_eq!(routes(&found), ["121 20:a9:fe:a9:fe:00:00:00:00"]);
    let service = found.segment.unwrap().metadata.unwrap();
    assert_eq!(service.families, [Family::V4].into());
    let guests: Vec<_> = service.guests.iter().map(|(ip, mac)| format!("{ip} {mac}")).collect();
    assert_eq!(guests, ["10.0.0.3 02:00:00:00:00:01"], "one without a device cannot ask");
    let directory = found.directory.unwrap();
    assert_eq!((directory.namespace.as_str(), directory.network.as_str()), ("a", "n"));
    assert_eq!(directory.guests[&IpAddr::from([10, 0, 0, 3])].port, "x");
}

#[test]
fn who_has_a_gateway_is_offered_it_only_if_all_are() {
    let auto = json!({"type": "Auto"});
    let isolated = found("IsolatedSubnets", &auto);
    assert_eq!((routes(&isolated), isolated.segment.unwrap().metadata), (Vec::new(), None));
    let always = found("Always", &auto);
    assert_eq!(routes(&always), ["121 20:a9:fe:a9:fe:00:00:00:00:00:0a:00:00:01"]);
    assert!(always.segment.unwrap().metadata.is_some());
    let never = found("None", &json!({"type": "None"}));
    assert_eq!((routes(&never), never.segment.unwrap().metadata), (Vec::new(), None));
}

#[test]
fn a_route_of_the_users_comes_before_it() {
    let network = json!({"metadataService": {"type": "Always"}});
    let route = json!([{"destination": "169.254.169.254/32", "nextHop": "10.0.0.9"}]);
    let subnet = json!({"cidr": "10.0.0.0/24", "gateway": {"type": "None"}, "hostRoutes": route});
    let node = NodeConfig { metadata: true, ..node() };
    let found = desired(&node, uid(), &inputs(&network, &[("v4", subnet)], &[]), &mut Ledger::default());
    assert_eq!(routes(&found), ["121 20:a9:fe:a9:fe:0a:00:00:09"]);
}

#[test]
fn what_is_in_its_way_is_said_and_all_else_is_served() {
    let network = json!({"metadataService": {"type": "Always"}});
    let there = run(&inputs(&network, &[v4()], &[("x", mac(1))]));
    assert_eq!(reason(there.metadata_problem.as_ref()), "MetadataNotServed");
    assert!(routes(&there).is_empty() && there.problem.is_none() && there.directory.is_none());
    let subnet = json!({"cidr": "169.254.0.0/16"});
    let node = NodeConfig { metadata: true, ..node() };
    let there = desired(&node, uid(), &inputs(&network, &[("v4", subnet)], &[]), &mut Ledger::default());
    assert!(there.metadata_problem.unwrap().message.contains("Subnet v4"));
    assert!(there.segment.unwrap().metadata.is_none());
}

#[test]
fn over_ipv6_a_guest_is_known_at_its_link_local_address_too() {
    let network = json!({"metadataService": {"type": "Always"}});
    let six = json!({"cidr": "2001:db8::/64", "ipv6": {"addressMode": "DHCPv6Stateful"}});
    let node = NodeConfig { metadata: true, ..node() };
    let inputs = inputs(&network, &[("v6", six)], &[("x", mac(1))]);
    let service = desired(&node, uid(), &inputs, &mut Ledger::default()).segment.unwrap().metadata.unwrap();
    let guests: Vec<_> = service.guests.keys().map(ToString::to_string).collect();
    assert_eq!(guests, ["2001:db8::3", "fe80::ff:fe00:1"]);
    assert_eq!(service.families, [Family::V6].into());
}

#[test]
fn where_there_is_no_room_for_it_the_users_routes_are_told() {
    let network = json!({"metadataService": {"type": "Always"}});
    let route = |n: u8| json!({"destination": format!("172.{n}.0.0/16"), "nextHop": "10.0.0.9"});
    let told = |count: u8| {
        let gateway = json!({"type": "Address", "address": "192.168.99.1"});
        let hosts: Vec<_> = (0..count).map(route).collect();
        let subnet = json!({"cidr": "10.0.0.0/24", "gateway": gateway, "hostRoutes": hosts});
        let node = NodeConfig { metadata: true, ..node() };
        let found = desired(&node, uid(), &inputs(&network, &[("v4", subnet)], &[]), &mut Ledger::default());
        routes(&found).pop().unwrap()
    };
    assert!(told(33).starts_with("121 20:a9:fe:a9:fe:00:00:00:00:10:ac:00"));
    assert!(told(34).starts_with("121 10:ac:00") && told(34).ends_with(":00:c0:a8:63:01"));
}
