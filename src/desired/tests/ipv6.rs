//! IPv6 beside IPv4, and alone.

use super::*;
use crate::dnsmasq::{Client, Host};
use crate::service::Offer;

fn v6() -> (&'static str, Value) {
    ("v6", json!({"cidr": "2001:db8::/64", "ipv6": {"addressMode": "DHCPv6Stateful"}}))
}

fn addresses(desired: &Desired, port: &str) -> Vec<String> {
    desired.ports[port].addresses.iter().map(|(ip, subnet)| format!("{ip} {subnet}")).collect()
}

fn host(desired: &Desired, mac: u8, family: Family) -> Option<Host> {
    let client: Client = (MacAddr::local([0, 0, 0, 0, mac]).into(), family);
    desired.segment.as_ref()?.server.as_ref()?.hosts.entries.get(&client).cloned()
}

fn offer(desired: &Desired, mac: u8, family: Family) -> Offer {
    host(desired, mac, family).unwrap().offer.unwrap()
}

/// The guests whom DHCPv6 hears; beside them it hears the agent.
fn heard(found: &Desired) -> Vec<MacAddr> {
    let mut known = found.segment.as_ref().unwrap().namespace.as_ref().unwrap().known.clone().unwrap();
    assert!(known.remove(&asker(&node(), uid(), false).mac));
    known.into_iter().collect()
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
    let (four, six) = (offer(&found, 1, Family::V4), offer(&found, 1, Family::V6));
    assert_eq!((four.name.to_string().as_str(), four.more.len()), ("host-10-0-0-3", 0));
    assert_eq!(
        (six.ip.to_string().as_str(), six.name.to_string().as_str()),
        ("2001:db8::3", "host-2001-db8--3")
    );
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
    let six = offer(&found, 1, Family::V6);
    assert_eq!((six.ip.to_string(), six.more[0].to_string()), ("2001:db8::9".into(), "2001:db8::7".into()));
    let four = offer(&found, 1, Family::V4);
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
    // In DHCPv6 with those of the subnet, for whoever asks without saying in which it is.
    let mut of_port = all.to_vec();
    of_port.insert(2, "23 of DHCPv6 [2001:db8::2]");
    assert_eq!(options(&found, 'p'), of_port);
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
        (json!({"cidr": "2001:db8::/65", "ipv6": {"addressMode": "SLAAC"}}), "InvalidValue"),
        (
            json!({"cidr": "2001:db8::/63", "ipv6": {"addressMode": "DHCPv6Stateless"}, "dhcp": {"mode": "Disabled"}}),
            "InvalidValue",
        ),
        (
            json!({
                "cidr": "2001:db8::/64",
                "ipv6": {"addressMode": "SLAAC"},
                "options": [{"name": "domain-search", "values": ["a.test"]}],
            }),
            "NotSupported",
        ),
        (
            json!({
                "cidr": "2001:db8::/64",
                "ipv6": {"addressMode": "SLAAC", "routerAdvertisements": "Server"},
                "options": [{"name": "ntp-server", "values": ["2001:db8::9"]}],
            }),
            "NotSupported",
        ),
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

/// A subnet of `2001:db8:n::/64`.
fn formed(n: u8, mode: &str, advertisements: &str) -> Value {
    let ipv6 = json!({"addressMode": mode, "routerAdvertisements": advertisements});
    json!({"cidr": format!("2001:db8:{n}::/64"), "ipv6": ipv6})
}

#[test]
fn a_port_has_the_address_that_its_guest_makes_itself() {
    let subnets =
        [v4(), v6(), ("l", formed(1, "SLAAC", "None")), ("m", formed(2, "DHCPv6Stateless", "None"))];
    let vip = json!({"addresses": [{"subnetRef": {"name": "l"}}]});
    let mut named = mac(2);
    named["addresses"] = json!([{"subnetRef": {"name": "l"}}, {"ip": "2001:db8:1::99"}]);
    let ports = [("vip", vip), ("x", mac(1)), ("y", named), ("z", json!({}))];
    let found = run(&inputs(&json!({"dns": {"domain": "example.org"}}), &subnets, &ports));
    assert_eq!(
        addresses(&found, "x"),
        ["10.0.0.3 v4", "2001:db8::3 v6", "2001:db8:1::ff:fe00:1 l", "2001:db8:2::ff:fe00:1 m"]
    );
    assert_eq!(addresses(&found, "y"), ["2001:db8:1::ff:fe00:2 l", "2001:db8:1::99 l"]);
    // Nobody makes an address for it: it has the next one of the pool, if it asks for one at all.
    assert_eq!(addresses(&found, "vip"), ["2001:db8:1::3 l"]);
    assert_eq!(addresses(&found, "z"), ["10.0.0.4 v4", "2001:db8::4 v6"]);
    assert!(
        found.ports.values().all(|view| view.unallocated.is_none() && view.unserved.is_none()),
        "{:?}",
        found.ports
    );
    let six = offer(&found, 1, Family::V6);
    assert_eq!((six.ip.to_string(), six.more.len()), ("2001:db8::3".into(), 0));
    assert_eq!(host(&found, 2, Family::V6), None, "nobody asks DHCPv6 in a subnet of SLAAC");
    let server = found.segment.as_ref().unwrap().server.as_ref().unwrap();
    let formed: IpAddr = "2001:db8:1::ff:fe00:1".parse().unwrap();
    assert_eq!(server.names[&formed][0].to_string(), "host-2001-db8-1--ff-fe00-1.example.org");
    assert_eq!(found.server_addresses.len(), 4);
}

#[test]
fn stateless_guests_get_options_of_their_subnet_or_of_their_own() {
    let subnets = [("l", formed(1, "DHCPv6Stateless", "None")), ("m", formed(2, "DHCPv6Stateless", "None"))];
    let mut own = mac(2);
    own["options"] = json!([{"code": 224, "encoding": "Hex", "values": ["01"], "family": "IPv6"}]);
    let found = run(&inputs(&json!({}), &subnets, &[("x", mac(1)), ("y", own)]));
    let (x, y) = (host(&found, 1, Family::V6).unwrap(), host(&found, 2, Family::V6).unwrap());
    assert_eq!((x.offer, y.offer), (None, None));
    assert!(x.tag.starts_with('s') && y.tag.starts_with('p'));
    assert_eq!(options(&found, 'p'), ["23 of DHCPv6 [2001:db8:1::2]", "224 of DHCPv6 1b"]);
    assert_eq!(options(&found, 's'), ["23 of DHCPv6 [2001:db8:1::2]", "23 of DHCPv6 [2001:db8:2::2]"]);
    assert_eq!(heard(&found), [MacAddr::local([0, 0, 0, 0, 1]), MacAddr::local([0, 0, 0, 0, 2])]);
}

#[test]
fn options_for_some_guests_of_a_subnet_are_those_of_a_port_with_others_as_well() {
    let url = |when: Value| json!({"name": "bootfile-url", "values": ["x"], "when": when});
    let mut subnet = v6();
    subnet.1["options"] = json!([
        url(json!({"bootLoader": "IPXE"})),
        url(json!({"bootLoader": "Other", "architectures": ["X64UEFI"]}))
    ]);
    let mut port = mac(1);
    port["options"] = json!([{"name": "bootfile-url", "values": ["y"], "when": {"architectures": ["X64UEFI"]}, "family": "IPv6"}]);
    let found = run(&inputs(&json!({}), &[subnet.clone()], &[("x", port.clone()), ("y", mac(2))]));
    assert!(host(&found, 1, Family::V6).unwrap().tag.starts_with('p'));
    let server = found.segment.as_ref().unwrap().server.as_ref().unwrap();
    let text = dnsmasq::options_text(&server.options.values);
    let of_port = text.lines().filter(|line| line.starts_with("tag:p"));
    let told: Vec<_> =
        of_port.filter_map(|line| line.split_once(",tag:dhcpv6")).map(|(_, rest)| rest).collect();
    // iPXE on other machines has the subnet's still.
    assert_eq!(told[0], ",option6:23,[2001:db8::2]");
    assert_eq!(told.iter().filter(|line| line.ends_with("option6:59,\"x\"")).count(), 12, "{told:?}");
    assert!(told.contains(&",tag:x64-uefi,option6:59,\"y\""), "{told:?}");
    port["options"] = json!([{"name": "bootfile-url", "values": ["y"], "family": "IPv6"}]);
    let found = run(&inputs(&json!({}), &[subnet], &[("x", port)]));
    assert_eq!(options(&found, 'p'), ["23 of DHCPv6 [2001:db8::2]", "59 of DHCPv6 \"y\""]);
}

#[test]
fn a_port_that_cannot_have_all_addresses_of_its_own_says_so() {
    let subnets = |count: u8| -> Vec<(String, Value)> {
        (1..=count).map(|n| (format!("l{n:02}"), formed(n, "SLAAC", "None"))).collect()
    };
    for (count, said) in [(30, ""), (31, "TooManySubnets")] {
        let all = subnets(count);
        let all: Vec<_> = all.iter().map(|(name, subnet)| (name.as_str(), subnet.clone())).collect();
        let found = run(&inputs(&json!({}), &all, &[("x", mac(1))]));
        assert_eq!(found.ports["x"].addresses.len(), 30, "{:?}", found.subnets);
        assert_eq!(reason(found.ports["x"].unserved.as_ref()), said);
    }
}

#[test]
fn advertisements_say_what_all_advertised_subnets_say() {
    let mut b = formed(2, "DHCPv6Stateless", "Server");
    b["dns"] = json!({"type": "Addresses", "addresses": ["2001:db8:2::2", "2001:db8:f::53"]});
    let subnets = [v4(), ("l", formed(1, "SLAAC", "Server")), ("m", b), ("n", formed(3, "SLAAC", "None"))];
    let mut silent = mac(2);
    silent["dhcp"] = json!("Disabled");
    let network = json!({"mtu": 1400, "dns": {"domain": "example.org"}});
    let found = run(&inputs(&network, &subnets, &[("x", mac(1)), ("y", silent)]));
    assert_eq!(
        options(&found, '!'),
        ["23 of DHCPv6 [2001:db8:1::2],[2001:db8:2::2],[2001:db8:f::53]", "24 of DHCPv6 example.org"]
    );
    let segment = found.segment.as_ref().unwrap();
    let argv = &segment.server.as_ref().unwrap().process.as_ref().unwrap().argv;
    assert!(argv.iter().any(|arg| arg == "--ra-param=dhcp0,mtu:1400,60,0"), "{argv:?}");
    // Who asks for them: whom DHCP answers, in whichever subnet.
    assert_eq!(heard(&found), [MacAddr::local([0, 0, 0, 0, 1])]);
    let found = run(&inputs(&network, &[("n", formed(3, "SLAAC", "None"))], &[("x", mac(1))]));
    assert!(options(&found, '!').is_empty() && options(&found, 's').is_empty());
    assert_eq!(found.segment.unwrap().namespace.unwrap().known, None);
    assert_eq!(reason(found.ports["x"].unserved.as_ref()), "");
}

#[test]
fn what_dnsmasq_cannot_advertise_by_itself_is_refused() {
    let stateful = |n, advertisements| formed(n, "DHCPv6Stateful", advertisements);
    for (a, b, refused) in [
        (stateful(1, "Server"), stateful(2, "None"), true),
        (stateful(1, "None"), stateful(2, "Server"), true),
        (formed(1, "DHCPv6Stateless", "None"), stateful(2, "Server"), true),
        (formed(1, "SLAAC", "None"), stateful(2, "Server"), false),
        (stateful(1, "None"), formed(2, "SLAAC", "Server"), false),
        (stateful(1, "None"), formed(2, "DHCPv6Stateless", "Server"), false),
        (stateful(1, "Server"), stateful(2, "Server"), false),
    ] {
        let found = run(&inputs(&json!({}), &[("a", a.clone()), ("b", b.clone())], &[]));
        assert_eq!(found.subnets["a"].problem, None, "{a} {b}");
        let told = reason(found.subnets["b"].problem.as_ref());
        assert_eq!(told, if refused { "NotSupported" } else { "" }, "{a} {b}");
    }
}

#[test]
fn no_dns_server_is_said_by_an_address_that_there_is_not() {
    let none = |cidr: &str| json!({"cidr": cidr, "ipv6": {"addressMode": "DHCPv6Stateful"}, "dns": {"type": "None"}});
    let found = run(&inputs(&json!({}), &[("a", none("2001:db8::/64"))], &[]));
    assert_eq!(options(&found, 's'), ["23 of DHCPv6 [fd00::]"]);
    let found = run(&inputs(&json!({}), &[("a", none("2001:db8::/64")), ("b", none("fd00:1::/64"))], &[]));
    assert_eq!(options(&found, 's'), ["23 of DHCPv6 ", "23 of DHCPv6 "]);
}
