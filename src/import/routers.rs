//! Who of a network's ports leads guests to the metadata service. Pure.
//!
//! Neutron tells guests a route there; as host routes of our Subnets they still get it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::fields::Fields;
use crate::api::HostRoute;

/// Where the metadata service is.
const METADATA: &str = "169.254.169.254/32";

/// Owners of ports that are a router's.
const ROUTERS: [&str; 3] = [
    "network:router_interface",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
];

/// By the subnets' ids, what leads there.
#[derive(Debug, Default)]
pub(super) struct Routers {
    routers: BTreeSet<(String, IpAddr)>,
    /// OVN's own ports for it.
    metadata: BTreeMap<String, Ipv4Addr>,
}

impl Routers {
    pub(super) fn of(ports: &[Fields]) -> Self {
        let mut all = Self::default();
        for port in ports {
            let owner = port.peek("device_owner");
            let ovn = owner == "network:distributed" && port.peek("device_id").starts_with("ovnmeta-");
            for item in port.clone().list("fixed_ips").unwrap_or_default() {
                let ip = item["ip_address"].as_str().and_then(|text| text.parse::<IpAddr>().ok());
                let (Some(subnet), Some(ip)) = (item["subnet_id"].as_str(), ip) else { continue };
                match ip {
                    IpAddr::V4(ip) if ovn => {
                        all.metadata.insert(subnet.to_owned(), ip);
                    }
                    _ if ROUTERS.contains(&owner) => {
                        all.routers.insert((subnet.to_owned(), ip));
                    }
                    _ => {}
                }
            }
        }
        all
    }

    /// The ids of the networks with a subnet that has a gateway, but no router there.
    pub(super) fn unled(&self, subnets: &[Fields]) -> BTreeSet<String> {
        let unled = |subnet: &&Fields| {
            let gateway = subnet.peek("gateway_ip").parse::<IpAddr>().ok();
            gateway.is_some_and(|ip| !self.routers.contains(&(subnet.peek("id").to_owned(), ip)))
        };
        subnets.iter().filter(unled).map(|subnet| subnet.peek("network_id").to_owned()).collect()
    }

    /// The route that Neutron tells guests of an IPv4 subnet: over OVN's port, else over the gateway if a
    /// router has its address and the DHCP server itself does not serve metadata.
    pub(super) fn route(&self, subnet: &str, gateway: Option<IpAddr>, forced: bool) -> Option<HostRoute> {
        let over = |gateway: &IpAddr| !forced && self.routers.contains(&(subnet.to_owned(), *gateway));
        let hop = self.metadata.get(subnet).map(|ip| IpAddr::V4(*ip)).or(gateway.filter(over))?;
        Some(HostRoute { destination: METADATA.to_owned(), next_hop: hop.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn port(owner: &str, device: &str, ip: &str) -> Fields {
        let port = json!({"device_owner": owner, "device_id": device,
            "fixed_ips": [{"subnet_id": "s1", "ip_address": ip}]});
        Fields::new(port.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn a_router_at_the_gateway_leads_to_the_metadata_service() {
        let routers = Routers::of(&[port("network:router_interface", "r", "10.0.0.1")]);
        let gateway = "10.0.0.1".parse().ok();
        assert_eq!(routers.route("s1", gateway, false).unwrap().next_hop, "10.0.0.1");
        assert_eq!(routers.route("s1", gateway, true), None);
        assert_eq!(routers.route("s1", "10.0.0.2".parse().ok(), false), None);
        assert_eq!(routers.route("s2", gateway, false), None);
        let guest = Routers::of(&[port("compute:nova", "r", "10.0.0.1")]);
        assert_eq!(guest.route("s1", gateway, false), None);
    }

    #[test]
    fn a_port_of_ovn_goes_before_the_router() {
        let routers = Routers::of(&[
            port("network:router_interface", "r", "10.0.0.1"),
            port("network:distributed", "ovnmeta-1", "10.0.0.9"),
        ]);
        assert_eq!(routers.route("s1", "10.0.0.1".parse().ok(), true).unwrap().next_hop, "10.0.0.9");
    }
}
