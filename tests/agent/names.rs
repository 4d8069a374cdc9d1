//! DNS: the network's own names, and whom the others are asked of.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lab::{Ask, DnsReply, DnsSocket, Guest, Lab, Mac, MessageType, raw, rtype};
use crate::manifests::{fixed, lan_v4, network, port, subnet};
use crate::site::{Site, patiently};

pub const UPSTREAM: &str = "10.0.0.53";
/// What the upstream server says to every question.
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

fn declared(forwarding: &str) -> String {
    let dns = format!("dns: {{domain: vm.example.org, forwarding: {forwarding}}}");
    [
        network("lan", &dns),
        lan_v4(""),
        subnet("second", "lan", "10.1.0.0/24", "gateway: {type: None}"),
        fixed(
            "vm1",
            Mac::nth(1),
            "10.0.0.20",
            "hostname: vm1\ndnsNames: [db.vm.example.org, a.b.vm.example.org]",
        ),
        port("vm2", "lan", Mac::nth(2), "hostname: vm2\naddresses: [{ip: 10.1.0.20}]"),
        fixed("vm3", Mac::nth(3), "10.0.0.22", ""),
    ]
    .concat()
}

/// A guest with its lease and address, and a socket to its DNS server.
fn asker(site: &Site) -> (Guest<'_>, DnsSocket) {
    let guest = site.guest(1);
    let server = guest.dora().server();
    guest.configure("10.0.0.20/24", None);
    let socket = DnsSocket::new(&site.lab, Some(guest.netns()), server);
    (guest, socket)
}

/// A DNS server elsewhere: what it was asked, in order.
pub struct Upstream(Arc<Mutex<Vec<String>>>);

impl Upstream {
    pub fn start(lab: &Lab) -> Self {
        lab.plug("br0", "upstream", "up0", Mac::nth(53));
        lab.address("upstream", "up0", &format!("{UPSTREAM}/24"));
        let socket = lab.in_netns(Some("upstream"), || UdpSocket::bind((UPSTREAM, 53)).unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names = asked.clone();
        // It ends with the test: nobody waits for it.
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                let (name, reply) = answer(&query[..length]);
                names.lock().unwrap().push(name);
                let _ = socket.send_to(&reply, from);
            }
        });
        Self(asked)
    }

    pub fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The name that is asked for, and one address for it.
fn answer(query: &[u8]) -> (String, Vec<u8>) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).into_owned());
        at += 1 + length;
    }
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    reply.extend(&query[12..at + 5]);
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    reply.extend(ELSEWHERE.octets());
    (labels.join("."), reply)
}

fn assert_own_names(dns: &DnsSocket) {
    for (name, address) in [
        ("vm1", "10.0.0.20"),
        ("vm1.vm.example.org", "10.0.0.20"),
        ("VM1.vm.Example.org", "10.0.0.20"),
        ("db.vm.example.org", "10.0.0.20"),
        ("a.b.vm.example.org", "10.0.0.20"),
        ("vm2.vm.example.org", "10.1.0.20"),
        ("host-10-0-0-22", "10.0.0.22"),
        ("host-10-0-0-22.vm.example.org", "10.0.0.22"),
    ] {
        assert_eq!(dns.ask(name, rtype::A), DnsReply::found(&[address]), "{name}");
        for other in [rtype::AAAA, rtype::MX, rtype::TXT] {
            let reply = dns.ask(name, other);
            // Without a forwarder dnsmasq refuses the rarer types of names without a dot.
            let refused = !name.contains('.') && other != rtype::AAAA && reply == DnsReply::refused();
            assert!(refused || reply == DnsReply::found(&[]), "{name}, type {other}: {reply:?}");
        }
    }
    for (address, name) in [
        ([10, 0, 0, 20], "vm1.vm.example.org"),
        ([10, 1, 0, 20], "vm2.vm.example.org"),
        ([10, 0, 0, 22], "host-10-0-0-22.vm.example.org"),
    ] {
        assert_eq!(dns.reverse(address.into()), DnsReply::found(&[name]));
    }
    for name in ["nobody.vm.example.org", "nobody", "vm.example.org"] {
        let reply = dns.ask(name, rtype::A);
        assert!(reply.answers.is_empty() && matches!(reply.rcode, 0 | 3), "{name}: {reply:?}");
    }
    assert_eq!(dns.ask("nobody.vm.example.org", rtype::A), DnsReply::nxdomain());
    for address in [[10, 0, 0, 99], [10, 1, 0, 99]] {
        assert_eq!(dns.reverse(address.into()), DnsReply::nxdomain());
    }
}

#[test]
fn own_names_are_answered_and_others_refused() {
    let site = Site::new();
    site.write("a.yaml", &declared("{type: None}"));
    let _agent = site.launch().node(&["--dns-forwarder", UPSTREAM]).start_ready();
    let (guest, dns) = asker(&site);
    let upstream = Upstream::start(&site.lab);
    assert_own_names(&dns);
    site.lab.twin(&guest, Mac::nth(2)).dora();
    site.lab.twin(&guest, Mac::nth(3)).dora();
    // With leases, too: a lease has a name of its own for dnsmasq, and a guest claims one.
    let lease = guest.dora();
    let claim = Ask::new(MessageType::Request).ciaddr(lease.yiaddr()).to(lease.server());
    let ack = guest.answer(&claim.option(raw(12, b"claimed")));
    assert_eq!(ack.text(12).as_deref(), Some("vm1"));
    assert_own_names(&dns);
    for name in ["claimed", "claimed.vm.example.org"] {
        assert_eq!(dns.ask(name, rtype::A), DnsReply::nxdomain(), "{name}");
    }
    assert_eq!(dns.ask("www.example.com", rtype::A), DnsReply::refused());
    assert_eq!(upstream.asked(), Vec::<String>::new());
    let dig = guest.dig([10, 0, 0, 10].into(), "vm2", "A");
    assert_eq!((dig.status.as_str(), dig.answers), ("NOERROR", vec!["10.1.0.20".to_owned()]));
}

