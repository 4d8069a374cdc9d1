//! One network with 10,000 ports, all leased: how soon one more is answered, and how long others wait then.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kube_dhcp::source::{Kind, object_uid};

use crate::agent::{Agent, publish, state, withdraw};
use crate::lab::{Lab, Mac};
use crate::manifests::{Nic, leases, network, ports};
use crate::probe::Probe;
use crate::server::settle;
use crate::table::{Row, Table, median, spread};

pub const ROWS: [&str; 2] =
    ["port added to 10,000 leased → answered", "10,000 leased, one added: longest wait of others"];

const NETWORK: &str = "largest";
const PORTS: u32 = 10_000;
const ROUNDS: u32 = 15;
const LIMIT: Duration = Duration::from_millis(50);
/// Others are watched for so long after each change.
const WATCHED: Duration = Duration::from_millis(400);
/// Of others, one in each of what is served together, and some more.
const OTHERS: u32 = 50;

fn nic(n: u32) -> Nic {
    Nic::new(n, (u32::from(Ipv4Addr::new(10, 0, 16, 0)) + n).into())
}

pub fn all_leased(table: &mut Table) {
    let lab = Lab::new();
    lab.bridge("br0");
    let base: Vec<_> = (1..=PORTS).map(nic).collect();
    let dir = state(&lab).join("networks").join(object_uid(Kind::Network, "bench", NETWORK));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("leases"), leases(&base)).unwrap();
    publish(&lab, "base.yaml", &(network(NETWORK, "lan", None, "10.0.0.0/16") + &ports(NETWORK, &base)));
    let agent = Agent::start(&lab, &["--physical-network", "lan=bridge:br0"]);
    agent.ready();
    agent.wait_for("ports_ready", u64::from(PORTS));
    let (probe, mut own, mut others) = (Probe::new(&lab, "br0"), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        settle();
        settle();
        probe.drain();
        let one = nic(PORTS + 1 + n);
        let at = publish(&lab, "one.yaml", &ports(NETWORK, [&one]));
        let (answered, longest) = watch(&probe, one.mac, at);
        own.push(answered);
        others.push(longest);
        withdraw(&lab, "one.yaml");
        std::thread::sleep(WATCHED);
    }
    for (row, times) in ROWS.into_iter().zip([&mut own, &mut others]) {
        let ours = *times.iter().max().unwrap();
        let note = format!("most of {ROUNDS}, median {:?} {}", median(&mut times.clone()), spread(times));
        table.add(Row::new(row, None, ours).note(note).at_most(LIMIT, ""));
    }
}

/// When `mac` was answered, and the longest that one of the others waited.
fn watch(probe: &Probe, mac: Mac, since: Instant) -> (Duration, Duration) {
    let others: Vec<_> = (0..OTHERS).map(|n| nic(1 + n * (PORTS / OTHERS)).mac).collect();
    let (mut asked, mut answered, mut longest) = (BTreeMap::new(), None, Duration::ZERO);
    let mut next = Instant::now();
    while since.elapsed() < WATCHED || answered.is_none() {
        assert!(since.elapsed() < Duration::from_secs(20), "{mac} is not answered");
        if answered.is_none() {
            probe.discover(mac);
        }
        for other in &others {
            asked.entry(*other).or_insert_with(|| (probe.discover(*other), Instant::now()));
        }
        next += Duration::from_millis(1);
        while let Some((xid, to, _)) = probe.offer(next) {
            if to == mac {
                answered.get_or_insert_with(|| since.elapsed());
            } else if let Some((_, at)) = asked.remove(&to).filter(|(of, _)| *of == xid) {
                longest = longest.max(at.elapsed());
            }
        }
    }
    (answered.unwrap_or_default(), longest)
}
