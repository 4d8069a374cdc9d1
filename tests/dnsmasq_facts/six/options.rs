//! Options of DHCPv6: which words give which bytes, and which of several lines wins.

use std::net::Ipv6Addr;

use crate::lab::{Ask6, Dnsmasq, Guest6, Kind6, Lab, Mac, hex};
use crate::machine;

use super::{STATEFUL, guest6, host6, one_port, setup};

fn got(guest: &Guest6<'_>, code: u16) -> Option<Vec<u8>> {
    let answer = guest.ask(&Ask6::new(Kind6::Solicit).want(&[code]));
    answer.expect("no ADVERTISE").option(code).map(<[u8]>::to_vec)
}

/// Each value, written as a line of the port and asked for, gives the bytes.
fn check(values: &[(u16, &str, &[u8])]) {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    for (code, value, bytes) in values {
        dnsmasq.apply("options", "p1", &format!("tag:p1,option6:{code}{value}\n"));
        assert_eq!(got(&guest, *code).as_deref(), Some(*bytes), "option {code}{value}");
    }
    assert!(dnsmasq.logged(" at line ").is_empty(), "{}", dnsmasq.log());
}

fn octets(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().unwrap().octets()
}

#[test]
fn addresses_stand_in_brackets_and_for_time_servers_become_suboptions() {
    let (one, two) = (octets("2001:db8::1"), octets("ff05::101"));
    let list = [one, two].concat();
    let ntp = [&[0, 1, 0, 16], &one[..], &[0, 2, 0, 16], &two].concat();
    check(&[
        (23, ",[2001:db8::1],[ff05::101]", &list),
        (31, ",[2001:db8::1]", &one),
        (56, ",[2001:db8::1],[ff05::101]", &ntp),
        (56, ",a.test", b"\0\x03\0\x08\x01a\x04test\0"),
        (224, ",[2001:db8::1]", &one),
        // Zero is the server itself.
        (23, ",[::]", &octets("2001:db8::2")),
    ]);
}

#[test]
fn names_texts_and_numbers_have_one_form_each() {
    check(&[
        (24, ",a.test,b.a.test", b"\x01a\x04test\0\x01b\x01a\x04test\0"),
        (59, ",\"tftp://[2001:db8::1]/a,b\\\"c\\\\d\"", b"tftp://[2001:db8::1]/a,b\"c\\d"),
        (60, ",\"a b\",\"c\"", b"\0\x03a b\0\x01c"),
        (32, ",3600", &3600_u32.to_be_bytes()),
        (32, ",4294967295", &[0xff; 4]),
        (41, ",\"UTC0\"", b"UTC0"),
    ]);
}

#[test]
fn an_empty_text_ends_a_list_of_texts() {
    check(&[
        (60, ",\"a\",\"\",\"b\"", b"\0\x01a"),
        (60, ",\"\"", b""),
        (60, ",\"s\",\"a\"", b"\0\x01s\0\x01a"),
    ]);
}

#[test]
fn addresses_of_two_prefixes_alone_are_the_servers_own_or_none() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,option6:31,[fe80::],[2001:db8::1]\n");
    let sent = got(&guest, 31).unwrap();
    assert!(sent.starts_with(&[0xfe, 0x80]) && sent[..16] != octets("fe80::"), "{sent:?}");
    dnsmasq.apply("options", "p1", "tag:p1,option6:31,[fd00::]\n");
    assert_eq!(got(&guest, 31), None);
}

#[test]
fn the_name_of_one_label_loses_a_last_letter_that_looks_like_a_unit_unless_a_dot_follows() {
    check(&[
        (24, ",s", b""),
        (24, ",-s", b"\x01-\0"),
        (24, ",10b", b"\x0210\0"),
        (24, ",s.", b"\x01s\0"),
        (24, ",10b.", b"\x0310b\0"),
        (24, ",infinite", b"\x08infinite\0"),
        // Capital letters become small ones.
        (24, ",A.B", b"\x01a\x01b\0"),
    ]);
}

#[test]
fn a_name_with_capital_letters_or_a_long_label_may_be_refused() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    for name in ["XN--A.b", "A-.c", &"a".repeat(64)] {
        let before = dnsmasq.logged("bad domain in dhcp-option").len();
        dnsmasq.apply("options", "p1", &format!("tag:p1,option6:24,{name}\n"));
        assert_eq!(dnsmasq.logged("bad domain in dhcp-option").len(), before + 1, "{name}");
    }
}

#[test]
fn hex_with_colons_and_a_decimal_with_b_give_bytes_where_no_type_is_known() {
    check(&[
        (224, ",de:ad", &[0xde, 0xad]),
        (224, ",00:00:00:00:00:00:00:00", &[0; 8]),
        (224, ",7b", &[7]),
        (224, ",255b", &[255]),
        (17, ",00:00:01:57:00:01:00:01:61", &[0, 0, 1, 0x57, 0, 1, 0, 1, 0x61]),
        (65_000, ",01:02", &[1, 2]),
        // Here it has a type, and hex is a text.
        (59, ",74:66", b"74:66"),
        (24, ",01:61:00", b"\x0801:61:00\0"),
    ]);
}

