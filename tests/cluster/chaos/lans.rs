//! The networks: what a user applies for them.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::lab::Mac;
use crate::observer::Key;
use crate::site::lan_name;

/// A network on the bridge of its number.
#[derive(Debug, Clone, Copy)]
pub struct Lan {
    pub number: usize,
    pub namespace: &'static str,
    pub network: &'static str,
    pub servers: u8,
}

/// The first [`STEADY`] are left alone as objects; their guests are those of [`crate::traffic`].
pub const LANS: [Lan; 6] = [
    Lan { number: 0, namespace: "default", network: "net0", servers: 2 },
    Lan { number: 1, namespace: "default", network: "net1", servers: 3 },
    Lan { number: 2, namespace: "default", network: "net2", servers: 1 },
    Lan { number: 3, namespace: "red", network: "r3", servers: 2 },
    Lan { number: 4, namespace: "blue", network: "b4", servers: 1 },
    Lan { number: 5, namespace: "red", network: "r5", servers: 3 },
];
pub const STEADY: usize = 3;

/// Places for Ports in each of the others.
pub const PORTS: usize = 8;

/// What a Port asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wish {
    /// Its second MAC address.
    pub other_mac: bool,
    /// This address; none: any.
    pub ip: Option<String>,
}

impl Lan {
    pub fn key(&self) -> Key {
        (self.namespace.to_owned(), self.network.to_owned())
    }

    pub fn bridge(&self) -> String {
        format!("br{}", self.number)
    }

    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, u8::try_from(self.number).unwrap(), 0, last)
    }

    pub fn mac(&self, port: usize, other: bool) -> Mac {
        let [lan, port] = [self.number, port].map(|n| u8::try_from(n).unwrap());
        Mac([2, 0, 0, 1 + u8::from(other), lan, port])
    }

    /// All MAC addresses that its Ports may have.
    pub fn macs(&self) -> Vec<Mac> {
        (0..PORTS).flat_map(|port| [false, true].map(|other| self.mac(port, other))).collect()
    }

    pub fn port_name(&self, port: usize) -> String {
        format!("{}-p{port}", self.network)
    }

    pub fn subnet_name(&self) -> String {
        format!("{}-v4", self.network)
    }

    pub fn physical(&self) -> Value {
        json!({
            "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "PhysicalNetwork",
            "metadata": {"name": lan_name(self.number)},
            "spec": {"namespaces": {"from": "All"}, "untagged": "Allowed"},
        })
    }

    pub fn network(&self) -> Value {
        self.object(
            "Network",
            self.network,
            &json!({
                "physicalNetworkRef": {"name": lan_name(self.number)},
                "dhcp": {"servers": self.servers},
            }),
        )
    }

    pub fn subnet(&self) -> Value {
        self.object(
            "Subnet",
            &self.subnet_name(),
            &json!({
                "networkRef": {"name": self.network}, "cidr": format!("{}/24", self.address(0)),
                "pools": [{"first": self.address(10), "last": self.address(250)}],
            }),
        )
    }

    pub fn port(&self, port: usize, wish: &Wish) -> Value {
        let mac = self.mac(port, wish.other_mac).to_string();
        let mut spec = json!({"networkRef": {"name": self.network}, "macAddress": mac});
        if let Some(ip) = &wish.ip {
            spec["addresses"] = json!([{"ip": ip}]);
        }
        self.object("Port", &self.port_name(port), &spec)
    }

    fn object(&self, kind: &str, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        })
    }
}

/// Those that are not left alone.
pub fn restless() -> impl Iterator<Item = &'static Lan> {
    LANS[STEADY..].iter()
}
