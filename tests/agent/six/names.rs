//! DNS: the names of addresses of both families, asked over either.

use std::net::{IpAddr, Ipv6Addr};

use crate::lab::{DnsReply, DnsSocket, Guest, Mac, rtype};
use crate::manifests::{lan_v4, network, port};
use crate::site::Site;

use super::{Both, SERVER, dual, ip4, ip6, lan_v6, lan46};

/// A guest of the kernel's own IPv6, with the addresses of `last`.
fn asker(site: &Site, n: u32, last: u8) -> Guest<'_> {
    let guest = site.guest(n);
    guest.configure(&format!("{}/24", ip4(last)), None);
    site.lab.address(guest.netns(), "eth0", &format!("{}/64", ip6(last)));
    guest
}

fn both(site: &Site, guest: &Guest<'_>) -> [DnsSocket; 2] {
    [IpAddr::from(ip4(10)), SERVER.into()]
        .map(|server| DnsSocket::new(&site.lab, Some(guest.netns()), server))
}

fn assert_own_names(dns: &DnsSocket) {
    for name in ["vm1.vm.example.org", "vm1", "VM1.vm.Example.org", "db.vm.example.org", "a.b.vm.example.org"]
    {
        assert_eq!(dns.ask(name, rtype::AAAA), DnsReply::found(&["2001:db8::20"]), "{name}");
        assert_eq!(dns.ask(name, rtype::A), DnsReply::found(&["10.0.0.32"]), "{name}");
    }
    for name in ["host-2001-db8--22.vm.example.org", "host-2001-db8--22"] {
        assert_eq!(dns.ask(name, rtype::AAAA), DnsReply::found(&["2001:db8::22"]), "{name}");
        assert_eq!(dns.ask(name, rtype::A), DnsReply::found(&[]), "{name}");
    }
    assert_eq!(dns.reverse6(ip6(0x20)), DnsReply::found(&["vm1.vm.example.org"]));
    assert_eq!(dns.reverse(ip4(0x20)), DnsReply::found(&["vm1.vm.example.org"]));
    assert_eq!(dns.reverse6(ip6(0x22)), DnsReply::found(&["host-2001-db8--22.vm.example.org"]));
    for nobody in ["2001:db8::99", "2001:db8::1:0:0:20"] {
        let ip: Ipv6Addr = nobody.parse().unwrap();
        assert_eq!(dns.reverse6(ip), DnsReply::nxdomain(), "{nobody}");
    }
    assert_eq!(dns.ask("nobody.vm.example.org", rtype::AAAA), DnsReply::nxdomain());
    assert_eq!(dns.ask("www.example.com", rtype::AAAA), DnsReply::refused());
}

#[test]
fn names_of_both_families_are_answered_over_both() {
    let site = Site::new();
    let six = port("vm2", "lan", Mac::nth(2), &format!("addresses: [{{ip: '{}'}}]", ip6(0x22)));
    let vm1 = dual(1, 0x20, "dnsNames: [db.vm.example.org, a.b.vm.example.org]");
    site.write("a.yaml", &(lan46() + &vm1 + &six));
    let _agent = site.start();
    let guest = asker(&site, 9, 0x90);
    both(&site, &guest).iter().for_each(assert_own_names);
    // With leases, too: a lease has a name of its own for dnsmasq.
    Both::new(&site, 1).until_leased(&site, 0x20);
    site.until_leased6(&Both::new(&site, 2).six, ip6(0x22));
    both(&site, &guest).iter().for_each(assert_own_names);
    let dig = guest.dig(SERVER.into(), "vm1", "AAAA");
    assert_eq!((dig.status.as_str(), dig.answers), ("NOERROR", vec!["2001:db8::20".to_owned()]));
}

#[test]
fn a_name_goes_with_its_port() {
    let site = Site::new();
    site.write("lan.yaml", &lan46());
    site.write("vm1.yaml", &dual(1, 0x20, ""));
    let _agent = site.start();
    let guest = asker(&site, 9, 0x90);
    let [_, dns] = both(&site, &guest);
    assert_eq!(dns.reverse6(ip6(0x20)), DnsReply::found(&["vm1.vm.example.org"]));
    site.remove("vm1.yaml");
    crate::site::patiently("the name is gone", |instead| {
        let replies = (dns.reverse6(ip6(0x20)), dns.ask("vm1.vm.example.org", rtype::AAAA));
        *instead = format!("{replies:?}");
        (replies == (DnsReply::nxdomain(), DnsReply::nxdomain())).then_some(())
    });
}

#[test]
fn other_names_are_asked_of_a_server_of_ipv6() {
    let site = Site::new();
    let dns = "dns: {domain: vm.example.org, forwarding: {type: Addresses, addresses: ['2001:db8::53']}}";
    site.write("a.yaml", &(network("lan", dns) + &lan_v4("") + &lan_v6("") + &dual(1, 0x20, "")));
    let _agent = site.start();
    // What is asked of the upstream is seen there; that nobody answers is no matter.
    site.lab.plug("br0", "upstream", "up0", Mac::nth(53));
    site.lab.address("upstream", "up0", "2001:db8::53/64");
    let upstream =
        site.lab.in_netns(Some("upstream"), || std::net::UdpSocket::bind((ip6(0x53), 53)).unwrap());
    upstream.set_read_timeout(Some(crate::lab::PATIENCE)).unwrap();
    let guest = asker(&site, 9, 0x90);
    let [_, dns] = both(&site, &guest);
    dns.try_send("www.example.com", rtype::AAAA);
    let mut query = [0; 512];
    let length = upstream.recv(&mut query).expect("the upstream is not asked");
    assert!(query[..length].windows(12).any(|part| part == b"\x07example\x03com"));
}
