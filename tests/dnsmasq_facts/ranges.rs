//! Subnets of every size, several on one device, and the limit on leases.

use std::net::Ipv4Addr;

use crate::lab::{Dnsmasq, Mac, MessageType, Setup};
use crate::{MANY_RANGE, guest, host, ip, leave_leases, machine, many_hosts, many_ip, many_leases, offered};

/// Leases one address from a subnet of its own.
fn leases(address: &str, range: &str, guest_address: &str) -> Option<Ipv4Addr> {
    let lab = machine();
    let setup = Setup::default().addresses(&[address]).ranges(&[range]);
    let line = format!("{},{guest_address},vm1.\n", Mac::nth(1));
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &line);
    offered(&guest(&lab, 1))
}

#[test]
fn prefixes_from_8_to_31_are_served_and_32_is_silent() {
    for (server, range, wanted) in [
        ("10.0.0.2/8", "10.0.0.0,static,255.0.0.0", "10.200.0.9"),
        ("10.0.0.2/16", "10.0.0.0,static,255.255.0.0", "10.0.200.9"),
        ("10.0.0.2/22", "10.0.0.0,static,255.255.252.0", "10.0.3.9"),
        ("10.0.0.2/30", "10.0.0.0,static,255.255.255.252", "10.0.0.1"),
        ("10.0.0.2/31", "10.0.0.2,static,255.255.255.254", "10.0.0.3"),
    ] {
        let range = format!("set:s1,tag:known,tag:!gone,{range},3600");
        assert_eq!(leases(server, &range, wanted), Some(wanted.parse().unwrap()), "{range}");
    }
    let range = "set:s1,tag:known,tag:!gone,10.0.0.2,static,255.255.255.255,3600";
    assert_eq!(leases("10.0.0.2/32", range, "10.0.0.2"), None);
}

#[test]
fn each_of_two_subnets_on_a_device_has_its_own_options_and_lease_time() {
    let lab = machine();
    let setup = Setup::default().addresses(&["10.0.0.2/24", "10.1.0.2/24"]).ranges(&[
        "set:s1,tag:known,tag:!gone,10.0.0.0,static,255.255.255.0,3600",
        "set:s2,tag:known,tag:!gone,10.1.0.0,static,255.255.255.0,7200",
    ]);
    let two = format!("{},tag:!dhcpv6,set:p2,10.1.0.12,vm2.\n", Mac::nth(2));
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &(host(1, 11) + &two));
    dnsmasq.apply("options", "all", "tag:s1,3,10.0.0.1\ntag:s2,3,10.1.0.1\n");
    let (one, two) = (guest(&lab, 1).dora(), guest(&lab, 2).dora());
    assert_eq!((one.seconds(51), one.addresses(3)), (Some(3600), vec![ip(1)]));
    assert_eq!((two.seconds(51), two.addresses(3)), (Some(7200), vec![Ipv4Addr::new(10, 1, 0, 1)]));
    assert_eq!((one.server(), two.server()), (ip(2), Ipv4Addr::new(10, 1, 0, 2)));
}

#[test]
fn a_lease_time_of_infinite_is_sent_as_such() {
    let lab = machine();
    let range = "set:s1,tag:known,tag:!gone,10.0.0.0,static,255.255.255.0,infinite";
    let _dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default().ranges(&[range]), &host(1, 11));
    let ack = guest(&lab, 1).dora();
    assert_eq!((ack.seconds(51), ack.seconds(58)), (Some(u32::MAX), None));
}

#[test]
fn a_lease_time_below_two_minutes_is_raised() {
    let lab = machine();
    let range = "set:s1,tag:known,tag:!gone,10.0.0.0,static,255.255.255.0,60";
    let _dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default().ranges(&[range]), &host(1, 11));
    assert_eq!(guest(&lab, 1).dora().seconds(51), Some(120));
}

#[test]
fn an_address_outside_every_range_is_not_offered() {
    let lab = machine();
    let line = format!("{},10.9.0.11,vm1.\n", Mac::nth(1));
    let _dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &line);
    assert!(guest(&lab, 1).silent());
}

#[test]
fn beyond_the_limit_on_leases_every_request_gets_a_nak() {
    let lab = machine();
    let hosts: String = (1..4_u8).map(|n| host(n.into(), 10 + n)).collect();
    let setup = Setup::default().more(&["--dhcp-lease-max=2"]);
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &hosts);
    guest(&lab, 1).dora();
    guest(&lab, 2).dora();
    let third = guest(&lab, 3);
    assert_eq!(offered(&third), Some(ip(13)));
    let refusal = third.init_reboot(ip(13)).unwrap();
    assert_eq!((refusal.kind(), &*refusal.reason()), (MessageType::Nak, "no leases left"));
    guest(&lab, 1).release(ip(11), ip(2));
    dnsmasq.wait_for_log("DHCPRELEASE");
    assert_eq!(third.dora().kind(), MessageType::Ack);
}

#[test]
fn the_limit_on_leases_is_a_thousand_unless_said_otherwise() {
    for (more, kind) in [(&[][..], MessageType::Nak), (&["--dhcp-lease-max=1001"], MessageType::Ack)] {
        let lab = machine();
        let setup = Setup::default().ranges(&[MANY_RANGE]).addresses(&["10.0.0.2/16"]).more(more);
        let dnsmasq = Dnsmasq::prepare(&lab, setup);
        dnsmasq.write("hosts", "all", &many_hosts(1001));
        leave_leases(&dnsmasq, &many_leases(1000));
        dnsmasq.start();
        let last = guest(&lab, 1001);
        assert_eq!(last.init_reboot(many_ip(1001)).unwrap().kind(), kind, "{more:?}");
    }
}
