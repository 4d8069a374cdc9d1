//! Objects that belong to a network, by their own name and by the network's.
//!
//! Used by the agent's and the controller's views of the objects. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::ObjectName;

/// Objects that belong to a network.
#[derive(Debug)]
pub struct Members<T> {
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
    pub fn insert(&mut self, name: ObjectName, network: ObjectName, object: Arc<T>) -> Vec<ObjectName> {
        let mut touched: Vec<_> = self.remove(&name).into_iter().filter(|old| *old != network).collect();
        self.by_network.entry(network.clone()).or_default().insert(name.name.clone(), object.clone());
        self.by_name.insert(name, (network.clone(), object));
        touched.push(network);
        touched
    }

    /// Returns the network that it belonged to.
    pub fn remove(&mut self, name: &ObjectName) -> Option<ObjectName> {
        let (network, _) = self.by_name.remove(name)?;
        if let Some(members) = self.by_network.get_mut(&network) {
            members.remove(&name.name);
            if members.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(network)
    }

    /// Those of one network, by name.
    pub fn of(&self, network: &ObjectName) -> Vec<Arc<T>> {
        self.by_network.get(network).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Whether one of a network's is so.
    pub fn any_of(&self, network: &ObjectName, is_it: impl Fn(&T) -> bool) -> bool {
        self.by_network.get(network).is_some_and(|members| members.values().any(|member| is_it(member)))
    }

    /// Those of some networks.
    pub fn of_networks(&self, wanted: impl Fn(&ObjectName) -> bool) -> Vec<Arc<T>> {
        let networks = self.by_network.iter().filter(|(network, _)| wanted(network));
        networks.flat_map(|(_, members)| members.values().cloned()).collect()
    }

    /// The one of this name.
    pub fn get(&self, name: &ObjectName) -> Option<&Arc<T>> {
        self.by_name.get(name).map(|(_, object)| object)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.by_name.values().map(|(_, object)| object)
    }

    /// How many a network has.
    pub fn count(&self, network: &ObjectName) -> usize {
        self.by_network.get(network).map_or(0, BTreeMap::len)
    }
}
