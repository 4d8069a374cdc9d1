//! What it costs: requests, CPU time and memory of everybody who takes part.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::inside::sh;
use crate::site::Site;

/// Where the controller tells its metrics.
pub const CONTROLLER: &str = "127.0.0.1:9190";

/// Requests of these verbs are writes.
const WRITES: [&str; 7] = ["POST ", "PUT ", "PATCH ", "APPLY ", "DELETE ", "CREATE ", "UPDATE "];

/// Sums at one time, or what was added between two.
pub struct Costs {
    at: Instant,
    took: Duration,
    requests: BTreeMap<String, f64>,
    cpu: BTreeMap<String, Duration>,
    memory: BTreeMap<String, u64>,
    passes: Sum,
    decisions: Sum,
}

/// Seconds, and of how many.
#[derive(Debug, Clone, Copy)]
struct Sum(f64, f64);

impl Costs {
    pub async fn now(site: &mut Site) -> Self {
        let (mut cpu, mut memory) = (BTreeMap::new(), BTreeMap::new());
        for (name, process) in processes(site) {
            *cpu.entry(name.clone()).or_default() += cpu_of(&process);
            *memory.entry(name).or_default() += resident(&process);
        }
        let text = sh(&format!("curl -sS http://{CONTROLLER}/metrics"));
        let (passes, decisions) =
            (Sum::of(&text, "pass_duration_seconds"), Sum::of(&text, "decision_duration_seconds"));
        let requests = site.plane.metrics().await.all_requests();
        Self { at: Instant::now(), took: Duration::ZERO, requests, cpu, memory, passes, decisions }
    }

    /// What was added since; memory stays what it is.
    pub fn since(mut self, before: &Self) -> Self {
        self.took = self.at - before.at;
        for (name, sum) in &mut self.requests {
            *sum -= before.requests.get(name).unwrap_or(&0.0);
        }
        for (name, sum) in &mut self.cpu {
            *sum = sum.saturating_sub(before.cpu.get(name).copied().unwrap_or_default());
        }
        self.passes = self.passes.since(before.passes);
        self.decisions = self.decisions.since(before.decisions);
        self
    }

    pub fn print(&self, ports: usize) {
        let ports = f64::from(u32::try_from(ports).unwrap());
        println!("writes at the API server, of each Port:");
        let mut sum = 0.0;
        for (name, count) in &self.requests {
            if WRITES.iter().any(|verb| name.starts_with(verb)) && *count > 0.0 {
                sum += count;
                println!("    {:<28} {:>8.2}", name, count / ports);
            }
        }
        println!("    {:<28} {:>8.2}, {:.0} a second", "all", sum / ports, sum / self.took.as_secs_f64());
        println!("over {:.1?}:", self.took);
        for (name, cpu) in &self.cpu {
            let cores = cpu.as_secs_f64() / self.took.as_secs_f64();
            let megabytes = self.memory.get(name).unwrap_or(&0) / 1024;
            println!(
                "    {name:<12} CPU {:>6.1} s ({cores:.2} cores), {:>6.2} ms each Port, RSS {megabytes} MB",
                cpu.as_secs_f64(),
                cpu.as_secs_f64() * 1e3 / ports
            );
        }
        let (passes, decisions) = (self.passes, self.decisions);
        println!(
            "controller: {:.1} passes each Port, {passes} with their writes, {decisions} without",
            passes.1 / ports
        );
    }
}

impl Sum {
    fn of(text: &str, name: &str) -> Self {
        let value = |part: &str| {
            let name = format!("kube_dhcp_controller_{name}_{part} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.and_then(|value| value.parse().ok()).unwrap_or_default()
        };
        Self(value("sum"), value("count"))
    }

    fn since(self, before: Self) -> Self {
        Self(self.0 - before.0, self.1 - before.1)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms", self.0 * 1e3 / self.1.max(1.0))
    }
}

/// Everybody, with `/proc/<pid>` as we see it.
fn processes(site: &mut Site) -> Vec<(String, PathBuf)> {
    let outside = |pid: u32| PathBuf::from(format!("/proc/{pid}"));
    let plane = site.plane.pids();
    let mut all: Vec<_> = ["etcd", "API server", "manager"].into_iter().zip(plane).collect();
    all.push(("controller", site.controller(0).id()));
    all.push(("this program", std::process::id()));
    let mut all: Vec<_> = all.into_iter().map(|(name, pid)| (name.to_owned(), outside(pid))).collect();
    for node in &site.nodes {
        let inner = |name: &str| {
            node.lab
                .pids_of(name)
                .into_iter()
                .map(|pid| node.lab.outside(&format!("/proc/{pid}")))
                .collect::<Vec<_>>()
        };
        all.extend(inner("kube-dhcp").into_iter().map(|process| (format!("agent {}", node.name), process)));
        all.extend(inner("dnsmasq").into_iter().map(|process| ("all dnsmasq".to_owned(), process)));
    }
    all
}

fn cpu_of(process: &std::path::Path) -> Duration {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 =
        fields.get(11..13).into_iter().flatten().filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// In kB.
fn resident(process: &std::path::Path) -> u64 {
    let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
