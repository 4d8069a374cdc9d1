//! Subnets whose guests make themselves addresses, and router advertisements.

use std::net::Ipv6Addr;

use crate::lab::{ALL_ROUTERS, Advert, Ask6, Body, DnsReply, DnsSocket, Guest6, Kind6, Mac, Packet6, rtype};
use crate::manifests::{lan_v4, network, port, subnet};
use crate::site::{Site, patiently};

use super::strangers::flood;
use super::{Both, lan_v6, until_nothing_to_do};

/// Subnet `l{n}` of `2001:db8:{n}::/64`, the server's address the first of its pool.
fn formed(n: u8, mode: &str, advertisements: &str, others: &str) -> String {
    let ipv6 = format!("ipv6: {{addressMode: {mode}, routerAdvertisements: {advertisements}}}");
    let pools = format!("pools: [{{first: '2001:db8:{n}::10', last: '2001:db8:{n}::ff'}}]");
    subnet(&format!("l{n}"), "lan", &format!("2001:db8:{n}::/64"), &format!("{ipv6}\n{pools}\n{others}"))
}

fn lan() -> String {
    network("lan", "mtu: 1400\ndns: {domain: vm.example.org}")
}

fn vm(n: u32, more: &str) -> String {
    port(&format!("vm{n}"), "lan", Mac::nth(n), more)
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn server(n: u8) -> Ipv6Addr {
    ip(&format!("2001:db8:{n}::10"))
}

/// What the Port's status says it has.
fn until_has(site: &Site, port: &str, wanted: &[&str]) {
    patiently(&format!("{port} has {wanted:?}"), |instead| {
        let status = site.status();
        let addresses = status.object("Port", port).map(|object| object["status"]["addresses"].clone());
        let list = addresses.as_ref().and_then(|list| list.as_array()).into_iter().flatten();
        let ips: Vec<_> = list.map(|address| address["ip"].as_str().unwrap().to_owned()).collect();
        *instead = format!("{ips:?}");
        (ips == wanted).then_some(())
    });
}

/// The answer to a solicitation: other advertisements are for everybody.
fn solicited(guest: &Guest6<'_>) -> Option<Advert> {
    guest.clear();
    guest.send_router_solicitation();
    let next = || guest.advert_within(std::time::Duration::from_millis(1_200));
    std::iter::from_fn(next).find(|advert| advert.to == guest.link_local())
}

fn until_advertised(guest: &Guest6<'_>) -> Advert {
    patiently("a router advertisement", |_| solicited(guest))
}

#[test]
fn a_kernel_makes_itself_the_address_that_its_port_has() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &formed(1, "SLAAC", "Server", "") + &vm(1, "hostname: vm1")));
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    until_has(&site, "vm1", &["2001:db8:1::ff:fe00:1"]);
    let guest = site.guest(1);
    let shown = |words: &str| site.lab.run_in(guest.netns(), words);
    patiently("it has the address", |instead| {
        *instead = shown("ip -6 address show dev eth0 scope global");
        instead.contains("inet6 2001:db8:1::ff:fe00:1/64").then_some(())
    });
    // Nobody took anybody for a router, and packets are as long as the network carries.
    assert_eq!(shown("ip -6 route show default"), "");
    assert_eq!(shown("cat /proc/sys/net/ipv6/conf/eth0/mtu").trim(), "1400");
    let dns = DnsSocket::new(&site.lab, Some(guest.netns()), server(1));
    let found = DnsReply::found(&["2001:db8:1::ff:fe00:1"]);
    assert_eq!(dns.ask("vm1.vm.example.org", rtype::AAAA), found);
    site.assert_nothing_to_do();
    // Another device, and another address: by itself, and with no lease to give back.
    site.write(
        "a.yaml",
        &(lan() + &formed(1, "SLAAC", "Server", "") + &vm(2, "hostname: vm1").replace("vm2", "vm1")),
    );
    until_has(&site, "vm1", &["2001:db8:1::ff:fe00:2"]);
    site.until_ready("Port", "vm1");
    assert_eq!(dns.ask("vm1.vm.example.org", rtype::AAAA), DnsReply::found(&["2001:db8:1::ff:fe00:2"]));
    site.assert_nothing_to_do();
}

