//! The PhysicalNetwork kind: who may use a physical network, and which of its VLANs.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Conditions, LabelSelector, conditions_schema, unseen};

/// What an administrator allows on a physical network.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "kube-dhcp.io",
    version = "v1alpha1",
    kind = "PhysicalNetwork",
    plural = "physicalnetworks",
    shortname = "dphys",
    category = "dhcp",
    status = "PhysicalNetworkStatus",
    derive = "PartialEq",
    doc = "A physical network of which agents reach a part, under this name: which namespaces may put Networks on it, and on which VLANs. What it is on a node (a bridge, an interface) is said by the agent's --physical-network flag there.",
    printcolumn(name = "NAMESPACES", type_ = "string", json_path = ".spec.namespaces.from"),
    printcolumn(name = "NETWORKS", type_ = "integer", json_path = ".status.networks"),
    printcolumn(name = "AGENTS", type_ = "integer", json_path = ".status.agents"),
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = crate::api::rules::short_name()
)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalNetworkSpec {
    /// The namespaces whose Networks may use it. Default: none.
    #[serde(default)]
    pub namespaces: AllowedNamespaces,

    /// Whether a Network without VLAN may use it: Denied (the default) or Allowed.
    #[serde(default)]
    pub untagged: Permission,

    /// The VLANs that Networks may use, as ranges; at most 64. Unset or empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub vlan_ranges: Vec<VlanRange>,

    /// The largest MTU that it carries, in bytes, 576 to 65535; the default and the upper bound of
    /// its Networks' MTU. Unset: neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 576, max = 65535))]
    pub mtu: Option<u16>,
}

/// A set of namespaces.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = crate::api::rules::union("from", "Selector", "selector"))]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// None, All, or Selector: those whose labels `selector` matches.
    pub from: NamespacesFrom,

    /// Selects namespaces by their labels. Only with from Selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces are meant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespacesFrom {
    /// No namespace.
    #[default]
    None,
    /// Every namespace.
    All,
    /// Those with matching labels.
    Selector,
}

/// Whether something may be done.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// It may not.
    #[default]
    Denied,
    /// It may.
    Allowed,
}

/// A range of VLAN IDs, both ends included.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = crate::api::rules::ordered_range())]
#[serde(rename_all = "camelCase")]
pub struct VlanRange {
    /// First VLAN ID, 1 to 4094.
    #[schemars(with = "i32", range(min = 1, max = 4094))]
    pub first: u16,

    /// Last VLAN ID, 1 to 4094.
    #[schemars(with = "i32", range(min = 1, max = 4094))]
    pub last: u16,
}

/// What is known of a physical network.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalNetworkStatus {
    /// The metadata.generation that this status was made for; -1: not looked at yet.
    #[serde(default = "unseen")]
    pub observed_generation: i64,

    /// Networks on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub networks: Option<u32>,

    /// Agents that reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub agents: Option<u32>,

    /// What is true of it at present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}
