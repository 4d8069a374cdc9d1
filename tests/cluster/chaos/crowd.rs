//! Guests of the networks that are not left alone: every MAC address that was ever a Port's asks for an
//! address, and keeps what it gets as long as it can.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lans::{Lan, restless};
use crate::lab::{Ask, DhcpOption, Guest, Lab, Mac, MessageType};
use crate::random::Random;

/// How long an answer is waited for.
const BRIEF: Duration = Duration::from_millis(150);
const PACE: Duration = Duration::from_millis(40);

/// Guests at work until it is dropped.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    pub fn start(street: &Arc<Lab>, random: &Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = restless().map(|lan| {
            let (street, stop, random) = (street.clone(), stop.clone(), random.fork(lan.number as u64));
            std::thread::spawn(move || work(&street, lan, random, &stop))
        });
        Self { threads: threads.collect(), stop }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        assert!(std::thread::panicking() || joined.iter().all(Result::is_ok), "guests failed");
    }
}

fn work(street: &Lab, lan: &Lan, mut random: Random, stop: &AtomicBool) {
    let macs = lan.macs();
    let first = street.guest(&lan.bridge(), macs[0]);
    let guests: Vec<_> = macs[1..].iter().map(|mac| street.twin(&first, *mac)).collect();
    let mut leases = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let chosen = random.index(macs.len());
        let guest = guests.get(chosen).unwrap_or(&first);
        guest.clear();
        exchange(guest, &mut leases, &mut random);
        std::thread::sleep(PACE);
    }
}

/// What a guest with a lease, or without one, may say.
fn exchange(guest: &Guest<'_>, leases: &mut BTreeMap<Mac, Ipv4Addr>, random: &mut Random) {
    let request = Ask::new(MessageType::Request);
    let ask = match (leases.get(&guest.mac()), random.below(3)) {
        (Some(ip), 0) => request.ciaddr(*ip),
        (Some(ip), 1) => request.option(DhcpOption::RequestedIpAddress(*ip)),
        _ => {
            let Some(offer) = guest.ask_for(&Ask::new(MessageType::Discover), BRIEF) else { return };
            let wanted = request.option(DhcpOption::RequestedIpAddress(offer.yiaddr()));
            wanted.option(DhcpOption::ServerIdentifier(offer.server()))
        }
    };
    match guest.ask_for(&ask, BRIEF) {
        Some(ack) if ack.kind() == MessageType::Ack => drop(leases.insert(guest.mac(), ack.yiaddr())),
        Some(_) => drop(leases.remove(&guest.mac())),
        None => {}
    }
}
