//! Networks with something to do: a turn for each namespace, and in it for each network.
//!
//! Used by the controller's loop. Pure. What one tenant has to be done delays another by one network, also
//! where each takes long: some places are left to others.

use std::collections::BTreeSet;

use crate::fair::{Places, Turns};
use crate::types::ObjectName;

/// Networks of one namespace that are worked on at the same time; a third more of all.
const AT_ONCE: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Turns<ObjectName>,
    places: Places,
    queued: BTreeSet<ObjectName>,
    busy: BTreeSet<ObjectName>,
    again: BTreeSet<ObjectName>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: Turns::default(),
            places: Places::for_each(AT_ONCE),
            queued: BTreeSet::new(),
            busy: BTreeSet::new(),
            again: BTreeSet::new(),
        }
    }
}

impl Queue {
    /// There is something to do for this network.
    pub(super) fn push(&mut self, network: ObjectName) {
        if self.busy.contains(&network) {
            self.again.insert(network);
        } else if self.queued.insert(network.clone()) {
            self.waiting.push(&network.namespace.clone(), network);
        }
    }

    /// The next network for which there is a place; it is busy until it is [`done`](Self::done).
    pub(super) fn pop(&mut self) -> Option<ObjectName> {
        let (namespace, network) = self.waiting.pop(|namespace| self.places.are_for(namespace))?;
        self.places.take(&namespace);
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
        if self.busy.remove(network) {
            self.places.give_back(&network.namespace);
        }
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

    /// Slow ones: none of them is ever done.
    #[test]
    fn a_namespace_that_has_thousands_to_do_keeps_nobody_waiting() {
        let mut queue = Queue::default();
        (0..5_000).for_each(|n| queue.push(ObjectName::new("a", n.to_string())));
        let busy: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(busy.len(), AT_ONCE);
        queue.push(name("z/1"));
        assert_eq!(queue.pop(), Some(name("z/1")));
        // And where all places are taken, the first that is free is another's.
        for network in ["z/2", "z/3", "y/1", "y/2", "x/1"] {
            queue.push(name(network));
        }
        let others: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(others.contains(&name("y/1")) && others.iter().all(|n| n.namespace != "a"), "{others:?}");
        queue.push(name("w/1"));
        assert_eq!(queue.pop(), None);
        queue.done(&busy[0]);
        assert_eq!(queue.pop().map(|n| n.namespace == "a"), Some(false));
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
