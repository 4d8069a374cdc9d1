//! Many networks on one node: setting up, looking, restarting, taking down.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube_dhcp::source::{Kind, object_uid};

use crate::agent::{Agent, manifests, publish, state};
use crate::floor::{Floor, Spec};
use crate::lab::{Lab, PATIENCE, eventually};
use crate::manifests::{Nic, network, ports};
use crate::probe::Probe;
use crate::table::{Row, Table, median, spread};

pub const ROWS: [&str; 5] = [
    "cold start, 100 networks × 10 ports",
    "agent restarted, 100 networks running",
    "full re-check of 100 networks, CPU",
    "memory, 100 networks × 10 ports",
    "100 networks taken down",
];
pub const NINETEEN_ROWS: [&str; 1] = ["a port in each of 19 networks → all answered"];

const NETWORKS: u32 = 100;
const PORTS: u32 = 10;
const ROUNDS: usize = 3;
const RESYNCS: u32 = 8;
const THREADS: usize = 4;

pub fn hundred(table: &mut Table) {
    let mut times = Times::default();
    // The first floor needs to know what the agent's files are.
    let mut specs = Vec::new();
    for round in 0..ROUNDS {
        let lab = Lab::new();
        lab.bridge("br0");
        ours(&lab, table, &mut times, &mut specs, round == 0);
        drop(lab);
        for (threads, list) in [(THREADS, &mut times.floor), (2 * THREADS, &mut times.wide)] {
            let lab = Lab::new();
            lab.bridge("br0");
            let own: Vec<_> = specs.iter().map(|spec| moved(spec, lab.state())).collect();
            let (floor, up) = Floor::start(&lab, &own, threads);
            list.push((up, floor.stop()));
        }
    }
    times.report(table);
}

#[derive(Default)]
struct Times {
    ours: Vec<(Duration, Duration)>,
    floor: Vec<(Duration, Duration)>,
    wide: Vec<(Duration, Duration)>,
}

impl Times {
    fn report(&self, table: &mut Table) {
        let up = |list: &[(Duration, Duration)]| list.iter().map(|(up, _)| *up).collect::<Vec<_>>();
        let down = |list: &[(Duration, Duration)]| list.iter().map(|(_, down)| *down).collect::<Vec<_>>();
        let wide = median(&mut up(&self.wide));
        let note = format!(
            "median of {ROUNDS} {}; the floor with {} threads {}",
            spread(&up(&self.ours)),
            2 * THREADS,
            crate::table::time(wide)
        );
        let floor = median(&mut up(&self.floor));
        let row = Row::new(ROWS[0], Some(floor), median(&mut up(&self.ours))).note(note);
        table.add(row.at_most(floor.mul_f64(1.25), "1.25 × floor"));
        let floor = median(&mut down(&self.floor));
        let row = Row::new(ROWS[4], Some(floor), median(&mut down(&self.ours)));
        let row = row.note(format!("median of {ROUNDS} {}", spread(&down(&self.ours))));
        table.add(row.at_most(Duration::from_millis(150), ""));
    }
}

fn ours(lab: &Lab, table: &mut Table, times: &mut Times, specs: &mut Vec<Spec>, all: bool) {
    for n in 0..NETWORKS {
        let (name, physical) = (format!("n{n}"), format!("p{n}"));
        let text = network(&name, &physical, None, &format!("10.1.{n}.0/24")) + &ports(&name, &nics(n));
        publish(lab, &format!("{name}.yaml"), &text);
    }
    let flags = physical_networks();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut agent = Agent::start(lab, &flags);
    let up = agent.ready();
    agent.wait_for("networks_ready", NETWORKS.into());
    agent.wait_for("ports_ready", u64::from(NETWORKS * PORTS));
    if all {
        *specs = (0..NETWORKS).map(|n| spec(lab, n)).collect();
        memory(table, &agent);
        agent = restart(lab, table, agent, &flags);
        agent = idle(lab, table, agent, &flags);
    }
    // The last reports are out.
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    for n in 0..NETWORKS {
        fs::remove_file(manifests(lab).join(format!("n{n}.yaml"))).unwrap();
    }
    await_nothing(lab);
    times.ours.push((up, started.elapsed()));
    assert!(lab.pids_of("dnsmasq").is_empty());
    agent.stop();
}

