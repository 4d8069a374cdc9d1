//! dnsmasq's log: the lines it did not take, what it says of guests, and what people should read.
//!
//! Called by `host` after a change was read, so that a port counts as served only when its line was
//! accepted, and when more is in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::leases::is_hex;
use crate::types::MacAddr;

/// A line of a file that dnsmasq refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Path as on the command line, with the file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// dnsmasq's words.
    pub message: String,
}

/// The refusals in a piece of log: `… dnsmasq[7]: <message> at line 3 of /path`, where `is_ours` knows
/// the path. Only those of the first time that a file was read: a file that somebody else still had open
/// when it was put in its place is read again when that one closes it, and then its own lines seem to
/// stand against it.
///
/// Guests write into this log, too: what they say stands behind `dnsmasq-dhcp[7]: DHCP…`, never where
/// these messages begin.
pub fn refusals(log: &str, is_ours: impl Fn(&str) -> bool) -> Vec<Refusal> {
    let mut read: BTreeMap<&str, usize> = BTreeMap::new();
    let mut refusals = Vec::new();
    for (program, message) in log.lines().filter_map(parts) {
        match (program, message.strip_prefix("read ")) {
            ("dnsmasq-dhcp", Some(file)) => *read.entry(file).or_default() += 1,
            ("dnsmasq", None) => refusals
                .extend(refusal(message).filter(|r| {
                    is_ours(&r.file) && read.get(r.file.as_str()).is_none_or(|times| *times < 2)
                })),
            _ => {}
        }
    }
    refusals
}

/// What a piece of log says of a file or directory of ours that cannot be read or watched: dnsmasq runs all
/// the same, and serves nobody of what is in it.
pub fn unread(log: &str, is_ours: impl Fn(&str) -> bool) -> Option<String> {
    const WORDS: [&str; 3] = ["failed to create inotify for ", "bad dynamic directory ", "cannot read "];
    let is_it = |message: &&str| {
        let path = WORDS.iter().find_map(|words| message.strip_prefix(words));
        path.and_then(|rest| rest.split_once(": ")).is_some_and(|(path, _)| is_ours(path))
    };
    let said = log.lines().filter_map(parts).filter(|(program, _)| program.starts_with("dnsmasq"));
    said.map(|(_, message)| message).find(is_it).map(str::to_owned)
}

/// The clients of DHCPv6, by their identifiers in hex with colons, that a piece of log says got no address
/// because all of theirs are leased.
pub fn without_address(log: &str) -> BTreeSet<String> {
    let said = dhcp_messages(log).filter_map(|message| {
        let advertised = message.strip_suffix(" no addresses available")?.strip_prefix("DHCPADVERTISE(")?;
        let (_, duid) = advertised.split_once(") ")?;
        is_hex(duid).then(|| duid.to_owned())
    });
    said.collect()
}

/// The addresses that a piece of log says are not given for some time because their guests declined them;
/// and by which device, which only DHCPv4 tells.
pub fn declined(log: &str) -> BTreeMap<IpAddr, Option<MacAddr>> {
    let (mut by, mut declined) = (BTreeMap::new(), BTreeMap::new());
    for message in dhcp_messages(log) {
        let disabled = message.strip_prefix("disabling DHCP static address ");
        let disabled = disabled.and_then(|rest| rest.split_once(" for ")?.0.parse::<IpAddr>().ok());
        declined.extend(disabled.map(|ip| (ip, by.get(&ip).copied())));
        by.extend(decliner(message));
    }
    declined
}

/// `DHCPDECLINE(dhcp0) 10.0.0.5 02:00:00:00:00:01 ` and what the guest says.
fn decliner(message: &str) -> Option<(IpAddr, MacAddr)> {
    let (_, rest) = message.strip_prefix("DHCPDECLINE(")?.split_once(") ")?;
    let mut words = rest.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// A message of dnsmasq's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which part of it says so: `dnsmasq`, `dnsmasq-dhcp`, …
    pub program: String,
    /// Its words; guests' may be among them.
    pub text: String,
    /// What it says when all is well, or whenever a guest likes.
    pub is_routine: bool,
}

/// What a piece of log says.
pub fn messages(log: &str) -> Vec<Message> {
    let message = |(program, text): (&str, &str)| Message {
        program: program.to_owned(),
        text: text.to_owned(),
        is_routine: ROUTINE.iter().any(|start| text.starts_with(start)),
    };
    log.lines().filter_map(parts).map(message).collect()
}

/// How such messages begin: of a start, of files that were read, of packets, and of an end that it was told.
const ROUTINE: [&str; 15] = [
    "started, version ",
    "compile time options: ",
    "using ",
    "read ",
    "inotify: ",
    "cleared cache",
    "exiting on receipt of SIGTERM",
    "DHCP",
    "IPv6 router advertisement enabled",
    "router advertisement on ",
    "RTR-",
    "SLAAC-CONFIRM",
    "asynchronous logging ",
    "disabling DHCP static address ",
    "ignoring nameserver ",
];

fn dhcp_messages(log: &str) -> impl Iterator<Item = &str> {
    let said = log.lines().filter_map(parts);
    said.filter(|(program, _)| *program == "dnsmasq-dhcp").map(|(_, message)| message)
}

/// Who says what: `Nov 23 08:00:00 dnsmasq[7]: message`.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (head, message) = line.split_once("]: ")?;
    let (program, _pid) = head.rsplit(' ').next()?.split_once('[')?;
    Some((program, message))
}

