//! Which Network has which segment: the first one, and it stays its.
//!
//! Part of the controller's world. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::Network;
use crate::desired::SegmentId;
use crate::types::ObjectName;

/// Segments that somebody has.
#[derive(Debug, Default)]
pub(super) struct Segments(BTreeMap<SegmentId, ObjectName>);

impl Segments {
    pub(super) fn holder(&self, segment: &SegmentId) -> Option<&ObjectName> {
        self.0.get(segment)
    }

    /// `contenders` may have it, and nobody else. Returns those for whom something changed.
    pub(super) fn contest(
        &mut self,
        segment: &SegmentId,
        contenders: Vec<Contender>,
    ) -> BTreeSet<ObjectName> {
        let before = self.0.get(segment).cloned();
        let stays = before.clone().filter(|holder| contenders.iter().any(|c| c.name == *holder));
        let now = stays.or_else(|| contenders.iter().min_by_key(|c| c.rank()).map(|c| c.name.clone()));
        match &now {
            Some(holder) => self.0.insert(segment.clone(), holder.clone()),
            None => self.0.remove(segment),
        };
        if before == now {
            return BTreeSet::new();
        }
        contenders.into_iter().map(|c| c.name).chain(before).collect()
    }
}

/// A Network that may have a segment.
#[derive(Debug, Clone)]
pub(super) struct Contender {
    pub(super) name: ObjectName,
    pub(super) network: Arc<Network>,
    /// As its status says.
    pub(super) is_accepted: bool,
    /// Its addresses say so: it was accepted once.
    pub(super) had_it: bool,
}

impl Contender {
    /// Who was accepted before this controller started, or ever, then the oldest.
    fn rank(&self) -> (bool, bool, Option<jiff::Timestamp>, &ObjectName) {
        let created = self.network.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (!self.is_accepted, !self.had_it, created, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn contender(name: &str, created: &str, is_accepted: bool, had_it: bool) -> Contender {
        let network = serde_json::from_value(json!({
            "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Network",
            "metadata": {"name": name, "namespace": "a", "creationTimestamp": created},
            "spec": {"physicalNetworkRef": {"name": "p"}},
        }));
        let network = Arc::new(network.unwrap());
        Contender { name: ObjectName::new("a", name), network, is_accepted, had_it }
    }

    #[test]
    fn the_one_that_was_accepted_goes_first_then_the_oldest_and_it_stays() {
        let segment = ("p".to_owned(), None);
        let old = contender("old", "2026-01-01T00:00:00Z", false, false);
        let new = contender("new", "2026-02-01T00:00:00Z", true, true);
        let young = contender("young", "2026-03-01T00:00:00Z", false, true);
        let first = |contenders: &[&Contender]| {
            let mut segments = Segments::default();
            segments.contest(&segment, contenders.iter().map(|c| (*c).clone()).collect());
            segments.holder(&segment).unwrap().name.clone()
        };
        assert_eq!([first(&[&old, &new, &young]), first(&[&old, &young])], ["new", "young"]);
        let mut segments = Segments::default();
        assert_eq!(segments.contest(&segment, vec![old.clone()]).len(), 1);
        segments.contest(&segment, vec![old.clone(), new.clone()]);
        assert_eq!(segments.holder(&segment), Some(&old.name));
        assert_eq!(segments.contest(&segment, vec![new.clone()]).len(), 2);
        assert_eq!(segments.holder(&segment), Some(&new.name));
        assert!(segments.contest(&segment, vec![]).contains(&new.name));
        assert_eq!(segments.holder(&segment), None);
    }
}
