//! The steps that a plan is made of, and their names.
//!
//! What each does to a [`Segment`](super::Segment) is told by its `record`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::{Attached, Bridge, Device, Family, Rule, Sysctl};
use crate::dnsmasq::{self, Share, Shares};
use crate::metadata;
use crate::types::MacAddr;

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
    /// Make the device: a macvlan, or a veth pair whose outer end is a port of a bridge; up.
    CreateDevice {
        /// Of the end in the namespace.
        mac: MacAddr,
        /// Of both ends.
        mtu: u32,
        /// To what.
        attached: Attached,
    },
    /// Make the outer end a port of this.
    AttachDevice(Attached),
    /// Set the MTU of both ends.
    SetMtu(u32),
    /// Set both ends up.
    SetUp,
    /// Add an address to the inner end.
    AddAddress(IpNet),
    /// Remove an address of the inner end.
    RemoveAddress(IpNet),
    /// Have this default route of this family, on-link if the gateway is in no subnet of the device;
    /// `None`: no default route.
    SetGateway(Family, Option<IpAddr>),
    /// Change the permanent neighbour entries of the inner end.
    ChangeNeighbours {
        /// New ones, and those with another MAC address.
        add: BTreeMap<Ipv6Addr, MacAddr>,
        /// Those that go.
        remove: BTreeSet<Ipv6Addr>,
    },
    /// Change who may speak to the DHCPv6 server.
    AdmitToDhcpv6 {
        /// Put the whole filter there, in the place of whatever there is of it; else it is there, and
        /// only its guests change.
        whole: bool,
        /// Who may from now on.
        add: BTreeSet<MacAddr>,
        /// Who may no more.
        remove: BTreeSet<MacAddr>,
    },
    /// Let everybody speak to the DHCPv6 server: no filter.
    OpenDhcpv6,
    /// Make the room of a share, with this device, in the place of whatever there is of it.
    CreateRoom(Share, Device),
    /// A change of the device in a room.
    InRoom(Share, Box<Action>),
    /// Remove a room.
    DeleteRoom(Share),
    /// Change which guests are heard by a process of their own.
    Direct {
        /// Of which family.
        family: Family,
        /// Put the whole switch there, in the place of whatever there is of it; else it is there, and only
        /// its guests change.
        whole: bool,
        /// Who is from now on.
        add: Shares,
        /// Who is no more.
        remove: Shares,
    },
    /// Have all guests of a family heard by the one server: no switch.
    DirectNobody(Family),
    /// Remove the device, both ends.
    DeleteDevice,
    /// Something for the server.
    Server(dnsmasq::Action),
    /// Something for the process of a share of the guests.
    Share(Share, dnsmasq::Action),
    /// Have the metadata service's addresses, the guard before them, and somebody who listens.
    ServeMetadata(metadata::Service),
    /// Close it, and remove all of it.
    StopMetadata,
    /// Remove the namespace and its name.
    DeleteNamespace,
}

impl Action {
    /// For one of the network's processes.
    pub fn for_server(share: Option<Share>, action: dnsmasq::Action) -> Self {
        match share {
            Some(share) => Self::Share(share, action),
            None => Self::Server(action),
        }
    }

