//! What a guest is answered, byte by byte, and what a stranger is not.

use std::net::Ipv4Addr;

use crate::lab::{Answer, Ask, DhcpOption, Guest, Mac, MessageType, PATIENCE, eventually};
use crate::manifests::{fixed, lan, network, object, port, subnet};
use crate::site::Site;

const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);
const VM2: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 20);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);

/// Two subnets, and whatever can be said of each of them and of a port.
pub fn rich() -> String {
    let lan = "mtu: 1400
dns: {domain: vm.example.org}
options:
- {name: ntp-server, values: [192.0.2.1], family: IPv4}
- {name: log-server, values: [192.0.2.1, 192.0.2.2], family: IPv4}
- {code: 224, encoding: Hex, values: [0a0b, ff], family: IPv4}";
    let first = "pools: [{first: 10.0.0.10, last: 10.0.0.250}]
dhcp: {leaseDurationSeconds: 3600, renewalSeconds: 600, rebindingSeconds: 1800}
hostRoutes: [{destination: 10.8.0.0/16, nextHop: 10.0.0.254}]
options:
- {name: ntp-server, values: [192.0.2.2]}
- {name: domain-search, values: [a.example.org, b.example.org]}
- {code: 225, encoding: Uint16, values: ['258']}";
    let second = "gateway: {type: Address, address: 192.168.99.1}
pools: [{first: 10.1.0.10, last: 10.1.0.250}]
dns: {type: Addresses, addresses: [192.0.2.53, 192.0.2.54]}";
    let vm1 = "hostname: vm1
options:
- {name: bootfile-name, values: ['a,b;\"c'], family: IPv4}
- {code: 226, values: ['text, with # and \"'], family: IPv4}";
    let vm2 = "addresses: [{subnetRef: {name: second}, ip: 10.1.0.20}]
options: [{name: ntp-server, values: [192.0.2.3], family: IPv4}]";
    [
        network("lan", lan),
        subnet("first", "lan", "10.0.0.0/24", first),
        subnet("second", "lan", "10.1.0.0/24", second),
        fixed("vm1", Mac::nth(1), "10.0.0.20", vm1),
        port("vm2", "lan", Mac::nth(2), vm2),
    ]
    .concat()
}

/// With everything asked for, and taken.
fn lease(guest: &Guest<'_>) -> Answer {
    const WANT: [u8; 20] = [1, 3, 6, 7, 12, 15, 26, 28, 42, 51, 54, 58, 59, 67, 119, 121, 224, 225, 226, 249];
    guest.dora();
    let address = guest.discover(&[]).expect("no OFFER").yiaddr();
    let server = guest.discover(&[]).expect("no OFFER").server();
    let request = Ask::new(MessageType::Request).want(&WANT).ciaddr(address).to(server);
    guest.answer(&request)
}

#[test]
fn a_lease_has_all_that_was_declared() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    let _agent = site.start();
    let guest = site.guest(1);
    let ack = lease(&guest);
    assert_eq!((ack.kind(), ack.yiaddr(), ack.server()), (MessageType::Ack, VM1, SERVER));
    assert!(ack.checksum_ok, "a bad UDP checksum");
    let bytes: [(u8, &[u8]); 14] = [
        (1, &[255, 255, 255, 0]),
        (3, &[10, 0, 0, 1]),
        (6, &[10, 0, 0, 10]),
        (7, &[192, 0, 2, 1, 192, 0, 2, 2]),
        (12, b"vm1"),
        (15, b"vm.example.org"),
        (26, &[5, 120]),
        (28, &[10, 0, 0, 255]),
        (42, &[192, 0, 2, 2]),
        (51, &3600u32.to_be_bytes()),
        // dnsmasq ends this one, and only this one, like a string of C.
        (67, b"a,b;\"c\0"),
        (224, &[10, 11, 255]),
        (225, &[1, 2]),
        (226, b"text, with # and \""),
    ];
    for (code, wanted) in bytes {
        assert_eq!(ack.option(code), Some(wanted), "option {code}");
    }
    assert_times(&ack);
    let unasked = guest.answer(&Ask::new(MessageType::Request).want(&[1]).ciaddr(VM1));
    assert_eq!(unasked.option(26), Some(&[5, 120][..]), "who does not ask for the MTU needs it no less");
    assert_eq!(unasked.option(15), None);
    let routes: &[u8] = &[24, 10, 1, 0, 0, 0, 0, 0, 16, 10, 8, 10, 0, 0, 254, 0, 10, 0, 0, 1];
    assert_eq!((ack.option(121), ack.option(249)), (Some(routes), Some(routes)));
    // RFC 3397 allows compression: the names are in there, in order.
    let search = ack.text(119).unwrap();
    assert!(search.find("\u{1}a\u{7}example").unwrap() < search.find("\u{1}b").unwrap(), "{search:?}");
}

