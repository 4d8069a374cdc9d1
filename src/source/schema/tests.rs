//! For each rule and bound of the API: what passes, and what is refused with which message.

use serde_json::{Value, json};

use super::*;

fn base(kind: Kind, cidr: &str) -> Value {
    let spec = match kind {
        Kind::Network => json!({"physicalNetworkRef": {"name": "p"}}),
        Kind::PhysicalNetwork => json!({}),
        Kind::Port => json!({"networkRef": {"name": "n"}}),
        Kind::Subnet if cidr.contains(':') => {
            json!({"networkRef": {"name": "n"}, "cidr": cidr, "ipv6": {"addressMode": "SLAAC"}})
        }
        Kind::Subnet => json!({"networkRef": {"name": "n"}, "cidr": cidr}),
    };
    json!({"apiVersion": api::API_VERSION, "kind": kind.as_str(), "metadata": {"name": "x"}, "spec": spec})
}

/// The first error for the base object with one spec field set; empty if there is none.
fn verdict(validator: &Validator, kind: Kind, cidr: &str, field: &str, value: &Value) -> String {
    let mut object = base(kind, cidr);
    object["spec"][field] = value.clone();
    first_error(validator, kind, &mut object, None)
}

fn first_error(validator: &Validator, kind: Kind, object: &mut Value, old: Option<&Value>) -> String {
    let errors = validator.validate(kind, object, old).err();
    let texts: Vec<String> = errors.iter().flatten().map(ToString::to_string).collect();
    texts.join("; ")
}

struct Case {
    kind: Kind,
    cidr: &'static str,
    field: &'static str,
    good: Value,
    bad: Value,
    message: &'static str,
}

const V4: &str = "10.0.0.0/24";
const V6: &str = "2001:db8::/64";

fn on(kind: Kind, field: &'static str, good: Value, bad: Value, message: &'static str) -> Case {
    Case { kind, cidr: V4, field, good, bad, message }
}

fn subnet(field: &'static str, good: Value, bad: Value, message: &'static str) -> Case {
    on(Kind::Subnet, field, good, bad, message)
}

fn subnet6(field: &'static str, good: Value, bad: Value, message: &'static str) -> Case {
    Case { cidr: V6, ..subnet(field, good, bad, message) }
}

fn many(count: usize, item: &Value) -> Value {
    Value::Array(vec![item.clone(); count])
}

fn check(cases: Vec<Case>) {
    let validator = Validator::new().unwrap();
    for Case { kind, cidr, field, good, bad, message } in cases {
        let good_verdict = verdict(&validator, kind, cidr, field, &good);
        assert_eq!(good_verdict, "", "{kind} {field} {good}");
        let bad_verdict = verdict(&validator, kind, cidr, field, &bad);
        assert!(bad_verdict.starts_with(message), "{kind} {field} {bad}: {bad_verdict:?}");
    }
}

