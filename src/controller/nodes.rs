//! Nodes and their agents, as placement needs them.
//!
//! Part of the controller's world. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use crate::api::{DHCPAgent, DHCPAgentStatus, LinkState, VlanSupport, find};
use crate::place::{Candidate, Feature, Reach};

/// What of a Node matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `spec.unschedulable`.
    pub cordoned: bool,
    /// Tainted `node.kubernetes.io/out-of-service`: somebody vouches that nothing runs on it.
    pub out_of_service: bool,
}

impl NodeFacts {
    /// Of a Node.
    pub(super) fn new(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let taints = spec.taints.unwrap_or_default();
        Self {
            labels: node.labels().clone(),
            cordoned: spec.unschedulable.unwrap_or(false),
            out_of_service: taints.iter().any(|taint| taint.key == OUT_OF_SERVICE),
        }
    }
}

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const ZONE: &str = "topology.kubernetes.io/zone";

/// A node's agent.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// Its object.
    pub object: Arc<DHCPAgent>,
    features: BTreeSet<Feature>,
    reach: BTreeMap<String, Reach>,
    /// How many networks it takes.
    pub capacity: u32,
    /// Since when some physical network is not up.
    down_since: Option<Timestamp>,
}

impl Agent {
    pub(super) fn new(object: Arc<DHCPAgent>) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self {
            features: status.features.iter().filter_map(|feature| feature.parse().ok()).collect(),
            down_since: down_since(&status),
            reach: reach(&status),
            capacity: status.capacity.map_or(u32::MAX, |capacity| capacity.networks),
            object,
        }
    }

    /// Placement would not see a difference.
    pub(super) fn is_as_good_as(&self, other: &Self) -> bool {
        self.features == other.features
            && self.reach == other.reach
            && self.capacity == other.capacity
            && self.object.spec == other.object.spec
    }

    /// Whether it is told of the physical network, be it there or not.
    pub(super) fn is_mapped_to(&self, physical: &str) -> bool {
        self.reach.contains_key(physical)
    }

    /// Whether it knows to do this.
    pub(super) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Whether the physical network is there and up.
    pub(super) fn reaches(&self, physical: &str) -> bool {
        self.reach.get(physical).is_some_and(|reach| reach.down_for.is_none())
    }

    pub(super) fn candidate(
        &self,
        node: Option<&NodeFacts>,
        alive: bool,
        load: usize,
        now: Timestamp,
    ) -> Candidate {
        let down_for = self.down_since.map_or(Duration::ZERO, |since| elapsed(since, now));
        let labels = node.map(|node| node.labels.clone()).unwrap_or_default();
        Candidate {
            node: self.object.name_any(),
            zone: labels.get(ZONE).cloned(),
            accepts: node.is_some_and(|node| !node.cordoned) && !self.object.spec.unschedulable,
            draining: self.object.spec.drain,
            labels,
            alive,
            physical: (self.reach.iter())
                .map(|(name, reach)| {
                    (name.clone(), Reach { down_for: reach.down_for.map(|_| down_for), ..*reach })
                })
                .collect(),
            features: self.features.clone(),
            load: u32::try_from(load).unwrap_or(u32::MAX),
            capacity: self.capacity,
        }
    }
}

/// How long ago that was; no time at all, if a clock is wrong.
pub(super) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}

fn down_since(status: &DHCPAgentStatus) -> Option<Timestamp> {
    let ready = find(&status.conditions, "PhysicalNetworksReady");
    ready.filter(|c| c.status == "False").map(|c| c.last_transition_time.0)
}

/// For how long one is down is added when it is asked for.
fn reach(status: &DHCPAgentStatus) -> BTreeMap<String, Reach> {
    let of = |network: &crate::api::AgentPhysicalNetwork| {
        let reach = Reach {
            down_for: (network.state != LinkState::Up).then_some(Duration::ZERO),
            vlans: network.vlan != VlanSupport::Unsupported,
            untagged: network.vlan != VlanSupport::Supported,
        };
        (network.name.clone(), reach)
    };
    status.physical_networks.iter().map(of).collect()
}
