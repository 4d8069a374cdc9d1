//! Reading the world: one network with all that belongs to it, and the nodes.
//!
//! Called by the controller's turns. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Dirty, Freed, Kind, World, name_of, ns};
use crate::api::{DHCPServer, IPAllocation, Network, PhysicalNetwork, Port, Subnet};
use crate::controller::nodes::{Agent, NodeFacts};
use crate::desired::{Inputs, segment_id};
use crate::place::Feature;
use crate::types::{ObjectName, Revision};

/// What is known of one network.
#[derive(Debug, Clone)]
pub(in crate::controller) struct Snapshot {
    pub name: ObjectName,
    /// `None`: the Network does not exist.
    pub inputs: Option<Inputs>,
    pub labels: Arc<BTreeMap<String, String>>,
    /// Those of a Network that does not exist, else in `inputs`.
    pub subnets: Vec<Arc<Subnet>>,
    pub ports: Vec<Arc<Port>>,
    pub servers: Vec<Arc<DHCPServer>>,
    pub allocations: Vec<Arc<IPAllocation>>,
    pub deletions: BTreeMap<String, Revision>,
    pub ports_revision: Revision,
    pub freed: BTreeMap<std::net::IpAddr, Freed>,
    pub agents: BTreeMap<String, Standing>,
    /// Of all agents that are mapped to its physical network none can serve it beside others.
    pub one_server_only: bool,
    /// There is more of it than can be read: nothing can be decided.
    pub hidden: bool,
    /// Ports of its namespace that cannot be read.
    pub unread_ports: BTreeSet<String>,
}

/// The agent of a node, as far as its servers are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::controller) struct Standing {
    /// For how long it has been dead.
    pub dead_for: Option<Duration>,
    /// Its node is gone or out of service: nothing of it answers any more.
    pub fenced: bool,
}

impl World {
    /// The names of all objects of a kind: what a new list lacks is gone.
    pub(in crate::controller) fn names(&self, kind: Kind) -> BTreeSet<ObjectName> {
        let cluster = |name: &String| ObjectName::new("", name);
        let mut names: BTreeSet<_> = match kind {
            Kind::Network => self.networks.keys().cloned().collect(),
            Kind::Subnet => self.subnets.iter().map(|o| name_of(&**o)).collect(),
            Kind::Port => self.ports.iter().map(|o| name_of(&**o.object())).collect(),
            Kind::Server => self.servers.iter().map(|o| name_of(&**o)).collect(),
            Kind::Allocation => self.allocations.iter().map(|o| name_of(&**o)).collect(),
            Kind::Physical => self.physical.keys().map(cluster).collect(),
            Kind::Agent => self.agents.keys().map(cluster).collect(),
            Kind::Node => self.nodes.keys().map(cluster).collect(),
            Kind::Namespace => self.namespaces.keys().map(cluster).collect(),
        };
        names.extend(self.unread.names(kind).cloned());
        names
    }

    /// How many addresses that were given back are remembered.
    #[cfg(test)]
    pub(in crate::controller) fn remembered(&self) -> usize {
        self.freed.len()
    }

    /// As after a start, when a Port is gone of which nobody heard that it went.
    #[cfg(test)]
    pub(in crate::controller) fn forget_deletion(&mut self, uid: &str) {
        self.port_deletions.remove(uid);
    }

    /// All networks, and all names that something else takes for a network's.
    pub(in crate::controller) fn all(&self) -> Dirty {
        let subnets = self.subnets.iter().map(|o| ObjectName::new(ns(&**o), &o.spec.network_ref.name));
        let ports = self.ports.iter().map(|o| ObjectName::new(ns(&**o.object()), &o.spec.network_ref.name));
        let servers = self.servers.iter().map(|o| ObjectName::new(ns(&**o), &o.spec.network_ref.name));
        let held = self.allocations.iter().map(|o| ObjectName::new(ns(&**o), &o.spec.network_name));
        self.networks.keys().cloned().chain(subnets).chain(ports).chain(servers).chain(held).collect()
    }

