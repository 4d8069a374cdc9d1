//! The Port kind: one NIC of a guest, its addresses and names.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Conditions, DNS_LABEL, DNS_NAME, NetworkRef, SubnetRef, conditions_schema, unseen};
use super::options::DhcpOption;

/// What the user wants of a Port.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "kube-dhcp.io",
    version = "v1alpha1",
    kind = "Port",
    plural = "ports",
    namespaced,
    shortname = "dport",
    category = "dhcp",
    status = "PortStatus",
    derive = "PartialEq",
    doc = "A network interface of a guest on a Network: the MAC address that it has, the IP addresses and names that it gets. Without a MAC address it reserves addresses.",
    selectable = ".spec.networkRef.name",
    printcolumn(name = "MAC", type_ = "string", json_path = ".spec.macAddress"),
    printcolumn(name = "ADDRESSES", type_ = "string", json_path = ".status.addresses[*].ip"),
    printcolumn(name = "HOSTNAME", type_ = "string", json_path = ".spec.hostname"),
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
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "KNOWN BY",
        type_ = "string",
        json_path = ".spec.identity['clientID','duid']",
        priority = 1
    )
)]
#[x_kube(validation = Rule::new("!has(oldSelf.macAddress) || has(self.macAddress)")
    .message("macAddress may be set and changed, but not taken away"))]
#[serde(rename_all = "camelCase")]
pub struct PortSpec {
    /// The Network that it is on. Cannot be changed.
    #[x_kube(validation = crate::api::rules::immutable())]
    pub network_ref: NetworkRef,

    /// MAC address of the interface: lower case, with colons, unicast, such as 02:00:00:00:00:01.
    /// Unset: the Port only reserves its addresses, unless `identity` says by what its guest is known.
    /// Once set it may be changed, but not taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17), regex(pattern = r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$"))]
    pub mac_address: Option<String>,

    /// The addresses that it gets, in this order; the first of a family is the one that DHCP
    /// offers. Unset: one per family for which the Network has a Subnet with reservations, and that
    /// of its MAC address in each in which guests make their own. An empty list: none. At most 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Option<Vec<PortAddress>>,

    /// Its host name, an RFC 1123 label in lower case. Unset: made from its first address, such as
    /// host-10-0-0-20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub hostname: Option<String>,

    /// Further full DNS names of its addresses, in lower case; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = DNS_NAME)))]
    pub dns_names: Vec<String>,

    /// By what DHCP knows the guest. Default: its MAC address. No two Ports of a Network are known by the
    /// same.
    #[serde(default)]
    pub identity: Identity,

    /// Enabled (the default), or Disabled: addresses and names only, DHCP requests are not
    /// answered.
    #[serde(default)]
    pub dhcp: PortDhcp,

    /// DHCP options for this guest; they win over those of the Subnet and the Network. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = crate::api::rules::code_needs_family())]
    pub options: Vec<DhcpOption>,
}

/// An address that a Port wants: that one, or any of a subnet.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.ip) || has(self.subnetRef)")
    .message("at least one of ip and subnetRef must be set"))]
#[serde(rename_all = "camelCase")]
pub struct PortAddress {
    /// This IP address. Unset: any free one in the pools of `subnetRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = crate::api::rules::ip())]
    pub ip: Option<String>,

    /// The Subnet. Unset: the one that `ip` is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_ref: Option<SubnetRef>,
}

/// By what DHCP knows a guest.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = crate::api::rules::union("type", "ClientID", "clientID"),
    validation = crate::api::rules::union("type", "DUID", "duid"),
)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// MACAddress (the default), ClientID (DHCPv4 option 61), or DUID (DHCPv6). In the other protocol a
    /// guest is known by `macAddress`, where it is set, and else not answered.
    pub r#type: IdentityType,

    /// The client identifier as 2 to 255 octets in hexadecimal with colons, lower case, such as
    /// 01:02:00:00:00:00:01. Only with type ClientID.
    #[serde(default, rename = "clientID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 764), regex(pattern = r"^[0-9a-f]{2}(:[0-9a-f]{2})+$"))]
    pub client_id: Option<String>,

    /// The DUID as 3 to 130 octets in hexadecimal with colons, lower case, such as
    /// 00:01:00:01:2c:3f:00:00:02:00:00:00:00:01. Only with type DUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 389), regex(pattern = r"^[0-9a-f]{2}(:[0-9a-f]{2})+$"))]
    pub duid: Option<String>,
}

/// By what DHCP knows a guest.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityType {
    /// Its MAC address.
    #[default]
    #[serde(rename = "MACAddress")]
    MacAddress,
    /// Its DHCPv4 client identifier.
    #[serde(rename = "ClientID")]
    ClientId,
    /// Its DHCPv6 unique identifier.
    #[serde(rename = "DUID")]
    Duid,
}

/// Whether a Port's DHCP requests are answered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortDhcp {
    /// They are.
    #[default]
    Enabled,
    /// They are not.
    Disabled,
}

/// What is known of a Port.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PortStatus {
    /// The metadata.generation that this status was made for; -1: not looked at yet.
    #[serde(default = "unseen")]
    pub observed_generation: i64,

    /// The addresses that it has: these are served. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<AllocatedAddress>,

    /// The servers that shall serve it, and do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<PortServers>,

    /// What is true of it at present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// An address that a Port has.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AllocatedAddress {
    /// IP address.
    #[schemars(length(max = 45))]
    pub ip: String,

    /// Name of the Subnet that it is of.
    #[schemars(length(max = 253))]
    pub subnet_name: String,
}

/// Numbers of servers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PortServers {
    /// Those that shall serve it.
    #[schemars(with = "i32", range(min = 0))]
    pub wanted: u32,

    /// Those that do.
    #[schemars(with = "i32", range(min = 0))]
    pub serving: u32,
}