    /// What it is for one of the network's processes, and which.
    pub fn of_server(&self) -> Option<(Option<Share>, &dnsmasq::Action)> {
        match self {
            Self::Server(action) => Some((None, action)),
            Self::Share(share, action) => Some((Some(*share), action)),
            _ => None,
        }
    }

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
            Self::SetGateway(..) => "set-gateway",
            Self::ChangeNeighbours { .. } => "change-neighbours",
            Self::AdmitToDhcpv6 { .. } => "admit-to-dhcpv6",
            Self::OpenDhcpv6 => "open-dhcpv6",
            Self::Direct { .. } => "direct-guests",
            Self::DirectNobody(_) => "direct-nobody",
            Self::CreateRoom(..) => "create-room",
            Self::InRoom(_, action) => action.kind(),
            Self::DeleteRoom(_) => "delete-room",
            Self::DeleteDevice => "delete-device",
            Self::Server(action) | Self::Share(_, action) => action.kind(),
            Self::ServeMetadata(_) => "serve-metadata",
            Self::StopMetadata => "stop-metadata",
            Self::DeleteNamespace => "delete-namespace",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace => write!(f, "create the network namespace"),
            Self::SetSysctl(sysctl) => write!(f, "set {} to {}", sysctl.path(), sysctl.value()),
            Self::AddRule(Rule::SelectedOther) => {
                write!(f, "add the rule that drops NAKs to guests of another server")
            }
            Self::AddRule(Rule::Checksum(family)) => {
                write!(f, "add the checksum rule for UDP port {}", family.client_port())
            }
            Self::RequireBridge(Bridge { name, ours: true, .. }) => write!(f, "create bridge {name}"),
            Self::RequireBridge(Bridge { name, vlan: None, .. }) => write!(f, "wait for bridge {name}"),
            Self::RequireBridge(Bridge { name, vlan: Some(vlan), .. }) => {
                write!(f, "wait for bridge {name} that filters VLANs and keeps {vlan} free")
            }
            Self::CreateDevice { mac, mtu, attached } => {
                write!(f, "create the DHCP device {mac} (MTU {mtu}) {}", attached.place())
            }
            Self::AttachDevice(attached) => write!(f, "put the DHCP device {}", attached.place()),
            Self::SetMtu(mtu) => write!(f, "set the device's MTU to {mtu}"),
            Self::SetUp => write!(f, "set the device up"),
            Self::AddAddress(address) => write!(f, "add address {address}"),
            Self::RemoveAddress(address) => write!(f, "remove address {address}"),
            Self::SetGateway(_, Some(gateway)) => write!(f, "set the default route to {gateway}"),
            Self::SetGateway(family, None) => write!(f, "remove the {family} default route"),
            Self::ChangeNeighbours { add, remove } => {
                write!(f, "set {} permanent neighbours and remove {}", add.len(), remove.len())
            }
            Self::AdmitToDhcpv6 { whole: true, add, .. } => {
                write!(f, "put a filter before the DHCPv6 server that admits {} guests", add.len())
            }
            Self::AdmitToDhcpv6 { whole: false, add, remove } => {
                write!(f, "admit {} guests to the DHCPv6 server and shut out {}", add.len(), remove.len())
            }
            Self::OpenDhcpv6 => write!(f, "remove the filter before the DHCPv6 server"),
            Self::Direct { family, whole: true, add, .. } => {
                let count = add.len();
                write!(f, "put a switch before the server that shares out {count} guests of {family}")
            }
            Self::Direct { family, whole: false, add, remove } => {
                write!(f, "share out {} guests of {family} and {} no longer", add.len(), remove.len())
            }
            Self::DirectNobody(family) => write!(f, "remove the switch for {family} before the server"),
            Self::CreateRoom(share, device) => {
                write!(f, "share {share}: make its namespace, with the device {}", device.mac)
            }
            Self::InRoom(share, action) => write!(f, "share {share}: {action}"),
            Self::DeleteRoom(share) => write!(f, "share {share}: remove its namespace"),
            Self::DeleteDevice => write!(f, "delete the DHCP device"),
            Self::Server(action) => action.fmt(f),
            Self::Share(share, action) => write!(f, "share {share}: {action}"),
            Self::ServeMetadata(service) => {
                let families = service.families.iter().map(ToString::to_string).collect::<Vec<_>>();
                let (families, guests) = (families.join(" and "), service.guests.len());
                write!(f, "serve metadata over {families} to {guests} addresses")
            }
            Self::StopMetadata => write!(f, "stop serving metadata"),
            Self::DeleteNamespace => write!(f, "delete the network namespace"),
        }
    }
}
