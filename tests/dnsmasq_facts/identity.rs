//! Guests known by a client identifier instead of a MAC address.

use crate::lab::{Dnsmasq, Guest, Lab, Mac, MessageType, Setup, hex};
use crate::{guest, host, ip, machine, offered};

const ID: &[u8] = &[0xab, 0xcd, 0xef];

/// The line of a port with this identifier, as the driver writes it.
fn known_by(id: &[u8], n: u32, last: u8) -> String {
    format!("id:{},tag:!dhcpv6,set:p{n},10.0.0.{last},vm{n}.\n", hex(id))
}

/// The line that takes it away.
fn gone_by(id: &[u8]) -> String {
    format!("id:{},tag:!dhcpv6,ignore\n", hex(id))
}

/// Answers strangers from a range of their own.
fn open() -> Setup {
    let ranges = [
        "set:s1,tag:known,10.0.0.0,static,255.255.255.0,86400",
        "set:s1,tag:!known,10.0.0.200,10.0.0.203,255.255.255.0,600",
    ];
    let setup = Setup { usual: false, ..Setup::default() };
    setup.more(&["--dhcp-authoritative", "--no-ping"]).ranges(&ranges)
}

fn calling_itself<'lab>(lab: &'lab Lab, n: u32, id: &[u8]) -> Guest<'lab> {
    guest(lab, n).with_client_id(id)
}

/// A server that knows two ports: one by its identifier, the other by its MAC address.
fn two_ports(lab: &Lab) -> Dnsmasq<'_> {
    Dnsmasq::with_hosts(lab, Setup::default(), &(known_by(ID, 1, 11) + &host(2, 12)))
}

#[test]
fn an_identifier_is_known_whatever_the_mac_and_in_every_message() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    let guest = calling_itself(&lab, 7, ID);
    assert_eq!(guest.dora().yiaddr(), ip(11));
    for answer in [
        guest.init_reboot(ip(11)),
        guest.renew(ip(11), dnsmasq.address()),
        guest.rebind(ip(11)),
        guest.inform(ip(11)),
    ] {
        assert_eq!(answer.unwrap().kind(), MessageType::Ack);
    }
    assert_eq!(guest.init_reboot(ip(99)).unwrap().kind(), MessageType::Nak);
    assert!(dnsmasq.leases().contains("02:00:00:00:00:07 10.0.0.11 vm1 ab:cd:ef"), "{}", dnsmasq.leases());
}

#[test]
fn any_other_identifier_is_a_strangers_but_for_a_zero_before_it() {
    let lab = machine();
    let _dnsmasq = two_ports(&lab);
    for other in [&[0xab, 0xcd][..], &[0xab, 0xcd, 0xef, 0], &[1, 0xab, 0xcd, 0xef], &[0xab, 0xcd, 0xee]] {
        assert!(calling_itself(&lab, 7, other).silent(), "{other:?}");
    }
    assert!(guest(&lab, 1).silent(), "no identifier");
    let zero = calling_itself(&lab, 7, &[0, 0xab, 0xcd, 0xef]);
    assert_eq!(offered(&zero), Some(ip(11)));
    assert!(calling_itself(&lab, 7, &[0, 0, 0xab, 0xcd, 0xef]).silent());
}

#[test]
fn an_identifier_wins_over_the_mac_whichever_line_is_newer() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    let both = calling_itself(&lab, 2, ID);
    assert_eq!(offered(&both), Some(ip(11)));
    dnsmasq.apply("hosts", "2", &host(2, 13));
    assert_eq!(offered(&both), Some(ip(11)));
    assert_eq!(offered(&calling_itself(&lab, 2, &[9, 9])), Some(ip(13)));
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(13)));
}

#[test]
fn another_device_with_the_identifier_has_the_lease_at_once() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    assert_eq!(calling_itself(&lab, 7, ID).dora().yiaddr(), ip(11));
    assert_eq!(calling_itself(&lab, 8, ID).dora().yiaddr(), ip(11));
    dnsmasq.barrier();
    let leases = dnsmasq.leases();
    assert_eq!(leases.lines().count(), 1, "{leases}");
    assert!(leases.contains(&format!("{} 10.0.0.11", Mac::nth(8))), "{leases}");
}

