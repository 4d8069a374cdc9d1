//! What a node holds, network by network, and what each action does to it.
//!
//! Desired and observed state are the same type, so that a plan is a comparison; [`Segment::record`]
//! is the one definition of an action's effect, used by the agent's cache, the dry run and the tests.
//! Pure: no I/O.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::dnsmasq::{self, Server};
use crate::types::{MacAddr, NetworkUid};

/// One network on this node. Every part may be missing: a half-made network is a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// The network namespace.
    pub namespace: Option<Namespace>,
    /// The bridge that the device is to be, or could be, a port of.
    pub bridge: Option<Bridge>,
    /// The DHCP device.
    pub device: Option<Device>,
    /// The DHCP and DNS server.
    pub server: Option<Server>,
}

/// A named network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Whether the name leads to a namespace; a plain file with such a name does not.
    pub usable: bool,
    /// Those of [`Sysctl`] that have the wanted value.
    pub sysctls: BTreeSet<Sysctl>,
    /// The firewall's rules of ours.
    pub rules: BTreeSet<Rule>,
}

/// A bridge on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Interface name.
    pub name: String,
    /// Desired: make it if it is missing. Observed: it was made by us.
    pub ours: bool,
}

/// A veth pair: one end in the namespace, the other in the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Of the end in the namespace.
    pub mac: MacAddr,
    /// Of both ends, in bytes.
    pub mtu: u32,
    /// The bridge whose port the outer end is.
    pub bridge: Option<String>,
    /// Whether both ends are up.
    pub up: bool,
    /// IPv4 addresses of the end in the namespace.
    pub addresses: BTreeSet<Ipv4Net>,
    /// IPv4 default route of the namespace.
    pub gateway: Option<Ipv4Addr>,
}

/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The UDP port of this family's DHCP clients (RFC 2131 §4.1, RFC 8415 §7.2).
    pub fn client_port(self) -> u16 {
        match self {
            Self::V4 => 68,
            Self::V6 => 546,
        }
    }
}

/// A rule of the namespace's firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Fill in the UDP checksum of this family's DHCP answers.
    Checksum(Family),
    /// Drop the NAK to a guest that selected another server of the network: to all of them the same
    /// guests are known, and any may be selected.
    SelectedOther,
}

impl Rule {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Checksum(Family::V4), Self::Checksum(Family::V6), Self::SelectedOther];

    /// Whose packets it is about.
    pub fn family(self) -> Family {
        match self {
            Self::Checksum(family) => family,
            Self::SelectedOther => Family::V4,
        }
    }
}

/// A kernel setting of the namespace (Neutron: `DeviceManager.setup`, `ensure_namespace`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// Removing an address keeps the others of its subnet.
    PromoteSecondaries,
    /// A socket may be bound before its address is there.
    NonlocalBind,
    /// No address or route from a guest's router advertisement.
    NoRouterAdvertisements,
}

impl Sysctl {
    /// All that a namespace needs.
    pub const ALL: [Self; 3] = [Self::PromoteSecondaries, Self::NonlocalBind, Self::NoRouterAdvertisements];

    /// Path below `/proc/sys/net`.
    pub fn path(self) -> &'static str {
        match self {
            Self::PromoteSecondaries => "ipv4/conf/all/promote_secondaries",
            Self::NonlocalBind => "ipv4/ip_nonlocal_bind",
            Self::NoRouterAdvertisements => "ipv6/conf/default/accept_ra",
        }
    }

    /// The wanted value.
    pub fn value(self) -> &'static str {
        match self {
            Self::PromoteSecondaries | Self::NonlocalBind => "1",
            Self::NoRouterAdvertisements => "0",
        }
    }
}

/// One step towards the desired state of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the named namespace, its loopback up; a file in the place of its name goes first.
    CreateNamespace,
    /// Set one kernel setting in the namespace.
    SetSysctl(Sysctl),
    /// Add a rule to the namespace's firewall.
    AddRule(Rule),
    /// Have this bridge: make it if it may be made, else fail.
    RequireBridge(Bridge),
    /// Make the veth pair, the outer end a port of the bridge, both ends up.
    CreateDevice {
        /// Of the inner end.
        mac: MacAddr,
        /// Of both ends.
        mtu: u32,
        /// Interface name.
        bridge: String,
    },
    /// Make the outer end a port of this bridge.
    AttachDevice(String),
    /// Set the MTU of both ends.
    SetMtu(u32),
    /// Set both ends up.
    SetUp,
    /// Add an address to the inner end.
    AddAddress(Ipv4Net),
    /// Remove an address of the inner end.
    RemoveAddress(Ipv4Net),
    /// Have this default route, on-link if the gateway is in no subnet of the device; `None`: no default route.
    SetGateway(Option<Ipv4Addr>),
    /// Remove the veth pair.
    DeleteDevice,
    /// Something for the server.
    Server(dnsmasq::Action),
    /// Remove the namespace and its name.
    DeleteNamespace,
}

