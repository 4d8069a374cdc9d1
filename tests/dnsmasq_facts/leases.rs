//! The lease file at a start, and leases given back.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::lab::{Dnsmasq, Lab, Mac, MessageType, PATIENCE, Setup, eventually};
use crate::{gone, guest, host, ip, lease_line, leave_leases, machine, offered};

/// Started on a lease file with this text.
fn start_on<'lab>(lab: &'lab Lab, hosts: &str, leases: &str) -> Dnsmasq<'lab> {
    let dnsmasq = Dnsmasq::prepare(lab, Setup::default());
    dnsmasq.write("hosts", "all", hosts);
    leave_leases(&dnsmasq, leases);
    dnsmasq.start();
    dnsmasq
}

#[test]
fn a_lease_survives_a_restart() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    guest(&lab, 1).dora();
    dnsmasq.restart();
    let line = format!("{} 10.0.0.11 vm1", Mac::nth(1));
    assert!(dnsmasq.leases().contains(&line), "{}", dnsmasq.leases());
    assert_eq!(guest(&lab, 1).rebind(ip(11)).unwrap().kind(), MessageType::Ack);
}

#[test]
fn an_old_lease_on_an_address_keeps_its_new_owner_out() {
    let lab = machine();
    let dnsmasq = start_on(&lab, &host(2, 11), &(lease_line(Mac::nth(1), ip(11)) + "\n"));
    let owner = guest(&lab, 2);
    assert!(owner.silent());
    assert_eq!(dnsmasq.logged("because it is leased to 02:00:00:00:00:01").len(), 1);
    assert_eq!(owner.init_reboot(ip(11)).unwrap().kind(), MessageType::Nak);
    // The range is for known hosts: a lease of somebody else cannot even be released.
    release_from_inside(&lab, &dnsmasq, Mac::nth(1), ip(11));
    assert!(dnsmasq.leases().contains("10.0.0.11"));
    dnsmasq.stop();
    leave_leases(&dnsmasq, "");
    dnsmasq.start();
    assert_eq!(owner.dora().yiaddr(), ip(11));
}

#[test]
fn a_release_is_heard_unless_the_gone_line_has_a_tag_that_the_range_excludes() {
    let with_tag = gone(1).replace("tag:!dhcpv6,", "tag:!dhcpv6,set:gone,");
    for (removal, heard) in [(String::new(), true), (with_tag, false), (gone(1), true)] {
        let lab = machine();
        let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
        guest(&lab, 1).dora();
        dnsmasq.apply("hosts", "1-gone", &removal);
        release_from_inside(&lab, &dnsmasq, Mac::nth(1), ip(11));
        assert_eq!(dnsmasq.leases().is_empty(), heard, "{removal}");
    }
}

#[test]
fn a_strangers_lease_is_released_once_its_mac_is_known_and_ignored() {
    let lab = machine();
    let dnsmasq = start_on(&lab, &host(2, 12), &(lease_line(Mac::nth(1), ip(11)) + "\n"));
    dnsmasq.apply("hosts", "1", &gone(1));
    release_from_inside(&lab, &dnsmasq, Mac::nth(1), ip(11));
    assert_eq!(dnsmasq.leases(), "");
}

#[test]
fn an_old_lease_of_a_mac_does_not_keep_it_from_its_new_address() {
    let lab = machine();
    let _dnsmasq = start_on(&lab, &host(1, 12), &(lease_line(Mac::nth(1), ip(11)) + "\n"));
    let guest = guest(&lab, 1);
    assert_eq!(guest.init_reboot(ip(11)).unwrap().kind(), MessageType::Nak);
    assert_eq!(guest.dora().yiaddr(), ip(12));
}

