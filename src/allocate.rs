//! Who has which address of a network: kept, given, taken back.
//!
//! Called by whoever allocates (without a cluster the agent itself). Pure; a pool costs what is used
//! of it, not what it holds. An address is free when it was never used, lowest first; when none is
//! left, the one that was released longest ago.

mod change;
mod held;
mod holder;
mod pool;
mod round;
mod search;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::node::Family;
use crate::types::is_reserved;

pub use change::{Added, Change};
pub use held::{Held, HeldLater};
pub use holder::Holder;
pub use pool::Pool;
use round::Round;
use search::Search;

/// An address in use or given back: an IPAllocation's spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// The Subnet.
    pub subnet_name: String,
    /// Who has, or had, it.
    pub holder: Holder,
    /// Its place among the holder's addresses: the first is the one that DHCP offers.
    pub position: usize,
    /// The how-manieth release of the network this was; unset while in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<u64>,
}

/// All allocations of one network, by address. A copy shares those that did not change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger(BTreeMap<IpAddr, Arc<Allocation>>);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Any address of this family, in the first automatic pool that has one; none where there is no such
    /// pool.
    Any(Family),
    /// Any address of this Subnet.
    In(String),
    /// This address.
    Exactly(IpAddr),
    /// This address, which is to be one of this Subnet.
    Within(IpAddr, String),
    /// This address of this Subnet, which its holder makes itself; none where there is no such Subnet.
    Formed(IpAddr, String),
}

impl Wish {
    /// The address, if it names one.
    fn names(&self) -> Option<IpAddr> {
        match self {
            Self::Exactly(ip) | Self::Within(ip, _) | Self::Formed(ip, _) => Some(*ip),
            Self::Any(_) | Self::In(_) => None,
        }
    }
}

/// Who asks, and for what; the order of the wishes is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Who.
    pub holder: Cow<'a, Holder>,
    /// One for each address.
    pub wishes: Cow<'a, [Wish]>,
}

impl Claim<'static> {
    /// Of somebody that nobody else keeps.
    pub fn new(holder: Holder, wishes: Vec<Wish>) -> Self {
        Self { holder: Cow::Owned(holder), wishes: Cow::Owned(wishes) }
    }
}

/// Why a wish was not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// No free address.
    #[error("no address is free in subnet {}", .0.join(", "))]
    PoolExhausted(Vec<String>),
    /// No subnet to take one from.
    #[error("the network has no subnet to take an address from")]
    NoSubnet,
    /// There is none of this name.
    #[error("subnet {0} does not exist in this network")]
    SubnetNotFound(String),
    /// Somebody else has it.
    #[error("{0} is held by {1}")]
    AddressInUse(IpAddr, Holder),
    /// Somebody had it, and not all servers have forgotten that.
    #[error("{0} is being released by {1}")]
    AddressReleasing(IpAddr, Holder),
    /// No subnet has it.
    #[error("{0} is in no subnet of the network")]
    AddressOutsideSubnet(IpAddr),
    /// The Subnet that was named with it has it not.
    #[error("{0} is not in subnet {1}")]
    NotInSubnet(IpAddr, String),
    /// No guest can have it.
    #[error("{0} is the first or last address of its subnet and no guest's")]
    AddressReserved(IpAddr),
}

/// What one claim got: its addresses with their subnets in the order of the wishes, and what it did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Address and Subnet.
    pub addresses: Vec<(IpAddr, String)>,
    /// One for each wish that was not met.
    pub errors: Vec<AllocateError>,
}

impl Ledger {
    /// Released allocations that are remembered; beyond, the oldest count as never used.
    pub const REMEMBERED: usize = 4_096;

