//! Router advertisements: which ranges send them, and what they say.

use std::net::Ipv6Addr;

use crate::lab::{Advert, Dnsmasq, Lab, Mac, Setup};
use crate::machine;

use super::{DUID, RANGE4, STATEFUL, guest6, host6, ip6, one_port, prepare, setup};

/// What the range's tag says to guests.
const OPTIONS: &str = "tag:s6,option6:23,[2001:db8::53]\ntag:s6,option6:24,a.test\n";

fn mode(words: &str, more: &[&str]) -> Setup {
    let range = format!("set:s6,tag:known,tag:!gone,2001:db8::,{words},64,3600");
    setup().ranges(&[RANGE4, &range]).more(more)
}

fn serve(lab: &Lab, setup: Setup) -> Dnsmasq<'_> {
    let dnsmasq = prepare(lab, setup);
    dnsmasq.write("options", "all", OPTIONS);
    dnsmasq.write("hosts", "all", &(host6(1, 0x11) + &format!("{},tag:dhcpv6,set:p2\n", Mac::nth(2))));
    dnsmasq.start();
    dnsmasq
}

/// M, O, and L and A of the only prefix.
fn flags(advert: &Advert) -> [bool; 4] {
    let [prefix] = &advert.prefixes[..] else { panic!("{advert:?}") };
    assert_eq!(prefix.length, 64);
    [advert.managed, advert.other, prefix.on_link, prefix.autonomous]
}

#[test]
fn a_stateful_range_sends_none() {
    let lab = machine();
    let (_dnsmasq, guest) = one_port(&lab);
    let ear = lab.twin6(guest.netns(), guest.mac());
    guest.send_router_solicitation();
    // dnsmasq reads DHCPv6 first: only a second answer shows that it has been here.
    guest.solicit().expect("no ADVERTISE");
    guest.solicit().expect("no ADVERTISE");
    assert_eq!(ear.adverts(), []);
}

#[test]
fn the_mode_of_the_range_decides_the_flags() {
    for (words, more, wanted) in [
        ("static", &["--enable-ra"][..], [true, true, true, false]),
        ("static,off-link", &["--enable-ra"], [true, true, false, false]),
        ("static,slaac", &[], [true, true, true, true]),
        ("slaac", &[], [false, false, true, true]),
        ("ra-only", &[], [false, false, true, true]),
        ("ra-names", &[], [false, false, true, true]),
        ("ra-only,off-link", &[], [false, false, false, true]),
        ("ra-stateless", &[], [false, true, true, true]),
    ] {
        let lab = machine();
        let _dnsmasq = serve(&lab, mode(words, more));
        let advert = guest6(&lab, 1).router_solicit().expect("no advertisement");
        assert_eq!(flags(&advert), wanted, "{words}");
    }
}

#[test]
fn a_stateless_range_answers_known_guests_and_a_slaac_range_nobody() {
    for (words, answers) in [("ra-stateless", true), ("slaac", false), ("ra-only", false)] {
        let lab = machine();
        let _dnsmasq = serve(&lab, mode(words, &[]));
        let guest = guest6(&lab, 2);
        assert_eq!(guest.information_request().is_some(), answers, "{words}");
        assert!(guest6(&lab, 9).information_request().is_none(), "a stranger");
    }
}

#[test]
fn a_stateless_range_gives_an_address_to_a_line_that_has_one() {
    let lab = machine();
    let _dnsmasq = serve(&lab, mode("ra-stateless", &[]));
    assert_eq!(guest6(&lab, 1).sarr().addresses(), [ip6(0x11)]);
    assert_eq!(super::advertised(&guest6(&lab, 2)), Some(Vec::new()));
}

#[test]
fn the_parameters_of_the_device_set_lifetime_and_mtu() {
    for (parameters, lifetime, mtu) in [
        ("--ra-param=srv0,mtu:1400,60,0", 0, Some(1400)),
        ("--ra-param=srv0,mtu:off,60,0", 0, None),
        ("--ra-param=srv0,60,0", 0, Some(1500)),
        ("--ra-param=srv0,mtu:1280,60", 180, Some(1280)),
        ("--quiet-ra", 1800, Some(1500)),
    ] {
        let lab = machine();
        let _dnsmasq = serve(&lab, mode("ra-only", &[parameters]));
        let advert = guest6(&lab, 1).router_solicit().expect("no advertisement");
        assert_eq!((advert.lifetime, advert.mtu), (lifetime, mtu), "{parameters}");
    }
}

