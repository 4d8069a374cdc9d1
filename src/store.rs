//! The objects that are known, and which networks a change of one of them touches.
//!
//! Filled by the agent's loop from a source's events; read by the workers, one network at a time.
//! Pure. Work for an event is bounded by the network that it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::{Conditioned, DHCPServer, Network, PhysicalNetwork, Port, ServerState, Subnet};
use crate::desired::{Declared, Inputs, SegmentId, granted, is_same_decision, segment_id};
use crate::members::Members;
use crate::selector::labels_of_namespace;
use crate::source::{Event, Kind, Object, ObjectKey, PortsOf};
use crate::types::{ObjectName, Revision};
use crate::validate;

/// Networks with something to do.
pub type Dirty = BTreeSet<ObjectName>;

/// All objects, by name and by network.
#[derive(Debug, Default)]
pub struct Store {
    networks: BTreeMap<ObjectName, Arc<Network>>,
    physical_networks: BTreeMap<String, Arc<PhysicalNetwork>>,
    subnets: Members<Subnet>,
    ports: Members<Declared>,
    segments: BTreeMap<SegmentId, ObjectName>,
    /// Where a controller decides which networks are served here: its decisions.
    decisions: Option<Decisions>,
    reported: Dirty,
}

impl Store {
    /// A store of the objects of a cluster: a network is wanted where a DHCPServer of this node says
    /// so, and who may have which segment is the controller's business.
    pub fn of_cluster() -> Self {
        Self { decisions: Some(Decisions::default()), ..Self::default() }
    }

    /// A store in which these networks have these segments, whoever else asks for one.
    pub fn with_segments(segments: BTreeMap<SegmentId, ObjectName>) -> Self {
        Self { segments, ..Self::default() }
    }

    /// Who has which segment.
    pub fn segments(&self) -> &BTreeMap<SegmentId, ObjectName> {
        &self.segments
    }

    /// All networks' names.
    pub fn networks(&self) -> impl Iterator<Item = &ObjectName> {
        self.networks.keys()
    }

    /// All networks' UIDs.
    pub fn uids(&self) -> impl Iterator<Item = &str> {
        self.networks.values().filter_map(|network| network.metadata.uid.as_deref())
    }

    /// Takes changes in; says which networks they touch.
    pub fn apply(&mut self, events: Vec<Event>) -> Dirty {
        let mut dirty = Dirty::new();
        let mut segments_move = false;
        for event in events {
            match event {
                Event::Apply(object) => {
                    segments_move |= matches!(object, Object::Network(_) | Object::PhysicalNetwork(_));
                    self.insert(object, &mut dirty);
                }
                Event::Delete(key) => {
                    segments_move |= matches!(key.kind, Kind::Network | Kind::PhysicalNetwork);
                    self.remove(&key, &mut dirty);
                }
                Event::PortsSeen(ports, revision) => {
                    dirty.extend(self.decisions.iter_mut().flat_map(|d| d.seen(&ports, revision)));
                }
            }
        }
        // After the whole batch: the first one admitted is the first by name, not by file.
        if segments_move && self.decisions.is_none() {
            dirty.extend(self.admit());
        }
        dirty
    }

    /// Networks of which only what is said of their server changed since the last call: our own reports,
    /// mostly.
    pub fn take_reported(&mut self) -> Dirty {
        std::mem::take(&mut self.reported)
    }

    /// The network of this name.
    pub fn network(&self, name: &ObjectName) -> Option<&Arc<Network>> {
        self.networks.get(name)
    }

    /// Whether this node is to serve the network of this name, and no other of that name.
    pub fn is_wanted(&self, name: &ObjectName, uid: &str) -> bool {
        self.decisions.as_ref().is_none_or(|decisions| decisions.active(name, uid).is_some())
    }

