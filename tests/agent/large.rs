//! More ports in one network than one dnsmasq can serve well.

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::lab::{Answer, Ask, Guest, Mac, MessageType, PATIENCE, eventually};
use crate::manifests::{network, object, port, subnet};
use crate::shared_out::{asking_meanwhile, until};
use crate::site::{LONG, Site, files_of};

fn wide() -> String {
    network("lan", "dns: {domain: vm.example.org}") + &subnet("wide", "lan", "10.0.0.0/16", "")
}

fn ports(numbers: std::ops::RangeInclusive<u32>) -> String {
    let one = |n| port(&format!("vm{n}"), "lan", Mac::nth(n), &format!("addresses: [{{ip: {}}}]", ip(n)));
    wide() + &numbers.map(one).collect::<String>()
}

fn ip(n: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 0, 16, 0)) + n).into()
}

/// Of guests that are known by what they call themselves, and of a device that one of them has.
const ID: &[u8] = &[0xab, 0xcd, 0xef];
const CALLED: Ipv4Addr = Ipv4Addr::new(10, 0, 15, 1);
const DEVICE: u32 = 40_000;
const OF_DUID: Ipv4Addr = Ipv4Addr::new(10, 0, 15, 2);

/// One by its client identifier; one by its DUID, which in DHCPv4 is its MAC address.
fn identified() -> [String; 2] {
    let one = |name, spec: &str, ip| {
        object("Port", name, &format!("networkRef: {{name: lan}}\naddresses: [{{ip: {ip}}}]\n{spec}"))
    };
    let duid = format!("macAddress: \"{}\"\nidentity: {{type: DUID, duid: '00:04:0a:0b'}}", Mac::nth(DEVICE));
    [
        one("called", "identity: {type: ClientID, clientID: 'ab:cd:ef'}", CALLED),
        one("of-duid", &duid, OF_DUID),
    ]
}

struct Large<'a> {
    site: &'a Site,
    server: Ipv4Addr,
    like: Guest<'a>,
}

impl<'a> Large<'a> {
    fn guest(&self, n: u32) -> Guest<'a> {
        self.site.lab.twin(&self.like, Mac::nth(n))
    }

    fn lease(&self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            self.site.until_leased(&self.guest(n), ip(n));
        }
    }

    /// As a guest that has its lease.
    fn renew(&self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            self.renew_of(&self.guest(n), ip(n));
        }
    }

    /// It asks until it is answered, as every client does.
    fn renew_of(&self, guest: &Guest<'_>, ip: Ipv4Addr) {
        let ack = eventually("an answer", LONG, || guest.renew(ip, self.server));
        assert_eq!((ack.kind(), ack.yiaddr()), (MessageType::Ack, ip), "{}", ack.reason());
    }

    /// A guest that calls itself `called`.
    fn called(&self, device: u32) -> Guest<'a> {
        self.guest(device).with_client_id(ID)
    }

    /// Does something, while a guest asks all the time and none of its questions is lost.
    fn answered_meanwhile<T>(&self, n: u32, what: impl FnOnce() -> T) -> T {
        let (guest, began) = (self.guest(n), Instant::now());
        let ask = || {
            let offer = guest.ask_for(&Ask::new(MessageType::Discover), PATIENCE);
            assert_eq!(offer.map(|offer| offer.yiaddr()), Some(ip(n)), "after {:?}", began.elapsed());
        };
        asking_meanwhile(ask, what)
    }
}

/// Ports before there are too many for one, and after. Two more are known by identifiers.
const FEW: u32 = 1_990;
const MANY: u32 = 2_100;
const SHARES: u32 = 6;

#[test]
fn many_are_shared_out_and_nobody_notices() {
    let site = Site::new();
    site.write("lan.yaml", &ports(1..=FEW));
    let [called, of_duid] = identified();
    site.write("called.yaml", &called);
    site.write("of-duid.yaml", &of_duid);
    let agent = site.start();
    let large = Large { site: &site, server: site.status().server("lan"), like: site.guest(60_000) };
    large.site.until_all_ready(FEW + 2);
    large.lease([1, 700, FEW]);
    site.until_leased(&large.called(50_001), CALLED);
    let alone = large.site.until_processes(1);

    let shared = large.answered_meanwhile(3, || {
        site.write("lan.yaml", &ports(1..=MANY));
        large.site.until_all_ready(MANY + 2);
        large.lease([MANY, 2_001]);
        large.site.until_processes(1 + SHARES as usize)
    });
    assert!(!shared.contains(&alone[0]), "it was started anew without its guests");
    large.renew([1, 700, FEW, MANY]);
    large.lease([2, 701]);
    large.renew_of(&large.called(50_001), CALLED);
    site.until_leased(&large.guest(DEVICE), OF_DUID);
    large.site.until_holders(9);
    assert!(large.guest(50_000).silent(), "a stranger is answered");

    // Names are all asked in one place.
    let guest = large.guest(MANY);
    guest.configure(&format!("{}/16", ip(MANY)), None);
    for n in [1, 1_200, MANY] {
        let name = format!("host-{}.vm.example.org", ip(n).to_string().replace('.', "-"));
        assert_eq!(guest.dig(large.server.into(), &name, "A").answers, [ip(n).to_string()]);
    }

    one_more_and_one_less(&large, &shared);
    site.the_end_of("1", || large.renew([1]));
    let said = format!("dnsmasq of share 2 does not answer a DHCPv4 question to {}", large.server);
    site.one_that_hangs("2", &said, || large.renew([1]));
    site.until_all_ready(MANY + 2);
    site.until_holders(9);
    who_is_known_by_an_identifier(&large, &called);

    // An agent that comes again finds all as it is.
    let pids = site.dnsmasq_pids();
    agent.kill9();
    let agent = site.start();
    large.renew([1, MANY]);
    assert_eq!(site.dnsmasq_pids(), pids);
    crate::six::until_nothing_to_do(&site);

    few_again(&large);
    site.remove_all();
    until("only the bridge is left, in which there is a guest", || {
        (site.remains(true) == ["br0"]).then_some(())
    });
    drop(agent);
}