fn nics(network: u32) -> Vec<Nic> {
    let nic = |n| {
        Nic::new(
            network * 100 + n,
            Ipv4Addr::new(10, 1, u8::try_from(network).unwrap(), 10 + u8::try_from(n).unwrap()),
        )
    };
    (0..PORTS).map(nic).collect()
}

fn physical_networks() -> Vec<String> {
    (0..NETWORKS).map(|n| format!("--physical-network=p{n}=bridge:br0")).collect()
}

fn await_nothing(lab: &Lab) {
    let empty = |path: PathBuf| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let device = |name: &str| name.starts_with("kd");
    eventually("nothing is left", PATIENCE, || {
        (lab.netns_names().is_empty() && empty(state(lab).join("networks"))).then_some(())
    });
    eventually("no device is left", PATIENCE, || {
        let devices = lab.in_netns(None, || {
            nix::ifaddrs::getifaddrs().unwrap().map(|i| i.interface_name).collect::<Vec<_>>()
        });
        (!devices.iter().any(|name| device(name))).then_some(())
    });
}

fn memory(table: &mut Table, agent: &Agent<'_>) {
    let rss = agent.kilobytes("status", "VmRSS:");
    let own = agent.kilobytes("status", "RssAnon:");
    let pss = agent.kilobytes("smaps_rollup", "Pss:");
    let mb = |kb: u64| format!("{:.1} MB", f64::from(u32::try_from(kb).unwrap()) / 1024.0);
    let peak = mb(agent.kilobytes("status", "VmHWM:"));
    let note = format!("PSS {}, anonymous {}, peak {peak}, {} threads", mb(pss), mb(own), agent.threads());
    table.value(ROWS[3], mb(rss), "20 MB", rss <= 20 * 1024, note);
}

fn servers(lab: &Lab) -> BTreeSet<u32> {
    lab.pids_of("dnsmasq").into_iter().collect()
}

fn restart<'lab>(lab: &'lab Lab, table: &mut Table, mut agent: Agent<'lab>, flags: &[&str]) -> Agent<'lab> {
    let before = servers(lab);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        agent.stop();
        agent = Agent::start(lab, flags);
        times.push(agent.ready());
    }
    let kept = servers(lab) == before;
    let note = format!("median of {ROUNDS} {}", spread(&times));
    let row = Row::new(ROWS[1], None, median(&mut times)).note(note);
    table.add(row.at_most(Duration::from_millis(300), "").and(kept, "none restarted"));
    agent
}

fn idle<'lab>(lab: &'lab Lab, table: &mut Table, agent: Agent<'lab>, flags: &[&str]) -> Agent<'lab> {
    let before = servers(lab);
    agent.stop();
    let every_second: Vec<_> = flags.iter().copied().chain(["--resync-seconds", "1"]).collect();
    let agent = Agent::start(lab, &every_second);
    agent.ready();
    std::thread::sleep(Duration::from_millis(1_500));
    let (cpu, faults) = agent.cpu();
    std::thread::sleep(Duration::from_secs(RESYNCS.into()));
    let (cpu_after, faults_after) = agent.cpu();
    let each = cpu_after.saturating_sub(cpu) / RESYNCS;
    let silent = faults == faults_after && servers(lab) == before;
    let started = if faults == faults_after { "0 processes started" } else { "processes started" };
    let row = Row::new(ROWS[2], None, each).note(format!("mean of {RESYNCS} re-checks, {started}"));
    table.add(row.at_most(Duration::from_millis(100), "").and(silent, "no process started"));
    agent.stop();
    let agent = Agent::start(lab, flags);
    agent.ready();
    agent
}

