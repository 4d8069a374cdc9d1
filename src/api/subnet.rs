//! The Subnet kind: one CIDR of a Network, and what its guests are told.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Conditions, NetworkRef, SubnetDns, conditions_schema, unseen};
use super::options::DhcpOption;

/// What the user wants of a Subnet.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "kube-dhcp.io",
    version = "v1alpha1",
    kind = "Subnet",
    plural = "subnets",
    namespaced,
    shortname = "dsub",
    category = "dhcp",
    status = "SubnetStatus",
    derive = "PartialEq",
    doc = "A range of IP addresses on a Network, and what DHCP tells its guests.",
    selectable = ".spec.networkRef.name",
    printcolumn(name = "NETWORK", type_ = "string", json_path = ".spec.networkRef.name"),
    printcolumn(name = "CIDR", type_ = "string", json_path = ".spec.cidr"),
    printcolumn(name = "GATEWAY", type_ = "string", json_path = ".status.gateway"),
    printcolumn(name = "USED", type_ = "integer", json_path = ".status.addresses.used"),
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
#[x_kube(
    validation = Rule::new("!isCIDR(self.cidr) || has(self.ipv6) == (cidr(self.cidr).ip().family() == 6)")
        .message("ipv6 must be set if and only if cidr is an IPv6 one"),
    validation = Rule::new("!isCIDR(self.cidr) || !has(self.ipv6) || self.ipv6.addressMode == 'DHCPv6Stateful' || cidr(self.cidr).prefixLength() == 64")
        .message("address modes SLAAC and DHCPv6Stateless need a cidr with prefix length 64"),
    validation = Rule::new("!isCIDR(self.cidr) || !has(self.gateway.address) || !isIP(self.gateway.address) || ip(self.gateway.address).family() == cidr(self.cidr).ip().family()")
        .message("gateway.address must be of the family of cidr"),
    validation = Rule::new("!isCIDR(self.cidr) || !has(self.pools) || self.pools.all(p, (!isIP(p.first) || cidr(self.cidr).containsIP(p.first)) && (!isIP(p.last) || cidr(self.cidr).containsIP(p.last)))")
        .message("pools must be inside cidr"),
    validation = Rule::new("!isCIDR(self.cidr) || !has(self.dhcp.dynamic) || ((!isIP(self.dhcp.dynamic.first) || cidr(self.cidr).containsIP(self.dhcp.dynamic.first)) && (!isIP(self.dhcp.dynamic.last) || cidr(self.cidr).containsIP(self.dhcp.dynamic.last)))")
        .message("dhcp.dynamic must be inside cidr"),
    validation = Rule::new("!isCIDR(self.cidr) || !has(self.hostRoutes) || self.hostRoutes.all(r, !isCIDR(r.destination) || cidr(r.destination).ip().family() == cidr(self.cidr).ip().family())")
        .message("hostRoutes must be of the family of cidr"),
    validation = Rule::new("!has(self.hostRoutes) || self.gateway.type == 'None' || self.hostRoutes.all(r, !r.destination.endsWith('/0'))")
        .message("hostRoutes must not have a default route beside a gateway: guests would follow only one of them"),
    validation = Rule::new("!isCIDR(self.cidr) || !has(self.options) || cidr(self.cidr).ip().family() == 6 || self.options.all(o, !has(o.code) || o.code <= 254)")
        .message("an IPv4 option code is at most 254"),
)]
#[serde(rename_all = "camelCase")]
pub struct SubnetSpec {
    /// The Network that it is on. Cannot be changed.
    #[x_kube(validation = crate::api::rules::immutable())]
    pub network_ref: NetworkRef,

    /// Its addresses, as network/prefix length without host bits, such as 10.0.0.0/24 or
    /// 2001:db8::/64. Cannot be changed.
    #[schemars(length(min = 4, max = 49))]
    #[x_kube(validation = crate::api::rules::cidr(), validation = crate::api::rules::immutable())]
    pub cidr: String,

    /// The router that guests are told. Default: the first host address.
    #[serde(default)]
    pub gateway: Gateway,

    /// The addresses that Ports without one of their own get; at most 64 ranges. Unset: all host
    /// addresses; an empty list: none, so that only addresses which a Port names are used, and no server
    /// finds one that comes then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pools: Option<Vec<AddressRange>>,

    /// How DHCP serves it.
    #[serde(default)]
    pub dhcp: SubnetDhcp,

    /// The DNS servers that guests are told. Default: this network's own.
    #[serde(default)]
    pub dns: SubnetDns,

    /// Routes that guests are told besides the default route, which is `gateway`'s; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub host_routes: Vec<HostRoute>,

    /// DHCP options for its guests. They win over those of the Network, those of a Port over
    /// them. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(o, !has(o.family))")
        .message("family must not be set on a Subnet: it is that of cidr"))]
    pub options: Vec<DhcpOption>,

    /// How guests get their IPv6 addresses. Required with an IPv6 cidr, forbidden otherwise.
    /// Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = crate::api::rules::immutable())]
    pub ipv6: Option<SubnetIpv6>,
}

/// The router of a subnet.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = crate::api::rules::union("type", "Address", "address"))]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Auto (the default): the first host address. Address: the one in `address`. None: guests are
    /// told no router.
    pub r#type: GatewayType,

    /// IP address of the router. Only with type Address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = crate::api::rules::ip())]
    pub address: Option<String>,
}

