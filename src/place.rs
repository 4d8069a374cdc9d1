//! On which nodes the slots of a network are served: what stays, what is withdrawn, what is created.
//!
//! Called by the controller, for one network at a time; whoever places several counts the new servers
//! into `load` in between. Pure. What serves stays where it is as long as its node is fit; a move is
//! made only while another server answers, or when none would.

mod judge;
mod missing;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::api::LabelSelector;

pub use judge::{Cause, Feature};
use judge::{Verdict, hash, refusal};
pub use missing::Missing;
pub use step::Step;
use step::none_in_between;

/// What a network asks of the nodes that serve it.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// The Network's UID: spreads networks over nodes that are equally good.
    pub network: &'a str,
    /// How many slots: `dhcp.servers`.
    pub servers: u8,
    /// The physical network.
    pub physical: &'a str,
    /// The VLAN; `None` for untagged.
    pub vlan: Option<u16>,
    /// What the agent must know to do.
    pub features: &'a BTreeSet<Feature>,
    /// Which nodes, by their labels.
    pub selector: Option<&'a LabelSelector>,
}

/// A node with an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node's name.
    pub node: String,
    /// `topology.kubernetes.io/zone`; nodes without the label are in one zone together.
    pub zone: Option<String>,
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
    /// Whether the agent renews its Lease.
    pub alive: bool,
    /// Takes new servers: the node is not cordoned, the agent not `unschedulable`.
    pub accepts: bool,
    /// Is to be emptied: the agent's `drain`.
    pub draining: bool,
    /// Physical networks that the agent is mapped to, by name.
    pub physical: BTreeMap<String, Reach>,
    /// What the agent knows to do.
    pub features: BTreeSet<Feature>,
    /// Networks assigned to it.
    pub load: u32,
    /// Networks that it takes at most.
    pub capacity: u32,
}

/// How an agent reaches a physical network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Since when it is down; `None` while it is up.
    pub down_for: Option<Duration>,
    /// Carries VLANs.
    pub vlans: bool,
    /// Carries untagged networks.
    pub untagged: bool,
}

/// A `DHCPServer` of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The node's name.
    pub node: String,
    /// From 0.
    pub slot: u8,
    /// How it is doing.
    pub standing: Standing,
}

/// How a `DHCPServer` is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Serves.
    Ready,
    /// Does not serve, with an agent that is alive.
    Starting,
    /// Its agent is not alive.
    Gone {
        /// Since when.
        for_: Duration,
    },
    /// Withdrawn, but still there: its name is taken, so its node gets no other one.
    Leaving,
}

/// Why a server is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The Network asks for fewer, or the slot has two.
    Surplus,
    /// The node's `DHCPAgent` object was deleted.
    AgentDeleted,
    /// The node does not serve it, or not as the Network asks.
    Node(Cause),
}

/// What to do for a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// In this order; a slot's old server is withdrawn just before its new one is created.
    pub steps: Vec<Step>,
    /// Slots that no node could be found for.
    pub missing: Option<Missing>,
    /// When a server that is waited for will be replaced, if nothing happens before.
    pub look_again: Option<Duration>,
    /// Whether a node was looked for: else no candidate mattered but those that have a server.
    pub searched: bool,
}

/// What to do so that each slot has one server, on a node of its own that is fit for it. A network with
/// another Ready server waits `reschedule_after` for one whose agent is dead or whose link is down.
pub fn place(
    need: &Need<'_>,
    candidates: &[Candidate],
    placed: &[Placed],
    reschedule_after: Duration,
) -> Placement {
    let mut pass = Pass::new(need, candidates, placed, reschedule_after);
    pass.fill();
    pass.relocate();
    pass.withdraw_surplus();
    let (unmet, refused) = (pass.unmet, candidates.iter().filter_map(|c| refusal(need, c, &pass.taken)));
    let missing = (unmet > 0).then(|| Missing::new(need, unmet, refused));
    let Pass { steps, look_again, searched, .. } = pass;
    Placement { steps: none_in_between(steps), missing, look_again, searched }
}