#[test]
fn one_advertisement_says_what_all_subnets_say_and_strangers_are_not_heard() {
    let site = Site::new();
    let more = "dns: {type: Addresses, addresses: ['2001:db8:f::53']}\ndhcp: {leaseDurationSeconds: 7200}";
    let subnets = formed(1, "SLAAC", "Server", "")
        + &formed(2, "DHCPv6Stateful", "Server", more)
        + &formed(3, "SLAAC", "None", "");
    site.write("a.yaml", &(lan() + &lan_v4("") + &subnets + &vm(1, "") + &vm(2, "dhcp: Disabled")));
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let guest = Both::new(&site, 1).six;
    let advert = until_advertised(&guest);
    assert_eq!((advert.managed, advert.other, advert.lifetime), (true, true, 0));
    assert_eq!((advert.mtu, advert.from.is_unicast_link_local()), (Some(1400), true));
    let mut prefixes: Vec<_> = advert
        .prefixes
        .iter()
        .map(|p| (p.address, p.length, p.on_link, p.autonomous, p.valid, p.preferred))
        .collect();
    prefixes.sort();
    let (day, hours) = (86_400, 7_200);
    assert_eq!(
        prefixes,
        [(ip("2001:db8:1::"), 64, true, true, day, day), (ip("2001:db8:2::"), 64, true, false, hours, hours)]
    );
    assert_eq!(advert.dns_servers, [server(1), ip("2001:db8:f::53")]);
    assert_eq!(advert.search, ["vm.example.org"]);
    assert_eq!(guest.sarr().addresses(), [ip("2001:db8:2::11")]);
    for n in [2, 77] {
        let stranger = site.lab.twin6(guest.netns(), Mac::nth(n));
        assert_eq!(solicited(&stranger), None, "{n} is answered");
    }
    site.assert_nothing_to_do();
    // What is announced changes without another process.
    let process = site.dnsmasq_pids();
    let text = lan() + &lan_v4("") + &subnets.replace("2001:db8:f::53", "2001:db8:f::54") + &vm(1, "");
    site.write("a.yaml", &text);
    patiently("another server is advertised", |instead| {
        let servers = solicited(&guest).map(|advert| advert.dns_servers);
        *instead = format!("{servers:?}");
        (servers? == [server(1), ip("2001:db8:f::54")]).then_some(())
    });
    assert_eq!(site.dnsmasq_pids(), process);
}

#[test]
fn stateless_guests_get_the_options_of_their_own_subnet_and_no_address() {
    let site = Site::new();
    let sntp = |n: u8| format!("options: [{{name: sntp-server, values: ['2001:db8::{n}']}}]");
    let own = "addresses: [{subnetRef: {name: l2}}]";
    let wins = "addresses: [{subnetRef: {name: l2}}]
options: [{name: sntp-server, values: ['2001:db8::9'], family: IPv6}]";
    let text = lan()
        + &formed(1, "DHCPv6Stateless", "Server", &sntp(1))
        + &formed(2, "DHCPv6Stateless", "None", &sntp(2))
        + &vm(1, "addresses: [{subnetRef: {name: l1}}]")
        + &vm(2, own)
        + &vm(3, wins);
    site.write("a.yaml", &text);
    let _agent = site.start();
    for (n, subnet, sntp) in [(1, 1, 1), (2, 2, 2), (3, 2, 9)] {
        site.until_ready("Port", &format!("vm{n}"));
        let guest = Both::new(&site, n).six;
        let inform = Ask6::new(Kind6::InformationRequest).want(&[23, 24, 31]);
        let told = guest.answer(&inform);
        assert_eq!(told.list(23), [server(subnet)], "{n}");
        assert_eq!(told.list(31), [ip(&format!("2001:db8::{sntp}"))], "{n}");
        assert_eq!(told.option(24), Some(&b"\x02vm\x07example\x03org\0"[..]), "{n}");
        assert_eq!(guest.solicit().map(|answer| answer.addresses()), Some(Vec::new()), "{n}");
    }
    let stranger = Both::new(&site, 77).six;
    assert!(stranger.information_request().is_none());
    let guest = site.lab.twin6(stranger.netns(), Mac::nth(1));
    let advert = until_advertised(&guest);
    assert_eq!((advert.managed, advert.other, advert.prefixes.len()), (false, true, 1));
    assert_eq!((advert.prefixes[0].address, advert.prefixes[0].autonomous), (ip("2001:db8:1::"), true));
    site.assert_nothing_to_do();
}

#[test]
fn who_is_no_longer_a_port_is_not_heard() {
    let site = Site::new();
    site.write("lan.yaml", &(lan() + &formed(1, "DHCPv6Stateless", "Server", "")));
    let _agent = site.start();
    let guest = Both::new(&site, 1).six;
    site.until_ready("Network", "lan");
    assert_eq!(solicited(&guest), None);
    site.write("vm1.yaml", &vm(1, ""));
    until_advertised(&guest);
    patiently("an answer", |_| guest.information_request());
    site.remove("vm1.yaml");
    site.until_silent6(&guest);
    assert_eq!((solicited(&guest), guest.information_request().is_none()), (None, true));
    site.write("vm1.yaml", &vm(1, ""));
    patiently("an answer", |_| guest.information_request());
    until_advertised(&guest);
}

#[test]
fn a_flood_of_solicitations_keeps_nobody_waiting() {
    flood(&(lan() + &lan_v6("") + &formed(1, "SLAAC", "Server", "")), |mac| {
        let rest = [&[0, 0, 0, 0, 1, 1], &mac.0[..]].concat();
        Packet6::to_group(mac, mac.link_local(), ALL_ROUTERS, Body::Icmp { kind: 133, rest }).frame()
    });
}

#[test]
fn advertisements_end_with_what_asked_for_them() {
    let site = Site::new();
    site.write(
        "a.yaml",
        &(lan() + &formed(1, "SLAAC", "Server", "") + &formed(2, "SLAAC", "None", "") + &vm(1, "")),
    );
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let guest = Both::new(&site, 1).six;
    until_advertised(&guest);
    site.write(
        "a.yaml",
        &(lan()
            + &formed(1, "SLAAC", "Server", "dhcp: {mode: Disabled}")
            + &formed(2, "SLAAC", "None", "")
            + &vm(1, "")),
    );
    patiently("nobody advertises", |_| solicited(&guest).is_none().then_some(()));
    until_nothing_to_do(&site);
    assert_eq!(solicited(&guest), None);
    site.until_ready("Port", "vm1");
}
