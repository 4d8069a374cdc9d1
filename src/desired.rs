//! From the objects of one network to what this node holds for it, and what is to be said of each
//! object.
//!
//! Called by the agent's workers and by `kube-dhcp plan`, each time anew and for one network at a
//! time. Pure; the ledger of allocations is the only thing it changes.

mod network;
mod port;
mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::allocate::{Allocation, Claim, Holder, Ledger, Wish};
use crate::api::{Network, PhysicalNetwork, Port, Subnet};
use crate::dnsmasq::{self, Layout};
use crate::node::{Bridge, Device, Family, Namespace, Segment, Sysctl};
use crate::reason::{Problem, Reason};
use crate::service::Service;
use crate::types::{MacAddr, NetworkUid, ObjectName};

use network::Admitted;
pub use network::{Attachment, SegmentId, segment_id};
use port::Guest;
use subnet::Served;

/// What the node is and was told, the same for all its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// Physical networks by name.
    pub attachments: BTreeMap<String, Attachment>,
    /// Whether a missing bridge is made.
    pub create_bridges: bool,
    /// Where `forwarding: Agent` sends questions.
    pub agent_forwarders: Vec<IpAddr>,
    /// Where `forwarding: Node` sends questions.
    pub node_forwarders: Vec<IpAddr>,
    /// The state directory.
    pub state: PathBuf,
}

/// The objects of one network.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The network.
    pub network: Arc<Network>,
    /// Its physical network's object, if there is one.
    pub physical_network: Option<Arc<PhysicalNetwork>>,
    /// The other Network that has the segment.
    pub segment_holder: Option<ObjectName>,
    /// Subnets of the network, by name.
    pub subnets: Vec<Arc<Subnet>>,
    /// Ports of the network, by name.
    pub ports: Vec<Arc<Port>>,
}

impl Inputs {
    /// Whether the Port of this name asks for just this address.
    pub fn asks_for(&self, port: &str, ip: Ipv4Addr) -> bool {
        let at = self.ports.binary_search_by(|p| p.metadata.name.as_deref().unwrap_or_default().cmp(port));
        let addresses = at.ok().and_then(|at| self.ports[at].spec.addresses.as_ref());
        let texts = addresses.into_iter().flatten().filter_map(|address| address.ip.as_deref());
        texts.filter_map(|text| text.parse().ok()).any(|asked: Ipv4Addr| asked == ip)
    }
}

/// What a node shall hold for one network, and what is true of its objects so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// `None`: nothing of this network.
    pub segment: Option<Segment>,
    /// Why the network is not served.
    pub problem: Option<Problem>,
    /// Addresses of the DHCP server.
    pub server_addresses: Vec<Ipv4Addr>,
    /// By name.
    pub subnets: BTreeMap<String, SubnetView>,
    /// By name.
    pub ports: BTreeMap<String, PortView>,
}

/// What is to be said of a Subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubnetView {
    /// Why it is not served.
    pub problem: Option<Problem>,
    /// As guests are told.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses that its pools can give.
    pub total: u64,
    /// Addresses in use.
    pub used: u64,
}

/// What is to be said of a Port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortView {
    /// Whom DHCP answers for it; `None`: nobody.
    pub mac: Option<MacAddr>,
    /// What was allocated, with the Subnets' names.
    pub addresses: Vec<(Ipv4Addr, String)>,
    /// Why it is not accepted.
    pub problem: Option<Problem>,
    /// Why it has not all its addresses.
    pub unallocated: Option<Problem>,
    /// Why DHCP does not answer although it was asked to.
    pub unserved: Option<Problem>,
}

/// The desired state of one network. `ledger` is brought up to date: what the network's ports and
/// servers hold, and what they gave back.
pub fn desired(node: &NodeConfig, uid: NetworkUid, inputs: &Inputs, ledger: &mut Ledger) -> Desired {
    match network::admit(node, inputs) {
        Ok(admitted) => served(node, uid, inputs, &admitted, ledger),
        Err(problem) => unserved(inputs, problem),
    }
}

/// Ports and Subnets wait; what they hold stays theirs.
fn unserved(inputs: &Inputs, problem: Problem) -> Desired {
    let name = inputs.network.metadata.name.clone().unwrap_or_default();
    let waiting = Problem::new(Reason::NetworkNotServed, format!("Network {name} is not served: {problem}"));
    let subnet = SubnetView { problem: Some(waiting.clone()), ..SubnetView::default() };
    let port = PortView { unserved: Some(waiting), ..PortView::default() };
    let names = |name: &Option<String>| name.clone().unwrap_or_default();
    Desired {
        problem: Some(problem),
        subnets: inputs.subnets.iter().map(|s| (names(&s.metadata.name), subnet.clone())).collect(),
        ports: inputs.ports.iter().map(|p| (names(&p.metadata.name), port.clone())).collect(),
        ..Desired::default()
    }
}

