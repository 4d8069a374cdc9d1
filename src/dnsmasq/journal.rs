//! The watched directories read back: what a dnsmasq that read them has in memory.
//!
//! Called by `host` when it observes. The first file is [`FIRST`], additions are [`addition`] 1, 2, 3 …
//! in the order they were made. A gap or a foreign file means that nobody knows what dnsmasq read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::kinds::read_filter;
use super::render::{ADVERTISED, DHCPV4, DHCPV6, GONE, IDENTIFIER};
use super::{Host, HostChange, Hosts, OptionKey, OptionSet};
use crate::node::Family;
use crate::service::{Code, Offer};
use crate::types::{Identifier, Identity, MacAddr};

/// The file that is there when dnsmasq starts.
pub const FIRST: &str = "base";

/// The name of the `n`th addition.
pub fn addition(n: usize) -> String {
    format!("add-{n:06}")
}

/// The hosts of a directory: its files by name. Also how many additions there are.
pub fn read_hosts(files: &BTreeMap<String, String>) -> (Hosts, usize) {
    let mut hosts = Hosts::default();
    let additions = read(files, |line| match host_line(line) {
        Some(change) => {
            hosts.read(&change);
            true
        }
        None => false,
    });
    hosts.foreign = additions.is_none();
    (hosts, additions.unwrap_or_default())
}

/// The options of a directory: its files by name. Also how many additions there are.
pub fn read_options(files: &BTreeMap<String, String>) -> (OptionSet, usize) {
    let mut options = OptionSet::default();
    let additions = read(files, |line| match option_line(line) {
        Some((key, value)) => {
            options.read(&BTreeMap::from([(key, value)]));
            true
        }
        None => false,
    });
    options.foreign = additions.is_none();
    (options, additions.unwrap_or_default())
}

/// Takes every line in, in the order of the journal; `None` where something is not ours.
fn read(files: &BTreeMap<String, String>, mut take: impl FnMut(&str) -> bool) -> Option<usize> {
    let additions = files.len().checked_sub(1)?;
    let names = std::iter::once(FIRST.to_owned()).chain((1..=additions).map(addition));
    let mut ours = true;
    for name in names {
        ours &= files.get(&name)?.lines().all(&mut take);
    }
    ours.then_some(additions)
}

fn host_line(line: &str) -> Option<HostChange> {
    let fields: Vec<_> = line.split(',').collect();
    let (who, fields) = fields.split_first()?;
    let (filter, fields) = fields.split_first()?;
    let family = match *filter {
        DHCPV4 => Family::V4,
        DHCPV6 => Family::V6,
        _ => return None,
    };
    let client = (identity(who, family)?, family);
    match (family, fields) {
        (Family::V4, ["ignore"]) => Some(HostChange::Gone(client)),
        (Family::V6, [tag, "ignore"]) if tag.strip_prefix("set:") == Some(GONE) => {
            Some(HostChange::Gone(client))
        }
        (Family::V6, [tag]) => {
            let tag = tag.strip_prefix("set:")?.to_owned();
            Some(HostChange::Set(client, Host { offer: None, tag }))
        }
        (_, [tag, more @ .., ip, name]) => {
            let tag = tag.strip_prefix("set:")?.to_owned();
            let name = name.strip_suffix('.')?.parse().ok()?;
            let more: Option<Vec<_>> = more.iter().rev().map(|ip| address(ip, family)).collect();
            let more = more.filter(|more| family == Family::V6 || more.is_empty())?;
            let offer = Some(Offer { ip: address(ip, family)?, more, name });
            Some(HostChange::Set(client, Host { offer, tag }))
        }
        _ => None,
    }
}

/// Whom a line of the hosts' directory is about; `None`: it is not as we write it.
pub fn identity_of(line: &str) -> Option<Identity> {
    host_line(line).map(|change| change.identity().clone())
}

