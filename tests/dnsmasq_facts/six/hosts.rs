//! Host lines with IPv6 addresses: which are taken, and who gets what.

use crate::lab::{Mac, status};
use crate::{guest, ip, machine, offered, plain_host};

use super::{advertised, guest6, host4, host6, ip6, leases, one_port, with_hosts};

#[test]
fn a_port_has_a_line_for_each_family_and_its_options_in_both() {
    let lab = machine();
    let dnsmasq = with_hosts(&lab, &(host4(1, 11) + &host6(1, 0x11)));
    dnsmasq.apply("options", "p1", "tag:p1,6,10.0.0.9\ntag:p1,option6:23,[2001:db8::9]\n");
    let four = guest(&lab, 1);
    let ack = four.dora();
    assert_eq!((ack.yiaddr(), ack.addresses(6)), (ip(11), vec![ip(9)]));
    let reply = lab.twin6(four.netns(), Mac::nth(1)).sarr();
    assert_eq!((reply.addresses(), reply.list(23)), (vec![ip6(0x11)], vec![ip6(9)]));
    assert_eq!(reply.server(), super::SERVER);
}

#[test]
fn a_bad_address_is_logged_with_its_place_one_without_brackets_is_not() {
    let lab = machine();
    let (dnsmasq, wire) = one_port(&lab);
    dnsmasq.apply("hosts", "2", &format!("{},[2001:db8::zz]\n{}", Mac::nth(2), host6(3, 0x13)));
    assert_eq!(dnsmasq.logged("bad IPv6 address at line 1 of").len(), 1);
    assert_eq!(advertised(&lab.twin6(wire.netns(), Mac::nth(3))), Some(vec![ip6(0x13)]));
    dnsmasq.apply("hosts", "4", &format!("{},2001:db8::14\n", Mac::nth(4)));
    assert_eq!(dnsmasq.logged(" at line ").len(), 1);
    assert_eq!(advertised(&lab.twin6(wire.netns(), Mac::nth(4))), Some(Vec::new()));
}

#[test]
fn a_port_of_one_family_is_a_stranger_to_the_other() {
    let lab = machine();
    let _dnsmasq = with_hosts(&lab, &(host4(1, 11) + &plain_host(2, 12) + &host6(3, 0x13)));
    let wire = guest(&lab, 3);
    assert!(wire.silent() && wire.init_reboot(ip(13)).is_none() && wire.inform(ip(13)).is_none());
    for n in [1, 2, 9] {
        let stranger = lab.twin6(wire.netns(), Mac::nth(n));
        assert!(stranger.silent() && stranger.information_request().is_none());
        assert_eq!(stranger.rebind(ip6(0x11)).unwrap().lifetimes()[0].valid, 0);
        assert_eq!(stranger.rebind(ip6(0x11)).unwrap().status(), Some(status::NO_ADDRS_AVAIL));
        assert_eq!(stranger.confirm(ip6(0x11)).unwrap().status(), Some(status::NOT_ON_LINK));
        let renewal = stranger.renew(ip6(0x11), &super::SERVER).unwrap();
        assert_eq!(renewal.ia_status(), Some(status::NO_BINDING));
    }
}

#[test]
fn a_bare_name_with_an_ipv6_address_gives_it_to_a_line_of_ipv4_unless_that_is_filtered() {
    let lab = machine();
    let dnsmasq = with_hosts(&lab, &(plain_host(1, 11) + &host4(2, 12)));
    let (one, two) = (guest6(&lab, 1), guest6(&lab, 2));
    dnsmasq.apply("names", "all", "2001:db8::11 vm1.test\n2001:db8::12 vm2.test\n");
    assert_eq!((advertised(&one), advertised(&two)), (None, None));
    dnsmasq.apply("names", "all", "2001:db8::11 vm1\n2001:db8::12 vm2\n");
    assert_eq!((advertised(&one), advertised(&two)), (Some(vec![ip6(0x11)]), None));
}