fn served(
    node: &NodeConfig,
    uid: NetworkUid,
    inputs: &Inputs,
    admitted: &Admitted,
    ledger: &mut Ledger,
) -> Desired {
    let (mut subnets, mut subnet_views) = subnet::admit(inputs, ledger);
    let mut ports = port::admit(inputs, admitted.domain.as_ref(), ledger);
    allocate(&mut subnets, &subnet_views, &mut ports, ledger);
    for subnet in &subnets {
        let view = subnet_views.entry(subnet.pool.subnet_name.clone()).or_default();
        view.problem = (subnet.scope && subnet.server.is_none()).then(|| subnet.no_server());
        view.gateway = subnet.gateway;
        view.total = subnet.pool.size();
        view.used = ledger.used(&subnet.pool.subnet_name) as u64;
    }
    let service = service(admitted, &subnets, &ports.guests);
    let view = |guest: &Guest| (guest.name.clone(), guest.view(&subnets, admitted.domain.as_ref()));
    ports.views.extend(ports.guests.iter().map(view));
    let segment = (!service.scopes.is_empty()).then(|| segment(node, uid, admitted, &subnets, &service));
    let server_addresses = subnets.iter().filter_map(|subnet| subnet.server).collect();
    let problem = nothing_to_serve(inputs, &subnets).filter(|_| segment.is_none());
    Desired { segment, problem, server_addresses, subnets: subnet_views, ports: ports.views }
}

/// Why a network has no server although it should have one.
fn nothing_to_serve(inputs: &Inputs, subnets: &[Served]) -> Option<Problem> {
    if subnets.is_empty() {
        return Some(Problem::new(Reason::NoSubnet, no_subnet(inputs)));
    }
    subnets.iter().find(|subnet| subnet.scope).map(Served::no_server)
}

fn no_subnet(inputs: &Inputs) -> String {
    match inputs.subnets.len() {
        0 => "the Network has no Subnet yet".to_owned(),
        n => format!("none of the Network's {n} Subnets can be served; see their conditions"),
    }
}

/// Gives the server its address in each subnet with DHCP, and the guests theirs.
fn allocate(
    subnets: &mut [Served],
    views: &BTreeMap<String, SubnetView>,
    ports: &mut port::Ports,
    ledger: &mut Ledger,
) {
    let pools: Vec<_> = subnets.iter().map(|subnet| subnet.pool.clone()).collect();
    let waiting: Vec<_> =
        views.iter().filter(|(_, view)| view.problem.is_some()).map(|(n, _)| n.clone()).collect();
    let with_dhcp: Vec<_> = subnets.iter_mut().filter(|subnet| subnet.scope).collect();
    let slot = Holder::ServerSlot { slot: 0 };
    let mut wishes: Vec<_> =
        with_dhcp.iter().map(|subnet| Wish::In(subnet.pool.subnet_name.clone())).collect();
    let in_waiting = |(_, held): &(&Ipv4Addr, &Allocation)| {
        held.released.is_none() && held.holder == slot && waiting.contains(&held.subnet_name)
    };
    wishes.extend(ledger.iter().filter(in_waiting).map(|(ip, _)| Wish::Exactly(*ip)));
    let server = Claim { holder: slot.clone(), wishes };
    let guests = ports.guests.iter().map(|guest| guest.claim.clone());
    let claims: Vec<_> = std::iter::once(server).chain(guests).chain(ports.holding.clone()).collect();
    let mut given = ledger.allocate(&pools, &waiting, &claims).into_iter();
    let server = given.next().unwrap_or_default();
    for subnet in with_dhcp {
        let name = &subnet.pool.subnet_name;
        subnet.server = server.addresses.iter().find(|(_, subnet)| subnet == name).map(|(ip, _)| *ip);
    }
    for (guest, given) in ports.guests.iter_mut().zip(given) {
        guest.given = given;
    }
}

fn service(admitted: &Admitted, subnets: &[Served], guests: &[Guest]) -> Service {
    let mut names = BTreeMap::new();
    for guest in guests {
        names.extend(guest.names(admitted.domain.as_ref()));
    }
    Service {
        scopes: subnets.iter().filter_map(|subnet| subnet.scope(admitted, subnets)).collect(),
        reservations: guests.iter().filter_map(|guest| guest.reservation(subnets)).collect(),
        names,
        domain: admitted.domain.clone(),
        reverse: subnets.iter().map(|subnet| subnet.pool.cidr).collect(),
        forwarders: admitted.forwarders.clone(),
    }
}

fn segment(
    node: &NodeConfig,
    uid: NetworkUid,
    admitted: &Admitted,
    subnets: &[Served],
    service: &Service,
) -> Segment {
    let (server, _) = dnsmasq::server(service, &Layout::new(&node.state, uid));
    let bytes = uid.bytes();
    let device = Device {
        mac: MacAddr::local([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]]),
        mtu: u32::from(admitted.mtu.unwrap_or(1500)),
        bridge: Some(admitted.bridge.clone()),
        up: true,
        addresses: subnets.iter().filter_map(Served::device_address).collect(),
        gateway: subnets.iter().filter(|subnet| subnet.server.is_some()).find_map(|subnet| subnet.gateway),
    };
    Segment {
        namespace: Some(Namespace {
            usable: true,
            sysctls: BTreeSet::from(Sysctl::ALL),
            rules: BTreeSet::from(Family::ALL),
        }),
        bridge: Some(Bridge { name: admitted.bridge.clone(), ours: node.create_bridges }),
        device: Some(device),
        server: Some(server),
    }
}

#[cfg(test)]
mod tests;
