//! The changes that placement asks for, and their order.

use std::collections::BTreeSet;

use super::Why;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A server for a slot that has none, whose server is withdrawn in the step before, or whose server
    /// answers, alone, from a node that it is to leave: it goes once the new one answers.
    Create {
        /// From 0.
        slot: u8,
        /// The node's name.
        node: String,
    },
    /// `state: Withdrawn`.
    Withdraw {
        /// The node's name.
        node: String,
        /// From 0.
        slot: u8,
        /// For the Event.
        why: Why,
    },
}

/// One that a slot has too many goes before the next one comes: not for a moment has a slot three.
pub(super) fn none_in_between(steps: Vec<Step>) -> Vec<Step> {
    let created: BTreeSet<_> = steps.iter().filter_map(Step::created).collect();
    let goes_first = |step: &Step| match step {
        Step::Withdraw { slot, why: Why::Surplus, .. } => created.contains(slot),
        _ => false,
    };
    let (mut first, rest): (Vec<_>, Vec<_>) = steps.into_iter().partition(goes_first);
    first.extend(rest);
    first
}

impl Step {
    pub(super) fn created(&self) -> Option<u8> {
        match self {
            Self::Create { slot, .. } => Some(*slot),
            Self::Withdraw { .. } => None,
        }
    }

    pub(super) fn withdrawn(&self) -> Option<&str> {
        match self {
            Self::Withdraw { node, .. } => Some(node),
            Self::Create { .. } => None,
        }
    }
}
