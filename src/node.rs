//! What a node holds, network by network, and what each action does to it.
//!
//! Desired and observed state are the same type, so that a plan is a comparison; [`Segment::record`]
//! is the one definition of an action's effect, used by the agent's cache, the dry run and the tests.
//! Pure: no I/O.

mod action;
mod attached;
mod namespace;
mod newcomer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::dnsmasq::{self, Client, Server, Share, Shares};
use crate::metadata;
use crate::types::{MacAddr, NetworkUid};

pub use action::Action;
pub use attached::Attached;
pub use namespace::Namespace;
pub use newcomer::Newcomer;

/// One network on this node. Every part may be missing: a half-made network is a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// The network namespace.
    pub namespace: Option<Namespace>,
    /// The bridge that the device is to be, or could be, a port of; `None` also where it is attached otherwise.
    pub bridge: Option<Bridge>,
    /// The DHCP device.
    pub device: Option<Device>,
    /// The DHCP and DNS server.
    pub server: Option<Server>,
    /// Where its guests are too many for it: those who serve a share of them each.
    pub shares: BTreeMap<Share, Server>,
    /// Where those are who serve DHCPv6: a namespace for each, with a device as the network's own, attached to
    /// nothing but what leads its guests' questions there. Observed: one that is not whole has a MAC address
    /// that nobody wants.
    pub rooms: BTreeMap<Share, Device>,
    /// The metadata service; `None`: nothing of it is there.
    pub metadata: Option<metadata::Service>,
}

/// A bridge on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Interface name.
    pub name: String,
    /// Desired: make it if it is missing. Observed: it was made by us.
    pub ours: bool,
    /// A VLAN that it is to have for one port, or could have.
    pub vlan: Option<u16>,
}

/// The DHCP device: a veth pair, one end in the namespace, the other on the node; or a macvlan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Of the end in the namespace.
    pub mac: MacAddr,
    /// Of both ends, in bytes.
    pub mtu: u32,
    /// What it is attached to. Observed: `None` is a veth whose outer end nobody has.
    pub attached: Option<Attached>,
    /// Whether both ends are up.
    pub up: bool,
    /// Addresses of the end in the namespace, but for link-local IPv6 ones, which the kernel makes.
    pub addresses: BTreeSet<IpNet>,
    /// Default routes of the namespace.
    pub gateways: BTreeMap<Family, IpAddr>,
    /// Permanent neighbour entries of the end in the namespace. Before it answers a DHCPv6 packet, dnsmasq
    /// waits for the sender's to appear, and answers nobody meanwhile.
    pub neighbours: BTreeMap<Ipv6Addr, MacAddr>,
}

/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The UDP port of this family's DHCP clients (RFC 2131 §4.1, RFC 8415 §7.2).
    pub fn client_port(self) -> u16 {
        match self {
            Self::V4 => 68,
            Self::V6 => 546,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
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
    /// An IPv6 address, a link-local one too, may be used at once.
    NoDuplicateAddressDetection,
    /// Who asks for a guest's MAC address does so by its own address: that of the metadata service is
    /// others', too.
    OwnAddressInArp,
}

impl Sysctl {
    /// All that a namespace needs.
    pub const ALL: [Self; 5] = [
        Self::PromoteSecondaries,
        Self::NonlocalBind,
        Self::NoRouterAdvertisements,
        Self::NoDuplicateAddressDetection,
        Self::OwnAddressInArp,
    ];

    /// Path below `/proc/sys`.
    pub fn path(self) -> &'static str {
        match self {
            Self::PromoteSecondaries => "net/ipv4/conf/all/promote_secondaries",
            Self::NonlocalBind => "net/ipv4/ip_nonlocal_bind",
            Self::NoRouterAdvertisements => "net/ipv6/conf/default/accept_ra",
            Self::NoDuplicateAddressDetection => "net/ipv6/conf/default/accept_dad",
            Self::OwnAddressInArp => "net/ipv4/conf/all/arp_announce",
        }
    }

    /// The wanted value.
    pub fn value(self) -> &'static str {
        match self {
            Self::PromoteSecondaries | Self::NonlocalBind => "1",
            Self::NoRouterAdvertisements | Self::NoDuplicateAddressDetection => "0",
            Self::OwnAddressInArp => "2",
        }
    }
}

