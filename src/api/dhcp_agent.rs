//! The DHCPAgent kind: one node's agent.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Conditions, conditions_schema, unseen};

/// What an administrator wants of a node's agent. The object's name is the node's.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "kube-dhcp.io",
    version = "v1alpha1",
    kind = "DHCPAgent",
    plural = "dhcpagents",
    shortname = "dagent",
    category = "dhcp",
    status = "DHCPAgentStatus",
    derive = "PartialEq",
    doc = "The agent of the node of this name. It makes the object itself; its Ready condition is the agent's liveness.",
    printcolumn(name = "VERSION", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "PHYSICAL", type_ = "string", json_path = ".status.physicalNetworks[*].name"),
    printcolumn(name = "SERVERS", type_ = "integer", json_path = ".status.servers.assigned"),
    printcolumn(name = "SERVING", type_ = "integer", json_path = ".status.servers.serving"),
    printcolumn(name = "UNSCHEDULABLE", type_ = "boolean", json_path = ".spec.unschedulable"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DHCPAgentSpec {
    /// Whether it is to get no further Networks. Default: false.
    #[serde(default)]
    pub unschedulable: bool,

    /// Whether it is to be emptied: each of its Networks gets a server elsewhere before the one here
    /// goes. It gets no further ones either. Default: false.
    #[serde(default)]
    pub drain: bool,
}

/// What is known of an agent.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DHCPAgentStatus {
    /// The metadata.generation that the controller's conditions were made for; -1: not looked at yet.
    #[serde(default = "unseen")]
    pub observed_generation: i64,

    /// The agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,

    /// The version of dnsmasq that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub dnsmasq_version: Option<String>,

    /// What it can serve; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub features: Vec<String>,

    /// The physical networks that it was told of, as they are on the node; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub physical_networks: Vec<AgentPhysicalNetwork>,

    /// Its servers in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<AgentServers>,

    /// Where it has its objects from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AgentSource>,

    /// What it can bear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<AgentCapacity>,

    /// What is true of it at present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// A physical network as it is on a node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentPhysicalNetwork {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// What it is on the node, such as bridge:br0, macvlan:eth1 or ovs:br-int.
    #[schemars(length(max = 64))]
    pub attachment: String,

    /// Which Networks it can carry: those with a VLAN, or untagged ones, or both.
    pub vlan: VlanSupport,

    /// Whether it is there.
    pub state: LinkState,

    /// Its MTU in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 0, max = 4_294_967_295_i64))]
    pub mtu: Option<u32>,

    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
}

/// Whether an attachment carries VLANs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanSupport {
    /// Networks with a VLAN only.
    Supported,
    /// Untagged Networks only.
    Unsupported,
    /// Both.
    Any,
}

/// Whether a link is there.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is, or is made when it is needed.
    Up,
    /// It is there, and set down.
    Down,
    /// It is not.
    Missing,
}

/// Where an agent has its objects from.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentSource {
    /// From the API server.
    Cluster,
    /// From the copy on its disk: the API server was not there when it started.
    LastGoodCopy,
}

/// Numbers of an agent's servers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentServers {
    /// Those that it is to run.
    #[schemars(with = "i32", range(min = 0))]
    pub assigned: u32,

    /// Those that serve.
    #[schemars(with = "i32", range(min = 0))]
    pub serving: u32,
}

/// What an agent can bear.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentCapacity {
    /// Networks at a time.
    #[schemars(with = "i32", range(min = 0))]
    pub networks: u32,
}
