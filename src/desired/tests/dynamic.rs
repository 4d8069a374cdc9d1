//! Subnets with addresses for guests that are no Port.

use super::*;
use crate::api::DHCPServerSpec;

fn open() -> (&'static str, Value) {
    let dhcp = json!({"mode": "Dynamic", "dynamic": {"first": "10.0.0.2", "last": "10.0.0.4"}});
    ("v4", json!({"cidr": "10.0.0.0/29", "dhcp": dhcp}))
}

fn argv(desired: &Desired) -> &[String] {
    let server = desired.segment.as_ref().unwrap().server.as_ref().unwrap();
    &server.process.as_ref().unwrap().argv
}

/// The addresses that they are given.
fn strangers(desired: &Desired) -> Vec<String> {
    let ranges = crate::dnsmasq::dynamic_ranges(argv(desired)).into_iter();
    ranges.map(|range| format!("{}-{}", range.first, range.last)).collect()
}

fn is_open(desired: &Desired) -> bool {
    let closed = argv(desired).iter().any(|arg| arg == "--dhcp-ignore=tag:!known");
    let ranges = strangers(desired);
    assert_eq!(closed, ranges.is_empty());
    !closed
}

fn silent(desired: &Desired) -> Vec<MacAddr> {
    let server = desired.segment.as_ref().unwrap().server.as_ref().unwrap();
    server.hosts.silent.iter().filter_map(|(identity, _)| identity.mac()).collect()
}

#[test]
fn what_is_for_strangers_is_nobodys_who_does_not_ask_for_it() {
    let asking = json!({"macAddress": "02:00:00:00:00:03", "addresses": [{"ip": "10.0.0.3"}]});
    let found = run(&inputs(&json!({}), &[open()], &[("a", mac(1)), ("b", mac(2)), ("c", asking)]));
    assert!(is_open(&found));
    assert_eq!(found.server_addresses, [IpAddr::from([10, 0, 0, 5])]);
    let of =
        |port: &str| found.ports[port].addresses.iter().map(|(ip, _)| ip.to_string()).collect::<Vec<_>>();
    assert_eq!((of("a"), of("c")), (vec!["10.0.0.6".to_owned()], vec!["10.0.0.3".to_owned()]));
    assert_eq!(reason(found.ports["b"].unallocated.as_ref()), "PoolExhausted");
    assert_eq!(found.subnets["v4"].total, 2);
    assert_eq!(silent(&found), [MacAddr::local([0, 0, 0, 0, 2])], "it is a Port, if one without an address");
}

#[test]
fn where_there_is_a_controller_it_says_which_server_answers_strangers() {
    let mut found = inputs(&json!({}), &[open()], &[]);
    for dynamic in [false, true] {
        let address = |subnet: &str| crate::api::ServerAddress {
            subnet_name: subnet.into(),
            ip: "10.0.0.5".into(),
            prefix_length: 29,
            ..crate::api::ServerAddress::default()
        };
        let spec = DHCPServerSpec { dynamic, addresses: vec![address("v4")], ..DHCPServerSpec::default() };
        found.server = Some(Arc::new(DHCPServer::new("n.n1", spec)));
        assert_eq!(is_open(&run(&found)), dynamic);
    }
}

#[test]
fn a_range_that_cannot_be_is_refused() {
    let problem = |cidr: &str, first: &str, last: &str| {
        let dhcp = json!({"mode": "Dynamic", "dynamic": {"first": first, "last": last}});
        let mut subnet = json!({"cidr": cidr, "dhcp": dhcp});
        if cidr.contains(':') {
            subnet["ipv6"] = json!({"addressMode": "DHCPv6Stateful"});
        }
        let found = run(&inputs(&json!({}), &[("s", subnet)], &[]));
        found.subnets["s"].problem.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    for (cidr, first, last, said) in [
        ("10.0.0.0/24", "10.0.0.9", "10.0.0.8", "10.0.0.9 is after 10.0.0.8"),
        ("10.0.0.0/24", "10.0.0.9", "10.0.1.8", "it is not inside 10.0.0.0/24"),
        ("10.0.0.0/16", "10.0.0.1", "10.0.4.1", "1025 addresses are more than 1024"),
        ("10.0.0.0/24", "x", "10.0.0.8", "spec.dhcp.dynamic"),
        ("2001:db8::/64", "2001:db8::9", "2001:db8::19", "Dynamic is for IPv4"),
    ] {
        let problem = problem(cidr, first, last);
        assert!(problem.contains(said), "{problem}");
    }
    assert_eq!(problem("10.0.0.0/16", "10.0.0.1", "10.0.4.0"), "");
}

#[test]
fn strangers_get_nothing_that_is_somebodys() {
    let range = json!({"first": "10.0.0.0", "last": "10.0.0.31"});
    let subnet = json!({"cidr": "10.0.0.0/26", "dhcp": {"mode": "Dynamic", "dynamic": range}});
    let with = |mut port: Value, ip: &str| {
        port["addresses"] = json!([{"ip": ip}]);
        port
    };
    let mut silent = with(mac(2), "10.0.0.12");
    silent["dhcp"] = json!("Disabled");
    let mut two = mac(3);
    two["addresses"] = json!([{"ip": "10.0.0.14"}, {"ip": "10.0.0.16"}]);
    let ports = [("vip", with(json!({}), "10.0.0.10")), ("silent", silent), ("two", two)];
    let found = run(&inputs(&json!({}), &[("v4", subnet)], &ports));
    // The router has the first; what is offered to a Port dnsmasq keeps back itself.
    assert_eq!(
        strangers(&found),
        ["10.0.0.2-10.0.0.9", "10.0.0.11-10.0.0.11", "10.0.0.13-10.0.0.15", "10.0.0.17-10.0.0.31"]
    );
}

#[test]
fn all_servers_addresses_are_kept_back() {
    let range = json!({"first": "10.0.0.2", "last": "10.0.0.9"});
    let subnet = json!({"cidr": "10.0.0.0/26", "dhcp": {"mode": "Dynamic", "dynamic": range}});
    let mut found = inputs(&json!({}), &[("v4", subnet)], &[]);
    let address = crate::api::ServerAddress {
        subnet_name: "v4".into(),
        ip: "10.0.0.40".into(),
        prefix_length: 26,
        in_place_of: Some("10.0.0.3".into()),
        resolvers: vec!["10.0.0.3".into(), "10.0.0.5".into()],
    };
    let spec = DHCPServerSpec { dynamic: true, addresses: vec![address], ..DHCPServerSpec::default() };
    found.server = Some(Arc::new(DHCPServer::new("n.n1", spec)));
    assert_eq!(strangers(&run(&found)), ["10.0.0.2-10.0.0.2", "10.0.0.4-10.0.0.4", "10.0.0.6-10.0.0.9"]);
}

#[test]
fn nobody_is_a_guest_with_the_servers_own_mac() {
    let own = asker(&node(), uid(), false);
    let port = |mac: MacAddr| json!({"macAddress": mac.to_string(), "dhcp": "Disabled"});
    let found = run(&inputs(
        &json!({}),
        &[open()],
        &[("a", port(own.mac)), ("b", port(own.device)), ("c", port(MacAddr::local([9; 5])))],
    ));
    assert_eq!(
        [reason(found.ports["a"].problem.as_ref()), reason(found.ports["b"].problem.as_ref())],
        ["DuplicateMAC"; 2]
    );
    assert_eq!(silent(&found), [MacAddr::local([9; 5])]);
}