    /// All decisions for this node.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<DHCPServer>> {
        self.decisions.iter().flat_map(|decisions| decisions.by_name.values())
    }

    /// The decision for a network, whatever it says.
    pub fn server_of(&self, network: &ObjectName) -> Option<&Arc<DHCPServer>> {
        let decisions = self.decisions.as_ref()?;
        let uid = self.networks.get(network).and_then(|network| network.metadata.uid.as_deref());
        decisions.active(network, uid.unwrap_or_default()).or_else(|| {
            let mut names = decisions.by_network.get(network)?.iter();
            names.find_map(|name| decisions.by_name.get(name))
        })
    }

    /// Whether a controller decides.
    pub fn is_of_cluster(&self) -> bool {
        self.decisions.is_some()
    }

    /// Up to which revision the Ports of a network are known, and when one was removed last.
    pub fn ports_revision(&self, network: &ObjectName) -> Option<PortsRevision> {
        self.decisions.as_ref()?.revision(network)
    }

    /// Whether somebody waits for a Port of this network to be served.
    pub fn is_awaited(&self, network: &ObjectName) -> bool {
        // One without addresses waits for the controller, not for a server.
        let waits = |port: &Declared| {
            !port.is("Ready") && port.status.as_ref().is_some_and(|status| !status.addresses.is_empty())
        };
        self.ports.any_of(network, waits)
    }

    /// The objects of a network; `None`: it does not exist.
    pub fn inputs(&self, name: &ObjectName) -> Option<Inputs> {
        let network = self.networks.get(name)?.clone();
        let holder = self.segments.get(&segment_id(&network));
        Some(Inputs {
            physical_network: self.physical_networks.get(&network.spec.physical_network_ref.name).cloned(),
            segment_holder: holder.filter(|holder| *holder != name).cloned(),
            subnets: self.subnets.of(name),
            ports: self.ports.of(name),
            server: self.decisions.as_ref().and_then(|decisions| {
                decisions.active(name, network.metadata.uid.as_deref().unwrap_or_default()).cloned()
            }),
            network,
        })
    }

    /// All physical networks with the number of Networks on each.
    pub fn physical_networks(&self) -> impl Iterator<Item = (&Arc<PhysicalNetwork>, usize)> {
        self.physical_networks.iter().map(|(name, physical)| (physical, self.networks_on(name).len()))
    }

    /// Subnets and Ports whose Network does not exist.
    pub fn orphans(&self) -> (Vec<Arc<Subnet>>, Vec<Arc<Declared>>) {
        // A controller sees all of them, and says so.
        if self.is_of_cluster() {
            return (Vec::new(), Vec::new());
        }
        let lost = |name: &ObjectName| !self.networks.contains_key(name);
        (self.subnets.of_networks(lost), self.ports.of_networks(lost))
    }

    fn insert(&mut self, object: Object, dirty: &mut Dirty) {
        let key = object.key();
        let name = ObjectName::new(key.namespace, key.name);
        match object {
            Object::Network(network) => {
                dirty.insert(name.clone());
                self.networks.insert(name, network);
            }
            Object::PhysicalNetwork(physical) => {
                dirty.extend(self.networks_on(&name.name));
                self.physical_networks.insert(name.name, physical);
            }
            Object::Subnet(subnet) => {
                let network = ObjectName::new(&name.namespace, &subnet.spec.network_ref.name);
                dirty.extend(self.subnets.insert(name, network, subnet));
            }
            Object::Server(server) => {
                let network = ObjectName::new(&name.namespace, &server.spec.network_ref.name);
                let decisions = self.decisions.get_or_insert_default();
                if decisions.by_name.get(&name).is_some_and(|old| is_same_decision(old, &server)) {
                    self.reported.insert(network);
                } else {
                    dirty.insert(network);
                }
                decisions.insert(name, server);
            }
            Object::Port(port) => {
                let network = ObjectName::new(&name.namespace, &port.spec.network_ref.name);
                let settled = self.ports.get(&name).is_some_and(|old| has_only_become_ready(old, &port));
                let touched = self.ports.insert(name, network, Arc::new(port.into()));
                dirty.extend(touched.into_iter().filter(|_| !settled));
            }
        }
    }

    fn remove(&mut self, key: &ObjectKey, dirty: &mut Dirty) {
        let name = ObjectName::new(&key.namespace, &key.name);
        match key.kind {
            Kind::Network => {
                self.networks.remove(&name);
                dirty.insert(name);
            }
            Kind::PhysicalNetwork => {
                self.physical_networks.remove(&key.name);
                dirty.extend(self.networks_on(&key.name));
            }
            Kind::Subnet => dirty.extend(self.subnets.remove(&name)),
            Kind::Port => {
                let network = self.ports.remove(&name);
                if let Some(decisions) = &mut self.decisions {
                    decisions.removed.extend(network.clone());
                }
                dirty.extend(network);
            }
            Kind::DhcpServer => {
                dirty.extend(self.decisions.as_mut().and_then(|decisions| decisions.remove(&name)));
            }
        }
    }

    fn networks_on(&self, physical: &str) -> Vec<ObjectName> {
        let on = |network: &Network| network.spec.physical_network_ref.name == physical;
        self.networks.iter().filter(|(_, network)| on(network)).map(|(name, _)| name.clone()).collect()
    }

    /// A segment stays with the network that has it; one that is free goes to the first by name that
    /// may have it. Returns the networks for which that changes something.
    fn admit(&mut self) -> Vec<ObjectName> {
        let (networks, physical) = (&self.networks, &self.physical_networks);
        let may = |network: &Network| {
            let physical = physical.get(&network.spec.physical_network_ref.name);
            let namespace = network.metadata.namespace.as_deref().unwrap_or_default();
            physical
                .is_none_or(|physical| granted(network, physical, &labels_of_namespace(namespace)).is_ok())
        };
        let is_on = |name: &ObjectName, segment: &SegmentId| {
            networks.get(name).is_some_and(|network| segment_id(network) == *segment && may(network))
        };
        let before = self.segments.clone();
        // Whoever is refused anyway keeps nobody from it; but a mistake costs nobody what is its own.
        self.segments.retain(|segment, name| is_on(name, segment));
        for (name, network) in
            networks.iter().filter(|(_, network)| may(network) && validate::network(network).is_empty())
        {
            self.segments.entry(segment_id(network)).or_insert_with(|| name.clone());
        }
        let moved = |segment: &SegmentId| before.get(segment) != self.segments.get(segment);
        let touched = networks.iter().filter(|(_, network)| moved(&segment_id(network)));
        touched.map(|(name, _)| name.clone()).collect()
    }
}

