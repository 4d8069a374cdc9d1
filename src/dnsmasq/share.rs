//! A large network's guests of DHCPv4, shared out among several processes.
//!
//! Called by `desired` and `host`. With each line that it is told a dnsmasq 2.90 goes through all of its hosts
//! for each of its DHCPv4 leases, and answers nobody meanwhile: at 500 with their leases for 8 ms, at 2,000
//! for 130 ms, at 10,000 for 4 s. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Client, Server};
use crate::node::Family;
use crate::types::MacAddr;

/// Which process of those that share a network's guests, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u8);

/// Who is heard by which.
pub type Shares = BTreeMap<MacAddr, Share>;

/// Where they listen: below the ports that a process picks for itself, from the first on.
const DHCP_PORT: u16 = 600;
const DNS_PORT: u16 = 800;
/// All ports that are none of the guests' business.
pub const PRIVATE_PORTS: std::ops::RangeInclusive<u16> = DHCP_PORT..=999;
/// Those of them that answers to guests come from.
pub const DHCP_PORTS: std::ops::RangeInclusive<u16> = DHCP_PORT..=DNS_PORT - 1;

impl Share {
    /// More would need ports of others; of a hundred all are as large as they must be.
    pub const MOST: u8 = 100;

    /// The `n`th.
    pub fn new(n: u8) -> Option<Self> {
        (1..=Self::MOST).contains(&n).then_some(Self(n))
    }

    /// Where it listens for guests.
    pub fn dhcp_port(self) -> u16 {
        DHCP_PORT + u16::from(self.0)
    }

    /// Whose port for guests this is.
    pub fn of_dhcp_port(port: u16) -> Option<Self> {
        Self::new(port.checked_sub(DHCP_PORT)?.try_into().ok()?)
    }

    /// Where it is asked whether it has read its files.
    pub fn dns_port(self) -> u16 {
        DNS_PORT + u16::from(self.0)
    }

