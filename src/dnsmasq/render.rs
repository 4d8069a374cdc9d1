//! Text for dnsmasq. The only place where a value becomes a line.
//!
//! Every value that comes here is of a type that cannot hold a newline, a comma or a blank, so a line
//! has the fields it was given and no more. Called by `host` (writing, observing) and `desired`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use super::kinds::filter;
use super::options::{OptionError, render_option};
use super::{Host, HostChange, Hosts, Layout, OptionKey, OptionSet, Process, Server, argv};
use crate::node::Family;
use crate::service::{Code, Kind, OptionList, Service};
use crate::types::DomainName;

/// The dnsmasq that gives guests `service`, and the options it cannot send: whose key, which code, why.
pub fn server(service: &Service, layout: &Layout) -> (Server, Vec<(OptionKey, OptionError)>) {
    let mut refused = Vec::new();
    let mut values = BTreeMap::new();
    let scopes = service.scopes.iter().map(|scope| (&scope.key, &scope.options));
    let ports = service.reservations.iter().map(|port| (&port.key, &port.options));
    for (key, options) in scopes.chain(ports) {
        render_options(key, options, &mut values, &mut refused);
    }
    let hosts = service.reservations.iter().map(|port| {
        let (ip, more) = (port.ip, port.more.clone());
        let host = Host { ip, more, name: port.hostname.clone(), tag: port.key.clone() };
        ((port.mac, Family::of(port.ip)), host)
    });
    let server = Server {
        process: Some(Process { argv: argv(service, layout), current: true }),
        hosts: Hosts::fresh(hosts.collect()),
        options: OptionSet::fresh(values),
        names: service.names.clone(),
        leases: BTreeMap::new(),
    };
    (server, refused)
}

fn render_options(
    tag: &str,
    options: &OptionList,
    values: &mut BTreeMap<OptionKey, String>,
    refused: &mut Vec<(OptionKey, OptionError)>,
) {
    let mut put = |code, kind, bytes: &[u8]| {
        let key = OptionKey { tag: tag.to_owned(), code, kind };
        match render_option(code, bytes) {
            Ok(value) => {
                values.insert(key, value);
            }
            Err(error) => refused.push((key, error)),
        }
    };
    for (code, bytes) in &options.plain {
        put(*code, Kind::default(), bytes);
    }
    for special in &options.special {
        special.kinds.parts().into_iter().for_each(|kind| put(special.code, kind, &special.value));
    }
}

/// Lines for the hosts' directory. A name ends with a dot: dnsmasq takes `ignore`, `infinite`, `100`
/// and `10d` for something else than names.
pub fn hosts_text<'a>(changes: impl IntoIterator<Item = &'a HostChange>) -> String {
    let mut text = String::new();
    for change in changes {
        // Writing into a String cannot fail.
        let _ = match change {
            HostChange::Set((mac, Family::V4), Host { ip, name, tag, .. }) => {
                writeln!(text, "{mac},{DHCPV4},set:{tag},{ip},{name}.")
            }
            // Of several addresses dnsmasq offers the last one.
            HostChange::Set((mac, Family::V6), Host { ip, more, name, tag }) => {
                let ips = more.iter().rev().chain([ip]).map(|ip| format!("[{ip}]"));
                let ips = ips.collect::<Vec<_>>().join(",");
                writeln!(text, "{mac},{DHCPV6},set:{tag},{ips},{name}.")
            }
            // No tag for the range to exclude: with it dnsmasq would not take the release of the lease.
            HostChange::Gone((mac, Family::V4)) => writeln!(text, "{mac},{DHCPV4},ignore"),
            // With the tag, or a lease that is left would be renewed.
            HostChange::Gone((mac, Family::V6)) => writeln!(text, "{mac},{DHCPV6},set:{GONE},ignore"),
        };
    }
    text
}

/// A line with it is for DHCPv4 alone, or for DHCPv6. Without, `ignore` would make a client known to the
/// other, and a name would give it an address there.
pub(super) const DHCPV4: &str = "tag:!dhcpv6";
pub(super) const DHCPV6: &str = "tag:dhcpv6";

