//! What the watches of an agent have seen, and what of it is to be told.
//!
//! Filled by the cluster source. Pure. Nothing is told of a network before all of it is known, and
//! nothing is taken back because something is not known.

use std::collections::{BTreeMap, BTreeSet};

use super::loss::{loss, network_of_server};
use crate::api::DHCPServer;
use crate::source::{Event, Kind, Object, ObjectKey, PortsOf};
use crate::types::{ObjectName, Revision};

/// One watch of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WatchKey {
    /// The `DHCPServer`s of this node.
    Servers,
    /// All Networks of a namespace.
    Networks(String),
    /// All Subnets of a namespace.
    Subnets(String),
    /// Ports.
    Ports(PortsOf),
}

/// What a watch says.
#[derive(Debug)]
pub(super) enum News {
    Listed(Vec<Object>, Vec<(ObjectKey, String)>, Revision),
    Applied(Object, Revision),
    Deleted(ObjectKey, Revision),
    Reached(Revision),
    Unreadable(ObjectKey, String),
    Broken(String),
}

/// Above this many served networks in a namespace one watch is for all of its Ports.
const PORT_WATCHES: usize = 16;

#[derive(Debug, Default)]
struct Watched {
    objects: BTreeMap<ObjectKey, Object>,
    synced: bool,
    broken: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    watches: BTreeMap<WatchKey, Watched>,
    told: BTreeMap<ObjectKey, Object>,
    dirty: BTreeSet<ObjectKey>,
    seen: BTreeMap<PortsOf, Revision>,
    unreadable: BTreeMap<ObjectKey, String>,
    /// What the agent before this one was told last.
    before: BTreeMap<ObjectKey, Object>,
    taken: BTreeSet<ObjectName>,
}

impl Mirror {
    /// One that told these objects already.
    pub(super) fn tell_first(&mut self, objects: Vec<Object>) -> Vec<Event> {
        self.told = objects.into_iter().map(|object| (object.key(), object)).collect();
        self.dirty.extend(self.told.keys().cloned());
        self.told.values().cloned().map(Event::Apply).collect()
    }

    /// What was good before the agent was started: it stays in force where the new cannot be read.
    pub(super) fn remember(&mut self, objects: &[Object]) {
        self.before = objects.iter().map(|object| (object.key(), object.clone())).collect();
    }

    /// All of it was told that can be.
    pub(super) fn forget(&mut self) {
        self.before = BTreeMap::new();
    }

    /// All objects that were told.
    pub(super) fn told(&self) -> impl Iterator<Item = &Object> {
        self.told.values()
    }

    /// Takes in what a watch says.
    pub(super) fn take(&mut self, key: &WatchKey, news: News) {
        let Some(watch) = self.watches.get_mut(key) else { return };
        match news {
            News::Broken(why) => {
                watch.broken = Some(why);
                return;
            }
            News::Reached(revision) => self.note(key, revision),
            News::Listed(objects, unreadable, revision) => {
                self.dirty.extend(watch.objects.keys().cloned());
                self.unreadable.retain(|object, _| !key.may_have(object));
                watch.objects = objects.into_iter().map(|object| (object.key(), object)).collect();
                // What was good before stays in force.
                let good = |key: &ObjectKey| self.told.get(key).or_else(|| self.before.get(key));
                let before = unreadable.iter().filter_map(|(key, _)| Some((key.clone(), good(key)?.clone())));
                watch.objects.extend(before);
                self.dirty.extend(watch.objects.keys().cloned());
                self.unreadable.extend(unreadable);
                watch.synced = true;
                self.note(key, revision);
            }
            News::Applied(object, revision) => {
                let object_key = object.key();
                self.unreadable.remove(&object_key);
                self.before.remove(&object_key);
                watch.objects.insert(object_key.clone(), object);
                self.dirty.insert(object_key);
                self.note(key, revision);
            }
            News::Deleted(object_key, revision) => {
                self.unreadable.remove(&object_key);
                self.before.remove(&object_key);
                watch.objects.remove(&object_key);
                self.dirty.insert(object_key);
                self.note(key, revision);
            }
            // What was good before stays in force.
            News::Unreadable(object_key, why) => {
                if let Some(before) = self.told.get(&object_key).or_else(|| self.before.get(&object_key)) {
                    watch.objects.insert(object_key.clone(), before.clone());
                }
                self.unreadable.insert(object_key, why);
            }
        }
        if let Some(watch) = self.watches.get_mut(key) {
            watch.broken = None;
        }
    }

    fn note(&mut self, key: &WatchKey, revision: Revision) {
        if let WatchKey::Ports(ports) = key {
            self.seen.insert(ports.clone(), revision);
        }
    }

    /// The watches that the servers of this node need.
    pub(super) fn needed(&self) -> BTreeSet<WatchKey> {
        let mut namespaces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for server in self.servers() {
            let namespace = server.metadata.namespace.as_deref().unwrap_or_default();
            namespaces.entry(namespace).or_default().insert(&server.spec.network_ref.name);
        }
        let mut needed = BTreeSet::from([WatchKey::Servers]);
        for (namespace, networks) in namespaces {
            needed.insert(WatchKey::Networks(namespace.to_owned()));
            needed.insert(WatchKey::Subnets(namespace.to_owned()));
            if networks.len() > PORT_WATCHES {
                needed.insert(WatchKey::Ports(PortsOf::Namespace(namespace.to_owned())));
            } else {
                let of = |name: &str| WatchKey::Ports(PortsOf::Network(ObjectName::new(namespace, name)));
                needed.extend(networks.into_iter().map(of));
            }
        }
        needed
    }

