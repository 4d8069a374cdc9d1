//! One network with 1,000 ports: how soon a guest notices what is done to it.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kube_dhcp::source::{Kind, object_uid};

use crate::agent::{Agent, publish, state, withdraw};
use crate::lab::{Lab, Mac};
use crate::manifests::{Nic, leases, network, ports};
use crate::probe::Probe;
use crate::server::{Server, line, settle};
use crate::table::{Row, Table, median, spread};

pub const ROWS: [&str; 4] = [
    "port added to 1,000 → answered",
    "port removed from 1,000 → silent",
    "address re-used, 1,000 ports → answered",
    "100 ports at once on 1,000 → answered",
];
pub const LEASED_ROWS: [&str; 3] = [
    "port added to 1,000 leased → answered",
    "port removed from 1,000 leased → silent",
    "address re-used, 1,000 leased → answered",
];

const NETWORK: &str = "large";
const PORTS: u32 = 1_000;
const CIDR: &str = "10.0.0.0/16";
const ROUNDS: u32 = 21;
const REUSES: u32 = 7;
const FLAGS: [&str; 2] = ["--physical-network", "lan=bridge:br0"];
/// No answer for so long is silence: longer than it takes to read a file.
const QUIET: Duration = Duration::from_millis(80);

pub fn without_leases(table: &mut Table) {
    measure(table, ROWS[..3].try_into().unwrap(), false);
    if table.wants(ROWS[3]) {
        at_once(table);
    }
}

pub fn all_leased(table: &mut Table) {
    measure(table, LEASED_ROWS, true);
}

fn base() -> Vec<Nic> {
    (0..PORTS).map(|n| Nic::new(n + 1, address(256 + n))).collect()
}

fn address(n: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 0, 0, 0)) + n).into()
}

/// A further port: neither its MAC nor its address were ever used.
fn fresh(n: u32) -> Nic {
    Nic::new(10_000 + n, address(8_192 + n))
}

fn uid() -> String {
    object_uid(Kind::Network, "bench", NETWORK)
}

fn start(lab: &Lab, leased: bool) -> Agent<'_> {
    lab.bridge("br0");
    if leased {
        let dir = state(lab).join("networks").join(uid());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("leases"), leases(&base())).unwrap();
    }
    publish(lab, "base.yaml", &(network(NETWORK, "lan", None, CIDR) + &ports(NETWORK, &base())));
    let agent = Agent::start(lab, &FLAGS);
    agent.ready();
    agent.wait_for("ports_ready", u64::from(PORTS));
    agent
}

fn measure(table: &mut Table, rows: [&'static str; 3], leased: bool) {
    let lab = Lab::new();
    let agent = start(&lab, leased);
    let mut both = Both {
        lab: &lab,
        probe: Probe::new(&lab, "br0"),
        alone: Server::like_the_agents(&lab, "br1", "10.0.0.2/16"),
        alone_probe: Probe::new(&lab, "br1"),
    };
    if table.wants(rows[0]) || table.wants(rows[1]) {
        both.add_and_remove(table, rows);
    }
    if table.wants(rows[2]) {
        both.reuse(table, rows[2], &agent);
    }
}

/// The agent's server on one bridge, dnsmasq alone on another.
struct Both<'lab> {
    lab: &'lab Lab,
    probe: Probe,
    alone: Server<'lab>,
    alone_probe: Probe,
}

impl Both<'_> {
    fn add_and_remove(&mut self, table: &mut Table, rows: [&'static str; 3]) {
        let mut times: [Vec<Duration>; 4] = Default::default();
        for n in 0..ROUNDS {
            let nic = fresh(n);
            let at = self.alone.hosts(&line(&nic));
            times[0].push(self.alone_probe.answered(nic.mac, at));
            settle();
            let at = publish(self.lab, "one.yaml", &ports(NETWORK, [&nic]));
            times[1].push(self.probe.answered(nic.mac, at));
            // A report goes out at most every 200 ms, and is no part of this.
            settle();
            settle();
            self.drain();
            let at = self.alone.hosts(&format!("{},ignore\n", nic.mac));
            times[2].push(self.alone_probe.silent(nic.mac, at, QUIET));
            let at = withdraw(self.lab, "one.yaml");
            times[3].push(self.probe.silent(nic.mac, at, QUIET));
            settle();
            settle();
            self.drain();
        }
        let [add_floor, add, remove_floor, remove] = &mut times;
        for (row, floor, ours) in [(rows[0], add_floor, add), (rows[1], remove_floor, remove)] {
            let (least, own) = (median(floor), median(ours));
            let limit = least + Duration::from_millis(4);
            let note = format!("median of {ROUNDS} {}", spread(ours));
            table.add(Row::new(row, Some(least), own).note(note).at_most(limit, "floor + 4 ms"));
        }
    }

    fn reuse(&mut self, table: &mut Table, row: &'static str, agent: &Agent<'_>) {
        let hosts: String = base().iter().map(line).collect();
        let (mut least, mut own) = (Vec::new(), Vec::new());
        let ip = address(16_384);
        let nic = |n: u32| Nic::new(20_000 + n, ip);
        publish(self.lab, "again.yaml", &ports(NETWORK, [&nic(0)]));
        for n in 1..=REUSES {
            settle();
            withdraw(self.lab, "again.yaml");
            // Longer than the time that a fresh process is left alone.
            std::thread::sleep(Duration::from_millis(900));
            let at = publish(self.lab, "again.yaml", &ports(NETWORK, [&nic(n)]));
            own.push(self.probe.answered(nic(n).mac, at));
            let at = self.alone.restart(&(hosts.clone() + &line(&nic(n))));
            least.push(self.alone_probe.answered(nic(n).mac, at));
            self.drain();
        }
        let (floor, ours) = (median(&mut least), median(&mut own));
        settle();
        let most = agent.metric("dnsmasq_starts_total").saturating_sub(1).div_ceil(u64::from(REUSES));
        let limit = floor.mul_f64(1.5) + Duration::from_millis(50);
        let note = format!("median of {REUSES} {}, restarts each {most}", spread(&own));
        let row = Row::new(row, Some(floor), ours).note(note).at_most(limit, "1.5 × floor + 50 ms");
        table.add(row.and(most == 1, "one restart"));
    }

    fn drain(&self) {
        self.probe.drain();
        self.alone_probe.drain();
    }
}

fn at_once(table: &mut Table) {
    let lab = Lab::new();
    let _agent = start(&lab, false);
    let probe = Probe::new(&lab, "br0");
    let hosts = state(&lab).join("networks").join(uid()).join("hosts");
    let count = || fs::read_dir(&hosts).unwrap().count();
    let (mut times, mut files) = (Vec::new(), 0);
    for round in 0..5 {
        let nics: Vec<_> = (0..100).map(|n| fresh(1_000 + round * 100 + n)).collect();
        let macs: Vec<Mac> = nics.iter().map(|nic| nic.mac).collect();
        let before = count();
        let at = publish(&lab, "hundred.yaml", &ports(NETWORK, &nics));
        times.push(probe.all_answered(&macs, at));
        files = files.max(count() - before);
        std::thread::sleep(Duration::from_millis(300));
        withdraw(&lab, "hundred.yaml");
        let gone = Instant::now();
        probe.silent(macs[0], gone, QUIET);
        std::thread::sleep(Duration::from_millis(300));
        probe.drain();
    }
    let note = format!("median of 5 {}, files each {files}", spread(&times));
    let row = Row::new(ROWS[3], None, median(&mut times)).note(note);
    table.add(row.at_most(Duration::from_millis(200), "").and(files == 1, "one file"));
}
