//! What the agent says of itself: its DHCPAgent's status.
//!
//! One task beside the loop, woken when something may be different; it writes only what is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::Patch;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::context::Context;
use super::publish::written;
use super::voice::reason_of;
use crate::api::{
    AgentCapacity, AgentPhysicalNetwork, AgentServers, AgentSource, DHCPAgent, DHCPAgentStatus, LinkState,
    ServerState, VlanSupport,
};
use crate::cluster::client::Connection;
use crate::cluster::older::fitting_status;
use crate::cluster::write::{self, AGENT, Writer, apply_cluster_status, limited, params};
use crate::conditions::{Says, count};
use crate::desired::Attachment;
use crate::host::{self, Host, NodeLink, dnsmasq_version, has_ipv6};
use crate::place::Feature;
use crate::reason::Reason;
use crate::source::Origin;

/// Writes are at least this far apart: many networks start together.
const EVERY: Duration = Duration::from_secs(1);
/// An object that somebody deleted or changed is noticed after this time.
const LOOK: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(5);
/// As much of a message as the API takes.
const MESSAGE: usize = 256;
const OURS: &str = "PhysicalNetworksReady";

/// Says it for ever.
pub(super) async fn shine<H: Host>(context: Arc<Context<H>>, connection: Connection) {
    let Connection { client, pulse } = connection;
    let mut revivals = pulse.revivals();
    let version = tokio::task::spawn_blocking(dnsmasq_version).await.unwrap_or_default();
    let links = context.host.links_changed();
    let mut beacon = Beacon { context: context.clone(), client, version, has: None, failed: false };
    loop {
        let next = Instant::now() + if beacon.say().await { LOOK } else { RETRY };
        // Each arm only waits.
        tokio::select! {
            () = context.beacon.notified() => {}
            () = links.notified() => {}
            () = sleep_until(next) => beacon.has = None,
            // It may be older than it was: its storage was put back. The sender is ours.
            _ = revivals.changed() => beacon.has = None,
        }
        sleep(EVERY).await;
    }
}

struct Beacon<H> {
    context: Arc<Context<H>>,
    client: Client,
    version: Option<String>,
    /// As the API server has it.
    has: Option<DHCPAgentStatus>,
    failed: bool,
}