/// Only the process of its share is told of a port.
fn one_more_and_one_less(large: &Large<'_>, pids: &[u32]) {
    let shares = large.site.network_dir().join("shares");
    let hosts =
        || -> Vec<_> { (1..=SHARES).map(|n| files_of(&shares.join(format!("{n}/hosts"))).len()).collect() };
    let before = hosts();
    let (n, one) = (MANY + 1, format!("addresses: [{{ip: {}}}]", ip(MANY + 1)));
    large.site.write("more.yaml", &port(&format!("vm{n}"), "lan", Mac::nth(n), &one));
    large.site.until_all_ready(n + 2);
    large.lease([n]);
    let told = |after: &[usize]| after.iter().zip(&before).map(|(a, b)| a - b).collect::<Vec<_>>();
    assert_eq!(told(&hosts()), [1, 0, 0, 0, 0, 0]);
    large.site.remove("more.yaml");
    large.site.until_silent(&large.guest(n));
    large.site.until_all_ready(MANY + 2);
    assert_eq!(told(&hosts()), [2, 0, 0, 0, 0, 0]);
    assert_eq!(large.site.dnsmasq_pids(), pids, "nobody is started for it");
}

/// It is the one process that knows it, whatever device it has; in DHCPv4 a DUID is nobody's.
fn who_is_known_by_an_identifier(large: &Large<'_>, called: &str) {
    let (site, guest) = (large.site, large.called(50_002));
    site.until_leased(&guest, CALLED);
    for ask in [Ask::new(MessageType::Discover), Ask::new(MessageType::Request).ciaddr(CALLED)] {
        let answers = until("an answer", || Some(guest.ask_all(&ask)).filter(|all| !all.is_empty()));
        assert_eq!(answers.iter().map(Answer::yiaddr).collect::<Vec<_>>(), [CALLED], "one answers");
    }
    large.renew_of(&guest, CALLED);
    assert!(large.guest(50_003).silent(), "without its identifier it is a stranger");
    large.site.until_given(CALLED, false);
    large.site.until_given(OF_DUID, true);
    let (leases, device) = (large.site.until_holders(9), Mac::nth(50_002).to_string());
    let own = leases.iter().find(|lease| lease["port"]["name"] == "called").unwrap();
    assert_eq!((&own["clientID"], &own["macAddress"]), (&"ab:cd:ef".into(), &device.into()));
    until("it is given back", || {
        guest.release(CALLED, large.server);
        site.leases(&[]).iter().all(|lease| lease["ip"] != CALLED.to_string()).then_some(())
    });

    // Who is no Port's any more is told nothing, and nobody else's process is started for it.
    site.until_leased(&guest, CALLED);
    let pids = large.site.of_shares("");
    site.remove("called.yaml");
    site.until_silent(&guest);
    large.site.until_all_ready(MANY + 1);
    large.site.until_holders(8);
    site.write("called.yaml", called);
    site.until_leased(&guest, CALLED);
    large.site.until_all_ready(MANY + 2);
    assert_eq!(large.site.of_shares(""), pids);
}

fn few_again(large: &Large<'_>) {
    large.answered_meanwhile(3, || {
        large.site.write("lan.yaml", &ports(1..=900));
        large.site.until_processes(1);
        large.site.until_all_ready(902);
    });
    large.renew([1, 700]);
    large.renew_of(&large.called(50_002), CALLED);
    large.renew_of(&large.guest(DEVICE), OF_DUID);
    large.site.until_holders(6);
    assert!(large.guest(MANY).silent());
    crate::six::until_nothing_to_do(large.site);
    assert!(!large.site.network_dir().join("shares").exists());
}