impl Segment {
    /// Nothing of this network is on the node.
    pub fn is_absent(&self) -> bool {
        let nothing = self.namespace.is_none() && self.device.is_none() && self.server.is_none();
        nothing && self.shares.is_empty() && self.rooms.is_empty()
    }

    /// The server, and those of the shares.
    pub fn servers(&self) -> impl Iterator<Item = (Option<Share>, &Server)> {
        let shares = self.shares.iter().map(|(share, server)| (Some(*share), server));
        self.server.iter().map(|server| (None, server)).chain(shares)
    }

    /// The same, to be changed.
    pub fn servers_mut(&mut self) -> impl Iterator<Item = (Option<Share>, &mut Server)> {
        let shares = self.shares.iter_mut().map(|(share, server)| (Some(*share), server));
        self.server.iter_mut().map(|server| (None, server)).chain(shares)
    }

    /// One of them.
    pub fn server_of(&self, share: Option<Share>) -> Option<&Server> {
        share.map_or(self.server.as_ref(), |share| self.shares.get(&share))
    }

    /// Which of them answers a client, if any does.
    pub fn who_answers(&self, client: &Client) -> Option<(Option<Share>, &Server)> {
        self.servers_of(client.1).find(|(_, server)| server.hosts.entries.contains_key(client))
    }

    /// Those that may answer guests of this family.
    pub fn servers_of(&self, family: Family) -> impl Iterator<Item = (Option<Share>, &Server)> {
        self.servers().filter(move |(share, _)| share.is_none_or(|share| share.family == family))
    }

    /// Whose questions are led to which share of its guests.
    pub fn directed(&self, family: Family) -> Option<&Shares> {
        self.namespace.as_ref()?.directed.get(&family)
    }

    /// What its device is attached to.
    pub fn attached(&self) -> Option<&Attached> {
        self.device.as_ref().and_then(|device| device.attached.as_ref())
    }

