//! From the objects of one network to what this node holds for it, and what is to be said of each
//! object.
//!
//! Called by the agent's workers and by `kube-dhcp plan`, each time anew and for one network at a
//! time. Pure; the ledger of allocations is the only thing it changes.

mod accept;
mod adverts;
mod arrivals;
mod attachment;
mod claimed;
mod declared;
mod effective;
mod identity;
mod metadata;
mod network;
mod options4;
mod options6;
mod port;
mod recorded;
mod segment;
mod servers;
mod strangers;
mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::allocate::{Claim, HeldLater, Ledger};
use crate::api::{DHCPServer, Network, PhysicalNetwork, Subnet};
use crate::dnsmasq::{Client, Layout, Limits, Spread};
use crate::metadata::Directory;
use crate::node::{Family, Segment};
use crate::reason::{Problem, Reason};
use crate::service::{Asker, Service};
use crate::types::{MacAddr, NetworkUid, ObjectName, TxtRecord};

pub use accept::{Accepted, accept, lost};
pub use arrivals::{Arrivals, Known};
pub use attachment::Attachment;
pub use claimed::identifier_of;
pub use declared::Declared;
pub use effective::{Advertised, Effective, EffectiveFamily, EffectiveOption, effective};
use identity::asker;
pub use identity::server_mac;
use network::Admitted;
pub use network::{SegmentId, granted, segment_id};
use port::Guest;
pub use recorded::{holder, is_same_decision, record};
use segment::segment;
pub use servers::Servers;
use subnet::{Served, nothing_to_serve};

/// What the node is and was told, the same for all its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// The node's name.
    pub name: String,
    /// Physical networks by name.
    pub attachments: BTreeMap<String, Attachment>,
    /// Whether a missing bridge is made.
    pub create_bridges: bool,
    /// Where `forwarding: Agent` sends questions.
    pub agent_forwarders: Vec<IpAddr>,
    /// Where `forwarding: Node` sends questions.
    pub node_forwarders: Vec<IpAddr>,
    /// TXT records of all networks.
    pub txt_records: Vec<TxtRecord>,
    /// The state directory.
    pub state: PathBuf,
    /// Whether a server here can be told to keep still to guests that selected another one.
    pub several_servers: bool,
    /// Whether its operator named a metadata server.
    pub metadata: bool,
    /// When the guests of a network are shared out among several processes.
    pub limits: Limits,
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
    pub ports: Vec<Arc<Declared>>,
    /// What a controller decided: then addresses are served as they are recorded, and nothing is
    /// allocated here.
    pub server: Option<Arc<DHCPServer>>,
}

impl Inputs {
    /// Whether the Port of this name asks for just this address.
    pub fn asks_for(&self, port: &str, ip: IpAddr) -> bool {
        let at = self.ports.binary_search_by(|p| p.metadata.name.as_deref().unwrap_or_default().cmp(port));
        let addresses = at.ok().and_then(|at| self.ports[at].spec.addresses.as_ref());
        let texts = addresses.into_iter().flatten().filter_map(|address| address.ip.as_deref());
        texts.filter_map(|text| text.parse().ok()).any(|asked: IpAddr| asked == ip)
    }

    /// The addresses of the network's servers on all nodes, as far as a controller told.
    pub fn server_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.server.iter().flat_map(|server| &server.spec.addresses);
        let texts = addresses.flat_map(|a| [&a.ip].into_iter().chain(&a.in_place_of).chain(&a.resolvers));
        texts.filter_map(|text| text.parse().ok())
    }
}

/// What a node shall hold for one network, and what is true of its objects so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// `None`: nothing of this network. Of a large one first with one server for all guests, see
    /// [`share_out`](Self::share_out).
    pub segment: Option<Segment>,
    /// How its guests are shared out, if they may be too many for one process.
    pub spread: Option<Spread>,
    /// Why the network is not served.
    pub problem: Option<Problem>,
    /// Whose requests for metadata are answered; `None`: nobody's.
    pub directory: Option<Directory>,
    /// Why there is no metadata service although it was asked for; all else is served.
    pub metadata_problem: Option<Problem>,
    /// Addresses of the DHCP server.
    pub server_addresses: Vec<IpAddr>,
    /// Those at which it answers guests' DHCP messages.
    pub asked: Vec<IpAddr>,
    /// Who asks there whether it does.
    pub asker: Option<Asker>,
    /// By name.
    pub subnets: BTreeMap<String, SubnetView>,
    /// By name.
    pub ports: BTreeMap<String, PortView>,
}

