//! Objects that are there and that this version cannot read, and never could: of what belongs to them nothing
//! is given to others.
//!
//! Part of the controller's world. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dirty, Kind};
use crate::types::ObjectName;

/// Each with the network that it belongs to, if that can be read.
#[derive(Debug, Default)]
pub(super) struct Unread(BTreeMap<Kind, BTreeMap<ObjectName, Option<ObjectName>>>);

impl Unread {
    pub(super) fn insert(&mut self, kind: Kind, name: ObjectName, network: Option<String>) {
        let network = match kind {
            Kind::Network => Some(name.clone()),
            _ => network.map(|network| ObjectName::new(&name.namespace, network)),
        };
        self.0.entry(kind).or_default().insert(name, network);
    }

    /// There is mostly none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }

    /// It is readable, or gone: the network for which that changes something.
    pub(super) fn read(&mut self, kind: Kind, name: &ObjectName) -> Dirty {
        let network = self.0.get_mut(&kind).and_then(|objects| objects.remove(name));
        network.flatten().into_iter().collect()
    }

    /// The names of a kind.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &ObjectName> {
        self.0.get(&kind).into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether nothing can be decided for a network: it, or of one that is there a Subnet, cannot be read.
    pub(super) fn hides(&self, network: &ObjectName, is_there: bool) -> bool {
        let is_it = |of: &Option<ObjectName>| of.as_ref() == Some(network);
        let of = |kind| self.0.get(&kind).is_some_and(|all| all.values().any(is_it));
        of(Kind::Network) || (is_there && of(Kind::Subnet))
    }

    /// The Ports in a namespace.
    pub(super) fn ports(&self, namespace: &str) -> BTreeSet<String> {
        let all = self.names(Kind::Port).filter(|name| name.namespace == namespace);
        all.map(|name| name.name.clone()).collect()
    }
}
