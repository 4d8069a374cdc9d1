//! A network's namespace, but for what has a type of its own: its settings, rules and tables.
//!
//! A part of `node`, for its callers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Family, Rule, Sysctl};
use crate::dnsmasq::Shares;
use crate::types::MacAddr;

/// A named network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Whether the name leads to a namespace; a plain file with such a name does not.
    pub usable: bool,
    /// Those of [`Sysctl`] that have the wanted value.
    pub sysctls: BTreeSet<Sysctl>,
    /// The firewall's rules of ours.
    pub rules: BTreeSet<Rule>,
    /// Who may speak to the DHCPv6 server, and ask for advertisements; `None`: everybody. Observed: also
    /// where a filter is not whole.
    pub known: Option<BTreeSet<MacAddr>>,
    /// Which guests are heard by the process of a share, family by family; of one that is not here the server
    /// hears all. Observed: also where what directs them is not whole.
    pub directed: BTreeMap<Family, Shares>,
}

impl Namespace {
    pub(super) fn admit(&mut self, whole: bool, add: &BTreeSet<MacAddr>, remove: &BTreeSet<MacAddr>) -> bool {
        if whole {
            self.known = Some(BTreeSet::new());
        }
        let Some(known) = &mut self.known else { return false };
        known.retain(|mac| !remove.contains(mac));
        known.extend(add);
        true
    }

    pub(super) fn direct(&mut self, family: Family, whole: bool, add: &Shares, remove: &Shares) -> bool {
        if whole {
            self.directed.insert(family, Shares::new());
        }
        let Some(directed) = self.directed.get_mut(&family) else { return false };
        directed.retain(|mac, _| !remove.contains_key(mac));
        directed.extend(add);
        true
    }
}