impl Desired {
    /// Gives each guest that is one too many for one process to the one of its share, where they are as
    /// `observed`. After that it is what the node shall hold.
    pub fn share_out(&mut self, observed: &Segment) {
        let Some((segment, spread)) = self.segment.as_mut().zip(self.spread.as_ref()) else { return };
        let Some(server) = segment.server.take() else { return };
        let shares = spread.shares(&server, &observed.shares);
        if shares.is_empty() {
            segment.server = Some(server);
            return;
        }
        let (server, servers) = spread.spread(server, &shares);
        (segment.server, segment.shares) = (Some(server), servers);
        segment::give_rooms(segment, shares.get(&Family::V6));
        if let Some(namespace) = &mut segment.namespace {
            namespace.directed = shares;
        }
    }
}

/// What is to be said of a Subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubnetView {
    /// Why it is not served.
    pub problem: Option<Problem>,
    /// As guests are told.
    pub gateway: Option<IpAddr>,
    /// Addresses that its pools can give.
    pub total: u64,
    /// Addresses in use.
    pub used: u64,
    /// Addresses that nobody has and nobody gets yet.
    pub releasing: u64,
    /// Why no guest can get all of its options.
    pub crowded: Option<Problem>,
}

/// What is to be said of a Port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortView {
    /// Whom DHCP answers for it; none: nobody.
    pub clients: Vec<Client>,
    /// What was allocated, with the Subnets' names.
    pub addresses: Vec<(IpAddr, String)>,
    /// Why it is not accepted.
    pub problem: Option<Problem>,
    /// Why it has not all its addresses.
    pub unallocated: Option<Problem>,
    /// Why DHCP does not answer although it was asked to.
    pub unserved: Option<Problem>,
    /// Why it cannot get all of its options.
    pub crowded: Option<Problem>,
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
    let shared = inputs.server.is_some();
    let agent = asker(node, uid, shared);
    let mut settled = settle(inputs, admitted, &[agent.mac, agent.device], ledger);
    let offer = metadata::offer(node, inputs, &mut settled.subnets, &settled.ports.guests);
    let service = service(uid, agent, inputs, admitted, &settled);
    let with_dhcp: Vec<_> = service.scopes.iter().filter(|s| s.has_dhcp()).map(|s| s.cidr).collect();
    let serves = !service.scopes.is_empty();
    let layout = Layout::new(&node.state, uid);
    let spread = if serves { Spread::new(&service, layout, node.limits) } else { None };
    let segment = serves.then(|| Segment {
        metadata: offer.service,
        ..segment(node, uid, (agent, shared), admitted, &settled, service)
    });
    let Settled { subnets, subnet_views, ports } = settled;
    let view = |guest: &Guest| (guest.name().to_owned(), guest.view(&subnets));
    // All at once: one by one each would look for its place.
    let mut views: BTreeMap<_, _> = ports.guests.iter().map(view).collect();
    views.extend(ports.views);
    let server_addresses: Vec<_> = subnets.iter().filter_map(|subnet| subnet.server).collect();
    let is_asked = |ip: &IpAddr| with_dhcp.iter().any(|cidr| cidr.contains(ip));
    let asked = server_addresses.iter().copied().filter(is_asked).collect();
    let problem = nothing_to_serve(inputs, &subnets).filter(|_| segment.is_none());
    Desired {
        segment,
        spread,
        problem,
        directory: offer.directory,
        metadata_problem: offer.problem,
        server_addresses,
        asked,
        asker: Some(agent),
        subnets: subnet_views,
        ports: views,
    }
}

/// Subnets and ports with their addresses.
struct Settled<'a> {
    subnets: Vec<Served>,
    subnet_views: BTreeMap<String, SubnetView>,
    ports: port::Ports<'a>,
}

