//! What one dnsmasq runs with and has in memory, and what each action does to that.
//!
//! dnsmasq reads a file of a watched directory once and keeps every line of it until it ends. So the
//! directories are journals: a first file read at the start, then numbered additions, none of them
//! ever changed or removed while the process lives. What is in them is what it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::argv::dynamic_ranges;
use super::host::{Client, Host, HostChange};
use super::rights::Rights;
use super::{OptionKey, OptionSet};
use crate::node::Family;
use crate::types::{DomainName, HostName, Identifier, IpRange, MacAddr};

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
    pub names: BTreeMap<IpAddr, Vec<DomainName>>,
    /// The leases it holds.
    pub leases: BTreeMap<IpAddr, Lease>,
}

/// A running dnsmasq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its command line, the program's name first.
    pub argv: Vec<String>,
    /// Whether it runs today's binary, in its network's namespace.
    pub current: bool,
}

/// The hosts' journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Who is answered, and how.
    pub entries: BTreeMap<Client, Host>,
    /// IPv4 addresses that a line already had: in a later line dnsmasq refuses them.
    pub spent: BTreeSet<IpAddr>,
    /// Names that a line of IPv6 had: it takes an IPv4 address that stands beside its name in the names'
    /// file, unless a line has that one already.
    pub takers: BTreeSet<DomainName>,
    /// Who is not answered, even if strangers are.
    pub silent: BTreeSet<Client>,
    /// How many lines were read.
    pub lines: usize,
    /// Not what we wrote: somebody else's file, a gap, a line that is not ours.
    pub foreign: bool,
}

impl Hosts {
    /// A journal of one file with just these entries.
    pub fn fresh(entries: BTreeMap<Client, Host>) -> Self {
        let spent = entries.values().filter_map(Host::ipv4).collect();
        let takers = entries.values().filter_map(Host::taker).collect();
        Self { lines: entries.len(), takers, entries, spent, ..Self::default() }
    }

    /// The same, in which lines say of others that they are not answered.
    #[must_use]
    pub fn and_silent(self, silent: BTreeSet<Client>) -> Self {
        Self { lines: self.lines + silent.len(), silent, ..self }
    }

    /// Takes a line in, as dnsmasq does: one with a spent address changes nothing.
    pub fn read(&mut self, change: &HostChange) {
        self.lines += 1;
        match change {
            HostChange::Set(client, host) => {
                self.takers.extend(host.taker());
                if host.ipv4().is_some_and(|ip| !self.spent.insert(ip)) {
                    return;
                }
                self.silent.remove(client);
                self.entries.insert(client.clone(), host.clone());
            }
            HostChange::Gone(client) => {
                self.entries.remove(client);
                self.silent.insert(client.clone());
            }
        }
    }

    /// The lines that lead to `wanted`, removals first, and whether something is left that only a
    /// fresh process takes, while it answers for `names`, and strangers if it is `open`.
    pub fn changes_to(
        &self,
        wanted: &Self,
        names: &BTreeMap<IpAddr, Vec<DomainName>>,
        open: bool,
    ) -> (Vec<HostChange>, bool) {
        let removed = self.entries.keys().filter(|client| !wanted.entries.contains_key(client));
        let gone: BTreeSet<_> = removed.chain(wanted.silent.difference(&self.silent)).cloned().collect();
        let mut changes: Vec<_> = gone.iter().cloned().map(HostChange::Gone).collect();
        // Who is a stranger now cannot be told apart from who is not answered; and whoever calls himself as
        // one that is not answered is not looked for by his MAC address.
        let is_in_the_way = |client: &Client| (open && client.1 == Family::V4) || client.0.mac().is_none();
        let hidden = self.left(wanted).any(is_in_the_way);
        let lines = wanted.entries.len() + wanted.silent.len();
        let wanted = &wanted.entries;
        let mut stuck = self.foreign || self.lines > 2 * lines + Self::SPARE_LINES || hidden;
        let mut new = BTreeSet::new();
        for (client, host) in wanted.iter().filter(|(client, host)| self.entries.get(client) != Some(host)) {
            let lost = |ip| self.spent.contains(&ip) || self.is_taken(ip, names) || !new.insert(ip);
            if host.ip().is_some_and(lost) {
                stuck = true;
                // The old line would go on answering with the old address.
                if self.entries.get(client).is_some_and(|old| old.ip() != host.ip()) {
                    changes.push(HostChange::Gone(client.clone()));
                }
            } else {
                changes.push(HostChange::Set(client.clone(), host.clone()));
            }
        }
        (changes, stuck)
    }

