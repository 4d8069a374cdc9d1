//! Why slots have no node: the message of the reason `NoAgent`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use super::{Cause, Need};

/// How many slots have no node that could serve them, and why each agent was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Slots without a node, or with one that is silent and no other.
    pub slots: usize,
    /// Slots that the Network has.
    pub of: usize,
    /// Agents by cause, each agent under one.
    pub causes: BTreeMap<Cause, usize>,
    physical: String,
}

impl Missing {
    pub(super) fn new(need: &Need<'_>, slots: usize, refused: impl Iterator<Item = Cause>) -> Self {
        let mut causes = BTreeMap::new();
        for cause in refused {
            *causes.entry(cause).or_default() += 1;
        }
        Self { slots, of: need.servers.into(), causes, physical: need.physical.to_owned() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let have = if self.slots == 1 { "has" } else { "have" };
        write!(f, "{} of {} servers {have} no node: ", self.slots, self.of)?;
        match self.causes.values().sum() {
            0 => return f.write_str("there is no agent"),
            1 => f.write_str("1 agent: ")?,
            agents => write!(f, "{agents} agents: ")?,
        }
        let mut causes: Vec<_> = self.causes.iter().collect();
        causes.sort_by_key(|(cause, agents)| (Reverse(**agents), **cause));
        for (i, (cause, agents)) in causes.into_iter().enumerate() {
            let (one, several) = cause.words();
            let (comma, words) = (if i == 0 { "" } else { ", " }, if *agents == 1 { one } else { several });
            write!(f, "{comma}{agents} {words}{}", cause.object(&self.physical))?;
        }
        Ok(())
    }
}
