//! The objects that are known, and which networks a change of one of them touches.
//!
//! Filled by the agent's loop from a source's events; read by the workers, one network at a time.
//! Pure. Work for an event is bounded by the network that it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::{Network, PhysicalNetwork, Port, Subnet};
use crate::desired::{Inputs, SegmentId, may_have_segment, segment_id};
use crate::source::{Event, Kind, Object, ObjectKey};
use crate::types::ObjectName;

/// Networks with something to do.
pub type Dirty = BTreeSet<ObjectName>;

/// All objects, by name and by network.
#[derive(Debug, Default)]
pub struct Store {
    networks: BTreeMap<ObjectName, Arc<Network>>,
    physical_networks: BTreeMap<String, Arc<PhysicalNetwork>>,
    subnets: Members<Subnet>,
    ports: Members<Port>,
    segments: BTreeMap<SegmentId, ObjectName>,
}

impl Store {
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
            }
        }
        // After the whole batch: the first one admitted is the first by name, not by file.
        if segments_move {
            dirty.extend(self.admit());
        }
        dirty
    }

    /// The network of this name.
    pub fn network(&self, name: &ObjectName) -> Option<&Arc<Network>> {
        self.networks.get(name)
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
            network,
        })
    }

    /// All physical networks with the number of Networks on each.
    pub fn physical_networks(&self) -> impl Iterator<Item = (&Arc<PhysicalNetwork>, usize)> {
        self.physical_networks.iter().map(|(name, physical)| (physical, self.networks_on(name).len()))
    }

    /// Subnets and Ports whose Network does not exist.
    pub fn orphans(&self) -> (Vec<Arc<Subnet>>, Vec<Arc<Port>>) {
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
            Object::Port(port) => {
                let network = ObjectName::new(&name.namespace, &port.spec.network_ref.name);
                dirty.extend(self.ports.insert(name, network, port));
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
            Kind::Port => dirty.extend(self.ports.remove(&name)),
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
            may_have_segment(network, physical.map(AsRef::as_ref))
        };
        let is_on = |name: &ObjectName, segment: &SegmentId| {
            networks.get(name).is_some_and(|network| segment_id(network) == *segment && may(network))
        };
        let before = self.segments.clone();
        self.segments.retain(|segment, name| is_on(name, segment));
        for (name, network) in networks.iter().filter(|(_, network)| may(network)) {
            self.segments.entry(segment_id(network)).or_insert_with(|| name.clone());
        }
        let moved = |segment: &SegmentId| before.get(segment) != self.segments.get(segment);
        let touched = networks.iter().filter(|(_, network)| moved(&segment_id(network)));
        touched.map(|(name, _)| name.clone()).collect()
    }
}

/// Objects that belong to a network.
#[derive(Debug)]
struct Members<T> {
    by_name: BTreeMap<ObjectName, (ObjectName, Arc<T>)>,
    by_network: BTreeMap<ObjectName, BTreeMap<String, Arc<T>>>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_network: BTreeMap::new() }
    }
}

impl<T> Members<T> {
    /// Returns the networks touched: the new one, and the old one if it was another.
    fn insert(&mut self, name: ObjectName, network: ObjectName, object: Arc<T>) -> Vec<ObjectName> {
        let mut touched: Vec<_> = self.remove(&name).into_iter().filter(|old| *old != network).collect();
        self.by_network.entry(network.clone()).or_default().insert(name.name.clone(), object.clone());
        self.by_name.insert(name, (network.clone(), object));
        touched.push(network);
        touched
    }

    fn remove(&mut self, name: &ObjectName) -> Option<ObjectName> {
        let (network, _) = self.by_name.remove(name)?;
        if let Some(members) = self.by_network.get_mut(&network) {
            members.remove(&name.name);
            if members.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(network)
    }

    fn of(&self, network: &ObjectName) -> Vec<Arc<T>> {
        self.by_network.get(network).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    fn of_networks(&self, wanted: impl Fn(&ObjectName) -> bool) -> Vec<Arc<T>> {
        let networks = self.by_network.iter().filter(|(network, _)| wanted(network));
        networks.flat_map(|(_, members)| members.values().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(kind: Kind, name: &str, spec: &Value) -> Event {
        let value = json!({
            "apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind.as_str(),
            "metadata": {"name": name, "namespace": "a"}, "spec": spec,
        });
        Event::Apply(Object::from_value(kind, &value).unwrap())
    }

    fn network(name: &str, physical: &str) -> Event {
        object(Kind::Network, name, &json!({"physicalNetworkRef": {"name": physical}}))
    }

    fn port(name: &str, network: &str) -> Event {
        object(Kind::Port, name, &json!({"networkRef": {"name": network}}))
    }

    fn delete(kind: Kind, name: &str) -> Event {
        Event::Delete(ObjectKey { kind, namespace: "a".into(), name: name.into() })
    }

    fn names(dirty: &Dirty) -> Vec<&str> {
        dirty.iter().map(|name| name.name.as_str()).collect()
    }

    #[test]
    fn a_port_touches_its_network_only() {
        let mut store = Store::default();
        store.apply(vec![network("n", "p"), network("m", "q")]);
        assert_eq!(names(&store.apply(vec![port("x", "n")])), ["n"]);
        assert_eq!(names(&store.apply(vec![port("x", "m")])), ["m", "n"]);
        assert_eq!(names(&store.apply(vec![delete(Kind::Port, "x")])), ["m"]);
    }

    #[test]
    fn a_segment_stays_with_its_first_network_and_then_goes_to_the_next() {
        let mut store = Store::default();
        store.apply(vec![network("z", "p")]);
        store.apply(vec![network("a", "p")]);
        let a = ObjectName::new("a", "a");
        assert_eq!(store.inputs(&a).unwrap().segment_holder, Some(ObjectName::new("a", "z")));
        let dirty = store.apply(vec![delete(Kind::Network, "z")]);
        assert_eq!(names(&dirty), ["a", "z"]);
        assert_eq!(store.inputs(&a).unwrap().segment_holder, None);
    }

    #[test]
    fn who_may_not_have_a_segment_keeps_nobody_from_it() {
        let mut store = Store::default();
        let none = json!({"namespaces": {"from": "None"}});
        let granted = json!({"namespaces": {"from": "All"}, "untagged": "Allowed"});
        store.apply(vec![object(Kind::PhysicalNetwork, "p", &none), network("n", "p")]);
        assert!(store.segments().is_empty());
        let dirty = store.apply(vec![object(Kind::PhysicalNetwork, "p", &granted)]);
        assert_eq!((names(&dirty), store.segments().len()), (vec!["n"], 1));
        store.apply(vec![object(Kind::PhysicalNetwork, "p", &none)]);
        assert!(store.segments().is_empty());
    }

    #[test]
    fn who_had_a_segment_before_a_restart_has_it_after() {
        let mut store = Store::with_segments([(("p".into(), None), ObjectName::new("a", "z"))].into());
        store.apply(vec![network("a", "p"), network("z", "p")]);
        assert!(store.inputs(&ObjectName::new("a", "z")).unwrap().segment_holder.is_none());
    }

    #[test]
    fn what_has_no_network_is_an_orphan() {
        let mut store = Store::default();
        store.apply(vec![port("x", "n")]);
        assert_eq!(store.orphans().1.len(), 1);
        store.apply(vec![network("n", "p")]);
        assert!(store.orphans().1.is_empty());
    }
}
