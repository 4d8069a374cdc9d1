//! The watched directories read back: what a dnsmasq that read them has in memory.
//!
//! Called by `host` when it observes. The first file is [`FIRST`], additions are [`addition`] 1, 2, 3 …
//! in the order they were made. A gap or a foreign file means that nobody knows what dnsmasq read.

use std::collections::BTreeMap;

use super::{Host, HostChange, Hosts, OptionKey, OptionSet};
use crate::types::MacAddr;

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
    let mac: MacAddr = fields.first()?.parse().ok()?;
    match fields[1..] {
        ["ignore"] => Some(HostChange::Gone(mac)),
        [tag, ip, name] => {
            let tag = tag.strip_prefix("set:")?.to_owned();
            let name = name.strip_suffix('.')?.parse().ok()?;
            Some(HostChange::Set(mac, Host { ip: ip.parse().ok()?, name, tag }))
        }
        _ => None,
    }
}

fn option_line(line: &str) -> Option<(OptionKey, String)> {
    let (tag, rest) = line.strip_prefix("tag:")?.split_once(',')?;
    let (code, value) = rest.split_once(',').unwrap_or((rest, ""));
    Some(((tag.to_owned(), code.parse().ok()?), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::{hosts_text, options_text};
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn set(mac: u8, ip: u8, name: &str) -> HostChange {
        let host = Host { ip: [10, 0, 0, ip].into(), name: name.parse().unwrap(), tag: "p1".into() };
        HostChange::Set(MacAddr::local([0, 0, 0, 0, mac]), host)
    }

    #[test]
    fn a_journal_reads_back_as_it_was_written() {
        let (base, more) = (vec![set(1, 1, "a"), set(2, 2, "b")], vec![set(3, 3, "c")]);
        let files = files(&[("base", &hosts_text(&base)), ("add-000001", &hosts_text(&more))]);
        let (hosts, additions) = read_hosts(&files);
        let mut expected = Hosts::default();
        base.iter().chain(&more).for_each(|change| expected.read(change));
        assert_eq!((hosts, additions), (expected, 1));
    }

    #[test]
    fn a_spent_address_stays_with_its_first_line() {
        let files = files(&[("base", &hosts_text(&[set(1, 1, "a"), set(2, 1, "b"), set(1, 1, "c")]))]);
        let (hosts, _) = read_hosts(&files);
        assert_eq!(hosts.entries.len(), 1);
        assert_eq!(hosts.entries[&MacAddr::local([0, 0, 0, 0, 1])].name.to_string(), "a");
    }

    #[test]
    fn what_is_not_ours_is_foreign() {
        for case in [
            files(&[]),
            files(&[("add-000001", "")]),
            files(&[("base", ""), ("add-000002", "")]),
            files(&[("base", ""), ("stranger", "")]),
            files(&[("base", "02:00:00:00:00:01,10.0.0.1\n")]),
        ] {
            assert!(read_hosts(&case).0.foreign, "{case:?}");
        }
    }

    #[test]
    fn options_read_back_and_the_last_line_wins() {
        let first = BTreeMap::from([
            (("s1".to_owned(), 3), "10.0.0.1".to_owned()),
            (("s1".to_owned(), 6), String::new()),
        ]);
        let files = files(&[("base", &options_text(&first)), ("add-000001", "tag:s1,3,10.0.0.2,10.0.0.3\n")]);
        let (options, _) = read_options(&files);
        assert_eq!(options.values[&("s1".to_owned(), 3)], "10.0.0.2,10.0.0.3");
        assert_eq!(options.values[&("s1".to_owned(), 6)], "");
        assert_eq!(options.lines, 3);
    }
}
