//! Manifests as text. What a test is about is added as a line of YAML; the rest is the least there is.

use crate::lab::Mac;

/// An object in namespace `team-a`; `spec` is lines of YAML without indentation.
pub fn object(kind: &str, name: &str, spec: &str) -> String {
    crate::largest::object(kind, ("team-a", name), spec)
}

/// A network on `lan`, without VLAN.
pub fn network(name: &str, more: &str) -> String {
    object("Network", name, &format!("physicalNetworkRef: {{name: lan}}\n{more}"))
}

/// A network on a VLAN of `trunk`.
pub fn vlan(name: &str, id: u16) -> String {
    let spec =
        format!("physicalNetworkRef: {{name: trunk}}\nsegmentation: {{type: VLAN, vlan: {{id: {id}}}}}");
    object("Network", name, &spec)
}

pub fn subnet(name: &str, network: &str, cidr: &str, more: &str) -> String {
    object("Subnet", name, &format!("networkRef: {{name: {network}}}\ncidr: {cidr}\n{more}"))
}

pub fn port(name: &str, network: &str, mac: Mac, more: &str) -> String {
    object("Port", name, &format!("networkRef: {{name: {network}}}\nmacAddress: \"{mac}\"\n{more}"))
}

/// A port of network `lan` with this address.
pub fn fixed(name: &str, mac: Mac, ip: &str, more: &str) -> String {
    port(name, "lan", mac, &format!("addresses: [{{ip: {ip}}}]\n{more}"))
}

pub fn physical(name: &str, spec: &str) -> String {
    let object = object("PhysicalNetwork", name, spec);
    object.replace(", namespace: team-a", "")
}

/// Network `lan` with domain, and subnet `lan-v4` 10.0.0.0/24 with pools from .10.
pub fn lan() -> String {
    network("lan", "dns: {domain: vm.example.org}") + &lan_v4("")
}

pub fn lan_v4(more: &str) -> String {
    subnet(
        "lan-v4",
        "lan",
        "10.0.0.0/24",
        &format!("pools: [{{first: 10.0.0.10, last: 10.0.0.250}}]\n{more}"),
    )
}
