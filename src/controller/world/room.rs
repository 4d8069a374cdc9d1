//! How full the nodes are, and which networks wait for room.
//!
//! Part of the controller's world; a network's turn says what it wants. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Dirty;
use crate::types::ObjectName;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::controller) struct Room {
    /// Active servers by node.
    servers: BTreeMap<String, BTreeSet<ObjectName>>,
    /// Nodes that networks at work are about to get servers on.
    placing: BTreeMap<ObjectName, BTreeSet<String>>,
    /// Networks that lack a server.
    waiting: Dirty,
    /// How often a node that was full got room.
    times: u64,
}

impl Room {
    /// A node has this server.
    pub(super) fn load(&mut self, node: &str, server: &ObjectName) {
        self.servers.entry(node.to_owned()).or_default().insert(server.clone());
    }

    /// A node, which has room for so many, has it no more; says who may want its place.
    pub(super) fn unload(&mut self, node: &str, server: &ObjectName, capacity: u32) -> Dirty {
        let Some(servers) = self.servers.get_mut(node) else { return Dirty::new() };
        let was_full = u32::try_from(servers.len()).is_ok_and(|servers| servers >= capacity);
        if !servers.remove(server) || !was_full {
            return Dirty::new();
        }
        self.times += 1;
        self.waiting.clone()
    }

    /// How many servers a node has, or is about to get for others than this network.
    pub(super) fn taken(&self, network: &ObjectName, node: &str) -> usize {
        let placing = self.placing.iter().filter(|(other, nodes)| *other != network && nodes.contains(node));
        self.servers.get(node).map_or(0, BTreeSet::len) + placing.count()
    }

    /// A network is about to get servers on these nodes; until the next call.
    pub(in crate::controller) fn place(&mut self, network: &ObjectName, nodes: BTreeSet<String>) {
        if nodes.is_empty() {
            self.placing.remove(network);
        } else {
            self.placing.insert(network.clone(), nodes);
        }
    }

    /// To be told to [`wait`](Self::wait).
    pub(in crate::controller) fn times(&self) -> u64 {
        self.times
    }

    /// Whether a network `lacks` a server, as of `times`; says whether it may find room by now.
    pub(in crate::controller) fn wait(&mut self, network: &ObjectName, lacks: bool, times: u64) -> bool {
        if lacks {
            self.waiting.insert(network.clone());
        } else {
            self.waiting.remove(network);
        }
        lacks && times != self.times
    }

    /// The network is gone.
    pub(super) fn forget(&mut self, network: &ObjectName) {
        self.waiting.remove(network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lacks_a_server_hears_of_room_on_a_full_node_and_of_no_other() {
        let (a, b, c) = (ObjectName::new("x", "a"), ObjectName::new("x", "b"), ObjectName::new("x", "c"));
        let mut room = Room::default();
        room.load("n1", &a);
        room.load("n2", &a);
        let before = room.times();
        assert!(!room.wait(&b, true, before));
        assert!(room.unload("n2", &a, 2).is_empty(), "it was not full");
        assert!(room.unload("n1", &c, 1).is_empty(), "it does not have it");
        assert_eq!(room.unload("n1", &a, 1), [b.clone()].into());
        assert!(room.unload("n1", &a, 1).is_empty(), "again");
        // Who judged before that looks again.
        assert!(room.wait(&c, true, before) && !room.wait(&b, false, before));
        room.load("n1", &a);
        assert_eq!(room.unload("n1", &a, 1), [c.clone()].into());
        room.forget(&c);
        room.load("n1", &a);
        assert!(room.unload("n1", &a, 1).is_empty());
    }
}