/// How a subnet's router is chosen.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayType {
    /// The first host address.
    #[default]
    Auto,
    /// A given one.
    Address,
    /// There is none.
    None,
}

/// A range of IP addresses, both ends included.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AddressRange {
    /// First IP address.
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = crate::api::rules::ip())]
    pub first: String,

    /// Last IP address.
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = crate::api::rules::ip())]
    pub last: String,
}

/// How DHCP serves a subnet.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = crate::api::rules::union("mode", "Dynamic", "dynamic"),
    validation = Rule::new("!has(self.renewalSeconds) || self.renewalSeconds < self.leaseDurationSeconds")
        .message("renewalSeconds must be less than leaseDurationSeconds"),
    validation = Rule::new("!has(self.rebindingSeconds) || self.rebindingSeconds < self.leaseDurationSeconds")
        .message("rebindingSeconds must be less than leaseDurationSeconds"),
    validation = Rule::new("!has(self.renewalSeconds) || !has(self.rebindingSeconds) || self.renewalSeconds < self.rebindingSeconds")
        .message("renewalSeconds must be less than rebindingSeconds"),
)]
#[serde(rename_all = "camelCase")]
pub struct SubnetDhcp {
    /// Reserved (the default): only Ports are answered, each with its own addresses. Dynamic:
    /// other guests get addresses of `dynamic` as well. Disabled: DHCP is not served.
    #[serde(default)]
    pub mode: DhcpMode,

    /// The IPv4 addresses for guests that are no Port, at most 1024 in all Subnets of a Network: a Port
    /// gets one of them only if it asks for it. Only with mode Dynamic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<AddressRange>,

    /// How long a lease holds, in seconds, from 120; 4294967295 is for ever. Default 86400.
    #[serde(default = "one_day")]
    #[schemars(with = "i64", range(min = 120, max = 4_294_967_295_i64))]
    pub lease_duration_seconds: u32,

    /// When a guest asks its server for renewal (T1), in seconds. Unset: half of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 4_294_967_294_i64))]
    pub renewal_seconds: Option<u32>,

    /// When a guest asks any server for renewal (T2), in seconds. Unset: 7/8 of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 4_294_967_294_i64))]
    pub rebinding_seconds: Option<u32>,
}

impl Default for SubnetDhcp {
    fn default() -> Self {
        Self {
            mode: DhcpMode::default(),
            dynamic: None,
            lease_duration_seconds: one_day(),
            renewal_seconds: None,
            rebinding_seconds: None,
        }
    }
}

fn one_day() -> u32 {
    86_400
}

/// Whom DHCP answers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DhcpMode {
    /// Ports.
    #[default]
    Reserved,
    /// Ports and other guests.
    Dynamic,
    /// Nobody.
    Disabled,
}

/// A route that guests are told.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!isCIDR(self.destination) || !isIP(self.nextHop) || cidr(self.destination).ip().family() == ip(self.nextHop).family()")
    .message("destination and nextHop must be of one family"))]
#[serde(rename_all = "camelCase")]
pub struct HostRoute {
    /// Where it leads, as network/prefix length without host bits.
    #[schemars(length(min = 4, max = 49))]
    #[x_kube(validation = crate::api::rules::cidr())]
    pub destination: String,

    /// IP address of the router on this subnet that leads there.
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = crate::api::rules::ip())]
    pub next_hop: String,
}

/// How guests get their IPv6 addresses.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SubnetIpv6 {
    /// SLAAC: by themselves, from router advertisements. DHCPv6Stateful: from DHCPv6.
    /// DHCPv6Stateless: by themselves, with options from DHCPv6. Where they do it by themselves, a
    /// Port has the address that its MAC address makes (EUI-64), and DHCP gives none.
    pub address_mode: AddressMode,

    /// None (the default): a router on the segment advertises itself. Server: the DHCP servers
    /// advertise the prefix, the network's MTU, DNS servers and search list, and that they are no
    /// router. Never with dhcp.mode Disabled.
    #[serde(default)]
    pub router_advertisements: RouterAdvertisements,
}

/// How guests get their IPv6 addresses.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMode {
    /// From router advertisements alone.
    #[serde(rename = "SLAAC")]
    Slaac,
    /// From DHCPv6.
    #[serde(rename = "DHCPv6Stateful")]
    Dhcpv6Stateful,
    /// From router advertisements, options from DHCPv6.
    #[serde(rename = "DHCPv6Stateless")]
    Dhcpv6Stateless,
}

/// Who sends router advertisements.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouterAdvertisements {
    /// Not we.
    #[default]
    None,
    /// The DHCP servers.
    Server,
}

/// What is known of a Subnet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SubnetStatus {
    /// The metadata.generation that this status was made for; -1: not looked at yet.
    #[serde(default = "unseen")]
    pub observed_generation: i64,

    /// Its addresses in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AddressCounts>,

    /// IP address of the router that guests are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 45))]
    pub gateway: Option<String>,

    /// What is true of it at present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// Addresses in numbers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AddressCounts {
    /// In the pools; 9223372036854775807 where there are more.
    #[schemars(range(min = 0))]
    pub total: i64,

    /// Allocated.
    #[schemars(range(min = 0))]
    pub used: i64,

    /// Being released.
    #[schemars(range(min = 0))]
    pub releasing: i64,
}
