//! What a guest is answered in DHCPv6, byte by byte.

use std::net::Ipv6Addr;
use std::time::Instant;

use crate::lab::{Answer6, Ask6, Body, Kind6, Lifetimes, Mac, PATIENCE, Packet6, Wire, eventually, status};
use crate::manifests::{lan_v4, network, port, subnet};
use crate::site::Site;

use super::{Both, SERVER, dual, ip4, ip6, lan_v6, lan46, leases, server_duid, until_leases};

const WANT: [u16; 8] = [23, 24, 31, 32, 39, 56, 59, 224];

/// A subnet and a port with all that can be said of them.
fn rich() -> String {
    let lan = "mtu: 1400
dns: {domain: vm.example.org}
options:
- {name: sntp-server, values: ['2001:db8::1'], family: IPv6}
- {name: ntp-server, values: ['2001:db8::1'], family: IPv6}
- {name: ntp-server, values: [192.0.2.1], family: IPv4}
- {code: 224, encoding: Hex, values: [0a0b, ff], family: IPv6}";
    let six = "dhcp: {leaseDurationSeconds: 7200}
options:
- {name: ntp-server, values: ['2001:db8::2']}
- {name: sntp-server, values: ['2001:db8::2']}
- {name: information-refresh-time, values: ['600']}";
    let port = "options:
- {name: bootfile-url, values: ['http://[2001:db8::9]/a,b'], family: IPv6}
- {name: sntp-server, values: ['2001:db8::3'], family: IPv6}";
    network("lan", lan) + &lan_v4("") + &lan_v6(six) + &dual(1, 0x20, port)
}

/// T1 and T2 are half and seven eighths of the lease, or up to a sixteenth of it less: dnsmasq spreads
/// renewals so.
fn assert_times(answer: &Answer6, lease: u32) {
    let given = answer.given();
    let [given] = &given[..] else { panic!("{given:?}") };
    let is = |time: u32, most: u32| (most - lease / 16..=most).contains(&time);
    assert!(is(given.t1, lease / 2) && is(given.t2, lease / 8 * 7), "{given:?}");
    assert_eq!(given.addresses, [Lifetimes { address: ip6(0x20), preferred: lease, valid: lease }]);
}

/// As in the option of NTP servers (RFC 5908).
fn ntp_server(ip: Ipv6Addr) -> Vec<u8> {
    [&[0, 1, 0, 16], &ip.octets()[..]].concat()
}

/// A client drops what has a wrong one, and in IPv6 none is wrong.
#[test]
fn the_checksums_of_all_answers_are_right() {
    let site = Site::new();
    site.write("a.yaml", &(lan46() + &dual(1, 0x20, "")));
    let _agent = site.start();
    let guest = Both::new(&site, 1).six;
    let server = site.until_leased6(&guest, ip6(0x20)).server();
    let wire = Wire::open(&site.lab, Some(guest.netns()), "eth0");
    guest.sarr();
    eventually("an answer to RENEW", PATIENCE, || guest.renew(ip6(0x20), &server));
    eventually("an answer to INFORMATION-REQUEST", PATIENCE, || guest.information_request());
    let mut answers = 0;
    while let Some(frame) = wire.receive(Instant::now()) {
        let to_it = |packet: &Packet6| matches!(packet.body, Body::Udp { to: 546, .. });
        if Packet6::parse(&frame).as_ref().is_some_and(to_it) {
            assert_eq!(Packet6::checksum_is_right(&frame), Some(true), "{frame:02x?}");
            answers += 1;
        }
    }
    assert!(answers >= 4, "{answers}");
}

#[test]
fn a_lease_has_all_that_was_declared() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    let _agent = site.start();
    let guest = Both::new(&site, 1).six;
    let advertise = guest.answer(&Ask6::new(Kind6::Solicit).want(&WANT));
    let request = guest.about(Kind6::Request, ip6(0x20)).to(&advertise.server()).want(&WANT);
    // Its own idea of its name is not asked for.
    let request = request.option(39, b"\0\x05other\0");
    let reply = guest.answer(&request);
    assert_eq!((advertise.kind(), reply.kind()), (Kind6::Advertise, Kind6::Reply));
    assert_eq!(advertise.server(), server_duid(&site));
    for answer in [&advertise, &reply] {
        assert_times(answer, 7200);
        assert_eq!(answer.list(23), [SERVER]);
        assert_eq!(answer.option(24), Some(&b"\x02vm\x07example\x03org\0"[..]));
        assert_eq!(answer.list(31), [ip6(3)], "the port's wins over all");
        assert_eq!(answer.option(56), Some(&*ntp_server(ip6(2))), "the subnet's wins over the network's");
        assert_eq!(answer.option(32), Some(&600u32.to_be_bytes()[..]));
        assert_eq!(answer.option(59), Some(&b"http://[2001:db8::9]/a,b"[..]));
        assert_eq!(answer.option(224), Some(&[10, 11, 255][..]));
    }
    let name = reply.option(39).expect("no name");
    assert_eq!(&name[1..], b"\x03vm1\x02vm\x07example\x03org\0");
}

#[test]
fn the_same_guest_has_its_ipv4_of_the_same_server() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    let _agent = site.start();
    let guest = Both::new(&site, 1);
    guest.until_leased(&site, 0x20);
    let ack = guest.four.dora();
    assert_eq!((ack.yiaddr(), ack.server()), (ip4(0x20), ip4(10)));
    assert_eq!(ack.option(6), Some(&[10, 0, 0, 10][..]));
    assert_eq!(ack.option(42), Some(&[192, 0, 2, 1][..]));
    assert_eq!((ack.text(12), ack.text(15)), (Some("vm1".into()), Some("vm.example.org".into())));
    assert_eq!((ack.option(51), ack.option(26)), (Some(&86_400u32.to_be_bytes()[..]), Some(&[5, 120][..])));
    assert_eq!(site.dnsmasq_pids().len(), 1);
    until_leases(&site, "10.0.0.32 ", 1);
    until_leases(&site, "2001:db8::20 ", 1);
}