/// One run of [`place`].
struct Pass<'a> {
    need: &'a Need<'a>,
    candidates: BTreeMap<&'a str, &'a Candidate>,
    /// By slot, those that the Network asks for.
    slots: Vec<Option<(&'a Placed, Verdict)>>,
    surplus: Vec<&'a Placed>,
    /// Slots whose server is to leave, and whose next one is starting.
    succeeded: BTreeSet<u8>,
    /// Nodes that have a server of the network; whether one that stays.
    taken: BTreeMap<&'a str, bool>,
    /// Servers of the network by zone.
    zones: BTreeMap<&'a str, usize>,
    /// Servers that answer, surplus ones too, less those that are moved.
    serving: usize,
    steps: Vec<Step>,
    unmet: usize,
    look_again: Option<Duration>,
    searched: bool,
}

impl<'a> Pass<'a> {
    fn new(need: &'a Need<'a>, all: &'a [Candidate], placed: &'a [Placed], patience: Duration) -> Self {
        let (active, surplus) = sorted(need, all, placed);
        let mut pass = Self {
            need,
            candidates: all.iter().map(|c| (c.node.as_str(), c)).collect(),
            slots: vec![None; need.servers.into()],
            surplus,
            succeeded: BTreeSet::new(),
            taken: placed.iter().map(|p| (p.node.as_str(), p.standing != Standing::Leaving)).collect(),
            zones: BTreeMap::new(),
            serving: active.iter().filter(|p| serves(need, all, p)).count(),
            steps: Vec::new(),
            unmet: 0,
            look_again: None,
            searched: false,
        };
        for placed in active {
            let another = pass.serving > usize::from(serves(need, all, placed));
            pass.judge(placed, if another { patience } else { Duration::ZERO });
        }
        pass.keep_successors();
        pass.count_what_stays();
        pass
    }

    /// The second server of a slot is one too many, unless it is there to take over.
    fn keep_successors(&mut self) {
        for placed in std::mem::take(&mut self.surplus) {
            let candidate = self.candidates.get(placed.node.as_str()).copied();
            let verdict = Verdict::of(self.need, placed, candidate, Duration::ZERO);
            let holder = self.slots.get(usize::from(placed.slot)).copied().flatten();
            let leaves = holder.is_some_and(|(_, verdict)| matches!(verdict, Verdict::Move(_)));
            if leaves && matches!(verdict, Verdict::Stay) && self.succeeded.insert(placed.slot) {
                *self.zones.entry(zone(&self.candidates, &placed.node)).or_default() += 1;
            } else {
                self.surplus.push(placed);
            }
        }
    }

    fn judge(&mut self, placed: &'a Placed, patience: Duration) {
        let candidate = self.candidates.get(placed.node.as_str()).copied();
        match self.slots.get_mut(usize::from(placed.slot)) {
            Some(slot) => *slot = Some((placed, Verdict::of(self.need, placed, candidate, patience))),
            None => self.surplus.push(placed),
        }
    }

    fn count_what_stays(&mut self) {
        for (placed, verdict) in self.slots.iter().flatten() {
            if !matches!(verdict, Verdict::Replace { .. }) {
                *self.zones.entry(zone(&self.candidates, &placed.node)).or_default() += 1;
            }
            if let Verdict::Wait(rest) = verdict {
                self.look_again = Some(self.look_again.map_or(*rest, |soonest| soonest.min(*rest)));
            }
        }
    }

    /// Slots that have no server, or one that answers nobody.
    fn fill(&mut self) {
        for slot in 0..self.need.servers {
            match self.slots[usize::from(slot)] {
                None => self.create(slot, None),
                Some((old, Verdict::Replace { why, keep })) => self.replace(old, why, keep),
                Some(_) => {}
            }
        }
    }

