//! What is changed in the manifests, seen in the next answers of DHCPv6.

use std::net::Ipv6Addr;

use crate::lab::{Answer6, Guest6, Mac, MessageType, eventually};
use crate::manifests::{lan, lan_v4, network, port, subnet};
use crate::site::{LONG, Site};

use super::{
    Both, SERVER, dual, ip4, ip6, lan_v6, lan46, leased, leases, server_duid, until_leases,
    until_nothing_to_do,
};

/// Waits for an ADVERTISE as wanted, takes it, and gives the REPLY, which is as wanted, too.
fn until(guest: &Guest6<'_>, what: &str, wanted: impl Fn(&Answer6) -> bool) -> Answer6 {
    eventually(what, LONG, || guest.solicit().filter(&wanted));
    let reply = guest.sarr();
    assert!(wanted(&reply), "{what}: {:?}", reply.options);
    reply
}

#[test]
fn a_ports_option_comes_changes_and_goes_with_the_process_in_place() {
    let site = Site::new();
    let (_agent, guest, _) = leased(&site);
    let process = site.dnsmasq_pids();
    // The first that nobody asks for is sent all the same.
    let search = |name: &str| format!("options: [{{name: domain-search, values: [{name}], family: IPv6}}]");
    let is = |wanted: &'static [u8]| move |answer: &Answer6| answer.option(24) == Some(wanted);
    site.write("vm1.yaml", &dual(1, 0x20, &search("a.test")));
    until(&guest.six, "an option comes", is(b"\x01a\x04test\0"));
    site.write("vm1.yaml", &dual(1, 0x20, &search("b.test")));
    until(&guest.six, "an option changes", is(b"\x01b\x04test\0"));
    assert_eq!(site.dnsmasq_pids(), process);
    site.write("vm1.yaml", &dual(1, 0x20, ""));
    until(&guest.six, "an option goes", is(b"\x02vm\x07example\x03org\0"));
    guest.until_leased(&site, 0x20);
    site.assert_nothing_to_do();
}

#[test]
fn a_subnets_change_is_in_the_next_answer() {
    let site = Site::new();
    site.write("vm1.yaml", &dual(1, 0x20, ""));
    site.write("lan.yaml", &lan46());
    let _agent = site.start();
    let guest = Both::new(&site, 1).six;
    let server = site.until_leased6(&guest, ip6(0x20)).server();
    let lan46 = |more: &str| lan() + &lan_v6(more);
    site.write("lan.yaml", &lan46("dhcp: {leaseDurationSeconds: 1200}"));
    until(&guest, "the lease time changes", |a| a.lifetimes().first().is_some_and(|l| l.valid == 1200));
    site.write("lan.yaml", &lan46("dns: {type: Addresses, addresses: ['2001:db8::53']}"));
    until(&guest, "the DNS servers change", |a| a.list(23) == [ip6(0x53)]);
    site.write("lan.yaml", &lan46("dns: {type: None}"));
    until(&guest, "the DNS servers go", |a| a.list(23).is_empty());
    site.write("lan.yaml", &(network("lan", "dns: {domain: new.test}") + &lan_v4("") + &lan_v6("")));
    let reply = until(&guest, "the domain changes", |a| a.option(24) == Some(b"\x03new\x04test\0"));
    assert_eq!((reply.server(), reply.list(23)), (server, vec![SERVER]));
    site.until_ready("Subnet", "lan-v6");
    until_nothing_to_do(&site);
}

#[test]
fn ipv6_comes_to_a_network_and_goes_again() {
    let site = Site::new();
    site.write("lan.yaml", &lan());
    site.write("vm1.yaml", &port("vm1", "lan", Mac::nth(1), ""));
    let _agent = site.start();
    let guest = Both::new(&site, 1);
    let four = site.until_leased(&guest.four, ip4(11));
    assert!(guest.six.silent());
    site.write("six.yaml", &lan_v6(""));
    let server = site.until_leased6(&guest.six, ip6(0x11)).server();
    assert_eq!(server, server_duid(&site));
    let other = subnet("other", "lan", "2001:db8:1::/64", "ipv6: {addressMode: DHCPv6Stateful}");
    site.write("other.yaml", &other);
    site.until_ready("Subnet", "other");
    assert_eq!(guest.six.renew(ip6(0x11), &server).unwrap().lifetimes()[0].valid, 86_400);
    let elsewhere: Ipv6Addr = "2001:db8:1::20".parse().unwrap();
    let there = format!("addresses: [{{ip: '{elsewhere}'}}]");
    site.write("vm2.yaml", &port("vm2", "lan", Mac::nth(2), &there));
    site.until_leased6(&Both::new(&site, 2).six, elsewhere);
    site.remove("vm2.yaml");
    site.remove("other.yaml");
    site.remove("six.yaml");
    site.until_silent6(&guest.six);
    until_nothing_to_do(&site);
    assert_eq!(guest.four.renew(ip4(11), four.server()).map(|ack| ack.kind()), Some(MessageType::Ack));
    eventually("no lease of it is left", LONG, || leases(&site, "2001:").is_empty().then_some(()));
    let left = site.lab.run_in(&site.namespace(), "ip -6 address show dev dhcp0 scope global");
    assert_eq!(left, "");
}

#[test]
fn dhcp_of_one_family_is_disabled_alone() {
    let site = Site::new();
    let (_agent, guest, _) = leased(&site);
    site.write("lan.yaml", &(lan() + &lan_v6("dhcp: {mode: Disabled}")));
    site.until_silent6(&guest.six);
    site.until_leased(&guest.four, ip4(0x20));
    site.write(
        "lan.yaml",
        &(lan46().replace("cidr: 10.0.0.0/24", "cidr: 10.0.0.0/24\n  dhcp: {mode: Disabled}")),
    );
    site.until_leased6(&guest.six, ip6(0x20));
    site.until_silent(&guest.four);
    until_leases(&site, "2001:db8::20 ", 1);
    until_nothing_to_do(&site);
}