/// `own` are MAC addresses that no guest can have.
fn settle<'a>(
    inputs: &'a Inputs,
    admitted: &'a Admitted,
    own: &[MacAddr],
    ledger: &mut Ledger,
) -> Settled<'a> {
    let mut recorded = inputs.server.as_ref().map(|server| recorded::ledger(server, &inputs.ports));
    let decided = recorded.is_some();
    let ledger = recorded.as_mut().unwrap_or(ledger);
    let (mut subnets, mut subnet_views) = subnet::admit(inputs, admitted.mtu, ledger);
    let mut ports = port::admit(inputs, admitted.domain.as_ref(), ledger);
    ports.refuse(own, &HeldLater::new(ledger));
    match &inputs.server {
        Some(server) => recorded::give(server, ledger, &mut subnets, &mut ports.guests),
        None => {
            allocate(&mut subnets, &subnet_views, &mut ports, ledger, &Servers::new(1), Vec::new());
        }
    }
    if inputs.server.as_ref().is_some_and(|server| !server.spec.dynamic) {
        for subnet in &mut subnets {
            subnet.dynamic.clear();
        }
    }
    strangers::cut(inputs, &mut subnets, &ports.guests, ledger);
    describe(&subnets, &mut subnet_views, ledger);
    // What waits for its addresses is nobody's yet.
    if decided {
        ports.guests.retain(|guest| !guest.addresses().is_empty());
    }
    Settled { subnets, subnet_views, ports }
}

fn describe(subnets: &[Served], views: &mut BTreeMap<String, SubnetView>, ledger: &Ledger) {
    for subnet in subnets {
        let view = views.entry(subnet.pool.subnet_name.clone()).or_default();
        view.problem = (subnet.scope && subnet.server.is_none()).then(|| subnet.no_server());
        view.gateway = subnet.gateway;
        view.total = subnet.pool.size();
        view.crowded = subnet.crowded();
        view.used = ledger.used(&subnet.pool.subnet_name) as u64;
    }
}

/// Gives each server its address in each subnet with DHCP, and the guests theirs; `leaving` keep what they
/// have. Returns what the servers got.
fn allocate(
    subnets: &mut [Served],
    views: &BTreeMap<String, SubnetView>,
    ports: &mut port::Ports<'_>,
    ledger: &mut Ledger,
    servers: &Servers,
    leaving: Vec<Claim<'_>>,
) -> servers::Allotted {
    let pools: Vec<_> = subnets.iter().map(|subnet| subnet.pool.clone()).collect();
    let waiting: Vec<_> =
        views.iter().filter(|(_, view)| view.problem.is_some()).map(|(n, _)| n.clone()).collect();
    let with_dhcp: Vec<_> = subnets.iter_mut().filter(|subnet| subnet.scope).collect();
    let names: Vec<_> = with_dhcp.iter().map(|subnet| subnet.pool.subnet_name.clone()).collect();
    let mut claims = servers.claims(&names, &waiting, ledger);
    claims.extend(ports.guests.iter().map(Guest::claim));
    // After the guests: who has no temporary address goes without, and its predecessor answers.
    claims.extend(servers.temporary_claims(&with_dhcp));
    claims.extend(ports.holding.iter().cloned().chain(leaving));
    let mut given = ledger.allocate(&pools, &waiting, &claims).into_iter();
    let slots: Vec<_> = given.by_ref().take(servers.slots.into()).collect();
    for subnet in with_dhcp {
        let name = &subnet.pool.subnet_name;
        let mut all = slots.iter().flat_map(|server| &server.addresses);
        subnet.server = all.find(|(_, subnet)| subnet == name).map(|(ip, _)| *ip);
    }
    for (guest, given) in ports.guests.iter_mut().zip(given.by_ref()) {
        guest.give(given);
    }
    servers::Allotted { slots, temporary: servers.held.keys().copied().zip(given).collect() }
}

fn service(
    uid: NetworkUid,
    asker: Asker,
    inputs: &Inputs,
    admitted: &Admitted,
    settled: &Settled,
) -> Service {
    let (subnets, guests) = (&settled.subnets, &settled.ports.guests);
    let scopes: Vec<_> = subnets.iter().filter_map(|subnet| subnet.scope(admitted, subnets)).collect();
    let mut service = Service {
        silent: BTreeSet::new(),
        advertisement: adverts::advertisement(admitted, &scopes),
        mtu: admitted.mtu.filter(|_| scopes.iter().any(|scope| scope.cidr.addr().is_ipv4())),
        scopes,
        reservations: guests.iter().flat_map(|guest| guest.reservations(subnets)).collect(),
        names: guests.iter().flat_map(Guest::names).collect(),
        domain: admitted.domain.clone(),
        txt: admitted.txt.clone(),
        reverse: subnets.iter().map(|subnet| subnet.pool.cidr).collect(),
        forwarders: admitted.forwarders.clone(),
        identity: uid.bytes(),
        asker: Some(asker),
    };
    if service.is_open() {
        service.silent = strangers::silent(inputs, &service.reservations, asker);
    }
    service
}

#[cfg(test)]
mod tests;
