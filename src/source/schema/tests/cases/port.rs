//! Port, but for its options.

use serde_json::json;

use super::{Case, many, on};

/// A Port.
#[rustfmt::skip]
pub fn port() -> Vec<Case> {
    let kind = "Port";
    let any = json!({"subnetRef": {"name": "s"}});
    let octets = |n: usize| vec!["0a"; n].join(":");
    vec![
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
        on(kind, "identity", json!({"type": "ClientID", "clientID": "ff:0a"}), json!({"type": "ClientID", "clientID": "FF:0a"}), "spec.identity.clientID: Invalid value"),
        on(kind, "identity", json!(null), json!({"type": "ClientID", "clientID": "0a:0b,ignore"}), "spec.identity.clientID: Invalid value"),
        on(kind, "identity", json!(null), json!({"type": "DUID", "duid": "00:03:0a:0b\n"}), "spec.identity.duid: Invalid value"),
        on(kind, "identity", json!(null), json!({"type": "MACAddress", "clientID": "01:02"}), "spec.identity: Invalid value: clientID must be set if and only if"),
        on(kind, "identity", json!({"type": "ClientID", "clientID": octets(255)}), json!({"type": "ClientID", "clientID": octets(256)}),
            "spec.identity.clientID: Too long: may not be more than 764"),
        on(kind, "identity", json!({"type": "DUID", "duid": octets(130)}), json!({"type": "DUID", "duid": octets(131)}), "spec.identity.duid: Too long"),
        on(kind, "identity", json!({"type": "DUID", "duid": octets(3)}), json!({"type": "DUID", "duid": octets(2)}), "spec.identity.duid: Invalid value"),
        on(kind, "addresses", json!([{"subnetRef": {"name": "a.b"}}]), json!([{"subnetRef": {"name": "a".repeat(254)}}]),
            "spec.addresses[0].subnetRef.name: Too long"),
        on(kind, "addresses", json!([]), json!([{"subnetRef": {"name": "A"}}]), "spec.addresses[0].subnetRef.name: Invalid value"),
        on(kind, "addresses", json!([{"ip": "2001:db8::1"}]), json!([{"ip": "0".repeat(40)}]), "spec.addresses[0].ip: Too long"),
        on(kind, "dhcp", json!("Disabled"), json!("Off"), "spec.dhcp: Unsupported value"),
        on(kind, "networkRef", json!({"name": "n"}), json!({"name": "n", "namespace": "o"}), "spec.networkRef.namespace: unknown field"),
    ]
}
