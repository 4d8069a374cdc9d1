//! A network of IPv6 and nothing else.

use crate::lab::{DnsReply, DnsSocket, Mac, eventually, rtype};
use crate::manifests::{network, port};
use crate::site::{LONG, Site};

use super::{Both, SERVER, ip6, lan_v6, server_duid, until_leases};

fn lan() -> String {
    network("lan", "dns: {domain: vm.example.org}") + &lan_v6("")
}

fn vm(n: u32, last: u8) -> String {
    let spec = format!("addresses: [{{ip: '{}'}}]\nhostname: vm{n}", ip6(last));
    port(&format!("vm{n}"), "lan", Mac::nth(n), &spec)
}

#[test]
fn it_serves_ports_as_they_come_and_go() {
    let site = Site::new();
    site.write("lan.yaml", &lan());
    let _agent = site.start();
    let guests: Vec<_> = (1..=2).map(|n| Both::new(&site, n)).collect();
    assert!(guests[0].six.silent());
    site.write("vm1.yaml", &vm(1, 0x20));
    let server = site.until_leased6(&guests[0].six, ip6(0x20)).server();
    assert_eq!(server, server_duid(&site));
    assert!(guests[0].four.silent());
    let process = site.dnsmasq_pids();
    site.write("vm2.yaml", &port("vm2", "lan", Mac::nth(2), ""));
    site.until_leased6(&guests[1].six, ip6(0x11));
    site.write("vm1.yaml", &vm(1, 0x30));
    site.until_leased6(&guests[0].six, ip6(0x30));
    until_leases(&site, "2001:db8::20 ", 0);
    site.remove("vm1.yaml");
    site.until_silent6(&guests[0].six);
    until_leases(&site, "vm1", 0);
    assert_eq!(site.dnsmasq_pids(), process);
    for (kind, name) in [("Network", "lan"), ("Subnet", "lan-v6"), ("Port", "vm2")] {
        site.until_ready(kind, name);
    }
    site.assert_nothing_to_do();
    site.remove_all();
    eventually("it ends", LONG, || (site.remains(true) == ["br0"]).then_some(()));
}

#[test]
fn its_server_is_started_anew_where_it_must() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &vm(1, 0x20)));
    let _agent = site.start();
    let guest = Both::new(&site, 1).six;
    let server = site.until_leased6(&guest, ip6(0x20)).server();
    until_leases(&site, "2001:db8::20 ", 1);
    let process = site.dnsmasq_pids();
    site.write("a.yaml", &(lan().replace("vm.example.org", "new.test") + &vm(1, 0x20)));
    eventually("another process", LONG, || (site.dnsmasq_pids() != process).then_some(()));
    site.until_ready("Network", "lan");
    let renewal = guest.renew(ip6(0x20), &server).expect("no answer to RENEW");
    assert_eq!(renewal.lifetimes()[0].valid, 86_400);
    assert_eq!(renewal.option(24), Some(&b"\x03new\x04test\0"[..]));
    until_leases(&site, "2001:db8::20 ", 1);
    site.assert_nothing_to_do();
}

#[test]
fn it_answers_for_names() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &vm(1, 0x20)));
    let _agent = site.start();
    let guest = site.guest(9);
    site.lab.address(guest.netns(), "eth0", &format!("{}/64", ip6(0x90)));
    let dns = DnsSocket::new(&site.lab, Some(guest.netns()), SERVER);
    assert_eq!(dns.ask("vm1.vm.example.org", rtype::AAAA), DnsReply::found(&["2001:db8::20"]));
    assert_eq!(dns.ask("vm1.vm.example.org", rtype::A), DnsReply::found(&[]));
    assert_eq!(dns.reverse6(ip6(0x20)), DnsReply::found(&["vm1.vm.example.org"]));
    assert_eq!(dns.reverse6(ip6(0x99)), DnsReply::nxdomain());
}