    /// A watch was opened.
    pub(super) fn open(&mut self, key: WatchKey) {
        self.watches.entry(key).or_default();
    }

    /// Watches that are needed no more: those of a namespace only when what stands in for them is known.
    pub(super) fn retire(&mut self) -> Vec<WatchKey> {
        let needed = self.needed();
        let known = |namespace: &str| {
            let mut of = needed.iter().filter(|key| key.namespace() == Some(namespace));
            of.all(|key| self.is_synced(key))
        };
        let old = |key: &&WatchKey| !needed.contains(key) && key.namespace().is_some_and(known);
        let retired: Vec<_> = self.watches.keys().filter(old).cloned().collect();
        for key in &retired {
            let watch = self.watches.remove(key).unwrap_or_default();
            self.dirty.extend(watch.objects.into_keys());
            if let WatchKey::Ports(ports) = key {
                self.seen.remove(ports);
            }
        }
        retired
    }

    /// Everything that is needed is known.
    pub(super) fn is_complete(&self) -> bool {
        self.needed().iter().all(|key| self.is_synced(key))
    }

    /// What is to be told since the last time: objects, then how far the Ports are known.
    pub(super) fn news(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            match self.now(&key) {
                Now::Is(object) if self.told.get(&key) == Some(&object) => {}
                Now::Is(object) => {
                    let before = self.told.insert(key, object.clone());
                    self.taken.extend(before.and_then(|before| loss(&before, Some(&object))));
                    events.push(Event::Apply(object));
                }
                Now::IsNot => {
                    let before = self.told.remove(&key);
                    self.taken.extend(before.as_ref().and_then(|before| loss(before, None)));
                    events.extend(before.map(|_| Event::Delete(key)));
                }
                Now::Unknown => {
                    self.dirty.insert(key);
                }
            }
        }
        // Networks and subnets before what refers to them: nobody sees half of them.
        let rank = |event: &Event| matches!(event, Event::Apply(Object::Server(_)));
        events.sort_by_key(rank);
        let seen = std::mem::take(&mut self.seen).into_iter();
        events.extend(seen.map(|(ports, revision)| Event::PortsSeen(ports, revision)));
        events
    }

    /// The networks of which the news took something back, since the last time.
    pub(super) fn taken(&mut self) -> BTreeSet<ObjectName> {
        std::mem::take(&mut self.taken)
    }

    /// The networks that have a server here.
    pub(super) fn networks(&self) -> BTreeSet<ObjectName> {
        self.servers().map(network_of_server).collect()
    }

    /// Objects that cannot be read, and why.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = (&ObjectKey, &String)> {
        self.unreadable.iter()
    }

    /// Why nothing is seen at present: each cause once.
    pub(super) fn broken(&self) -> BTreeSet<&str> {
        self.watches.values().filter_map(|watch| watch.broken.as_deref()).collect()
    }

    fn servers(&self) -> impl Iterator<Item = &DHCPServer> {
        let servers = self.watches.get(&WatchKey::Servers);
        servers.into_iter().flat_map(|watch| watch.objects.values()).filter_map(|object| match object {
            Object::Server(server) => Some(&**server),
            _ => None,
        })
    }

    fn is_synced(&self, key: &WatchKey) -> bool {
        self.watches.get(key).is_some_and(|watch| watch.synced)
    }

    fn now(&self, key: &ObjectKey) -> Now {
        // Which watches there are to be follows from the servers.
        if !self.is_synced(&WatchKey::Servers) {
            return Now::Unknown;
        }
        let watches: Vec<&Watched> =
            self.watches.iter().filter(|(watch, _)| watch.may_have(key)).map(|(_, watch)| watch).collect();
        if let Some(object) = watches.iter().find_map(|watch| watch.objects.get(key)) {
            return if self.may_be_told(object) { Now::Is(object.clone()) } else { Now::Unknown };
        }
        if watches.iter().all(|watch| watch.synced) { Now::IsNot } else { Now::Unknown }
    }

    /// A server is told when all objects of its network are known.
    fn may_be_told(&self, object: &Object) -> bool {
        let Object::Server(server) = object else { return true };
        if self.told.contains_key(&object.key()) {
            return true;
        }
        let network = network_of_server(server);
        let namespace = network.namespace.clone();
        let ports = [PortsOf::Network(network), PortsOf::Namespace(namespace.clone())];
        self.is_synced(&WatchKey::Networks(namespace.clone()))
            && self.is_synced(&WatchKey::Subnets(namespace))
            && ports.into_iter().any(|ports| self.is_synced(&WatchKey::Ports(ports)))
    }
}

/// What is known of an object.
enum Now {
    Is(Object),
    IsNot,
    Unknown,
}

impl WatchKey {
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Servers => None,
            Self::Networks(namespace)
            | Self::Subnets(namespace)
            | Self::Ports(PortsOf::Namespace(namespace)) => Some(namespace),
            Self::Ports(PortsOf::Network(network)) => Some(&network.namespace),
        }
    }

    fn may_have(&self, key: &ObjectKey) -> bool {
        match (self, key.kind) {
            (Self::Servers, Kind::DhcpServer) => true,
            (Self::Networks(_), Kind::Network)
            | (Self::Subnets(_), Kind::Subnet)
            | (Self::Ports(_), Kind::Port) => self.namespace() == Some(&key.namespace),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