    /// All Networks.
    pub(in crate::controller) fn networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.networks.values()
    }

    /// All Subnets.
    pub(in crate::controller) fn subnets(&self) -> impl Iterator<Item = &Arc<Subnet>> {
        self.subnets.iter()
    }

    /// All servers.
    pub(in crate::controller) fn servers(&self) -> impl Iterator<Item = &Arc<DHCPServer>> {
        self.servers.iter()
    }

    /// The names of all agents.
    pub(in crate::controller) fn agent_names(&self) -> BTreeSet<String> {
        self.agents.keys().cloned().collect()
    }

    /// What is known of one network.
    pub(in crate::controller) fn snapshot(&self, name: &ObjectName) -> Snapshot {
        let network = self.networks.get(name).cloned();
        let uid = network.as_ref().and_then(|n| n.metadata.uid.clone());
        let (subnets, ports) = (self.subnets.of(name), self.ports.of(name));
        let physical = network.as_ref().map(|network| &*network.spec.physical_network_ref.name);
        let one_server_only = physical.is_some_and(|physical| self.one_server_only(physical));
        let inputs = network.map(|network| Inputs {
            physical_network: self.physical.get(&network.spec.physical_network_ref.name).cloned(),
            segment_holder: self.segments.holder(&segment_id(&network)).filter(|h| *h != name).cloned(),
            subnets: subnets.clone(),
            ports: ports.clone(),
            server: None,
            network,
        });
        let (servers, allocations) = (self.servers.of(name), self.allocations.of(name));
        let uids = allocations.iter().filter_map(|a| a.spec.holder.uid.clone());
        let deletions = uids.filter_map(|uid| Some((uid.clone(), *self.port_deletions.get(&uid)?))).collect();
        let agents = servers.iter().map(|s| (s.spec.node_name.clone(), self.standing(&s.spec.node_name)));
        Snapshot {
            name: name.clone(),
            inputs,
            labels: self.namespaces.get(&name.namespace).cloned().unwrap_or_default(),
            subnets,
            ports: ports.iter().map(|port| port.object().clone()).collect(),
            deletions,
            ports_revision: self.ports_revision,
            freed: uid.map(|uid| self.freed.of(&uid)).unwrap_or_default(),
            agents: agents.collect(),
            one_server_only,
            hidden: self.unread.hides(name, self.networks.contains_key(name)),
            unread_ports: self.unread.ports(&name.namespace),
            servers,
            allocations,
        }
    }

    /// All nodes with an agent, as placement sees them.
    pub(in crate::controller) fn candidates(
        &self,
        network: &ObjectName,
        now: jiff::Timestamp,
    ) -> Vec<crate::place::Candidate> {
        let candidate = |(name, agent): (&String, &Agent)| self.candidate(network, name, agent, now);
        self.agents.iter().map(candidate).collect()
    }

    /// Of those the ones that have a server of the network.
    pub(in crate::controller) fn holders(
        &self,
        of: &Snapshot,
        now: jiff::Timestamp,
    ) -> Vec<crate::place::Candidate> {
        let nodes: BTreeSet<_> = of.servers.iter().map(|server| &server.spec.node_name).collect();
        let holder = |name: &String| Some(self.candidate(&of.name, name, self.agents.get(name)?, now));
        nodes.into_iter().filter_map(holder).collect()
    }

    fn candidate(
        &self,
        network: &ObjectName,
        node: &str,
        agent: &Agent,
        now: jiff::Timestamp,
    ) -> crate::place::Candidate {
        let alive = !self.dead.contains_key(node);
        agent.candidate(self.nodes.get(node).map(AsRef::as_ref), alive, self.room.taken(network, node), now)
    }

    /// All agents: the object, the node's facts, for how long it is dead.
    pub(in crate::controller) fn agents(
        &self,
    ) -> impl Iterator<Item = (&Agent, Option<&NodeFacts>, Option<Duration>)> {
        self.agents.iter().map(|(name, agent)| {
            (agent, self.nodes.get(name).map(AsRef::as_ref), self.dead.get(name).copied())
        })
    }

    /// All physical networks: the object, Networks on it, agents that reach it.
    pub(in crate::controller) fn physical_networks(
        &self,
    ) -> impl Iterator<Item = (&Arc<PhysicalNetwork>, usize, usize)> {
        self.physical.iter().map(|(name, physical)| {
            let reaches = |(node, agent): &(&String, &Agent)| {
                agent.reaches(name) && !self.dead.contains_key(node.as_str())
            };
            let networks = self.on_physical.get(name).map_or(0, BTreeSet::len);
            (physical, networks, self.agents.iter().filter(reaches).count())
        })
    }

    fn one_server_only(&self, physical: &str) -> bool {
        let mut mapped = self.agents.values().filter(|agent| agent.is_mapped_to(physical)).peekable();
        mapped.peek().is_some() && mapped.all(|agent| !agent.has(Feature::SeveralServers))
    }

    fn standing(&self, node: &str) -> Standing {
        let known = self.nodes.get(node);
        let fenced = known.is_none_or(|node| node.out_of_service);
        let no_agent = !self.agents.contains_key(node);
        let dead_for = self.dead.get(node).copied().or(no_agent.then_some(Duration::MAX));
        Standing { dead_for, fenced: fenced && dead_for.is_some() }
    }
}