#[test]
fn servers_and_search_list_are_those_of_the_ranges_tag_or_the_server_itself() {
    let lab = machine();
    let dnsmasq = serve(&lab, mode("ra-only", &[]));
    let guest = guest6(&lab, 1);
    let said = || {
        guest.clear();
        let advert = guest.router_solicit().expect("no advertisement");
        (advert.dns_servers, advert.search)
    };
    assert_eq!(said(), (vec![ip6(0x53)], vec!["a.test".to_owned()]));
    dnsmasq.apply("options", "all", "tag:s6,option6:23\ntag:s6,option6:24\n");
    assert_eq!(said(), (Vec::new(), Vec::new()));
    dnsmasq.write("options", "all", "");
    dnsmasq.restart();
    let (servers, search) = said();
    assert!(servers[0].is_unicast_link_local() && search.is_empty(), "{servers:?} {search:?}");
}

#[test]
fn without_a_range_of_dhcp_the_options_are_not_read() {
    let slaac = "set:s6,tag:known,tag:!gone,2001:db8::,slaac,64,3600";
    for (ranges, read) in [(&[slaac][..], false), (&[slaac, "tag:none,192.0.2.0,static,255.255.255.0"], true)]
    {
        let lab = machine();
        let _dnsmasq = serve(&lab, setup().ranges(ranges));
        let advert = guest6(&lab, 1).router_solicit().expect("no advertisement");
        assert_eq!(advert.dns_servers == [ip6(0x53)], read, "{ranges:?}");
    }
}

#[test]
fn a_stateful_subnet_stays_out_of_the_advertisement_of_the_one_beside_it() {
    let lab = machine();
    let slaac = "set:s7,tag:known,tag:!gone,2001:db9::,slaac,64,86400";
    let addresses = ["10.0.0.2/24", "2001:db8::2/64", "2001:db9::2/64"];
    let setup = setup().addresses(&addresses).ranges(&[STATEFUL, slaac]);
    let dnsmasq = serve(&lab, setup);
    dnsmasq.apply("options", "s7", "tag:s7,option6:23,[2001:db9::53]\n");
    let guest = guest6(&lab, 1);
    let advert = guest.router_solicit().expect("no advertisement");
    assert_eq!(flags(&advert), [false, false, true, true]);
    assert_eq!(advert.prefixes[0].address, "2001:db9::".parse::<Ipv6Addr>().unwrap());
    assert_eq!(advert.dns_servers, ["2001:db9::53".parse::<Ipv6Addr>().unwrap()]);
    assert!(advert.search.is_empty());
    assert_eq!(guest.sarr().addresses(), [ip6(0x11)]);
}

