//! `kube-dhcp status --port`: what the guest of one Port is told.
//!
//! From the objects that the agent of this machine serves from, which it keeps in its state directory.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::ended::Presence;
use super::table::Table;
use crate::agent::{read_ledger, segments_path};
use crate::cli::Output;
use crate::desired::{Advertised, Effective, EffectiveFamily, EffectiveOption, NodeConfig, effective};
use crate::dhcp_options::readable;
use crate::durable;
use crate::report::{self, NodeReport};
use crate::service::Code;
use crate::source::{Event, Object, Origin, cluster, directory};
use crate::store::Store;
use crate::types::{Identity, MacAddr, NetworkUid, ObjectName};

/// For `-o json` and `-o yaml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PortStatus {
    #[serde(flatten)]
    agent: Presence,
    port: String,
    network: String,
    /// Its device, if DHCP answers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_address: Option<MacAddr>,
    addresses: Vec<Address>,
    dhcp: Vec<Answers>,
    /// What router advertisements of the network's servers say; the codes are theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    router_advertisement: Vec<DhcpOption>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    ip: String,
    subnet: String,
    /// The one of the reverse look-up first.
    names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answers {
    protocol: String,
    /// By what the guest is known.
    known_by: Identity,
    server: String,
    /// The first one is offered; the others are had for the asking. None: the guest makes itself its own.
    addresses: Vec<String>,
    options: Vec<DhcpOption>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DhcpOption {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    /// Unset: it is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// For which requests; unset: for those for which no other is.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    from: String,
}

/// Prints it.
pub(super) fn port(state: &Path, name: &ObjectName, output: Output) -> Result<()> {
    let status = look(state, name)?;
    super::print(&super::text(output, &status, table)?)
}

fn look(state: &Path, name: &ObjectName) -> Result<PortStatus> {
    let node: NodeReport = durable::read(&report::node_path(state))?.with_context(|| {
        format!("no agent has reported in {}, or --state-dir is not the agent's", state.display())
    })?;
    let (mut store, objects) = known(state, &node)?;
    let network = network_of(&objects, name)
        .with_context(|| format!("the agent of this machine knows no Port {name}"))?;
    store.apply(objects.into_iter().map(Event::Apply).collect());
    let Some(inputs) = store.inputs(&network) else {
        bail!("Network {network} of Port {name} does not exist")
    };
    if store.is_of_cluster() && inputs.server.is_none() {
        bail!("Network {network} of Port {name} is not served on this machine");
    }
    let uid: NetworkUid = inputs.network.metadata.uid.as_deref().unwrap_or_default().parse()?;
    let ledger = read_ledger(state, uid)?.unwrap_or_default();
    let node = NodeConfig { metadata: node.metadata, ..NodeConfig::default() };
    let effective = effective(&node, &inputs, &name.name, ledger)
        .map_err(|problem| anyhow::anyhow!("Port {name} is not served: {problem}"))?;
    Ok(said(name, &network, &effective, Presence::of(state)))
}

/// The objects that the agent serves from, and an empty place for them.
fn known(state: &Path, node: &NodeReport) -> Result<(Store, Vec<Object>)> {
    Ok(match node.source {
        Origin::Directory => {
            let segments: Vec<_> = durable::read(&segments_path(state))?.unwrap_or_default();
            (Store::with_segments(segments.into_iter().collect()), directory::kept(state)?)
        }
        Origin::Cluster | Origin::LastGoodCopy => {
            let objects =
                cluster::kept(state, &node.node).context("the agent's copy of the cluster's objects")?;
            (Store::of_cluster(), objects)
        }
    })
}

fn network_of(objects: &[Object], name: &ObjectName) -> Option<ObjectName> {
    objects.iter().find_map(|object| match object {
        Object::Port(port)
            if port.metadata.name.as_deref() == Some(&name.name)
                && port.metadata.namespace.as_deref() == Some(&name.namespace) =>
        {
            Some(ObjectName::new(&name.namespace, &port.spec.network_ref.name))
        }
        _ => None,
    })
}

fn said(name: &ObjectName, network: &ObjectName, effective: &Effective, agent: Presence) -> PortStatus {
    let addresses = effective.addresses.iter().map(|(ip, subnet, names)| Address {
        ip: ip.to_string(),
        subnet: subnet.clone(),
        names: names.iter().map(ToString::to_string).collect(),
    });
    PortStatus {
        agent,
        port: name.to_string(),
        network: network.name.clone(),
        mac_address: effective.mac,
        addresses: addresses.collect(),
        dhcp: effective.families.iter().map(answers).collect(),
        router_advertisement: effective.advertised.iter().map(advertised).collect(),
    }
}

fn answers(family: &EffectiveFamily) -> Answers {
    Answers {
        protocol: family.family.to_string(),
        known_by: family.known_by.clone(),
        server: family.server.to_string(),
        addresses: family.offered.iter().map(ToString::to_string).collect(),
        options: family.options.iter().map(option).collect(),
    }
}

fn option(option: &EffectiveOption) -> DhcpOption {
    let (name, value) = readable(option.code, &option.value);
    let parts = |kinds: crate::service::Kinds| {
        let parts: Vec<_> = kinds.parts().iter().map(ToString::to_string).collect();
        parts.join(", ")
    };
    DhcpOption {
        code: match option.code {
            Code::V4(code) => code.into(),
            Code::V6(code) => code,
        },
        name,
        value: Some(value).filter(|_| !option.value.is_empty()),
        when: option.kinds.map(parts),
        from: option.from.clone(),
    }
}

/// By the numbers of RFC 4861 §4.6 and RFC 8106 §5.
fn advertised((part, from): &(Advertised, String)) -> DhcpOption {
    let (code, name, value) = match part {
        Advertised::Prefix(net, true) => (3, Some("prefix"), format!("{net}, for addresses of guests' own")),
        Advertised::Prefix(net, false) => (3, Some("prefix"), net.to_string()),
        Advertised::Mtu(mtu) => (5, Some("mtu"), mtu.to_string()),
        Advertised::List(option, list) => {
            let (name, value) = readable(*option, list);
            (if *option == Code::V6(23) { 25 } else { 31 }, name, value)
        }
    };
    DhcpOption { code, name, value: Some(value), when: None, from: from.clone() }
}

fn table(status: &PortStatus) -> String {
    let mac = status.mac_address.map(Identity::Mac);
    let all: BTreeSet<_> = mac.iter().chain(status.dhcp.iter().map(|family| &family.known_by)).collect();
    let known_by: Vec<_> = all.into_iter().map(ToString::to_string).collect();
    let mut addresses = Table::new(&["PORT", "NETWORK", "KNOWN BY", "ADDRESS", "SUBNET", "NAMES"]);
    for address in &status.addresses {
        addresses.row(vec![
            status.port.clone(),
            status.network.clone(),
            known_by.join(", "),
            address.ip.clone(),
            address.subnet.clone(),
            address.names.join(","),
        ]);
    }
    let mut options = Table::new(&["PROTOCOL", "SERVER", "CODE", "OPTION", "VALUE", "FOR", "FROM"]);
    let mut row = |protocol: &str, server: &str, option: &DhcpOption| {
        options.row(vec![
            protocol.to_owned(),
            server.to_owned(),
            option.code.to_string(),
            option.name.unwrap_or_default().to_owned(),
            option.value.clone().unwrap_or_else(|| "(not sent)".to_owned()),
            option.when.clone().unwrap_or_default(),
            option.from.clone(),
        ]);
    };
    for family in &status.dhcp {
        family.options.iter().for_each(|option| row(&family.protocol, &family.server, option));
    }
    status.router_advertisement.iter().for_each(|option| row("RA", "each", option));
    let gap = if status.dhcp.is_empty() { "DHCP does not answer for this Port.\n" } else { "\n" };
    status.agent.note() + &addresses.text() + gap + &options.text()
}
