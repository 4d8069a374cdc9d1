//! What one dnsmasq runs with and has in memory, and what each action does to that.
//!
//! dnsmasq reads a file of a watched directory once and keeps every line of it until it ends. So the
//! directories are journals: a first file read at the start, then numbered additions, none of them
//! ever changed or removed while the process lives. What is in them is what it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::types::{DomainName, HostName, MacAddr};

/// One dnsmasq, its files and its process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The running process.
    pub process: Option<Process>,
    /// What it knows of hosts.
    pub hosts: Hosts,
    /// What it knows of options.
    pub options: OptionSet,
    /// The names it answers for, the first of each address in reverse look-ups.
    pub names: BTreeMap<Ipv4Addr, Vec<DomainName>>,
    /// The leases it holds.
    pub leases: BTreeMap<Ipv4Addr, MacAddr>,
}

/// A running dnsmasq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its command line, the program's name first.
    pub argv: Vec<String>,
    /// Whether it runs today's binary, in its network's namespace.
    pub current: bool,
}

/// A port as dnsmasq knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its only address.
    pub ip: Ipv4Addr,
    /// Option 12, and its name while it has a lease.
    pub name: HostName,
    /// The tag by which its options are chosen.
    pub tag: String,
}

/// A line for the hosts' directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChange {
    /// From now on answer this MAC so.
    Set(MacAddr, Host),
    /// From now on do not answer this MAC.
    Gone(MacAddr),
}

impl HostChange {
    /// Whom it is about.
    pub fn mac(&self) -> MacAddr {
        match self {
            Self::Set(mac, _) | Self::Gone(mac) => *mac,
        }
    }
}

/// The hosts' journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Who is answered, and how.
    pub entries: BTreeMap<MacAddr, Host>,
    /// Addresses that a line already had: in a later line dnsmasq refuses them.
    pub spent: BTreeSet<Ipv4Addr>,
    /// How many lines were read.
    pub lines: usize,
    /// Not what we wrote: somebody else's file, a gap, a line that is not ours.
    pub foreign: bool,
}

impl Hosts {
    /// A journal of one file with just these entries.
    pub fn fresh(entries: BTreeMap<MacAddr, Host>) -> Self {
        let spent = entries.values().map(|host| host.ip).collect();
        Self { lines: entries.len(), entries, spent, foreign: false }
    }

    /// Takes a line in, as dnsmasq does: one with a spent address changes nothing.
    pub fn read(&mut self, change: &HostChange) {
        self.lines += 1;
        match change {
            HostChange::Set(mac, host) => {
                if self.spent.insert(host.ip) {
                    self.entries.insert(*mac, host.clone());
                }
            }
            HostChange::Gone(mac) => {
                self.entries.remove(mac);
            }
        }
    }

    /// The lines that lead to `wanted`, removals first, and whether something is left that only a
    /// fresh process takes.
    pub fn changes_to(&self, wanted: &BTreeMap<MacAddr, Host>) -> (Vec<HostChange>, bool) {
        let gone = self.entries.keys().filter(|mac| !wanted.contains_key(mac));
        let mut changes: Vec<_> = gone.map(|mac| HostChange::Gone(*mac)).collect();
        let mut stuck = self.foreign || self.lines > 2 * wanted.len() + Self::SPARE_LINES;
        let mut new = BTreeSet::new();
        for (mac, host) in wanted.iter().filter(|(mac, host)| self.entries.get(mac) != Some(host)) {
            if self.spent.contains(&host.ip) || !new.insert(host.ip) {
                stuck = true;
                // The old line would go on answering with the old address.
                if self.entries.get(mac).is_some_and(|old| old.ip != host.ip) {
                    changes.push(HostChange::Gone(*mac));
                }
            } else {
                changes.push(HostChange::Set(*mac, host.clone()));
            }
        }
        (changes, stuck)
    }

    /// Dead lines that a process may carry before it is worth starting a fresh one: looking up a host
    /// is linear in them.
    const SPARE_LINES: usize = 4_000;
}

/// Which option, for whom: a tag and a code.
pub type OptionKey = (String, u8);

/// The options' journal: each value as it is written. A later line wins; none can be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionSet {
    /// What is in force.
    pub values: BTreeMap<OptionKey, String>,
    /// How many lines were read.
    pub lines: usize,
    /// Not what we wrote.
    pub foreign: bool,
}

impl OptionSet {
    /// A journal of one file with just these values.
    pub fn fresh(values: BTreeMap<OptionKey, String>) -> Self {
        Self { lines: values.len(), values, foreign: false }
    }

