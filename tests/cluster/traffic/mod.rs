//! Guests that never rest: complete exchanges on several networks, and what became of them.
//!
//! A thread for each network. A guest behaves as RFC 2131 has it, only with less patience: it sends a
//! message again when nobody answers, begins anew when the server that it chose is gone, and asks all
//! servers when the one that it has does not renew its lease.

mod tally;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::{
    Answer, Ask, Capture, DhcpOption, DnsReply, DnsSocket, Guest, Lab, Mac, MessageType, rtype,
};

pub use tally::{Tally, assert_nobody_noticed, report};

/// Guests of each network.
pub const GUESTS: u8 = 6;
/// How long a guest waits for an answer to the same message the first, second and third time.
const TRIES: [Duration; 3] = [Duration::from_millis(1_500), Duration::from_secs(3), Duration::from_secs(6)];
/// How long one server that was asked alone may take.
const ALONE: Duration = Duration::from_millis(500);
/// Exchanges a second, on all networks together; fewer where the machine is slow.
const RATE: u32 = 50;

/// Guests at work.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Guests on the bridges `br0`, `br1`, …, of the networks that [`network`] describes.
    pub fn start(street: &Arc<Lab>, networks: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut traffic = Self { stop: stop.clone(), tallies: Vec::new(), threads: Vec::new() };
        // From one exchange of a network to the next one.
        let pace = Duration::from_secs(1) * u32::try_from(networks).unwrap() / RATE;
        for number in 0..networks {
            let tally = Arc::new(Mutex::new(Tally::default()));
            traffic.tallies.push(tally.clone());
            let (street, stop) = (street.clone(), stop.clone());
            let work = move || Segment::new(&street, number, &tally).work(&stop, pace);
            traffic.threads.push(std::thread::spawn(work));
        }
        traffic
    }

    /// What was seen so far, by network.
    pub fn tallies(&self) -> Vec<Tally> {
        self.tallies
            .iter()
            .map(|tally| tally.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    /// Waits until, on each network, this many servers answered since `since`.
    pub fn until_served(&self, servers: usize, since: Instant, patience: Duration) {
        let serve = |tally: &Tally| tally.servers.values().filter(|(_, last)| *last > since).count();
        let deadline = Instant::now() + patience;
        while !self.tallies().iter().all(|tally| serve(tally) >= servers) {
            let now: Vec<_> = self.tallies().iter().map(serve).collect();
            assert!(Instant::now() < deadline, "servers that answer, by network: {now:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until, on each network, all resolvers have answered since `since`.
    pub fn until_resolved(&self, since: Instant, patience: Duration) {
        let silent = |tally: &Tally| tally.resolvers.values().filter(|(last, _)| *last <= since).count();
        let deadline = Instant::now() + patience;
        while self.tallies().iter().any(|tally| silent(tally) > 0) {
            let now: Vec<_> = self.tallies().iter().map(silent).collect();
            assert!(Instant::now() < deadline, "resolvers that guests do not reach, by network: {now:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends, and says what was seen.
    pub fn stop(mut self) -> Vec<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.tallies()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The YAML of the network of this number with this many servers: on the bridge of that number, with
/// the ports of its guests.
pub fn network(number: usize, servers: u8) -> String {
    let physical = crate::site::lan_name(number);
    let ports: String = (0..GUESTS).map(|guest| port(number, guest)).collect();
    format!(
        "
apiVersion: kube-dhcp.io/v1alpha1
kind: Network
metadata: {{name: net{number}, namespace: default}}
spec:
  physicalNetworkRef: {{name: {physical}}}
  dns: {{domain: vm.example.org}}
  dhcp: {{servers: {servers}}}
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Subnet
metadata: {{name: net{number}-v4, namespace: default}}
spec:
  networkRef: {{name: net{number}}}
  cidr: 10.{number}.0.0/24
  pools: [{{first: 10.{number}.0.10, last: 10.{number}.0.250}}]
{ports}"
    )
}

fn port(number: usize, guest: u8) -> String {
    let (mac, ip) = (mac(number, guest), address(number, guest));
    format!(
        "---
apiVersion: kube-dhcp.io/v1alpha1
kind: Port
metadata: {{name: net{number}-p{guest}, namespace: default}}
spec:
  networkRef: {{name: net{number}}}
  macAddress: \"{mac}\"
  hostname: vm{guest}
  addresses: [{{ip: {ip}}}]
"
    )
}

/// One more Port of a network, of nobody that asks.
pub fn extra_port(network: &str) -> String {
    format!(
        "
apiVersion: kube-dhcp.io/v1alpha1
kind: Port
metadata: {{name: {network}-extra, namespace: default}}
spec:
  networkRef: {{name: {network}}}
  macAddress: \"02:00:00:00:ff:01\"
"
    )
}

fn mac(number: usize, guest: u8) -> Mac {
    Mac([2, 0, 0, 0, u8::try_from(number).unwrap(), guest])
}

fn address(number: usize, guest: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, u8::try_from(number).unwrap(), 0, 100 + guest)
}

/// One network's guests.
struct Segment<'a> {
    number: usize,
    guests: Vec<Guest<'a>>,
    capture: Capture,
    tally: &'a Mutex<Tally>,
    began: Instant,
    /// One that only asks resolvers: nothing but its own ARP tells it where they are.
    quiet: Guest<'a>,
    resolvers: BTreeMap<Ipv4Addr, DnsSocket>,
}

impl<'a> Segment<'a> {
    fn new(street: &'a Lab, number: usize, tally: &'a Mutex<Tally>) -> Self {
        let bridge = format!("br{number}");
        let first = street.guest(&bridge, mac(number, 0));
        let others: Vec<_> = (1..GUESTS).map(|guest| street.twin(&first, mac(number, guest))).collect();
        let guests = std::iter::once(first).chain(others).collect();
        let quiet = street.guest(&bridge, mac(number, 250));
        quiet.configure(&format!("{}/24", address(number, 150)), None);
        let capture = street.capture(&bridge);
        Self { number, guests, capture, tally, began: Instant::now(), quiet, resolvers: BTreeMap::new() }
    }

    fn work(mut self, stop: &AtomicBool, pace: Duration) {
        let mut next = Instant::now();
        for guest in (0..usize::from(GUESTS)).cycle() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            self.guests[guest].clear();
            let given = self.exchange(guest);
            if let Some(ack) = given.filter(|_| guest == 0) {
                self.resolve(&ack);
            }
            self.look();
            next = (next + pace).max(Instant::now());
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// From DISCOVER over every way to keep a lease.
    fn exchange(&self, number: usize) -> Option<Answer> {
        let (guest, wanted) = (&self.guests[number], address(self.number, u8::try_from(number).unwrap()));
        let ack = self.begin(guest)?;
        assert_eq!(ack.yiaddr(), wanted, "guest {number} of network {} was given another's", self.number);
        let server = ack.server();
        let ask = |mac| guest.ask_for(&renewal(wanted).reaching(server, mac), ALONE);
        let renewed = guest.find(server, ALONE).and_then(ask).is_some_and(|answer| self.is_ack(&answer));
        if !renewed {
            self.note(|tally| tally.rebound += 1);
        }
        let rebound = self.insist("REBIND", guest, &renewal(wanted))?;
        let reboot = Ask::new(MessageType::Request).option(DhcpOption::RequestedIpAddress(wanted));
        let rebooted = self.insist("INIT-REBOOT", guest, &reboot)?;
        if self.is_ack(&rebound) && self.is_ack(&rebooted) {
            self.note(|tally| tally.exchanges += 1);
        }
        Some(rebooted)
    }

    /// DISCOVER, OFFER, REQUEST, ACK; from the start when the chosen server goes in between.
    fn begin(&self, guest: &Guest<'_>) -> Option<Answer> {
        for _ in 0..3 {
            let offer = self.insist("DISCOVER", guest, &Ask::new(MessageType::Discover))?;
            let ask = Ask::new(MessageType::Request)
                .option(DhcpOption::RequestedIpAddress(offer.yiaddr()))
                .option(DhcpOption::ServerIdentifier(offer.server()));
            match guest.ask_for(&ask, TRIES[0]) {
                Some(ack) if self.is_ack(&ack) => return Some(ack),
                _ => self.note(|tally| tally.repeated.push((self.began.elapsed(), "REQUEST"))),
            }
        }
        self.note(|tally| tally.unanswered.push((self.began.elapsed(), "REQUEST")));
        None
    }

    fn insist(&self, what: &'static str, guest: &Guest<'_>, ask: &Ask) -> Option<Answer> {
        for patience in TRIES {
            if let Some(answer) = guest.ask_for(ask, patience) {
                self.answered();
                return Some(answer);
            }
            self.note(|tally| tally.repeated.push((self.began.elapsed(), what)));
        }
        self.note(|tally| tally.unanswered.push((self.began.elapsed(), what)));
        None
    }

    fn answered(&self) {
        self.note(Tally::answered);
    }

    /// A NAK is counted where the whole segment is looked at.
    fn is_ack(&self, answer: &Answer) -> bool {
        self.answered();
        answer.kind() == MessageType::Ack
    }

    /// Asks every resolver that the guest was told.
    fn resolve(&mut self, ack: &Answer) {
        for resolver in ack.addresses(6) {
            let guest = &self.quiet;
            let socket = || DnsSocket::new(guest.lab(), Some(guest.netns()), resolver);
            self.resolvers.entry(resolver).or_insert_with(socket);
        }
        let wanted = DnsReply::found(&[&ack.yiaddr().to_string()]);
        // resolv.conf(5) has more patience: five seconds, twice.
        for _ in TRIES {
            if self.ask_resolvers(&wanted) {
                return;
            }
            self.note(|tally| tally.repeated.push((self.began.elapsed(), "DNS")));
        }
        self.note(|tally| tally.unresolved += 1);
    }

    /// Whether one of them answers.
    fn ask_resolvers(&self, wanted: &DnsReply) -> bool {
        self.resolvers.values().for_each(|socket| socket.try_send("vm0.vm.example.org", rtype::A));
        let until = Instant::now() + ALONE;
        let mut answered = false;
        for (resolver, socket) in &self.resolvers {
            let patience = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let found = socket.receive(patience).is_some_and(|reply| reply == *wanted);
            answered |= found;
            self.note(|tally| tally.resolved(*resolver, found));
        }
        answered
    }

    fn look(&self) {
        let (seen, now) = (self.capture.take(), Instant::now());
        self.note(|tally| tally.saw(seen, now));
    }
}

fn renewal(address: Ipv4Addr) -> Ask {
    Ask::new(MessageType::Request).ciaddr(address)
}
