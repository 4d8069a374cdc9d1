//! Guests known by a DUID instead of a MAC address.

use crate::lab::{Dnsmasq, Guest6, Lab, hex, status};
use crate::{guest, machine};

use super::{SERVER, advertised, guest6, host4, host6, ip6, leases, with_hosts};

const ID: &[u8] = &[0, 4, 1, 2, 3, 4];

/// The line of a port with this DUID, as the driver writes it.
fn known_by(id: &[u8], n: u32, last: u16) -> String {
    format!("id:{},tag:dhcpv6,set:p{n},[{}],vm{n}.\n", hex(id), ip6(last))
}

fn calling_itself<'lab>(lab: &'lab Lab, n: u32, id: &[u8]) -> Guest6<'lab> {
    guest6(lab, n).with_duid(id)
}

/// A server that knows two ports: one by its DUID, the other by its MAC address.
fn two_ports(lab: &Lab) -> Dnsmasq<'_> {
    with_hosts(lab, &(known_by(ID, 1, 0x11) + &host6(2, 0x12) + &host4(3, 13)))
}

#[test]
fn a_duid_is_known_whatever_the_mac_and_no_other_is() {
    let lab = machine();
    let _dnsmasq = two_ports(&lab);
    let guest = calling_itself(&lab, 7, ID);
    assert_eq!(guest.sarr().addresses(), [ip6(0x11)]);
    assert_eq!(guest.renew(ip6(0x11), &SERVER).unwrap().addresses(), [ip6(0x11)]);
    assert_eq!(guest.confirm(ip6(0x11)).unwrap().status(), Some(status::SUCCESS));
    for other in [&[0, 4, 1, 2, 3][..], &[0, 4, 1, 2, 3, 4, 5], &[0, 0, 4, 1, 2, 3, 4]] {
        assert!(calling_itself(&lab, 7, other).silent(), "{other:?}");
    }
    assert_eq!(advertised(&calling_itself(&lab, 2, &[0, 4, 9])), Some(vec![ip6(0x12)]));
}

#[test]
fn a_duid_wins_over_the_mac_whichever_line_is_newer() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    assert_eq!(advertised(&calling_itself(&lab, 2, ID)), Some(vec![ip6(0x11)]));
    dnsmasq.apply("hosts", "2", &host6(2, 0x14));
    assert_eq!(advertised(&calling_itself(&lab, 2, ID)), Some(vec![ip6(0x11)]));
    assert_eq!(advertised(&guest6(&lab, 2)), Some(vec![ip6(0x14)]));
}

#[test]
fn a_line_of_one_protocol_says_nothing_in_the_other() {
    let lab = machine();
    let four = format!("id:{},tag:!dhcpv6,set:p1,10.0.0.11,vm1.\n", hex(ID));
    let dnsmasq = with_hosts(&lab, &four);
    assert!(calling_itself(&lab, 7, ID).silent());
    dnsmasq.write("hosts", "all", &known_by(ID, 1, 0x11));
    dnsmasq.restart();
    assert!(guest(&lab, 7).with_client_id(ID).silent());
}

#[test]
fn a_removed_duid_is_told_so_and_a_new_one_gets_what_was_released() {
    let lab = machine();
    let dnsmasq = two_ports(&lab);
    let guest = calling_itself(&lab, 7, ID);
    guest.sarr();
    dnsmasq.apply("hosts", "gone", &format!("id:{},tag:dhcpv6,set:gone,ignore\n", hex(ID)));
    assert!(guest.silent());
    assert_eq!(guest.renew(ip6(0x11), &SERVER).unwrap().lifetimes()[0].valid, 0);
    assert!(calling_itself(&lab, 2, ID).silent(), "the line of its MAC address is not looked for");
    let new = calling_itself(&lab, 8, &[0, 4, 9, 9]);
    dnsmasq.apply("hosts", "new", &known_by(&[0, 4, 9, 9], 1, 0x11));
    assert_eq!(advertised(&new), Some(vec![]), "as long as the other has its lease");
    guest.release(ip6(0x11), &SERVER).unwrap();
    assert_eq!(new.sarr().addresses(), [ip6(0x11)]);
    assert_eq!(leases(&dnsmasq), ["1 2001:db8::11 vm1 00:04:09:09"]);
}

#[test]
fn another_device_with_the_duid_and_the_association_has_the_lease_and_with_another_none() {
    let lab = machine();
    let _dnsmasq = two_ports(&lab);
    assert_eq!(calling_itself(&lab, 7, ID).sarr().addresses(), [ip6(0x11)]);
    assert_eq!(calling_itself(&lab, 8, ID).sarr().addresses(), [ip6(0x11)]);
    assert_eq!(advertised(&calling_itself(&lab, 9, ID).with_iaid(2)), Some(vec![]));
}

#[test]
fn the_longest_duid_is_read_where_its_line_is_short_enough() {
    let lab = machine();
    let id: Vec<u8> = [0, 2].into_iter().chain(1..=128).collect();
    let dnsmasq = with_hosts(&lab, &known_by(&id, 1, 0x11));
    assert_eq!(calling_itself(&lab, 7, &id).sarr().addresses(), [ip6(0x11)]);
    dnsmasq.restart();
    assert!(leases(&dnsmasq)[0].ends_with(&hex(&id)));
    let addresses = |count: u16| (1..=count).map(|n| format!("[2001:db8:1234:5678:9abc:def0:1234:{n:04x}]"));
    let line = |count: u16| {
        let ips = addresses(count).collect::<Vec<_>>().join(",");
        let tag = format!("p{}", "0".repeat(32));
        format!("id:{},tag:dhcpv6,set:{tag},{ips},{}.\n", hex(&id), "a".repeat(63))
    };
    assert!(line(12).len() <= 1024 && line(13).len() > 1024);
    dnsmasq.apply("hosts", "12", &line(12));
    assert_eq!(advertised(&calling_itself(&lab, 7, &id)).map(|all| all.len()), Some(1));
    assert!(dnsmasq.logged(" at line ").is_empty(), "{}", dnsmasq.log());
}