/// T1 and T2 are what was declared, or up to an eighth less: dnsmasq spreads renewals so.
fn assert_times(answer: &Answer) {
    let (t1, t2) = (answer.seconds(58).unwrap(), answer.seconds(59).unwrap());
    assert!((525..=600).contains(&t1) && (1575..=1800).contains(&t2), "T1 {t1}, T2 {t2}");
}

#[test]
fn a_second_subnet_has_its_own_answers() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    let _agent = site.start();
    let ack = lease(&site.guest(2));
    assert_eq!(ack.yiaddr(), VM2);
    let routes: &[u8] =
        &[&[24, 10, 0, 0, 0, 0, 0, 0][..], &[32, 192, 168, 99, 1, 0, 0, 0, 0], &[0, 192, 168, 99, 1]]
            .concat();
    assert_eq!((ack.option(121), ack.option(249)), (Some(routes), Some(routes)));
    assert_eq!(ack.option(3), Some(&[192, 168, 99, 1][..]));
    assert_eq!(ack.option(6), Some(&[192, 0, 2, 53, 192, 0, 2, 54][..]));
    assert_eq!(ack.option(42), Some(&[192, 0, 2, 3][..]), "the port's option wins over the network's");
    assert_eq!(ack.option(51), Some(&86_400u32.to_be_bytes()[..]));
    assert_eq!(ack.text(12).as_deref(), Some("host-10-1-0-20"));
    for code in [67, 119, 225, 226] {
        assert_eq!(ack.option(code), None, "option {code} is another subnet's or port's");
    }
    // The server itself has both addresses, and the first subnet's gateway for its own questions.
    let addresses = site.lab.run_in(&site.namespace(), "ip -4 -brief address show dev dhcp0");
    assert!(addresses.contains("10.0.0.10/24") && addresses.contains("10.1.0.10/24"), "{addresses}");
    assert!(site.lab.has_route(&site.namespace(), Ipv4Addr::new(192, 0, 2, 53)));
}

#[test]
fn nothing_that_was_not_declared_is_sent() {
    let site = Site::new();
    let bare = "gateway: {type: None}\ndns: {type: None}";
    site.write(
        "a.yaml",
        &[
            network("lan", ""),
            subnet("bare", "lan", "10.0.0.0/24", bare),
            port("vm1", "lan", Mac::nth(1), ""),
        ]
        .concat(),
    );
    let _agent = site.start();
    let ack = lease(&site.guest(1));
    for code in [3, 6, 7, 15, 42, 67, 119, 121, 249] {
        assert_eq!(ack.option(code), None, "option {code}");
    }
}

/// RFC 2131, 4.1: a client that takes no unicast before it has an address says so.
#[test]
fn who_asks_for_broadcast_has_it_until_it_has_an_address() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.start();
    let guest = site.guest(1);
    let server = site.until_leased(&guest, VM1).server();
    let answered = |ask: &Ask, broadcast_flag| {
        let ask = Ask { broadcast_flag, ..ask.clone() };
        let answer = guest.answer(&ask);
        assert!(answer.checksum_ok);
        (answer.kind(), answer.to, answer.to_mac)
    };
    let request = Ask::new(MessageType::Request).option(DhcpOption::RequestedIpAddress(VM1));
    let request = request.option(DhcpOption::ServerIdentifier(server));
    let to_all = |kind| (kind, Ipv4Addr::BROADCAST, Mac::BROADCAST);
    let to_it = |kind| (kind, VM1, guest.mac());
    for (ask, kind) in [(Ask::new(MessageType::Discover), MessageType::Offer), (request, MessageType::Ack)] {
        assert_eq!(answered(&ask, true), to_all(kind));
        assert_eq!(answered(&ask, false), to_it(kind));
    }
    let renewal = Ask::new(MessageType::Request).ciaddr(VM1).to(server);
    assert_eq!(answered(&renewal, true), to_it(MessageType::Ack));
    let wrong = Ask::new(MessageType::Request).option(DhcpOption::RequestedIpAddress(VM2));
    assert_eq!(answered(&wrong, false), to_all(MessageType::Nak));
}

