//! One node of a site.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{BIN, log_level};
use crate::inside::sh;
use crate::lab::{Lab, spawn};

/// A node: a machine, and the agent on it.
pub struct Node {
    pub name: String,
    pub lab: Lab,
    pub kubeconfig: PathBuf,
    pub(super) number: usize,
    pub(super) agents: usize,
    pub(super) child: Option<Child>,
    /// Survives the machine, as a disk does.
    pub(super) disk: TempDir,
    pub(super) flags: Vec<String>,
}

impl Node {
    pub(super) fn start_agent(&mut self, logs: &std::path::Path, flags: &[&str]) {
        self.agents += 1;
        let log = File::create(logs.join(format!("agent-{}-{}.log", self.name, self.agents))).unwrap();
        let mut command = self.lab.command(BIN);
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
        let done = crate::lab::output(command.args(["status", "-o", "json", "--state-dir"]).arg(state));
        serde_json::from_slice(&done.stdout).unwrap_or_default()
    }

    /// The same as a person reads it.
    pub fn status_text(&self) -> String {
        let mut command = self.lab.command(BIN);
        let done = crate::lab::output(command.args(["status", "--state-dir"]).arg(self.state()));
        String::from_utf8(done.stdout).unwrap()
    }

    pub fn state(&self) -> PathBuf {
        self.disk.path().join("state")
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
        crate::lab::eventually("the copy has the Port", super::LONG, copied);
    }

    /// `kill -9` of the agent alone; what it runs goes on.
    pub fn kill_agent(&mut self) {
        for pid in self.lab.pids_of("kube-dhcp") {
            self.lab.signal("KILL", pid);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
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
}