#[test]
#[rustfmt::skip]
fn physical_network() {
    let kind = Kind::PhysicalNetwork;
    let range = json!({"first": 1, "last": 4094});
    check(vec![
        on(kind, "namespaces", json!({"from": "All"}), json!({"from": "Some"}),
            "spec.namespaces.from: Unsupported value: \"Some\": supported values: \"None\", \"All\", \"Selector\""),
        on(kind, "namespaces", json!({"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}), json!({"from": "Selector"}),
            "spec.namespaces: Invalid value: selector must be set if and only if from is Selector"),
        on(kind, "namespaces", json!({"from": "None"}), json!({"from": "All", "selector": {}}),
            "spec.namespaces: Invalid value: selector must be set if and only if"),
        on(kind, "untagged", json!("Allowed"), json!(true),
            "spec.untagged: Invalid value: true: must be of type string: boolean"),
        on(kind, "vlanRanges", json!([range]), json!([{"first": 9, "last": 8}]),
            "spec.vlanRanges[0]: Invalid value: first must not be greater than last"),
        on(kind, "vlanRanges", many(64, &range), many(65, &range),
            "spec.vlanRanges: Too many: 65: must have at most 64 items"),
        on(kind, "vlanRanges", json!([]), json!([{"first": 0, "last": 1}]),
            "spec.vlanRanges[0].first: Invalid value: 0: should be greater than or equal to 1"),
        on(kind, "vlanRanges", json!([]), json!([{"first": 1, "last": 4095}]),
            "spec.vlanRanges[0].last: Invalid value: 4095: should be less than or equal to 4094"),
        on(kind, "vlanRanges", json!(null), json!([{"first": 1}]), "spec.vlanRanges[0].last: Required value"),
        on(kind, "mtu", json!(576), json!(575), "spec.mtu: Invalid value: 575: should be greater"),
        on(kind, "mtu", json!(65535), json!(65536), "spec.mtu: Invalid value: 65536: should be less"),
    ]);
}

#[test]
#[rustfmt::skip]
fn network() {
    let kind = Kind::Network;
    let label = "a".repeat(63);
    let selector = |s: &Value| json!({"nodeSelector": s});
    let labels = |n: usize| Value::Object((0..n).map(|i| (format!("l{i}"), json!("x"))).collect());
    let exists = json!({"key": "a", "operator": "Exists"});
    check(vec![
        on(kind, "physicalNetworkRef", json!({"name": label}), json!({"name": format!("{label}a")}),
            "spec.physicalNetworkRef.name: Too long: may not be more than 63"),
        on(kind, "physicalNetworkRef", json!({"name": "a-b"}), json!({"name": "a.b"}),
            "spec.physicalNetworkRef.name: Invalid value: \"a.b\": should match"),
        on(kind, "physicalNetworkRef", json!({"name": "p"}), json!(null), "spec.physicalNetworkRef: Required value"),
        on(kind, "segmentation", json!({"type": "VLAN", "vlan": {"id": 1}}), json!({"type": "VLAN"}),
            "spec.segmentation: Invalid value: vlan must be set if and only if type is VLAN"),
        on(kind, "segmentation", json!({"type": "Untagged"}), json!({"type": "Untagged", "vlan": {"id": 1}}),
            "spec.segmentation: Invalid value: vlan must be set"),
        on(kind, "segmentation", json!({"type": "VLAN", "vlan": {"id": 4094}}), json!({"type": "VLAN", "vlan": {"id": 4095}}),
            "spec.segmentation.vlan.id: Invalid value: 4095"),
        on(kind, "segmentation", json!(null), json!({}), "spec.segmentation.type: Required value"),
        on(kind, "segmentation", json!(null), json!({"type": "VXLAN"}), "spec.segmentation.type: Unsupported value"),
        on(kind, "mtu", json!(1500), json!("1500"), "spec.mtu: Invalid value: \"1500\": must be of type integer: string"),
        on(kind, "mtu", json!(65535), json!(65536), "spec.mtu: Invalid value"),
        on(kind, "dns", json!({"domain": "vm.example.org"}), json!({"domain": "Vm"}),
            "spec.dns.domain: Invalid value: \"Vm\": should match"),
        on(kind, "dns", json!({"domain": label}), json!({"domain": format!("{label}a.b")}),
            "spec.dns.domain: Invalid value"),
        on(kind, "dns", json!({}), json!({"domain": vec!["a"; 128].join(".")}), "spec.dns.domain: Too long"),
        on(kind, "dns", json!({"forwarding": {"type": "Addresses", "addresses": ["192.0.2.53"]}}),
            json!({"forwarding": {"type": "Addresses"}}),
            "spec.dns.forwarding: Invalid value: addresses must be set if and only if type is Addresses"),
        on(kind, "dns", json!({"forwarding": {"type": "None"}}), json!({"forwarding": {"type": "None", "addresses": ["192.0.2.53"]}}),
            "spec.dns.forwarding: Invalid value: addresses must be set"),
        on(kind, "dns", json!({"forwarding": {"type": "Addresses", "addresses": many(8, &json!("::1"))}}),
            json!({"forwarding": {"type": "Addresses", "addresses": many(9, &json!("::1"))}}),
            "spec.dns.forwarding.addresses: Too many: 9"),
        on(kind, "dns", json!({}), json!({"forwarding": {"type": "Addresses", "addresses": ["192.0.2.053"]}}),
            "spec.dns.forwarding.addresses: Invalid value: each item must be an IP address"),
        on(kind, "dhcp", json!({"servers": 8}), json!({"servers": 9}), "spec.dhcp.servers: Invalid value: 9"),
        on(kind, "dhcp", json!({"servers": 1}), json!({"servers": 0}), "spec.dhcp.servers: Invalid value: 0"),
        on(kind, "dhcp", json!({"nodeSelector": {"matchLabels": {"rack": "r1"}}}), json!({"nodeSelector": {"labels": {}}}),
            "spec.dhcp.nodeSelector.labels: unknown field"),
        on(kind, "dhcp", json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}),
            json!({"nodeSelector": {"matchLabels": {"rack": 1}}}), "spec.dhcp.nodeSelector.matchLabels.rack: Invalid value: 1"),
        on(kind, "dhcp", selector(&json!({"matchLabels": labels(32)})), selector(&json!({"matchLabels": labels(33)})),
            "spec.dhcp.nodeSelector.matchLabels: Too many: 33"),
        on(kind, "dhcp", selector(&json!({"matchLabels": {"a": "x".repeat(63)}})), selector(&json!({"matchLabels": {"a": "x".repeat(64)}})),
            "spec.dhcp.nodeSelector.matchLabels.a: Too long"),
        on(kind, "dhcp", selector(&json!({"matchExpressions": many(32, &exists)})), selector(&json!({"matchExpressions": many(33, &exists)})),
            "spec.dhcp.nodeSelector.matchExpressions: Too many: 33"),
        on(kind, "dhcp", selector(&json!({})), selector(&json!({"matchExpressions": [{"key": "a", "operator": "Like"}]})),
            "spec.dhcp.nodeSelector.matchExpressions[0].operator: Unsupported value"),
        on(kind, "metadataService", json!({"type": "Always"}), json!({"type": "Never"}), "spec.metadataService.type: Unsupported"),
        on(kind, "options", json!([{"name": "ntp-server", "values": ["10.0.0.1"]}]), json!([{"code": 224, "values": ["x"]}]),
            "spec.options: Invalid value: an option given by code needs its family here"),
        on(kind, "options", json!([{"code": 224, "family": "IPv4", "values": ["x"]}]), json!([{"code": 255, "family": "IPv4", "values": ["x"]}]),
            "spec.options: Invalid value: an option given by code"),
    ]);
}