    /// Makes the ledger agree with `claims` and says what each of them got, in their order. Who claims
    /// nothing any more, or less, gives back, and so does everybody in a Subnet that is gone; in one
    /// that is only `waiting` to be served all keep what they have.
    pub fn allocate(&mut self, pools: &[Pool], waiting: &[String], claims: &[Claim<'_>]) -> Vec<Given> {
        let mut rounds: Vec<Round> = self.keep(pools, waiting, claims);
        self.release_but(rounds.iter().flat_map(Round::addresses).collect());
        self.meet_all(pools, claims, &mut rounds);
        self.forget();
        rounds.into_iter().map(|round| self.given(round)).collect()
    }

    /// What some who have nothing get, besides all that others have. `None`: not everybody all of it, and nobody
    /// anything.
    pub fn add(&mut self, pools: &[Pool], claims: &[Claim<'_>]) -> Option<(Vec<Given>, Added)> {
        let mut rounds: Vec<_> =
            claims.iter().map(|claim| Round { met: vec![None; claim.wishes.len()] }).collect();
        let added = Added(self.meet_all(pools, claims, &mut rounds));
        let given: Vec<_> = rounds.into_iter().map(|round| self.given(round)).collect();
        if given.iter().all(|given| given.errors.is_empty()) {
            return Some((given, added));
        }
        self.undo(added);
        None
    }

    /// All allocations, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Allocation)> {
        self.0.iter().map(|(ip, allocation)| (ip, &**allocation))
    }

    /// Takes down that somebody has an address, unless somebody has it already.
    pub fn record(&mut self, ip: IpAddr, subnet_name: &str, holder: &Holder, position: usize) {
        self.enter(ip, subnet_name, holder, position, None);
    }

    /// Takes down that somebody had an address, unless somebody has it.
    pub fn remember(&mut self, ip: IpAddr, subnet_name: &str, holder: &Holder, released: u64) {
        self.enter(ip, subnet_name, holder, 0, Some(released));
    }

    fn enter(&mut self, ip: IpAddr, subnet: &str, holder: &Holder, position: usize, released: Option<u64>) {
        let new =
            || Allocation { subnet_name: subnet.to_owned(), holder: holder.clone(), position, released };
        self.0.entry(ip).or_insert_with(|| Arc::new(new()));
    }

    /// What each holder has.
    pub fn held(&self) -> Held<'_> {
        Held::new(self)
    }

    /// Those in use in there, by address.
    pub fn within(&self, cidr: IpNet) -> impl Iterator<Item = &Allocation> {
        let all = self.0.range(cidr.network()..=cidr.broadcast()).map(|(_, allocation)| &**allocation);
        all.filter(|allocation| allocation.released.is_none())
    }

    /// How many addresses of a subnet are in use.
    pub fn used(&self, subnet_name: &str) -> usize {
        self.iter().filter(|(_, held)| held.subnet_name == subnet_name && held.released.is_none()).count()
    }

    /// Everybody gives back; whether anybody had anything.
    pub fn release_all(&mut self) -> bool {
        let in_use = self.0.values().any(|allocation| allocation.released.is_none());
        self.release_but(Vec::new());
        in_use
    }

    /// Everybody gives back what is in none of these Subnets.
    pub fn keep_only(&mut self, subnets: &BTreeSet<&str>) {
        let stays = |(_, a): &(&IpAddr, &Allocation)| subnets.contains(a.subnet_name.as_str());
        self.release_but(self.iter().filter(stays).map(|(ip, _)| *ip).collect());
    }