/// Whom a range of DHCPv6 no longer answers.
pub(super) const GONE: &str = "gone";

/// Lines for the options' directory, each after the one for more guests.
pub fn options_text(options: &BTreeMap<OptionKey, String>) -> String {
    let mut text = String::new();
    for (OptionKey { tag, code, kind }, value) in options {
        let comma = if value.is_empty() { "" } else { "," };
        let filter = filter(*kind);
        let _ = match code {
            Code::V4(code) => writeln!(text, "tag:{tag}{filter},{code}{comma}{value}"),
            Code::V6(code) => writeln!(text, "tag:{tag}{filter},option6:{code}{comma}{value}"),
        };
    }
    text
}

/// The names' file, in the form of hosts(5), a name a line: of several in a line the second sometimes
/// answers reverse look-ups as well.
pub fn names_text(names: &BTreeMap<IpAddr, Vec<DomainName>>) -> String {
    let mut text = String::new();
    for (ip, names) in names {
        for name in names {
            let _ = writeln!(text, "{ip} {name}");
        }
    }
    text
}

/// The names in such a file; `None` if a line is not as [`names_text`] writes it.
pub fn read_names(text: &str) -> Option<BTreeMap<IpAddr, Vec<DomainName>>> {
    let mut names: BTreeMap<IpAddr, Vec<DomainName>> = BTreeMap::new();
    for line in text.lines() {
        let (ip, name) = line.split_once(' ')?;
        names.entry(ip.parse().ok()?).or_default().push(name.parse().ok()?);
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;
    use proptest::prelude::*;

    fn host(ip: &str, name: &str, tag: &str) -> Host {
        let mut ips = ip.split(',').map(|ip| ip.parse().unwrap());
        Host { ip: ips.next().unwrap(), more: ips.collect(), name: name.parse().unwrap(), tag: tag.into() }
    }

    #[test]
    fn hosts_and_removals_are_one_line_each() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let (v4, v6) = ((mac, Family::V4), (mac, Family::V6));
        let changes = [
            HostChange::Gone(v4),
            HostChange::Gone(v6),
            HostChange::Set(v4, host("10.0.0.5", "ignore", "p1")),
            HostChange::Set(v6, host("2001:db8::5,2001:db8::6,2001:db8::7", "a", "p1")),
        ];
        insta::assert_snapshot!(hosts_text(&changes), @r"
        02:00:00:00:00:01,tag:!dhcpv6,ignore
        02:00:00:00:00:01,tag:dhcpv6,set:gone,ignore
        02:00:00:00:00:01,tag:!dhcpv6,set:p1,10.0.0.5,ignore.
        02:00:00:00:00:01,tag:dhcpv6,set:p1,[2001:db8::7],[2001:db8::6],[2001:db8::5],a.
        ");
    }

    proptest! {
        #[test]
        fn names_come_back_as_they_were_written(names in proptest::collection::btree_map(any::<IpAddr>(), proptest::collection::vec("[a-z0-9]{1,9}(\\.[a-z]{1,5}){0,2}", 1..4), 0..9)) {
            let names: BTreeMap<IpAddr, Vec<DomainName>> = names.into_iter().map(|(ip, names)| {
                (ip, names.iter().map(|name| name.parse().unwrap()).collect())
            }).collect();
            let text = names_text(&names);
            prop_assert_eq!(text.lines().count(), names.values().map(Vec::len).sum::<usize>());
            prop_assert_eq!(read_names(&text), Some(names));
        }

        #[test]
        fn a_host_line_has_its_fields_and_no_more(name in ".*", ip: IpAddr, mac: [u8; 5]) {
            if let Ok(name) = name.parse() {
                let host = Host { ip, more: Vec::new(), name, tag: "p1".into() };
                let client = (MacAddr::local(mac), Family::of(ip));
                let text = hosts_text(&[HostChange::Set(client, host)]);
                prop_assert_eq!(text.lines().count(), 1);
                prop_assert_eq!(text.split(',').count(), 5);
            }
        }
    }
}
