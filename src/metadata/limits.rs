//! How much of the metadata service one guest, and all of one network, may use.
//!
//! Called by `proxy`, which says what time it is. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Connections of one network that are open together: of many networks none takes them all.
const NETWORK: usize = 128;
/// Of these, those of one guest.
const GUEST: usize = 16;
/// Requests a second; what a guest asks at its start comes in a burst.
const RATE: f64 = 20.0;
const BURST: f64 = 200.0;
/// After this time nothing is remembered of a guest.
const REFILLED: Duration = Duration::from_secs(10);

/// Who uses how much of a network's service. All strangers together are one guest: they may come from
/// any number of addresses.
#[derive(Debug, Default)]
pub struct Limits {
    guests: BTreeMap<Option<IpAddr>, Use>,
    connections: usize,
    /// When those were forgotten last that had nothing to be remembered for.
    swept: Option<Instant>,
}

/// A connection that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Entry(Option<IpAddr>);

#[derive(Debug)]
struct Use {
    connections: usize,
    tokens: f64,
    at: Instant,
}

impl Limits {
    /// Lets a connection in, unless there are too many; `None` is a stranger.
    pub fn enter(&mut self, guest: Option<IpAddr>, now: Instant) -> Option<Entry> {
        if self.connections >= NETWORK {
            return None;
        }
        let own = self.guests.entry(guest).or_insert(Use { connections: 0, tokens: BURST, at: now });
        if own.connections >= GUEST {
            return None;
        }
        own.connections += 1;
        self.connections += 1;
        Some(Entry(guest))
    }

    /// Its connection is closed.
    pub fn leave(&mut self, entry: Entry, now: Instant) {
        self.connections = self.connections.saturating_sub(1);
        if let Some(own) = self.guests.get_mut(&entry.0) {
            own.connections = own.connections.saturating_sub(1);
        }
        let recent = |at: Instant| now.saturating_duration_since(at) < REFILLED;
        if !self.swept.is_some_and(recent) {
            self.swept = Some(now);
            self.guests.retain(|_, own| own.connections > 0 || recent(own.at));
        }
    }

    /// Whether a request on this connection may be made now.
    pub fn ask(&mut self, entry: Entry, now: Instant) -> bool {
        let Some(own) = self.guests.get_mut(&entry.0) else { return false };
        let since = now.saturating_duration_since(own.at).as_secs_f64();
        own.tokens = (own.tokens + since * RATE).min(BURST);
        own.at = now;
        let may = own.tokens >= 1.0;
        if may {
            own.tokens -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    #[test]
    fn a_guest_has_its_share_of_connections_and_leaves_the_others_theirs() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let first: Vec<_> = (0..GUEST).map(|_| limits.enter(Some(guest(1)), now).unwrap()).collect();
        assert_eq!(limits.enter(Some(guest(1)), now), None);
        assert!(limits.enter(Some(guest(2)), now).is_some());
        limits.leave(first[0], now);
        assert!(limits.enter(Some(guest(1)), now).is_some());
        let strangers = (0..NETWORK).filter(|_| limits.enter(None, now).is_some()).count();
        assert_eq!(strangers, GUEST);
    }

    #[test]
    fn a_network_has_its_share_too() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let all = (0..=255)
            .flat_map(|n| (0..2).map(move |_| n))
            .filter(|n| limits.enter(Some(guest(*n)), now).is_some());
        assert_eq!(all.count(), NETWORK);
    }

    #[test]
    fn requests_come_in_a_burst_and_then_in_time() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let entry = limits.enter(Some(guest(1)), now).unwrap();
        assert_eq!((0..1_000).filter(|_| limits.ask(entry, now)).count(), 200);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| limits.ask(entry, later)).count(), 20);
        // Who comes back on another connection is no other guest.
        limits.leave(entry, later);
        let again = limits.enter(Some(guest(1)), later).unwrap();
        assert!(!limits.ask(again, later));
        limits.leave(again, later + REFILLED);
        assert!(limits.guests.is_empty());
    }
}
