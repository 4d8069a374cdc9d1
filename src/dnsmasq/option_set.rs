//! The options that one dnsmasq has in memory, and what a further line does to them.
//!
//! A part of `state`, for its callers. Pure.

use std::collections::{BTreeMap, HashSet};

use super::Hosts;
use crate::node::Family;
use crate::service::{Code, Kind};

/// Which option, for whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptionKey {
    /// Of the port or subnet.
    pub tag: String,
    /// Its number.
    pub code: Code,
    /// For which of its guests; of no kind: for those for whom nothing else is said.
    pub kind: Kind,
}

impl OptionKey {
    /// For guests of any kind.
    pub fn plain(tag: &str, code: Code) -> Self {
        Self { tag: tag.to_owned(), code, kind: Kind::default() }
    }
}

/// The options' journal: each value as it is written. A later line wins, also one for all guests over one
/// for some; none can be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionSet {
    /// What is in force.
    pub values: BTreeMap<OptionKey, String>,
    /// How many lines were read.
    pub lines: usize,
    /// Not what we wrote.
    pub foreign: bool,
}

impl OptionSet {
    /// A journal of one file with just these values.
    pub fn fresh(values: BTreeMap<OptionKey, String>) -> Self {
        Self { lines: values.len(), values, foreign: false }
    }

    /// Takes lines in.
    pub fn read(&mut self, added: &BTreeMap<OptionKey, String>) {
        self.lines += added.len();
        self.values.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// The lines that lead to `wanted`, and whether a value would have to be taken back. Values for
    /// ports that are gone stay: nobody has their tag. `tags` are those in use, in each protocol.
    pub fn changes_to(
        &self,
        wanted: &BTreeMap<OptionKey, String>,
        tags: &HashSet<(Family, &str)>,
    ) -> (BTreeMap<OptionKey, String>, bool) {
        let differs = |key: &OptionKey| {
            let value = wanted.get(key);
            value.is_some() && value != self.values.get(key)
        };
        // What is for some guests stands after what is for all.
        let again = |key: &OptionKey| differs(&OptionKey::plain(&key.tag, key.code));
        let told = wanted.iter().filter(|(key, _)| differs(key) || again(key));
        let changes = told.map(|(key, value)| (key.clone(), value.clone())).collect();
        let in_use = |key: &&OptionKey| {
            tags.contains(&(key.code.family(), key.tag.as_str())) && !wanted.contains_key(*key)
        };
        let many = self.lines > 2 * wanted.len() + Hosts::SPARE_LINES;
        let stuck = self.foreign || many || self.values.keys().any(|key| in_use(&key));
        (changes, stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Machine;

    #[test]
    fn an_option_for_some_guests_stays_after_the_one_for_all() {
        let all = OptionKey::plain("p1", Code::V4(67));
        let some = OptionKey { kind: Kind { machine: Some(Machine::X64Uefi), ipxe: None }, ..all.clone() };
        let other = OptionKey::plain("p1", Code::V4(66));
        let values = |texts: [&str; 3]| {
            let keys = [all.clone(), some.clone(), other.clone()];
            keys.into_iter().zip(texts.map(str::to_owned)).collect::<BTreeMap<_, _>>()
        };
        let is = OptionSet::fresh(values(["a", "b", "c"]));
        let tags = HashSet::from([(Family::V4, "p1")]);
        let told = |wanted: &BTreeMap<OptionKey, String>| {
            let (changes, stuck) = is.changes_to(wanted, &tags);
            (changes.into_values().collect::<Vec<_>>(), stuck)
        };
        assert_eq!(told(&values(["x", "b", "c"])), (vec!["x".to_owned(), "b".to_owned()], false));
        assert_eq!(told(&values(["a", "x", "c"])), (vec!["x".to_owned()], false));
        assert_eq!(
            told(&BTreeMap::from([(all.clone(), "a".to_owned()), (other.clone(), "c".to_owned())])),
            (vec![], true)
        );
        let without = BTreeMap::from([(some.clone(), "b".to_owned()), (other.clone(), "c".to_owned())]);
        assert_eq!(told(&without), (vec![], true));
        // In DHCPv6 alone nobody would be told of it.
        assert_eq!(is.changes_to(&without, &HashSet::from([(Family::V6, "p1")])), (BTreeMap::new(), false));
    }
}