#[test]
fn a_bare_name_of_a_line_of_ipv6_spends_its_ipv4_address() {
    let lab = machine();
    let (dnsmasq, guest6) = one_port(&lab);
    dnsmasq.apply("names", "all", "10.0.0.11 vm1\n");
    dnsmasq.apply("hosts", "4", &host4(1, 11));
    assert_eq!(dnsmasq.logged("duplicate dhcp-host IP address 10.0.0.11 at line 1 of").len(), 1);
    dnsmasq.restart();
    assert_eq!(offered(&lab.twin(&guest(&lab, 77), guest6.mac())), Some(ip(11)));
}

#[test]
fn a_new_address_is_advertised_at_once_and_the_old_one_renewed_until_it_is_released() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.sarr();
    dnsmasq.apply("hosts", "add-1", &host6(1, 0x12));
    assert_eq!(guest.renew(ip6(0x11), &super::SERVER).unwrap().lifetimes()[0].valid, 86_400);
    assert_eq!(guest.sarr().addresses(), [ip6(0x12)]);
    assert_eq!(leases(&dnsmasq).len(), 2);
    guest.release(ip6(0x11), &super::SERVER).unwrap();
    let renewal = guest.renew(ip6(0x11), &super::SERVER).unwrap();
    assert_eq!(renewal.ia_status(), Some(status::NO_BINDING));
    assert!(dnsmasq.logged("duplicate").is_empty());
}

#[test]
fn an_address_moves_to_another_mac_when_its_lease_is_released() {
    let lab = machine();
    let (dnsmasq, one) = one_port(&lab);
    one.sarr();
    dnsmasq.apply("hosts", "add-1", &host6(2, 0x11));
    let two = guest6(&lab, 2);
    assert_eq!(two.solicit().unwrap().status(), Some(status::NO_ADDRS_AVAIL));
    one.release(ip6(0x11), &super::SERVER).unwrap();
    assert_eq!(advertised(&two), Some(vec![ip6(0x11)]));
    // Nothing is refused as spent: the first line stays, too, until another one takes its place.
    assert_eq!(advertised(&one), Some(vec![ip6(0x11)]));
    assert!(dnsmasq.logged("duplicate").is_empty());
}

#[test]
fn of_several_addresses_the_last_is_advertised_and_every_further_iaid_gets_another() {
    let lab = machine();
    let line = format!("{},tag:dhcpv6,set:p1,[2001:db8::a],[2001:db8::b],vm1.\n", Mac::nth(1));
    let _dnsmasq = with_hosts(&lab, &line);
    let first = guest6(&lab, 1);
    assert_eq!(first.sarr().addresses(), [ip6(0xb)]);
    let twin = |iaid| lab.twin6(first.netns(), Mac::nth(1)).with_iaid(iaid);
    assert_eq!(twin(2).sarr().addresses(), [ip6(0xa)]);
    assert_eq!(twin(3).solicit().unwrap().status(), Some(status::NO_ADDRS_AVAIL));
}

#[test]
fn with_two_subnets_in_one_line_one_association_gets_an_address_of_each() {
    let lab = machine();
    let other = "set:s7,tag:known,tag:!gone,2001:db9::,static,64,3600";
    let setup = super::setup().addresses(&["10.0.0.2/24", "2001:db8::2/64", "2001:db9::2/64"]);
    let setup = setup.ranges(&[super::STATEFUL, other]);
    let line = format!("{},tag:dhcpv6,set:p1,[2001:db8::11],[2001:db9::11],vm1.\n", Mac::nth(1));
    let _dnsmasq = super::serve(&lab, setup, &line);
    let lifetimes = guest6(&lab, 1).sarr().lifetimes();
    assert_eq!(lifetimes.iter().map(|given| given.valid).collect::<Vec<_>>(), [86_400, 3600]);
}
