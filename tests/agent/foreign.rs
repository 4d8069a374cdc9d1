//! DHCP servers and routers on the segment that are none of ours are named, and nothing is sent for it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::lab::{ALL_NODES, Body, Datagram, Dnsmasq, Mac, Packet6, Setup, Wire, eventually};
use crate::manifests::{fixed, lan};
use crate::site::{Condition, LONG, Site, patiently};

fn until_found(site: &Site, kind: &str, part: &str, mut provoke: impl FnMut()) -> Condition {
    patiently(&format!("{kind} is said"), |instead| {
        provoke();
        let found = site.status().condition("Network", "lan", kind);
        *instead = format!("{found:?}");
        found.filter(|found| found.message.contains(part))
    })
}

/// What a router says to all, with the prefix `2001:db8:9::/64`.
fn advertisement(mac: Mac) -> Vec<u8> {
    let mut rest = vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    rest.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0]);
    rest.extend("2001:db8:9::".parse::<std::net::Ipv6Addr>().unwrap().octets());
    Packet6::to_group(mac, mac.link_local(), ALL_NODES, Body::Icmp { kind: 134, rest }).frame()
}

/// An OFFER to all.
fn offer(n: u16) -> Vec<u8> {
    let [high, low] = n.to_be_bytes();
    let mut payload = vec![0; 236];
    payload[..3].copy_from_slice(&[2, 1, 6]);
    payload.extend([99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 9, high, low, 255]);
    let (from, to) = ((Ipv4Addr::new(10, 9, high, low), 67), (Ipv4Addr::BROADCAST, 68));
    let (from_mac, to_mac) = (Mac([2, 9, 0, 0, high, low]), Mac::BROADCAST);
    Datagram { from_mac, to_mac, from, to, payload, checksum_ok: true }.frame()
}

#[test]
fn a_second_dnsmasq_and_a_router_are_named_and_harm_nothing() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("a", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.start();
    site.until_ready("Network", "lan");
    let setup = Setup::default().netns("rogue").addresses(&["10.0.0.66/24"]);
    let line = format!("{},tag:!dhcpv6,set:p7,10.0.0.77,vm7.\n", Mac::nth(7));
    let rogue = Dnsmasq::with_hosts(&site.lab, setup, &line);
    let guest = site.guest(7);
    // Ours says nothing to it; a NAK goes to all.
    let found = until_found(&site, "ForeignDHCPServer", "10.0.0.66", || {
        guest.init_reboot(Ipv4Addr::new(10, 0, 0, 99));
    });
    let mac = site.lab.run_in(rogue.netns(), "ip -br link show srv0");
    let mac = mac.split_whitespace().nth(2).unwrap();
    assert_eq!(found.message, format!("{mac} answers DHCPv4 clients as 10.0.0.66"));
    assert_eq!((found.status.as_str(), found.reason.as_str()), ("True", "ForeignDHCPServer"));
    let router = Wire::open(&site.lab, Some(guest.netns()), "eth0");
    let found = until_found(&site, "ForeignRouter", "2001:db8:9::/64", || {
        router.send(&advertisement(guest.mac()));
    });
    assert!(found.message.contains(&format!("{} advertises 2001:db8:9::/64 for 1800 s", guest.mac())));
    let ready = site.status().condition("Network", "lan", "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Ready"));
    eventually("they are counted", LONG, || {
        let counted = [site.metric("foreign_dhcp_servers"), site.metric("foreign_routers")];
        (counted == [Some(1), Some(1)]).then_some(())
    });
    let text = site.run(&["status", "--state-dir", site.state.to_str().unwrap()]);
    assert!(text.contains("ForeignDHCPServer") && text.contains("10.0.0.66"), "{text}");
    site.assert_nothing_to_do();
}

#[test]
fn our_own_answers_and_guests_questions_are_nobodys_news() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("a", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 20));
    // Known to listen: a stranger is heard, and then nobody else is.
    let wire = Wire::open(&site.lab, Some(guest.netns()), "eth0");
    let found = until_found(&site, "ForeignDHCPServer", "10.9.0.1", || wire.send(&offer(1)));
    let passes = site.passes();
    for _ in 0..5 {
        guest.dora();
        guest.init_reboot(Ipv4Addr::new(10, 0, 0, 99));
    }
    // Later than all of these, and so the last that is looked at.
    until_found(&site, "ForeignDHCPServer", "10.9.0.2", || wire.send(&offer(2)));
    let now = site.status().condition("Network", "lan", "ForeignDHCPServer").unwrap();
    assert!(now.message.starts_with(&found.message), "{}", now.message);
    assert_eq!(now.message.matches("answers").count(), 2, "{}", now.message);
    assert!(site.passes() <= passes + 4, "{} passes more", site.passes() - passes);
}

#[test]
fn a_flood_of_forged_servers_is_bounded_and_delays_nobody() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("a", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.start();
    site.until_ready("Network", "lan");
    let (guest, bad) = (site.guest(1), site.guest(9));
    let wire = Wire::open(&site.lab, Some(bad.netns()), "eth0");
    let passes = site.passes();
    let mut next = 0_u16;
    let mut flood = || {
        for _ in 0..500 {
            wire.send(&offer(next));
            next = next.wrapping_add(1);
        }
    };
    let found = until_found(&site, "ForeignDHCPServer", "and others", &mut flood);
    assert_eq!(found.message.matches("answers").count(), 8, "{}", found.message);
    site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 20));
    // Longer than between two looks.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        flood();
        assert_eq!(guest.dora().yiaddr(), Ipv4Addr::new(10, 0, 0, 20));
    }
    assert_eq!(site.status().condition("Network", "lan", "ForeignDHCPServer"), Some(found));
    assert!(site.passes() <= passes + 20, "{} passes more", site.passes() - passes);
}