impl<H: Host> Beacon<H> {
    /// Whether the API server has what is true.
    async fn say(&mut self) -> bool {
        match self.try_to_say().await {
            Ok(()) => {
                if std::mem::take(&mut self.failed) {
                    info!("the agent's own state is reported again");
                }
                true
            }
            Err(e) => {
                if !std::mem::replace(&mut self.failed, true) {
                    let error = &e as &(dyn std::error::Error + 'static);
                    warn!(error, "cannot report the agent's own state; trying again");
                }
                self.has = None;
                false
            }
        }
    }

    async fn try_to_say(&mut self) -> Result<(), write::Error> {
        let name = self.context.config.node_name.clone();
        let has = match self.has.take() {
            Some(has) => has,
            None => self.find(&name).await?,
        };
        let shall = self.status(&has).await;
        // What the API server would not take is no news.
        self.has = if fitting_status("DHCPAgent", ours(&shall)) == ours(&has) {
            Some(has)
        } else {
            let status = ours(&shall);
            let written: DHCPAgent =
                apply_cluster_status(&self.client, Writer::Agent, &name, None, &status).await?;
            written.status
        };
        Ok(())
    }

    /// The status of our object, which is made if it is not there.
    async fn find(&self, name: &str) -> Result<DHCPAgentStatus, write::Error> {
        let agents: Api<DHCPAgent> = Api::all(self.client.clone());
        if let Some(agent) = limited(agents.get_opt(name)).await? {
            return Ok(agent.status.unwrap_or_default());
        }
        let object = json!({
            "apiVersion": crate::api::API_VERSION, "kind": "DHCPAgent",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kube-dhcp"}},
            // The administrator's: nothing of it is ours.
            "spec": {},
        });
        let made = limited(agents.patch(name, &params(AGENT), &Patch::Apply(&object))).await?;
        Ok(made.status.unwrap_or_default())
    }

    async fn status(&self, has: &DHCPAgentStatus) -> DHCPAgentStatus {
        let mut physical = Vec::new();
        for (name, attachment) in &self.context.config.node.attachments {
            physical.push(self.physical_network(name, attachment).await);
        }
        let assigned = {
            let store = self.context.store();
            store.servers().filter(|server| server.spec.state == ServerState::Active).count()
        };
        let serving = self.context.outbox.serving();
        DHCPAgentStatus {
            observed_generation: has.observed_generation,
            version: Some(crate::about::VERSION.to_owned()),
            dnsmasq_version: self.version.clone(),
            features: features(self.context.can_serve_with_others(), self.context.config.node.metadata),
            conditions: vec![condition(&physical, &has.conditions)],
            physical_networks: physical.into_iter().map(|network| network.status).collect(),
            servers: Some(AgentServers { assigned: count(assigned), serving: count(serving) }),
            source: Some(match self.context.origin() {
                Origin::LastGoodCopy => AgentSource::LastGoodCopy,
                _ => AgentSource::Cluster,
            }),
            capacity: Some(AgentCapacity { networks: self.context.config.max_networks }),
        }
    }

    async fn physical_network(&self, name: &str, attachment: &Attachment) -> Physical {
        let create = self.context.config.node.create_bridges;
        let link = match attachment.common() {
            Some(attached) => Some(self.context.host.link(&attached).await),
            // One for each VLAN is there when a Network needs it.
            None => None,
        };
        let found = link.as_ref().and_then(|link| link.as_ref().ok().copied().flatten());
        let (mtu, filters) = found.map_or((None, false), |link| (link.mtu, link.filters_vlans));
        let is_there = || (LinkState::Up, Reason::Ready, String::new());
        let (state, reason, message) =
            link.map_or_else(is_there, |link| link_state(attachment, link, create));
        let status = AgentPhysicalNetwork {
            name: name.to_owned(),
            attachment: attachment.to_string(),
            vlan: vlan_support(attachment, filters),
            state,
            mtu,
            message,
        };
        Physical { status, reason }
    }
}

fn vlan_support(attachment: &Attachment, filters: bool) -> VlanSupport {
    match (attachment.carries_vlans(filters), attachment.carries_untagged()) {
        (true, true) => VlanSupport::Any,
        (true, false) => VlanSupport::Supported,
        (false, _) => VlanSupport::Unsupported,
    }
}

/// A physical network, and why it is as it is.
struct Physical {
    status: AgentPhysicalNetwork,
    reason: Reason,
}

/// What this version serves on this node.
fn features(several_servers: bool, metadata: bool) -> Vec<String> {
    let ipv6 = has_ipv6().then_some(Feature::IPv6);
    let several = several_servers.then_some(Feature::SeveralServers);
    let advertisements = ipv6.map(|_| Feature::RouterAdvertisements);
    let metadata = metadata.then_some(Feature::Metadata);
    let more = [ipv6, advertisements, metadata, several].into_iter().flatten();
    let always = [Feature::IPv4, Feature::Dynamic, Feature::Identities, Feature::TxtRecords];
    let all = always.into_iter().chain(more);
    all.map(|feature| feature.as_str().to_owned()).collect()
}

fn link_state(
    attachment: &Attachment,
    link: Result<Option<NodeLink>, host::Error>,
    create: bool,
) -> (LinkState, Reason, String) {
    match link {
        Ok(Some(NodeLink { up: true, .. })) => (LinkState::Up, Reason::Ready, String::new()),
        Ok(Some(_)) => (LinkState::Down, Reason::InterfaceUnusable, format!("{attachment} is set down")),
        Ok(None) if create => {
            (LinkState::Up, Reason::Ready, format!("{attachment} is made when it is needed"))
        }
        Ok(None) => (LinkState::Missing, Reason::BridgeNotFound, format!("there is no {attachment}")),
        Err(e) => (LinkState::Missing, reason_of(&e), super::chain(&e).chars().take(MESSAGE).collect()),
    }
}

/// The part of a status that is ours.
fn ours(status: &DHCPAgentStatus) -> Value {
    let mut status = status.clone();
    status.conditions.retain(|condition| condition.type_ == OURS);
    written(&status)
}

fn condition(physical: &[Physical], before: &[Condition]) -> Condition {
    let bad: Vec<_> = physical.iter().filter(|network| network.status.state != LinkState::Up).collect();
    let message = bad.iter().map(|network| format!("{}: {}", network.status.name, network.status.message));
    let message = message.collect::<Vec<_>>().join("; ");
    let (status, reason) = match (physical.len(), bad.first()) {
        (0, _) => ("False", Reason::PhysicalNetworkNotFound),
        (_, None) => ("True", Reason::Ready),
        (_, Some(network)) => ("False", network.reason),
    };
    let message = match physical.len() {
        0 => "no physical network is mapped; start the agent with --physical-network".to_owned(),
        _ => message,
    };
    Says { status, reason, message: &message }.condition(OURS, None, Timestamp::now(), before)
}
