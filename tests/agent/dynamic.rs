//! Guests that are no Port, where a Subnet has addresses for them.

use std::net::Ipv4Addr;

use crate::lab::{Answer, Ask, DhcpOption, DnsReply, DnsSocket, Guest, Mac, MessageType, rtype};
use crate::manifests::{fixed, lan_v4, network, port, subnet};
use crate::site::{Site, patiently};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);
const POOL: [Ipv4Addr; 4] = [ip(200), ip(201), ip(202), ip(203)];

const fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

const DYNAMIC: &str =
    "dhcp: {mode: Dynamic, leaseDurationSeconds: 600, dynamic: {first: 10.0.0.200, last: 10.0.0.203}}";

/// Network `lan` with a second subnet, that has nothing for strangers.
fn open() -> String {
    network("lan", "dns: {domain: vm.example.org}")
        + &lan_v4(DYNAMIC)
        + &subnet("second", "lan", "10.1.0.0/24", "gateway: {type: None}")
        + &fixed("vm1", Mac::nth(1), "10.0.0.20", "hostname: vm1")
}

fn site(more: &str) -> Site {
    let site = Site::new();
    site.write("a.yaml", &(open() + more));
    site
}

fn dora(guest: &Guest<'_>) -> Answer {
    let ack = guest.dora();
    assert!(POOL.contains(&ack.yiaddr()), "{ack:?}");
    ack
}

fn until_silent(guest: &Guest<'_>) {
    patiently("it is silent", |_| guest.discover(&[]).is_none().then_some(()));
}

/// Until its next lease is this address, or one for strangers.
fn until_has(guest: &Guest<'_>, wanted: impl Fn(Ipv4Addr) -> bool) -> Ipv4Addr {
    patiently("it has another address", |instead| {
        let offer = guest.discover(&[])?;
        *instead = format!("{offer:?}");
        wanted(offer.yiaddr()).then(|| guest.dora().yiaddr())
    })
}

#[test]
fn strangers_get_what_is_for_them_and_ports_what_is_theirs() {
    let site = site("");
    let agent = site.start();
    let (vm, strangers) = (site.guest(1), [5, 6, 7, 8].map(|n| site.guest(n)));
    site.until_leased(&vm, VM1);
    let acks: Vec<_> = strangers.iter().map(dora).collect();
    let mut given: Vec<_> = acks.iter().map(Answer::yiaddr).collect();
    given.sort_unstable();
    assert_eq!(given, POOL, "each has its own");
    assert_eq!(acks[0].seconds(51), Some(600));
    for code in [1, 3, 6, 15] {
        assert_eq!(acks[0].option(code), vm.dora().option(code), "option {code}");
    }
    assert!(site.guest(9).discover(&[]).is_none(), "there are no more");
    // Neither a restart of the agent nor one of dnsmasq is anything to them.
    let pids = site.dnsmasq_pids();
    agent.kill9();
    let _agent = site.start();
    assert_eq!(site.dnsmasq_pids(), pids);
    site.lab.signal("KILL", pids[0]);
    let [first, second, ..] = &strangers;
    patiently("a lease is renewed", |_| first.renew(acks[0].yiaddr(), SERVER));
    assert_eq!(second.init_reboot(acks[1].yiaddr()).map(|ack| ack.kind()), Some(MessageType::Ack));
    assert_eq!(second.dora().yiaddr(), acks[1].yiaddr());
    assert_eq!(vm.dora().yiaddr(), VM1);
    site.assert_nothing_to_do();
}

#[test]
fn a_stranger_has_no_name_and_takes_none() {
    let site = site("");
    let _agent = site.start();
    let (vm, stranger) = (site.guest(1), site.guest(5));
    site.until_leased(&vm, VM1);
    for name in ["printer", "vm1", "gateway"] {
        let ask = Ask::new(MessageType::Discover).option(DhcpOption::Hostname(name.into()));
        let offer = stranger.answer(&ask);
        let take = Ask::new(MessageType::Request)
            .option(DhcpOption::RequestedIpAddress(offer.yiaddr()))
            .option(DhcpOption::ServerIdentifier(SERVER))
            .option(DhcpOption::Hostname(name.into()));
        assert_eq!(stranger.ask(&take).map(|ack| ack.kind()), Some(MessageType::Ack));
    }
    vm.configure("10.0.0.20/24", None);
    let dns = DnsSocket::new(&site.lab, Some(vm.netns()), SERVER);
    assert_eq!(dns.ask("vm1.vm.example.org", rtype::A), DnsReply::found(&["10.0.0.20"]));
    for name in ["printer.vm.example.org", "gateway.vm.example.org"] {
        assert_eq!(dns.ask(name, rtype::A), DnsReply::nxdomain(), "{name}");
    }
}

#[test]
fn who_becomes_a_port_or_is_none_any_more_gets_what_is_his_then() {
    let site = site(&port("silent", "lan", Mac::nth(3), "dhcp: Disabled"));
    let _agent = site.start();
    let (silent, guest) = (site.guest(3), site.guest(5));
    let first = dora(&guest).yiaddr();
    assert!(silent.discover(&[]).is_none(), "a Port is no stranger");
    // What it holds becomes another's, at the same time as it gets one of its own.
    let thief = site.guest(6);
    let ports =
        fixed("vm5", Mac::nth(5), "10.0.0.25", "") + &fixed("vm6", Mac::nth(6), &first.to_string(), "");
    site.write("b.yaml", &ports);
    until_has(&guest, |ip| ip == Ipv4Addr::new(10, 0, 0, 25));
    until_has(&thief, |ip| ip == first);
    site.until_ready("Port", "vm6");
    site.write("b.yaml", &fixed("vm6", Mac::nth(6), &first.to_string(), ""));
    let again = until_has(&guest, |ip| POOL.contains(&ip));
    assert_ne!(again, first, "it is a Port's");
    site.write("a.yaml", &(open() + &port("silent", "lan", Mac::nth(3), "")));
    until_has(&silent, |ip| !POOL.contains(&ip));
    site.write("a.yaml", &open());
    until_has(&silent, |ip| POOL.contains(&ip));
    // Without it all is as ever: silence, and no lease is left.
    site.write("a.yaml", &open().replace(DYNAMIC, ""));
    until_silent(&guest);
    until_silent(&silent);
    assert_eq!(thief.dora().yiaddr(), first);
    let leases = std::fs::read_to_string(site.network_dir().join("leases")).unwrap();
    let holders: Vec<_> = leases.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(holders, [first.to_string()], "{leases}");
}
