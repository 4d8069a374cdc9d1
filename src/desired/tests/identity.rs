//! Ports that are known by what their guests call themselves.

use super::*;
use crate::dnsmasq::Client;
use crate::types::Identity;

fn id(text: &str) -> Value {
    json!({"identity": {"type": "ClientID", "clientID": text}})
}

fn with_mac(mut port: Value, n: u8) -> Value {
    port["macAddress"] = mac(n)["macAddress"].clone();
    port
}

fn v6() -> (&'static str, Value) {
    ("v6", json!({"cidr": "2001:db8::/64", "ipv6": {"addressMode": "DHCPv6Stateful"}}))
}

/// Whom dnsmasq answers.
fn answered(desired: &Desired) -> Vec<String> {
    let server = desired.segment.as_ref().and_then(|segment| segment.server.as_ref()).unwrap();
    let text = |(identity, family): &Client| format!("{family} {identity}");
    server.hosts.entries.keys().map(text).collect()
}

fn reasons<const N: usize>(desired: &Desired, ports: [&str; N]) -> [&'static str; N] {
    ports.map(|port| reason(desired.ports[port].problem.as_ref()))
}

#[test]
fn a_client_id_counts_in_dhcpv4_alone_and_the_mac_in_dhcpv6() {
    let ports = [("bare", id("0a:0b")), ("both", with_mac(id("0a:0c"), 1))];
    let found = run(&inputs(&json!({}), &[v4(), v6()], &ports));
    assert_eq!(answered(&found), ["IPv6 02:00:00:00:00:01", "IPv4 client-id 0a:0b", "IPv4 client-id 0a:0c"]);
    let bare = &found.ports["bare"];
    assert_eq!(bare.addresses.len(), 2, "the other one is reserved");
    assert_eq!((reason(bare.unserved.as_ref()), bare.clients.len()), ("", 1));
    assert_eq!(found.ports["both"].clients.len(), 2);
    let known = found.segment.unwrap().namespace.unwrap().known.unwrap();
    assert!(known.contains(&MacAddr::local([0, 0, 0, 0, 1])) && known.len() == 2);
}

#[test]
fn where_its_protocol_is_not_served_nobody_answers() {
    let found = run(&inputs(&json!({}), &[v6()], &[("bare", id("0a:0b"))]));
    let unserved = found.ports["bare"].unserved.as_ref().unwrap();
    assert!(unserved.message.contains("of the protocol in which it is known"), "{unserved}");
    let mut disabled = id("0a:0b");
    disabled["dhcp"] = json!("Disabled");
    let found = run(&inputs(&json!({}), &[v4()], &[("bare", disabled)]));
    assert!(answered(&found).is_empty() && found.ports["bare"].clients.is_empty());
}

#[test]
fn no_two_ports_are_known_by_the_same() {
    let ports = [("a", id("0a:0b")), ("b", id("0a:0b")), ("c", id("00:0a:0b")), ("d", id("0b:0a:0b"))];
    let found = run(&inputs(&json!({}), &[v4()], &ports));
    assert_eq!(reasons(&found, ["a", "b", "c", "d"]), ["", "DuplicateIdentity", "DuplicateIdentity", ""]);
    let message = &found.ports["c"].problem.as_ref().unwrap().message;
    assert!(message.starts_with("the guest of Port a is known by client-id 0a:0b"), "{message}");
    assert_eq!(answered(&found), ["IPv4 client-id 0a:0b", "IPv4 client-id 0b:0a:0b"]);
}

#[test]
fn whoever_is_known_by_it_already_keeps_it_from_one_that_changes() {
    let mut ledger = Ledger::default();
    let mut with = |first: &str| {
        let ports = [("aaa", id(first)), ("vm1", id("0a:0b"))];
        desired(&node(), uid(), &inputs(&json!({}), &[v4()], &ports), &mut ledger)
    };
    assert_eq!(reasons(&with("0a:0c"), ["aaa", "vm1"]), ["", ""]);
    assert_eq!(reasons(&with("0a:0b"), ["aaa", "vm1"]), ["DuplicateIdentity", ""]);
}

#[test]
fn what_a_guest_calls_itself_by_default_is_its_own() {
    let (first, own) = (id("01:02:00:00:00:00:01"), with_mac(id("01:02:00:00:00:00:02"), 2));
    let ports = [("a", mac(1)), ("b", first.clone()), ("c", own)];
    let found = run(&inputs(&json!({}), &[v4()], &ports));
    assert_eq!(reasons(&found, ["a", "b", "c"]), ["", "DuplicateIdentity", ""]);
    let found = run(&inputs(&json!({}), &[v4()], &[("b", first), ("x", mac(1))]));
    assert_eq!(reasons(&found, ["b", "x"]), ["", "DuplicateIdentity"], "whoever was first");
    let twice = [("a", with_mac(id("0a:0b"), 1)), ("b", mac(1))];
    let found = run(&inputs(&json!({}), &[v4()], &twice));
    assert_eq!(reasons(&found, ["a", "b"]), ["", "DuplicateMAC"]);
}