#[test]
fn two_leases_that_have_changed_owners_lock_both_out() {
    let lab = machine();
    let old = format!("{}\n{}\n", lease_line(Mac::nth(1), ip(11)), lease_line(Mac::nth(2), ip(12)));
    let _dnsmasq = start_on(&lab, &(host(1, 12) + &host(2, 11)), &old);
    let (one, two) = (guest(&lab, 1), guest(&lab, 2));
    assert!(one.silent() && two.silent());
}

#[test]
fn leases_of_strangers_and_foreign_subnets_are_read_and_kept() {
    let lab = machine();
    let strange = [
        lease_line(Mac::nth(50), ip(50)),
        lease_line(Mac::nth(51), [192, 168, 77, 1].into()),
        format!("1 {} 10.0.0.52 expired *", Mac::nth(52)),
    ];
    let dnsmasq = start_on(&lab, &host(1, 11), &(strange.join("\n") + "\n"));
    assert_eq!(guest(&lab, 1).dora().yiaddr(), ip(11));
    let kept = dnsmasq.leases();
    assert!(kept.contains("10.0.0.50") && kept.contains("192.168.77.1"), "{kept}");
    assert!(!kept.contains("expired"), "{kept}");
    assert!(guest(&lab, 50).renew(ip(50), ip(2)).is_none(), "a stranger's lease is renewed");
}

#[test]
fn a_line_that_is_no_lease_is_skipped_a_bad_mac_is_fatal() {
    for (line, survives) in [
        ("nonsense", true),
        ("4102444800 02:00:00:00:00:09 10.0.0.300 * *", true),
        ("4102444800 02:00:00:00:00:09", true),
        ("duid 00:01:00:01:2c:00:00:00:02:00:00:00:00:01", true),
        ("4102444800 zz:zz:zz:zz:zz:zz 10.0.0.19 * *", false),
    ] {
        let lab = machine();
        let dnsmasq = Dnsmasq::prepare(&lab, Setup::default());
        dnsmasq.write("hosts", "all", &host(1, 11));
        leave_leases(&dnsmasq, &format!("{line}\n{}\n", lease_line(Mac::nth(1), ip(11))));
        let started = dnsmasq.try_start();
        assert_eq!(started.is_ok(), survives, "{line}: {started:?}");
        if survives {
            assert_eq!(guest(&lab, 1).dora().yiaddr(), ip(11), "{line}");
        }
    }
}

#[test]
fn a_release_from_inside_drops_a_lease_without_its_client_id() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let guest = guest(&lab, 1);
    guest.udhcpc(&[]).unwrap();
    let line = dnsmasq.leases();
    assert!(line.trim_end().ends_with("01:02:00:00:00:00:01"), "{line}");
    release_from_inside(&lab, &dnsmasq, Mac::nth(9), ip(11));
    dnsmasq.barrier();
    assert!(!dnsmasq.leases().is_empty(), "any MAC releases");
    release_from_inside(&lab, &dnsmasq, Mac::nth(1), ip(11));
    eventually("the lease is gone", PATIENCE, || dnsmasq.leases().is_empty().then_some(()));
    assert_eq!(offered(&guest), Some(ip(11)));
}

/// A DHCPRELEASE as the agent sends it: from the server's own namespace to its own address.
fn release_from_inside(lab: &Lab, dnsmasq: &Dnsmasq<'_>, mac: Mac, address: Ipv4Addr) {
    let mut packet = vec![0; 240];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[12..16].copy_from_slice(&address.octets());
    packet[28..34].copy_from_slice(&mac.0);
    packet[236..].copy_from_slice(&[99, 130, 83, 99]);
    packet.extend([53, 1, 7, 54, 4]);
    packet.extend(dnsmasq.address().octets());
    packet.push(255);
    let socket = lab.in_netns(Some(dnsmasq.netns()), || UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.send_to(&packet, (dnsmasq.address(), 67)).unwrap();
    // dnsmasq reads DHCP after DNS: only a second round shows that it has been here.
    dnsmasq.barrier();
    dnsmasq.barrier();
}
