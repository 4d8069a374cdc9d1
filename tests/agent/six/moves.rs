//! Ports that go, come again and have other addresses: what becomes of their leases of DHCPv6.

use std::net::Ipv6Addr;

use crate::lab::{Answer, Answer6, Kind6, Mac, MessageType, eventually};
use crate::manifests::{lan_v4, network, port};
use crate::site::{LONG, Site};

use super::{
    Both, dual, ip4, ip6, lan_v6, lan46, leased, leases, server_duid, until_leases, until_nothing_to_do,
};

/// Whether it lets a guest keep an address.
fn keeps(answer: Option<Answer6>, ip: Ipv6Addr) -> bool {
    answer.is_some_and(|answer| answer.lifetimes().iter().any(|given| given.address == ip && given.valid > 0))
}

#[test]
fn a_removed_port_meets_silence_and_its_leases_are_gone() {
    let site = Site::new();
    site.write("lan.yaml", &(lan46() + &dual(2, 0x21, "")));
    site.write("vm1.yaml", &dual(1, 0x20, ""));
    let _agent = site.start();
    let (guest, other) = (Both::new(&site, 1), Both::new(&site, 2));
    let server = guest.until_leased(&site, 0x20).server();
    other.until_leased(&site, 0x21);
    until_leases(&site, "vm1", 2);
    let process = site.dnsmasq_pids();
    site.remove("vm1.yaml");
    site.until_silent6(&guest.six);
    site.until_silent(&guest.four);
    for (how, answer) in [
        ("renewal", guest.six.renew(ip6(0x20), &server)),
        ("rebinding", guest.six.rebind(ip6(0x20))),
        ("confirmation", guest.six.confirm(ip6(0x20))),
        ("request", guest.six.ask(&guest.six.about(Kind6::Request, ip6(0x20)).to(&server))),
        ("release", guest.six.release(ip6(0x20), &server)),
    ] {
        assert!(answer.is_none(), "{how} is still answered: {answer:?}");
    }
    until_leases(&site, "10.0.0.32 ", 0);
    until_leases(&site, "2001:db8::20 ", 0);
    assert_eq!(leases(&site, "vm2").len(), 2, "another port's lease is gone, too");
    assert!(keeps(other.six.renew(ip6(0x21), &server), ip6(0x21)));
    assert_eq!(site.dnsmasq_pids(), process, "a removal needs no restart");
    site.assert_nothing_to_do();
}

#[test]
fn a_re_addressed_port_has_its_new_address_at_once() {
    let site = Site::new();
    let (_agent, guest, reply) = leased(&site);
    let server = reply.server();
    let process = site.dnsmasq_pids();
    site.write("vm1.yaml", &dual(1, 0x30, ""));
    guest.until_leased(&site, 0x30);
    until_leases(&site, "2001:db8::20 ", 0);
    assert!(!keeps(guest.six.renew(ip6(0x20), &server), ip6(0x20)), "the old address is renewed");
    until_leases(&site, "10.0.0.32 ", 0);
    until_leases(&site, "vm1", 2);
    assert_eq!(site.dnsmasq_pids(), process, "a move needs no restart");
    // And back to one that dnsmasq has read of.
    site.write("vm1.yaml", &dual(1, 0x20, ""));
    guest.until_leased(&site, 0x20);
    site.until_ready("Port", "vm1");
    until_leases(&site, "2001:db8::30 ", 0);
    site.assert_nothing_to_do();
}

#[test]
fn an_address_is_given_to_another_mac_at_once() {
    let site = Site::new();
    site.write("lan.yaml", &lan46());
    site.write("vm.yaml", &dual(1, 0x20, ""));
    let _agent = site.start();
    let (old, new) = (Both::new(&site, 1), Both::new(&site, 2));
    let server = old.until_leased(&site, 0x20).server();
    site.write("vm.yaml", &dual(2, 0x20, ""));
    new.until_leased(&site, 0x20);
    assert!(old.six.silent() && old.four.silent());
    assert!(old.six.renew(ip6(0x20), &server).is_none());
    assert!(keeps(new.six.renew(ip6(0x20), &server), ip6(0x20)));
    until_leases(&site, "vm2", 2);
    until_leases(&site, "vm1", 0);
    site.until_ready("Port", "vm2");
    site.assert_nothing_to_do();
}

