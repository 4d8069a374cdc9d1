//! The program under test, in a lab.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::lab::{Lab, PATIENCE, eventually, spawn};

const PORT: u16 = 9467;
/// Between two looks at whether it is ready.
const LOOK: Duration = Duration::from_millis(3);

pub struct Agent<'lab> {
    lab: &'lab Lab,
    child: Child,
    /// As the lab counts.
    pub pid: u32,
    started: Instant,
}

/// The program that cargo built for this bench, or another one, to compare the two.
fn program() -> String {
    std::env::var("KUBE_DHCP").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kube-dhcp").to_owned())
}

/// Where the agent's manifests are.
pub fn manifests(lab: &Lab) -> PathBuf {
    directory(lab, "manifests")
}

/// The agent's state directory.
pub fn state(lab: &Lab) -> PathBuf {
    directory(lab, "state")
}

fn directory(lab: &Lab, name: &str) -> PathBuf {
    let path = lab.state().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Puts a manifest there with one rename; says when that was.
pub fn publish(lab: &Lab, name: &str, text: &str) -> Instant {
    let beside = lab.state().join("beside");
    std::fs::write(&beside, text).unwrap();
    let path = manifests(lab).join(name);
    let now = Instant::now();
    std::fs::rename(beside, path).unwrap();
    now
}

/// Takes a manifest away; says when that was.
pub fn withdraw(lab: &Lab, name: &str) -> Instant {
    let path = manifests(lab).join(name);
    let now = Instant::now();
    std::fs::remove_file(path).unwrap();
    now
}

impl<'lab> Agent<'lab> {
    pub fn start(lab: &'lab Lab, flags: &[&str]) -> Self {
        let log =
            std::fs::File::options().create(true).append(true).open(lab.state().join("agent.log")).unwrap();
        let mut command = lab.command(&program());
        command.arg("agent").arg("--manifests").arg(manifests(lab)).arg("--state-dir").arg(state(lab));
        command.args(flags).stdout(Stdio::null()).stderr(log);
        let started = Instant::now();
        let child = spawn(&mut command);
        let pid = eventually("the agent runs", PATIENCE, || lab.pids_of("kube-dhcp").pop());
        Self { lab, child, pid, started }
    }

    /// How long after its start `/readyz` said yes.
    pub fn ready(&self) -> Duration {
        while self.started.elapsed() < Duration::from_secs(60) {
            if self.get("/readyz").is_some_and(|answer| answer.contains(" 200 ")) {
                return self.started.elapsed();
            }
            std::thread::sleep(LOOK);
        }
        let log = std::fs::read_to_string(self.lab.state().join("agent.log")).unwrap_or_default();
        panic!("the agent is not ready; its log ends with\n{}", &log[log.len().saturating_sub(3_000)..]);
    }

    fn get(&self, path: &str) -> Option<String> {
        self.lab.in_netns(None, || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).ok()?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("kube_dhcp_agent_{name} ")));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// Waits until a metric has this value.
    pub fn wait_for(&self, name: &str, value: u64) {
        eventually(&format!("{name} is {value}"), PATIENCE, || {
            std::thread::sleep(LOOK);
            (self.metric(name) == value).then_some(())
        });
    }

    /// SIGTERM, and waits for the end. What it serves stays.
    pub fn stop(mut self) {
        self.lab.signal("TERM", self.pid);
        assert!(self.child.wait().unwrap().success(), "the agent did not end well");
    }

    /// A line of its `/proc/<pid>/<file>`, as a number.
    pub fn kilobytes(&self, file: &str, name: &str) -> u64 {
        let text = self.proc(file);
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    }

    /// Its CPU time so far, and the page faults of processes that it has started and that ended: each
    /// has some.
    pub fn cpu(&self) -> (Duration, u64) {
        let stat = self.proc("stat");
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let number = |at: usize| fields[at].parse::<u64>().unwrap();
        (Duration::from_millis((number(11) + number(12)) * 10), number(8))
    }

    /// How many threads it has.
    pub fn threads(&self) -> u64 {
        self.kilobytes("status", "Threads:")
    }

    fn proc(&self, file: &str) -> String {
        String::from_utf8(self.lab.read(&format!("/proc/{}/{file}", self.pid)).unwrap()).unwrap()
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The machine's descriptor of a process known by the lab's number.
pub fn pidfd(lab: &Lab, inside: u32) -> OwnedFd {
    let space = |pid: &Path| std::fs::read_link(pid.join("ns/pid")).ok();
    let ours = space(Path::new(&format!("/proc/{}", lab.init_pid())));
    let number = |path: &Path| {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.to_owned();
        line.split_whitespace().last()?.parse::<u32>().ok()
    };
    let mut all = Path::new("/proc").read_dir().unwrap().flatten().map(|entry| entry.path());
    let found = all.find(|path| space(path) == ours && number(path) == Some(inside));
    let pid = found.and_then(|path| path.file_name()?.to_str()?.parse().ok()).and_then(Pid::from_raw);
    pidfd_open(pid.expect("no such process in the lab"), PidfdFlags::empty()).unwrap()
}