fn identity(text: &str, family: Family) -> Option<Identity> {
    let Some(identifier) = text.strip_prefix(IDENTIFIER) else {
        return text.parse::<MacAddr>().ok().map(Identity::Mac);
    };
    // One octet alone dnsmasq takes for a text.
    let identifier: Identifier = identifier.parse().ok().filter(|id: &Identifier| id.octets().len() > 1)?;
    Some(match family {
        Family::V4 => Identity::ClientId(identifier),
        Family::V6 => Identity::Duid(identifier),
    })
}

/// In IPv6 with brackets.
fn address(text: &str, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => text.parse().ok().map(IpAddr::V4),
        Family::V6 => text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
    }
}

const OPTION6: &str = "option6:";

fn option_line(line: &str) -> Option<(OptionKey, String)> {
    let (mut tags, mut rest) = (Vec::new(), line);
    while let Some((tag, more)) = rest.strip_prefix("tag:").and_then(|rest| rest.split_once(',')) {
        tags.push(tag);
        rest = more;
    }
    let (tag, filter) = tags.split_first()?;
    let (code, value) = rest.split_once(',').unwrap_or((rest, ""));
    let (code, filter) = match (code.strip_prefix(OPTION6), filter) {
        (Some(code), []) if *tag == ADVERTISED => (Code::V6(code.parse().ok()?), filter),
        (Some(code), [six, filter @ ..])
            if DHCPV6.strip_prefix("tag:") == Some(six) && *tag != ADVERTISED =>
        {
            (Code::V6(code.parse().ok()?), filter)
        }
        (None, _) if *tag != ADVERTISED => (Code::V4(code.parse().ok()?), filter),
        _ => return None,
    };
    Some((OptionKey { tag: (*tag).to_owned(), code, kind: read_filter(filter)? }, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::{hosts_text, options_text};
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn client(mac: u8, family: Family) -> crate::dnsmasq::Client {
        (MacAddr::local([0, 0, 0, 0, mac]).into(), family)
    }

    fn set(mac: u8, ips: &str, name: &str) -> HostChange {
        let mut ips = ips.split(',').map(|ip| ip.parse::<IpAddr>().unwrap());
        let ip = ips.next().unwrap();
        let offer = Offer { ip, more: ips.collect(), name: name.parse().unwrap() };
        HostChange::Set(client(mac, Family::of(ip)), Host { offer: Some(offer), tag: "p1".into() })
    }

    #[test]
    fn a_journal_reads_back_as_it_was_written() {
        let base = vec![set(1, "10.0.0.1", "a"), set(1, "2001:db8::1,2001:db8::2,2001:db8::3", "a")];
        let optioned = HostChange::Set(client(4, Family::V6), Host { offer: None, tag: "s1".into() });
        let (id, duid) = (Identity::client_id("0a:0b").unwrap(), Identity::duid("00:04:0a").unwrap());
        let HostChange::Set(_, host) = set(5, "10.0.0.5", "e") else { panic!("no host") };
        let known = [HostChange::Set((id.clone(), Family::V4), host), HostChange::Gone((duid, Family::V6))];
        let mut more = vec![set(3, "10.0.0.3", "c"), HostChange::Gone(client(1, Family::V6)), optioned];
        more.extend(known);
        let files = files(&[("base", &hosts_text(&base)), ("add-000001", &hosts_text(&more))]);
        let (hosts, additions) = read_hosts(&files);
        let mut expected = Hosts::default();
        base.iter().chain(&more).for_each(|change| expected.read(change));
        assert!(hosts.entries.contains_key(&(id, Family::V4)));
        assert_eq!((hosts, additions), (expected, 1));
    }

    #[test]
    fn a_spent_address_stays_with_its_first_line() {
        let files = files(&[(
            "base",
            &hosts_text(&[set(1, "10.0.0.1", "a"), set(2, "10.0.0.1", "b"), set(1, "10.0.0.1", "c")]),
        )]);
        let (hosts, _) = read_hosts(&files);
        assert_eq!(hosts.entries.len(), 1);
        let offer = hosts.entries[&client(1, Family::V4)].offer.as_ref().unwrap();
        assert_eq!(offer.name.to_string(), "a");
    }

    #[test]
    fn an_address_that_a_line_of_ipv6_took_by_its_name_needs_a_fresh_process() {
        let (hosts, _) = read_hosts(&files(&[("base", &hosts_text(&[set(1, "2001:db8::1", "a")]))]));
        let HostChange::Set(client, host) = set(2, "10.0.0.1", "b") else { panic!("no host") };
        let mut wanted = hosts.clone();
        wanted.entries.insert(client, host);
        for (name, stuck) in [("a", true), ("b", false), ("a.test", false)] {
            let names = BTreeMap::from([([10, 0, 0, 1].into(), vec![name.parse().unwrap()])]);
            let (changes, found) = hosts.changes_to(&wanted, &names, false);
            assert_eq!((changes.is_empty(), found), (stuck, stuck), "{name}");
        }
    }

    #[test]
    fn what_is_not_ours_is_foreign() {
        for case in [
            files(&[]),
            files(&[("add-000001", "")]),
            files(&[("base", ""), ("add-000002", "")]),
            files(&[("base", ""), ("stranger", "")]),
            files(&[("base", "02:00:00:00:00:01,10.0.0.1\n")]),
            files(&[("base", "02:00:00:00:00:01,set:p,10.0.0.1,a.\n")]),
            files(&[("base", "02:00:00:00:00:01,tag:!dhcpv6,set:p,10.0.0.1,10.0.0.2,a.\n")]),
            files(&[("base", "02:00:00:00:00:01,tag:!dhcpv6,set:p,[2001:db8::1],a.\n")]),
            files(&[("base", "02:00:00:00:00:01,tag:dhcpv6,set:p,10.0.0.1,a.\n")]),
            files(&[("base", "02:00:00:00:00:01,tag:!dhcpv6,set:p\n")]),
            files(&[("base", "id:0a:b,tag:!dhcpv6,ignore\n")]),
            files(&[("base", "id:*,tag:!dhcpv6,ignore\n")]),
            files(&[("base", "id:0a,tag:!dhcpv6,ignore\n")]),
        ] {
            assert!(read_hosts(&case).0.foreign, "{case:?}");
        }
    }

    #[test]
    fn options_read_back_and_the_last_line_wins() {
        let key = |code| OptionKey::plain("s1", code);
        let kind = crate::service::Kind { machine: None, ipxe: Some(false) };
        let first = BTreeMap::from([
            (key(Code::V4(3)), "10.0.0.1".to_owned()),
            (key(Code::V4(6)), String::new()),
            (key(Code::V6(6)), "[2001:db8::1]".to_owned()),
            (OptionKey { kind, ..key(Code::V6(6)) }, "[2001:db8::2]".to_owned()),
            (OptionKey::plain(ADVERTISED, Code::V6(23)), String::new()),
        ]);
        let files = files(&[("base", &options_text(&first)), ("add-000001", "tag:s1,3,10.0.0.2,10.0.0.3\n")]);
        let (options, _) = read_options(&files);
        assert_eq!(options.values[&key(Code::V4(3))], "10.0.0.2,10.0.0.3");
        assert_eq!(options.values[&key(Code::V4(6))], "");
        assert_eq!(options.values[&key(Code::V6(6))], "[2001:db8::1]");
        assert_eq!(options.values[&OptionKey { kind, ..key(Code::V6(6)) }], "[2001:db8::2]");
        assert_eq!(options.values[&OptionKey::plain(ADVERTISED, Code::V6(23))], "");
        assert_eq!(options.lines, 6);
        assert!(!options.foreign);
        for line in [
            "tag:s1,option6:23,[2001:db8::1]",
            "tag:s1,tag:dhcpv6,3,10.0.0.1",
            "tag:s1,tag:!ipxe,tag:dhcpv6,option6:23,[2001:db8::1]",
            "tag:!dhcpv6,tag:ipxe,option6:23",
            "tag:!dhcpv6,3,10.0.0.1",
        ] {
            let files = BTreeMap::from([(FIRST.to_owned(), format!("{line}\n"))]);
            assert!(read_options(&files).0.foreign, "{line}");
        }
    }
}
