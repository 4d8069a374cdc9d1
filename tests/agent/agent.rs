//! A running agent: its flags, its log line by line, its end.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::lab::{PATIENCE, eventually, spawn};
use crate::site::{BIN, LONG, Site};

const LOCK: &str = "/run/kube-dhcp/agent.lock";

/// An agent that is to be started.
#[derive(Clone)]
pub struct Launch<'s> {
    site: &'s Site,
    physical: Vec<String>,
    create_bridges: bool,
    node: Vec<String>,
    more: Vec<String>,
    before: Vec<String>,
    log: Option<String>,
    environment: Vec<(String, String)>,
}

impl<'s> Launch<'s> {
    pub fn new(site: &'s Site) -> Self {
        Self {
            site,
            physical: vec!["lan=bridge:br0".into()],
            create_bridges: true,
            node: Vec::new(),
            more: Vec::new(),
            before: Vec::new(),
            log: None,
            environment: Vec::new(),
        }
    }

    /// Instead of `lan=bridge:br0`.
    pub fn physical(mut self, mappings: &[&str]) -> Self {
        self.physical = mappings.iter().map(|m| (*m).to_owned()).collect();
        self
    }

    pub fn no_bridges(mut self) -> Self {
        self.create_bridges = false;
        self
    }

    /// Flags that `plan` has, too.
    pub fn node(mut self, flags: &[&str]) -> Self {
        self.node.extend(flags.iter().map(|f| (*f).to_owned()));
        self
    }

    /// Flags that only `agent` has.
    pub fn more(mut self, flags: &[&str]) -> Self {
        self.more.extend(flags.iter().map(|f| (*f).to_owned()));
        self
    }

    /// A program that starts it, such as strace.
    pub fn before(mut self, command: &[&str]) -> Self {
        self.before = command.iter().map(|c| (*c).to_owned()).collect();
        self
    }

    /// Its log goes to this file, and is not read.
    pub fn log_to(mut self, path: &str) -> Self {
        self.log = Some(path.to_owned());
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The arguments for a subcommand that looks at a node.
    pub fn arguments(&self, subcommand: &'s str) -> Vec<&str> {
        let mut list = vec![subcommand, "--manifests", self.site.manifests.to_str().unwrap()];
        list.extend(["--state-dir", self.site.state.to_str().unwrap(), "--node-name", "node-1"]);
        list.extend(self.physical.iter().flat_map(|mapping| ["--physical-network", mapping]));
        list.extend(self.create_bridges.then_some("--create-bridges"));
        list.extend(self.node.iter().map(String::as_str));
        list
    }

    pub fn start(&self) -> Agent<'s> {
        let program: Vec<&str> = self.before.iter().map(String::as_str).chain([BIN]).collect();
        let mut command = self.site.lab.command(program[0]);
        command.args(&program[1..]).args(self.arguments("agent")).args(["--log-format", "json"]);
        command.args(&self.more).env_remove("RUST_LOG").stdout(Stdio::null()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(path) = &self.log {
            command.stderr(std::fs::File::options().append(true).open(path).unwrap());
        }
        let mut child = spawn(&mut command);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let reader = child.stderr.take().map(|stderr| read_lines(stderr, lines.clone()));
        Agent { site: self.site, child, lines, reader }
    }

    /// Started, and every network of the start attempted to its end.
    pub fn start_ready(&self) -> Agent<'s> {
        let mut agent = self.start();
        let mut alive = true;
        eventually("the agent is ready", LONG, || {
            alive = agent.exited().is_none();
            (!alive || self.site.is_ready()).then_some(())
        });
        assert!(alive, "the agent ended");
        agent
    }
}

fn read_lines(stderr: ChildStderr, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

/// An agent in a lab. Dropped while it runs, it is killed; what it started goes on until the lab ends.
pub struct Agent<'s> {
    site: &'s Site,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Agent<'_> {
    /// Its log so far.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The actions it took so far, in its words.
    pub fn actions(&self) -> Vec<String> {
        self.log().iter().filter_map(|line| action(line)).collect()
    }

    pub fn until_logged(&self, part: &str) {
        eventually(&format!("{part:?} is logged"), LONG, || {
            self.log().iter().any(|line| line.contains(part)).then_some(())
        });
    }

    /// Its number in the lab, as it wrote it down itself.
    pub fn pid(&self) -> u32 {
        String::from_utf8(self.site.lab.read(LOCK).unwrap()).unwrap().trim().parse().unwrap()
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; gives its whole log.
    pub fn until_exited(&mut self) -> (ExitStatus, Vec<String>) {
        let status = eventually("the agent ends", LONG, || self.child.try_wait().unwrap());
        // Whatever it started does not have its standard error.
        if let Some(reader) = self.reader.take() {
            eventually("the log ends", PATIENCE, || reader.is_finished().then_some(()));
        }
        (status, self.log())
    }

    /// SIGTERM, and the wait for a good end.
    pub fn stop(mut self) -> Vec<String> {
        self.site.lab.signal("TERM", self.pid());
        let (status, log) = self.until_exited();
        assert!(status.success(), "{status}: {log:#?}");
        log
    }

    /// SIGKILL, and the wait until it is gone.
    pub fn kill9(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        if self.exited().is_none() {
            let pid = self.pid();
            self.site.lab.signal("KILL", pid);
            self.until_exited();
        }
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log().join("\n"));
            return;
        }
        self.kill();
    }
}

/// The words of an action, if the line tells of one: only they have a duration.
fn action(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("milliseconds")?;
    Some(value["message"].as_str()?.to_owned())
}