#[test]
fn nothing_that_was_not_declared_is_sent() {
    let site = Site::new();
    site.write("a.yaml", &(network("lan", "") + &lan_v6("dns: {type: None}") + &dual(1, 0x20, "")));
    let _agent = site.start();
    let guest = Both::new(&site, 1).six;
    let advertise = guest.answer(&Ask6::new(Kind6::Solicit).want(&WANT));
    // A name it always tells.
    assert_eq!(advertise.option(39), Some(&b"\x01\x03vm1"[..]));
    for code in WANT.into_iter().filter(|code| *code != 39) {
        assert_eq!(advertise.option(code), None, "option {code}");
    }
}

#[test]
fn a_lease_is_renewed_confirmed_and_returned() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    let _agent = site.start();
    let guest = Both::new(&site, 1).six;
    let server = site.until_leased6(&guest, ip6(0x20)).server();
    let renewal = guest.renew(ip6(0x20), &server).expect("no answer to RENEW");
    assert_times(&renewal, 7200);
    assert_eq!(renewal.list(23), [SERVER]);
    let confirmed = |ip| guest.confirm(ip).expect("no answer to CONFIRM").status();
    assert_eq!(confirmed(ip6(0x20)), Some(status::SUCCESS));
    assert_eq!(confirmed("2001:db9::20".parse().unwrap()), Some(status::NOT_ON_LINK));
    let inform = Ask6::new(Kind6::InformationRequest).want(&WANT);
    let informed = guest.answer(&inform);
    assert_eq!((informed.list(23), informed.list(31)), (vec![SERVER], vec![ip6(3)]));
    assert_eq!(informed.addresses(), Vec::<Ipv6Addr>::new());

    until_leases(&site, "2001:db8::20 ", 1);
    let released = guest.release(ip6(0x20), &server).expect("no answer to RELEASE");
    assert_eq!(released.status(), Some(status::SUCCESS));
    until_leases(&site, "2001:db8::20 ", 0);
    assert_eq!(guest.sarr().addresses(), [ip6(0x20)]);
}

#[test]
fn several_addresses_are_there_for_as_many_associations() {
    let site = Site::new();
    let more = format!("addresses: [{{ip: '{}'}}, {{ip: '{}'}}]", ip6(0x20), ip6(0x21));
    site.write("a.yaml", &(lan46() + &port("vm1", "lan", Mac::nth(1), &more)));
    let _agent = site.start();
    let first = Both::new(&site, 1).six;
    assert_eq!(site.until_leased6(&first, ip6(0x20)).addresses(), [ip6(0x20)]);
    let second = site.lab.twin6(first.netns(), first.mac()).with_iaid(2);
    assert_eq!(second.sarr().addresses(), [ip6(0x21)]);
    site.assert_nothing_to_do();
    assert_eq!(leases(&site, "2001:db8::").len(), 2);
}

#[test]
fn status_shows_both_addresses_and_there_is_nothing_to_do() {
    let site = Site::new();
    site.write("a.yaml", &(lan46() + &dual(1, 0x20, "")));
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    Both::new(&site, 1).until_leased(&site, 0x20);
    let table = site.run(&["status", "--state-dir", site.state.to_str().unwrap()]);
    let row = |of: &str| table.lines().find(|line| line.contains(of)).unwrap_or_else(|| panic!("{table}"));
    assert!(row("team-a/vm1 ").contains("10.0.0.32,2001:db8::20"), "{table}");
    assert!(row("team-a/lan ").contains("10.0.0.10,2001:db8::10"), "{table}");
    assert!(row("team-a/lan-v6 ").contains("2001:db8::1 "), "{table}");
    assert!(row("team-a/lan-v6 ").contains("True"), "{table}");
    site.assert_nothing_to_do();
}

#[test]
fn the_options_of_two_subnets_do_not_mix() {
    let site = Site::new();
    let first = lan_v6("options: [{name: sntp-server, values: ['2001:db8::1']}]");
    let more = "ipv6: {addressMode: DHCPv6Stateful}
pools: [{first: '2001:db8:1::10', last: '2001:db8:1::ff'}]
dhcp: {leaseDurationSeconds: 3600}";
    let second = subnet("second", "lan", "2001:db8:1::/64", more);
    let other: Ipv6Addr = "2001:db8:1::20".parse().unwrap();
    let vm2 = port("vm2", "lan", Mac::nth(2), &format!("addresses: [{{ip: '{other}'}}]"));
    site.write(
        "a.yaml",
        &(network("lan", "") + &first + &second + &dual(1, 0x20, "").replace("{ip: 10.0.0.32}, ", "") + &vm2),
    );
    let _agent = site.start();
    for (n, address, server, sntp, lease) in [
        (1, ip6(0x20), SERVER, vec![ip6(1)], 86_400),
        (2, other, "2001:db8:1::10".parse().unwrap(), vec![], 3600),
    ] {
        let guest = Both::new(&site, n).six;
        site.until_leased6(&guest, address);
        let advertise = guest.answer(&Ask6::new(Kind6::Solicit).want(&WANT));
        assert_eq!(advertise.lifetimes()[0].valid, lease, "{n}");
        assert_eq!((advertise.list(23), advertise.list(31)), (vec![server], sntp), "{n}");
    }
}
