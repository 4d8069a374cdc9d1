//! Who on a segment answers DHCP clients, or calls itself a router, and is none of ours.
//!
//! Filled by the network's worker with what `host` overhears, read for conditions and metrics. Pure: the
//! time is an argument. Whoever is on the segment can say anything in anybody's name, as fast as the wire
//! goes: what is remembered is bounded, and so is how often it changes.

pub mod frame;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;

use crate::reason::{Problem, Reason};
use crate::types::MacAddr;

/// What somebody said on the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Whose frame it was.
    pub mac: MacAddr,
    /// What it calls itself: its server identifier, or where the packet came from.
    pub ip: IpAddr,
    /// What it said.
    pub what: What,
}

/// What somebody can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An answer to a client of DHCPv4.
    Dhcpv4,
    /// One to a client of DHCPv6, with the server's identifier.
    Dhcpv6(Vec<u8>),
    /// A router advertisement.
    Router {
        /// What guests are to take for on-link, or to make addresses of.
        prefixes: BTreeSet<Ipv6Net>,
        /// How long it is to be a default router; 0: it is none.
        lifetime_seconds: u16,
    },
}

/// The two conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It answers DHCP clients.
    DhcpServer,
    /// It advertises itself as a router.
    Router,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::DhcpServer, Self::Router];

    /// The condition's type; true while there is one.
    pub fn condition(self) -> &'static str {
        self.reason().as_str()
    }

    /// The condition's reason.
    pub fn reason(self) -> Reason {
        match self {
            Self::DhcpServer => Reason::ForeignDHCPServer,
            Self::Router => Reason::ForeignRouter,
        }
    }
}

/// By what a network knows its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ours {
    /// The devices of its servers, on whatever nodes.
    pub macs: BTreeSet<MacAddr>,
    /// Their addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// What all of them are in DHCPv6.
    pub duid: Vec<u8>,
    /// The prefixes of Subnets that have a gateway: somebody is to be router there.
    pub routed: Vec<Ipv6Net>,
    /// The prefixes that its servers advertise: who says of these that it is no router says what they say,
    /// and may be one that was not heard of yet, or is not any more.
    pub advertised: Vec<Ipv6Net>,
}

impl Ours {
    /// Whether this was to be expected.
    fn expects(&self, heard: &Heard) -> bool {
        self.macs.contains(&heard.mac)
            || match &heard.what {
                What::Dhcpv4 => self.addresses.contains(&heard.ip),
                What::Dhcpv6(duid) => *duid == self.duid,
                What::Router { prefixes, lifetime_seconds } => {
                    let all = |of: &[Ipv6Net]| prefixes.iter().all(|prefix| of.contains(prefix));
                    let as_ours = *lifetime_seconds == 0 && !prefixes.is_empty() && all(&self.advertised);
                    as_ours || (!self.routed.is_empty() && all(&self.routed))
                }
            }
    }
}

/// So many of a kind are named.
const NAMED: usize = 8;
/// So many prefixes of a router are.
const PREFIXES: usize = 2;
/// Who was not heard for so long is forgotten: a server is asked when a guest renews, a router speaks at
/// least so often (RFC 4861 §6.2.1).
const REMEMBERED: Duration = Duration::from_secs(30 * 60);
/// The longest that a router may say it is one (RFC 4861 §6.2.1).
const LONGEST_LIFETIME: u16 = 9_000;
/// What is said of one that goes on saying other things changes no more often.
const STEADY: Duration = Duration::from_secs(60);

/// The foreign ones that are there.
#[derive(Debug, Default)]
pub struct Foreign {
    ours: Ours,
    all: BTreeMap<(Kind, MacAddr, IpAddr), Known>,
    /// When there were more last than are named.
    more: BTreeMap<Kind, Instant>,
}

#[derive(Debug)]
struct Known {
    what: What,
    /// Until it is heard again.
    until: Instant,
    /// No other word of it before.
    steady: Instant,
}

