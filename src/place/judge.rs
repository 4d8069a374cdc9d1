//! Whether a node is fit for a network, takes a new server of it, and what becomes of one it has.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Candidate, Need, Placed, Reach, Standing, Why};
use crate::selector::selects;

/// What an agent may know to do: `DHCPAgent.status.features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// `DHCPv4`.
    IPv4,
    /// `DHCPv6`.
    IPv6,
    /// Router advertisements.
    RouterAdvertisements,
    /// The metadata service.
    Metadata,
    /// Guests that are no Port.
    Dynamic,
    /// Guests that are known by what they call themselves.
    Identities,
    /// TXT records.
    TxtRecords,
    /// A server beside others of the same network.
    SeveralServers,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::IPv4,
        Self::IPv6,
        Self::RouterAdvertisements,
        Self::Metadata,
        Self::Dynamic,
        Self::Identities,
        Self::TxtRecords,
        Self::SeveralServers,
    ];

    /// As it stands in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
            Self::RouterAdvertisements => "RouterAdvertisements",
            Self::Metadata => "Metadata",
            Self::Dynamic => "Dynamic",
            Self::Identities => "Identities",
            Self::TxtRecords => "TXTRecords",
            Self::SeveralServers => "SeveralServers",
        }
    }
}

/// A feature of a newer agent; to be ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a feature that this version knows")]
pub struct UnknownFeature(String);

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(text: &str) -> Result<Self, UnknownFeature> {
        let found = Self::ALL.into_iter().find(|feature| feature.as_str() == text);
        found.ok_or_else(|| UnknownFeature(text.to_owned()))
    }
}

/// Why a node gets no server of the network, in the order in which equally frequent ones are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The agent is not mapped to the physical network.
    NotReached,
    /// The physical network is down there.
    LinkDown,
    /// The mapping carries no VLANs.
    NoVlans,
    /// The mapping carries nothing untagged.
    NoUntagged,
    /// The agent does not know to do this.
    Lacks(Feature),
    /// `nodeSelector` does not select it.
    NotSelected,
    /// Takes no new servers.
    Cordoned,
    /// Is to be emptied.
    Draining,
    /// Has as many networks as it takes.
    Full,
    /// The agent does not renew its Lease.
    NotAlive,
    /// Has a server of the network.
    Serves,
    /// Has a server of the network that was withdrawn.
    Leaving,
}

impl Cause {
    /// A server that is there already answers all the same, and contradicts no other one.
    pub(super) fn still_serves(self) -> bool {
        match self {
            Self::Lacks(feature) => feature != Feature::SeveralServers,
            _ => matches!(self, Self::NotSelected | Self::Draining),
        }
    }

    /// What is said of one node, and of several.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NotReached => ("does not reach", "do not reach"),
            Self::LinkDown => ("has no link to", "have no link to"),
            Self::NoVlans => ("carries no VLANs of", "carry no VLANs of"),
            Self::NoUntagged => ("carries nothing untagged of", "carry nothing untagged of"),
            Self::Lacks(_) => ("lacks", "lack"),
            Self::NotSelected => ("is not selected by nodeSelector", "are not selected by nodeSelector"),
            Self::Cordoned => ("is cordoned", "are cordoned"),
            Self::Draining => ("is draining", "are draining"),
            Self::Full => ("has no room", "have no room"),
            Self::NotAlive => ("is not alive", "are not alive"),
            Self::Serves => ("serves the network already", "serve the network already"),
            Self::Leaving => ("is still giving the network up", "are still giving the network up"),
        }
    }

    /// What the words are followed by.
    pub(super) fn object(self, physical: &str) -> String {
        match self {
            Self::NotReached | Self::LinkDown | Self::NoVlans | Self::NoUntagged => {
                format!(" physical network {physical}")
            }
            Self::Lacks(feature) => format!(" {}", feature.as_str()),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Surplus => f.write_str("the network asks for fewer servers"),
            Self::AgentDeleted => f.write_str("the node has no DHCPAgent any more"),
            Self::Node(Cause::Lacks(feature)) => write!(f, "the node lacks {}", feature.as_str()),
            Self::Node(cause) if cause.object("").is_empty() => write!(f, "the node {}", cause.words().0),
            Self::Node(cause) => write!(f, "the node {} the physical network", cause.words().0),
        }
    }
}

