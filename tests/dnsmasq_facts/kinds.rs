//! Options for guests of a kind: what a request must say to be of one, and what wins over what.

use crate::lab::{Ask, Ask6, Dnsmasq, Guest, Kind6, MessageType, Setup, raw};
use crate::six;
use crate::{guest, host, machine};

/// As the driver gives them, of two architectures.
const MATCHES: [&str; 8] = [
    "--dhcp-match=set:ipxe,175",
    "--dhcp-userclass=set:ipxe,iPXE",
    "--dhcp-match=set:x86-bios,option:client-arch,0",
    "--dhcp-match=set:x64-uefi,option:client-arch,7",
    "--dhcp-match=set:x64-uefi,option:client-arch,9",
    "--dhcp-match=set:x86-bios,option6:61,00:00",
    "--dhcp-match=set:x64-uefi,option6:61,00:07",
    "--tag-if=set:no-arch,tag:!x86-bios,tag:!x64-uefi",
];

/// What a request says besides.
type Said<'a> = &'a [(u8, &'a [u8])];

const BIOS: Said<'_> = &[(93, &[0, 0])];
const UEFI: Said<'_> = &[(93, &[0, 7])];
const IPXE: Said<'_> = &[(175, &[0xb1, 4, 1, 0x80, 0x86, 0x10])];

/// The byte that such a request gets as option 224.
fn got(guest: &Guest<'_>, said: Said<'_>) -> Option<u8> {
    let said: Vec<_> = said.iter().map(|(code, bytes)| raw(*code, bytes)).collect();
    let ask = Ask::new(MessageType::Discover).want(&[224]).options(&said);
    guest.answer(&ask).option(224).map(|value| value[0])
}

fn served<'lab>(lab: &'lab crate::lab::Lab, options: &str) -> (Dnsmasq<'lab>, Guest<'lab>) {
    let dnsmasq = Dnsmasq::with_hosts(lab, Setup::default().more(&MATCHES), &host(1, 11));
    dnsmasq.apply("options", "base", options);
    (dnsmasq, guest(lab, 1))
}

#[test]
fn a_request_is_of_the_kinds_that_it_says() {
    let lab = machine();
    let options = "tag:p1,224,9b\n\
                   tag:p1,tag:x86-bios,224,1b\n\
                   tag:p1,tag:x64-uefi,tag:!ipxe,224,2b\n\
                   tag:p1,tag:x64-uefi,tag:ipxe,224,3b\n\
                   tag:p1,tag:no-arch,tag:ipxe,224,4b\n";
    let (dnsmasq, guest) = served(&lab, options);
    for restarted in [false, true] {
        if restarted {
            dnsmasq.restart();
        }
        let user_class: Said<'_> = &[(77, b"iPXE")];
        assert_eq!(got(&guest, &[]), Some(9));
        assert_eq!(got(&guest, BIOS), Some(1));
        assert_eq!(got(&guest, UEFI), Some(2));
        assert_eq!(got(&guest, &[(93, &[0, 9])]), Some(2));
        assert_eq!(got(&guest, &[UEFI, IPXE].concat()), Some(3));
        assert_eq!(got(&guest, &[UEFI, user_class].concat()), Some(3));
        assert_eq!(got(&guest, IPXE), Some(4));
        assert_eq!(got(&guest, &[user_class, &[(93, &[0, 11])]].concat()), Some(4));
        assert_eq!(got(&guest, &[(93, &[0, 11])]), Some(9));
        // Several, in the order of preference.
        assert_eq!(got(&guest, &[(93, &[0, 11, 0, 7])]), Some(2));
        // Not at an odd place, and not half of one.
        assert_eq!(got(&guest, &[(93, &[1, 0, 7, 1])]), Some(9));
        assert_eq!(got(&guest, &[(93, &[7])]), Some(9));
    }
}

#[test]
fn a_value_for_some_guests_wins_where_it_stands_later() {
    let lab = machine();
    let (dnsmasq, guest) = served(&lab, "tag:p1,224,1b\ntag:p1,tag:x64-uefi,224,2b\n");
    assert_eq!((got(&guest, &[]), got(&guest, UEFI)), (Some(1), Some(2)));
    dnsmasq.apply("options", "add-1", "tag:p1,224,3b\n");
    assert_eq!((got(&guest, &[]), got(&guest, UEFI)), (Some(3), Some(3)));
    dnsmasq.apply("options", "add-2", "tag:p1,tag:x64-uefi,224,2b\n");
    assert_eq!((got(&guest, &[]), got(&guest, UEFI)), (Some(3), Some(2)));
}

#[test]
fn a_ports_value_wins_over_what_its_subnet_has_for_some_guests() {
    let lab = machine();
    let (dnsmasq, guest) = served(&lab, "tag:s1,224,1b\ntag:s1,tag:x64-uefi,224,2b\n");
    assert_eq!((got(&guest, &[]), got(&guest, UEFI)), (Some(1), Some(2)));
    dnsmasq.apply("options", "add-1", "tag:p1,tag:x86-bios,224,3b\n");
    assert_eq!((got(&guest, &[]), got(&guest, UEFI), got(&guest, BIOS)), (Some(1), Some(2), Some(3)));
    dnsmasq.apply("options", "add-2", "tag:p1,224,4b\n");
    assert_eq!((got(&guest, &[]), got(&guest, UEFI)), (Some(4), Some(4)));
}

#[test]
fn in_dhcpv6_a_request_is_of_the_kinds_that_it_says() {
    let lab = machine();
    let dnsmasq = six::serve(&lab, six::setup().more(&MATCHES), &six::host6(1, 0x11));
    dnsmasq.apply(
        "options",
        "base",
        "tag:s6,option6:59,\"z\"\n\
         tag:p1,tag:x64-uefi,tag:!ipxe,option6:59,\"2\"\n\
         tag:p1,tag:x64-uefi,tag:ipxe,option6:59,\"3\"\n\
         tag:p1,tag:no-arch,tag:ipxe,option6:59,\"4\"\n",
    );
    let guest = six::guest6(&lab, 1);
    let got = |ask: Ask6| {
        let answer = guest.answer(&ask.want(&[59]));
        answer.option(59).map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let solicit = || Ask6::new(Kind6::Solicit);
    for (ask, wanted) in [
        (solicit(), "z"),
        (solicit().option(61, &[0, 0]), "z"),
        (solicit().option(61, &[0, 7]), "2"),
        // The first one counts, and no other.
        (solicit().option(61, &[0, 7, 0, 11]), "2"),
        (solicit().option(61, &[0, 11, 0, 7]), "z"),
        (solicit().option(61, &[0, 7]).user_class("iPXE"), "3"),
        (solicit().user_class("iPXE"), "4"),
        (solicit().option(61, &[0, 11]), "z"),
        (solicit().option(61, &[1, 0, 7, 1]), "z"),
    ] {
        assert_eq!(got(ask.clone()).as_deref(), Some(wanted), "{:?}", ask.options);
    }
}