#[test]
fn a_lease_is_kept_returned_and_declined() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    site.lab.bridge("br0");
    let _agent = site.start();
    let (guest, capture) = (site.guest(1), site.lab.capture("br0"));
    let wanted = lease(&guest);
    let same = |how: &str, answer: Option<Answer>| {
        let answer = answer.unwrap_or_else(|| panic!("no answer to {how}"));
        assert_eq!((answer.kind(), answer.yiaddr()), (MessageType::Ack, VM1), "{how}");
        assert!(answer.checksum_ok, "{how}");
        assert_times(&answer);
        for code in [1, 3, 6, 15, 26, 42, 51, 121] {
            assert_eq!(answer.option(code), wanted.option(code), "{how}: option {code}");
        }
    };
    same("renewal", guest.renew(VM1, SERVER));
    same("rebinding", guest.rebind(VM1));
    same("init-reboot", guest.init_reboot(VM1));
    // dnsmasq tells the lease time also here, but only to who asks for it.
    let inform = Ask::new(MessageType::Inform).ciaddr(VM1).want(&[1, 3, 121]);
    let informed = guest.answer(&inform);
    assert_eq!((informed.kind(), informed.option(121)), (MessageType::Ack, wanted.option(121)));
    assert_eq!(informed.seconds(51), None, "an INFORM gets no lease");
    capture.assert_no_nak();

    let leases = site.network_dir().join("leases");
    let holds = || std::fs::read_to_string(&leases).unwrap().contains(&guest.mac().to_string());
    assert!(holds());
    guest.release(VM1, SERVER);
    eventually("the lease is gone", PATIENCE, || (!holds()).then_some(()));
    same("a new DISCOVER", Some(guest.dora()));

    let wrong = guest.init_reboot(Ipv4Addr::new(10, 0, 0, 99)).expect("no NAK");
    assert_eq!(wrong.kind(), MessageType::Nak);
}

#[test]
fn a_declined_address_is_acked_to_who_keeps_it_all_the_same() {
    let site = Site::new();
    // In one subnet: of two, dnsmasq only hears declines that name the last one's server address.
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    guest.decline(VM1, SERVER);
    let log = site.network_dir().join("log");
    let said = || std::fs::read_to_string(&log).unwrap().contains("DHCPDECLINE");
    eventually("the DECLINE is noticed", PATIENCE, || said().then_some(()));
    assert_eq!(guest.init_reboot(VM1).map(|ack| ack.kind()), Some(MessageType::Ack));
}

#[test]
fn a_stranger_meets_silence_whatever_it_says() {
    let site = Site::new();
    let disabled = port("silent", "lan", Mac::nth(3), "dhcp: Disabled");
    site.write("a.yaml", &(rich() + &disabled + &object("Port", "vip", "networkRef: {name: lan}")));
    let _agent = site.start();
    let known = site.guest(1);
    known.dora();
    for n in [77, 3] {
        let stranger = site.lab.twin(&known, Mac::nth(n));
        assert!(stranger.discover(&[]).is_none(), "DISCOVER of {n}");
        assert!(stranger.select(VM1, SERVER).is_none(), "REQUEST of {n}");
        assert!(stranger.inform(Ipv4Addr::new(10, 0, 0, 99)).is_none(), "INFORM of {n}");
        assert!(stranger.init_reboot(VM1).is_none(), "INIT-REBOOT of {n}");
        assert!(stranger.init_reboot(Ipv4Addr::new(192, 0, 2, 1)).is_none(), "INIT-REBOOT of {n}");
        assert!(stranger.rebind(VM1).is_none(), "rebinding of {n}");
    }
    assert_eq!(known.renew(VM1, SERVER).map(|ack| ack.kind()), Some(MessageType::Ack));
    let status = site.status();
    assert_eq!(status.condition("Port", "silent", "Ready").unwrap().reason, "Reserved");
    assert_eq!(status.condition("Port", "vip", "Ready").unwrap().reason, "Reserved");
    assert_eq!(status.addresses("vip").len(), 1);
}
