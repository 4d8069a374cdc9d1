//! `PhysicalNetwork` and Network.

use serde_json::{Value, json};

use super::{Case, many, on};

/// A physical network.
#[rustfmt::skip]
pub fn physical_network() -> Vec<Case> {
    let kind = "PhysicalNetwork";
    let range = json!({"first": 1, "last": 4094});
    vec![
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
    ]
}

/// A Network.
#[rustfmt::skip]
pub fn network() -> Vec<Case> {
    let kind = "Network";
    let label = "a".repeat(63);
    let selector = |s: &Value| json!({"nodeSelector": s});
    let labels = |n: usize| Value::Object((0..n).map(|i| (format!("l{i}"), json!("x"))).collect());
    let exists = json!({"key": "a", "operator": "Exists"});
    let txt = |records: Value| json!({"domain": "vm.example.org", "txtRecords": records});
    let record = json!({"name": "a", "texts": ["x"]});
    let all: String = (b' '..=b'~').map(char::from).collect();
    let of_length = |n: usize| (1..=n).map(|i| if i % 50 == 0 && i < n { '.' } else { 'a' }).collect::<String>();
    vec![
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
        on(kind, "dns", txt(json!([{"name": "_a._b-c", "texts": [all]}])), txt(json!([{"name": "a b", "texts": ["x"]}])),
            "spec.dns.txtRecords[0].name: Invalid value: \"a b\": should match"),
        on(kind, "dns", txt(json!([{"name": "vm.example.org.", "texts": [" "]}])), txt(json!([{"name": "-a", "texts": ["x"]}])),
            "spec.dns.txtRecords[0].name: Invalid value"),
        on(kind, "dns", txt(json!([{"name": "a", "texts": ["x".repeat(255)]}])), txt(json!([{"name": "a", "texts": ["y", "x".repeat(256)]}])),
            "spec.dns.txtRecords[0].texts[1]: Too long: may not be more than 255"),
        on(kind, "dns", txt(json!([])), txt(json!([{"name": "a", "texts": [""]}])), "spec.dns.txtRecords[0].texts[0]: Invalid value"),
        on(kind, "dns", txt(json!([])), txt(json!([{"name": "a", "texts": ["x\ny"]}])), "spec.dns.txtRecords[0].texts[0]: Invalid value"),
        on(kind, "dns", txt(json!([])), txt(json!([{"name": "a", "texts": ["x\n"]}])), "spec.dns.txtRecords[0].texts[0]: Invalid value"),
        on(kind, "dns", txt(json!([])), txt(json!([{"name": "a", "texts": ["\u{e4}"]}])), "spec.dns.txtRecords[0].texts[0]: Invalid value"),
        on(kind, "dns", txt(json!([{"name": "a", "texts": many(8, &json!("x"))}])), txt(json!([{"name": "a", "texts": many(9, &json!("x"))}])),
            "spec.dns.txtRecords[0].texts: Too many: 9"),
        on(kind, "dns", txt(json!([])), txt(json!([{"name": "a", "texts": []}])), "spec.dns.txtRecords[0].texts: Invalid value"),
        on(kind, "dns", txt(many(16, &record)), txt(many(17, &record)), "spec.dns.txtRecords: Too many: 17"),
        on(kind, "dns", json!({"txtRecords": [{"name": "a.", "texts": ["x"]}]}), json!({"txtRecords": [record]}),
            "spec.dns: Invalid value: without domain each name of txtRecords must end with a dot"),
        on(kind, "dns", txt(json!([{"name": "xvm.example.org", "texts": ["x"]}])), txt(json!([{"name": "a.vm.example.org", "texts": ["x"]}])),
            "spec.dns: Invalid value: a name of txtRecords that has the domain already must end with a dot"),
        on(kind, "dns", txt(json!([{"name": of_length(238), "texts": ["x"]}])), txt(json!([{"name": of_length(239), "texts": ["x"]}])),
            "spec.dns: Invalid value: a name of txtRecords must have at most 253 characters with the domain"),
        on(kind, "dns", txt(json!([{"name": format!("{}.", of_length(253)), "texts": ["x"]}])), txt(json!([{"name": of_length(255), "texts": ["x"]}])),
            "spec.dns.txtRecords[0].name: Too long: may not be more than 254"),
        on(kind, "dhcp", json!({"servers": 8}), json!({"servers": 9}), "spec.dhcp.servers: Invalid value: 9"),
        on(kind, "dhcp", json!({"servers": 1}), json!({"servers": 0}), "spec.dhcp.servers: Invalid value: 0"),
        on(kind, "dhcp", json!({"nodeSelector": {"matchLabels": {"rack": "r1"}}}), json!({"nodeSelector": {"labels": {}}}),
            "spec.dhcp.nodeSelector.labels: unknown field"),
        on(kind, "dhcp", json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}),
            json!({"nodeSelector": {"matchLabels": {"rack": 1}}}), "spec.dhcp.nodeSelector.matchLabels.rack: Invalid value"),
        on(kind, "dhcp", selector(&json!({"matchLabels": labels(32)})), selector(&json!({"matchLabels": labels(33)})),
            "spec.dhcp.nodeSelector.matchLabels: Too many: 33"),
        on(kind, "dhcp", selector(&json!({"matchLabels": {"a": "x".repeat(63)}})), selector(&json!({"matchLabels": {"a": "x".repeat(64)}})),
            "spec.dhcp.nodeSelector.matchLabels.a: Too long"),
        on(kind, "dhcp", selector(&json!({"matchExpressions": many(32, &exists)})), selector(&json!({"matchExpressions": many(33, &exists)})),
            "spec.dhcp.nodeSelector.matchExpressions: Too many: 33"),
        on(kind, "dhcp", selector(&json!({})), selector(&json!({"matchExpressions": [{"key": "a", "operator": "Like"}]})),
            "spec.dhcp.nodeSelector.matchExpressions[0].operator: Unsupported value"),
        on(kind, "metadataService", json!({"type": "Always"}), json!({"type": "Never"}), "spec.metadataService.type: Unsupported"),
    ]
}
