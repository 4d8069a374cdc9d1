//! The IPAllocation kind: one address in use or being released.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address that somebody has. The object's name is the lock: the API server refuses a second one.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "kube-dhcp.io",
    version = "v1alpha1",
    kind = "IPAllocation",
    plural = "ipallocations",
    namespaced,
    shortname = "dip",
    category = "dhcp",
    derive = "PartialEq",
    doc = "An address of a Network that is in use, or being released. Made and deleted by the controller.",
    printcolumn(name = "NETWORK", type_ = "string", json_path = ".spec.networkName"),
    printcolumn(name = "ADDRESS", type_ = "string", json_path = ".spec.ip"),
    printcolumn(name = "HOLDER", type_ = "string", json_path = ".spec.holder.type"),
    printcolumn(name = "NAME", type_ = "string", json_path = ".spec.holder.name"),
    printcolumn(name = "RELEASED", type_ = "date", json_path = ".spec.released.time"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.networkName + '.' + self.spec.ip.replace(':', '-')")
        .message("metadata.name must be networkName.ip, with - for :")
)]
#[x_kube(
    validation = Rule::new("self.networkName == oldSelf.networkName && self.networkUID == oldSelf.networkUID && self.subnetName == oldSelf.subnetName && self.ip == oldSelf.ip && self.holder == oldSelf.holder")
        .message("an allocation does not change; only released is set"),
    validation = Rule::new("!has(oldSelf.released) || (has(self.released) && self.released == oldSelf.released)")
        .message("released is set once"),
)]
#[serde(rename_all = "camelCase")]
pub struct IPAllocationSpec {
    /// Name of the Network.
    #[schemars(length(min = 1, max = 63))]
    pub network_name: String,

    /// The Network's metadata.uid.
    #[serde(rename = "networkUID")]
    #[schemars(length(min = 1, max = 64))]
    pub network_uid: String,

    /// Name of the Subnet that the address is of.
    #[schemars(length(min = 1, max = 253))]
    pub subnet_name: String,

    /// The address; an IPv6 one with all digits.
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = Rule::new("isIP(self)").message("must be an IP address"))]
    pub ip: String,

    /// Who has, or had, it.
    pub holder: AllocationHolder,

    /// Set when the holder gave it back: others get it once every server has forgotten the holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
}

/// Who holds an address.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("(self.type == 'Port') == (has(self.name) && has(self.uid))")
        .message("name and uid must be set if and only if type is Port"),
    validation = crate::api::rules::union("type", "ServerSlot", "slot"),
    validation = Rule::new("!has(self.temporary) || self.type == 'ServerSlot'")
        .message("temporary must not be set unless type is ServerSlot"),
)]
#[serde(rename_all = "camelCase")]
pub struct AllocationHolder {
    /// Port, or ServerSlot: one of the Network's DHCP servers.
    pub r#type: HolderType,

    /// The Port's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,

    /// The Port's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,

    /// The Port's metadata.uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,

    /// The Port's MAC address when it got the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17))]
    pub mac_address: Option<String>,

    /// The DHCPv4 client identifier that the Port was known by when it got the address.
    #[serde(default, rename = "clientID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 764))]
    pub client_id: Option<String>,

    /// The DUID that it was known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 389))]
    pub duid: Option<String>,

    /// The slot of a DHCP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 7))]
    pub slot: Option<u8>,

    /// For as long as a predecessor still answers at the slot's own address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
}

/// The kinds of holders.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HolderType {
    /// A Port.
    #[default]
    Port,
    /// A DHCP server.
    ServerSlot,
}

/// When an address was given back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// When, RFC 3339.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub time: String,

    /// The resource version of the Ports from which on the holder has it no more.
    #[schemars(length(max = 40))]
    pub ports_revision: String,
}