    /// Whom a line is about, and none of what is `wanted`.
    pub fn left(&self, wanted: &Self) -> impl Iterator<Item = &Client> {
        let all = self.entries.keys().chain(&self.silent);
        all.filter(|client| !wanted.entries.contains_key(client) && !wanted.silent.contains(client))
    }

    fn is_taken(&self, ip: IpAddr, names: &BTreeMap<IpAddr, Vec<DomainName>>) -> bool {
        ip.is_ipv4()
            && names.get(&ip).is_some_and(|names| names.iter().any(|name| self.takers.contains(name)))
    }

    /// Dead lines that a process may carry before it is worth starting a fresh one: looking up a host
    /// is linear in them.
    pub(super) const SPARE_LINES: usize = 4_000;
}

/// A lease that dnsmasq holds, by what its holder is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Lease {
    /// Of DHCPv4.
    V4 {
        /// Of the device that asked last.
        mac: MacAddr,
        /// What it called itself.
        client_id: Option<Identifier>,
    },
    /// Of DHCPv6: the file has no MAC address.
    V6 {
        /// Client identifier, in hex with colons.
        duid: String,
        /// Identity association.
        iaid: u32,
        /// The name of the host's line that it was given by.
        name: Option<HostName>,
    },
}

/// The files that a process reads when it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Whom to answer.
    pub hosts: BTreeMap<Client, Host>,
    /// Whom not to answer.
    pub silent: BTreeSet<Client>,
    /// Addresses that others may have.
    pub dynamic: Vec<IpRange>,
    /// With what.
    pub options: BTreeMap<OptionKey, String>,
    /// Names by address.
    pub names: BTreeMap<IpAddr, Vec<DomainName>>,
}

/// One step for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// See whether there is room for so many bytes: who serves is not ended for files that cannot be written.
    Reserve(u64),
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
    WriteNames(BTreeMap<IpAddr, Vec<DomainName>>),
    /// Give a lease back in its holder's place.
    Release(IpAddr, Lease),
    /// With no process: remove all files.
    Remove,
}

impl Action {
    /// A short name, for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Reserve(_) => "reserve-room",
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
            Self::Reserve(bytes) => write!(f, "see whether the disk has {} KiB", bytes.div_ceil(1024)),
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
            Self::Release(ip, Lease::V4 { mac, .. }) => write!(f, "release the lease of {ip} held by {mac}"),
            Self::Release(ip, Lease::V6 { duid, .. }) => {
                write!(f, "release the lease of {ip} held by the client {duid}")
            }
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
        Action::Release(ip, _) => {
            server.leases.remove(ip);
        }
        Action::Reserve(_) | Action::Remove => {}
    }
}

impl Server {
    fn prepare(&mut self, files: &Files) {
        let before = Rights::new(&self.hosts.entries, Vec::new());
        let rights = Rights::new(&files.hosts, files.dynamic.clone());
        self.leases.retain(|ip, lease| rights.has(*ip, lease) && !rights.took(*ip, &before));
        self.hosts = Hosts::fresh(files.hosts.clone()).and_silent(files.silent.clone());
        self.options = OptionSet::fresh(files.options.clone());
        self.names.clone_from(&files.names);
    }

