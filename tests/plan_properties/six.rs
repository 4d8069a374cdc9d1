//! The IPv6 half of a network without an IPv6 Subnet: what no objects make, and a plan deals with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kube_dhcp::node::{Family, Segment};
use kube_dhcp::types::MacAddr;
use proptest::prelude::*;

/// Few of each, so that they meet.
#[derive(Debug, Clone)]
pub struct Six {
    addresses: BTreeSet<u8>,
    gateway: Option<IpAddr>,
    neighbours: BTreeMap<u8, u8>,
    known: Option<BTreeSet<u8>>,
}

pub fn six() -> impl Strategy<Value = Six> {
    let gateways = ["fe80::1", "2001:db8::1", "2001:db8:9::1"].map(|ip| ip.parse().unwrap());
    let gateway = prop::option::of(prop::sample::select(gateways.to_vec()));
    let few = || prop::collection::btree_set(0..4u8, 0..4);
    let neighbours = prop::collection::btree_map(0..4u8, 0..3u8, 0..4);
    (few(), gateway, neighbours, prop::option::of(few()))
        .prop_map(|(addresses, gateway, neighbours, known)| Six { addresses, gateway, neighbours, known })
}

fn mac(n: u8) -> MacAddr {
    MacAddr::local([0, 0, 0, 0, n])
}

impl Six {
    pub fn add_to(&self, mut segment: Segment) -> Segment {
        if segment.namespace.as_ref().is_some_and(|namespace| namespace.known.is_some()) {
            return segment;
        }
        if let Some(device) = &mut segment.device {
            let nets =
                self.addresses.iter().map(|n| format!("2001:db8::{n}/64").parse::<ipnet::IpNet>().unwrap());
            device.addresses.extend(nets);
            device.gateways.extend(self.gateway.map(|ip| (Family::V6, ip)));
            let neighbours = self.neighbours.iter();
            device.neighbours =
                neighbours.map(|(n, m)| (format!("fe80::{n}").parse().unwrap(), mac(*m))).collect();
        }
        if let Some(namespace) = &mut segment.namespace {
            namespace.known = self.known.as_ref().map(|known| known.iter().copied().map(mac).collect());
        }
        segment
    }
}