#[test]
#[rustfmt::skip]
fn subnet_addresses() {
    let pool = json!({"first": "10.0.0.10", "last": "10.0.0.20"});
    let route = json!({"destination": "10.8.0.0/16", "nextHop": "10.0.0.254"});
    check(vec![
        subnet("cidr", json!("10.0.0.0/8"), json!("10.0.0.1/24"), "spec.cidr: Invalid value: must be a CIDR in canonical form"),
        subnet("cidr", json!("0.0.0.0/0"), json!("10.0.0.0"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet("cidr", json!("10.0.0.4/30"), json!("10.0.0.0/024"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet("cidr", json!("192.0.2.1/32"), json!("10.0.0.0/33"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet("cidr", json!("10.0.0.0/24"), json!(V6), "spec: Invalid value: ipv6 must be set if and only if"),
        subnet("cidr", json!("10.0.0.0/24"), json!("x".repeat(50)), "spec.cidr: Too long"),
        subnet6("cidr", json!("2001:db8:1::/64"), json!("2001:DB8::/64"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet6("cidr", json!(V6), json!("2001:db8:0::/64"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet6("cidr", json!(V6), json!("2001:db8::/63"), "spec: Invalid value: address modes SLAAC and DHCPv6Stateless"),
        subnet6("cidr", json!(V6), json!(V4), "spec: Invalid value: ipv6 must be set if and only if cidr"),
        subnet6("ipv6", json!({"addressMode": "DHCPv6Stateful"}), json!({"addressMode": "Manual"}), "spec.ipv6.addressMode: Unsupported"),
        subnet6("ipv6", json!({"addressMode": "DHCPv6Stateless", "routerAdvertisements": "Server"}), json!({}), "spec.ipv6.addressMode: Required"),
        subnet("gateway", json!({"type": "None"}), json!({"type": "Address"}),
            "spec.gateway: Invalid value: address must be set if and only if type is Address"),
        subnet("gateway", json!({"type": "Auto"}), json!({"type": "Auto", "address": "10.0.0.1"}),
            "spec.gateway: Invalid value: address must be set if and only if"),
        subnet("gateway", json!({"type": "Address", "address": "10.0.0.1"}), json!({"type": "Address", "address": "2001:db8::1"}),
            "spec: Invalid value: gateway.address must be of the family of cidr"),
        subnet("gateway", json!(null), json!({"type": "Address", "address": "10.0.0.01"}),
            "spec.gateway.address: Invalid value: must be an IP address"),
        subnet("pools", json!([pool]), json!([{"first": "10.0.0.10", "last": "10.0.1.1"}]), "spec: Invalid value: pools must be inside cidr"),
        subnet("pools", json!([]), json!([{"first": "10.0.0.x", "last": "10.0.0.11"}]), "spec.pools[0].first: Invalid value: must be an IP"),
        subnet("pools", many(64, &pool), many(65, &pool), "spec.pools: Too many: 65"),
        subnet6("pools", json!([{"first": "2001:db8::1", "last": "2001:db8::ff"}]),
            json!([{"first": "2001:db8::1", "last": "2001:db8::FF"}]), "spec.pools[0].last: Invalid value: must be an IP"),
        subnet("hostRoutes", json!([route]), json!([{"destination": "10.8.0.0/16", "nextHop": "::1"}]),
            "spec.hostRoutes[0]: Invalid value: destination and nextHop must be of one family"),
        subnet("hostRoutes", json!([]), json!([{"destination": "10.8.0.1/16", "nextHop": "10.0.0.1"}]),
            "spec.hostRoutes[0].destination: Invalid value: must be a CIDR"),
        subnet("hostRoutes", json!([]), json!([{"destination": "2001:db8:1::/64", "nextHop": "2001:db8::1"}]),
            "spec: Invalid value: hostRoutes must be of the family of cidr"),
        subnet("hostRoutes", many(64, &route), many(65, &route), "spec.hostRoutes: Too many: 65"),
    ]);
}

#[test]
#[rustfmt::skip]
fn subnet_service() {
    let option = json!({"name": "ntp-server", "values": ["10.0.0.1"]});
    let dynamic = json!({"first": "10.0.0.200", "last": "10.0.0.250"});
    check(vec![
        subnet("networkRef", json!({"name": "n"}), json!({"name": ""}), "spec.networkRef.name: Invalid value: \"\": should be at least 1"),
        subnet("dhcp", json!({"mode": "Dynamic", "dynamic": dynamic}), json!({"mode": "Dynamic"}),
            "spec.dhcp: Invalid value: dynamic must be set if and only if mode is Dynamic"),
        subnet("dhcp", json!({"mode": "Disabled"}), json!({"dynamic": dynamic}), "spec.dhcp: Invalid value: dynamic must be set"),
        subnet("dhcp", json!({}), json!({"mode": "Dynamic", "dynamic": {"first": "10.0.1.0", "last": "10.0.1.9"}}),
            "spec: Invalid value: dhcp.dynamic must be inside cidr"),
        subnet("dhcp", json!({"leaseDurationSeconds": 120}), json!({"leaseDurationSeconds": 119}), "spec.dhcp.leaseDurationSeconds: Invalid value: 119"),
        subnet("dhcp", json!({"leaseDurationSeconds": 4_294_967_295_u64}), json!({"leaseDurationSeconds": 4_294_967_296_u64}),
            "spec.dhcp.leaseDurationSeconds: Invalid value: 4294967296: should be less than or equal to 4294967295"),
        subnet("dhcp", json!({"renewalSeconds": 43200}), json!({"renewalSeconds": 86400}),
            "spec.dhcp: Invalid value: renewalSeconds must be less than leaseDurationSeconds"),
        subnet("dhcp", json!({"rebindingSeconds": 75600}), json!({"rebindingSeconds": 86400}),
            "spec.dhcp: Invalid value: rebindingSeconds must be less than leaseDurationSeconds"),
        subnet("dhcp", json!({"renewalSeconds": 1, "rebindingSeconds": 2}), json!({"renewalSeconds": 2, "rebindingSeconds": 2}),
            "spec.dhcp: Invalid value: renewalSeconds must be less than rebindingSeconds"),
        subnet("dns", json!({"type": "Addresses", "addresses": ["192.0.2.1"]}), json!({"type": "Addresses"}),
            "spec.dns: Invalid value: addresses must be set if and only if"),
        subnet("dns", json!({"type": "None"}), json!({"type": "Servers", "addresses": ["192.0.2.1"]}), "spec.dns: Invalid value: addresses"),
        subnet("options", json!([{"code": 224, "encoding": "Hex", "values": ["0a0b"]}]), json!([{"values": ["x"]}]),
            "spec.options[0]: Invalid value: exactly one of name and code must be set"),
        subnet("options", json!([option]), json!([{"name": "ntp-server", "code": 42, "values": ["x"]}]),
            "spec.options[0]: Invalid value: exactly one of name and code"),
        subnet("options", json!([]), json!([{"name": "ntp-server", "encoding": "IP", "values": ["10.0.0.1"]}]),
            "spec.options[0]: Invalid value: encoding may only be set with code"),
        subnet("options", json!([]), json!([{"name": "netmask", "values": ["x"]}]), "spec.options[0].name: Unsupported value: \"netmask\""),
        subnet("options", json!([{"code": 254, "values": ["x"]}]), json!([{"code": 255, "values": ["x"]}]),
            "spec: Invalid value: an IPv4 option code is at most 254"),
        subnet6("options", json!([{"code": 65535, "values": ["x"]}]), json!([{"code": 65536, "values": ["x"]}]), "spec.options[0].code: Invalid value: 65536"),
        subnet("options", json!([]), json!([{"code": 0, "values": ["x"]}]), "spec.options[0].code: Invalid value: 0"),
        subnet("options", json!([]), json!([{"name": "ntp-server", "family": "IPv4", "values": ["10.0.0.1"]}]),
            "spec.options: Invalid value: family must not be set on a Subnet"),
        subnet("options", many(32, &option), many(33, &option), "spec.options: Too many: 33"),
        subnet("options", json!([{"code": 1, "values": many(16, &json!("x"))}]), json!([{"code": 1, "values": many(17, &json!("x"))}]),
            "spec.options[0].values: Too many: 17"),
        subnet("options", json!([{"code": 1, "values": ["x".repeat(255)]}]), json!([{"code": 1, "values": ["x".repeat(256)]}]),
            "spec.options[0].values[0]: Too long"),
        subnet("options", json!([{"code": 1, "values": [" ~"]}]), json!([{"code": 1, "values": ["a\nb"]}]),
            "spec.options[0].values[0]: Invalid value: \"a\\nb\": should match"),
        subnet("options", json!([]), json!([{"code": 1, "values": ["a\n"]}]), "spec.options[0].values[0]: Invalid value: \"a\\n\": should match"),
        subnet("options", json!([]), json!([{"code": 1, "values": ["é"]}]), "spec.options[0].values[0]: Invalid value: \"é\": should match"),
        subnet("options", json!([]), json!([{"code": 1, "values": []}]), "spec.options[0].values: Invalid value: should have at least 1"),
        subnet("options", json!([{"code": 1, "encoding": "Hex", "values": ["0aFF"]}]), json!([{"code": 1, "encoding": "Hex", "values": ["0a0"]}]),
            "spec.options[0]: Invalid value: with encoding Hex"),
        subnet("options", json!([{"code": 1, "encoding": "IP", "values": ["::1"]}]), json!([{"code": 1, "encoding": "IP", "values": ["x"]}]),
            "spec.options[0]: Invalid value: with encoding IP"),
        subnet("options", json!([{"code": 1, "encoding": "Uint8", "values": ["255"]}]), json!([{"code": 1, "encoding": "Uint8", "values": ["256"]}]),
            "spec.options[0]: Invalid value: with encoding Uint8"),
        subnet("options", json!([{"code": 1, "encoding": "Uint16", "values": ["65535"]}]), json!([{"code": 1, "encoding": "Uint16", "values": ["65536"]}]),
            "spec.options[0]: Invalid value: with encoding Uint16"),
        subnet("options", json!([{"code": 1, "encoding": "Uint32", "values": ["4294967295"]}]), json!([{"code": 1, "encoding": "Uint32", "values": ["-1"]}]),
            "spec.options[0]: Invalid value: with encoding Uint32"),
    ]);
}

#[test]
#[rustfmt::skip]
fn port() {
    let kind = Kind::Port;
    let any = json!({"subnetRef": {"name": "s"}});
    let option = json!({"name": "ntp-server", "values": ["10.0.0.1"]});
    let octets = |n: usize| vec!["0a"; n].join(":");
    check(vec![
        on(kind, "macAddress", json!("02:00:00:00:00:0f"), json!("02:00:00:00:00:0F"), "spec.macAddress: Invalid value: \"02:00:00:00:00:0F\": should match"),
        on(kind, "macAddress", json!(null), json!("03:00:00:00:00:01"), "spec.macAddress: Invalid value"),
        on(kind, "addresses", json!([{"ip": "10.0.0.20"}]), json!([{}]), "spec.addresses[0]: Invalid value: at least one of ip and subnetRef"),
        on(kind, "addresses", json!([any]), json!([{"ip": "2001:db8::0:1"}]), "spec.addresses[0].ip: Invalid value: must be an IP address"),
        on(kind, "addresses", many(16, &any), many(17, &any), "spec.addresses: Too many: 17"),
        on(kind, "hostname", json!("a".repeat(63)), json!("a".repeat(64)), "spec.hostname: Too long"),
        on(kind, "hostname", json!("vm-1"), json!("vm.1"), "spec.hostname: Invalid value"),
        on(kind, "hostname", json!("1e10"), json!(1e10), "spec.hostname: Invalid value: 10000000000.0: must be of type string"),
        on(kind, "dnsNames", json!(["db.vm.example.org"]), json!(["-db"]), "spec.dnsNames[0]: Invalid value"),
        on(kind, "dnsNames", many(16, &json!("a")), many(17, &json!("a")), "spec.dnsNames: Too many: 17"),
        on(kind, "identity", json!({"type": "ClientID", "clientID": "01:02"}), json!({"type": "ClientID"}),
            "spec.identity: Invalid value: clientID must be set if and only if type is ClientID"),
        on(kind, "identity", json!({"type": "DUID", "duid": "00:03:01"}), json!({"type": "DUID", "clientID": "01:02"}),
            "spec.identity: Invalid value: clientID must be set"),
        on(kind, "identity", json!({"type": "MACAddress"}), json!({"type": "DUID"}), "spec.identity: Invalid value: duid must be set"),
        on(kind, "identity", json!(null), json!({"type": "ClientID", "clientID": "vm"}), "spec.identity.clientID: Invalid value"),
        on(kind, "identity", json!({"type": "ClientID", "clientID": octets(255)}), json!({"type": "ClientID", "clientID": octets(256)}),
            "spec.identity.clientID: Too long: may not be more than 764"),
        on(kind, "identity", json!({"type": "DUID", "duid": octets(130)}), json!({"type": "DUID", "duid": octets(131)}), "spec.identity.duid: Too long"),
        on(kind, "identity", json!({"type": "DUID", "duid": octets(3)}), json!({"type": "DUID", "duid": octets(2)}), "spec.identity.duid: Invalid value"),
        on(kind, "addresses", json!([{"subnetRef": {"name": "a.b"}}]), json!([{"subnetRef": {"name": "a".repeat(254)}}]),
            "spec.addresses[0].subnetRef.name: Too long"),
        on(kind, "addresses", json!([]), json!([{"subnetRef": {"name": "A"}}]), "spec.addresses[0].subnetRef.name: Invalid value"),
        on(kind, "addresses", json!([{"ip": "2001:db8::1"}]), json!([{"ip": "0".repeat(40)}]), "spec.addresses[0].ip: Too long"),
        on(kind, "options", json!([{"code": 65535, "family": "IPv6", "values": ["x"]}]), json!([{"code": 1, "values": ["x"]}]),
            "spec.options: Invalid value: an option given by code needs its family"),
        on(kind, "options", many(32, &option), many(33, &option), "spec.options: Too many: 33"),
        on(kind, "dhcp", json!("Disabled"), json!("Off"), "spec.dhcp: Unsupported value"),
        on(kind, "options", json!([{"name": "bootfile-name", "values": ["ipxe.efi"], "family": "IPv4"}]),
            json!([{"name": "bootfile-name", "values": ["x"], "family": "IPv5"}]), "spec.options[0].family: Unsupported value"),
        on(kind, "networkRef", json!({"name": "n"}), json!({"name": "n", "namespace": "o"}), "spec.networkRef.namespace: unknown field"),
    ]);
}

#[test]
fn unknown_fields_are_refused() {
    let validator = Validator::new().unwrap();
    let mut object = base(Kind::Port, V4);
    object["spec"]["mac"] = json!(null);
    object["data"] = json!({});
    let error = first_error(&validator, Kind::Port, &mut object, None);
    assert_eq!(error, "spec.mac: unknown field; data: unknown field");
}

#[test]
fn names_of_networks_are_short_and_have_no_dot() {
    let validator = Validator::new().unwrap();
    for kind in Kind::ALL {
        for (name, short) in [("a".repeat(63), true), ("a".repeat(64), false), ("a.b".into(), false)] {
            let mut object = base(kind, V4);
            object["metadata"]["name"] = json!(name);
            let error = first_error(&validator, kind, &mut object, None);
            let limited = matches!(kind, Kind::Network | Kind::PhysicalNetwork);
            let expected = "metadata.name: Invalid value: must have at most 63 characters and no dot";
            assert_eq!(error, if limited && !short { expected } else { "" }, "{kind} {name}");
        }
    }
}

#[test]
fn defaults_are_applied_and_status_is_that_of_an_unseen_object() {
    let validator = Validator::new().unwrap();
    let mut object = base(Kind::Subnet, V4);
    object["status"] = json!({"gateway": "10.0.0.9"});
    assert_eq!(first_error(&validator, Kind::Subnet, &mut object, None), "");
    assert_eq!(
        object,
        json!({
            "apiVersion": api::API_VERSION, "kind": "Subnet",
            "metadata": {"name": "x", "namespace": "default"},
            "spec": {
                "networkRef": {"name": "n"}, "cidr": V4, "gateway": {"type": "Auto"},
                "dhcp": {"mode": "Reserved", "leaseDurationSeconds": 86400}, "dns": {"type": "Servers"},
            },
            "status": {"observedGeneration": -1},
        })
    );
}

#[test]
#[rustfmt::skip]
fn changes_of_what_is_immutable_are_refused() {
    let validator = Validator::new().unwrap();
    let v6 = |mode: &str| json!({"addressMode": mode, "routerAdvertisements": "None"});
    let vlan = |id: u16| json!({"type": "VLAN", "vlan": {"id": id}});
    for (kind, cidr, field, old, new, message) in [
        (Kind::Subnet, V4, "cidr", json!(V4), json!("10.0.1.0/24"), "spec.cidr: Invalid value: field is immutable"),
        (Kind::Subnet, V4, "networkRef", json!({"name": "n"}), json!({"name": "m"}), "spec.networkRef: Invalid value: field is immutable"),
        (Kind::Subnet, V6, "ipv6", v6("SLAAC"), v6("DHCPv6Stateful"), "spec.ipv6: Invalid value: field is immutable"),
        (Kind::Subnet, V4, "gateway", json!({"type": "Auto"}), json!({"type": "None"}), ""),
        (Kind::Network, V4, "segmentation", vlan(1), vlan(2), "spec.segmentation: Invalid value: field is immutable"),
        (Kind::Network, V4, "segmentation", json!(null), vlan(2), "spec.segmentation: Invalid value: field is immutable"),
        (Kind::Network, V4, "physicalNetworkRef", json!({"name": "a"}), json!({"name": "b"}), "spec.physicalNetworkRef: Invalid"),
        (Kind::Network, V4, "mtu", json!(1500), json!(1400), ""),
        (Kind::Port, V4, "networkRef", json!({"name": "a"}), json!({"name": "b"}), "spec.networkRef: Invalid"),
        (Kind::Port, V4, "macAddress", json!("02:00:00:00:00:01"), json!("02:00:00:00:00:02"), ""),
        (Kind::Port, V4, "macAddress", json!(null), json!("02:00:00:00:00:02"), ""),
        (Kind::Port, V4, "macAddress", json!("02:00:00:00:00:01"), json!(null), "spec: Invalid value: macAddress may be set and changed"),
        (Kind::PhysicalNetwork, V4, "mtu", json!(1500), json!(null), ""),
    ] {
        let mut before = base(kind, cidr);
        before["spec"][field] = old;
        assert_eq!(first_error(&validator, kind, &mut before, None), "");
        let mut after = base(kind, cidr);
        after["spec"][field] = new;
        let error = first_error(&validator, kind, &mut after, Some(&before));
        assert!(error.starts_with(message) && error.is_empty() == message.is_empty(), "{field}: {error:?}");
    }
}

#[test]
fn what_passes_can_be_read_as_its_type() {
    let validator = Validator::new().unwrap();
    for kind in Kind::ALL {
        let mut object = base(kind, V4);
        validator.validate(kind, &mut object, None).unwrap();
        let typed = crate::source::Object::from_value(kind, &object).unwrap();
        assert_eq!(typed.key().kind, kind);
        assert_eq!(typed.key().name, "x");
    }
}
