//! Text for dnsmasq. The only place where a value becomes a line.
//!
//! Every value that comes here is of a type that cannot hold a newline, a comma or a blank, so a line
//! has the fields it was given and no more. Called by `host` (writing, observing) and `desired`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;

use super::kinds::filter;
use super::options::{OptionError, render_option};
use super::{Host, HostChange, Hosts, Layout, OptionKey, OptionSet, Process, Server, argv};
use crate::node::Family;
use crate::service::{Code, Kind, Offer, OptionList, Reservation, Scope, Service};
use crate::types::Identity;

/// The dnsmasq that gives guests `service`, and the options it cannot send: whose key, which code, why.
pub fn server(service: Service, layout: &Layout) -> (Server, Vec<(OptionKey, OptionError)>) {
    let (values, refused) = options(&service);
    let argv = argv(&service, layout);
    let host = |port: Reservation| {
        let tag = tag(&port).to_owned();
        ((port.identity, port.family), Host { offer: port.offer, tag })
    };
    let silent = service.silent.into_iter().map(|identity| (identity, Family::V4));
    let server = Server {
        process: Some(Process { argv, current: true }),
        hosts: Hosts::fresh(service.reservations.into_iter().map(host).collect())
            .and_silent(silent.collect()),
        options: OptionSet::fresh(values),
        names: service.names,
        leases: BTreeMap::new(),
    };
    (server, refused)
}

/// In DHCPv6 an INFORMATION-REQUEST does not tell the subnet: the host's line does. There the tag of the
/// subnet is as strong as one of the port, so that a port with options of its own has one tag for all.
fn tag(port: &Reservation) -> &str {
    if port.family == Family::V6 && port.options.is_empty() { &port.scope } else { &port.key }
}

type Rendered = (BTreeMap<OptionKey, String>, Vec<(OptionKey, OptionError)>);

fn options(service: &Service) -> Rendered {
    let mut rendered = Rendered::default();
    let no_server = (!service.scopes.iter().any(is_local)).then_some(NO_SERVER);
    let mut put = |tag: &str, list: &OptionList| render_options(tag, list, no_server, &mut rendered);
    for scope in service.scopes.iter().filter(|scope| scope.cidr.addr().is_ipv4() || scope.has_dhcpv6()) {
        put(&scope.key, &scope.options);
    }
    if let Some(advertisement) = &service.advertisement {
        let plain = advertisement.options.clone();
        put(ADVERTISED, &OptionList { plain, ..OptionList::default() });
    }
    let scopes: BTreeMap<_, _> = service.scopes.iter().map(|scope| (&*scope.key, scope)).collect();
    for port in service.reservations.iter().filter(|port| tag(port) == port.key) {
        let scope = scopes.get(&*port.scope).filter(|_| port.family == Family::V6);
        let mut all = scope.map(|scope| scope.options.clone()).unwrap_or_default();
        all.extend(port.options.clone());
        put(&port.key, &all);
    }
    rendered
}

/// `no_server` is what an empty list of DNS servers is told as in DHCPv6.
fn render_options(
    tag: &str,
    options: &OptionList,
    no_server: Option<&str>,
    (values, refused): &mut Rendered,
) {
    let mut put = |code, kind, bytes: &[u8]| {
        let key = OptionKey { tag: tag.to_owned(), code, kind };
        let instead = no_server.filter(|_| is_no_server(&key, bytes));
        match render_option(code, bytes).map(|value| instead.map_or(value, str::to_owned)) {
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

/// In DHCPv6 an empty list of DNS servers is sent as such, and without a list the server's own address.
fn is_no_server(key: &OptionKey, bytes: &[u8]) -> bool {
    key.code == Code::V6(23) && bytes.is_empty() && key.tag != ADVERTISED
}

/// Stands for the server's own address of `fd00::/8`. Where it has none, nothing is sent.
const NO_SERVER: &str = "[fd00::]";

fn is_local(scope: &Scope) -> bool {
    matches!(scope.cidr.addr(), IpAddr::V6(ip) if ip.octets()[0] == 0xfd)
}

/// Lines for the hosts' directory. A name ends with a dot: dnsmasq takes `ignore`, `infinite`, `100`
/// and `10d` for something else than names.
pub fn hosts_text<'a>(changes: impl IntoIterator<Item = &'a HostChange>) -> String {
    let mut text = String::new();
    for change in changes {
        // Writing into a String cannot fail.
        let who = Who(change.identity());
        let _ = match change {
            HostChange::Set((_, family), Host { offer: None, tag }) => {
                writeln!(text, "{who},{},set:{tag}", protocol(*family))
            }
            HostChange::Set((_, Family::V4), Host { offer: Some(Offer { ip, name, .. }), tag }) => {
                writeln!(text, "{who},{DHCPV4},set:{tag},{ip},{name}.")
            }
            // Of several addresses dnsmasq offers the last one.
            HostChange::Set((_, Family::V6), Host { offer: Some(Offer { ip, more, name }), tag }) => {
                let ips = more.iter().rev().chain([ip]).map(|ip| format!("[{ip}]"));
                let ips = ips.collect::<Vec<_>>().join(",");
                writeln!(text, "{who},{DHCPV6},set:{tag},{ips},{name}.")
            }
            // No tag for the range to exclude: with it dnsmasq would not take the release of the lease.
            HostChange::Gone((_, Family::V4)) => writeln!(text, "{who},{DHCPV4},ignore"),
            // With the tag, or a lease that is left would be renewed.
            HostChange::Gone((_, Family::V6)) => writeln!(text, "{who},{DHCPV6},set:{GONE},ignore"),
        };
    }
    text
}

/// The first field of a host's line.
struct Who<'a>(&'a Identity);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Identity::Mac(mac) => write!(f, "{mac}"),
            Identity::ClientId(id) | Identity::Duid(id) => write!(f, "{IDENTIFIER}{id}"),
        }
    }
}

