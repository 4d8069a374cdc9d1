//! A large network's guests, those of each family shared out among several processes.
//!
//! Called by `desired` and `host`. With each line that it is told a dnsmasq 2.90 goes through all of its hosts
//! for each of its DHCPv4 leases, and answers nobody meanwhile: at 500 with their leases for 8 ms, at 2,000
//! for 130 ms, at 10,000 for 4 s. With those of DHCPv6 it goes through all of its names. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::{Client, Server};
use crate::node::Family;
use crate::types::MacAddr;

/// Which process of those that share a network's guests of a family, from 1.
///
/// One of DHCPv4 listens at ports of its own. The port of DHCPv6 is the same for all: each is in a namespace of
/// its own, its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    /// Of whose guests.
    pub family: Family,
    number: u8,
}

/// Who of a family is heard by which.
pub type Shares = BTreeMap<MacAddr, Share>;

/// Before the number of one of DHCPv6.
const SIX: &str = "v6-";

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

    /// The `n`th of this family.
    pub fn new(family: Family, n: u8) -> Option<Self> {
        (1..=Self::MOST).contains(&n).then_some(Self { family, number: n })
    }

    /// Where one of DHCPv4 listens for guests.
    pub fn dhcp_port(self) -> u16 {
        DHCP_PORT + u16::from(self.number)
    }

    /// Whose port for guests this is.
    pub fn of_dhcp_port(port: u16) -> Option<Self> {
        Self::new(Family::V4, port.checked_sub(DHCP_PORT)?.try_into().ok()?)
    }

    /// Where it is asked whether it has read its files.
    pub fn dns_port(self) -> u16 {
        match self.family {
            Family::V4 => DNS_PORT + u16::from(self.number),
            Family::V6 => 53,
        }
    }

    /// Whether its process is in a room.
    pub fn has_room(self) -> bool {
        self.family == Family::V6
    }

    /// The device beside the network's own that leads to its room.
    pub fn feed(self) -> String {
        format!("feed{}", self.number)
    }

    /// To whose room a device of this name leads.
    pub fn of_feed(name: &str) -> Option<Self> {
        let share = Self::new(Family::V6, name.strip_prefix("feed")?.parse().ok()?)?;
        (share.feed() == name).then_some(share)
    }

    /// Its name among the network's files.
    pub fn of_name(name: &str) -> Option<Self> {
        let (family, number) = match name.strip_prefix(SIX) {
            Some(number) => (Family::V6, number),
            None => (Family::V4, name),
        };
        Self::new(family, number.parse().ok()?).filter(|share| share.to_string() == name)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.family == Family::V6 { SIX } else { "" };
        write!(f, "{family}{}", self.number)
    }
}

/// When the guests of a family are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// So many are one process's.
    pub alone: usize,
    /// So many are in a share.
    pub share: usize,
}

impl Limit {
    /// They cannot be.
    pub const NEVER: Self = Self { alone: usize::MAX, share: usize::MAX };
}

/// When those of each are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of DHCPv4.
    pub four: Limit,
    /// Of DHCPv6.
    pub six: Limit,
}

impl Default for Limits {
    /// One process of 2,000 leased guests of DHCPv4 is deaf for 130 ms with each change, and one of 1,000 of
    /// DHCPv6 for 50 to 100: beyond, more processes are worth their memory. With so many in a share nobody
    /// waits longer than 50 ms on a busy machine, too.
    fn default() -> Self {
        Self { four: Limit { alone: 2_000, share: 500 }, six: Limit { alone: 1_000, share: 1_000 } }
    }
}

impl Limits {
    /// That of this family.
    pub fn of(&self, family: Family) -> Limit {
        match family {
            Family::V4 => self.four,
            Family::V6 => self.six,
        }
    }
}

/// By what a client's questions can be led to a share: by the MAC address, which stands at one place in each.
/// `None`: it stays with the one server; an identifier stands anywhere, or nowhere.
pub(super) fn guest((identity, _): &Client) -> Option<MacAddr> {
    identity.mac()
}

/// Whose each of `guests`, in their order, is, where they are `now`: nobody moves as long as he is there. Nobody's
/// where one process is enough; where they are shared, that is when they are half as many as one may have.
pub fn share_out(family: Family, guests: &[MacAddr], now: &Shares, limit: Limit) -> Shares {
    let few = if now.is_empty() { limit.alone } else { limit.alone / 2 };
    if guests.len() <= few {
        return Shares::new();
    }
    if now.is_empty() {
        return divide(family, guests, limit);
    }
    let mut sizes = [0; Share::MOST as usize + 1];
    // Both are in order: one walk finds whom both have.
    let (mut before, mut there) = (now.iter().peekable(), Vec::with_capacity(guests.len()));
    for mac in guests {
        while before.next_if(|(old, _)| *old < mac).is_some() {}
        let share = before.next_if(|(old, _)| *old == mac).map(|(_, share)| *share);
        sizes[usize::from(share.map_or(0, |share| share.number))] += 1;
        there.push((*mac, share));
    }
    let mut place = |share: Option<Share>| {
        share.unwrap_or_else(|| {
            let number = roomy(&sizes, limit.share);
            sizes[usize::from(number)] += 1;
            Share { family, number }
        })
    };
    there.into_iter().map(|(mac, share)| (mac, place(share))).collect()
}

/// Whose each of some more guests is. `None`: one of them is somebody's already, or needs a process that is not
/// there.
pub(super) fn place(guests: &[MacAddr], now: &Shares, limit: Limit) -> Option<Shares> {
    let family = now.values().next()?.family;
    let mut sizes = [0; Share::MOST as usize + 1];
    for share in now.values() {
        sizes[usize::from(share.number)] += 1;
    }
    let mut place = |mac: &MacAddr| {
        let number = roomy(&sizes, limit.share);
        let size = &mut sizes[usize::from(number)];
        let has_room = (1..limit.share).contains(size) && !now.contains_key(mac);
        *size += 1;
        has_room.then_some((*mac, Share { family, number }))
    };
    guests.iter().map(&mut place).collect()
}