    /// Nothing is in it, not even a memory.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn release_but(&mut self, mut kept: Vec<IpAddr>) {
        kept.sort_unstable();
        let mut next = self.0.values().filter_map(|a| a.released).max().map_or(0, |n| n + 1);
        for (ip, allocation) in &mut self.0 {
            if allocation.released.is_none() && kept.binary_search(ip).is_err() {
                Arc::make_mut(allocation).released = Some(next);
                next += 1;
            }
        }
    }

    /// Returns what the addresses that it gave were before.
    fn meet_all(&mut self, pools: &[Pool], claims: &[Claim<'_>], rounds: &mut [Round]) -> Vec<Change> {
        let (mut search, mut before) = (Search::new(self, pools), Vec::new());
        // What is asked for by name goes before what is taken where there is room.
        for exact in [true, false] {
            for (claim, round) in claims.iter().zip(&mut *rounds) {
                self.meet(&mut search, claim, round, exact, &mut before);
            }
        }
        before
    }

    fn meet(
        &mut self,
        search: &mut Search<'_>,
        claim: &Claim<'_>,
        round: &mut Round,
        exact: bool,
        before: &mut Vec<Change>,
    ) {
        for (position, (wish, met)) in claim.wishes.iter().zip(&mut round.met).enumerate() {
            if met.is_none() && wish.names().is_some() == exact {
                *met = Some(self.find(search, &claim.holder, wish).map(|(ip, pool)| {
                    before.push(self.give(ip, &pool.subnet_name, &claim.holder, position));
                    ip
                }));
            } else if let Some(Ok(ip)) = met
                && let Some(kept) = self.0.get(ip).filter(|_| exact)
            {
                // Most of them are as they were.
                if kept.position != position || kept.released.is_some() || kept.holder != *claim.holder {
                    let subnet_name = kept.subnet_name.clone();
                    before.push(self.give(*ip, &subnet_name, &claim.holder, position));
                }
            }
        }
    }

    /// Returns what the address was before.
    fn give(&mut self, ip: IpAddr, subnet_name: &str, holder: &Holder, position: usize) -> Change {
        let (subnet_name, holder) = (subnet_name.to_owned(), holder.clone());
        let now = Arc::new(Allocation { subnet_name, holder, position, released: None });
        Change::new(ip, self.0.insert(ip, now))
    }

    fn find<'p>(
        &self,
        search: &mut Search<'p>,
        holder: &Holder,
        wish: &Wish,
    ) -> Result<(IpAddr, &'p Pool), AllocateError> {
        let pools = search.pools;
        match wish {
            Wish::Exactly(ip) => Ok((*ip, self.exactly(pools, *ip)?)),
            Wish::Within(ip, name) => {
                let pool = pools.iter().find(|pool| pool.subnet_name == *name);
                let pool = pool.ok_or_else(|| AllocateError::SubnetNotFound(name.clone()))?;
                if !pool.cidr.contains(ip) {
                    return Err(AllocateError::NotInSubnet(*ip, name.clone()));
                }
                Ok((*ip, self.exactly(pools, *ip)?))
            }
            Wish::Formed(ip, name) => {
                let pool = pools.iter().find(|pool| pool.subnet_name == *name);
                pool.ok_or(AllocateError::NoSubnet)?;
                Ok((*ip, self.exactly(pools, *ip)?))
            }
            Wish::In(name) => {
                let pool = pools.iter().find(|pool| pool.subnet_name == *name);
                let pool = pool.ok_or_else(|| AllocateError::SubnetNotFound(name.clone()))?;
                search.first_of(self, &[pool], holder)
            }
            Wish::Any(family) => {
                let suits = |pool: &&Pool| pool.automatic && Family::of(pool.cidr.addr()) == *family;
                let automatic: Vec<_> = pools.iter().filter(suits).collect();
                search.first_of(self, &automatic, holder)
            }
        }
    }

    fn exactly<'p>(&self, pools: &'p [Pool], ip: IpAddr) -> Result<&'p Pool, AllocateError> {
        let pool = pools.iter().find(|pool| pool.cidr.contains(&ip));
        let pool = pool.ok_or(AllocateError::AddressOutsideSubnet(ip))?;
        if is_reserved(pool.cidr, ip) {
            return Err(AllocateError::AddressReserved(ip));
        }
        match self.0.get(&ip).map(Arc::as_ref) {
            Some(Allocation { holder: holder @ Holder::Leaving { .. }, released: None, .. }) => {
                Err(AllocateError::AddressReleasing(ip, holder.clone()))
            }
            Some(Allocation { holder, released: None, .. }) => {
                Err(AllocateError::AddressInUse(ip, holder.clone()))
            }
            _ => Ok(pool),
        }
    }

    fn longest_released(&self, pool: &Pool) -> Option<IpAddr> {
        let all = self.0.range(pool.cidr.network()..=pool.cidr.broadcast());
        let released = all.filter_map(|(ip, a)| Some((a.released?, *ip)));
        released.filter(|(_, ip)| pool.offers(*ip)).min().map(|(_, ip)| ip)
    }

    fn forget(&mut self) {
        let mut released: Vec<_> = self.0.iter().filter_map(|(ip, a)| Some((a.released?, *ip))).collect();
        let excess = released.len().saturating_sub(Self::REMEMBERED);
        released.sort_unstable();
        for (_, ip) in released.into_iter().take(excess) {
            self.0.remove(&ip);
        }
    }

    fn given(&self, round: Round) -> Given {
        let mut given = Given::default();
        for met in round.met.into_iter().flatten() {
            match met {
                Ok(ip) => {
                    let subnet = self.0.get(&ip).map(|a| a.subnet_name.clone()).unwrap_or_default();
                    given.addresses.push((ip, subnet));
                }
                Err(error) => given.errors.push(error),
            }
        }
        // One of each family was asked for, and one of either is enough.
        let says_more = |error: &AllocateError| *error != AllocateError::NoSubnet;
        if given.addresses.is_empty() && !given.errors.iter().any(says_more) {
            given.errors.truncate(1);
        } else {
            given.errors.retain(says_more);
        }
        given
    }
}

#[cfg(test)]
mod tests;
