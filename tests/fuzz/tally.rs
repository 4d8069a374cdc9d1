//! How many inputs there were, and what became of them.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Default)]
pub struct Tally {
    pub inputs: u64,
    /// No object of their kind could be made of them.
    pub unreadable: u64,
    outcomes: BTreeMap<String, u64>,
    pub failures: Vec<String>,
}

impl Tally {
    pub fn note(&mut self, outcome: String) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.unreadable += other.unreadable;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.failures.extend(other.failures);
    }

    pub fn accepted(&self) -> u64 {
        let accepted = self.outcomes.iter().filter(|(outcome, _)| outcome.ends_with(" accepted"));
        accepted.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, accepted) = (self.outcomes.values().sum::<u64>(), self.accepted());
        write!(
            f,
            "{} inputs: {accepted} accepted, {} refused, {} unreadable; {} distinct outcomes",
            self.inputs,
            all - accepted,
            self.unreadable,
            self.outcomes.len()
        )?;
        let mut common: Vec<_> = self.outcomes.iter().collect();
        common.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        common.iter().take(12).try_for_each(|(outcome, count)| write!(f, "\n  {count:>8} {outcome}"))
    }
}
