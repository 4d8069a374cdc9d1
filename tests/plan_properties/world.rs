//! The objects of one network, few and alike, so that they meet in every way.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube_dhcp::allocate::Ledger;
use kube_dhcp::desired::{Desired, Inputs, NodeConfig, desired};
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

pub fn wanted(world: &World, ledger: &mut Ledger) -> Desired {
    let Some((network, subnets, ports)) = world else { return Desired::default() };
    let inputs = Inputs {
        network: object("Network", "n", network),
        physical_network: None,
        segment_holder: None,
        server: None,
        subnets: subnets.iter().map(|(n, spec)| object("Subnet", &format!("s{n}"), spec)).collect(),
        ports: ports.iter().map(|(n, spec)| object("Port", &format!("p{n}"), spec)).collect(),
    };
    let node = NodeConfig {
        name: "n1".into(),
        attachments: BTreeMap::from([("lan".into(), "bridge:br0".parse().unwrap())]),
        create_bridges: true,
        state: "/state".into(),
        ..NodeConfig::default()
    };
    desired(&node, uid(), &inputs, ledger)
}

fn uid() -> NetworkUid {
    "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap()
}

fn network() -> impl Strategy<Value = Value> {
    (any::<bool>(), prop::option::of(1400..1403u16)).prop_map(|(domain, mtu)| {
        let mut spec = json!({"physicalNetworkRef": {"name": "lan"}});
        if domain {
            spec["dns"] = json!({"domain": "vm.example.org"});
        }
        if let Some(mtu) = mtu {
            spec["mtu"] = mtu.into();
        }
        spec
    })
}

fn subnet(n: u8) -> impl Strategy<Value = Value> {
    (0..4u8, any::<bool>()).prop_map(move |(gateway, dns)| {
        let mut spec = json!({"networkRef": {"name": "n"}, "cidr": format!("10.0.{n}.0/24")});
        spec["gateway"] = match gateway {
            0 => json!({"type": "Auto"}),
            1 => json!({"type": "None"}),
            2 => json!({"type": "Address", "address": format!("10.0.{n}.9")}),
            _ => json!({"type": "Address", "address": "192.168.99.1"}),
        };
        if dns {
            spec["dns"] = json!({"type": "Addresses", "addresses": ["192.0.2.53"]});
        }
        spec
    })
}

/// MACs and addresses are few, so that ports swap, share and take over.
fn port() -> impl Strategy<Value = Value> {
    let parts =
        (0..4u8, prop::option::of((0..2u8, 20..23u8)), 0..3u8, prop::option::of(1..3u8), any::<bool>());
    parts.prop_map(|(mac, address, hostname, ntp, dhcp)| {
        let mut spec = json!({"networkRef": {"name": "n"}, "macAddress": format!("02:00:00:00:00:0{mac}")});
        if let Some((subnet, host)) = address {
            spec["addresses"] = json!([{"ip": format!("10.0.{subnet}.{host}")}]);
        }
        if hostname > 0 {
            spec["hostname"] = format!("vm{hostname}").into();
        }
        if let Some(ntp) = ntp {
            let value = format!("192.0.2.{ntp}");
            spec["options"] = json!([{"name": "ntp-server", "values": [value], "family": "IPv4"}]);
        }
        if !dhcp {
            spec["dhcp"] = "Disabled".into();
        }
        spec
    })
}

pub fn world() -> impl Strategy<Value = World> {
    let subnets = (prop::option::weighted(0.9, subnet(0)), prop::option::of(subnet(1)));
    let subnets = subnets.prop_map(|(a, b)| {
        let both = [(0, a), (1, b)].into_iter();
        both.filter_map(|(n, spec)| Some((n, spec?))).collect::<BTreeMap<u8, Value>>()
    });
    let ports = prop::collection::btree_map(0..5u8, port(), 0..5);
    prop::option::weighted(0.9, (network(), subnets, ports))
}

/// The same with another option, name and address for each port: what a running server is told.
pub fn world_beside(world: &World) -> World {
    let (network, subnets, mut ports) = world.clone()?;
    for (n, port) in &mut ports {
        port["options"] = json!([{"name": "ntp-server", "values": ["192.0.2.9"], "family": "IPv4"}]);
        if n % 2 == 0 {
            port["addresses"] = json!([{"ip": format!("10.0.0.{}", 100 + n)}]);
        }
    }
    Some((network, subnets, ports))
}