/// What the agent made of the `n`-th network, for the floor.
fn spec(lab: &Lab, n: u32) -> Spec {
    let uid = object_uid(Kind::Network, "bench", &format!("n{n}"));
    let dir = state(lab).join("networks").join(&uid);
    let pid = fs::read_to_string(dir.join("pid")).unwrap();
    let argv = lab.read(&format!("/proc/{}/cmdline", pid.trim())).unwrap();
    let argv =
        String::from_utf8(argv).unwrap().trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    let subnet = u8::try_from(n).unwrap();
    Spec {
        netns: format!("kdhcp-{uid}"),
        outer: format!("kd{}", &uid.replace('-', "")[..12]),
        bridge: "br0".into(),
        mac: [2, 1, 0, 0, 0, subnet],
        address: Ipv4Addr::new(10, 1, subnet, 2),
        prefix: 24,
        gateway: Ipv4Addr::new(10, 1, subnet, 1),
        files: ["hosts", "options", "names"].iter().flat_map(|name| texts(&dir, name)).collect(),
        dir,
        argv,
    }
}

fn texts(dir: &Path, name: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(dir.join(name)).unwrap().flatten();
    let text = |entry: fs::DirEntry| {
        (Path::new(name).join(entry.file_name()), fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(text).collect()
}

/// The same in another lab's directory.
fn moved(spec: &Spec, to: &Path) -> Spec {
    let dir = to.join("networks").join(spec.dir.file_name().unwrap());
    let (old, new) = (spec.dir.display().to_string(), dir.display().to_string());
    Spec {
        netns: spec.netns.clone(),
        outer: spec.outer.clone(),
        bridge: spec.bridge.clone(),
        files: spec.files.clone(),
        argv: spec.argv.iter().map(|arg| arg.replace(&old, &new)).collect(),
        dir,
        ..*spec
    }
}

pub fn nineteen(table: &mut Table) {
    let lab = Lab::new();
    let name = |n: usize| format!("v{n}");
    let nic = |n: u32| Nic::new(50_000 + n, Ipv4Addr::new(10, 1, 0, u8::try_from(100 + n).unwrap()));
    for n in 0..20 {
        let text = network(&name(n), "lan", Some(n + 1), "10.1.0.0/24") + &ports(&name(n), &nics(0));
        publish(&lab, &format!("{}.yaml", name(n)), &text);
    }
    let agent = Agent::start(&lab, &["--physical-network", "lan=bridge:br-{vlan}", "--create-bridges"]);
    agent.ready();
    agent.wait_for("networks_ready", 20);
    let probes: Vec<_> = (0..19).map(|n| Probe::new(&lab, &format!("br-{}", n + 1))).collect();
    let mut times = Vec::new();
    for round in 0..11 {
        let nic = nic(round);
        let text: String = (0..19).map(|n| ports(&name(n), [&nic])).collect();
        let at = publish(&lab, "nineteen.yaml", &text);
        times.push(all_answered(&probes, &nic, at));
        std::thread::sleep(Duration::from_millis(400));
        probes.iter().for_each(Probe::drain);
    }
    let note = format!("median of {} {}", times.len(), spread(&times));
    let row = Row::new(NINETEEN_ROWS[0], None, median(&mut times)).note(note);
    table.add(row.at_most(Duration::from_millis(20), ""));
}

/// Each is asked again every 2 ms until it has answered.
fn all_answered(probes: &[Probe], nic: &Nic, since: Instant) -> Duration {
    let mut left: Vec<_> = probes.iter().collect();
    while since.elapsed() < PATIENCE {
        for probe in &left {
            probe.discover(nic.mac);
        }
        let next = Instant::now() + Duration::from_millis(2);
        while Instant::now() < next {
            left.retain(|probe| probe.offer(Instant::now()).is_none_or(|(_, mac, _)| mac != nic.mac));
            if left.is_empty() {
                return since.elapsed();
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    panic!("{} networks do not answer", left.len());
}
