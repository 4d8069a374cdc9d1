//! The API's rules and bounds by example: for each what passes, and what is refused with which
//! message. And the changes that are refused.
//!
//! Two judges must agree on every one of them: the validation of this module (`super::tests`) and
//! a real API server (`tests/cluster`, which takes this folder by its path). So nothing here
//! depends on the rest of the crate.
#![allow(unreachable_pub, missing_docs, reason = "two crates have it as a private module")]
#![allow(dead_code, unused_imports, reason = "each of them uses its part")]

use serde_json::{Value, json};

mod controller;
mod everything;
mod network;
mod options;
mod port;
mod subnet;

pub use everything::everything;

/// One field of a spec, well and badly set.
pub struct Case {
    pub kind: &'static str,
    cidr: &'static str,
    pub field: &'static str,
    good: Value,
    bad: Value,
    /// How the error begins: `field: kind of error: detail`.
    pub message: &'static str,
}

/// A field of a spec that is changed.
pub struct Change {
    pub kind: &'static str,
    cidr: &'static str,
    pub field: &'static str,
    old: Value,
    new: Value,
    /// How the error begins; empty: the change is allowed.
    pub message: &'static str,
}

impl Case {
    pub fn good(&self) -> Value {
        with(self.kind, self.cidr, self.field, &self.good)
    }

    pub fn bad(&self) -> Value {
        with(self.kind, self.cidr, self.field, &self.bad)
    }
}

impl Change {
    pub fn before(&self) -> Value {
        with(self.kind, self.cidr, self.field, &self.old)
    }

    pub fn after(&self) -> Value {
        with(self.kind, self.cidr, self.field, &self.new)
    }
}

pub const V4: &str = "10.0.0.0/24";
pub const V6: &str = "2001:db8::/64";
const LONG_V6: &str = "2001:0db8:0000:0000:0000:0000:0000:0001";

/// The smallest object of a kind.
pub fn base(kind: &str, cidr: &str) -> Value {
    let spec = match kind {
        "Network" => json!({"physicalNetworkRef": {"name": "p"}}),
        "Port" => json!({"networkRef": {"name": "n"}}),
        "Subnet" if cidr.contains(':') => {
            json!({"networkRef": {"name": "n"}, "cidr": cidr, "ipv6": {"addressMode": "SLAAC"}})
        }
        "Subnet" => json!({"networkRef": {"name": "n"}, "cidr": cidr}),
        "DHCPServer" => json!({"networkRef": {"name": "n", "uid": "u"}, "nodeName": "n1", "slot": 0}),
        "IPAllocation" => json!({
            "networkName": "n", "networkUID": "u", "subnetName": "s", "holder": {"type": "ServerSlot", "slot": 0},
            "ip": if cidr == V6 { LONG_V6 } else { "10.0.0.20" },
        }),
        _ => json!({}),
    };
    object(kind, &spec)
}

fn object(kind: &str, spec: &Value) -> Value {
    let name = match spec["ip"].as_str() {
        Some(ip) => format!("n.{}", ip.replace(':', "-")),
        None => "x".to_owned(),
    };
    json!({"apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn with(kind: &str, cidr: &str, field: &str, value: &Value) -> Value {
    let mut object = base(kind, cidr);
    object["spec"][field] = value.clone();
    object
}

fn on(kind: &'static str, field: &'static str, good: Value, bad: Value, message: &'static str) -> Case {
    Case { kind, cidr: V4, field, good, bad, message }
}

fn subnet(field: &'static str, good: Value, bad: Value, message: &'static str) -> Case {
    on("Subnet", field, good, bad, message)
}

fn subnet6(field: &'static str, good: Value, bad: Value, message: &'static str) -> Case {
    Case { cidr: V6, ..subnet(field, good, bad, message) }
}

fn many(count: usize, item: &Value) -> Value {
    Value::Array(vec![item.clone(); count])
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases = network::physical_network();
    cases.extend(network::network());
    cases.extend(subnet::addresses());
    cases.extend(subnet::service());
    cases.extend(port::port());
    cases.extend(options::options());
    cases.extend(controller::kinds());
    cases
}

fn change(
    kind: &'static str,
    cidr: &'static str,
    field: &'static str,
    old: Value,
    new: Value,
    message: &'static str,
) -> Change {
    Change { kind, cidr, field, old, new, message }
}

/// What may be changed later, and what may not.
#[rustfmt::skip]
pub fn changes() -> Vec<Change> {
    let v6 = |mode: &str| json!({"addressMode": mode, "routerAdvertisements": "None"});
    let vlan = |id: u16| json!({"type": "VLAN", "vlan": {"id": id}});
    let mut changes = vec![
        change("Subnet", V4, "cidr", json!(V4), json!("10.0.1.0/24"), "spec.cidr: Invalid value: field is immutable"),
        change("Subnet", V4, "networkRef", json!({"name": "n"}), json!({"name": "m"}), "spec.networkRef: Invalid value: field is immutable"),
        change("Subnet", V6, "ipv6", v6("SLAAC"), v6("DHCPv6Stateful"), "spec.ipv6: Invalid value: field is immutable"),
        change("Subnet", V4, "gateway", json!({"type": "Auto"}), json!({"type": "None"}), ""),
        change("Network", V4, "segmentation", vlan(1), vlan(2), "spec.segmentation: Invalid value: field is immutable"),
        change("Network", V4, "segmentation", json!(null), vlan(2), "spec.segmentation: Invalid value: field is immutable"),
        change("Network", V4, "physicalNetworkRef", json!({"name": "a"}), json!({"name": "b"}), "spec.physicalNetworkRef: Invalid"),
        change("Network", V4, "mtu", json!(1500), json!(1400), ""),
        change("Port", V4, "networkRef", json!({"name": "a"}), json!({"name": "b"}), "spec.networkRef: Invalid"),
        change("Port", V4, "macAddress", json!("02:00:00:00:00:01"), json!("02:00:00:00:00:02"), ""),
        change("Port", V4, "macAddress", json!(null), json!("02:00:00:00:00:02"), ""),
        change("Port", V4, "macAddress", json!("02:00:00:00:00:01"), json!(null), "spec: Invalid value: macAddress may be set and changed"),
        change("PhysicalNetwork", V4, "mtu", json!(1500), json!(null), ""),
    ];
    changes.extend(controller::changes());
    changes
}