/// What becomes of a server that is there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    /// Nothing.
    Stay,
    /// It may come back within this time; until then nothing.
    Wait(Duration),
    /// It answers, but should do so from elsewhere.
    Move(Why),
    /// It answers nobody. `keep`: it stays where there is no other node.
    Replace { why: Why, keep: bool },
}

impl Verdict {
    /// `patience`: for how long a silent server is waited for.
    pub(super) fn of(need: &Need<'_>, placed: &Placed, node: Option<&Candidate>, patience: Duration) -> Self {
        let Some(node) = node else { return Self::Replace { why: Why::AgentDeleted, keep: true } };
        let down = node.physical.get(need.physical).and_then(|reach| reach.down_for).unwrap_or_default();
        match (placed.standing, unfit(need, node)) {
            (Standing::Gone { for_ }, _) => Self::late(Cause::NotAlive, for_, patience),
            _ if !node.alive => Self::late(Cause::NotAlive, Duration::ZERO, patience),
            (_, None) => Self::Stay,
            (_, Some(Cause::LinkDown)) => Self::late(Cause::LinkDown, down, patience),
            (standing, Some(cause)) => {
                let (why, keep) = (Why::Node(cause), cause.still_serves());
                let moves = keep && standing == Standing::Ready;
                if moves { Self::Move(why) } else { Self::Replace { why, keep } }
            }
        }
    }

    fn late(cause: Cause, for_: Duration, patience: Duration) -> Self {
        match patience.checked_sub(for_) {
            Some(rest) if !rest.is_zero() => Self::Wait(rest),
            _ => Self::Replace { why: Why::Node(cause), keep: true },
        }
    }

    /// It answers now, if it is Ready.
    pub(super) fn serves(self, standing: Standing) -> bool {
        standing == Standing::Ready && matches!(self, Self::Stay | Self::Move(_))
    }

    /// For a server that does not answer now: whether it is waited for.
    pub(super) fn waits(self, standing: Standing) -> bool {
        matches!(self, Self::Wait(_)) || (matches!(self, Self::Stay) && standing == Standing::Starting)
    }
}

/// Why a node is not fit for the network, be it alive or not.
pub(super) fn unfit(need: &Need<'_>, node: &Candidate) -> Option<Cause> {
    let lacking = || need.features.difference(&node.features).next().copied().map(Cause::Lacks);
    let selected = need.selector.is_none_or(|selector| selects(selector, &node.labels));
    unreached(need, node.physical.get(need.physical).copied())
        .or_else(lacking)
        .or_else(|| (!selected).then_some(Cause::NotSelected))
        .or_else(|| node.draining.then_some(Cause::Draining))
}

fn unreached(need: &Need<'_>, reach: Option<Reach>) -> Option<Cause> {
    match reach {
        None => Some(Cause::NotReached),
        Some(reach) if need.vlan.is_some() && !reach.vlans => Some(Cause::NoVlans),
        Some(reach) if need.vlan.is_none() && !reach.untagged => Some(Cause::NoUntagged),
        Some(reach) => reach.down_for.map(|_| Cause::LinkDown),
    }
}

/// Why a node gets no new server. `taken`: nodes that have one, and whether it stays.
pub(super) fn refusal(need: &Need<'_>, node: &Candidate, taken: &BTreeMap<&str, bool>) -> Option<Cause> {
    if !node.alive {
        return Some(Cause::NotAlive);
    }
    let has = taken.get(node.node.as_str()).map(|stays| if *stays { Cause::Serves } else { Cause::Leaving });
    unfit(need, node)
        .or(has)
        .or_else(|| (!node.accepts).then_some(Cause::Cordoned))
        .or_else(|| (node.load >= node.capacity).then_some(Cause::Full))
}

/// The same in each process and each version: FNV-1a, mixed so that similar names differ in all bits.
pub(super) fn hash(network: &str, node: &str) -> u64 {
    let bytes = network.bytes().chain([0]).chain(node.bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
