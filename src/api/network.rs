//! The Network kind: one L2 segment and how it is served.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{
    Conditions, DNS_NAME, LabelSelector, PhysicalNetworkRef, RECORD_NAME, conditions_schema, unseen,
};
use super::options::DhcpOption;

/// What the user wants of a Network.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "kube-dhcp.io",
    version = "v1alpha1",
    kind = "Network",
    plural = "networks",
    namespaced,
    shortname = "dnet",
    category = "dhcp",
    status = "NetworkStatus",
    derive = "PartialEq",
    doc = "An L2 segment that is served with DHCP and DNS: a physical network, optionally one VLAN of it, and what holds for all of its subnets.",
    selectable = ".spec.physicalNetworkRef.name",
    printcolumn(name = "PHYSICAL", type_ = "string", json_path = ".spec.physicalNetworkRef.name"),
    printcolumn(name = "VLAN", type_ = "integer", json_path = ".spec.segmentation.vlan.id"),
    printcolumn(name = "SERVERS", type_ = "integer", json_path = ".status.servers.desired"),
    printcolumn(name = "SERVING", type_ = "integer", json_path = ".status.servers.ready"),
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = crate::api::rules::short_name()
)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// The physical network that it is on. Cannot be changed.
    #[x_kube(validation = crate::api::rules::immutable())]
    pub physical_network_ref: PhysicalNetworkRef,

    /// How it is told from other Networks on the same physical network. Default: untagged. Cannot
    /// be changed.
    #[serde(default)]
    #[x_kube(validation = crate::api::rules::immutable())]
    pub segmentation: Segmentation,

    /// MTU in bytes, 576 to 65535; guests are told. Unset: the physical network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 576, max = 65535))]
    pub mtu: Option<u16>,

    /// The names of its ports, and where other names are looked up.
    #[serde(default)]
    pub dns: NetworkDns,

    /// How many servers it has, and where.
    #[serde(default)]
    pub dhcp: NetworkDhcp,

    /// The metadata service at 169.254.169.254 for its guests.
    #[serde(default)]
    pub metadata_service: MetadataService,

    /// DHCP options for all of its guests; those of a Subnet or a Port win. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = crate::api::rules::code_needs_family())]
    pub options: Vec<DhcpOption>,
}

/// How a Network is told from others on the same physical network.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = crate::api::rules::union("type", "VLAN", "vlan"))]
#[serde(rename_all = "camelCase")]
pub struct Segmentation {
    /// Untagged: it is the physical network's untagged traffic. VLAN: it is the VLAN of `vlan`.
    pub r#type: SegmentationType,

    /// The VLAN. Only with type VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
}

/// The kinds of segmentation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SegmentationType {
    /// No tag.
    #[default]
    Untagged,
    /// IEEE 802.1Q.
    #[serde(rename = "VLAN")]
    Vlan,
}

/// A VLAN.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Vlan {
    /// VLAN ID, 1 to 4094.
    #[schemars(with = "i32", range(min = 1, max = 4094))]
    pub id: u16,
}

/// DNS of a Network.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = crate::api::rules::domain_follows())]
#[x_kube(validation = crate::api::rules::domain_once())]
#[x_kube(validation = crate::api::rules::domain_has_room())]
#[serde(rename_all = "camelCase")]
pub struct NetworkDns {
    /// Domain of the guests, lower case, at most 253 characters. Unset: guests are told no domain,
    /// and a port's name is its hostname alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub domain: Option<String>,

    /// Where names that are not of this network are looked up.
    #[serde(default)]
    pub forwarding: Forwarding,

    /// TXT records that its guests are told, besides those of the agents' flags; at most 16. Several may have
    /// one name, which may also be a Port's. A change restarts its servers' dnsmasq once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub txt_records: Vec<NetworkTxtRecord>,
}

/// A TXT record.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkTxtRecord {
    /// Its name, lower case; underscores are allowed. With a dot at its end it is the whole name; without
    /// one the Network's domain follows.
    #[schemars(length(min = 1, max = 254), regex(pattern = RECORD_NAME))]
    pub name: String,

    /// Its texts, in order; 1 to 8 of 1 to 255 characters, printable ASCII, which are told as they are.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 255), regex(pattern = r"^[ -~]+$")))]
    pub texts: Vec<String>,
}

/// Where names of elsewhere are looked up.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = crate::api::rules::union("type", "Addresses", "addresses"))]
#[serde(rename_all = "camelCase")]
pub struct Forwarding {
    /// Agent (the default): as the agent's flags say. Node: the node's resolvers. Addresses: the
    /// servers in `addresses`. None: nowhere, such names are refused.
    pub r#type: ForwardingType,

    /// IP addresses of DNS servers; 1 to 8. Only with type Addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 2, max = 39)))]
    #[x_kube(validation = crate::api::rules::ips())]
    pub addresses: Option<Vec<String>>,
}

/// Where names of elsewhere are looked up.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardingType {
    /// As the agent was told by its flags.
    #[default]
    Agent,
    /// At the resolvers of the node.
    Node,
    /// At given servers.
    Addresses,
    /// Nowhere.
    None,
}

/// The DHCP servers of a Network.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkDhcp {
    /// How many nodes serve it at the same time, 1 to 8. Default 2.
    #[serde(default = "two")]
    #[schemars(with = "i32", range(min = 1, max = 8))]
    pub servers: u8,

    /// The nodes that may serve it, by their labels. Unset: every node that reaches the physical
    /// network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
}

impl Default for NetworkDhcp {
    fn default() -> Self {
        Self { servers: two(), node_selector: None }
    }
}

fn two() -> u8 {
    2
}

/// The metadata service of a Network.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MetadataService {
    /// None (the default): it is not offered. IsolatedSubnets: to guests of subnets without gateway.
    /// Always: to all guests.
    pub r#type: MetadataServiceType,
}

/// Who is offered the metadata service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataServiceType {
    /// Nobody.
    #[default]
    None,
    /// Guests of subnets without a gateway.
    IsolatedSubnets,
    /// All guests.
    Always,
}

/// What is known of a Network.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The metadata.generation that this status was made for; -1: not looked at yet.
    #[serde(default = "unseen")]
    pub observed_generation: i64,

    /// Its servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<ServerCounts>,

    /// The places of its servers. Each keeps its addresses while the Network lives, whichever node
    /// holds it. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["slot".into()]))]
    pub slots: Vec<Slot>,

    /// Its Subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub subnets: Option<u32>,

    /// Its Ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortCounts>,

    /// What is true of it at present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// Numbers of servers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerCounts {
    /// Wanted.
    #[schemars(with = "i32", range(min = 0))]
    pub desired: u32,

    /// Serving.
    #[schemars(with = "i32", range(min = 0))]
    pub ready: u32,
}

/// One server's place.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Its number, from 0.
    #[schemars(with = "i32", range(min = 0, max = 7))]
    pub slot: u8,

    /// The node that holds it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node_name: Option<String>,

    /// The server's own IP addresses, one per subnet; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 45)))]
    pub addresses: Vec<String>,
}

/// Numbers of Ports.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PortCounts {
    /// All.
    #[schemars(with = "i32", range(min = 0))]
    pub total: u32,

    /// Those that are served.
    #[schemars(with = "i32", range(min = 0))]
    pub ready: u32,
}