#[test]
fn a_value_of_more_than_255_bytes_is_delivered() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    let bytes: Vec<u8> = (0..=u8::MAX).chain(0..60).collect();
    dnsmasq.apply("options", "p1", &format!("tag:p1,option6:224,{}\n", hex(&bytes)));
    assert_eq!(got(&guest, 224), Some(bytes));
}

#[test]
fn an_empty_value_is_sent_with_no_bytes_also_in_place_of_a_default() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    assert_eq!(got(&guest, 23).as_deref(), Some(&octets("2001:db8::2")[..]));
    dnsmasq.apply("options", "p1", "tag:p1,option6:23\ntag:p1,option6:224\n");
    assert_eq!((got(&guest, 23), got(&guest, 224)), (Some(Vec::new()), Some(Vec::new())));
}

#[test]
fn a_bad_value_is_logged_with_its_place() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    let lines = "tag:p1,option6:23,nonsense\ntag:p1,option6:unknown,1\ntag:p1,option6:224,7b\n";
    dnsmasq.apply("options", "p1", lines);
    assert_eq!(got(&guest, 224), Some(vec![7]));
    assert_eq!(dnsmasq.logged("bad IPv6 address at line 1 of").len(), 1);
    assert_eq!(dnsmasq.logged("bad dhcp-option at line 2 of").len(), 1);
}

#[test]
fn a_preference_is_sent_beside_that_of_an_authoritative_server_or_makes_it_silent() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,option6:7,5b\n");
    let advertise = guest.answer(&Ask6::new(Kind6::Solicit).want(&[7]));
    let sent = advertise.options.iter().filter(|(code, _)| *code == 7);
    assert_eq!(sent.map(|(_, value)| value[0]).collect::<Vec<_>>(), [255, 5]);
    // As a number it has 8,192 bytes: the answer never arrives.
    dnsmasq.apply("options", "p1", "tag:p1,option6:7,5\n");
    assert!(guest.ask(&Ask6::new(Kind6::Solicit).want(&[7])).is_none());
    assert!(guest.solicit().is_some());
}

#[test]
fn an_option_is_sent_if_asked_for_or_if_nothing_is() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("options", "p1", "tag:p1,option6:224,7b\n");
    let sent = |want: &[u16]| {
        let answer = guest.answer(&Ask6::new(Kind6::Solicit).want(want));
        (answer.option(224).is_some(), answer.option(23).is_some())
    };
    // The server's own address is sent as a DNS server whatever is asked for.
    assert_eq!((sent(&[24]), sent(&[224]), sent(&[])), ((false, true), (true, true), (true, true)));
}

#[test]
fn a_port_tag_beats_a_range_tag_and_a_later_line_an_earlier_one() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    for (file, lines, wins) in [
        ("a", "tag:s6,option6:224,1b\n", 1),
        ("b", "tag:p1,option6:224,2b\n", 2),
        ("c", "tag:s6,option6:224,3b\noption6:224,4b\n", 2),
        ("d", "tag:p1,option6:224,5b\ntag:p1,option6:224,6b\n", 6),
    ] {
        dnsmasq.apply("options", file, lines);
        assert_eq!(got(&guest, 224), Some(vec![wins]), "{file}");
    }
}

/// Two subnets with a port each, whose line has a tag of its subnet, and port 3 without.
fn two_subnets(lab: &Lab) -> Dnsmasq<'_> {
    let other = "set:s7,tag:known,tag:!gone,2001:db9::,static,64,86400";
    let addresses = ["10.0.0.2/24", "2001:db8::2/64", "2001:db9::2/64"];
    let setup = setup().addresses(&addresses).ranges(&[STATEFUL, other]);
    let line = |n, tags: &str, ip: &str| format!("{},tag:dhcpv6,set:p{n}{tags},[{ip}]\n", Mac::nth(n));
    let hosts = line(1, ",set:c6", "2001:db8::11") + &line(2, ",set:c7", "2001:db9::12");
    let dnsmasq = super::serve(lab, setup, &(hosts + &line(3, "", "2001:db9::13")));
    let options = "tag:s6,option6:23,[2001:db8::53]\ntag:s7,option6:23,[2001:db9::53]\n";
    dnsmasq.apply("options", "s", &(options.to_owned() + &options.replace("tag:s", "tag:c")));
    dnsmasq
}

#[test]
fn the_options_of_two_subnets_do_not_mix_if_a_ports_line_has_a_tag_of_its_subnet() {
    let lab = machine();
    let _dnsmasq = two_subnets(&lab);
    for (n, stateful, stateless) in [
        (1, "2001:db8::53", "2001:db8::53"),
        (2, "2001:db9::53", "2001:db9::53"),
        // Without one an INFORMATION-REQUEST does not tell the subnet.
        (3, "2001:db9::53", "2001:db9::2"),
    ] {
        let guest = guest6(&lab, n);
        assert_eq!(guest.sarr().list(23), [stateful.parse::<Ipv6Addr>().unwrap()], "{n}");
        let stateless: Ipv6Addr = stateless.parse().unwrap();
        assert_eq!(guest.information_request().unwrap().list(23), [stateless], "{n}");
    }
}

