//! The kinds that no user writes: `DHCPServer`, `IPAllocation`, and an agent's own.

use serde_json::{Value, json};

use super::{Case, Change, V4, V6, change, many, on};

#[rustfmt::skip]
pub fn kinds() -> Vec<Case> {
    let (server, allocation) = ("DHCPServer", "IPAllocation");
    let address = |ip: &str| json!([{"subnetName": "s", "ip": ip, "prefixLength": 24}]);
    let resolvers = |ips: &[&str]| json!([{"subnetName": "s", "ip": "10.0.0.2", "prefixLength": 24, "resolvers": ips}]);
    let instead = |ip: &str| json!([{"subnetName": "s", "ip": "10.0.0.2", "prefixLength": 24, "inPlaceOf": ip}]);
    let temporary = |holder: &Value| {
        let mut holder = holder.clone();
        holder["temporary"] = json!(true);
        holder
    };
    let port = json!({"type": "Port", "name": "p", "uid": "u"});
    let slot = json!({"type": "ServerSlot", "slot": 0});
    let on_v6 = |field, good, bad, message| Case { cidr: V6, ..on(allocation, field, good, bad, message) };
    vec![
        on("DHCPAgent", "unschedulable", json!(true), json!("yes"), "spec.unschedulable: Invalid value: \"yes\": must be of type boolean"),
        on(server, "addresses", address("10.0.0.2"), address("10.0.0.02"), "spec.addresses[0].ip: Invalid value: must be an IP address"),
        on(server, "addresses", resolvers(&["10.0.0.2", "10.0.0.3"]), resolvers(&["10.0.0.2", "x.y"]),
            "spec.addresses[0].resolvers: Invalid value: each item must be an IP address"),
        on(server, "addresses", instead("10.0.0.3"), instead("10.0.0.03"), "spec.addresses[0].inPlaceOf: Invalid value: must be an IP address"),
        on(server, "addresses", json!([]), many(2, &address("10.0.0.2")[0]), "spec.addresses[1]: Duplicate value"),
        on(allocation, "networkName", json!("n"), json!("m"), ": Invalid value: metadata.name must be networkName.ip"),
        on_v6("networkName", json!("n"), json!("m"), ": Invalid value: metadata.name must be networkName.ip"),
        on(allocation, "ip", json!("10.0.0.20"), json!("10.0.0.20.1"), "spec.ip: Invalid value: must be an IP address"),
        on(allocation, "holder", port.clone(), json!({"type": "Port", "name": "p"}), "spec.holder: Invalid value: name and uid must be set if"),
        on(allocation, "holder", slot.clone(), json!({"type": "ServerSlot"}), "spec.holder: Invalid value: slot must be set if and only if"),
        on(allocation, "holder", temporary(&slot), temporary(&port), "spec.holder: Invalid value: temporary must not be set unless type is ServerSlot"),
        on(allocation, "holder", port, json!({"type": "Port", "name": "p", "uid": "u", "slot": 1}), "spec.holder: Invalid value: slot must be set if"),
        on(allocation, "holder", slot, json!({"type": "ServerSlot", "slot": 1, "name": "p", "uid": "u"}), "spec.holder: Invalid value: name and uid"),
        on(allocation, "released", json!({"time": "2026-11-23T05:00:00Z", "portsRevision": "1"}), json!({"time": "today", "portsRevision": "1"}),
            "spec.released.time: Invalid value: must be of type date-time"),
    ]
}

#[rustfmt::skip]
pub fn changes() -> Vec<Change> {
    let (server, allocation) = ("DHCPServer", "IPAllocation");
    let released = |revision: &str| json!({"time": "2026-11-23T05:00:00Z", "portsRevision": revision});
    let once = "spec: Invalid value: released is set once";
    let never = "spec: Invalid value: an allocation does not change; only released is set";
    vec![
        change(server, V4, "networkRef", json!({"name": "n", "uid": "u"}), json!({"name": "n", "uid": "v"}), "spec.networkRef: Invalid value: field is immutable"),
        change(server, V4, "nodeName", json!("n1"), json!("n2"), "spec.nodeName: Invalid value: field is immutable"),
        change(server, V4, "slot", json!(0), json!(1), "spec.slot: Invalid value: field is immutable"),
        change(server, V4, "state", json!("Active"), json!("Withdrawn"), ""),
        change(server, V4, "state", json!("Withdrawn"), json!("Active"), "spec.state: Invalid value: a withdrawn server does not become active"),
        change(server, V4, "state", json!("Withdrawn"), json!(null), "spec.state: Invalid value: a withdrawn server does not become active"),
        change(server, V4, "addresses", json!([]), json!([{"subnetName": "s", "ip": "10.0.0.2", "prefixLength": 24}]), ""),
        change(allocation, V4, "subnetName", json!("s"), json!("t"), never),
        change(allocation, V4, "networkUID", json!("u"), json!("v"), never),
        change(allocation, V6, "holder", json!({"type": "ServerSlot", "slot": 0}), json!({"type": "ServerSlot", "slot": 1}), never),
        change(allocation, V4, "released", json!(null), released("1"), ""),
        change(allocation, V4, "released", released("1"), json!(null), once),
        change(allocation, V4, "released", released("1"), released("2"), once),
    ]
}
