//! All objects of the cluster that matter, and which networks a change of one of them touches.
//!
//! Filled by the controller's loop from its watches and from the answers to its own writes; read one
//! network at a time. Pure. What is older than what is known changes nothing.

mod freed;
mod gone;
mod object;
mod room;
mod unread;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};

use freed::Memory;
use gone::Gone;
use room::Room;
use unread::Unread;

use super::nodes::{Agent, NodeFacts};
use super::segments::{Contender, Segments};
use crate::api::{Conditioned, DHCPServer, IPAllocation, Network, PhysicalNetwork, ServerState, Subnet};
use crate::desired::{Declared, SegmentId, granted, segment_id};
use crate::members::Members;
use crate::types::{ObjectName, Revision};
use crate::validate;

pub(super) use freed::Freed;
pub(super) use object::{Kind, Object, name_of};
use object::{belongs, ns};
pub(super) use view::Snapshot;

/// Networks with something to do.
pub(super) type Dirty = BTreeSet<ObjectName>;

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
    freed: Memory,
    /// Agents whose Lease expired, and for how long.
    dead: BTreeMap<String, Duration>,
    gone: Gone,
    unread: Unread,
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
        let (kind, uid) = object.identity();
        if let Some(uid) = uid.filter(|uid| self.gone.contains(uid)) {
            if !backwards {
                return Dirty::new();
            }
            self.gone.remove(uid);
        }
        if !self.unread.is_empty() {
            self.unread.read(kind, &object.name());
        }
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
        if let Some(uid) = uid {
            self.gone.insert(uid);
            if kind == Kind::Port {
                self.port_deletions.insert(uid.to_owned(), revision);
            }
        }
        if self.metadata_of(kind, name).map(read_revision) > Some(revision) {
            return Dirty::new();
        }
        self.remove(kind, name, revision)
    }

    /// Of what is known; of nodes and namespaces none is kept.
    fn metadata_of(&self, kind: Kind, name: &ObjectName) -> Option<&ObjectMeta> {
        match kind {
            Kind::Network => self.networks.get(name).map(|o| &o.metadata),
            Kind::Subnet => self.subnets.get(name).map(|o| &o.metadata),
            Kind::Port => self.ports.get(name).map(|o| &o.object().metadata),
            Kind::Server => self.servers.get(name).map(|o| &o.metadata),
            Kind::Allocation => self.allocations.get(name).map(|o| &o.metadata),
            Kind::Physical => self.physical.get(&name.name).map(|o| &o.metadata),
            Kind::Agent => self.agents.get(&name.name).map(|agent| &agent.object.metadata),
            Kind::Node | Kind::Namespace => None,
        }
    }

    /// What is known of an object is gone, since this revision, and does not come back.
    pub(super) fn remove(&mut self, kind: Kind, name: &ObjectName, revision: Revision) -> Dirty {
        // What a list lacks that we made after it was made is there, and comes again.
        let known = self.metadata_of(kind, name).filter(|metadata| read_revision(metadata) <= revision);
        if let Some(uid) = known.and_then(|metadata| metadata.uid.clone()) {
            self.gone.insert(&uid);
        }
        let mut dirty = self.unread.read(kind, name);
        dirty.extend(self.forget(kind, name, revision));
        dirty
    }

    /// What is known of an object is gone, as we think: we deleted it, and somebody may hold it back.
    pub(super) fn forget(&mut self, kind: Kind, name: &ObjectName, revision: Revision) -> Dirty {
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

    /// These of a list, or the one of a change, cannot be read, each with its network, if that can be.
    pub(super) fn unreadable(
        &mut self,
        kind: Kind,
        objects: impl IntoIterator<Item = (ObjectName, Option<String>)>,
    ) {
        for (name, network) in objects {
            // What was known stays.
            if self.metadata_of(kind, &name).is_none() {
                self.unread.insert(kind, name, network);
            }
        }
    }

    /// Who has which segment, by what the objects say: what one heard one after the other, and in which
    /// order, is no reason.
    pub(super) fn contest_all(&mut self) {
        self.segments = Segments::default();
        let all: BTreeSet<_> = self.networks.values().map(|network| segment_id(network)).collect();
        for segment in all {
            self.contest(&segment);
        }
    }

    /// Forgets when Ports went that held nothing, and other deletions of long ago.
    pub(super) fn prune(&mut self) {
        self.gone.age();
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
        let old = self.networks.insert(name.clone(), network);
        // One of its name that is another one, of which we did not hear that it went.
        let old = old.filter(|old| segment_id(old) != segment);
        let mut dirty = old.map(|old| self.leave_segment(&name, &old)).unwrap_or_default();
        self.on_physical.entry(physical).or_default().insert(name.clone());
        dirty.extend(self.contest(&segment));
        dirty.insert(name);
        dirty
    }

    fn leave_segment(&mut self, name: &ObjectName, network: &Network) -> Dirty {
        if let Some(networks) = self.on_physical.get_mut(&network.spec.physical_network_ref.name) {
            networks.remove(name);
        }
        self.contest(&segment_id(network))
    }

    fn remove_network(&mut self, name: &ObjectName) -> Dirty {
        let mut dirty = Dirty::from([name.clone()]);
        self.room.forget(name);
        if let Some(network) = self.networks.remove(name) {
            self.freed.forget(network.metadata.uid.as_deref().unwrap_or_default());
            dirty.extend(self.leave_segment(name, &network));
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
            if self.is_network(&gone) {
                self.freed.remember(&gone.spec);
            }
        }
        self.allocations.remove(name).into_iter().collect()
    }

    /// Whether the Network of an allocation is there.
    fn is_network(&self, allocation: &IPAllocation) -> bool {
        let name = ObjectName::new(ns(allocation), &allocation.spec.network_name);
        let network = self.networks.get(&name);
        network.is_some_and(|n| n.metadata.uid.as_deref() == Some(&allocation.spec.network_uid))
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
        let Some(physical) = self.physical.get(&segment.0) else {
            return self.segments.contest(segment, Vec::new());
        };
        let none = Arc::default();
        let contender = |name: &ObjectName| {
            let network = self.networks.get(name).filter(|network| segment_id(network) == *segment)?;
            let labels = self.namespaces.get(&name.namespace).unwrap_or(&none);
            if granted(network, physical, labels).is_err() {
                return None;
            }
            let uid = network.metadata.uid.as_deref();
            let had = || self.allocations.any_of(name, |a| Some(a.spec.network_uid.as_str()) == uid);
            let (is_accepted, holds) = (network.is("Accepted"), self.segments.holder(segment) == Some(name));
            let had_it = is_accepted || holds || had();
            // Whoever is refused anyway keeps nobody from it; but a mistake costs nobody what is its own.
            let may = had_it || validate::network(network).is_empty();
            may.then(|| Contender { name: name.clone(), network: network.clone(), is_accepted, had_it })
        };
        let contenders: Vec<_> = on.iter().filter_map(contender).collect();
        self.segments.contest(segment, contenders)
    }
}

/// Whether an object is no newer than the one that is known.
fn is_stale<K: Resource>(object: &K, known: Option<&Arc<K>>, backwards: bool) -> bool {
    let (new, old) = (revision(object), known.map(|known| revision(&**known)));
    old.is_some_and(|old| new == old || (new < old && !backwards))
}

/// The resource version of an object.
pub(super) fn revision(object: &impl Resource) -> Revision {
    read_revision(object.meta())
}

fn read_revision(metadata: &ObjectMeta) -> Revision {
    Revision::read(metadata.resource_version.as_deref()).unwrap_or_default()
}
