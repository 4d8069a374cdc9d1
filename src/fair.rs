//! Turns: what waits is taken by namespaces in turn, so that what one tenant has to be done delays another
//! by one piece of work and not by all of it.
//!
//! Used by the controller's queue and Events, and by the agent's workers and reports. Pure but for the
//! waking of who waits at a [`Gate`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What waits, by namespace.
#[derive(Debug)]
pub struct Turns<T> {
    waiting: BTreeMap<String, VecDeque<T>>,
    turns: VecDeque<String>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), turns: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    /// Behind all others of its namespace.
    pub fn push(&mut self, namespace: &str, item: T) {
        let waiting = self.waiting.entry(namespace.to_owned()).or_default();
        if waiting.is_empty() {
            self.turns.push_back(namespace.to_owned());
        }
        waiting.push_back(item);
    }

    /// The next one of the first namespace in turn that `may` have it.
    pub fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<(String, T)> {
        let at = self.turns.iter().position(|namespace| may(namespace))?;
        let namespace = self.turns.remove(at)?;
        let waiting = self.waiting.get_mut(&namespace)?;
        let item = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.turns.push_back(namespace.clone());
        }
        Some((namespace, item))
    }

    /// How many of a namespace wait.
    pub fn len(&self, namespace: &str) -> usize {
        self.waiting.get(namespace).map_or(0, VecDeque::len)
    }
}

/// Places for work, some of which are always kept for who has few: a namespace with slow work cannot have
/// all of them.
#[derive(Debug)]
pub struct Places {
    free: usize,
    taken: BTreeMap<String, usize>,
}

impl Places {
    /// So many that one namespace alone gets `each` of them.
    pub fn for_each(each: usize) -> Self {
        Self { free: each + each / 3, taken: BTreeMap::new() }
    }

    /// Whether there is one for this namespace.
    pub fn are_for(&self, namespace: &str) -> bool {
        self.free > self.taken.get(namespace).copied().unwrap_or_default() / 3
    }

    /// Takes one.
    pub fn take(&mut self, namespace: &str) {
        self.free -= 1;
        *self.taken.entry(namespace.to_owned()).or_default() += 1;
    }

    /// Gives one back.
    pub fn give_back(&mut self, namespace: &str) {
        self.free += 1;
        if let Some(taken) = self.taken.get_mut(namespace) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(namespace);
            }
        }
    }
}

/// Lets so many in at a time, namespaces in turn.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    places: Places,
    waiting: Turns<oneshot::Sender<Pass>>,
}

/// Whoever holds it is inside.
#[derive(Debug)]
pub struct Pass {
    gate: Option<Gate>,
    namespace: String,
}

impl Gate {
    /// A gate that lets `each` in where there is one namespace only.
    pub fn for_each(each: usize) -> Self {
        let inside = Inside { places: Places::for_each(each), waiting: Turns::default() };
        Self(Arc::new(Mutex::new(inside)))
    }

    /// Waits for its turn. Cancel-safe: whoever waits no longer takes no place.
    pub async fn enter(&self, namespace: &str) -> Pass {
        loop {
            let (pass, granted) = oneshot::channel();
            self.inside().waiting.push(namespace, pass);
            self.admit();
            // A gate forgets nobody: there is no second time.
            if let Ok(pass) = granted.await {
                return pass;
            }
        }
    }

    fn admit(&self) {
        while let Some((namespace, waits)) = self.next() {
            let pass = Pass { gate: Some(self.clone()), namespace };
            // Who waits no longer has no use for it.
            if let Err(mut pass) = waits.send(pass) {
                pass.gate = None;
                self.inside().places.give_back(&pass.namespace);
            }
        }
    }

    fn next(&self) -> Option<(String, oneshot::Sender<Pass>)> {
        let mut inside = self.inside();
        let Inside { places, waiting } = &mut *inside;
        let next = waiting.pop(|namespace| places.are_for(namespace))?;
        places.take(&next.0);
        Some(next)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.inside().places.give_back(&self.namespace);
            gate.admit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn namespaces_take_turns_and_one_that_may_not_is_passed_over() {
        let mut turns = Turns::default();
        for (namespace, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            turns.push(namespace, item);
        }
        assert_eq!((turns.len("a"), turns.len("x")), (3, 0));
        assert_eq!(turns.pop(|namespace| namespace != "a"), Some(("b".into(), 4)));
        let order: Vec<_> = std::iter::from_fn(|| turns.pop(|_| true)).map(|(_, item)| item).collect();
        assert_eq!(order, [1, 5, 6, 2, 3]);
    }

    #[test]
    fn a_namespace_with_all_the_work_leaves_places_to_others() {
        for each in [8, 16, 32] {
            let mut places = Places::for_each(each);
            let mut taken = 0;
            while places.are_for("a") {
                places.take("a");
                taken += 1;
            }
            assert_eq!(taken, each);
            assert!(places.are_for("b"));
            places.take("b");
            assert!(places.are_for("c"));
            // What it gives back is kept for others, until it has as few.
            places.give_back("a");
            assert!(!places.are_for("a"));
            places.give_back("b");
            assert!(places.are_for("a"));
        }
    }

    #[tokio::test]
    async fn who_comes_last_of_many_of_another_namespace_waits_for_none_of_them() {
        let gate = Gate::for_each(8);
        let many: Vec<_> = (0..500).map(|_| gate.enter("a")).collect();
        let mut many: Vec<_> = many.into_iter().map(Box::pin).collect();
        let inside: Vec<_> = many.iter_mut().filter_map(FutureExt::now_or_never).collect();
        assert_eq!(inside.len(), 8);
        let b = gate.enter("b").now_or_never();
        assert!(b.is_some());
    }

    #[tokio::test]
    async fn when_all_places_are_taken_namespaces_take_turns() {
        let gate = Gate::for_each(3);
        let mut inside: Vec<_> =
            ["a", "a", "a", "b"].iter().filter_map(|n| gate.enter(n).now_or_never()).collect();
        assert_eq!(inside.len(), 4);
        let mut a: Vec<_> = (0..9).map(|_| Box::pin(gate.enter("a"))).collect();
        assert!(a.iter_mut().all(|enter| enter.now_or_never().is_none()));
        let mut c = Box::pin(gate.enter("c"));
        assert!((&mut c).now_or_never().is_none());
        drop(inside.pop());
        drop(inside.pop());
        assert!(c.now_or_never().is_some());
    }

    #[tokio::test]
    async fn whoever_waits_no_longer_takes_no_place() {
        let gate = Gate::for_each(1);
        let inside = gate.enter("a").await;
        let mut gone = Box::pin(gate.enter("a"));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        let mut next = Box::pin(gate.enter("a"));
        assert!((&mut next).now_or_never().is_none());
        drop(inside);
        assert!(next.now_or_never().is_some());
        assert!(gate.enter("b").now_or_never().is_some());
    }
}
