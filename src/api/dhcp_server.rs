//! The DHCPServer kind: one Network served on one node.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Conditions, DNS_LABEL, conditions_schema, unseen};

/// What the controller decided: which Network a node's agent serves, in which slot, with which
/// addresses. Neutron's binding of a network to an agent, and its DHCP port.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "kube-dhcp.io",
    version = "v1alpha1",
    kind = "DHCPServer",
    plural = "dhcpservers",
    namespaced,
    shortname = "dsrv",
    category = "dhcp",
    status = "DHCPServerStatus",
    derive = "PartialEq",
    doc = "One Network served on one node. Made and deleted by the controller; the node's agent reports on it.",
    selectable = ".spec.nodeName",
    selectable = ".spec.networkRef.name",
    printcolumn(name = "NETWORK", type_ = "string", json_path = ".spec.networkRef.name"),
    printcolumn(name = "NODE", type_ = "string", json_path = ".spec.nodeName"),
    printcolumn(name = "SLOT", type_ = "integer", json_path = ".spec.slot"),
    printcolumn(name = "STATE", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "ADDRESSES", type_ = "string", json_path = ".spec.addresses[*].ip"),
    printcolumn(name = "PORTS", type_ = "integer", json_path = ".status.ports.served"),
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
pub struct DHCPServerSpec {
    /// The Network that is served. Cannot be changed.
    #[x_kube(validation = crate::api::rules::immutable())]
    pub network_ref: ServedNetworkRef,

    /// The node whose agent serves it. Cannot be changed.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = crate::api::rules::immutable())]
    pub node_name: String,

    /// The Network's slot that it fills. Cannot be changed.
    #[schemars(with = "i32", range(min = 0, max = 7))]
    #[x_kube(validation = crate::api::rules::immutable())]
    pub slot: u8,

    /// Active: it is to serve. Withdrawn: it is to be taken down, for good.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf == 'Active' || self == 'Withdrawn'")
        .message("a withdrawn server does not become active again"))]
    pub state: ServerState,

    /// Its own addresses, one for each subnet that it serves; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["subnetName".into()]))]
    pub addresses: Vec<ServerAddress>,

    /// MTU of the segment in bytes, 576 to 65535, as the Network or its PhysicalNetwork says. Unset:
    /// guests are told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 576, max = 65535))]
    pub mtu: Option<u16>,

    /// Whether it answers guests that are no Port, in Subnets whose dhcp.mode is Dynamic: of a Network's
    /// servers one does, for what it leases the others do not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dynamic: bool,

    /// The agent reports status.portsRevision as soon as it has reached this resource version, even if
    /// it has nothing else to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub awaited_revision: Option<String>,

    /// The node whose server had the slot before, and that nobody can tell to give it up. While it is set
    /// the agent asks the segment whether somebody else still answers at the slot's addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub predecessor: Option<String>,
}

/// A Network, this one and not a later one of the same name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServedNetworkRef {
    /// Name of the Network.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,

    /// Its metadata.uid.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// Whether a server is to serve.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerState {
    /// It is.
    #[default]
    Active,
    /// It is to be taken down.
    Withdrawn,
}

/// An address of a server.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerAddress {
    /// Name of the Subnet that it is of.
    #[schemars(length(min = 1, max = 253))]
    pub subnet_name: String,

    /// IP address.
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = crate::api::rules::ip())]
    pub ip: String,

    /// Prefix length of the Subnet, 0 to 128.
    #[schemars(with = "i32", range(min = 0, max = 128))]
    pub prefix_length: u8,

    /// The slot's own address, at which a predecessor still answers: ip is used in its place for as
    /// long as that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = crate::api::rules::ip())]
    pub in_place_of: Option<String>,

    /// The addresses of all of the Network's servers in this Subnet, in the order of their slots:
    /// guests are told them as DNS servers, so that they change when the number of servers does and
    /// not when one moves. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 2, max = 39)), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = crate::api::rules::ips())]
    pub resolvers: Vec<String>,
}

