//! Options by tag in a watched directory: which value wins, and when a change takes effect.

use crate::lab::{Ask, Dnsmasq, Guest, Lab, MessageType, Setup, hex, raw};
use crate::{guest, host, machine};

fn one_port(lab: &Lab) -> (Dnsmasq<'_>, Guest<'_>) {
    (Dnsmasq::with_hosts(lab, Setup::default(), &host(1, 11)), guest(lab, 1))
}

/// The byte that the guest gets as option 224.
fn got(guest: &Guest<'_>) -> Option<u8> {
    let ask = Ask::new(MessageType::Discover).want(&[224]);
    guest.answer(&ask).option(224).map(|value| value[0])
}

#[test]
fn a_rewritten_value_takes_effect_at_once() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    for value in 1..5 {
        dnsmasq.apply("options", "s1", &format!("tag:s1,224,{value}b\n"));
        assert_eq!(got(&guest), Some(value));
    }
}

#[test]
fn a_new_file_with_the_same_tag_and_number_wins_at_once() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    for value in 1..5 {
        dnsmasq.apply("options", &format!("f{value}"), &format!("tag:p1,224,{value}b\n"));
        assert_eq!(got(&guest), Some(value));
    }
}

#[test]
fn of_two_lines_in_one_file_the_later_wins_also_at_a_start() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,224,1b\ntag:p1,224,2b\n");
    assert_eq!(got(&guest), Some(2));
    dnsmasq.restart();
    assert_eq!(got(&guest), Some(2));
}

#[test]
fn a_removed_or_emptied_option_stays_in_force_until_a_restart() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,224,1b\n");
    dnsmasq.apply("options", "p1", "");
    assert_eq!(got(&guest), Some(1));
    dnsmasq.remove("options", "p1");
    assert_eq!(got(&guest), Some(1));
    dnsmasq.restart();
    assert_eq!(got(&guest), None);
}

#[test]
fn a_port_tag_beats_a_subnet_tag_beats_none_whatever_came_last() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "a", "tag:p1,224,1b\n");
    dnsmasq.apply("options", "b", "tag:s1,224,2b\n");
    dnsmasq.apply("options", "c", "224,3b\n");
    assert_eq!(got(&guest), Some(1));
    dnsmasq.restart();
    assert_eq!(got(&guest), Some(1));
    std::fs::remove_file(dnsmasq.path("options/a")).unwrap();
    dnsmasq.restart();
    assert_eq!(got(&guest), Some(2));
}

#[test]
fn an_empty_port_value_suppresses_the_routers_of_the_subnet() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "s1", "tag:s1,3,10.0.0.1\ntag:s1,6,10.0.0.5\n");
    assert_eq!(guest.dora().addresses(3), [crate::ip(1)]);
    dnsmasq.apply("options", "p1", "tag:p1,3\ntag:p1,6\n");
    let ack = guest.dora();
    assert_eq!((ack.option(3), ack.option(6)), (None, None));
}

#[test]
fn an_option_that_is_not_asked_for_is_not_sent() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,26,1400\ntag:p1,121,10.9.0.0/16,10.0.0.1\n");
    let bare = guest.answer(&Ask::new(MessageType::Discover).want(&[1]));
    assert_eq!((bare.option(26), bare.option(121)), (None, None));
    let asked = guest.answer(&Ask::new(MessageType::Discover).want(&[26, 121]));
    assert_eq!(asked.option(26).unwrap(), 1400_u16.to_be_bytes());
    assert_eq!(asked.option(121).unwrap(), [16, 10, 9, 10, 0, 0, 1]);
}

#[test]
fn a_guest_without_a_request_list_gets_every_option() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,224,7b\n");
    let ask = Ask { want: None, ..Ask::new(MessageType::Discover) };
    let offer = guest.answer(&ask);
    assert_eq!(offer.option(224), Some([7].as_slice()));
    assert!(offer.option(3).is_some());
}

#[test]
fn an_off_link_gateway_is_delivered_byte_by_byte() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    let routes = "192.168.99.1/32,0.0.0.0,0.0.0.0/0,192.168.99.1";
    dnsmasq.apply("options", "s1", &format!("tag:s1,121,{routes}\ntag:s1,3,192.168.99.1\n"));
    let bytes = [32, 192, 168, 99, 1, 0, 0, 0, 0, 0, 192, 168, 99, 1];
    let ack = guest.dora();
    assert_eq!(ack.option(121), Some(bytes.as_slice()));
    assert_eq!(ack.option(3).unwrap(), [192, 168, 99, 1]);
    let hex = hex(&bytes);
    dnsmasq.apply("options", "s1", &format!("tag:s1,121,{hex}\ntag:s1,249,{hex}\n"));
    let offer = guest.answer(&Ask::new(MessageType::Discover).want(&[121, 249]));
    assert_eq!((offer.option(121), offer.option(249)), (Some(&bytes[..]), Some(&bytes[..])));
}

#[test]
fn a_vendor_option_of_the_guest_does_not_disturb_a_plain_43() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,43,01:02:0a:0b\ntag:p1,60,61:62\n");
    let ask = Ask::new(MessageType::Discover).want(&[43, 60]).option(raw(60, b"anything"));
    let offer = guest.answer(&ask);
    assert_eq!(offer.option(43).unwrap(), [1, 2, 10, 11]);
    assert_eq!(offer.option(60).unwrap(), b"ab");
}

#[test]
fn a_bad_option_in_a_file_costs_its_line_in_argv_the_start() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,3,nonsense\ntag:p1,224,7b\n");
    assert_eq!(got(&guest), Some(7));
    assert_eq!(dnsmasq.logged("bad IP address at line 1 of").len(), 1);
    let setup = Setup::default().netns("other").more(&["--dhcp-option=3,nonsense"]);
    let exit = Dnsmasq::prepare(&lab, setup).try_start().unwrap_err();
    assert_eq!(exit.code, 1);
    assert!(exit.stderr.contains("bad IP address"), "{}", exit.stderr);
}
