//! Networks with something to do: a turn for each namespace, and in it for each network.
//!
//! Used by the controller's loop. Pure. What one tenant has to be done delays another by one network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::types::ObjectName;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<String, VecDeque<ObjectName>>,
    turns: VecDeque<String>,
    queued: BTreeSet<ObjectName>,
    busy: BTreeSet<ObjectName>,
    again: BTreeSet<ObjectName>,
}

impl Queue {
    /// There is something to do for this network.
    pub(super) fn push(&mut self, network: ObjectName) {
        if self.busy.contains(&network) {
            self.again.insert(network);
        } else if self.queued.insert(network.clone()) {
            let namespace = network.namespace.clone();
            let waiting = self.waiting.entry(namespace.clone()).or_default();
            if waiting.is_empty() {
                self.turns.push_back(namespace);
            }
            waiting.push_back(network);
        }
    }

    /// The next network; it is busy until it is [`done`](Self::done).
    pub(super) fn pop(&mut self) -> Option<ObjectName> {
        let namespace = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&namespace)?;
        let network = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        self.queued.remove(&network);
        self.busy.insert(network.clone());
        Some(network)
    }

    /// Whether it is being worked on.
    pub(super) fn is_busy(&self, network: &ObjectName) -> bool {
        self.busy.contains(network)
    }

    /// It is not busy any more; whether something came up meanwhile.
    pub(super) fn done(&mut self, network: &ObjectName) -> bool {
        self.busy.remove(network);
        self.again.remove(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ObjectName {
        let (namespace, name) = text.split_once('/').unwrap();
        ObjectName::new(namespace, name)
    }

    #[test]
    fn namespaces_take_turns() {
        let mut queue = Queue::default();
        for network in ["a/1", "a/2", "a/3", "b/1", "a/1"] {
            queue.push(name(network));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|n| n.to_string()).collect();
        assert_eq!(order, ["a/1", "b/1", "a/2", "a/3"]);
    }

    #[test]
    fn what_comes_up_while_one_is_busy_is_told_when_it_is_done() {
        let mut queue = Queue::default();
        queue.push(name("a/1"));
        let busy = queue.pop().unwrap();
        queue.push(busy.clone());
        assert_eq!(queue.pop(), None);
        assert!(queue.is_busy(&busy) && queue.done(&busy));
        queue.push(busy.clone());
        assert_eq!(queue.pop(), Some(busy.clone()));
        assert!(!queue.done(&busy) && !queue.is_busy(&busy));
        assert_eq!(queue.pop(), None);
    }
}