#[test]
fn nobody_is_known_by_what_the_servers_own_asker_calls_itself() {
    let own = asker(&node(), uid(), false);
    let ports = [("a", id(&format!("01:{}", own.mac))), ("b", id("0a:0b"))];
    let found = run(&inputs(&json!({}), &[v4()], &ports));
    assert_eq!(reasons(&found, ["a", "b"]), ["DuplicateIdentity", ""]);
}

#[test]
fn what_is_no_identifier_is_refused() {
    for text in ["", "0a", "vm", "0a:0b,ignore", "0a:0b\n", "0a:zz", &vec!["0a"; 256].join(":")] {
        let found = run(&inputs(&json!({}), &[v4()], &[("a", id(text))]));
        assert_eq!(reasons(&found, ["a"]), ["InvalidValue"], "{text:?}");
        assert!(answered(&found).is_empty());
    }
    let found = run(&inputs(&json!({}), &[v4()], &[("a", json!({"identity": {"type": "ClientID"}}))]));
    assert_eq!(reasons(&found, ["a"]), ["InvalidValue"]);
}

#[test]
fn a_duid_counts_in_dhcpv6_alone_and_the_mac_in_dhcpv4() {
    let duid = json!({"identity": {"type": "DUID", "duid": "00:04:0a"}});
    let ports =
        [("bare", duid), ("both", with_mac(json!({"identity": {"type": "DUID", "duid": "00:04:0b"}}), 1))];
    let found = run(&inputs(&json!({}), &[v4(), v6()], &ports));
    assert_eq!(answered(&found), ["IPv4 02:00:00:00:00:01", "IPv6 DUID 00:04:0a", "IPv6 DUID 00:04:0b"]);
    let segment = found.segment.unwrap();
    let device = MacAddr::local([0, 0, 0, 0, 1]);
    assert!(segment.namespace.unwrap().known.unwrap().contains(&device), "it need not be listened for");
    assert!(segment.device.unwrap().neighbours.contains_key(&device.link_local()));
}

#[test]
fn what_does_not_fit_into_a_line_is_refused() {
    let port = |octets: usize, addresses: u16| {
        let duid = vec!["0a"; octets].join(":");
        let ip = |n| json!({"ip": format!("2001:db8::1111:2222:3333:{:x}", 0x1000 + n)});
        let addresses: Vec<_> = (0..addresses).map(ip).collect();
        json!({"identity": {"type": "DUID", "duid": duid}, "addresses": addresses, "hostname": "a".repeat(63)})
    };
    for (octets, addresses, refused) in
        [(130, 12, ""), (130, 13, "InvalidValue"), (82, 16, ""), (83, 16, "InvalidValue")]
    {
        let found = run(&inputs(&json!({}), &[v6()], &[("a", port(octets, addresses))]));
        assert_eq!(reasons(&found, ["a"]), [refused], "{octets} {addresses}");
        let hosts = found.segment.unwrap().server.unwrap().hosts;
        let line = |(client, host): (&Client, &dnsmasq::Host)| {
            dnsmasq::HostChange::Set(client.clone(), host.clone())
        };
        let changes: Vec<_> = hosts.entries.iter().map(line).collect();
        assert!(dnsmasq::hosts_text(&changes).lines().all(|line| line.len() < 1_023));
    }
}

#[test]
fn one_that_is_not_answered_is_no_stranger_and_in_nobodys_way() {
    let dhcp = json!({"mode": "Dynamic", "dynamic": {"first": "10.0.0.100", "last": "10.0.0.110"}});
    let subnet = ("v4", json!({"cidr": "10.0.0.0/24", "dhcp": dhcp}));
    let disabled = |mut port: Value| {
        port["dhcp"] = json!("Disabled");
        port
    };
    let ports = [
        ("a", mac(1)),
        ("b", disabled(id("0a:0b"))),
        ("c", disabled(id("01:02:00:00:00:00:01"))),
        ("d", disabled(with_mac(id("0a:0c"), 2))),
    ];
    let found = run(&inputs(&json!({}), &[subnet], &ports));
    let server = found.segment.unwrap().server.unwrap();
    let silent: Vec<_> = server.hosts.silent.iter().map(|(identity, _)| identity.clone()).collect();
    let known = |text: &str| Identity::client_id(text).unwrap();
    assert_eq!(silent, [known("0a:0b"), known("0a:0c")]);
}
