//! From what was judged of a network, and what its agents report, to the statuses of its objects.
//!
//! Called by the controller's loop after the allocations are made. Pure. Only what differs from what the
//! API server has is given.

mod servers;
mod shortcomings;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;

use super::act::Undone;
use super::book::{has, reached};
use super::conflict::conflict;
use super::foreign::foreign;
use super::judge::{Judged, active};
use super::lacking::{self, Lacking};
use super::world::{Snapshot, revision};
use crate::api::{
    Conditioned, DHCPServer, DHCPServerStatus, Network, NetworkStatus, Port, PortCounts, PortStatus,
    ServerCounts, Slot, Subnet, SubnetStatus, is_true,
};
use crate::conditions::{self, AllDone, Placed, Progress, count};
use crate::desired::{PortView, lost};
use crate::place::Feature;
use crate::reason::{Problem, Reason};
use servers::{answers, lives, servers, unplaced, why};
use shortcomings::shortcoming;

/// What is to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Statuses {
    /// Of the Ports.
    pub ports: Vec<(Arc<Port>, PortStatus)>,
    /// Of the Subnets.
    pub subnets: Vec<(Arc<Subnet>, SubnetStatus)>,
    /// Of the Network.
    pub network: Option<(Arc<Network>, NetworkStatus)>,
    /// Of the servers: our part.
    pub servers: Vec<(Arc<DHCPServer>, DHCPServerStatus)>,
}

impl Statuses {
    /// Whether there are such that are not written each time.
    pub(super) fn has_slow(&self) -> bool {
        self.network.is_some() || !self.subnets.is_empty()
    }

    /// Whether nothing but numbers is new in those.
    pub(super) fn are_numbers_only(&self) -> bool {
        let network = self.network.iter().all(|(network, status)| {
            let ports = network.status.as_ref().and_then(|old| old.ports);
            network.status.as_ref() == Some(&NetworkStatus { ports, ..status.clone() })
        });
        network
            && self.subnets.iter().all(|(subnet, status)| {
                let old = subnet.status.as_ref();
                let addresses = old.and_then(|old| old.addresses);
                old == Some(&SubnetStatus { addresses, ..status.clone() })
            })
    }
}

/// The statuses of a network's objects. Addresses of which there is no allocation are nobody's yet.
pub(super) fn statuses(snapshot: &Snapshot, judged: &Judged, undone: &Undone, now: Timestamp) -> Statuses {
    if snapshot.hidden {
        return Statuses::default();
    }
    let reports = Reports::new(snapshot, judged, undone);
    let servers = servers(snapshot, now);
    match &snapshot.inputs {
        None => Statuses { servers, ..orphans(snapshot, now) },
        Some(inputs) => {
            let ports: Vec<_> = (snapshot.ports.iter())
                .map(|port| (port.clone(), port_status(port, judged, undone, &reports, now)))
                .collect();
            let network = reports.network_status(&inputs.network, judged, &ports, now);
            Statuses {
                ports: ports
                    .into_iter()
                    .filter(|(port, status)| port.status.as_ref() != Some(status))
                    .collect(),
                subnets: reports.subnets(snapshot, judged, now),
                network: (inputs.network.status.as_ref() != Some(&network))
                    .then(|| (inputs.network.clone(), network)),
                servers,
            }
        }
    }
}

fn orphans(snapshot: &Snapshot, now: Timestamp) -> Statuses {
    let (subnet_view, port_view) = lost(&snapshot.name.name);
    let port = |port: &Arc<Port>| {
        let (generation, before) = facts(port.as_ref());
        let status = conditions::port(name(port), &port_view, &AllDone, generation, now, before);
        let status = PortStatus { servers: None, ..status };
        (port.status.as_ref() != Some(&status)).then(|| (port.clone(), status))
    };
    let subnet = |subnet: &Arc<Subnet>| {
        let (generation, before) = facts(subnet.as_ref());
        let status = conditions::subnet("", &subnet_view, &AllDone, generation, now, before);
        (subnet.status.as_ref() != Some(&status)).then(|| (subnet.clone(), status))
    };
    Statuses {
        ports: snapshot.ports.iter().filter_map(port).collect(),
        subnets: snapshot.subnets.iter().filter_map(subnet).collect(),
        ..Statuses::default()
    }
}

/// What the agents say of a network.
struct Reports<'a> {
    active: Vec<&'a Arc<DHCPServer>>,
    ready: Vec<&'a Arc<DHCPServer>>,
    /// Those of the active ones whose agents are alive.
    heard: Vec<&'a Arc<DHCPServer>>,
    /// Why not all servers are placed.
    unplaced: Option<Problem>,
    /// What all that is not ready waits for.
    why: Problem,
    ports: &'a [Arc<Port>],
    subnets: &'a [Arc<Subnet>],
    lacking: &'a Lacking,
    needed: bool,
}