/// In equal parts, with room for a fifth in each: a guest that comes need not wait for a process.
fn divide(family: Family, guests: &[MacAddr], limit: Limit) -> Shares {
    let parts = guests.len().div_ceil((limit.share * 4 / 5).max(1)).min(usize::from(Share::MOST));
    let size = guests.len().div_ceil(parts.max(1));
    let number = |n: usize| u8::try_from(n / size.max(1) + 1).unwrap_or(Share::MOST);
    guests.iter().enumerate().map(|(n, mac)| (*mac, Share { family, number: number(n) })).collect()
}

/// The first that has guests and room, so that the last ones become empty; else a new one, or the least full.
fn roomy(sizes: &[usize], most: usize) -> u8 {
    let all = || (1..=Share::MOST).map(|n| (sizes[usize::from(n)], n));
    let first = all().find(|(size, _)| (1..most).contains(size)).or_else(|| all().min());
    first.map_or(1, |(_, n)| n)
}

/// Who of a family is heard by which of these.
pub fn shares_of(servers: &BTreeMap<Share, Server>, family: Family) -> Shares {
    let own = servers.iter().rev().filter(|(share, _)| share.family == family);
    own.flat_map(|(share, server)| server.hosts.entries.keys().filter_map(guest).map(|mac| (mac, *share)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const LIMITS: Limit = Limit { alone: 20, share: 5 };

    fn mac(n: u8) -> MacAddr {
        MacAddr::local([0, 0, 0, 0, n])
    }

    fn share(n: u8) -> Share {
        Share::new(Family::V4, n).unwrap()
    }

    fn share_out(guests: &BTreeSet<MacAddr>, now: &Shares) -> Shares {
        super::share_out(Family::V4, &guests.iter().copied().collect::<Vec<_>>(), now, LIMITS)
    }

    fn size(shares: &Shares, share: Share) -> usize {
        shares.values().filter(|own| **own == share).count()
    }

    #[test]
    fn few_are_not_shared_and_shared_ones_not_until_they_are_half_as_many() {
        let guests = |count: u8| (0..count).map(mac).collect();
        let shared = share_out(&guests(21), &Shares::new());
        assert_eq!(share_out(&guests(20), &Shares::new()), Shares::new());
        assert_eq!((1..7).map(|n| size(&shared, share(n))).collect::<Vec<_>>(), [4, 4, 4, 4, 4, 1]);
        assert_eq!(share_out(&guests(11), &shared).len(), 11);
        assert_eq!(share_out(&guests(10), &shared), Shares::new());
    }

    #[test]
    fn who_comes_finds_a_place_among_others_and_only_the_last_of_all_places_is_a_new_one() {
        let guests = |count: u8| (0..count).map(mac).collect();
        let shared = share_out(&guests(24), &Shares::new());
        let full = share_out(&guests(30), &shared);
        assert_eq!(full.values().max(), Some(&share(6)));
        assert!((1..7).all(|n| size(&full, share(n)) == 5), "{full:?}");
        let more = share_out(&guests(31), &full);
        assert_eq!(size(&more, share(7)), 1);
    }

    #[test]
    fn some_more_are_placed_where_others_are_and_have_room_or_not_at_all() {
        let guests: BTreeSet<_> = (0..21).map(mac).collect();
        let shared = share_out(&guests, &Shares::new());
        let place =
            |new: &[u8]| super::place(&new.iter().copied().map(mac).collect::<Vec<_>>(), &shared, LIMITS);
        let new: Vec<u8> = (30..39).collect();
        let all = guests.iter().copied().chain(new.iter().copied().map(mac)).collect();
        let placed = place(&new).unwrap();
        let with = shared.iter().chain(&placed).map(|(mac, share)| (*mac, *share)).collect::<Shares>();
        assert_eq!(share_out(&all, &shared), with, "as among all");
        assert_eq!(place(&[&new[..], &[40]].concat()), None, "six shares of five have room for nine");
        assert_eq!(place(&[30, 0]), None, "one has a share");
    }

    #[test]
    fn names_and_ports_lead_back_to_their_share() {
        for n in 1..=Share::MOST {
            let (four, six) = (share(n), Share::new(Family::V6, n).unwrap());
            for share in [four, six] {
                assert_eq!(Share::of_name(&share.to_string()), Some(share));
            }
            assert_eq!(Share::of_dhcp_port(four.dhcp_port()), Some(four));
            assert!(PRIVATE_PORTS.contains(&four.dns_port()) && DHCP_PORTS.contains(&four.dhcp_port()));
            assert_eq!(Share::of_feed(&six.feed()), Some(six));
        }
        for name in ["0", "01", "101", "", "x", "v6-0", "v6-01", "v6-", "v6-v6-1"] {
            assert_eq!(Share::of_name(name), None, "{name}");
        }
        for name in ["feed", "feed0", "feed01", "feed101", "dhcp0"] {
            assert_eq!(Share::of_feed(name), None, "{name}");
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
                let next = share_out(&guests, &now);
                prop_assert_eq!(&share_out(&guests, &next), &next, "again is the same");
                if !next.is_empty() {
                    prop_assert_eq!(next.keys().copied().collect::<BTreeSet<_>>(), guests);
                    prop_assert!(now.iter().all(|(mac, share)| next.get(mac).is_none_or(|new| new == share)));
                    prop_assert!((1..=Share::MOST).all(|n| size(&next, share(n)) <= LIMITS.share));
                }
                now = next;
            }
        }
    }
}
