//! One object of each kind in which every field is set.

use serde_json::{Value, json};

use super::{V4, object};

/// Everything that a kind has, set at once: more than its rules allow together, so that each bound
/// has something to be tried on.
pub fn everything(kind: &str) -> Value {
    let selector = json!({
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
    });
    let options = json!([{"name": "ntp-server", "code": 42, "encoding": "IP", "values": ["10.0.0.1"], "family": "IPv4",
        "when": {"architectures": ["X64UEFI"], "bootLoader": "IPXE"}}]);
    let range = json!({"first": "10.0.0.10", "last": "10.0.0.20"});
    let spec = match kind {
        "PhysicalNetwork" => json!({
            "namespaces": {"from": "Selector", "selector": selector},
            "untagged": "Allowed", "vlanRanges": [{"first": 1, "last": 2}], "mtu": 1500,
        }),
        "Network" => json!({
            "physicalNetworkRef": {"name": "p"}, "segmentation": {"type": "VLAN", "vlan": {"id": 1}}, "mtu": 1500,
            "dns": {"domain": "a.b", "forwarding": {"type": "Addresses", "addresses": ["192.0.2.53"]},
                "txtRecords": [{"name": "_a", "texts": ["b"]}]},
            "dhcp": {"servers": 2, "nodeSelector": selector}, "metadataService": {"type": "Always"}, "options": options,
        }),
        "Subnet" => json!({
            "networkRef": {"name": "n"}, "cidr": V4, "gateway": {"type": "Address", "address": "10.0.0.1"}, "pools": [range],
            "dhcp": {"mode": "Dynamic", "dynamic": range, "leaseDurationSeconds": 300, "renewalSeconds": 100, "rebindingSeconds": 200},
            "dns": {"type": "Addresses", "addresses": ["192.0.2.53"]},
            "hostRoutes": [{"destination": "10.8.0.0/16", "nextHop": "10.0.0.254"}], "options": options,
            "ipv6": {"addressMode": "SLAAC", "routerAdvertisements": "Server"},
        }),
        "Port" => json!({
            "networkRef": {"name": "n"}, "macAddress": "02:00:00:00:00:01", "addresses": [{"ip": "10.0.0.20", "subnetRef": {"name": "s"}}],
            "hostname": "vm", "dnsNames": ["a.b"], "identity": {"type": "DUID", "clientID": "01:02", "duid": "00:03:01"},
            "dhcp": "Disabled", "options": options,
        }),
        "DHCPServer" => json!({
            "networkRef": {"name": "n", "uid": "u"}, "nodeName": "n1", "slot": 0, "state": "Active", "mtu": 1500, "awaitedRevision": "1", "predecessor": "n2",
            "addresses": [{"subnetName": "s", "ip": "10.0.0.2", "prefixLength": 24, "inPlaceOf": "10.0.0.3", "resolvers": ["10.0.0.2"]}],
        }),
        "IPAllocation" => json!({
            "networkName": "n", "networkUID": "u", "subnetName": "s", "ip": "10.0.0.20",
            "holder": {"type": "Port", "namespace": "a", "name": "p", "uid": "u", "macAddress": "02:00:00:00:00:01", "clientID": "01:02", "duid": "00:03:01", "slot": 0, "temporary": true},
            "released": {"time": "2026-11-23T05:00:00Z", "portsRevision": "1"},
        }),
        _ => json!({"unschedulable": true}),
    };
    object(kind, &spec)
}
