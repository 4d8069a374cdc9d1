//! What a network asks of agents, and which of that those that serve it do not know to do: they are of an
//! older version, or their node has no part in it.
//!
//! Called by `judge` and `statuses`. Pure. An old agent says that it serves all it was given: it does not
//! see the fields that it does not know.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{DhcpMode, IdentityType, Port, RouterAdvertisements, Subnet, SubnetIpv6};
use crate::desired::{Accepted, Inputs};
use crate::node::Family;
use crate::place::{Candidate, Feature};
use crate::reason::{Problem, Reason};

/// By node, of those that have a server.
pub(super) type Lacking = BTreeMap<String, BTreeSet<Feature>>;

/// What the agents of a network with so many servers must know to do.
pub(super) fn needed(inputs: &Inputs, accepted: &Accepted, servers: u8) -> BTreeSet<Feature> {
    let several = (servers > 1).then_some(Feature::SeveralServers);
    let advertised = accepted.advertised.then_some(Feature::RouterAdvertisements);
    let dynamic = accepted.dynamic.then_some(Feature::Dynamic);
    let records = (!inputs.network.spec.dns.txt_records.is_empty()).then_some(Feature::TxtRecords);
    let is_served = |port: &Port| {
        let view = port.metadata.name.as_ref().and_then(|name| accepted.ports.get(name));
        view.is_some_and(|view| view.problem.is_none())
    };
    let identities = inputs.ports.iter().find_map(|port| of_port(port).filter(|_| is_served(port)));
    let families = accepted.families.iter().map(|family| of_family(*family));
    families.chain([several, advertised, dynamic, records, identities].into_iter().flatten()).collect()
}

/// What they do not.
pub(super) fn lacking(needed: &BTreeSet<Feature>, holders: &[Candidate]) -> Lacking {
    let lacks = |holder: &Candidate| {
        // Who may not serve beside others is withdrawn.
        let mut lacks: BTreeSet<_> = needed.difference(&holder.features).copied().collect();
        lacks.remove(&Feature::SeveralServers);
        (!lacks.is_empty()).then(|| (holder.node.clone(), lacks))
    };
    holders.iter().filter_map(lacks).collect()
}

/// Whether the agent of a node does not know to do this.
pub(super) fn lacks(lacking: &Lacking, node: &str, feature: Feature) -> bool {
    lacking.get(node).is_some_and(|lacks| lacks.contains(&feature))
}

/// What a Port's guest needs beyond all others.
pub(super) fn of_port(port: &Port) -> Option<Feature> {
    (port.spec.identity.r#type != IdentityType::MacAddress).then_some(Feature::Identities)
}

/// What a Subnet needs.
pub(super) fn of_subnet(subnet: &Subnet) -> BTreeSet<Feature> {
    let spec = &subnet.spec;
    let dynamic = (spec.dhcp.mode == DhcpMode::Dynamic).then_some(Feature::Dynamic);
    let by_us = |ipv6: &SubnetIpv6| ipv6.router_advertisements == RouterAdvertisements::Server;
    let advertised = spec.ipv6.as_ref().is_some_and(by_us).then_some(Feature::RouterAdvertisements);
    [dynamic, advertised].into_iter().flatten().collect()
}

fn of_family(family: Family) -> Feature {
    match family {
        Family::V4 => Feature::IPv4,
        Family::V6 => Feature::IPv6,
    }
}

/// That the server of a node does not do one of these.
pub(super) fn problem(lacking: &Lacking, node: &str, of: &BTreeSet<Feature>) -> Option<Problem> {
    said(node, lacking.get(node)?.intersection(of))
}

/// That there is something that it does not.
pub(super) fn anything(lacking: &Lacking, node: &str) -> Option<Problem> {
    said(node, lacking.get(node)?.iter())
}

fn said<'a>(node: &str, lacks: impl Iterator<Item = &'a Feature>) -> Option<Problem> {
    let lacks = lacks.map(|feature| feature.as_str()).collect::<Vec<_>>().join(" and ");
    let message = || format!("node {node}: its agent lacks {lacks}");
    (!lacks.is_empty()).then(|| Problem::new(Reason::AgentLacksFeature, message()))
}