    fn create(&mut self, slot: u8, old: Option<(&'a Placed, Why)>) {
        self.searched = true;
        let Some(node) = self.pick() else {
            self.unmet += 1;
            return;
        };
        if let Some((old, why)) = old {
            self.withdraw(old, why);
        }
        self.taken.insert(node, true);
        *self.zones.entry(zone(&self.candidates, node)).or_default() += 1;
        self.steps.push(Step::Create { slot, node: node.to_owned() });
    }

    fn replace(&mut self, old: &'a Placed, why: Why, keep: bool) {
        let unmet = self.unmet;
        self.create(old.slot, Some((old, why)));
        if self.unmet > unmet && !keep {
            self.withdraw(old, why);
        }
    }

    /// Servers that answer from nodes that are not fit: as long as another one answers; or, if none is to
    /// come that could, only after the next one does.
    fn relocate(&mut self) {
        let coming = self.steps.iter().any(|step| matches!(step, Step::Create { .. }))
            || self.slots.iter().flatten().any(|(placed, verdict)| verdict.waits(placed.standing));
        for slot in 0..self.slots.len() {
            let Some((old, Verdict::Move(why))) = self.slots[slot] else { continue };
            if self.succeeded.contains(&old.slot) {
                continue;
            }
            if self.serving > 1 {
                self.relocate_one(old, Some(why));
            } else if !coming {
                self.relocate_one(old, None);
            }
        }
    }

    /// Without `why` the old one stays until the new one answers.
    fn relocate_one(&mut self, old: &'a Placed, why: Option<Why>) {
        let zone = zone(&self.candidates, &old.node);
        *self.zones.entry(zone).or_default() -= 1;
        let unmet = self.unmet;
        self.create(old.slot, why.map(|why| (old, why)));
        if self.unmet > unmet {
            // It serves on, so nothing is missing.
            self.unmet = unmet;
            *self.zones.entry(zone).or_default() += 1;
        } else if why.is_some() {
            self.serving -= 1;
        }
    }

    /// One that answers goes only when one that is to stay answers too.
    fn withdraw_surplus(&mut self) {
        let moved: BTreeSet<_> = self.steps.iter().filter_map(Step::withdrawn).map(str::to_owned).collect();
        let answers = |(placed, verdict): &(&Placed, Verdict)| {
            verdict.serves(placed.standing) && !moved.contains(&placed.node)
        };
        let covered = self.slots.iter().flatten().any(answers);
        for placed in std::mem::take(&mut self.surplus) {
            let candidate = self.candidates.get(placed.node.as_str()).copied();
            let verdict = Verdict::of(self.need, placed, candidate, Duration::ZERO);
            let double = placed.slot < self.need.servers;
            if double || covered || !verdict.serves(placed.standing) {
                self.withdraw(placed, Why::Surplus);
            }
        }
    }

    fn withdraw(&mut self, placed: &'a Placed, why: Why) {
        self.taken.insert(&placed.node, false);
        self.steps.push(Step::Withdraw { node: placed.node.clone(), slot: placed.slot, why });
    }

    /// A zone with few servers of the network first, then the node with the fewest networks.
    fn pick(&self) -> Option<&'a str> {
        let free = self.candidates.values().filter(|c| refusal(self.need, c, &self.taken).is_none());
        let key = |c: &&&'a Candidate| {
            let servers = self.zones.get(zone(&self.candidates, &c.node)).copied().unwrap_or_default();
            (servers, c.load, hash(self.need.network, &c.node), c.node.as_str())
        };
        free.min_by_key(key).map(|c| c.node.as_str())
    }
}

/// Whether a server answers.
fn serves(need: &Need<'_>, all: &[Candidate], placed: &Placed) -> bool {
    let node = all.iter().find(|c| c.node == placed.node);
    node.is_some_and(|node| Verdict::of(need, placed, Some(node), Duration::ZERO).serves(placed.standing))
}

/// Whether a server is to answer from elsewhere.
fn leaves(need: &Need<'_>, all: &[Candidate], placed: &Placed) -> bool {
    let node = all.iter().find(|c| c.node == placed.node);
    matches!(Verdict::of(need, placed, node, Duration::ZERO), Verdict::Move(_))
}

/// Servers that were not withdrawn, one for each slot, the better one; and the rest: two in one slot
/// have the same addresses, so the second never counts as an answer.
fn sorted<'a>(
    need: &Need<'_>,
    all: &[Candidate],
    placed: &'a [Placed],
) -> (Vec<&'a Placed>, Vec<&'a Placed>) {
    let mut active: Vec<_> = placed.iter().filter(|p| p.standing != Standing::Leaving).collect();
    // The highest slots come first: in this order surplus ones are withdrawn.
    active.sort_by_cached_key(|p| {
        let starting = p.standing == Standing::Starting;
        (std::cmp::Reverse(p.slot), !serves(need, all, p), leaves(need, all, p), !starting, p.node.as_str())
    });
    let mut seen = BTreeSet::new();
    active.into_iter().partition(|p| seen.insert(p.slot))
}

fn zone<'a>(candidates: &BTreeMap<&'a str, &'a Candidate>, node: &str) -> &'a str {
    candidates.get(node).and_then(|c| c.zone.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
