//! Two servers with the same map on one segment.

use std::net::Ipv4Addr;

use crate::lab::{Ask, DhcpOption, Dnsmasq, Lab, MessageType, Setup};
use crate::{guest, host, ip, machine};

pub(crate) const NAK_RULE: &str =
    "iptables -w -A OUTPUT -p udp --sport 67 -m string --algo bm --string wrong";

/// Two servers `a` and `b` whose devices have these addresses.
fn pair<'lab>(lab: &'lab Lab, a: &[&str], b: &[&str]) -> [Dnsmasq<'lab>; 2] {
    [("a", a), ("b", b)].map(|(netns, addresses)| {
        let setup = Setup::default().netns(netns).addresses(addresses);
        Dnsmasq::with_hosts(lab, setup, &host(1, 11))
    })
}

/// Selects the first of all offers; the kinds of all answers.
fn select(lab: &Lab) -> Vec<MessageType> {
    let guest = guest(lab, 1);
    let offers = guest.ask_all(&Ask::new(MessageType::Discover));
    assert_eq!(offers.len(), 2, "one server offers nothing");
    let request = Ask::new(MessageType::Request)
        .option(DhcpOption::RequestedIpAddress(offers[0].yiaddr()))
        .option(DhcpOption::ServerIdentifier(offers[0].server()));
    guest.ask_all(&request).iter().map(crate::lab::Answer::kind).collect()
}

#[test]
fn two_authoritative_servers_nak_each_others_requests() {
    let lab = machine();
    let _pair = pair(&lab, &["10.0.0.2/24"], &["10.0.0.3/24"]);
    let answers = select(&lab);
    assert!(answers.contains(&MessageType::Ack), "{answers:?}");
    assert!(answers.contains(&MessageType::Nak), "{answers:?}");
}

#[test]
fn a_shared_first_address_ends_the_naks() {
    let lab = machine();
    let [a, b] = pair(&lab, &["10.0.0.4/24", "10.0.0.2/24"], &["10.0.0.4/24", "10.0.0.3/24"]);
    let capture = lab.capture("br0");
    assert_eq!(select(&lab), [MessageType::Ack, MessageType::Ack]);
    let guest = guest(&lab, 1);
    for server in [ip(4), ip(2), ip(3)] {
        assert_eq!(guest.renew(ip(11), server).unwrap().kind(), MessageType::Ack, "{server}");
    }
    // Both hold the lease: a release reaches only the one that answered ARP.
    assert!(a.leases().contains("10.0.0.11") && b.leases().contains("10.0.0.11"));
    capture.assert_no_nak();
}

#[test]
fn a_shared_second_address_does_not() {
    let lab = machine();
    let _pair = pair(&lab, &["10.0.0.2/24", "10.0.0.4/24"], &["10.0.0.3/24", "10.0.0.4/24"]);
    assert!(select(&lab).contains(&MessageType::Nak));
}

#[test]
fn the_nak_of_a_wrong_server_can_be_dropped_by_its_text() {
    let lab = machine();
    let [a, b] = pair(&lab, &["10.0.0.2/24"], &["10.0.0.3/24"]);
    for server in [&a, &b] {
        // One word: the command line is split at spaces.
        lab.run_in(server.netns(), &format!("{NAK_RULE} -j DROP"));
    }
    let capture = lab.capture("br0");
    assert_eq!(select(&lab), [MessageType::Ack]);
    capture.assert_no_nak();
}

#[test]
fn the_text_of_a_nak_says_why() {
    let lab = machine();
    let _pair = pair(&lab, &["10.0.0.2/24"], &["10.0.0.3/24"]);
    let guest = guest(&lab, 1);
    let capture = lab.capture("br0");
    guest.select(ip(11), ip(2));
    guest.ask_all(&Ask::new(MessageType::Discover));
    let naks = capture.take().into_iter().filter(|seen| seen.answer.kind() == MessageType::Nak);
    let reasons: Vec<_> = naks.map(|seen| seen.answer.reason()).collect();
    assert_eq!(reasons, ["wrong server-ID"]);
    let reasons_for = |address: Ipv4Addr| {
        let ask = Ask::new(MessageType::Request).option(DhcpOption::RequestedIpAddress(address));
        let mut reasons: Vec<_> = guest.ask_all(&ask).iter().map(crate::lab::Answer::reason).collect();
        reasons.sort();
        reasons
    };
    // The one that has the lease says "wrong address".
    assert_eq!(reasons_for(ip(99)), ["address not available", "wrong address"]);
    assert_eq!(reasons_for([192, 168, 1, 1].into()), ["wrong address", "wrong network"]);
}

#[test]
fn either_server_acks_a_reboot_a_renewal_and_a_rebind_of_the_others_guest() {
    let lab = machine();
    let [a, b] = pair(&lab, &["10.0.0.2/24"], &["10.0.0.3/24"]);
    let guest = guest(&lab, 1);
    let capture = lab.capture("br0");
    assert_eq!(guest.init_reboot(ip(11)).unwrap().kind(), MessageType::Ack);
    for server in [&a, &b] {
        assert_eq!(guest.renew(ip(11), server.address()).unwrap().kind(), MessageType::Ack);
    }
    let rebind = Ask::new(MessageType::Request).ciaddr(ip(11));
    assert_eq!(guest.ask_all(&rebind).len(), 2);
    capture.assert_no_nak();
}