impl Foreign {
    /// From now on these are ours.
    pub fn know(&mut self, ours: Ours) {
        if self.ours == ours {
            return;
        }
        self.all.retain(|(_, mac, ip), known| {
            !ours.expects(&Heard { mac: *mac, ip: *ip, what: known.what.clone() })
        });
        self.ours = ours;
    }

    /// Takes in what was heard; whether there is something new to say.
    pub fn hear(&mut self, heard: Heard, now: Instant) -> bool {
        if self.ours.expects(&heard) {
            return false;
        }
        let kind = heard.what.kind();
        let key = (kind, heard.mac, heard.ip);
        let until = now + heard.what.remembered();
        if let Some(known) = self.all.get_mut(&key) {
            known.until = known.until.max(until);
            let changes = known.what != heard.what && now >= known.steady;
            if changes {
                (known.what, known.steady) = (heard.what, now + STEADY);
            }
            return changes;
        }
        if self.named(kind).count() == NAMED {
            return self.more.insert(kind, now + REMEMBERED).is_none();
        }
        self.all.insert(key, Known { what: heard.what, until, steady: now + STEADY });
        true
    }

    /// Forgets whom nobody hears any more; whether there was one.
    pub fn forget(&mut self, now: Instant) -> bool {
        let before = (self.all.len(), self.more.len());
        self.all.retain(|_, known| known.until > now);
        self.more.retain(|_, until| *until > now);
        before != (self.all.len(), self.more.len())
    }

    /// When there is next one to forget.
    pub fn next(&self) -> Option<Instant> {
        self.all.values().map(|known| known.until).chain(self.more.values().copied()).min()
    }

    /// How many of this kind are known.
    pub fn count(&self, kind: Kind) -> usize {
        self.named(kind).count()
    }

    /// Who is there, in words; `None`: nobody.
    pub fn problem(&self, kind: Kind) -> Option<Problem> {
        let mut named: Vec<_> = self.named(kind).map(|(key, known)| known.words(key.1, key.2)).collect();
        if named.is_empty() {
            return None;
        }
        if self.more.contains_key(&kind) {
            named.push("and others".to_owned());
        }
        Some(Problem::new(kind.reason(), named.join("; ")))
    }

    fn named(&self, kind: Kind) -> impl Iterator<Item = (&(Kind, MacAddr, IpAddr), &Known)> {
        self.all.iter().filter(move |(key, _)| key.0 == kind)
    }
}

impl What {
    /// Of which condition it is a cause.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Dhcpv4 | Self::Dhcpv6(_) => Kind::DhcpServer,
            Self::Router { .. } => Kind::Router,
        }
    }

    /// How long after the last word.
    fn remembered(&self) -> Duration {
        let lifetime = match self {
            Self::Router { lifetime_seconds, .. } => (*lifetime_seconds).min(LONGEST_LIFETIME),
            _ => 0,
        };
        REMEMBERED.max(Duration::from_secs(lifetime.into()))
    }
}

impl Known {
    fn words(&self, mac: MacAddr, ip: IpAddr) -> String {
        format!("{mac} {} as {ip}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcpv4 => f.write_str("answers DHCPv4 clients"),
            Self::Dhcpv6(_) => f.write_str("answers DHCPv6 clients"),
            Self::Router { prefixes, lifetime_seconds } => {
                f.write_str("advertises ")?;
                match prefixes.len() {
                    0 => f.write_str("itself")?,
                    n => {
                        let named: Vec<_> = prefixes.iter().take(PREFIXES).map(Ipv6Net::to_string).collect();
                        let more = if n > PREFIXES { ", …" } else { "" };
                        write!(f, "{}{more}", named.join(", "))?;
                    }
                }
                match lifetime_seconds {
                    0 => f.write_str(", being no router,"),
                    seconds => write!(f, " for {seconds} s"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
