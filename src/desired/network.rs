//! Whether a network may be on its segment, and what holds for all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use super::{Inputs, NodeConfig};
use crate::api::{ForwardingType, NamespacesFrom, Network, Permission, PhysicalNetwork};
use crate::dhcp_options::options;
use crate::node::Attached;
use crate::reason::{Problem, Reason};
use crate::selector::{labels_of_namespace, selects};
use crate::service::OptionList;
use crate::txt;
use crate::types::{DomainName, TxtRecord};
use crate::validate::{self, parsed};

/// A physical network and a VLAN of it, or none.
pub type SegmentId = (String, Option<u16>);

/// Which segment a network is on.
pub fn segment_id(network: &Network) -> SegmentId {
    let spec = &network.spec;
    (spec.physical_network_ref.name.clone(), spec.segmentation.vlan.map(|vlan| vlan.id))
}

/// A network that may be served.
pub(super) struct Admitted {
    /// To what on this node.
    pub(super) attached: Option<Attached>,
    pub(super) mtu: Option<u16>,
    pub(super) domain: Option<DomainName>,
    pub(super) txt: BTreeSet<TxtRecord>,
    pub(super) forwarders: Vec<IpAddr>,
    pub(super) options: OptionList,
}

pub(super) fn admit(node: &NodeConfig, inputs: &Inputs) -> Result<Admitted, Problem> {
    let network = &inputs.network;
    faultless(network)?;
    let attached = attached(node, network)?;
    admitted(node, inputs, Some(attached))
}

/// The same wherever it is attached.
pub(super) fn admit_anywhere(inputs: &Inputs) -> Result<Admitted, Problem> {
    faultless(&inputs.network)?;
    admitted(&NodeConfig::default(), inputs, None)
}

fn admitted(node: &NodeConfig, inputs: &Inputs, attached: Option<Attached>) -> Result<Admitted, Problem> {
    let network = &inputs.network;
    let policy = if let Some(server) = &inputs.server {
        // A controller has judged it.
        Policy { mtu: server.spec.mtu, domain: domain(network)? }
    } else {
        // Without a cluster the flag stands in for the object, and namespaces are but names.
        let namespace = network.metadata.namespace.as_deref().unwrap_or_default();
        judge(inputs, &labels_of_namespace(namespace))?
    };
    Ok(Admitted {
        attached,
        mtu: policy.mtu,
        domain: policy.domain,
        txt: txt::records(&network.spec.dns).0.into_iter().chain(node.txt_records.iter().cloned()).collect(),
        forwarders: forwarders(node, network)?,
        options: options(&network.spec.options, "spec.options", None).0,
    })
}

/// What holds for a network that may be served, wherever.
pub(super) struct Policy {
    pub(super) mtu: Option<u16>,
    pub(super) domain: Option<DomainName>,
}

/// In a cluster a network needs its PhysicalNetwork: there is no flag to stand in for it.
pub(super) fn policy(
    inputs: &Inputs,
    namespace_labels: &BTreeMap<String, String>,
) -> Result<Policy, Problem> {
    if inputs.physical_network.is_none() {
        let name = &inputs.network.spec.physical_network_ref.name;
        let message = format!("PhysicalNetwork {name} does not exist; a cluster administrator creates it");
        return Err(Problem::new(Reason::PhysicalNetworkNotFound, message));
    }
    faultless(&inputs.network)?;
    judge(inputs, namespace_labels)
}

fn faultless(network: &Network) -> Result<(), Problem> {
    validate::network(network).into_iter().next().map_or(Ok(()), Err)
}

fn judge(inputs: &Inputs, namespace_labels: &BTreeMap<String, String>) -> Result<Policy, Problem> {
    let network = &inputs.network;
    if let Some(physical) = &inputs.physical_network {
        granted(network, physical, namespace_labels)?;
    }
    if let Some(holder) = &inputs.segment_holder {
        let message = format!("{} is held by Network {holder}", segment_name(network));
        return Err(Problem::new(Reason::SegmentInUse, message));
    }
    Ok(Policy { mtu: mtu(network, inputs.physical_network.as_deref())?, domain: domain(network)? })
}

