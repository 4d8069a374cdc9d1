//! Which agents are dead, judged from their Leases.
//!
//! Fed by the controller with what its watch of Leases shows and with the passing of time. Pure: times
//! are readings of one monotonic clock, so no node's clock matters. Only time counts during which a
//! renewal would have been seen: not while the watch was broken, or this process stood still or led
//! nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of the agents' Leases.
#[derive(Debug, Clone)]
pub struct Liveness {
    renew: Duration,
    agents: BTreeMap<String, Agent>,
    /// Time that counted, up to `now`.
    counted: Duration,
    /// The last reading of the clock.
    now: Duration,
    sighted: bool,
    /// The last verdict was a mass expiry.
    mass: bool,
}

#[derive(Debug, Clone)]
struct Agent {
    resource_version: String,
    valid_for: Duration,
    /// When its Lease changed last, in time that counts.
    renewed: Duration,
    /// Since when it is dead, on the clock.
    dead_since: Option<Duration>,
}

/// What is true of the agents at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Those that are dead, and since which reading of the clock.
    pub dead: BTreeMap<String, Duration>,
    /// More than half expired together: more likely the API server or the network than so many nodes, so
    /// none of them is called dead.
    pub mass_expiry: bool,
    /// After how much time to judge again, if nothing happens before.
    pub next_look: Option<Duration>,
}

impl Liveness {
    /// How often [`Self::tick`] is to be called, or anything else with a time.
    pub const TICK: Duration = Duration::from_secs(1);

    /// Longest step of the clock that is taken for time in which we were awake.
    pub const STALL: Duration = Duration::from_secs(3);

    /// Fewer agents than this cannot expire as a mass.
    pub const MASS: usize = 3;

    /// `renew`: how often agents renew their Leases. Blind until [`Self::sighted`].
    pub fn new(renew: Duration, now: Duration) -> Self {
        let (counted, agents) = (Duration::ZERO, BTreeMap::new());
        Self { renew, agents, counted, now, sighted: false, mass: false }
    }

    /// A Lease as the watch shows it. Its first sight is a renewal, so that our own start gives each a
    /// full period. `valid_for`: its `leaseDurationSeconds`.
    pub fn observe(&mut self, name: &str, resource_version: &str, valid_for: Duration, now: Duration) {
        self.tick(now);
        if self.agents.get(name).is_some_and(|agent| agent.resource_version == resource_version) {
            return;
        }
        let (resource_version, renewed) = (resource_version.to_owned(), self.counted);
        self.agents.insert(name.to_owned(), Agent { resource_version, valid_for, renewed, dead_since: None });
    }

    /// The Lease or the agent's object was deleted: it is neither dead nor alive.
    pub fn forget(&mut self, name: &str) {
        self.agents.remove(name);
    }

    /// These are the agents there are: others are forgotten, and one without a Lease has as long to
    /// show one as a Lease is valid.
    pub fn expect(&mut self, names: &BTreeSet<String>, valid_for: Duration) {
        self.agents.retain(|name, _| names.contains(name));
        for name in names {
            let (resource_version, renewed) = (String::new(), self.counted);
            self.agents.entry(name.clone()).or_insert(Agent {
                resource_version,
                valid_for,
                renewed,
                dead_since: None,
            });
        }
    }

    /// The watch broke, or somebody else leads: until [`Self::sighted`] no time counts.
    pub fn blind(&mut self, now: Duration) {
        self.tick(now);
        self.sighted = false;
    }

    /// The watch has shown all that changed meanwhile, and we lead.
    pub fn sighted(&mut self, now: Duration) {
        self.tick(now);
        if !self.sighted {
            self.forgive();
        }
        self.sighted = true;
    }

    /// Time went on. After a long step this process stood still itself, and what came in meanwhile is
    /// still to be read.
    pub fn tick(&mut self, now: Duration) {
        let step = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        match self.sighted {
            true if step > Self::STALL => self.forgive(),
            true => self.counted += step,
            false => {}
        }
    }

    /// Judges all agents. One that is dead stays so until its Lease changes, or more than half turn out
    /// to have gone with it.
    pub fn verdict(&mut self, now: Duration) -> Verdict {
        self.tick(now);
        if self.sighted {
            self.judge();
        }
        let dead = self.agents.iter().filter_map(|(name, agent)| Some((name.clone(), agent.dead_since?)));
        Verdict { dead: dead.collect(), mass_expiry: self.mass, next_look: self.next_look() }
    }

    fn judge(&mut self) {
        let (counted, now) = (self.counted, self.now);
        let mass = self.is_mass();
        let ended = std::mem::replace(&mut self.mass, mass);
        if self.mass {
            let together = self.agents.values_mut().filter(|agent| !agent.is_long_dead(counted));
            together.for_each(|agent| agent.dead_since = None);
        } else if ended {
            // The others may be about to come back as well.
            self.forgive();
        } else {
            let expired = self.agents.values_mut().filter(|agent| agent.is_expired(counted));
            expired.for_each(|agent| agent.dead_since = agent.dead_since.or(Some(now)));
        }
    }

    /// Whether some expired and, with those that miss a renewal, are more than half of all but the long
    /// dead: at the first expiry of a mass the others are late, but not expired.
    fn is_mass(&self) -> bool {
        let of_now = || self.agents.values().filter(|agent| !agent.is_long_dead(self.counted));
        let late = of_now().filter(|agent| agent.is_late(self.counted, self.renew)).count();
        let all = of_now().count();
        all >= Self::MASS && late * 2 > all && of_now().any(|agent| agent.is_expired(self.counted))
    }

    /// Whoever could not be seen, or could not renew, has two renewals' time to show that it is alive.
    fn forgive(&mut self) {
        for agent in self.agents.values_mut().filter(|agent| agent.dead_since.is_none()) {
            let most = agent.valid_for.saturating_sub(self.renew * 2);
            agent.renewed = self.counted.saturating_sub(agent.age(self.counted).min(most));
        }
    }

    fn next_look(&self) -> Option<Duration> {
        let waiting = self.agents.values().filter(|agent| agent.dead_since.is_none() && self.sighted);
        let left = waiting.map(|agent| agent.valid_for.checked_sub(agent.age(self.counted)));
        // An expired one that is not dead is part of a mass: time must count on for the others.
        left.map(|left| left.map_or(Self::TICK, |left| Self::TICK.min(left + Duration::from_millis(1)))).min()
    }
}

/// `counted`: all time that counted so far.
impl Agent {
    fn age(&self, counted: Duration) -> Duration {
        counted.saturating_sub(self.renewed)
    }

    fn is_expired(&self, counted: Duration) -> bool {
        self.age(counted) > self.valid_for
    }

    fn is_late(&self, counted: Duration, renew: Duration) -> bool {
        let late = (self.valid_for / 2).max(renew * 3 / 2).min(self.valid_for);
        self.age(counted) > late
    }

    /// Expired more than a period ago, and alone: no part of what expires now, nor of what could.
    fn is_long_dead(&self, counted: Duration) -> bool {
        self.dead_since.is_some() && self.age(counted) > self.valid_for * 2
    }
}

#[cfg(test)]
mod tests;
