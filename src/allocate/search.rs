//! Finding a free address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{AllocateError, Holder, Ledger, Pool};
use crate::types::next_address;

/// The search for free addresses during one run: what was passed once is not passed again.
pub(super) struct Search<'p> {
    pub(super) pools: &'p [Pool],
    had: BTreeMap<Holder, Vec<IpAddr>>,
    passed: BTreeMap<IpAddr, IpAddr>,
}

impl<'p> Search<'p> {
    pub(super) fn new(ledger: &Ledger, pools: &'p [Pool]) -> Self {
        let mut released: Vec<_> = ledger.0.iter().filter(|(_, a)| a.released.is_some()).collect();
        released.sort_unstable_by_key(|(_, a)| std::cmp::Reverse(a.released));
        let mut had: BTreeMap<Holder, Vec<IpAddr>> = BTreeMap::new();
        for (ip, allocation) in released {
            had.entry(allocation.holder.clone()).or_default().push(*ip);
        }
        Self { pools, had, passed: BTreeMap::new() }
    }

    /// What this very holder had, else never used, else released longest ago, else leaving for longest;
    /// in the first pool that has one. A server that can wait takes nothing that a guest may still have.
    pub(super) fn first_of(
        &mut self,
        ledger: &Ledger,
        pools: &[&'p Pool],
        holder: &Holder,
    ) -> Result<(IpAddr, &'p Pool), AllocateError> {
        if pools.is_empty() {
            return Err(AllocateError::NoSubnet);
        }
        let own = self.own(ledger, pools, holder);
        let may_wait = matches!(holder, Holder::TemporaryServer { .. });
        let leaving = || pools.iter().find_map(|pool| Some((longest_leaving(ledger, pool)?, *pool)));
        own.or_else(|| pools.iter().find_map(|pool| Some((self.never_used(ledger, pool)?, *pool))))
            .or_else(|| pools.iter().find_map(|pool| Some((ledger.longest_released(pool)?, *pool))))
            .or_else(|| if may_wait { None } else { leaving() })
            .ok_or_else(|| {
                AllocateError::PoolExhausted(pools.iter().map(|pool| pool.subnet_name.clone()).collect())
            })
    }

    fn own(&self, ledger: &Ledger, pools: &[&'p Pool], holder: &Holder) -> Option<(IpAddr, &'p Pool)> {
        let free = |ip: &&IpAddr| ledger.0.get(ip).is_some_and(|a| a.released.is_some());
        self.had.get(holder)?.iter().filter(free).find_map(|ip| {
            let pool = pools.iter().find(|pool| pool.cidr.contains(ip) && pool.offers(*ip))?;
            Some((*ip, *pool))
        })
    }

    fn never_used(&mut self, ledger: &Ledger, pool: &Pool) -> Option<IpAddr> {
        pool.ranges.iter().find_map(|range| {
            let next = self.passed.entry(range.first).or_insert(range.first);
            let mut used = ledger.0.range(*next..=range.last.max(*next)).peekable();
            while *next <= range.last {
                let ip = *next;
                let taken = used.next_if(|(used, _)| **used == ip).is_some();
                if !taken && !pool.is_barred(ip) {
                    return Some(ip);
                }
                *next = next_address(ip)?;
            }
            None
        })
    }
}

/// The one that has been leaving for longest, of those that may be taken.
fn longest_leaving(ledger: &Ledger, pool: &Pool) -> Option<IpAddr> {
    let all = ledger.0.range(pool.cidr.network()..=pool.cidr.broadcast());
    let leaving = all.filter_map(|(ip, a)| match a.holder {
        Holder::Leaving { since: Some(since), .. } if a.released.is_none() => Some((since, *ip)),
        _ => None,
    });
    leaving.filter(|(_, ip)| pool.offers(*ip)).min().map(|(_, ip)| ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::IpRange;

    /// Addresses that were looked at to find a free one, with these in use.
    fn steps(cidr: &str, used: usize) -> usize {
        let cidr: ipnet::IpNet = cidr.parse().unwrap();
        let all = std::iter::successors(Some(cidr.network()), |ip| next_address(*ip));
        let pool = Pool {
            subnet_name: "s".into(),
            cidr,
            ranges: vec![IpRange::of(cidr)],
            gateway: all.clone().nth(1),
            automatic: true,
            formed: false,
        };
        let (mut ledger, holder) = (Ledger::default(), Holder::ServerSlot { slot: 0 });
        for ip in all.clone().skip(2).take(used) {
            ledger.record(ip, "s", &holder, 0);
        }
        let pools = [pool];
        let mut search = Search::new(&ledger, &pools);
        search.first_of(&ledger, &[&pools[0]], &holder).unwrap();
        all.take_while(|ip| *ip != search.passed[&cidr.network()]).count()
    }

    #[test]
    fn a_pool_costs_what_is_used_of_it_not_what_it_holds() {
        for used in [0, 1, 100] {
            assert_eq!(steps("10.0.0.0/8", used), steps("10.0.0.0/24", used));
            assert_eq!(steps("2001:db8::/64", used), steps("10.0.0.0/24", used));
            assert_eq!(steps("10.0.0.0/8", used), used + 2);
        }
    }
}
