//! A node of a [`Site`](super::Site).

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{BIN, LONG};
use crate::inside::sh;
use crate::lab::{Lab, eventually, output, spawn};

/// A node: a machine, and the agent on it.
pub struct Node {
    pub name: String,
    pub lab: Lab,
    pub kubeconfig: PathBuf,
    pub(super) number: usize,
    pub(super) agents: usize,
    pub(super) child: Option<Child>,
    /// Survives the machine.
    pub(super) disk: Disk,
    pub(super) flags: Vec<String>,
}

/// What a node's state directory is on.
pub struct Disk(TempDir);

impl Disk {
    /// As large as the machine's own.
    pub(super) fn of_the_machine() -> Self {
        Self::in_directory(&std::env::temp_dir())
    }

    /// 16 MB that nobody else writes to. It is there in machines that are made afterwards.
    pub(super) fn small() -> Self {
        let disk = Self::in_directory(Path::new("/mnt"));
        sh(&format!("mount -t tmpfs -o mode=755,size=16m none {}", disk.0.path().display()));
        disk
    }

    fn in_directory(parent: &Path) -> Self {
        let disk = TempDir::new_in(parent).unwrap();
        // dnsmasq drops to another user and reads its directories afterwards.
        std::fs::set_permissions(disk.path(), Permissions::from_mode(0o755)).unwrap();
        Self(disk)
    }
}

impl Node {
    /// `program` is this version or another one.
    pub(super) fn start_agent(&mut self, program: &str, logs: &Path, flags: &[&str]) {
        self.agents += 1;
        let log = File::create(logs.join(format!("agent-{}-{}.log", self.name, self.agents))).unwrap();
        let mut command = self.lab.command(program);
        command.args(["agent", "--node-name", &self.name]);
        if !flags.iter().any(|flag| flag.starts_with("--listen")) {
            command.arg("--listen=off");
        }
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--state-dir").arg(self.state());
        if !flags.contains(&"--physical-network") {
            command.args(&self.flags);
        }
        command.args(flags);
        log_level(&mut command);
        command.stdout(Stdio::null()).stderr(log);
        self.child = Some(spawn(&mut command));
    }

    /// What `kube-dhcp status` says on the node.
    pub fn status(&self) -> Value {
        let state = self.state();
        let mut command = self.lab.command(BIN);
        let done = output(command.args(["status", "-o", "json", "--state-dir"]).arg(state));
        serde_json::from_slice(&done.stdout).unwrap_or_default()
    }

    /// The same as a person reads it.
    pub fn status_text(&self) -> String {
        let mut command = self.lab.command(BIN);
        let done = output(command.args(["status", "--state-dir"]).arg(self.state()));
        String::from_utf8(done.stdout).unwrap()
    }

    /// What `kube-dhcp status --port` says on the node.
    pub fn told(&self, port: &str) -> Value {
        self.until_copied(port.split_once('/').unwrap().1);
        let mut command = self.lab.command(BIN);
        let done =
            output(command.args(["status", "-o", "json", "--port", port, "--state-dir"]).arg(self.state()));
        let complaint = String::from_utf8_lossy(&done.stderr);
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"))
    }

    pub fn state(&self) -> PathBuf {
        self.disk.0.path().join("state")
    }

    /// Waits until the agent's copy of the cluster's objects, which is written a moment after each change,
    /// has what a Port was given.
    pub fn until_copied(&self, port: &str) {
        let copied = || {
            let text = std::fs::read_to_string(self.state().join("cluster.json")).ok()?;
            let copy: Value = serde_json::from_str(&text).ok()?;
            let ours = |object: &&Value| {
                object["kind"] == "Port" && object["value"]["metadata"]["name"].as_str() == Some(port)
            };
            let port = copy["objects"].as_array()?.iter().find(ours)?.clone();
            port.pointer("/value/status/addresses/0").cloned()
        };
        eventually("the copy has the Port", LONG, copied);
    }

    /// `kill -9` of the agent alone; what it runs goes on.
    pub fn kill_agent(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // One that was started a moment ago is not the program yet.
        eventually("the agent ends", LONG, || {
            for pid in self.lab.pids_of("kube-dhcp") {
                self.kill(pid);
            }
            child.try_wait().unwrap()
        });
    }

    /// `kill -9` of a process, which may be gone already.
    pub fn kill(&self, pid: u32) {
        drop(output(self.lab.command("kill").args(["-s", "KILL", &pid.to_string()])));
    }

    /// Cuts the node off from the API server, or connects it again.
    pub fn connect(&self, up: bool) {
        let state = if up { "up" } else { "down" };
        sh(&format!("ip link set m{} {state}", self.number));
    }

    /// The dnsmasq processes that run, as the node counts them.
    pub fn servers(&self) -> Vec<u32> {
        // Not one that is only asked for its version.
        let state = self.state().display().to_string();
        let serves = |pid: &u32| {
            let argv = self.lab.read(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&argv).contains(&state)
        };
        self.lab.pids_of("dnsmasq").into_iter().filter(serves).collect()
    }

    /// Its disk has no room left, or all that the agent does not use.
    pub fn fill_disk(&self, full: bool) {
        let filler = self.disk.0.path().join("filler");
        if !full {
            std::fs::remove_file(filler).unwrap();
            return;
        }
        let mut filler = File::create(filler).unwrap();
        let written = std::io::copy(&mut std::io::repeat(0), &mut filler);
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    /// How the agent ended, if it did so by itself.
    pub fn agent_ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().unwrap()
    }
}

/// As `RUST_LOG` says; for a person who looks for a mistake.
pub(super) fn log_level(command: &mut Command) {
    match std::env::var("KUBE_DHCP_TEST_LOG") {
        Ok(level) => command.env("RUST_LOG", level),
        Err(_) => command.env_remove("RUST_LOG"),
    };
}