#[test]
fn a_ports_new_mac_is_served_and_the_old_one_is_not() {
    let site = Site::new();
    site.write("lan.yaml", &lan46());
    let text = dual(1, 0x20, "");
    site.write("vm.yaml", &text);
    let _agent = site.start();
    let (old, new) = (Both::new(&site, 1), Both::new(&site, 2));
    old.until_leased(&site, 0x20);
    // The name is the same: by that alone the lease is still the port's.
    site.write("vm.yaml", &text.replace(&Mac::nth(1).to_string(), &Mac::nth(2).to_string()));
    new.until_leased(&site, 0x20);
    site.until_silent6(&old.six);
    until_leases(&site, "2001:db8::20 ", 1);
    until_nothing_to_do(&site);
    assert!(keeps(new.six.renew(ip6(0x20), &server_duid(&site)), ip6(0x20)));
}

#[test]
fn a_renamed_port_is_renewed_under_its_new_name() {
    let site = Site::new();
    let (_agent, guest, _) = leased(&site);
    site.write("vm1.yaml", &dual(1, 0x20, "").replace("hostname: vm1", "hostname: other"));
    // For DHCPv4 that takes another process.
    let is_renamed = |offer: &Answer| offer.text(12).as_deref() == Some("other");
    eventually("the name changes", LONG, || guest.four.discover(&[]).filter(is_renamed));
    let server = site.until_leased6(&guest.six, ip6(0x20)).server();
    until_leases(&site, "2001:db8::20 other ", 1);
    assert!(keeps(guest.six.renew(ip6(0x20), &server), ip6(0x20)));
    site.assert_nothing_to_do();
}

#[test]
fn two_ports_swap_their_addresses() {
    let site = Site::new();
    let pair = |a, b| lan46() + &dual(1, a, "") + &dual(2, b, "");
    site.write("a.yaml", &pair(0x20, 0x21));
    let _agent = site.start();
    let (a, b) = (Both::new(&site, 1), Both::new(&site, 2));
    a.until_leased(&site, 0x20);
    b.until_leased(&site, 0x21);
    site.write("a.yaml", &pair(0x21, 0x20));
    a.until_leased(&site, 0x21);
    b.until_leased(&site, 0x20);
    site.until_ready("Port", "vm1");
    site.until_ready("Port", "vm2");
    site.assert_nothing_to_do();
    until_leases(&site, "2001:db8::", 2);
}

#[test]
fn a_port_re_created_as_it_was_is_served_again() {
    let site = Site::new();
    site.write("lan.yaml", &lan46());
    let port = port("vm1", "lan", Mac::nth(1), "");
    site.write("vm1.yaml", &port);
    let _agent = site.start();
    let guest = Both::new(&site, 1);
    let server = site.until_leased6(&guest.six, ip6(0x11)).server();
    for _ in 0..2 {
        site.remove("vm1.yaml");
        site.until_silent6(&guest.six);
        site.write("vm1.yaml", &port);
        site.until_leased6(&guest.six, ip6(0x11));
        site.until_leased(&guest.four, ip4(11));
    }
    assert!(keeps(guest.six.renew(ip6(0x11), &server), ip6(0x11)));
    site.until_ready("Port", "vm1");
    site.assert_nothing_to_do();
}

#[test]
fn a_port_without_ipv4_in_a_network_with_both() {
    let site = Site::new();
    let six = port("vm1", "lan", Mac::nth(1), &format!("addresses: [{{ip: '{}'}}]", ip6(0x20)));
    let four = port("vm2", "lan", Mac::nth(2), &format!("addresses: [{{ip: {}}}]", ip4(0x21)));
    site.write("a.yaml", &(network("lan", "") + &lan_v4("") + &lan_v6("") + &six + &four));
    let _agent = site.start();
    let (one, two) = (Both::new(&site, 1), Both::new(&site, 2));
    site.until_leased6(&one.six, ip6(0x20));
    let ack = site.until_leased(&two.four, ip4(0x21));
    assert_eq!(ack.kind(), MessageType::Ack);
    assert!(one.four.silent(), "a port without an IPv4 address is answered in DHCPv4");
    assert!(two.six.silent(), "a port without an IPv6 address is answered in DHCPv6");
    site.until_ready("Port", "vm1");
    site.until_ready("Port", "vm2");
}
