//! IPv6 beside IPv4, and alone.

use super::*;
use crate::dnsmasq::{Client, Host};

fn v6() -> (&'static str, Value) {
    ("v6", json!({"cidr": "2001:db8::/64", "ipv6": {"addressMode": "DHCPv6Stateful"}}))
}

fn addresses(desired: &Desired, port: &str) -> Vec<String> {
    desired.ports[port].addresses.iter().map(|(ip, subnet)| format!("{ip} {subnet}")).collect()
}

fn host(desired: &Desired, mac: u8, family: Family) -> Option<Host> {
    let client: Client = (MacAddr::local([0, 0, 0, 0, mac]), family);
    desired.segment.as_ref()?.server.as_ref()?.hosts.entries.get(&client).cloned()
}

#[test]
fn a_port_has_an_address_of_each_family_and_its_guest_gets_both() {
    let found = run(&inputs(&json!({"dns": {"domain": "example.org"}}), &[v4(), v6()], &[("x", mac(1))]));
    assert_eq!(found.problem, None);
    assert_eq!(addresses(&found, "x"), ["10.0.0.3 v4", "2001:db8::3 v6"]);
    assert_eq!(
        found.server_addresses,
        ["10.0.0.2".parse::<IpAddr>().unwrap(), "2001:db8::2".parse().unwrap()]
    );
    let (four, six) = (host(&found, 1, Family::V4).unwrap(), host(&found, 1, Family::V6).unwrap());
    assert_eq!((four.name.to_string().as_str(), four.more.len()), ("host-10-0-0-3", 0));
    assert_eq!(
        (six.ip.to_string().as_str(), six.name.to_string().as_str()),
        ("2001:db8::3", "host-2001-db8--3")
    );
    assert_eq!(four.tag, six.tag);
    let server = found.segment.as_ref().unwrap().server.as_ref().unwrap();
    let names: Vec<_> = server.names.iter().map(|(ip, names)| format!("{ip} {}", names[0])).collect();
    assert_eq!(names, ["10.0.0.3 host-10-0-0-3.example.org", "2001:db8::3 host-2001-db8--3.example.org"]);
    let six = ["23 of DHCPv6 [2001:db8::2]", "24 of DHCPv6 example.org"];
    assert!(
        six.iter().all(|option| options(&found, 's').contains(&(*option).to_owned())),
        "{:?}",
        options(&found, 's')
    );
    let argv = &server.process.as_ref().unwrap().argv;
    assert!(argv.contains(&format!("--dhcp-duid=0,{}", "3f:0c:9a:1b:00:00:40:00:80:00:00:00:00:00:00:01")));
}

#[test]
fn the_first_of_several_addresses_is_offered_and_the_others_may_be_had() {
    let mut port = mac(1);
    port["addresses"] =
        json!([{"ip": "2001:db8::9"}, {"ip": "10.0.0.9"}, {"ip": "2001:db8::7"}, {"ip": "10.0.0.7"}]);
    let found = run(&inputs(&json!({}), &[v4(), v6()], &[("x", port)]));
    let six = host(&found, 1, Family::V6).unwrap();
    assert_eq!((six.ip.to_string(), six.more[0].to_string()), ("2001:db8::9".into(), "2001:db8::7".into()));
    let four = host(&found, 1, Family::V4).unwrap();
    assert_eq!((four.ip.to_string(), four.more.len()), ("10.0.0.9".into(), 0));
}

#[test]
fn a_network_may_have_no_ipv4_at_all() {
    let found = run(&inputs(&json!({}), &[v6()], &[("x", mac(1))]));
    assert_eq!(addresses(&found, "x"), ["2001:db8::3 v6"]);
    assert_eq!(found.ports["x"].unallocated, None);
    assert_eq!((host(&found, 1, Family::V4), found.problem.as_ref()), (None, None));
}

#[test]
fn an_option_goes_to_the_guests_of_its_family() {
    let ntp = json!([
        {"name": "ntp-server", "values": ["10.0.0.7"]},
        {"name": "ntp-server", "values": ["2001:db8::7"]},
        {"name": "domain-search", "values": ["a.example.org"]},
    ]);
    let mut port = mac(1);
    port["options"] = ntp.clone();
    let found = run(&inputs(&json!({"options": ntp}), &[v4(), v6()], &[("x", port)]));
    let all =
        ["42 10.0.0.7", "119 a.example.org", "24 of DHCPv6 a.example.org", "56 of DHCPv6 [2001:db8::7]"];
    assert_eq!(options(&found, 'p'), all);
    let of_subnets = options(&found, 's');
    let written: Vec<_> = of_subnets.iter().filter(|option| all.contains(&option.as_str())).collect();
    assert_eq!(written.len(), 4, "{of_subnets:?}");
}

#[test]
fn what_dhcpv6_cannot_have_is_refused() {
    let with = |field: &str, value: Value| {
        let mut spec = v6().1;
        spec[field] = value;
        spec
    };
    for (spec, reason_of) in [
        (with("cidr", json!("2001:db8::/63")), "NotSupported"),
        (with("cidr", json!("2001:db8::1/128")), "NotSupported"),
        (with("cidr", json!("fe80::/64")), "InvalidValue"),
        (with("dhcp", json!({"renewalSeconds": 600})), "NotSupported"),
        (
            with("hostRoutes", json!([{"destination": "2001:db8:1::/64", "nextHop": "2001:db8::9"}])),
            "NotSupported",
        ),
        (with("dns", json!({"type": "Addresses", "addresses": ["10.0.0.1"]})), "NotSupported"),
        (with("gateway", json!({"type": "Address", "address": "10.0.0.1"})), "InvalidValue"),
        (with("ipv6", json!({"addressMode": "SLAAC"})), "NotSupported"),
        (with("dns", json!({"type": "Addresses", "addresses": ["fe80::"]})), "InvalidValue"),
        (
            json!({"cidr": "10.9.0.0/24", "hostRoutes": [{"destination": "2001:db8:1::/64", "nextHop": "fe80::9"}]}),
            "InvalidValue",
        ),
    ] {
        let found = run(&inputs(&json!({}), &[v4(), ("bad", spec.clone())], &[("x", mac(1))]));
        assert_eq!(reason(found.subnets["bad"].problem.as_ref()), reason_of, "{spec}");
        assert_eq!(addresses(&found, "x"), ["10.0.0.3 v4"], "{spec}");
    }
}

#[test]
fn packets_that_are_too_small_for_ipv6_harm_nobody_elses() {
    let found = run(&inputs(&json!({"mtu": 1279}), &[v4(), v6()], &[("x", mac(1))]));
    assert_eq!(reason(found.subnets["v6"].problem.as_ref()), "MTUTooSmall");
    assert_eq!(
        (addresses(&found, "x"), found.subnets["v4"].problem.as_ref()),
        (vec!["10.0.0.3 v4".to_owned()], None)
    );
    let found = run(&inputs(&json!({"mtu": 1280}), &[v4(), v6()], &[]));
    assert_eq!(found.subnets["v6"].problem, None);
}
