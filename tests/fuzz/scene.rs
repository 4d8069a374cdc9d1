//! The objects of one network: those of a bystander, and hostile ones beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube_dhcp::allocate::Ledger;
use kube_dhcp::desired::{Declared, Desired, Inputs, NodeConfig, desired};
use kube_dhcp::source::{Kind, Object};
use kube_dhcp::types::NetworkUid;
use serde_json::{Value, json};
use uuid::Uuid;

pub const STATE: &str = "/state";
pub const UID: &str = "3f0c9a1b-0000-4000-8000-000000000001";

/// An object as it was written, and as the program reads it.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    pub uid: String,
    pub spec: Value,
    pub object: Object,
}

impl Subject {
    /// `None`: no object of its kind can be made of it.
    pub fn new(name: &str, value: &Value) -> Option<Self> {
        let kind = Kind::from_name(value["kind"].as_str()?)?;
        let uid = match kind {
            Kind::Network => UID.to_owned(),
            _ => Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind}/{name}").as_bytes()).to_string(),
        };
        let mut value = value.clone();
        value["metadata"] = json!({"name": name, "namespace": "team-a", "uid": uid, "generation": 1});
        let object = Object::from_value(kind, &value).ok()?;
        Some(Self { name: name.to_owned(), uid, spec: value["spec"].clone(), object })
    }

    fn of(kind: &str, name: &str, spec: &Value) -> Self {
        let value = json!({"apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind, "spec": spec});
        Self::new(name, &value).unwrap()
    }

    /// What stands for it in dnsmasq's files.
    pub fn key(&self, prefix: char) -> String {
        let digits: String = self.uid.chars().filter(|c| *c != '-').take(20).collect();
        format!("{prefix}{digits}")
    }
}

/// A network with its objects, each kind in the order of names.
#[derive(Clone, Debug)]
pub struct Scene {
    pub network: Subject,
    pub subnets: BTreeMap<String, Subject>,
    pub ports: BTreeMap<String, Subject>,
}

impl Scene {
    /// A network whose tenant does nothing wrong.
    pub fn bystander() -> Self {
        let lan = json!({"name": "lan"});
        let network = json!({"physicalNetworkRef": lan, "dns": {"domain": "vm.example.org"}});
        let mut scene = Self {
            network: Subject::of("Network", "lan", &network),
            subnets: BTreeMap::new(),
            ports: BTreeMap::new(),
        };
        scene.add(Subject::of("Subnet", "by-v4", &json!({"networkRef": lan, "cidr": "10.0.0.0/24"})));
        let six =
            json!({"networkRef": lan, "cidr": "2001:db8:b::/64", "ipv6": {"addressMode": "DHCPv6Stateful"}});
        scene.add(Subject::of("Subnet", "by-v6", &six));
        let ntp = json!([
            {"name": "ntp-server", "values": ["192.0.2.1"], "family": "IPv4"},
            {"name": "ntp-server", "values": ["2001:db8:f::1"]},
        ]);
        for (name, spec) in [
            (
                "a-by",
                json!({"macAddress": "02:00:00:00:00:0a", "addresses": [{"ip": "10.0.0.10"}, {"ip": "2001:db8:b::10"}, {"ip": "2001:db8:b::11"}], "hostname": "by-a", "options": ntp}),
            ),
            ("m-by", json!({"macAddress": "02:00:00:00:00:0b"})),
            (
                "z-by",
                json!({"macAddress": "02:00:00:00:00:0c", "addresses": [{"ip": "10.0.0.12"}], "dnsNames": ["db.vm.example.org"]}),
            ),
        ] {
            let mut spec = spec;
            spec["networkRef"] = lan.clone();
            scene.add(Subject::of("Port", name, &spec));
        }
        scene
    }

    pub fn add(&mut self, subject: Subject) {
        match &subject.object {
            Object::Network(_) => self.network = subject,
            Object::Subnet(_) => drop(self.subnets.insert(subject.name.clone(), subject)),
            Object::Port(_) => drop(self.ports.insert(subject.name.clone(), subject)),
            Object::PhysicalNetwork(_) | Object::Server(_) => {}
        }
    }

    pub fn inputs(&self) -> Inputs {
        let Object::Network(network) = &self.network.object else { panic!("no Network") };
        let subnets = self.subnets.values().filter_map(|s| match &s.object {
            Object::Subnet(subnet) => Some(Arc::clone(subnet)),
            _ => None,
        });
        let ports = self.ports.values().filter_map(|p| match &p.object {
            Object::Port(port) => Some(Arc::new(Declared::from(port.clone()))),
            _ => None,
        });
        Inputs {
            network: network.clone(),
            physical_network: None,
            segment_holder: None,
            subnets: subnets.collect(),
            ports: ports.collect(),
            server: None,
        }
    }

    pub fn desired(&self, state: &str, ledger: &mut Ledger) -> Desired {
        desired(&node(state), uid(), &self.inputs(), ledger)
    }
}

pub fn uid() -> NetworkUid {
    UID.parse().unwrap()
}

fn node(state: &str) -> NodeConfig {
    let attachments = [("lan", "bridge:br0"), ("trunk", "bridge:br-{vlan}")];
    NodeConfig {
        name: "n1".into(),
        attachments: attachments.map(|(name, text)| (name.to_owned(), text.parse().unwrap())).into(),
        create_bridges: true,
        agent_forwarders: vec!["192.0.2.53".parse().unwrap()],
        node_forwarders: vec!["192.0.2.54".parse().unwrap()],
        txt_records: vec!["all.example.org,of the agent".parse().unwrap()],
        state: state.into(),
        several_servers: true,
        metadata: false,
        limits: kube_dhcp::dnsmasq::Limits::default(),
    }
}