impl<'a> Reports<'a> {
    fn new(snapshot: &'a Snapshot, judged: &'a Judged, undone: &Undone) -> Self {
        let uid = snapshot.inputs.as_ref().and_then(|inputs| inputs.network.metadata.uid.as_deref());
        let active: Vec<_> = uid.into_iter().flat_map(|uid| active(snapshot, uid)).collect();
        let ready: Vec<_> =
            active.iter().copied().filter(|server| answers(snapshot, server).is_ok()).collect();
        let heard = active.iter().copied().filter(|server| lives(snapshot, server)).collect();
        let unplaced = unplaced(judged, undone);
        let why = why(snapshot, unplaced.as_ref(), &active);
        let (ports, subnets) = (&snapshot.ports[..], &snapshot.subnets[..]);
        let (lacking, needed) = (&judged.lacking, !judged.accepted.families.is_empty());
        Self { active, ready, heard, unplaced, why, ports, subnets, lacking, needed }
    }

    fn subnets(
        &self,
        snapshot: &Snapshot,
        judged: &Judged,
        now: Timestamp,
    ) -> Vec<(Arc<Subnet>, SubnetStatus)> {
        let of = |subnet: &Arc<Subnet>| {
            let name = subnet.metadata.name.as_deref().unwrap_or_default();
            let view = judged.accepted.subnets.get(name).cloned().unwrap_or_default();
            let (generation, before) = facts(subnet.as_ref());
            let status = conditions::subnet(name, &view, self, generation, now, before);
            (subnet.status.as_ref() != Some(&status)).then(|| (subnet.clone(), status))
        };
        snapshot.subnets.iter().filter_map(of).collect()
    }

    fn network_status(
        &self,
        network: &Network,
        judged: &Judged,
        ports: &[(Arc<Port>, PortStatus)],
        now: Timestamp,
    ) -> NetworkStatus {
        let ready = ports.iter().filter(|(_, status)| is_true(&status.conditions, "Ready")).count();
        let (generation, before) = facts(network);
        let wanted = if self.needed { count(judged.accepted.slots.len()) } else { 0 };
        let accepted = judged.accepted.problem.clone().map_or(Ok(()), Err);
        let placed = Placed {
            ready: accepted.clone().and_then(|()| self.network_state(network, wanted)),
            scheduled: accepted.clone().and(self.unplaced.clone().map_or(Ok(()), Err)),
            accepted,
            foreign: foreign(&self.heard),
            servers: ServerCounts { desired: wanted, ready: count(self.ready.len()) },
            slots: self.slots(judged),
            subnets: count(self.subnets.len()),
            ports: PortCounts { total: count(ports.len()), ready: count(ready) },
        };
        conditions::placed_network(placed, generation, now, before)
    }

    fn network_state(&self, network: &Network, wanted: u32) -> Result<Option<Problem>, Problem> {
        Progress::network(self)?;
        let generation = network.metadata.generation.unwrap_or(0);
        let told = |server: &&&Arc<DHCPServer>| {
            server.status.as_ref().and_then(|status| status.network_generation) >= Some(generation)
        };
        if self.needed && !self.ready.iter().any(|server| told(&server)) {
            return Err(Problem::new(Reason::Progressing, "not all of it is told to a server yet"));
        }
        let ready = count(self.ready.len());
        Ok(shortcoming(network, &self.active, self.lacking, (ready, wanted)))
    }

    fn slots(&self, judged: &Judged) -> Vec<Slot> {
        let of = |(slot, addresses): (usize, &Vec<crate::api::ServerAddress>)| {
            let slot = u8::try_from(slot).unwrap_or(u8::MAX);
            let holder = self.active.iter().find(|server| server.spec.slot == slot);
            Slot {
                slot,
                node_name: holder.map(|server| server.spec.node_name.clone()),
                addresses: addresses.iter().map(|address| address.ip.clone()).collect(),
            }
        };
        judged.accepted.slots.iter().enumerate().map(of).collect()
    }
}