#[test]
fn ports_that_dhcp_does_not_answer_have_names() {
    let site = Site::new();
    let six = "ipv6: {addressMode: DHCPv6Stateful}\ndhcp: {mode: Disabled}";
    let addresses = "addresses: [{ip: 10.1.0.20}, {ip: '2001:db8::20'}]";
    let parts = [
        network("lan", "dns: {domain: vm.example.org}"),
        lan_v4(""),
        subnet("static", "lan", "10.1.0.0/24", "dhcp: {mode: Disabled}"),
        subnet("static-six", "lan", "2001:db8::/64", six),
        fixed("vm1", Mac::nth(1), "10.0.0.20", "hostname: vm1"),
        port("db", "lan", Mac::nth(2), &format!("hostname: db\n{addresses}")),
        fixed("web", Mac::nth(3), "10.0.0.30", "hostname: web\ndhcp: Disabled"),
    ];
    site.write("a.yaml", &parts.concat());
    let _agent = site.start();
    let (guest, dns) = asker(&site);
    for (name, rtype, address) in [
        ("db", rtype::A, "10.1.0.20"),
        ("db.vm.example.org", rtype::A, "10.1.0.20"),
        ("db.vm.example.org", rtype::AAAA, "2001:db8::20"),
        ("web.vm.example.org", rtype::A, "10.0.0.30"),
    ] {
        assert_eq!(dns.ask(name, rtype), DnsReply::found(&[address]), "{name}");
    }
    let db = DnsReply::found(&["db.vm.example.org"]);
    assert_eq!(dns.reverse([10, 1, 0, 20].into()), db);
    assert_eq!(dns.reverse6("2001:db8::20".parse().unwrap()), db);
    assert_eq!(dns.reverse([10, 0, 0, 30].into()), DnsReply::found(&["web.vm.example.org"]));
    assert_eq!(dns.reverse([10, 1, 0, 21].into()), DnsReply::nxdomain());
    for silent in [2, 3] {
        assert!(site.lab.twin(&guest, Mac::nth(silent)).silent(), "{silent}");
    }
    guest.dora();
}

#[test]
fn other_names_are_asked_of_the_networks_servers() {
    let site = Site::new();
    site.write("a.yaml", &declared(&format!("{{type: Addresses, addresses: [{UPSTREAM}]}}")));
    let _agent = site.start();
    assert_forwarded(&site);
}

#[test]
fn other_names_are_asked_of_the_agents_servers() {
    let site = Site::new();
    site.write("a.yaml", &declared("{type: Agent}"));
    let _agent = site.launch().node(&["--dns-forwarder", UPSTREAM]).start_ready();
    assert_forwarded(&site);
}

#[test]
fn other_names_are_asked_of_the_nodes_resolvers_of_today() {
    let site = Site::new();
    let path = site.state.parent().unwrap().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.53\nnameserver 192.0.2.53\n").unwrap();
    site.lab.run(&format!("mount --bind {} /etc/resolv.conf", path.display()));
    site.write("a.yaml", &declared("{type: Node}"));
    let _agent = site.launch().more(&["--resync-seconds", "1"]).start_ready();
    let before = site.dnsmasq_pids();
    std::fs::write(&path, format!("search example.org\nnameserver {UPSTREAM}\n")).unwrap();
    patiently("another process asks others", |instead| {
        let now = site.dnsmasq_pids();
        *instead = format!("{now:?}, before {before:?}");
        (now.len() == 1 && now != before).then_some(())
    });
    assert_forwarded(&site);
}

/// The network's own names never leave it; others do.
fn assert_forwarded(site: &Site) {
    let (_guest, dns) = asker(site);
    let upstream = Upstream::start(&site.lab);
    assert_own_names(&dns);
    assert_eq!(upstream.asked(), Vec::<String>::new());
    let found = DnsReply::found(&[&ELSEWHERE.to_string()]);
    assert_eq!(dns.ask("www.example.com", rtype::A), found);
    assert_eq!(dns.ask("other.example.org", rtype::A), found);
    assert_eq!(upstream.asked(), ["www.example.com", "other.example.org"]);
    let patience = Duration::from_secs(3);
    let reverse = "1.2.0.192.in-addr.arpa";
    assert!(dns.ask_class(reverse, rtype::PTR, 1, patience).is_some());
    assert_eq!(upstream.asked().last().unwrap(), reverse);
}

#[test]
fn without_any_forwarder_other_names_are_refused() {
    let site = Site::new();
    site.write("a.yaml", &declared("{type: Agent}"));
    let _agent = site.start();
    let (_guest, dns) = asker(&site);
    assert_eq!(dns.ask("www.example.com", rtype::A), DnsReply::refused());
    assert_own_names(&dns);
}
