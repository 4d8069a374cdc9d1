//! Everything that is said on all segments, and what must not be said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lans::{LANS, Lan};
use crate::lab::{Answer, Capture, Lab, Mac, MessageType};
use crate::observer::{Observed, lock};

/// What was on the wire before that may be looked at after this time only.
const LATE: Duration = Duration::from_secs(1);
/// Nothing has happened for so long that all servers know all there is.
const CALM: Duration = Duration::from_secs(15);
/// What is remembered of requests.
const REQUESTS: usize = 4_096;

/// Looks at all segments.
pub struct Wire {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub found: Arc<Mutex<Found>>,
    pub context: Arc<Mutex<Context>>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    pub acks: usize,
    /// Refusals of addresses that were not the client's, or not known to be.
    pub naks: usize,
    /// Answers of servers whose object somebody deleted.
    pub excused: usize,
    pub faults: Vec<String>,
}

/// What it is to know of the acts.
#[derive(Debug, Default)]
pub struct Context {
    /// Networks' UIDs and nodes whose server somebody deleted behind the controller's back.
    pub disowned: BTreeSet<(String, String)>,
    /// Since when nothing is broken.
    pub calm: Option<Instant>,
}

struct Judge {
    observed: Arc<Mutex<Observed>>,
    swapped: Arc<Mutex<BTreeSet<Mac>>>,
    found: Arc<Mutex<Found>>,
    context: Arc<Mutex<Context>>,
    began: Instant,
    requests: BTreeMap<(Mac, u32), Ipv4Addr>,
}

impl Wire {
    pub fn start(
        street: Arc<Lab>,
        observed: Arc<Mutex<Observed>>,
        swapped: Arc<Mutex<BTreeSet<Mac>>>,
        began: Instant,
    ) -> Self {
        let (stop, found, context) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let requests = BTreeMap::new();
        let (told, known) = (Arc::clone(&found), Arc::clone(&context));
        let mut judge = Judge { observed, swapped, found: told, context: known, began, requests };
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let captures: Vec<_> = LANS.iter().map(|lan| (lan, street.capture(&lan.bridge()))).collect();
            while !stopped.load(Ordering::Relaxed) {
                for (lan, capture) in &captures {
                    judge.look(lan, capture);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { stop, thread: Some(thread), found, context }
    }

    pub fn faults(&self) -> Vec<String> {
        let finished = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        assert!(!finished, "nobody looks at the wire");
        self.found.lock().unwrap().faults.clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Judge {
    fn look(&mut self, lan: &Lan, capture: &Capture) {
        for answer in capture.take().into_iter().map(|seen| seen.answer) {
            match answer.kind() {
                MessageType::Request => self.asked(&answer),
                MessageType::Ack => self.given(lan, &answer),
                MessageType::Nak => self.refused(lan, &answer),
                _ => {}
            }
        }
    }

    fn asked(&mut self, request: &Answer) {
        let wanted = request.addresses(50).first().copied().unwrap_or(request.ciaddr());
        if self.requests.len() >= REQUESTS {
            self.requests.clear();
        }
        self.requests.insert((request.client(), request.xid()), wanted);
    }

    /// An address is given to nobody but the one whose it is for certain.
    fn given(&self, lan: &Lan, ack: &Answer) {
        let (ip, client) = (ack.yiaddr(), ack.client());
        let holder = lock(&self.observed).ports.holder(&lan.key(), &ip.to_string());
        let wrong = holder.filter(|h| h.since.elapsed() >= LATE && h.mac != client.to_string());
        let is_swapped = || self.swapped.lock().unwrap().contains(&client);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.acks += 1;
        let Some(holder) = wrong.filter(|_| !is_swapped()) else { return };
        if self.is_disowned(ack.from_mac) {
            found.excused += 1;
            return;
        }
        let from = self.name_of(ack.from_mac);
        found
            .faults
            .push(format!("{} {ip} was given to {client} by {from}, but is {holder:?}'s", self.now()));
    }

    fn refused(&self, lan: &Lan, nak: &Answer) {
        let Some(wanted) = self.requests.get(&(nak.client(), nak.xid())) else { return };
        let client = nak.client().to_string();
        let observed = lock(&self.observed);
        let holder = observed.ports.holder(&lan.key(), &wanted.to_string());
        let had = observed.ports.had.get(&(lan.key(), client.clone())).map_or(0, BTreeSet::len);
        drop(observed);
        let own = holder.filter(|holder| holder.since.elapsed() >= LATE && holder.mac == client);
        let calm = self.context.lock().unwrap().calm.is_some_and(|since| since.elapsed() >= CALM);
        let known = own.filter(|holder| had == 1 || (calm && holder.since.elapsed() >= CALM));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(_) if !self.is_disowned(nak.from_mac) => {
                let (from, why) = (self.name_of(nak.from_mac), nak.reason());
                let (now, network) = (self.now(), lan.network);
                found.faults.push(format!("{now} {network}: {from} refuses {client} its {wanted}: {why}"));
            }
            _ => found.naks += 1,
        }
    }

    fn is_disowned(&self, server: Mac) -> bool {
        let device = lock(&self.observed).servers.devices.get(&server.to_string()).cloned();
        device.is_some_and(|device| self.context.lock().unwrap().disowned.contains(&device))
    }

    fn name_of(&self, server: Mac) -> String {
        let device = lock(&self.observed).servers.devices.get(&server.to_string()).cloned();
        device.map_or_else(|| server.to_string(), |(network, node)| format!("{node} (network {network})"))
    }

    fn now(&self) -> String {
        format!("{:.2}", self.began.elapsed().as_secs_f64())
    }
}