/// How far the Ports of a network are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortsRevision {
    /// Everything up to here.
    pub seen: Revision,
    /// The last removal was at or before this, and after all others.
    pub removal: Revision,
}

/// What a controller decided for this node.
#[derive(Debug, Default)]
struct Decisions {
    by_name: BTreeMap<ObjectName, Arc<DHCPServer>>,
    by_network: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    revisions: BTreeMap<PortsOf, Revision>,
    removals: BTreeMap<ObjectName, Revision>,
    /// Networks that lost a Port, at a revision that is not known yet.
    removed: BTreeSet<ObjectName>,
}

impl Decisions {
    fn insert(&mut self, name: ObjectName, server: Arc<DHCPServer>) {
        let network = ObjectName::new(&name.namespace, &server.spec.network_ref.name);
        self.by_network.entry(network).or_default().insert(name.clone());
        self.by_name.insert(name, server);
    }

    fn remove(&mut self, name: &ObjectName) -> Option<ObjectName> {
        let server = self.by_name.remove(name)?;
        let network = ObjectName::new(&name.namespace, &server.spec.network_ref.name);
        if let Some(names) = self.by_network.get_mut(&network) {
            names.remove(name);
            if names.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(network)
    }

    fn active(&self, network: &ObjectName, uid: &str) -> Option<&Arc<DHCPServer>> {
        let is_it = |server: &&Arc<DHCPServer>| {
            server.spec.state == ServerState::Active && server.spec.network_ref.uid == uid
        };
        let names = self.by_network.get(network).into_iter().flatten();
        names.filter_map(|name| self.by_name.get(name)).find(is_it)
    }

    /// Returns the networks whose server is asked to say that it has come so far.
    fn seen(&mut self, ports: &PortsOf, revision: Revision) -> Vec<ObjectName> {
        let before = self.revisions.insert(ports.clone(), revision).unwrap_or_default();
        if revision < before {
            self.went_back(revision);
        }
        let covers = |network: &ObjectName| match ports {
            PortsOf::Network(name) => name == network,
            PortsOf::Namespace(namespace) => *namespace == network.namespace,
        };
        for network in std::mem::take(&mut self.removed) {
            if covers(&network) {
                self.removals.insert(network, revision);
            } else {
                self.removed.insert(network);
            }
        }
        let asked = |server: &DHCPServer| {
            let awaited: Option<Revision> =
                server.spec.awaited_revision.as_deref().and_then(|r| r.parse().ok());
            awaited.is_some_and(|awaited| before < awaited && awaited <= revision)
        };
        let servers = self.by_name.iter().filter(|(_, server)| asked(server));
        let networks = servers.map(|(name, s)| ObjectName::new(&name.namespace, &s.spec.network_ref.name));
        networks.filter(covers).collect()
    }

    /// The API server's storage was put back: numbers above this one are of a history that is no more.
    fn went_back(&mut self, now: Revision) {
        let all = self.revisions.values_mut().chain(self.removals.values_mut());
        all.for_each(|revision| *revision = now.min(*revision));
    }

    fn revision(&self, network: &ObjectName) -> Option<PortsRevision> {
        let own = self.revisions.get(&PortsOf::Network(network.clone()));
        let all = self.revisions.get(&PortsOf::Namespace(network.namespace.clone()));
        let removal = self.removals.get(network).copied().unwrap_or_default();
        Some(PortsRevision { seen: own.max(all).copied()?, removal })
    }
}

/// Its servers have done what it asks for, and all that changed is that the controller says so: there is
/// nothing to do, and nobody waits any more.
fn has_only_become_ready(old: &Port, new: &Port) -> bool {
    let addresses = |port: &Port| port.status.as_ref().map(|status| status.addresses.clone());
    old.metadata.uid == new.metadata.uid
        && old.metadata.generation == new.metadata.generation
        && old.spec == new.spec
        && addresses(old) == addresses(new)
        && new.is("Ready")
}

#[cfg(test)]
mod tests;