    /// What `action` does when it succeeds.
    pub fn record(&mut self, action: &Action) {
        match action {
            Action::CreateNamespace => {
                *self = Self {
                    namespace: Some(Namespace { usable: true, ..Namespace::default() }),
                    bridge: self.bridge.take(),
                    server: self.server.take(),
                    shares: std::mem::take(&mut self.shares),
                    rooms: cut_off(std::mem::take(&mut self.rooms)),
                    ..Self::default()
                };
            }
            Action::SetSysctl(sysctl) => self.in_namespace(|n| n.sysctls.insert(*sysctl)),
            Action::AddRule(rule) => self.in_namespace(|n| n.rules.insert(*rule)),
            Action::AdmitToDhcpv6 { whole, add, remove } => {
                self.in_namespace(|n| n.admit(*whole, add, remove));
            }
            Action::OpenDhcpv6 => self.in_namespace(|n| n.known.take().is_some()),
            Action::Direct { family, whole, add, remove } => {
                self.in_namespace(|n| n.direct(*family, *whole, add, remove));
            }
            Action::DirectNobody(family) => self.in_namespace(|n| n.directed.remove(family).is_some()),
            Action::CreateRoom(share, device) => {
                self.rooms.insert(*share, device.clone());
            }
            Action::InRoom(share, action) => {
                self.rooms.entry(*share).and_modify(|device| device.record(action));
            }
            Action::DeleteRoom(share) => {
                self.rooms.remove(share);
            }
            Action::RequireBridge(bridge) => self.bridge = Some(bridge.clone()),
            Action::CreateDevice { mac, mtu, attached } => {
                self.device = Some(Device::new(*mac, *mtu, attached));
            }
            Action::DeleteDevice => (self.device, self.metadata) = (None, None),
            Action::DeleteNamespace => {
                (self.namespace, self.device, self.metadata) = (None, None, None);
                self.rooms = cut_off(std::mem::take(&mut self.rooms));
            }
            Action::ServeMetadata(service) => self.metadata = Some(service.clone()),
            Action::StopMetadata => self.metadata = None,
            Action::Server(action) => dnsmasq::record(&mut self.server, action),
            Action::Share(share, action) => {
                let mut server = self.shares.remove(share);
                dnsmasq::record(&mut server, action);
                self.shares.extend(server.map(|server| (*share, server)));
            }
            Action::AttachDevice(_)
            | Action::SetMtu(_)
            | Action::SetUp
            | Action::AddAddress(_)
            | Action::RemoveAddress(_)
            | Action::SetGateway(..)
            | Action::ChangeNeighbours { .. } => {
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

/// What led to them was in the network's namespace.
fn cut_off(rooms: BTreeMap<Share, Device>) -> BTreeMap<Share, Device> {
    rooms.into_keys().map(|share| (share, Device::half())).collect()
}

impl Device {
    fn new(mac: MacAddr, mtu: u32, attached: &Attached) -> Self {
        Self { attached: Some(attached.clone()), ..Self::bare(mac, mtu) }
    }

    /// Attached to nothing, up, with no address, route or neighbour.
    pub fn bare(mac: MacAddr, mtu: u32) -> Self {
        let (addresses, gateways, neighbours) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { mac, mtu, attached: None, up: true, addresses, gateways, neighbours }
    }

    /// One that is not whole.
    pub fn half() -> Self {
        Self { up: false, ..Self::bare(MacAddr::local([0; 5]), 0) }
    }

    /// Whether it has an address of this family.
    pub fn speaks(&self, family: Family) -> bool {
        self.addresses.iter().any(|net| Family::of(net.addr()) == family)
    }

    fn record(&mut self, action: &Action) {
        match action {
            Action::AttachDevice(attached) => self.attached = Some(attached.clone()),
            Action::SetMtu(mtu) => self.mtu = *mtu,
            Action::SetUp => self.up = true,
            Action::AddAddress(address) => {
                self.addresses.insert(*address);
            }
            Action::RemoveAddress(address) => {
                self.addresses.remove(address);
                // The kernel drops an IPv4 route whose gateway is no longer reachable. An IPv6 one stays.
                if !self.speaks(Family::V4) {
                    self.gateways.remove(&Family::V4);
                }
            }
            Action::SetGateway(family, Some(gateway)) => {
                self.gateways.insert(*family, *gateway);
            }
            Action::SetGateway(family, None) => {
                self.gateways.remove(family);
            }
            Action::ChangeNeighbours { add, remove } => {
                self.neighbours.retain(|ip, _| !remove.contains(ip));
                self.neighbours.extend(add);
            }
            _ => {}
        }
    }
}

/// The name of a network's namespace.
pub fn namespace_name(uid: NetworkUid) -> String {
    format!("{NAMESPACE_PREFIX}{uid}")
}

/// The name of the namespace in which the process of a share is.
pub fn room_name(uid: NetworkUid, share: Share) -> String {
    format!("{}-{share}", namespace_name(uid))
}

/// Whose namespace this name is: a network's, or there a share's.
pub fn named(name: &str) -> Option<(NetworkUid, Option<Share>)> {
    const UID_LENGTH: usize = 36;
    let (uid, rest) = name.strip_prefix(NAMESPACE_PREFIX)?.split_at_checked(UID_LENGTH)?;
    let room = || Share::of_name(rest.strip_prefix('-')?).filter(|share| share.has_room());
    let share = if rest.is_empty() { None } else { Some(room()?) };
    Some((uid.parse().ok()?, share))
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
