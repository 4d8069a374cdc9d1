//! What became of the guests of one network, and of what they were told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::lab::{Mac, MessageType, Seen};

/// A server that is seen again after this time is one that came back.
const AWAY: Duration = Duration::from_secs(4);

/// What was seen on one network.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Exchanges to their end.
    pub exchanges: usize,
    /// Messages that no server answered, however often they were sent, and when.
    pub unanswered: Vec<(Duration, &'static str)>,
    /// Messages that had to be sent again, and when.
    pub repeated: Vec<(Duration, &'static str)>,
    /// Leases that the server that gave them did not renew, so that others were asked.
    pub rebound: usize,
    /// NAKs on the segment.
    pub naks: usize,
    /// DNS questions that no resolver answered.
    pub unresolved: usize,
    /// The longest time between two answers to guests.
    pub silence: Duration,
    /// When OFFERs and ACKs of a server were seen: by its address and MAC address, first and last, since it
    /// was silent for [`AWAY`].
    pub servers: BTreeMap<(Ipv4Addr, Mac), (Instant, Instant)>,
    /// By resolver: when it answered last, and the longest time that it did not.
    pub resolvers: BTreeMap<Ipv4Addr, (Instant, Duration)>,
    last_answer: Option<Instant>,
}

impl Tally {
    /// Addresses at which two servers answered at the same time. What is seen in one look may have been one
    /// after the other.
    pub fn doubles(&self) -> Vec<Ipv4Addr> {
        let all = || self.servers.iter().map(|((ip, mac), times)| (*ip, *mac, *times));
        let overlap = |(first, last): (Instant, Instant), (other, end)| first < end && other < last;
        let other = |(ip, mac, times)| all().any(|(i, m, t)| i == ip && m > mac && overlap(t, times));
        all().filter(|one| other(*one)).map(|(ip, ..)| ip).collect()
    }

    /// A guest was answered.
    pub(super) fn answered(&mut self) {
        let now = Instant::now();
        let silence = self.last_answer.replace(now).map_or(Duration::ZERO, |last| now - last);
        self.silence = self.silence.max(silence);
    }

    /// What was on the segment in one look.
    pub(super) fn saw(&mut self, seen: Vec<Seen>, now: Instant) {
        for answer in seen.into_iter().map(|seen| seen.answer) {
            match answer.kind() {
                MessageType::Nak => self.naks += 1,
                MessageType::Offer | MessageType::Ack => {
                    let seen = self.servers.entry((answer.server(), answer.from_mac)).or_insert((now, now));
                    let away = now - seen.1 > AWAY;
                    *seen = (if away { now } else { seen.0 }, now);
                }
                _ => {}
            }
        }
    }

    pub(super) fn resolved(&mut self, resolver: Ipv4Addr, found: bool) {
        let now = Instant::now();
        let (last, longest) = self.resolvers.entry(resolver).or_insert((now, Duration::ZERO));
        *longest = (*longest).max(now - *last);
        if found {
            *last = now;
        }
    }
}

/// Prints what was seen, and asserts that nobody went without.
pub fn assert_nobody_noticed(what: &str, tallies: &[Tally], began: Instant) {
    report(what, tallies, began);
    for tally in tallies {
        assert!(tally.unanswered.is_empty(), "{:?}", tally.unanswered);
        assert_eq!((tally.naks, tally.unresolved), (0, 0));
    }
}

/// Prints what was seen.
pub fn report(what: &str, tallies: &[Tally], began: Instant) {
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let exchanges = sum(|t| t.exchanges);
    let seconds = began.elapsed().as_secs_f64();
    println!("{what}: {exchanges} exchanges in {seconds:.0} s ({:.0} a second)", per(exchanges, seconds));
    println!(
        "  unanswered {}, NAKs {}, DNS unanswered {}; sent again {}, rebound {}",
        sum(|t| t.unanswered.len()),
        sum(|t| t.naks),
        sum(|t| t.unresolved),
        sum(|t| t.repeated.len()),
        sum(|t| t.rebound),
    );
    for (number, tally) in tallies.iter().enumerate() {
        let resolvers = tally.resolvers.iter().map(|(ip, (_, longest))| format!("{ip} {longest:.1?}"));
        println!(
            "  network {number}: longest silence {:.1?}; of resolvers: {}; again {:?}",
            tally.silence,
            resolvers.collect::<Vec<_>>().join(", "),
            tally.repeated,
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per(exchanges: usize, seconds: f64) -> f64 {
    exchanges as f64 / seconds
}
