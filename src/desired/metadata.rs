//! Who of a network is offered the metadata service, and who its guests are.
//!
//! Called by `desired`. Isolated is a subnet that has no gateway.

use std::net::IpAddr;

use super::port::Guest;
use super::subnet::Served;
use super::{Inputs, NodeConfig};
use crate::api::MetadataServiceType;
use crate::metadata::{self, Directory, Service};
use crate::node::Family;
use crate::reason::{Problem, Reason};

/// What of the service a network has on this node.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// What the kernel is told; `None`: it is not offered.
    pub(super) service: Option<Service>,
    /// Who asks.
    pub(super) directory: Option<Directory>,
    /// Why it is not offered although it was asked for.
    pub(super) problem: Option<Problem>,
}

/// Whether guests of this subnet are to be offered it.
fn is_wanted(kind: MetadataServiceType, subnet: &Served) -> bool {
    let isolated = subnet.gateway.is_none();
    let asked = match kind {
        MetadataServiceType::None => false,
        MetadataServiceType::IsolatedSubnets => isolated,
        MetadataServiceType::Always => true,
    };
    asked && subnet.server.is_some()
}

/// Marks the subnets whose guests are offered it, and says who they are.
pub(super) fn offer(node: &NodeConfig, inputs: &Inputs, subnets: &mut [Served], guests: &[Guest]) -> Offer {
    let kind = inputs.network.spec.metadata_service.r#type;
    if !subnets.iter().any(|subnet| is_wanted(kind, subnet)) {
        return Offer::default();
    }
    if let Some(problem) = obstacle(node, subnets) {
        return Offer { problem: Some(problem), ..Offer::default() };
    }
    let mut service = Service::default();
    for subnet in subnets.iter_mut() {
        subnet.metadata = is_wanted(kind, subnet);
        service.families.extend(subnet.metadata.then(|| subnet.family()));
    }
    let mut directory = directory(inputs);
    for guest in guests {
        add(&mut service, &mut directory, guest);
    }
    Offer { service: Some(service), directory: Some(directory), problem: None }
}

fn obstacle(node: &NodeConfig, subnets: &[Served]) -> Option<Problem> {
    let problem = |message: String| Some(Problem::new(Reason::MetadataNotServed, message));
    if !node.metadata {
        let message = "spec.metadataService: this node's agent knows no metadata server; its operator starts it with --metadata-upstream";
        return problem(message.to_owned());
    }
    let has_it = |subnet: &&Served| subnet.pool.cidr.contains(&IpAddr::V4(metadata::V4));
    let subnet = subnets.iter().find(has_it)?;
    problem(format!(
        "spec.metadataService: {} is an address of Subnet {}, {}; use another CIDR",
        metadata::V4,
        subnet.pool.subnet_name,
        subnet.pool.cidr
    ))
}

fn directory(inputs: &Inputs) -> Directory {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let network = &inputs.network.metadata;
    Directory {
        namespace: of(&network.namespace),
        network: of(&network.name),
        network_uid: of(&network.uid),
        ..Directory::default()
    }
}

/// A Port is known by its MAC address at all of its addresses, and at the link-local one that it has by
/// default. One without has no device that could ask.
fn add(service: &mut Service, directory: &mut Directory, guest: &Guest) {
    let Some((mac, who)) = guest.identity() else { return };
    let own = guest.addresses().iter().map(|(ip, _)| *ip);
    let addresses = own.chain([IpAddr::V6(mac.link_local())]);
    for ip in addresses.filter(|ip| service.families.contains(&Family::of(*ip))).collect::<Vec<_>>() {
        service.guests.insert(ip, mac);
        directory.guests.insert(ip, who.clone());
    }
}