impl Progress for Reports<'_> {
    fn network(&self) -> Result<(), Problem> {
        if self.ready.is_empty() && self.needed { Err(self.why.clone()) } else { Ok(()) }
    }

    fn subnet(&self, name: &str) -> Result<(), Problem> {
        self.network()?;
        let subnet = self.subnets.iter().find(|subnet| subnet.metadata.name.as_deref() == Some(name));
        let generation = subnet.and_then(|subnet| subnet.metadata.generation).unwrap_or(0);
        let features = subnet.map(|subnet| lacking::of_subnet(subnet)).unwrap_or_default();
        let lacks = |server: &DHCPServer| lacking::problem(self.lacking, &server.spec.node_name, &features);
        let told = |server: &&&Arc<DHCPServer>| {
            let subnets = server.status.iter().flat_map(|status| &status.subnets);
            subnets.into_iter().any(|subnet| subnet.name == name && subnet.generation >= generation)
        };
        let mut told = self.ready.iter().filter(told).peekable();
        let waits = || Problem::new(Reason::Progressing, "no server says yet that it serves it as it is now");
        let first = told.peek().and_then(|server| lacks(server)).unwrap_or_else(waits);
        match told.any(|server| lacks(server).is_none()) {
            false if self.needed => Err(first),
            // Another one may be on its way, but that one is told to is certain.
            _ if features.contains(&Feature::Dynamic) && !self.active.iter().any(|s| s.spec.dynamic) => {
                Err(Problem::new(Reason::Progressing, NOBODY))
            }
            _ => Ok(()),
        }
    }

    /// One that was ready as it is now stays so until a server refuses it: its revision moves with each
    /// write of its status.
    fn port(&self, name: &str) -> Result<(), Problem> {
        self.network()?;
        let at =
            self.ports.binary_search_by(|port| port.metadata.name.as_deref().unwrap_or_default().cmp(name));
        let Ok(at) = at else { return Err(waiting()) };
        let port = &self.ports[at];
        let uid = port.metadata.uid.as_deref().unwrap_or_default();
        let features = lacking::of_port(port).into_iter().collect();
        for server in &self.ready {
            if let Some(lacks) = lacking::problem(self.lacking, &server.spec.node_name, &features) {
                return Err(lacks);
            }
            let mut refused = server.status.iter().flat_map(|status| &status.refused_ports);
            if let Some(refusal) = refused.find(|refusal| refusal.uid == uid) {
                let node = &server.spec.node_name;
                let message = format!("node {node}: {}: {}", refusal.reason, refusal.message);
                return Err(Problem::new(Reason::RefusedByServer, message));
            }
        }
        let is_told = |server: &&Arc<DHCPServer>| reached(server) >= Some(revision(&**port));
        if was_ready(port) || self.ready.iter().all(is_told) { Ok(()) } else { Err(waiting()) }
    }
}

const NOBODY: &str = "no server is told to answer guests that are no Port; where that lasts, the definition of \
    DHCPServer is older than the controller";

fn waiting() -> Problem {
    Problem::new(Reason::Progressing, "not all servers have it yet")
}

fn was_ready(port: &Port) -> bool {
    let ready = port.condition("Ready").filter(|ready| ready.status == "True");
    ready.is_some_and(|ready| ready.observed_generation == port.metadata.generation)
}

fn port_status(
    port: &Port,
    judged: &Judged,
    undone: &Undone,
    reports: &Reports<'_>,
    now: Timestamp,
) -> PortStatus {
    let mut view = judged.accepted.ports.get(name(port)).cloned().unwrap_or_default();
    // What it has already stays its, also where that cannot be written down as it is now.
    let has = |ip: &IpAddr| has(port, &ip.to_string());
    let refused = |ip: &IpAddr| undone.addresses.get(ip).filter(|_| !has(ip))?.as_ref();
    if let Some((ip, why)) = view.addresses.iter().find_map(|(ip, _)| Some((ip, refused(ip)?))) {
        let message = format!("the IPAllocation of {ip} is refused: {why}");
        view.unallocated.get_or_insert(Problem::new(Reason::RefusedByAPIServer, message));
    }
    view.addresses.retain(|(ip, _)| undone.addresses.get(ip).is_none_or(|why| why.is_some() && has(ip)));
    let (generation, before) = facts(port);
    let moved = has_moved(port, &view);
    let status = conditions::port(name(port), &view, &Settled { reports, moved }, generation, now, before);
    // How many serve it is the Network's to say: a failover is not a change of each of its Ports.
    PortStatus { servers: None, ..status }
}

/// Whether its addresses are others than it is known to have.
fn has_moved(port: &Port, view: &PortView) -> bool {
    let old = port.status.iter().flat_map(|status| &status.addresses).map(|address| address.ip.clone());
    !old.eq(view.addresses.iter().map(|(ip, _)| ip.to_string()))
}

struct Settled<'a> {
    reports: &'a Reports<'a>,
    /// Its addresses are to be written first.
    moved: bool,
}

impl Progress for Settled<'_> {
    fn network(&self) -> Result<(), Problem> {
        self.reports.network()
    }

    fn port(&self, name: &str) -> Result<(), Problem> {
        if self.moved { Err(waiting()) } else { self.reports.port(name) }
    }

    fn conflict(&self, name: &str) -> Option<Problem> {
        conflict(&self.reports.active, &self.reports.heard, name)
    }
}

fn facts<K: Resource + Conditioned>(object: &K) -> (i64, &[Condition]) {
    (object.meta().generation.unwrap_or(0), object.conditions())
}

fn name(port: &Port) -> &str {
    port.metadata.name.as_deref().unwrap_or_default()
}