#[test]
fn a_removal_silences_an_identifier_and_whoever_has_it_until_the_next_start() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    let (guest, port) = (calling_itself(&lab, 7, ID), calling_itself(&lab, 2, ID));
    guest.dora();
    dnsmasq.apply("hosts", "gone", &gone_by(ID));
    assert!(guest.silent());
    assert!(guest.init_reboot(ip(11)).is_none());
    assert!(guest.renew(ip(11), dnsmasq.address()).is_none());
    assert!(guest.inform(ip(11)).is_none());
    assert!(port.silent(), "the line of its MAC address is not looked for");
    dnsmasq.apply("hosts", "again", &host(2, 14));
    assert!(port.silent());
    dnsmasq.write("hosts", "all", &host(2, 12));
    dnsmasq.remove("hosts", "gone");
    dnsmasq.remove("hosts", "again");
    dnsmasq.restart();
    assert_eq!(port.dora().yiaddr(), ip(12));
    assert!(guest.silent());
}

#[test]
fn an_identifier_moves_to_a_fresh_address_and_not_to_one_that_was_read() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    let guest = calling_itself(&lab, 7, ID);
    guest.dora();
    dnsmasq.apply("hosts", "1", &known_by(ID, 1, 13));
    assert_eq!(guest.init_reboot(ip(11)).unwrap().kind(), MessageType::Nak);
    assert_eq!(guest.dora().yiaddr(), ip(13));
    dnsmasq.apply("hosts", "2", &known_by(&[1, 2], 3, 11));
    assert_eq!(dnsmasq.logged("duplicate dhcp-host IP address 10.0.0.11 at line 1 of").len(), 1);
    assert!(calling_itself(&lab, 8, &[1, 2]).silent());
}

#[test]
fn the_longest_identifier_is_read_from_its_line_and_from_the_leases() {
    let lab = machine();
    let id: Vec<u8> = (0..=254).rev().collect();
    let line = known_by(&id, 1, 11).replace("vm1.", &format!("{}.", "a".repeat(63)));
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &line);
    let guest = calling_itself(&lab, 7, &id);
    assert_eq!(guest.dora().yiaddr(), ip(11));
    dnsmasq.restart();
    assert!(dnsmasq.leases().contains(&hex(&id)), "{}", dnsmasq.leases());
    assert_eq!(guest.renew(ip(11), dnsmasq.address()).unwrap().kind(), MessageType::Ack);
    guest.release(ip(11), dnsmasq.address());
    dnsmasq.barrier();
    dnsmasq.barrier();
    assert!(!dnsmasq.leases().contains("10.0.0.11"), "{}", dnsmasq.leases());
}

#[test]
fn a_lease_of_the_same_identifier_behind_a_zero_is_anothers() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    assert_eq!(calling_itself(&lab, 7, ID).dora().yiaddr(), ip(11));
    assert!(calling_itself(&lab, 7, &[0, 0xab, 0xcd, 0xef]).silent());
    assert_eq!(dnsmasq.logged("not using configured address 10.0.0.11 because it is leased to").len(), 1);
    assert_eq!(calling_itself(&lab, 8, ID).dora().yiaddr(), ip(11));
}

#[test]
fn one_that_is_known_by_its_identifier_is_no_stranger() {
    let lab = machine();
    let _dnsmasq = Dnsmasq::with_hosts(&lab, open(), &(known_by(ID, 1, 11) + &gone_by(&[5, 5])));
    assert_eq!(calling_itself(&lab, 7, ID).dora().yiaddr(), ip(11));
    assert!(calling_itself(&lab, 7, &[6, 6]).dora().yiaddr() >= ip(200));
    assert!(guest(&lab, 8).dora().yiaddr() >= ip(200));
    assert!(calling_itself(&lab, 9, &[5, 5]).silent(), "one that is not answered");
}

#[test]
fn whoever_has_a_lease_by_his_identifier_needs_none_any_more() {
    for setup in [Setup::default(), open()] {
        let lab = machine();
        let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &(known_by(ID, 1, 11) + &host(2, 12)));
        assert_eq!(calling_itself(&lab, 7, ID).dora().yiaddr(), ip(11));
        assert_eq!(guest(&lab, 7).dora().yiaddr(), ip(11));
        assert_eq!(calling_itself(&lab, 8, ID).dora().yiaddr(), ip(11));
        assert_ne!(offered(&guest(&lab, 7)), Some(ip(11)), "the other device has it now");
        dnsmasq.barrier();
        assert!(
            dnsmasq.leases().contains("02:00:00:00:00:08 10.0.0.11 vm1 ab:cd:ef"),
            "{}",
            dnsmasq.leases()
        );
    }
}
