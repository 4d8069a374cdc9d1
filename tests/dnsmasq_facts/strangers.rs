//! Who is answered, who meets silence, who is told NO.

use crate::lab::{Ask, Dnsmasq, Mac, MessageType, Setup, raw};
use crate::{gone, guest, host, ip, machine, offered};

#[test]
fn strangers_meet_silence_whatever_they_send() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let stranger = guest(&lab, 7);
    assert!(stranger.silent());
    assert!(stranger.init_reboot(ip(50)).is_none());
    assert!(stranger.renew(ip(50), dnsmasq.address()).is_none());
    assert!(stranger.rebind(ip(50)).is_none());
    assert!(stranger.inform(ip(50)).is_none());
    assert!(stranger.select(ip(50), ip(2)).is_none());
}

#[test]
fn without_the_ignore_rule_authoritative_naks_and_informs_are_answered() {
    let lab = machine();
    let setup = Setup { usual: false, ..Setup::default() }.more(&["--dhcp-authoritative"]);
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host(1, 11));
    let stranger = guest(&lab, 7);
    assert!(stranger.silent());
    assert_eq!(stranger.init_reboot(ip(50)).unwrap().kind(), MessageType::Nak);
    assert_eq!(stranger.inform(ip(50)).unwrap().kind(), MessageType::Ack);
}

#[test]
fn a_fresh_authoritative_server_acks_what_is_right_and_naks_what_is_wrong() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let guest = guest(&lab, 1);
    for wrong in [ip(99), [192, 168, 5, 5].into()] {
        assert_eq!(guest.init_reboot(wrong).unwrap().kind(), MessageType::Nak, "{wrong}");
    }
    assert_eq!(guest.init_reboot(ip(11)).unwrap().kind(), MessageType::Ack);
    let fresh = || {
        dnsmasq.stop();
        crate::leave_leases(&dnsmasq, "");
        dnsmasq.start();
    };
    fresh();
    assert_eq!(guest.renew(ip(11), dnsmasq.address()).unwrap().kind(), MessageType::Ack);
    fresh();
    assert_eq!(guest.rebind(ip(11)).unwrap().kind(), MessageType::Ack);
}

#[test]
fn without_authoritative_a_fresh_server_is_silent_to_reboots_and_rebinds() {
    let lab = machine();
    let setup = Setup { usual: false, ..Setup::default() };
    let setup = setup.more(&["--dhcp-ignore=tag:!known"]);
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host(1, 11));
    let guest = guest(&lab, 1);
    assert!(guest.init_reboot(ip(99)).is_none());
    assert!(guest.init_reboot(ip(11)).is_none());
    assert!(guest.rebind(ip(11)).is_none());
}

#[test]
fn a_wrong_address_rebinding_by_broadcast_is_told_nothing_beside_a_lease() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let guest = guest(&lab, 1);
    guest.dora();
    assert!(guest.rebind(ip(99)).is_none());
    assert_eq!(guest.renew(ip(99), dnsmasq.address()).unwrap().kind(), MessageType::Nak);
}

#[test]
fn a_changed_client_id_is_served_at_once() {
    let lab = machine();
    let _dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let guest = guest(&lab, 1);
    guest.dora();
    for id in [b"\x01first".as_slice(), b"\xffsecond"] {
        let discover = Ask::new(MessageType::Discover).option(raw(61, id));
        let offer = guest.answer(&discover);
        assert_eq!(offer.yiaddr(), ip(11));
        let request = Ask::new(MessageType::Request)
            .option(raw(61, id))
            .option(raw(50, &ip(11).octets()))
            .option(raw(54, &ip(2).octets()));
        assert_eq!(guest.answer(&request).kind(), MessageType::Ack);
    }
}

#[test]
fn a_declined_address_is_not_offered_but_acked_to_a_reboot() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let guest = guest(&lab, 1);
    guest.dora();
    guest.decline(ip(11), dnsmasq.address());
    dnsmasq.wait_for_log("disabling DHCP static address 10.0.0.11 for 10m");
    assert!(guest.silent());
    assert_eq!(dnsmasq.logged("because it was previously declined").len(), 1);
    assert_eq!(guest.init_reboot(ip(11)).unwrap().kind(), MessageType::Ack);
    dnsmasq.restart();
    assert_eq!(offered(&guest), Some(ip(11)));
}

#[test]
fn a_decline_by_another_mac_changes_nothing() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &(host(1, 11) + &host(2, 12)));
    guest(&lab, 2).decline(ip(11), dnsmasq.address());
    assert_eq!(offered(&guest(&lab, 1)), Some(ip(11)));
}

#[test]
fn a_gone_host_is_gone_also_after_a_restart_with_its_lease() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let guest = guest(&lab, 1);
    guest.dora();
    dnsmasq.write("hosts", "all", &gone(1));
    dnsmasq.restart();
    assert!(guest.silent());
    assert!(guest.init_reboot(ip(11)).is_none());
    assert!(guest.renew(ip(11), dnsmasq.address()).is_none());
}

#[test]
fn a_host_of_the_command_line_without_an_address_is_told_options_and_offered_nothing() {
    let lab = machine();
    let asker = Mac::nth(7);
    let setup = Setup::default().more(&[&format!("--dhcp-host={asker},tag:!dhcpv6")]);
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host(1, 11));
    let stranger = guest(&lab, 7);
    assert_eq!(stranger.inform(ip(50)).unwrap().kind(), MessageType::Ack);
    assert!(stranger.silent());
    assert!(guest(&lab, 8).inform(ip(50)).is_none());
}
