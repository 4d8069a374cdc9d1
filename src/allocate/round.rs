//! What those who ask have already, and which of their wishes that meets.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{AllocateError, Claim, Holder, Ledger, Pool, Wish};
use crate::node::Family;

/// One claim while it is worked on: what became of each wish so far.
pub(super) struct Round {
    pub(super) met: Vec<Option<Result<IpAddr, AllocateError>>>,
}

impl Round {
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.met.iter().filter_map(|met| met.as_ref()?.as_ref().ok().copied())
    }
}

impl Ledger {
    /// Which wishes are met already.
    pub(super) fn keep(&self, pools: &[Pool], waiting: &[String], claims: &[Claim<'_>]) -> Vec<Round> {
        let mut held: HashMap<_, Vec<IpAddr>> = HashMap::with_capacity(claims.len());
        for (ip, allocation) in self.0.iter().filter(|(_, a)| a.released.is_none()) {
            let is_its = |pool: &&Pool| pool.subnet_name == allocation.subnet_name && pool.cidr.contains(ip);
            let server =
                matches!(allocation.holder, Holder::ServerSlot { .. } | Holder::TemporaryServer { .. });
            // A gateway that was set after a server took its address is the router's.
            let stays = pools.iter().find(is_its).is_some_and(|pool| !(server && pool.is_barred(*ip)));
            if stays || waiting.contains(&allocation.subnet_name) {
                held.entry(allocation.holder.identity()).or_default().push(*ip);
            }
        }
        for ips in held.values_mut() {
            ips.sort_unstable_by_key(|ip| self.0.get(ip).map(|allocation| allocation.position));
        }
        let of = |claim: &Claim| held.get(&claim.holder.identity()).cloned().unwrap_or_default();
        claims.iter().map(|claim| self.round(pools, claim, of(claim))).collect()
    }

    /// An address goes to the wish that names it, else stays with the wish that had it, else goes to
    /// one that it fits: so that what did not change does not move.
    fn round(&self, pools: &[Pool], claim: &Claim<'_>, mut held: Vec<IpAddr>) -> Round {
        let mut met = vec![None; claim.wishes.len()];
        let formed = |name: &str| pools.iter().any(|pool| pool.formed && pool.subnet_name == name);
        let fits = |wish: &Wish, ip: &IpAddr| match (wish, self.0.get(ip)) {
            (Wish::Exactly(wanted) | Wish::Formed(wanted, _), _) => wanted == ip,
            (Wish::Within(wanted, subnet), Some(held)) => wanted == ip && held.subnet_name == *subnet,
            (Wish::In(subnet), Some(held)) => held.subnet_name == *subnet,
            (Wish::Any(family), Some(held)) => Family::of(*ip) == *family && !formed(&held.subnet_name),
            (_, None) => false,
        };
        for turn in [Turn::Exact, Turn::Same, Turn::Subnet, Turn::Any] {
            for (position, (wish, met)) in claim.wishes.iter().zip(&mut met).enumerate() {
                let same = |ip: &IpAddr| self.0.get(ip).is_some_and(|held| held.position == position);
                let suits = |ip: &IpAddr| fits(wish, ip) && (turn != Turn::Same || same(ip));
                if met.is_none()
                    && turn.has(wish)
                    && let Some(at) = held.iter().position(suits)
                {
                    *met = Some(Ok(held.remove(at)));
                }
            }
        }
        Round { met }
    }
}

/// Whose turn it is to get one of the addresses that its holder has.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Exact,
    Same,
    Subnet,
    Any,
}

impl Turn {
    fn has(self, wish: &Wish) -> bool {
        match self {
            Self::Exact => matches!(wish, Wish::Exactly(_) | Wish::Within(..) | Wish::Formed(..)),
            Self::Same => true,
            Self::Subnet => matches!(wish, Wish::In(_)),
            Self::Any => matches!(wish, Wish::Any(_)),
        }
    }
}