    /// Takes lines in.
    pub fn read(&mut self, added: &BTreeMap<OptionKey, String>) {
        self.lines += added.len();
        self.values.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// The lines that lead to `wanted`, and whether a value would have to be taken back. Values for
    /// ports that are gone stay: nobody has their tag.
    pub fn changes_to(
        &self,
        wanted: &BTreeMap<OptionKey, String>,
        tags: &BTreeSet<&str>,
    ) -> (BTreeMap<OptionKey, String>, bool) {
        let differing = wanted.iter().filter(|(key, value)| self.values.get(*key) != Some(value));
        let changes = differing.map(|(key, value)| (key.clone(), value.clone())).collect();
        let in_use = |key: &&OptionKey| tags.contains(key.0.as_str()) && !wanted.contains_key(*key);
        let many = self.lines > 2 * wanted.len() + Hosts::SPARE_LINES;
        let stuck = self.foreign || many || self.values.keys().any(|key| in_use(&key));
        (changes, stuck)
    }
}

/// The files that a process reads when it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Whom to answer.
    pub hosts: BTreeMap<MacAddr, Host>,
    /// With what.
    pub options: BTreeMap<OptionKey, String>,
    /// Names by address.
    pub names: BTreeMap<Ipv4Addr, Vec<DomainName>>,
}

/// One step for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End the process.
    Stop,
    /// With no process: write all files anew, keep of the lease file what still holds.
    Prepare(Files),
    /// Start the process with this command line.
    Start(Vec<String>),
    /// Add lines to the options.
    AddOptions(BTreeMap<OptionKey, String>),
    /// Add lines to the hosts.
    AddHosts(Vec<HostChange>),
    /// Write the names anew.
    WriteNames(BTreeMap<Ipv4Addr, Vec<DomainName>>),
    /// Give a lease back in its holder's place.
    Release(MacAddr, Ipv4Addr),
    /// With no process: remove all files.
    Remove,
}

impl Action {
    /// A short name, for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stop => "stop-dnsmasq",
            Self::Prepare(_) => "prepare-dnsmasq",
            Self::Start(_) => "start-dnsmasq",
            Self::AddOptions(_) => "add-options",
            Self::AddHosts(_) => "add-hosts",
            Self::WriteNames(_) => "write-names",
            Self::Release(..) => "release-lease",
            Self::Remove => "remove-files",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => write!(f, "stop dnsmasq"),
            Self::Prepare(files) => {
                let (hosts, names) = (files.hosts.len(), files.names.len());
                write!(
                    f,
                    "write dnsmasq's files: {hosts} hosts, {} options, {names} names",
                    files.options.len()
                )
            }
            Self::Start(_) => write!(f, "start dnsmasq"),
            Self::AddOptions(options) => write!(f, "add {} options", options.len()),
            Self::AddHosts(changes) => {
                let gone = changes.iter().filter(|c| matches!(c, HostChange::Gone(_))).count();
                write!(f, "answer {} hosts anew, {gone} no longer", changes.len() - gone)
            }
            Self::WriteNames(names) => write!(f, "write the names of {} addresses", names.len()),
            Self::Release(mac, ip) => write!(f, "release the lease of {ip} held by {mac}"),
            Self::Remove => write!(f, "remove dnsmasq's files"),
        }
    }
}

/// What `action` does to a server when it succeeds.
pub fn record(server: &mut Option<Server>, action: &Action) {
    if *action == Action::Remove {
        *server = None;
        return;
    }
    let server = server.get_or_insert_default();
    match action {
        Action::Stop => server.process = None,
        Action::Prepare(files) => server.prepare(files),
        Action::Start(argv) => server.process = Some(Process { argv: argv.clone(), current: true }),
        Action::AddOptions(added) => server.options.read(added),
        Action::AddHosts(changes) => changes.iter().for_each(|change| server.hosts.read(change)),
        Action::WriteNames(names) => server.names.clone_from(names),
        Action::Release(_, ip) => {
            server.leases.remove(ip);
        }
        Action::Remove => {}
    }
}

impl Server {
    fn prepare(&mut self, files: &Files) {
        self.hosts = Hosts::fresh(files.hosts.clone());
        self.options = OptionSet::fresh(files.options.clone());
        self.names.clone_from(&files.names);
        let hosts = &self.hosts;
        self.leases.retain(|ip, mac| hosts.entries.get(mac).is_some_and(|host| host.ip == *ip));
    }

    /// The leases that their holders no longer have a right to.
    pub fn stale_leases(&self) -> impl Iterator<Item = (MacAddr, Ipv4Addr)> {
        let stale = |(ip, mac): &(&Ipv4Addr, &MacAddr)| {
            self.hosts.entries.get(mac).is_none_or(|host| host.ip != **ip)
        };
        self.leases.iter().filter(stale).map(|(ip, mac)| (*mac, *ip))
    }
}