    /// Its name among the network's files.
    pub fn of_name(name: &str) -> Option<Self> {
        name.parse().ok().and_then(Self::new).filter(|share| share.to_string() == name)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When guests are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many are one process's.
    pub alone: usize,
    /// So many are in a share.
    pub share: usize,
}

impl Default for Limits {
    /// One process of 2,000 leased guests is deaf for 130 ms with each change: beyond, more processes are worth
    /// their memory. With 500 in a share nobody waits longer than 50 ms on a busy machine, too.
    fn default() -> Self {
        Self { alone: 2_000, share: 500 }
    }
}

/// By what a client's questions can be led to a share: in DHCPv4 the MAC address, which stands at one place in
/// each. `None`: it stays with the one server; an identifier stands anywhere, or nowhere.
pub(super) fn guest((identity, family): &Client) -> Option<MacAddr> {
    identity.mac().filter(|_| *family == Family::V4)
}

/// Whose each of `guests` is, where they are `now`: nobody moves as long as he is there. Nobody's where one
/// process is enough; where they are shared, that is when they are half as many as one may have.
pub fn share_out(guests: &BTreeSet<MacAddr>, now: &Shares, limits: Limits) -> Shares {
    let few = if now.is_empty() { limits.alone } else { limits.alone / 2 };
    if guests.len() <= few {
        return Shares::new();
    }
    if now.is_empty() {
        return divide(guests, limits);
    }
    let mut shares = now.clone();
    shares.retain(|mac, _| guests.contains(mac));
    let mut sizes = [0; Share::MOST as usize + 1];
    for share in shares.values() {
        sizes[usize::from(share.0)] += 1;
    }
    for mac in guests {
        shares.entry(*mac).or_insert_with(|| {
            let share = roomy(&sizes, limits.share);
            sizes[usize::from(share.0)] += 1;
            share
        });
    }
    shares
}

/// In equal parts, with room for a fifth in each: a guest that comes need not wait for a process.
fn divide(guests: &BTreeSet<MacAddr>, limits: Limits) -> Shares {
    let parts = guests.len().div_ceil((limits.share * 4 / 5).max(1)).min(usize::from(Share::MOST));
    let size = guests.len().div_ceil(parts.max(1));
    let share = |n: usize| u8::try_from(n / size.max(1) + 1).map_or(Share(Share::MOST), Share);
    guests.iter().enumerate().map(|(n, mac)| (*mac, share(n))).collect()
}

/// The first that has guests and room, so that the last ones become empty; else a new one, or the least full.
fn roomy(sizes: &[usize], most: usize) -> Share {
    let all = || (1..=Share::MOST).map(|n| (sizes[usize::from(n)], n));
    let first = all().find(|(size, _)| (1..most).contains(size)).or_else(|| all().min());
    Share(first.map_or(1, |(_, n)| n))
}

/// Who is heard by which of these.
pub fn shares_of(servers: &BTreeMap<Share, Server>) -> Shares {
    let guests = |(share, server): (&Share, &Server)| -> Vec<_> {
        server.hosts.entries.keys().filter_map(guest).map(|mac| (mac, *share)).collect()
    };
    servers.iter().rev().flat_map(guests).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { alone: 20, share: 5 };

    fn mac(n: u8) -> MacAddr {
        MacAddr::local([0, 0, 0, 0, n])
    }

    fn size(shares: &Shares, share: Share) -> usize {
        shares.values().filter(|own| **own == share).count()
    }

    #[test]
    fn few_are_not_shared_and_shared_ones_not_until_they_are_half_as_many() {
        let guests = |count: u8| (0..count).map(mac).collect();
        let shared = share_out(&guests(21), &Shares::new(), LIMITS);
        assert_eq!(share_out(&guests(20), &Shares::new(), LIMITS), Shares::new());
        assert_eq!((1..7).map(|n| size(&shared, Share(n))).collect::<Vec<_>>(), [4, 4, 4, 4, 4, 1]);
        assert_eq!(share_out(&guests(11), &shared, LIMITS).len(), 11);
        assert_eq!(share_out(&guests(10), &shared, LIMITS), Shares::new());
    }

    #[test]
    fn who_comes_finds_a_place_among_others_and_only_the_last_of_all_places_is_a_new_one() {
        let guests = |count: u8| (0..count).map(mac).collect();
        let shared = share_out(&guests(24), &Shares::new(), LIMITS);
        let full = share_out(&guests(30), &shared, LIMITS);
        assert_eq!(full.values().max(), Some(&Share(6)));
        assert!((1..7).all(|n| size(&full, Share(n)) == 5), "{full:?}");
        let more = share_out(&guests(31), &full, LIMITS);
        assert_eq!(size(&more, Share(7)), 1);
    }

    #[test]
    fn names_and_ports_lead_back_to_their_share() {
        for n in 1..=Share::MOST {
            let share = Share::new(n).unwrap();
            assert_eq!(Share::of_name(&share.to_string()), Some(share));
            assert_eq!(Share::of_dhcp_port(share.dhcp_port()), Some(share));
            assert!(PRIVATE_PORTS.contains(&share.dns_port()) && DHCP_PORTS.contains(&share.dhcp_port()));
        }
        for name in ["0", "01", "101", "", "x"] {
            assert_eq!(Share::of_name(name), None, "{name}");
        }
        assert_eq!((Share::of_dhcp_port(67), Share::of_dhcp_port(600)), (None, None));
    }

    proptest! {
        #[test]
        fn nobody_moves_and_no_share_grows_beyond_its_size(
            steps in proptest::collection::vec(proptest::collection::btree_set(any::<u8>(), 0..256), 1..9)
        ) {
            let mut now = Shares::new();
            for guests in steps {
                let guests: BTreeSet<_> = guests.into_iter().map(mac).collect();
                let next = share_out(&guests, &now, LIMITS);
                prop_assert_eq!(&share_out(&guests, &next, LIMITS), &next, "again is the same");
                if !next.is_empty() {
                    prop_assert_eq!(next.keys().copied().collect::<BTreeSet<_>>(), guests);
                    prop_assert!(now.iter().all(|(mac, share)| next.get(mac).is_none_or(|new| new == share)));
                    prop_assert!((1..=Share::MOST).all(|n| size(&next, Share(n)) <= LIMITS.share));
                }
                now = next;
            }
        }
    }
}