fn refusal(message: &str) -> Option<Refusal> {
    let (message, tail) = message.rsplit_once(" at line ")?;
    let (number, file) = tail.split_once(" of ")?;
    Some(Refusal { file: file.to_owned(), line: number.parse().ok()?, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_line_is_found_by_file_and_number() {
        let log = "Nov 23 08:00:00 dnsmasq-dhcp[7]: read /s/hosts/base\n\
                   Nov 23 08:00:00 dnsmasq[7]: duplicate dhcp-host IP address 10.0.0.5 at line 3 of /s/hosts/base\n";
        let expected = Refusal {
            file: "/s/hosts/base".into(),
            line: 3,
            message: "duplicate dhcp-host IP address 10.0.0.5".into(),
        };
        assert_eq!(refusals(log, |_| true), [expected]);
        assert_eq!(refusals(log, |_| false), []);
    }

    #[test]
    fn a_file_that_is_read_twice_refuses_nothing_the_second_time() {
        let log = "a dnsmasq-dhcp[7]: read /s/hosts/add-000001\n\
                   a dnsmasq-dhcp[7]: read /s/hosts/add-000001\n\
                   a dnsmasq[7]: duplicate dhcp-host IP address 10.0.0.5 at line 1 of /s/hosts/add-000001\n";
        assert_eq!(refusals(log, |_| true), []);
    }

    #[test]
    fn what_cannot_be_read_of_ours_is_told() {
        let line = |said: &str| format!("Nov 23 08:00:00 dnsmasq[7]: {said}\n");
        let unread = |said: &str| unread(&line(said), |path| path.starts_with("/s/"));
        for said in [
            "failed to create inotify for /s/hosts: No space left on device",
            "bad dynamic directory /s/hosts: Permission denied",
            "cannot read /s/options/base: Permission denied",
        ] {
            assert_eq!(unread(said).as_deref(), Some(said));
        }
        assert_eq!(unread("cannot read /etc/ethers: No such file or directory"), None);
        let guest = "Nov 23 08:00:00 dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) cannot read /s/hosts: x\n";
        assert_eq!(super::unread(guest, |_| true), None);
    }

    #[test]
    fn a_client_without_an_address_is_named_once_and_only_by_dnsmasq() {
        let log = "a dnsmasq-dhcp[7]: DHCPADVERTISE(dhcp0) 00:04:09 no addresses available\n\
                   a dnsmasq-dhcp[7]: DHCPADVERTISE(dhcp0) 00:04:09 no addresses available\n\
                   a dnsmasq-dhcp[7]: DHCPADVERTISE(dhcp0) 00:04:xx no addresses available\n\
                   a dnsmasq-dhcp[7]: DHCPADVERTISE(dhcp0) 2001:db8::1 00:04:07\n\
                   a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.7 02:00:00:00:00:01 DHCPADVERTISE(dhcp0) 00:04:08 no addresses available\n\
                   a dnsmasq[7]: DHCPADVERTISE(dhcp0) 00:04:08 no addresses available\n";
        assert_eq!(without_address(log), BTreeSet::from(["00:04:09".to_owned()]));
    }

    #[test]
    fn a_declined_address_is_named_by_dnsmasq_only() {
        let log = "a dnsmasq-dhcp[7]: disabling DHCP static address 10.0.0.7 for 10m\n\
                   a dnsmasq-dhcp[7]: disabling DHCP static address 2001:db8::7 for 10m\n\
                   a dnsmasq-dhcp[7]: disabling DHCP static address 10.0.0.300 for 10m\n\
                   a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.7 02:00:00:00:00:01 disabling DHCP static address 10.0.0.8 for 10m\n\
                   a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.7 02:00:00:00:00:01 ]: disabling DHCP static address 10.0.0.9 for 10m\n";
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(declined(log), BTreeMap::from([(ip("10.0.0.7"), None), (ip("2001:db8::7"), None)]));
        let by =
            "a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.7 02:00:00:00:00:01 10.0.0.8 02:00:00:00:00:02\n";
        let mac = "02:00:00:00:00:01".parse().ok();
        assert_eq!(declined(&(by.to_owned() + log)).get(&ip("10.0.0.7")), Some(&mac));
    }

    #[test]
    fn what_people_should_read_is_no_routine() {
        let log = "Nov 23 08:00:00 dnsmasq[7]: started, version 2.90 cachesize 150\n\
                   Nov 23 08:00:00 dnsmasq-dhcp[7]: DHCP, static leases only on 10.0.0.0, lease time 1d\n\
                   Nov 23 08:00:00 dnsmasq-dhcp[7]: read /s/hosts/base\n\
                   Nov 23 08:00:01 dnsmasq[7]: Maximum number of concurrent DNS queries reached (max: 150)\n\
                   no line of dnsmasq's\n";
        let said = messages(log);
        assert_eq!(said.iter().map(|m| m.is_routine).collect::<Vec<_>>(), [true, true, true, false]);
        let text = "Maximum number of concurrent DNS queries reached (max: 150)".to_owned();
        assert_eq!(said[3], Message { program: "dnsmasq".to_owned(), text, is_routine: false });
    }

    #[test]
    fn a_guest_cannot_speak_for_dnsmasq() {
        let log = "a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.77 02:00:00:00:00:01  at line 1 of /s/hosts/base\n\
                   a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.77 02:00:00:00:00:01 dnsmasq[7]: x at line 1 of /s/hosts/base\n\
                   a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.77 02:00:00:00:00:01 ]: read /s/hosts/base\n\
                   a dnsmasq-dhcp[7]: DHCPDECLINE(dhcp0) 10.0.0.77 02:00:00:00:00:01 ]: read /s/hosts/base\n";
        assert_eq!(refusals(log, |_| true), []);
        let real = log.to_owned() + "a dnsmasq[7]: bad hex constant at line 2 of /s/hosts/base\n";
        assert_eq!(refusals(&real, |_| true).len(), 1);
    }
}
