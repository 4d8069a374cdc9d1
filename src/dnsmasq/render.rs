//! Text for dnsmasq, and the text it writes. The only place where a value becomes a line.
//!
//! Every value that comes here is of a type that cannot hold a newline, a comma or a blank, so a line
//! has the fields it was given and no more. Called by `host` (writing, observing) and `desired`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use super::options::{OptionError, render_option};
use super::state::Rights;
use super::{Client, Host, HostChange, Hosts, Layout, Lease, OptionKey, OptionSet, Process, Server, argv};
use crate::node::Family;
use crate::service::{Code, Options, Service};
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
    key: &str,
    options: &Options,
    values: &mut BTreeMap<OptionKey, String>,
    refused: &mut Vec<(OptionKey, OptionError)>,
) {
    for (code, bytes) in options {
        let key = (key.to_owned(), *code);
        match render_option(*code, bytes) {
            Ok(value) => {
                values.insert(key, value);
            }
            Err(error) => refused.push((key, error)),
        }
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

/// Lines for the options' directory.
pub fn options_text(options: &BTreeMap<OptionKey, String>) -> String {
    let mut text = String::new();
    for ((tag, code), value) in options {
        let comma = if value.is_empty() { "" } else { "," };
        let _ = match code {
            Code::V4(code) => writeln!(text, "tag:{tag},{code}{comma}{value}"),
            Code::V6(code) => writeln!(text, "tag:{tag},option6:{code}{comma}{value}"),
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

/// The leases of a lease file. It may be read while dnsmasq writes it: what is no lease is left out.
pub fn leases(text: &str) -> BTreeMap<IpAddr, Lease> {
    text.lines().filter_map(lease).collect()
}

/// The lines of a lease file that still hold with `hosts` where there were others `before`; a bad line would
/// stop dnsmasq at its start.
pub fn lease_file(text: &str, before: &BTreeMap<Client, Host>, hosts: &BTreeMap<Client, Host>) -> String {
    let (before, rights) = (Rights::new(before), Rights::new(hosts));
    let has = |(ip, lease)| rights.has(ip, &lease) && !rights.took(ip, &before);
    let holds = |line: &&str| lease(line).is_some_and(has);
    text.lines().filter(holds).fold(String::new(), |kept, line| kept + line + "\n")
}

/// `expiry mac ip name|* client-id|*`, in DHCPv6 `expiry iaid ip name|* duid`
fn lease(line: &str) -> Option<(IpAddr, Lease)> {
    let fields: Vec<_> = line.split(' ').collect();
    let [expiry, who, ip, name, id] = fields[..] else { return None };
    expiry.parse::<u64>().ok()?;
    let ip: IpAddr = ip.parse().ok()?;
    let lease = match ip {
        IpAddr::V4(_) => Lease::V4(who.parse().ok()?),
        IpAddr::V6(_) => {
            let (iaid, duid) = (who.parse().ok()?, id.to_owned());
            Lease::V6 { duid: Some(duid).filter(|duid| is_hex(duid))?, iaid, name: name.parse().ok() }
        }
    };
    Some((ip, lease))
}

fn is_hex(text: &str) -> bool {
    let is_octet = |octet: &str| octet.len() == 2 && octet.bytes().all(|b| b.is_ascii_hexdigit());
    text.split(':').all(is_octet)
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

    #[test]
    fn a_lease_file_keeps_only_leases_that_hold() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let hosts = BTreeMap::from([
            ((mac, Family::V4), host("10.0.0.5", "a", "p")),
            ((mac, Family::V6), host("2001:db8::5,2001:db8::6", "a", "p")),
        ]);
        let good = "1700000000 02:00:00:00:00:01 10.0.0.5 a 01:02:00:00:00:00:01\n\
                    1700000000 1 2001:db8::5 a 00:03:00:01:02:00:00:00:00:01\n\
                    1700000000 2 2001:db8::6 a 00:03:00:01:02:00:00:00:00:01\n";
        let bad = "0 02:00:00:00:00:01 10.0.0.6 * *\n\
                   0 zz:00:00:00:00:01 10.0.0.5 * *\n\
                   rubbish\nduid 00:02:00:00:00:00:01\n\
                   1700000000 3 2001:db8::5 b 00:03:00:01:02:00:00:00:00:09\n\
                   1700000000 1 2001:db8::6 a nothex\n";
        assert_eq!(lease_file(&(good.to_owned() + bad), &hosts, &hosts), good);
        assert_eq!(lease_file(good, &BTreeMap::new(), &hosts), good);
        // The same name, and another MAC address: it gets the address once nobody has it.
        let other = "02:00:00:00:00:02".parse().unwrap();
        let moved = hosts.iter().map(|((_, family), host)| ((other, *family), host.clone())).collect();
        assert_eq!(lease_file(good, &hosts, &moved), "");
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

        #[test]
        fn any_lease_file_can_be_read(text in ".*") {
            leases(&text);
        }
    }
}
