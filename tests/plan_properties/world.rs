//! The objects of one network, few and alike, so that they meet in every way.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube_dhcp::allocate::Ledger;
use kube_dhcp::api::Port;
use kube_dhcp::desired::{Declared, Desired, Inputs, NodeConfig, desired};
use kube_dhcp::dnsmasq::{Limit, Limits};
use kube_dhcp::types::NetworkUid;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The objects of a network; `None`: it shall not be.
pub type World = Option<(Value, BTreeMap<u8, Value>, BTreeMap<u8, Value>)>;

fn object<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> Arc<T> {
    let uid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{kind}/{name}").as_bytes());
    let metadata = json!({"name": name, "namespace": "a", "uid": uid.to_string()});
    let api = "kube-dhcp.io/v1alpha1";
    let value = json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec});
    Arc::new(serde_json::from_value(value).unwrap())
}

pub fn declared(name: &str, spec: &Value) -> Arc<Declared> {
    Arc::new(object::<Port>("Port", name, spec).into())
}

pub fn wanted(world: &World, ledger: &mut Ledger) -> Desired {
    inputs(world).map_or_else(Desired::default, |inputs| desired(&node(), uid(), &inputs, ledger))
}

pub fn inputs(world: &World) -> Option<Inputs> {
    let (network, subnets, ports) = world.as_ref()?;
    Some(Inputs {
        network: object("Network", "n", network),
        physical_network: None,
        segment_holder: None,
        server: None,
        subnets: subnets.iter().map(|(n, spec)| object("Subnet", &format!("s{n}"), spec)).collect(),
        ports: ports.iter().map(|(n, spec)| declared(&format!("p{n}"), spec)).collect(),
    })
}

pub fn node() -> NodeConfig {
    NodeConfig {
        name: "n1".into(),
        attachments: [
            ("lan", "bridge:br0"),
            ("trunk", "bridge:br0"),
            ("wire", "macvlan:eth1"),
            ("cable", "macvlan:eth2"),
            ("fabric", "ovs:br-int"),
        ]
        .map(|(name, text)| (name.to_owned(), text.parse().unwrap()))
        .into(),
        create_bridges: true,
        state: "/state".into(),
        metadata: true,
        limits: Limits { four: Limit { alone: 2, share: 2 }, six: Limit { alone: 1, share: 2 } },
        ..NodeConfig::default()
    }
}

pub fn uid() -> NetworkUid {
    "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap()
}

fn network() -> impl Strategy<Value = Value> {
    let physical = prop::sample::select(vec!["lan", "lan", "trunk", "wire", "cable", "fabric"]);
    let services = prop::sample::select(vec!["None", "IsolatedSubnets", "Always"]);
    let network = (physical, services, any::<bool>(), prop::option::of(1400..1403u16));
    network.prop_map(|(physical, service, domain, mtu)| {
        let mut spec =
            json!({"physicalNetworkRef": {"name": physical}, "metadataService": {"type": service}});
        if physical == "trunk" {
            spec["segmentation"] = json!({"type": "VLAN", "vlan": {"id": 5}});
        }
        if domain {
            spec["dns"] = json!({"domain": "vm.example.org"});
        }
        if let Some(mtu) = mtu {
            spec["mtu"] = mtu.into();
        }
        spec
    })
}

/// CIDR, gateways inside and outside, DNS server: of IPv4 the first two, of IPv6 the others.
const SUBNETS: [[&str; 4]; 4] = [
    ["10.0.0.0/24", "10.0.0.9", "192.168.99.1", "192.0.2.53"],
    ["10.0.1.0/24", "10.0.1.9", "192.168.99.1", "192.0.2.53"],
    ["2001:db8::/64", "2001:db8::9", "fe80::1", "2001:db8:f::53"],
    ["2001:db8:1::/80", "2001:db8:1::9", "2001:db8:99::1", "2001:db8:f::53"],
];

