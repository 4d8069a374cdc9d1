//! All objects of the cluster that matter, and which networks a change of one of them touches.
//!
//! Filled by the controller's loop from its watches and from the answers to its own writes; read one
//! network at a time. Pure. What is older than what is known changes nothing.

mod room;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::{Resource, ResourceExt};

use room::Room;

use super::holder;
use super::nodes::{Agent, NodeFacts};
use super::segments::Segments;
use crate::allocate::Holder;
use crate::api::{DHCPAgent, DHCPServer, IPAllocation, Network, PhysicalNetwork, Port, ServerState, Subnet};
use crate::desired::{Declared, SegmentId, may_have_segment, segment_id};
use crate::members::Members;
use crate::types::{NetworkUid, ObjectName, Revision};

pub(super) use view::Snapshot;

/// Networks with something to do.
pub(super) type Dirty = BTreeSet<ObjectName>;

/// An object that the controller looks at.
#[derive(Debug, Clone)]
pub(super) enum Object {
    Network(Arc<Network>),
    Subnet(Arc<Subnet>),
    Port(Arc<Port>),
    Server(Arc<DHCPServer>),
    Allocation(Arc<IPAllocation>),
    Physical(Arc<PhysicalNetwork>),
    Agent(Arc<DHCPAgent>),
    Node(String, Arc<NodeFacts>),
    Namespace(String, Arc<BTreeMap<String, String>>),
}

/// Which object is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Network,
    Subnet,
    Port,
    Server,
    Allocation,
    Physical,
    Agent,
    Node,
    Namespace,
}

impl Object {
    /// Namespace and name.
    pub(super) fn name(&self) -> ObjectName {
        match self {
            Self::Network(o) => name_of(&**o),
            Self::Subnet(o) => name_of(&**o),
            Self::Port(o) => name_of(&**o),
            Self::Server(o) => name_of(&**o),
            Self::Allocation(o) => name_of(&**o),
            Self::Physical(o) => name_of(&**o),
            Self::Agent(o) => name_of(&**o),
            Self::Node(name, _) | Self::Namespace(name, _) => ObjectName::new("", name),
        }
    }
}

/// An address that was given back: the memory that lets it rest.
#[derive(Debug, Clone)]
pub(super) struct Freed {
    pub subnet_name: String,
    pub holder: Holder,
    pub order: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct World {
    networks: BTreeMap<ObjectName, Arc<Network>>,
    subnets: Members<Subnet>,
    ports: Members<Declared>,
    servers: Members<DHCPServer>,
    allocations: Members<IPAllocation>,
    physical: BTreeMap<String, Arc<PhysicalNetwork>>,
    agents: BTreeMap<String, Agent>,
    nodes: BTreeMap<String, Arc<NodeFacts>>,
    namespaces: BTreeMap<String, Arc<BTreeMap<String, String>>>,
    segments: Segments,
    on_physical: BTreeMap<String, BTreeSet<ObjectName>>,
    /// How full the nodes are.
    pub room: Room,
    /// The revision at which a Port went, by its UID, while somebody may ask.
    port_deletions: BTreeMap<String, Revision>,
    /// Up to which the Ports are known.
    pub ports_revision: Revision,
    freed: BTreeMap<NetworkUid, BTreeMap<std::net::IpAddr, Freed>>,
    frees: u64,
    /// Agents whose Lease expired, and for how long.
    dead: BTreeMap<String, Duration>,
}

impl World {
    /// Takes a new or changed object in; says which networks it touches.
    pub(super) fn apply(&mut self, object: Object) -> Dirty {
        self.take(object, false)
    }

    /// Takes an object of a new list in: what a list says is true even if it is older, for the API
    /// server's storage may have been put back.
    pub(super) fn replace(&mut self, object: Object) -> Dirty {
        self.take(object, true)
    }

