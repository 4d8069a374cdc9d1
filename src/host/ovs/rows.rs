//! What is asked of Open vSwitch's database, and what its answers say. Pure.
//!
//! A port of ours is an access port, so that no other VLAN's frames come through it, and carries marks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::types::{MacAddr, NetworkUid};

/// Mark all ports of ours.
const OWNER: (&str, &str) = ("owner", "kube-dhcp");
/// Whose port it is.
const NETWORK: &str = "kube-dhcp-network";

/// A port to be.
pub(super) struct Plug<'a> {
    pub(super) name: &'a str,
    pub(super) bridge: &'a str,
    pub(super) vlan: Option<u16>,
    pub(super) uid: NetworkUid,
    pub(super) mac: MacAddr,
}

/// A port as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) uuid: String,
    /// It is as we make them, and ovs-vswitchd has it.
    pub(super) is_well: bool,
    pub(super) vlan: Option<u16>,
}

pub(super) fn select_bridge(name: &str) -> Value {
    json!({"op": "select", "table": "Bridge", "where": [["name", "==", name]], "columns": ["name"]})
}

pub(super) fn select_port(name: &str) -> Value {
    json!({"op": "select", "table": "Port", "where": [["name", "==", name]],
        "columns": ["_uuid", "tag", "vlan_mode", "trunks", "external_ids"]})
}

/// The ports that have our mark.
pub(super) fn select_owned() -> Value {
    let (key, value) = OWNER;
    json!({"op": "select", "table": "Port", "where": [["external_ids", "includes", ["map", [[key, value]]]]],
        "columns": ["name", "external_ids"]})
}

/// The bridge that a port is in.
pub(super) fn select_bridge_of(port: &str) -> Value {
    json!({"op": "select", "table": "Bridge", "where": [["ports", "includes", ["uuid", port]]], "columns": ["name"]})
}

/// The database forgets a port that is in no bridge, and its interface.
pub(super) fn remove(port: &str) -> Value {
    json!({"op": "mutate", "table": "Bridge", "where": [["ports", "includes", ["uuid", port]]],
        "mutations": [["ports", "delete", ["uuid", port]]]})
}

/// The last of them says in how many bridges it is now.
pub(super) fn add(plug: &Plug<'_>) -> Vec<Value> {
    let interface_ids = json!([
        "map",
        [
            ["attached-mac", plug.mac.to_string()],
            ["iface-id", plug.uid.to_string()],
            ["iface-status", "active"],
        ]
    ]);
    let (key, value) = OWNER;
    let port_ids = json!(["map", [[key, value], [NETWORK, plug.uid.to_string()]]]);
    let mut port = json!({"name": plug.name, "interfaces": ["named-uuid", "interface"],
        "vlan_mode": "access", "external_ids": port_ids});
    if let Some(vlan) = plug.vlan {
        port["tag"] = vlan.into();
    }
    vec![
        json!({"op": "insert", "table": "Interface", "uuid-name": "interface",
            "row": {"name": plug.name, "external_ids": interface_ids}}),
        json!({"op": "insert", "table": "Port", "uuid-name": "port", "row": port}),
        json!({"op": "mutate", "table": "Bridge", "where": [["name", "==", plug.bridge]],
            "mutations": [["ports", "insert", ["named-uuid", "port"]]]}),
    ]
}

/// Waits on the server's side until ovs-vswitchd has dealt with an interface.
pub(super) fn wait_for(name: &str, patience: Duration) -> Value {
    json!({"op": "wait", "timeout": milliseconds(patience), "table": "Interface", "where": [["name", "==", name]],
        "columns": ["ofport"], "until": "!=", "rows": [{"ofport": ["set", []]}]})
}

/// Asks ovs-vswitchd to say when it has dealt with all that was written until now; the second result has the
/// number that it is to say.
pub(super) fn begin_round() -> [Value; 2] {
    [
        json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}),
        json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}),
    ]
}

/// The number that it said last.
pub(super) fn select_round() -> Value {
    json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["cur_cfg"]})
}