impl Action {
    /// A short name, for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CreateNamespace => "create-namespace",
            Self::SetSysctl(_) => "set-sysctl",
            Self::AddRule(_) => "add-rule",
            Self::RequireBridge(_) => "require-bridge",
            Self::CreateDevice { .. } => "create-device",
            Self::AttachDevice(_) => "attach-device",
            Self::SetMtu(_) => "set-mtu",
            Self::SetUp => "set-up",
            Self::AddAddress(_) => "add-address",
            Self::RemoveAddress(_) => "remove-address",
            Self::SetGateway(_) => "set-gateway",
            Self::DeleteDevice => "delete-device",
            Self::Server(action) => action.kind(),
            Self::DeleteNamespace => "delete-namespace",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace => write!(f, "create the network namespace"),
            Self::SetSysctl(sysctl) => write!(f, "set net/{} to {}", sysctl.path(), sysctl.value()),
            Self::AddRule(Rule::SelectedOther) => {
                write!(f, "add the rule that drops NAKs to guests of another server")
            }
            Self::AddRule(Rule::Checksum(family)) => {
                write!(f, "add the checksum rule for UDP port {}", family.client_port())
            }
            Self::RequireBridge(Bridge { name, ours: true }) => write!(f, "create bridge {name}"),
            Self::RequireBridge(Bridge { name, ours: false }) => write!(f, "wait for bridge {name}"),
            Self::CreateDevice { mac, mtu, bridge } => {
                write!(f, "create the DHCP device {mac} (MTU {mtu}) in bridge {bridge}")
            }
            Self::AttachDevice(bridge) => write!(f, "put the DHCP device into bridge {bridge}"),
            Self::SetMtu(mtu) => write!(f, "set the device's MTU to {mtu}"),
            Self::SetUp => write!(f, "set the device up"),
            Self::AddAddress(address) => write!(f, "add address {address}"),
            Self::RemoveAddress(address) => write!(f, "remove address {address}"),
            Self::SetGateway(Some(gateway)) => write!(f, "set the default route to {gateway}"),
            Self::SetGateway(None) => write!(f, "remove the default route"),
            Self::DeleteDevice => write!(f, "delete the DHCP device"),
            Self::Server(action) => action.fmt(f),
            Self::DeleteNamespace => write!(f, "delete the network namespace"),
        }
    }
}

impl Segment {
    /// Nothing of this network is on the node.
    pub fn is_absent(&self) -> bool {
        self.namespace.is_none() && self.device.is_none() && self.server.is_none()
    }

    /// What `action` does when it succeeds.
    pub fn record(&mut self, action: &Action) {
        match action {
            Action::CreateNamespace => {
                self.namespace = Some(Namespace { usable: true, ..Namespace::default() });
                self.device = None;
            }
            Action::SetSysctl(sysctl) => self.in_namespace(|n| n.sysctls.insert(*sysctl)),
            Action::AddRule(rule) => self.in_namespace(|n| n.rules.insert(*rule)),
            Action::RequireBridge(bridge) => self.bridge = Some(bridge.clone()),
            Action::CreateDevice { mac, mtu, bridge } => self.device = Some(Device::new(*mac, *mtu, bridge)),
            Action::DeleteDevice => self.device = None,
            Action::DeleteNamespace => {
                self.namespace = None;
                self.device = None;
            }
            Action::Server(action) => dnsmasq::record(&mut self.server, action),
            Action::AttachDevice(_)
            | Action::SetMtu(_)
            | Action::SetUp
            | Action::AddAddress(_)
            | Action::RemoveAddress(_)
            | Action::SetGateway(_) => {
                if let Some(device) = &mut self.device {
                    device.record(action);
                }
            }
        }
    }

    fn in_namespace(&mut self, change: impl FnOnce(&mut Namespace) -> bool) {
        if let Some(namespace) = &mut self.namespace {
            change(namespace);
        }
    }
}

impl Device {
    fn new(mac: MacAddr, mtu: u32, bridge: &str) -> Self {
        let bridge = Some(bridge.to_owned());
        Self { mac, mtu, bridge, up: true, addresses: BTreeSet::new(), gateway: None }
    }

    fn record(&mut self, action: &Action) {
        match action {
            Action::AttachDevice(bridge) => self.bridge = Some(bridge.clone()),
            Action::SetMtu(mtu) => self.mtu = *mtu,
            Action::SetUp => self.up = true,
            Action::AddAddress(address) => {
                self.addresses.insert(*address);
            }
            Action::RemoveAddress(address) => {
                self.addresses.remove(address);
                // The kernel drops a route whose gateway is no longer reachable.
                if self.addresses.is_empty() {
                    self.gateway = None;
                }
            }
            Action::SetGateway(gateway) => self.gateway = *gateway,
            _ => {}
        }
    }
}

/// The name of a network's namespace.
pub fn namespace_name(uid: NetworkUid) -> String {
    format!("{NAMESPACE_PREFIX}{uid}")
}

/// What all our namespaces' names begin with.
pub const NAMESPACE_PREFIX: &str = "kdhcp-";

/// The device's end in the namespace; one name for all, for people who look inside.
pub const INNER_DEVICE: &str = "dhcp0";

/// The name of the device's end on the node: at most 15 characters, hence a part of the UID.
pub fn outer_device(uid: NetworkUid) -> String {
    let bytes = uid.bytes();
    // A random UUID has its fixed bits in bytes 6 and 8: the first six carry 48 random ones.
    bytes[..6].iter().fold(String::from("kd"), |name, byte| name + &format!("{byte:02x}"))
}