    fn take(&mut self, object: Object, backwards: bool) -> Dirty {
        match object {
            Object::Network(network) => self.apply_network(network, backwards),
            Object::Subnet(subnet) => {
                let (name, network) = belongs(&*subnet, &subnet.spec.network_ref.name);
                if is_stale(&*subnet, self.subnets.get(&name), backwards) {
                    return Dirty::new();
                }
                self.subnets.insert(name, network, subnet).into_iter().collect()
            }
            Object::Port(port) => {
                let (name, network) = belongs(&*port, &port.spec.network_ref.name);
                if is_stale(&*port, self.ports.get(&name).map(|old| old.object()), backwards) {
                    return Dirty::new();
                }
                self.ports.insert(name, network, Arc::new(port.into())).into_iter().collect()
            }
            Object::Server(server) => self.apply_server(server, backwards),
            Object::Allocation(allocation) => {
                let (name, network) = belongs(&*allocation, &allocation.spec.network_name);
                if is_stale(&*allocation, self.allocations.get(&name), backwards) {
                    return Dirty::new();
                }
                self.allocations.insert(name, network, allocation).into_iter().collect()
            }
            Object::Physical(physical) => {
                let name = physical.name_any();
                if is_stale(&*physical, self.physical.get(&name), backwards) {
                    return Dirty::new();
                }
                let same = self.physical.get(&name).is_some_and(|old| old.spec == physical.spec);
                self.physical.insert(name.clone(), physical);
                if same { Dirty::new() } else { self.on(&name) }
            }
            Object::Agent(agent) => {
                let name = agent.name_any();
                let agent = Agent::new(agent);
                let same = self.agents.get(&name).is_some_and(|old| old.is_as_good_as(&agent));
                self.agents.insert(name.clone(), agent);
                if same { Dirty::new() } else { self.networks.keys().cloned().collect() }
            }
            Object::Node(name, facts) => {
                let old = self.nodes.insert(name, facts.clone());
                if old == Some(facts) { Dirty::new() } else { self.networks.keys().cloned().collect() }
            }
            Object::Namespace(name, labels) => {
                let old = self.namespaces.insert(name.clone(), labels.clone());
                if old == Some(labels) { Dirty::new() } else { self.in_namespace(&name) }
            }
        }
    }

    /// A watch says that an object is gone. There may be another one of its name already, which we made
    /// ourselves.
    pub(super) fn deleted(
        &mut self,
        kind: Kind,
        name: &ObjectName,
        uid: Option<&str>,
        revision: Revision,
    ) -> Dirty {
        if let (Kind::Port, Some(uid)) = (kind, uid) {
            self.port_deletions.insert(uid.to_owned(), revision);
        }
        if self.revision_of(kind, name) > Some(revision) {
            return Dirty::new();
        }
        self.remove(kind, name, revision)
    }

    /// The resource version of what is known; of nodes and namespaces none is kept.
    fn revision_of(&self, kind: Kind, name: &ObjectName) -> Option<Revision> {
        match kind {
            Kind::Network => self.networks.get(name).map(|o| revision(&**o)),
            Kind::Subnet => self.subnets.get(name).map(|o| revision(&**o)),
            Kind::Port => self.ports.get(name).map(|o| revision(&**o.object())),
            Kind::Server => self.servers.get(name).map(|o| revision(&**o)),
            Kind::Allocation => self.allocations.get(name).map(|o| revision(&**o)),
            Kind::Physical => self.physical.get(&name.name).map(|o| revision(&**o)),
            Kind::Agent => self.agents.get(&name.name).map(|agent| revision(&*agent.object)),
            Kind::Node | Kind::Namespace => None,
        }
    }

    /// What is known of an object is gone, since this revision.
    pub(super) fn remove(&mut self, kind: Kind, name: &ObjectName, revision: Revision) -> Dirty {
        match kind {
            Kind::Network => self.remove_network(name),
            Kind::Subnet => self.subnets.remove(name).into_iter().collect(),
            Kind::Port => {
                if let Some(uid) = self.ports.get(name).and_then(|port| port.metadata.uid.clone()) {
                    self.port_deletions.insert(uid, revision);
                }
                self.ports.remove(name).into_iter().collect()
            }
            Kind::Server => {
                let mut dirty = match self.servers.get(name).cloned() {
                    Some(server) => self.unload(&server.spec.node_name, name),
                    None => Dirty::new(),
                };
                dirty.extend(self.servers.remove(name));
                dirty
            }
            Kind::Allocation => self.remove_allocation(name),
            Kind::Physical => {
                self.physical.remove(&name.name);
                self.on(&name.name)
            }
            Kind::Agent => {
                self.agents.remove(&name.name);
                self.networks.keys().cloned().collect()
            }
            Kind::Node => {
                self.nodes.remove(&name.name);
                self.networks.keys().cloned().collect()
            }
            Kind::Namespace => {
                self.namespaces.remove(&name.name);
                Dirty::new()
            }
        }
    }

    /// Takes in who is dead; says which networks that touches.
    pub(super) fn set_dead(&mut self, dead: BTreeMap<String, Duration>) -> Dirty {
        let same = dead.keys().eq(self.dead.keys());
        self.dead = dead;
        if same { Dirty::new() } else { self.networks.keys().cloned().collect() }
    }

    /// Forgets when Ports went that held nothing.
    pub(super) fn prune(&mut self) {
        let asked: BTreeSet<_> =
            self.allocations.iter().filter_map(|allocation| allocation.spec.holder.uid.clone()).collect();
        self.port_deletions.retain(|uid, _| asked.contains(uid));
    }

    fn apply_network(&mut self, network: Arc<Network>, backwards: bool) -> Dirty {
        let name = name_of(&*network);
        if is_stale(&*network, self.networks.get(&name), backwards) {
            return Dirty::new();
        }
        let physical = network.spec.physical_network_ref.name.clone();
        let segment = segment_id(&network);
        self.on_physical.entry(physical).or_default().insert(name.clone());
        self.networks.insert(name.clone(), network);
        let mut dirty = self.contest(&segment);
        dirty.insert(name);
        dirty
    }