    /// Who may have which address.
    pub fn rights(&self) -> Rights<'_> {
        Rights::new(&self.hosts.entries, self.dynamic())
    }

    /// Addresses that it gives to strangers.
    pub(super) fn dynamic(&self) -> Vec<IpRange> {
        self.process.as_ref().map(|process| dynamic_ranges(&process.argv)).unwrap_or_default()
    }

    /// The leases that their holders have no right to, or no longer, once it knows of these hosts.
    pub fn stale_leases(&self, hosts: &Hosts) -> impl Iterator<Item = (IpAddr, &Lease)> {
        let rights = Rights::new(&hosts.entries, self.dynamic());
        self.leases.iter().filter(move |(ip, lease)| !rights.has(**ip, lease)).map(|(ip, lease)| (*ip, lease))
    }
}

/// Of the leases of a server with these hosts those whose address becomes another MAC address's by
/// `changes`: its new owner would get nothing as long as they are there, and by their name they may be its
/// own.
pub fn moved_leases(
    hosts: &Hosts,
    changes: &[HostChange],
    leases: BTreeMap<IpAddr, Lease>,
) -> BTreeMap<IpAddr, Lease> {
    let mut after = hosts.clone();
    for change in changes {
        after.read(change);
    }
    let of = |hosts| Rights::new(hosts, Vec::new());
    let (before, rights) = (of(&hosts.entries), of(&after.entries));
    leases.into_iter().filter(|(ip, _)| rights.took(*ip, &before)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Offer;
    use crate::types::Identity;

    #[test]
    fn a_lease_moves_with_its_address_to_another_mac_and_with_no_other_change() {
        let mac = |n| MacAddr::local([0, 0, 0, 0, n]);
        let ip: IpAddr = "2001:db8::5".parse().unwrap();
        let host = |name: &str| {
            let offer = Offer { ip, more: Vec::new(), name: name.parse().unwrap() };
            Host { offer: Some(offer), tag: "p".into() }
        };
        let client = |n| (mac(n).into(), Family::V6);
        let hosts = Hosts::fresh(BTreeMap::from([(client(1), host("a"))]));
        let lease = Lease::V6 { duid: "00:03".into(), iaid: 1, name: Some("a".parse().unwrap()) };
        let moved = |changes: &[HostChange]| {
            !moved_leases(&hosts, changes, BTreeMap::from([(ip, lease.clone())])).is_empty()
        };
        assert!(moved(&[HostChange::Gone(client(1)), HostChange::Set(client(2), host("a"))]));
        assert!(!moved(&[HostChange::Set(client(1), host("b"))]));
        assert!(!moved(&[HostChange::Gone(client(1))]));
        let duid = (Identity::duid("00:03:0a").unwrap(), Family::V6);
        assert!(moved(&[HostChange::Gone(client(1)), HostChange::Set(duid, host("a"))]));
    }

    #[test]
    fn an_identifier_that_is_taken_away_stands_in_the_way_until_a_fresh_process() {
        let client = |identity: &str| match identity.parse::<MacAddr>() {
            Ok(mac) => (mac.into(), Family::V4),
            Err(_) => (Identity::client_id(identity).unwrap(), Family::V4),
        };
        for (identity, stuck) in [("02:00:00:00:00:01", false), ("01:02:03", true)] {
            let client = client(identity);
            let host = Host { offer: None, tag: "p".into() };
            let hosts = Hosts::fresh(BTreeMap::from([(client.clone(), host.clone())]));
            let (changes, found) = hosts.changes_to(&Hosts::default(), &BTreeMap::new(), false);
            assert_eq!((changes, found), (vec![HostChange::Gone(client.clone())], stuck), "{identity}");
            let silent = Hosts::default().and_silent(BTreeSet::from([client.clone()]));
            assert_eq!(silent.changes_to(&Hosts::default(), &BTreeMap::new(), false).1, stuck);
            assert!(!silent.changes_to(&silent, &BTreeMap::new(), true).1, "it is to be silent");
        }
    }
}