/// What an agent says of a server.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DHCPServerStatus {
    /// The metadata.generation that the controller's conditions were made for; -1: not looked at yet.
    #[serde(default = "unseen")]
    pub observed_generation: i64,

    /// Where it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<ServerDevice>,

    /// The resource version of the Ports up to which all is done: wanted ones are served or in
    /// refusedPorts, others are silent and their leases released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub ports_revision: Option<String>,

    /// The Network's metadata.generation that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub network_generation: Option<i64>,

    /// The Subnets that are served, each with the metadata.generation; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub subnets: Vec<ServedSubnet>,

    /// Its Ports in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<ServedPorts>,

    /// Ports that it does not serve although it was to; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["uid".into()]))]
    pub refused_ports: Vec<RefusedPort>,

    /// Addresses of its slot at which a predecessor still answers; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ip".into()]))]
    pub held_addresses: Vec<HeldAddress>,

    /// The leases that its dnsmasq holds, in numbers. They may be ten seconds old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leases: Option<ServedLeases>,

    /// Leases of Ports' addresses that somebody else than the Port holds; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ip".into()]))]
    pub foreign_leases: Vec<ForeignLease>,

    /// Ports' addresses that their guests declined, because somebody else had them; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ip".into()]))]
    pub declined_addresses: Vec<DeclinedAddress>,

    /// Since when its dnsmasq runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub serving_since: Option<String>,

    /// What is true of it at present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// The most entries of `refusedPorts`, `foreignLeases` and `declinedAddresses`.
pub const MOST_LISTED: usize = 50;

/// The conditions that are the agent's to set; all others are the controller's.
pub const AGENT_CONDITIONS: [&str; 6] =
    ["Programmed", "Serving", "MetadataServed", "TornDown", "ForeignDHCPServer", "ForeignRouter"];

/// Numbers of a server's leases.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServedLeases {
    /// Those of DHCPv4.
    #[schemars(with = "i32", range(min = 0))]
    pub ipv4: u32,

    /// Those of DHCPv6.
    #[schemars(with = "i32", range(min = 0))]
    pub ipv6: u32,
}

/// An address that its guest declined.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeclinedAddress {
    /// The address.
    #[schemars(length(max = 39))]
    pub ip: String,

    /// Name of the Port that has it.
    #[schemars(length(max = 253))]
    pub port_name: String,

    /// The MAC address of whoever answers there instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17))]
    pub held_by: Option<String>,
}

/// A lease that somebody else than the Port of its address holds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ForeignLease {
    /// The address.
    #[schemars(length(max = 39))]
    pub ip: String,

    /// Name of the Port that has it.
    #[schemars(length(max = 253))]
    pub port_name: String,

    /// Who holds it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17))]
    pub mac_address: Option<String>,

    /// The identifier of its holder in DHCPv6, in hex with colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 389))]
    pub duid: Option<String>,
}

/// An address that somebody else has.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeldAddress {
    /// The address.
    #[schemars(length(max = 39))]
    pub ip: String,

    /// Who answers at it.
    #[schemars(length(max = 17))]
    pub mac_address: String,
}

/// A server's network device.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerDevice {
    /// Interface name on the node.
    #[schemars(length(max = 15))]
    pub name: String,

    /// MAC address that guests see.
    #[schemars(length(max = 17))]
    pub mac_address: String,

    /// What it is attached to, such as bridge:br0.
    #[schemars(length(max = 64))]
    pub attachment: String,
}

/// A Subnet that a server serves.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServedSubnet {
    /// Name of the Subnet.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Its metadata.generation that is served.
    #[schemars(range(min = 0))]
    pub generation: i64,
}

/// Numbers of a server's Ports.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServedPorts {
    /// Those that have addresses.
    #[schemars(with = "i32", range(min = 0))]
    pub wanted: u32,

    /// Those that are served.
    #[schemars(with = "i32", range(min = 0))]
    pub served: u32,

    /// Those that are not, for a cause of their own.
    #[schemars(with = "i32", range(min = 0))]
    pub refused: u32,
}

/// A Port that a server does not serve.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RefusedPort {
    /// Name of the Port.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Its metadata.uid.
    #[schemars(length(max = 64))]
    pub uid: String,

    /// Why, as one CamelCase word.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// Why, for humans.
    #[schemars(length(max = 1024))]
    pub message: String,
}