/// Before what a guest calls itself.
pub(super) const IDENTIFIER: &str = "id:";

/// A line with it is for DHCPv4 alone, or for DHCPv6. Without, `ignore` would make a client known to the
/// other, and a name would give it an address there.
pub(super) const DHCPV4: &str = "tag:!dhcpv6";
pub(super) const DHCPV6: &str = "tag:dhcpv6";

fn protocol(family: Family) -> &'static str {
    if family == Family::V4 { DHCPV4 } else { DHCPV6 }
}

/// Whom a range of DHCPv6 no longer answers.
pub(super) const GONE: &str = "gone";

/// The tag, so to say, of router advertisements: what dnsmasq has no client of DHCPv6 for. All others are
/// DHCPv6's alone, or those of the advertised subnets would be in the advertisement as well.
pub(super) const ADVERTISED: &str = "!dhcpv6";

/// Lines for the options' directory, each after the one for more guests.
pub fn options_text(options: &BTreeMap<OptionKey, String>) -> String {
    let mut text = String::new();
    for (OptionKey { tag, code, kind }, value) in options {
        let comma = if value.is_empty() { "" } else { "," };
        let filter = filter(*kind);
        let _ = match code {
            Code::V4(code) => writeln!(text, "tag:{tag}{filter},{code}{comma}{value}"),
            Code::V6(code) if tag == ADVERTISED => {
                writeln!(text, "tag:{tag},option6:{code}{comma}{value}")
            }
            Code::V6(code) => writeln!(text, "tag:{tag},{DHCPV6}{filter},option6:{code}{comma}{value}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;
    use proptest::prelude::*;

    fn host(ip: &str, name: &str, tag: &str) -> Host {
        let mut ips = ip.split(',').map(|ip| ip.parse().unwrap());
        let ip = ips.next().unwrap();
        let offer = Offer { ip, more: ips.collect(), name: name.parse().unwrap() };
        Host { offer: Some(offer), tag: tag.into() }
    }

    #[test]
    fn hosts_and_removals_are_one_line_each() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let of = |identity: &Identity, family| (identity.clone(), family);
        let (v4, v6) = (of(&mac.into(), Family::V4), of(&mac.into(), Family::V6));
        let client_id = of(&Identity::client_id("0a:0b").unwrap(), Family::V4);
        let duid = of(&Identity::duid("00:04:0a").unwrap(), Family::V6);
        let changes = [
            HostChange::Gone(v4.clone()),
            HostChange::Gone(v6.clone()),
            HostChange::Gone(client_id.clone()),
            HostChange::Gone(duid.clone()),
            HostChange::Set(client_id, host("10.0.0.4", "b", "p2")),
            HostChange::Set(duid, host("2001:db8::4", "b", "p2")),
            HostChange::Set(v4, host("10.0.0.5", "ignore", "p1")),
            HostChange::Set(v6.clone(), host("2001:db8::5,2001:db8::6,2001:db8::7", "a", "p1")),
            HostChange::Set(v6, Host { offer: None, tag: "s1".into() }),
        ];
        insta::assert_snapshot!(hosts_text(&changes), @r"
        02:00:00:00:00:01,tag:!dhcpv6,ignore
        02:00:00:00:00:01,tag:dhcpv6,set:gone,ignore
        id:0a:0b,tag:!dhcpv6,ignore
        id:00:04:0a,tag:dhcpv6,set:gone,ignore
        id:0a:0b,tag:!dhcpv6,set:p2,10.0.0.4,b.
        id:00:04:0a,tag:dhcpv6,set:p2,[2001:db8::4],b.
        02:00:00:00:00:01,tag:!dhcpv6,set:p1,10.0.0.5,ignore.
        02:00:00:00:00:01,tag:dhcpv6,set:p1,[2001:db8::7],[2001:db8::6],[2001:db8::5],a.
        02:00:00:00:00:01,tag:dhcpv6,set:s1
        ");
    }

    proptest! {
        #[test]
        fn a_host_line_has_its_fields_and_no_more(name in ".*", ip: IpAddr, mac: [u8; 5]) {
            if let Ok(name) = name.parse() {
                let host = Host { offer: Some(Offer { ip, more: Vec::new(), name }), tag: "p1".into() };
                let client = (MacAddr::local(mac).into(), Family::of(ip));
                let text = hosts_text(&[HostChange::Set(client, host)]);
                prop_assert_eq!(text.lines().count(), 1);
                prop_assert_eq!(text.split(',').count(), 5);
            }
        }
    }
}
