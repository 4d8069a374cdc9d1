//! Which Network has which segment: the first one, and it stays its.
//!
//! Part of the controller's world. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::{Conditioned, Network};
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
        contenders: Vec<(ObjectName, Arc<Network>)>,
    ) -> BTreeSet<ObjectName> {
        let before = self.0.get(segment).cloned();
        let stays = before.clone().filter(|holder| contenders.iter().any(|(name, _)| name == holder));
        let first = || contenders.iter().min_by_key(|(name, network)| rank(name, network));
        let now = stays.or_else(|| first().map(|(name, _)| name.clone()));
        match &now {
            Some(holder) => self.0.insert(segment.clone(), holder.clone()),
            None => self.0.remove(segment),
        };
        if before == now {
            return BTreeSet::new();
        }
        contenders.into_iter().map(|(name, _)| name).chain(before).collect()
    }
}

/// Who was accepted before this controller started, then the oldest.
fn rank<'a>(name: &'a ObjectName, network: &'a Network) -> (bool, Option<jiff::Timestamp>, &'a ObjectName) {
    (!network.is("Accepted"), network.metadata.creation_timestamp.as_ref().map(|time| time.0), name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn network(name: &str, created: &str, accepted: bool) -> (ObjectName, Arc<Network>) {
        let status = if accepted { "True" } else { "False" };
        let network = serde_json::from_value(json!({
            "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Network",
            "metadata": {"name": name, "namespace": "a", "creationTimestamp": created},
            "spec": {"physicalNetworkRef": {"name": "p"}},
            "status": {"observedGeneration": 1, "conditions": [{"type": "Accepted", "status": status,
                "reason": "Ready", "message": "", "lastTransitionTime": created}]},
        }));
        (ObjectName::new("a", name), Arc::new(network.unwrap()))
    }

    #[test]
    fn the_one_that_was_accepted_goes_first_then_the_oldest_and_it_stays() {
        let segment = ("p".to_owned(), None);
        let (old, new) =
            (network("old", "2026-01-01T00:00:00Z", false), network("new", "2026-02-01T00:00:00Z", true));
        let mut segments = Segments::default();
        assert_eq!(segments.contest(&segment, vec![old.clone(), new.clone()]).len(), 2);
        assert_eq!(segments.holder(&segment), Some(&new.0));
        let mut segments = Segments::default();
        let young = network("young", "2026-03-01T00:00:00Z", false);
        segments.contest(&segment, vec![young.clone()]);
        segments.contest(&segment, vec![old.clone(), young.clone()]);
        assert_eq!(segments.holder(&segment), Some(&young.0));
        assert_eq!(segments.contest(&segment, vec![old.clone()]).len(), 2);
        assert_eq!(segments.holder(&segment), Some(&old.0));
        assert!(segments.contest(&segment, vec![]).contains(&old.0));
        assert_eq!(segments.holder(&segment), None);
    }
}