    fn remove_network(&mut self, name: &ObjectName) -> Dirty {
        let mut dirty = Dirty::from([name.clone()]);
        self.room.forget(name);
        if let Some(network) = self.networks.remove(name) {
            let physical = &network.spec.physical_network_ref.name;
            if let Some(networks) = self.on_physical.get_mut(physical) {
                networks.remove(name);
            }
            if let Some(uid) = network.metadata.uid.as_deref().and_then(|uid| uid.parse().ok()) {
                self.freed.remove::<NetworkUid>(&uid);
            }
            dirty.extend(self.contest(&segment_id(&network)));
        }
        dirty
    }

    fn apply_server(&mut self, server: Arc<DHCPServer>, backwards: bool) -> Dirty {
        let (name, network) = belongs(&*server, &server.spec.network_ref.name);
        if is_stale(&*server, self.servers.get(&name), backwards) {
            return Dirty::new();
        }
        let mut dirty = Dirty::new();
        if server.spec.state == ServerState::Active {
            self.room.load(&server.spec.node_name, &name);
        } else {
            dirty = self.unload(&server.spec.node_name, &name);
        }
        dirty.extend(self.servers.insert(name, network, server));
        dirty
    }

    fn unload(&mut self, node: &str, server: &ObjectName) -> Dirty {
        let capacity = self.agents.get(node).map_or(u32::MAX, |agent| agent.capacity);
        self.room.unload(node, server, capacity)
    }

    fn remove_allocation(&mut self, name: &ObjectName) -> Dirty {
        if let Some(gone) = self.allocations.get(name).cloned() {
            if let Some(uid) = &gone.spec.holder.uid {
                self.port_deletions.remove(uid);
            }
            let (network, ip) = (gone.spec.network_uid.parse(), gone.spec.ip.parse());
            if let (Ok(network), Ok(ip), Some(name)) = (network, ip, &gone.spec.holder.name) {
                self.frees += 1;
                let holder = holder::as_written(name, &gone.spec.holder);
                let freed = Freed { subnet_name: gone.spec.subnet_name.clone(), holder, order: self.frees };
                self.freed.entry(network).or_default().insert(ip, freed);
            }
        }
        self.allocations.remove(name).into_iter().collect()
    }

    fn on(&mut self, physical: &str) -> Dirty {
        let networks = self.on_physical.get(physical).cloned().unwrap_or_default();
        let mut dirty = networks.clone();
        for segment in self.segments_of(&networks) {
            dirty.extend(self.contest(&segment));
        }
        dirty
    }

    fn in_namespace(&mut self, namespace: &str) -> Dirty {
        let mut dirty: Dirty = self.networks.keys().filter(|n| n.namespace == namespace).cloned().collect();
        for segment in self.segments_of(&dirty) {
            dirty.extend(self.contest(&segment));
        }
        dirty
    }

    fn segments_of(&self, networks: &Dirty) -> BTreeSet<SegmentId> {
        networks.iter().filter_map(|name| self.networks.get(name)).map(|n| segment_id(n)).collect()
    }

    /// Who has a segment now; the networks for which that changed something.
    fn contest(&mut self, segment: &SegmentId) -> Dirty {
        let on = self.on_physical.get(&segment.0).cloned().unwrap_or_default();
        let physical = self.physical.get(&segment.0).cloned();
        let none = Arc::default();
        let contender = |name: &ObjectName| {
            let network = self.networks.get(name)?;
            let labels = self.namespaces.get(&name.namespace).unwrap_or(&none);
            let may = physical.is_some() && may_have_segment(network, physical.as_deref(), labels);
            (segment_id(network) == *segment && may).then(|| (name.clone(), network.clone()))
        };
        let contenders: Vec<_> = on.iter().filter_map(contender).collect();
        self.segments.contest(segment, contenders)
    }
}

fn ns(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_default()
}

/// Namespace and name.
pub(super) fn name_of(object: &impl ResourceExt) -> ObjectName {
    ObjectName::new(ns(object), object.name_any())
}

fn belongs(object: &impl ResourceExt, network: &str) -> (ObjectName, ObjectName) {
    (name_of(object), ObjectName::new(ns(object), network))
}

/// Whether an object is no newer than the one that is known.
fn is_stale<K: Resource>(object: &K, known: Option<&Arc<K>>, backwards: bool) -> bool {
    let (new, old) = (revision(object), known.map(|known| revision(&**known)));
    old.is_some_and(|old| new == old || (new < old && !backwards))
}

/// The resource version of an object.
pub(super) fn revision(object: &impl Resource) -> Revision {
    Revision::read(object.meta().resource_version.as_deref()).unwrap_or_default()
}
