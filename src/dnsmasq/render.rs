//! Text for dnsmasq, and the text it writes. The only place where a value becomes a line.
//!
//! Every value that comes here is of a type that cannot hold a newline, a comma or a blank, so a line
//! has the fields it was given and no more. Called by `host` (writing, observing) and `desired`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use super::options::{OptionError, render_option};
use super::{Host, HostChange, Hosts, Layout, OptionKey, OptionSet, Process, Server, argv};
use crate::service::{Options, Service};
use crate::types::{DomainName, MacAddr};

/// The dnsmasq that gives guests `service`, and the options it cannot send: whose key, which code, why.
pub fn server(service: &Service, layout: &Layout) -> (Server, Vec<(OptionKey, OptionError)>) {
    let mut refused = Vec::new();
    let mut values = BTreeMap::new();
    let scopes = service.scopes.iter().map(|scope| (&scope.key, &scope.options));
    let ports = service.reservations.iter().map(|port| (&port.key, &port.options));
    for (key, options) in scopes.chain(ports) {
        render_options(key, options, &mut values, &mut refused);
    }
    let hosts = service
        .reservations
        .iter()
        .map(|port| (port.mac, Host { ip: port.ip, name: port.hostname.clone(), tag: port.key.clone() }));
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
            HostChange::Set(mac, Host { ip, name, tag }) => {
                writeln!(text, "{mac},set:{tag},{ip},{name}.")
            }
            // No tag for the ranges to exclude: with it dnsmasq would not take the release of the lease.
            HostChange::Gone(mac) => writeln!(text, "{mac},ignore"),
        };
    }
    text
}

/// Lines for the options' directory.
pub fn options_text(options: &BTreeMap<OptionKey, String>) -> String {
    let mut text = String::new();
    for ((tag, code), value) in options {
        let comma = if value.is_empty() { "" } else { "," };
        let _ = writeln!(text, "tag:{tag},{code}{comma}{value}");
    }
    text
}

/// The names' file, in the form of hosts(5).
pub fn names_text(names: &BTreeMap<Ipv4Addr, Vec<DomainName>>) -> String {
    let mut text = String::new();
    for (ip, names) in names {
        let _ = write!(text, "{ip}");
        for name in names {
            let _ = write!(text, " {name}");
        }
        text.push('\n');
    }
    text
}

/// The names in such a file; `None` if a line is not as [`names_text`] writes it.
pub fn read_names(text: &str) -> Option<BTreeMap<Ipv4Addr, Vec<DomainName>>> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let ip = words.next()?.parse().ok()?;
        let names = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        Some((ip, names))
    };
    text.lines().map(line).collect()
}

/// The IPv4 leases of a lease file. It may be read while dnsmasq writes it: what is no lease is left out.
pub fn leases(text: &str) -> BTreeMap<Ipv4Addr, MacAddr> {
    text.lines().filter_map(lease).collect()
}

/// The lines of a lease file that still hold; a bad line would stop dnsmasq at its start.
pub fn lease_file(text: &str, hosts: &BTreeMap<MacAddr, Host>) -> String {
    let holds =
        |line: &&str| lease(line).is_some_and(|(ip, mac)| hosts.get(&mac).is_some_and(|host| host.ip == ip));
    text.lines().filter(holds).fold(String::new(), |kept, line| kept + line + "\n")
}

/// `expiry mac ip name|* client-id|*`
fn lease(line: &str) -> Option<(Ipv4Addr, MacAddr)> {
    let fields: Vec<_> = line.split(' ').collect();
    let [expiry, mac, ip, _name, _client_id] = fields[..] else { return None };
    expiry.parse::<u64>().ok()?;
    Some((ip.parse().ok()?, mac.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(ip: [u8; 4], name: &str, tag: &str) -> Host {
        Host { ip: ip.into(), name: name.parse().unwrap(), tag: tag.into() }
    }

    #[test]
    fn hosts_and_removals_are_one_line_each() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let changes = [HostChange::Gone(mac), HostChange::Set(mac, host([10, 0, 0, 5], "ignore", "p1"))];
        insta::assert_snapshot!(hosts_text(&changes), @r"
        02:00:00:00:00:01,ignore
        02:00:00:00:00:01,set:p1,10.0.0.5,ignore.
        ");
    }

    #[test]
    fn a_lease_file_keeps_only_leases_that_hold() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let hosts = BTreeMap::from([(mac, host([10, 0, 0, 5], "a", "p"))]);
        let good = "1700000000 02:00:00:00:00:01 10.0.0.5 a 01:02:00:00:00:00:01\n";
        let text =
            format!("{good}0 02:00:00:00:00:01 10.0.0.6 * *\n0 zz:00:00:00:00:01 10.0.0.5 * *\nrubbish\n");
        assert_eq!(lease_file(&text, &hosts), good);
    }

    proptest! {
        #[test]
        fn names_come_back_as_they_were_written(names in proptest::collection::btree_map(any::<[u8; 4]>(), proptest::collection::vec("[a-z0-9]{1,9}(\\.[a-z]{1,5}){0,2}", 1..4), 0..9)) {
            let names: BTreeMap<Ipv4Addr, Vec<DomainName>> = names.into_iter().map(|(ip, names)| {
                (ip.into(), names.iter().map(|name| name.parse().unwrap()).collect())
            }).collect();
            let text = names_text(&names);
            prop_assert_eq!(text.lines().count(), names.len());
            prop_assert_eq!(read_names(&text), Some(names));
        }

        #[test]
        fn a_host_line_has_its_fields_and_no_more(name in ".*", ip: [u8; 4], mac: [u8; 5]) {
            if let Ok(name) = name.parse() {
                let host = Host { ip: ip.into(), name, tag: "p1".into() };
                let text = hosts_text(&[HostChange::Set(MacAddr::local(mac), host)]);
                prop_assert_eq!(text.lines().count(), 1);
                prop_assert_eq!(text.split(',').count(), 4);
            }
        }

        #[test]
        fn any_lease_file_can_be_read(text in ".*") {
            leases(&text);
        }
    }
}
