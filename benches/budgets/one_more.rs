//! One network with 10,000 ports, all leased: how soon one more is answered, and how long others wait then.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kube_dhcp::source::{Kind, object_uid};

use crate::agent::{Agent, publish, state, withdraw};
use crate::lab::{Lab, Mac};
use crate::manifests::Nic;
use crate::server::settle;
use crate::table::{Row, Table, median, spread};

const PORTS: u32 = 10_000;
const ROUNDS: usize = 15;
const LIMIT: Duration = Duration::from_millis(50);
/// Others are watched for so long after each change.
const WATCHED: Duration = Duration::from_millis(400);
/// Of others, some in each of what is served together.
const OTHERS: u32 = 50;
/// How long each of them leaves between an answer and its next question: all together ask 2,500 times a second,
/// or as often as they are answered, which takes all that the processors have.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::ZERO];

/// Many guests on one device.
pub trait Guests {
    /// Has one ask for an address; gives the number of its question.
    fn ask(&self, mac: Mac) -> u32;

    /// The next answer: to which question, and to whom.
    fn answer(&self, deadline: Instant) -> Option<(u32, Mac)>;
}

/// Such a network.
pub struct OneMore {
    /// Its name.
    pub network: &'static str,
    /// What it is called how soon the one is answered, and how long the others wait; the two for each pause.
    pub rows: [&'static str; 4],
    /// The manifests of all but the ports.
    pub manifests: String,
    /// Those of ports.
    pub ports: fn(&[Nic]) -> String,
    /// The file of their leases.
    pub leases: fn(&[Nic]) -> String,
}

fn nic(n: u32) -> Nic {
    Nic::new(n, (u32::from(Ipv4Addr::new(10, 0, 16, 0)) + n).into())
}

impl OneMore {
    pub fn measure<G: Guests>(&self, table: &mut Table, guests: impl FnOnce(&Lab, &str) -> G) {
        let lab = Lab::new();
        lab.bridge("br0");
        let base: Vec<_> = (1..=PORTS).map(nic).collect();
        let dir = state(&lab).join("networks").join(object_uid(Kind::Network, "bench", self.network));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("leases"), (self.leases)(&base)).unwrap();
        publish(&lab, "base.yaml", &(self.manifests.clone() + &(self.ports)(&base)));
        let agent = Agent::start(&lab, &["--physical-network", "lan=bridge:br0"]);
        agent.ready();
        agent.wait_for("ports_ready", u64::from(PORTS));
        let guests = guests(&lab, "br0");
        let mut names = (PORTS + 1..).map(nic);
        for (rows, pause) in self.rows.chunks(2).zip(PAUSES) {
            let (mut own, mut others) = (Vec::new(), Vec::new());
            for one in names.by_ref().take(ROUNDS) {
                settle();
                settle();
                while guests.answer(Instant::now()).is_some() {}
                let mac = one.mac;
                let at = publish(&lab, "one.yaml", &(self.ports)(&[one]));
                let (answered, longest) = watch(&guests, mac, at, pause);
                own.push(answered);
                others.push(longest);
                withdraw(&lab, "one.yaml");
                std::thread::sleep(WATCHED);
            }
            for (row, times) in rows.iter().zip([&mut own, &mut others]) {
                let ours = *times.iter().max().unwrap();
                let note =
                    format!("most of {ROUNDS}, median {:?} {}", median(&mut times.clone()), spread(times));
                table.add(Row::new(row, None, ours).note(note).at_most(LIMIT, ""));
            }
        }
    }
}

/// When `mac` was answered, and the longest that one of the others waited, who ask again after a `pause`.
fn watch(guests: &impl Guests, mac: Mac, since: Instant, pause: Duration) -> (Duration, Duration) {
    // Not all at once.
    let start = |n: u32| since + pause * n / OTHERS;
    let mut due: HashMap<_, _> = (0..OTHERS).map(|n| (nic(1 + n * (PORTS / OTHERS)).mac, start(n))).collect();
    let (mut asked, mut answered, mut longest) = (BTreeMap::new(), None, Duration::ZERO);
    let mut next = Instant::now();
    while since.elapsed() < WATCHED || answered.is_none() {
        assert!(since.elapsed() < Duration::from_secs(20), "{mac} is not answered");
        if answered.is_none() {
            guests.ask(mac);
        }
        let now = Instant::now();
        for (other, _) in due.extract_if(|_, at| *at <= now) {
            asked.insert(other, (guests.ask(other), Instant::now()));
        }
        next += Duration::from_millis(1);
        while let Some((xid, to)) = guests.answer(next) {
            if to == mac {
                answered.get_or_insert_with(|| since.elapsed());
            } else if let Some((_, at)) = asked.get(&to).filter(|(of, _)| *of == xid) {
                longest = longest.max(at.elapsed());
                asked.remove(&to);
                due.insert(to, Instant::now() + pause);
            }
        }
    }
    // Who waits still.
    let waited = asked.values().map(|(_, at)| at.elapsed()).max().unwrap_or_default();
    (answered.unwrap_or_default(), longest.max(waited))
}