/// Waits on the server's side until it says another one.
pub(super) fn wait_for_round(not: i64, patience: Duration) -> Value {
    json!({"op": "wait", "timeout": milliseconds(patience), "table": "Open_vSwitch", "where": [],
        "columns": ["cur_cfg"], "until": "!=", "rows": [{"cur_cfg": not}]})
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Its number in the answer to one of these.
pub(super) fn round(result: &Value, column: &str) -> i64 {
    rows(result).first().and_then(|row| row[column].as_i64()).unwrap_or_default()
}

pub(super) fn select_interface(name: &str) -> Value {
    json!({"op": "select", "table": "Interface", "where": [["name", "==", name]], "columns": ["ofport", "error"]})
}

/// Whether ovs-vswitchd has it, by the rows of an interface.
pub(super) fn is_open(interfaces: &[Value]) -> bool {
    interfaces.first().is_some_and(|row| row["ofport"].as_i64().is_some_and(|port| port > 0))
}

/// What all monitored changes are about.
pub(super) fn monitored() -> Value {
    json!({"Port": {"columns": ["name", "tag", "vlan_mode"]}, "Bridge": {"columns": ["name"]}})
}

pub(super) fn rows(result: &Value) -> &[Value] {
    result["rows"].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn found(row: &Value, uid: NetworkUid) -> Option<Found> {
    let row_id = row["_uuid"][1].as_str()?.to_owned();
    let is_ours =
        owner(row) == Some(uid) && row["vlan_mode"] == "access" && row["trunks"] == json!(["set", []]);
    // It is a number, or a set without any.
    let vlan = row["tag"].as_u64().and_then(|tag| u16::try_from(tag).ok());
    Some(Found { uuid: row_id, is_well: is_ours, vlan })
}

/// The network in a port's marks.
pub(super) fn owner(row: &Value) -> Option<NetworkUid> {
    let pairs = row["external_ids"][1].as_array()?.iter();
    let marks: BTreeMap<_, _> =
        pairs.filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?))).collect();
    (marks.get(OWNER.0) == Some(&OWNER.1)).then(|| marks.get(NETWORK)?.parse().ok()).flatten()
}

/// The names in a change of what is monitored: of ports that are gone or otherwise, and of new bridges.
pub(super) fn disturbed(update: &Value) -> (Vec<String>, bool) {
    let rows = |table: &str| update[table].as_object().into_iter().flat_map(|rows| rows.values());
    let name = |row: &Value, side: &str| row[side]["name"].as_str().map(str::to_owned);
    let new: Vec<_> =
        rows("Port").filter(|row| row["old"].is_null()).filter_map(|row| name(row, "new")).collect();
    let old = rows("Port").filter(|row| !row["old"].is_null());
    // One that is changed has its name where it did not change; one that is replaced is ours.
    let old = old.filter_map(|row| name(row, "new").or_else(|| name(row, "old")));
    let ports = old.filter(|name| !new.contains(name)).collect();
    (ports, rows("Bridge").any(|row| row["old"].is_null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "3f0c9a1b-0000-4000-8000-000000000001";

    fn port(tag: &Value, mode: &Value, uid: &str) -> Value {
        json!({"_uuid": ["uuid", "u1"], "tag": tag, "vlan_mode": mode, "trunks": ["set", []],
            "external_ids": ["map", [["kube-dhcp-network", uid], ["owner", "kube-dhcp"]]]})
    }

    #[test]
    fn a_port_is_ours_as_we_make_it_or_not() {
        let uid: NetworkUid = UID.parse().unwrap();
        let (none, access) = (json!(["set", []]), json!("access"));
        let vlan = |row: &Value| found(row, uid).map(|found| (found.is_well, found.vlan)).unwrap();
        assert_eq!(vlan(&port(&json!(7), &access, UID)), (true, Some(7)));
        assert_eq!(vlan(&port(&none, &access, UID)), (true, None));
        assert!(!vlan(&port(&json!(7), &none, UID)).0);
        assert!(!vlan(&port(&none, &access, "3f0c9a1b-0000-4000-8000-000000000002")).0);
        let mut trunk = port(&json!(7), &access, UID);
        trunk["trunks"] = json!(["set", [7, 8]]);
        assert!(!vlan(&trunk).0);
        assert_eq!(found(&json!({}), uid), None);
        assert_eq!(owner(&json!({"external_ids": ["map", [["kube-dhcp-network", UID]]]})), None);
    }

    #[test]
    fn what_goes_or_changes_disturbs_and_what_is_replaced_does_not() {
        let update = json!({"Port": {
            "a": {"old": {"name": "gone"}},
            "b": {"old": {"tag": 7}, "new": {"name": "changed"}},
            "c": {"old": {"name": "replaced"}},
            "d": {"new": {"name": "replaced"}},
            "e": {"new": {"name": "fresh"}},
        }});
        assert_eq!(disturbed(&update), (vec!["gone".to_owned(), "changed".to_owned()], false));
        assert!(disturbed(&json!({"Bridge": {"a": {"new": {"name": "br-int"}}}})).1);
        assert!(!disturbed(&json!({"Bridge": {"a": {"old": {"name": "br-int"}}}})).1);
    }

    #[test]
    fn a_port_without_a_vlan_has_no_tag() {
        let mac = MacAddr::local([0, 0, 0, 0, 1]);
        let plug = |vlan| Plug { name: "kd1", bridge: "br-int", vlan, uid: UID.parse().unwrap(), mac };
        assert_eq!(add(&plug(Some(7)))[1]["row"]["tag"], 7);
        assert!(add(&plug(None))[1]["row"].get("tag").is_none());
    }
}