#[test]
fn two_subnets_with_advertisements_share_one_and_mix_their_options() {
    let lab = machine();
    let range = |tag, net, mode| format!("set:{tag},tag:known,{net},{mode},64,86400");
    let (a, b) = (range("s6", "2001:db8::", "ra-only"), range("s7", "2001:db9::", "ra-stateless"));
    let addresses = ["10.0.0.2/24", "2001:db8::2/64", "2001:db9::2/64"];
    let dnsmasq = serve(&lab, Setup::default().addresses(&addresses).ranges(&[&a, &b]).more(&[DUID]));
    dnsmasq.apply("options", "s7", "tag:s7,option6:23,[2001:db9::53]\n");
    let advert = guest6(&lab, 1).router_solicit().expect("no advertisement");
    assert_eq!((advert.prefixes.len(), advert.other), (2, true));
    assert_eq!(advert.dns_servers, ["2001:db9::53".parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(advert.search, ["a.test"]);
}

/// What advertisements say, and what DHCPv6 says in the same process.
#[test]
fn a_tag_keeps_the_options_of_advertisements_and_those_of_dhcpv6_apart() {
    let lab = machine();
    let a = "set:s6,tag:known,tag:!gone,2001:db8::,ra-stateless,64,3600";
    let b = "set:s7,tag:known,tag:!gone,2001:db9::,slaac,64,3600";
    let addresses = ["10.0.0.2/24", "2001:db8::2/64", "2001:db9::2/64"];
    let dnsmasq = prepare(&lab, setup().addresses(&addresses).ranges(&[RANGE4, a, b]));
    let options = "tag:!dhcpv6,option6:23,[2001:db8::1],[2001:db9::1]\ntag:!dhcpv6,option6:24,ra.test\n\
        tag:s6,tag:dhcpv6,option6:23,[2001:db8::53]\ntag:s6,tag:dhcpv6,option6:24,a.test\n\
        tag:s7,tag:dhcpv6,option6:23,[2001:db9::53]\n";
    dnsmasq.write("options", "all", options);
    dnsmasq.write("hosts", "all", &format!("{},tag:dhcpv6,set:p2\n", Mac::nth(2)));
    dnsmasq.start();
    let guest = guest6(&lab, 2);
    let advert = guest.router_solicit().expect("no advertisement");
    assert_eq!((advert.managed, advert.other, advert.prefixes.len()), (false, true, 2));
    assert_eq!(advert.dns_servers, ["2001:db8::1", "2001:db9::1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap()));
    assert_eq!(advert.search, ["ra.test"]);
    let answer = guest.information_request().expect("no REPLY");
    assert_eq!((answer.list(23), answer.option(24)), (vec![ip6(0x53)], Some(&b"\x01a\x04test\0"[..])));
    dnsmasq.apply("options", "more", "tag:!dhcpv6,option6:23\n");
    guest.clear();
    assert!(guest.router_solicit().expect("no advertisement").dns_servers.is_empty());
}

#[test]
fn a_range_that_the_device_has_no_address_of_has_the_options_read_and_is_not_advertised() {
    let slaac = "set:s6,tag:known,tag:!gone,2001:db8::,slaac,64,3600";
    for more in [&[][..], &["--enable-ra"]] {
        let lab = machine();
        let ranges = [slaac, "tag:known,::ffff:0:0,static,96"];
        let _dnsmasq = serve(&lab, setup().ranges(&ranges).more(more));
        let guest = guest6(&lab, 1);
        let advert = guest.router_solicit().expect("no advertisement");
        assert_eq!(flags(&advert), [false, false, true, true]);
        assert_eq!(advert.dns_servers, [ip6(0x53)]);
        assert!(guest.silent());
    }
}

#[test]
fn one_advertisement_has_a_prefix_of_either_kind() {
    let lab = machine();
    let slaac = "set:s7,tag:known,tag:!gone,2001:db9::,slaac,64,86400";
    let addresses = ["10.0.0.2/24", "2001:db8::2/64", "2001:db9::2/64"];
    let _dnsmasq =
        serve(&lab, setup().addresses(&addresses).ranges(&[STATEFUL, slaac]).more(&["--enable-ra"]));
    let advert = guest6(&lab, 1).router_solicit().expect("no advertisement");
    assert_eq!((advert.managed, advert.other), (true, true));
    let mut prefixes: Vec<_> = advert
        .prefixes
        .iter()
        .map(|p| (p.address.to_string(), p.on_link, p.autonomous, p.valid, p.preferred))
        .collect();
    prefixes.sort();
    let day = 86_400;
    assert_eq!(
        prefixes,
        [("2001:db8::".into(), true, false, day, day), ("2001:db9::".into(), true, true, day, day)]
    );
}

#[test]
fn a_static_range_gives_options_and_no_address_to_a_line_without_one_whatever_its_name_is() {
    let lab = machine();
    let dnsmasq = prepare(&lab, setup());
    dnsmasq.write("names", "all", "2001:db8::ff:fe00:2 vm2\n");
    dnsmasq.write("options", "all", OPTIONS);
    let line = |n, more: &str| format!("{},tag:dhcpv6,set:s6{more}\n", Mac::nth(n));
    dnsmasq.write("hosts", "all", &(line(2, "") + &line(3, ",vm2.")));
    dnsmasq.start();
    for (n, given) in [(2, vec![]), (3, vec!["2001:db8::ff:fe00:2".parse().unwrap()])] {
        let guest = guest6(&lab, n);
        assert_eq!(super::advertised(&guest), Some(given), "{n}");
        assert_eq!(guest.information_request().unwrap().list(23), [ip6(0x53)], "{n}");
    }
}