#[test]
fn the_tag_of_a_subnet_in_a_ports_line_is_as_strong_as_the_ports_own() {
    let lab = machine();
    let dnsmasq = two_subnets(&lab);
    let guest = guest6(&lab, 1);
    dnsmasq.apply("options", "p", "tag:p1,option6:23,[2001:db8::1]\n");
    assert_eq!(guest.sarr().list(23), [super::ip6(1)]);
    dnsmasq.apply("options", "s2", "tag:c6,option6:23,[2001:db8::54]\n");
    assert_eq!(guest.sarr().list(23), [super::ip6(0x54)], "the last that was read wins");
    std::fs::remove_file(dnsmasq.path("options/s2")).unwrap();
    std::fs::remove_file(dnsmasq.path("options/s")).unwrap();
    dnsmasq.write("options", "p", "tag:c6,option6:23,[2001:db8::53]\ntag:p1,option6:23,[2001:db8::1]\n");
    dnsmasq.restart();
    assert_eq!(guest.sarr().list(23), [super::ip6(1)], "in one file the order of its lines counts");
}

#[test]
fn a_ports_line_may_have_the_tag_of_the_range() {
    let lab = machine();
    let other = "set:s7,tag:known,tag:!gone,2001:db9::,static,64,86400";
    let addresses = ["10.0.0.2/24", "2001:db8::2/64", "2001:db9::2/64"];
    let setup = setup().addresses(&addresses).ranges(&[STATEFUL, other]);
    let line = |n, tag: &str, ip: &str| format!("{},tag:dhcpv6,set:{tag},[{ip}]\n", Mac::nth(n));
    let hosts =
        line(1, "s6", "2001:db8::11") + &line(2, "s7", "2001:db9::12") + &line(3, "p3", "2001:db8::13");
    let dnsmasq = super::serve(&lab, setup, &hosts);
    let options = "tag:s6,tag:dhcpv6,option6:23,[2001:db8::53]\ntag:s7,tag:dhcpv6,option6:23,[2001:db9::53]\n\
        tag:s6,tag:dhcpv6,option6:224,1b\ntag:p3,tag:dhcpv6,option6:23,[2001:db8::3]\n";
    dnsmasq.apply("options", "s", options);
    for (n, dns, more) in [
        (1, "2001:db8::53", Some(&[1][..])),
        (2, "2001:db9::53", None),
        // Nobody told it what the range's are.
        (3, "2001:db8::3", None),
    ] {
        let guest = guest6(&lab, n);
        let informed = guest.answer(&Ask6::new(Kind6::InformationRequest).want(&[23, 224]));
        assert_eq!(informed.list(23), [dns.parse::<Ipv6Addr>().unwrap()], "{n}");
        assert_eq!(informed.option(224), more, "{n}");
        assert_eq!(guest.sarr().list(23), [dns.parse::<Ipv6Addr>().unwrap()], "{n}");
    }
}

#[test]
fn the_address_of_no_prefix_keeps_dnsmasq_from_telling_its_own_unless_it_has_such_a_prefix() {
    for (more, told) in [(None, None), (Some("fd00:1::2/64"), Some("fd00:1::2"))] {
        let lab = machine();
        let addresses: Vec<_> = ["10.0.0.2/24", "2001:db8::2/64"].into_iter().chain(more).collect();
        let hosts = host6(1, 0x11);
        let dnsmasq = super::serve(&lab, setup().addresses(&addresses), &hosts);
        dnsmasq.apply("options", "s6", "tag:s6,tag:dhcpv6,option6:23,[fd00::]\n");
        let guest = guest6(&lab, 1);
        let told = told.map(|ip| octets(ip).to_vec());
        assert_eq!(guest.solicit().unwrap().option(23).map(<[u8]>::to_vec), told);
        assert_eq!(guest.information_request().unwrap().option(23).map(<[u8]>::to_vec), told);
    }
}

#[test]
fn a_line_without_an_address_gets_options_and_no_address() {
    let lab = machine();
    let (dnsmasq, wire) = one_port(&lab);
    dnsmasq.apply("hosts", "2", &format!("{},tag:dhcpv6,set:p2\n{}", Mac::nth(2), host6(3, 0x13)));
    dnsmasq.apply("options", "p2", "tag:p2,option6:224,7b\n");
    let guest = lab.twin6(wire.netns(), Mac::nth(2));
    let inform = Ask6::new(Kind6::InformationRequest).want(&[224]);
    assert_eq!(guest.answer(&inform).option(224), Some(&[7][..]));
    assert_eq!(super::advertised(&guest), Some(Vec::new()));
}
