//! A host taken away in one family or both, and brought back.

use crate::lab::{Guest6, Kind6, Mac, status};
use crate::{guest, ip, machine};

use super::{SERVER, advertised, gone4, gone6, guest6, host4, host6, ip6, leases, one_port, with_hosts};

/// Whether a guest meets silence where it asks for something new.
fn silent(guest: &Guest6<'_>) -> bool {
    let request = guest.about(Kind6::Request, ip6(0x11)).to(&SERVER);
    guest.silent() && guest.ask(&request).is_none() && guest.information_request().is_none()
}

#[test]
fn a_removed_host_meets_silence_or_is_told_that_its_address_is_gone() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.sarr();
    dnsmasq.apply("hosts", "add-1", &gone6(1));
    assert!(silent(&guest));
    assert_eq!(guest.renew(ip6(0x11), &SERVER).unwrap().lifetimes()[0].valid, 0);
    let rebind = guest.rebind(ip6(0x11)).unwrap();
    assert_eq!((rebind.status(), rebind.lifetimes()[0].valid), (Some(status::NO_ADDRS_AVAIL), 0));
    assert_eq!(guest.confirm(ip6(0x11)).unwrap().status(), Some(status::NOT_ON_LINK));
    // Its release is heard all the same, and nothing makes a lease again.
    guest.release(ip6(0x11), &SERVER).unwrap();
    guest.rebind(ip6(0x11)).unwrap();
    assert!(leases(&dnsmasq).is_empty());
}

#[test]
fn a_plain_ignore_is_not_enough_for_ipv6() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.sarr();
    dnsmasq.apply("hosts", "add-1", &format!("{},ignore\n", Mac::nth(1)));
    assert_eq!(advertised(&guest), Some(vec![ip6(0x11)]), "a line with a filter is older and stronger");
    dnsmasq.apply("hosts", "add-2", &format!("{},tag:dhcpv6,ignore\n", Mac::nth(1)));
    assert!(silent(&guest));
    assert_eq!(guest.renew(ip6(0x11), &SERVER).unwrap().lifetimes()[0].valid, 86_400);
    guest.release(ip6(0x11), &SERVER).unwrap();
    assert_eq!(guest.rebind(ip6(0x11)).unwrap().lifetimes()[0].valid, 86_400);
    assert_eq!(leases(&dnsmasq), ["1 2001:db8::11 * 00:03:00:01:02:00:00:00:00:01"]);
}

#[test]
fn a_plain_ignore_of_ipv4_makes_a_host_known_that_then_rebinds_any_ipv6_address() {
    let lab = machine();
    let plain = format!("{},ignore\n", Mac::nth(1));
    let _dnsmasq = with_hosts(&lab, &(plain + &gone4(2)));
    assert_eq!(guest6(&lab, 1).rebind(ip6(0x77)).unwrap().lifetimes()[0].valid, 86_400);
    let filtered = guest6(&lab, 2).rebind(ip6(0x77)).unwrap();
    assert_eq!(filtered.status(), Some(status::NO_ADDRS_AVAIL));
}

#[test]
fn one_family_is_removed_without_the_other() {
    let lab = machine();
    let dnsmasq = with_hosts(&lab, &(host4(1, 11) + &host6(1, 0x11) + &host4(2, 12) + &host6(2, 0x12)));
    let (one, two) = (guest(&lab, 1), guest(&lab, 2));
    one.dora();
    dnsmasq.apply("hosts", "add-1", &(gone4(1) + &gone6(2)));
    assert!(one.silent() && one.init_reboot(ip(11)).is_none());
    assert_eq!(lab.twin6(one.netns(), Mac::nth(1)).sarr().addresses(), [ip6(0x11)]);
    assert_eq!(two.dora().yiaddr(), ip(12));
    assert!(silent(&lab.twin6(two.netns(), Mac::nth(2))));
    // The lease of IPv4 can still be given back.
    one.release(ip(11), dnsmasq.address());
    dnsmasq.barrier();
    dnsmasq.barrier();
    assert!(!dnsmasq.leases().contains("10.0.0.11"));
}

#[test]
fn a_removed_host_comes_back_with_the_same_ipv6_address_but_a_new_ipv4_one() {
    let lab = machine();
    let dnsmasq = with_hosts(&lab, &(host4(1, 11) + &host6(1, 0x11)));
    dnsmasq.apply("hosts", "add-1", &(gone4(1) + &gone6(1)));
    dnsmasq.apply("hosts", "add-2", &(host4(1, 11) + &host6(1, 0x11)));
    let four = guest(&lab, 1);
    assert!(four.silent());
    assert_eq!(lab.twin6(four.netns(), Mac::nth(1)).sarr().addresses(), [ip6(0x11)]);
    assert_eq!(dnsmasq.logged("duplicate dhcp-host IP address 10.0.0.11 at line 1 of").len(), 1);
    dnsmasq.apply("hosts", "add-3", &host4(1, 13));
    assert_eq!(four.dora().yiaddr(), ip(13));
}