fn subnet(n: u8) -> impl Strategy<Value = Value> {
    let [cidr, inside, outside, resolver] = SUBNETS[usize::from(n)];
    (0..4u8, any::<bool>(), 0..3usize, any::<bool>()).prop_map(move |(gateway, dns, mode, advertised)| {
        let mut spec = json!({"networkRef": {"name": "n"}, "cidr": cidr});
        spec["gateway"] = match gateway {
            0 => json!({"type": "Auto"}),
            1 => json!({"type": "None"}),
            2 => json!({"type": "Address", "address": inside}),
            _ => json!({"type": "Address", "address": outside}),
        };
        if dns {
            spec["dns"] = json!({"type": "Addresses", "addresses": [resolver]});
        }
        if cidr.contains(':') {
            let mode = if cidr.ends_with("/64") {
                ["DHCPv6Stateful", "DHCPv6Stateless", "SLAAC"][mode]
            } else {
                "DHCPv6Stateful"
            };
            let advertised = if advertised { "Server" } else { "None" };
            spec["ipv6"] = json!({"addressMode": mode, "routerAdvertisements": advertised});
        }
        spec
    })
}

fn address((subnet, host): (u8, u8)) -> Value {
    let [cidr, ..] = SUBNETS[usize::from(subnet)];
    let (net, _) = cidr.split_once('/').unwrap();
    let net = if cidr.contains(':') { net } else { net.trim_end_matches('0') };
    json!({"ip": format!("{net}{host}")})
}

/// MACs and addresses are few, so that ports swap, share and take over.
pub fn port() -> impl Strategy<Value = Value> {
    let addresses = prop::collection::vec((0..4u8, 20..23u8), 1..4);
    let parts = (
        0..4u8,
        prop::option::of(addresses),
        0..3u8,
        prop::option::of((1..3u8, any::<bool>())),
        any::<bool>(),
    );
    parts.prop_map(|(mac, addresses, hostname, ntp, dhcp)| {
        let mut spec = json!({"networkRef": {"name": "n"}, "macAddress": format!("02:00:00:00:00:0{mac}")});
        if let Some(addresses) = addresses {
            spec["addresses"] = addresses.into_iter().map(address).collect();
        }
        if hostname > 0 {
            spec["hostname"] = format!("vm{hostname}").into();
        }
        if let Some((ntp, six)) = ntp {
            let value = if six { format!("2001:db8:f::{ntp}") } else { format!("192.0.2.{ntp}") };
            spec["options"] = json!([{"name": "ntp-server", "values": [value]}]);
        }
        if !dhcp {
            spec["dhcp"] = "Disabled".into();
        }
        spec
    })
}

pub fn world() -> impl Strategy<Value = World> {
    let subnets = [(0, 0.9), (1, 0.5), (2, 0.5), (3, 0.3)];
    let subnets = subnets.map(|(n, share)| prop::option::weighted(share, subnet(n)));
    let subnets = subnets.prop_map(|all| {
        let all = (0..).zip(all).filter_map(|(n, spec)| Some((n, spec?)));
        all.collect::<BTreeMap<u8, Value>>()
    });
    let ports = prop::collection::btree_map(0..5u8, port(), 0..5);
    prop::option::weighted(0.9, (network(), subnets, ports))
}

/// One with many ports, all with a device of their own, and no metadata service; and one port more, which may
/// have the device of another.
pub fn crowd() -> impl Strategy<Value = (World, Value)> {
    let ports = prop::collection::btree_map(0..8u8, port(), 3..8);
    let subnets = (subnet(0), prop::option::of(subnet(1)), prop::option::of(subnet(2)));
    (network(), subnets, ports, (port(), 6..10u8)).prop_map(
        |(mut network, (a, b, c), mut ports, (mut one, own))| {
            network["metadataService"] = json!({"type": "None"});
            let mac = |n: u8| Value::from(format!("02:00:00:00:00:1{n}"));
            for (n, port) in &mut ports {
                port["macAddress"] = mac(*n);
            }
            one["macAddress"] = mac(own);
            if own % 2 == 0 {
                one.as_object_mut().unwrap().remove("addresses");
            }
            let subnets = [(0, Some(a)), (1, b), (2, c)];
            let subnets = subnets.into_iter().filter_map(|(n, subnet)| Some((n, subnet?))).collect();
            (Some((network, subnets, ports)), one)
        },
    )
}

/// The same with another option, name and address for each port: what a running server is told.
pub fn world_beside(world: &World) -> World {
    let (network, subnets, mut ports) = world.clone()?;
    for (n, port) in &mut ports {
        port["options"] = json!([{"name": "ntp-server", "values": ["192.0.2.9"], "family": "IPv4"}]);
        if n % 2 == 0 {
            port["addresses"] =
                json!([{"ip": format!("10.0.0.{}", 100 + n)}, {"ip": format!("2001:db8::{n}:1")}]);
        }
    }
    Some((network, subnets, ports))
}