fn domain(network: &Network) -> Result<Option<DomainName>, Problem> {
    network.spec.dns.domain.as_deref().map(|text| parsed("spec.dns.domain", text)).transpose()
}

/// The values that the list `field` says.
pub(super) fn all_parsed<T: FromStr<Err: Display>>(field: &str, texts: &[String]) -> Result<Vec<T>, Problem> {
    texts.iter().enumerate().map(|(i, text)| parsed(format_args!("{field}[{i}]"), text)).collect()
}

fn segment_name(network: &Network) -> String {
    match segment_id(network) {
        (physical, Some(vlan)) => format!("VLAN {vlan} of physical network {physical}"),
        (physical, None) => format!("physical network {physical}, untagged,"),
    }
}

fn attached(node: &NodeConfig, network: &Network) -> Result<Attached, Problem> {
    let (physical, vlan) = segment_id(network);
    let Some(attachment) = node.attachments.get(&physical) else {
        let message = format!(
            "physical network {physical} is not mapped on this node; start the agent with --physical-network {physical}=bridge:NAME"
        );
        return Err(Problem::new(Reason::PhysicalNetworkNotFound, message));
    };
    attachment.carry(&physical, vlan)
}

/// Whether the physical network may be used from the network's namespace, which has `namespace_labels`,
/// and this VLAN of it.
pub fn granted(
    network: &Network,
    physical: &PhysicalNetwork,
    namespace_labels: &BTreeMap<String, String>,
) -> Result<(), Problem> {
    let namespace = network.metadata.namespace.as_deref().unwrap_or_default();
    let name = &network.spec.physical_network_ref.name;
    let namespaces = &physical.spec.namespaces;
    let open = match namespaces.from {
        NamespacesFrom::None => false,
        NamespacesFrom::All => true,
        NamespacesFrom::Selector => {
            namespaces.selector.as_ref().is_some_and(|s| selects(s, namespace_labels))
        }
    };
    if !open {
        let message = format!("PhysicalNetwork {name} does not allow namespace {namespace}");
        return Err(Problem::new(Reason::NotGranted, message));
    }
    let allowed = match network.spec.segmentation.vlan {
        None => physical.spec.untagged == Permission::Allowed,
        Some(vlan) => physical.spec.vlan_ranges.iter().any(|r| (r.first..=r.last).contains(&vlan.id)),
    };
    if allowed {
        return Ok(());
    }
    let what =
        network.spec.segmentation.vlan.map_or("untagged Networks".to_owned(), |v| format!("VLAN {}", v.id));
    Err(Problem::new(Reason::NotGranted, format!("PhysicalNetwork {name} does not allow {what}")))
}

/// The Network's, else the physical network's; never more than that.
fn mtu(network: &Network, physical: Option<&PhysicalNetwork>) -> Result<Option<u16>, Problem> {
    match (network.spec.mtu, physical.and_then(|physical| physical.spec.mtu)) {
        (Some(mtu), Some(most)) if mtu > most => {
            let name = &network.spec.physical_network_ref.name;
            let message = format!("mtu {mtu} is more than PhysicalNetwork {name} carries: {most}");
            Err(Problem::new(Reason::MTUTooLarge, message))
        }
        (own, physical) => Ok(own.or(physical)),
    }
}

fn forwarders(node: &NodeConfig, network: &Network) -> Result<Vec<IpAddr>, Problem> {
    let forwarding = &network.spec.dns.forwarding;
    match forwarding.r#type {
        ForwardingType::Agent => Ok(node.agent_forwarders.clone()),
        ForwardingType::Node => Ok(node.node_forwarders.clone()),
        ForwardingType::None => Ok(Vec::new()),
        ForwardingType::Addresses => {
            all_parsed("spec.dns.forwarding.addresses", forwarding.addresses.as_deref().unwrap_or_default())
        }
    }
}
