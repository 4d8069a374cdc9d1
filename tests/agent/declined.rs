//! Addresses that guests decline because somebody else has them.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lab::{Guest, Mac, PATIENCE, eventually};
use crate::manifests::{fixed, lan, subnet};
use crate::site::{LONG, Site, patiently};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);
const VM2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 21);
/// Leases are looked at so often at most, and the condition follows them.
const TAKEN: Duration = Duration::from_secs(30);

fn both() -> String {
    let six = "ipv6: {addressMode: DHCPv6Stateful}";
    let vm = |n: u32, name: &str| {
        let text = fixed(name, Mac::nth(n), &format!("10.0.0.2{}", n - 1), "");
        let more = format!("addresses: [{{ip: 10.0.0.2{}}}, {{ip: '2001:db8::2{}'}}]", n - 1, n - 1);
        text.replace(&format!("addresses: [{{ip: 10.0.0.2{}}}]", n - 1), &more)
    };
    lan() + &subnet("lan-v6", "lan", "2001:db8::/64", six) + &vm(1, "vm1") + &vm(2, "vm2")
}

/// Somebody on the segment with addresses that nobody gave it.
fn intruder(site: &Site) -> Guest<'_> {
    let guest = site.guest(9);
    site.lab.run_in(guest.netns(), "ip addr add 10.0.0.20/24 dev eth0");
    site.lab.run_in(guest.netns(), "ip addr add 2001:db8::20/64 dev eth0 nodad");
    guest
}

fn until_said(site: &Site, patience: Duration, part: Option<&str>) {
    eventually(&format!("the conflict is {part:?}"), patience, || {
        let said = site.status().condition("Port", "vm1", "AddressConflict");
        match (said, part) {
            (None, None) => Some(()),
            (Some(said), Some(part)) => {
                (said.reason == "AddressDeclined" && said.message.contains(part)).then_some(())
            }
            _ => None,
        }
    });
}

#[test]
fn who_has_a_declined_address_is_named_and_the_guest_is_served_when_he_is_gone() {
    let site = Site::new();
    site.write("a.yaml", &both());
    let _agent = site.start();
    let (guest, other) = (site.guest(1), site.guest(2));
    site.until_leased(&guest, VM1);
    let bad = intruder(&site);
    let pids = site.dnsmasq_pids();
    guest.decline(VM1, SERVER);
    until_said(&site, LONG, Some(&format!("the guest declined 10.0.0.20: {} has it", bad.mac())));
    assert!(guest.discover(&[]).is_none(), "it would decline it again");
    site.until_leased(&other, VM2);
    assert_eq!(site.dnsmasq_pids(), pids, "nobody is disturbed as long as it would not help");
    site.lab.run_in(bad.netns(), "ip addr flush dev eth0");
    patiently("the guest has its address again", |_| {
        guest.discover(&[]).filter(|offer| offer.yiaddr() == VM1)
    });
    guest.dora();
    until_said(&site, TAKEN, None);
    site.assert_nothing_to_do();
}

#[test]
fn over_ipv6_it_is_the_same() {
    let site = Site::new();
    site.write("a.yaml", &both());
    let _agent = site.start();
    let guest = site.guest(1);
    let six = site.lab.twin6(guest.netns(), Mac::nth(1));
    let address = "2001:db8::20".parse().unwrap();
    let server = site.until_leased6(&six, address).server();
    let bad = intruder(&site);
    six.decline(address, &server);
    until_said(&site, LONG, Some(&format!("the guest declined 2001:db8::20: {} has it", bad.mac())));
    site.lab.run_in(bad.netns(), "ip addr flush dev eth0");
    patiently("the guest has its address again", |_| {
        six.solicit().filter(|advertise| advertise.addresses() == [address])
    });
    six.sarr();
    until_said(&site, TAKEN, None);
}

#[test]
fn a_guest_that_declines_all_the_time_gets_dnsmasq_started_a_few_times_only() {
    let site = Site::new();
    site.write("a.yaml", &both());
    let _agent = site.start();
    let (guest, other) = (site.guest(1), site.guest(2));
    site.until_leased(&guest, VM1);
    site.until_leased(&other, VM2);
    let starts = || site.metric("dnsmasq_starts_total").unwrap();
    let before = starts();
    let until = std::time::Instant::now() + Duration::from_secs(12);
    while std::time::Instant::now() < until {
        if guest.discover(&[]).is_some() {
            guest.dora();
        }
        guest.decline(VM1, SERVER);
        // What is asked while dnsmasq starts is asked again.
        let ack = eventually("the other is answered", PATIENCE, || other.renew(VM2, SERVER));
        assert_eq!(ack.yiaddr(), VM2);
    }
    // At once, and after 2, 4 and 8 s.
    let started = starts() - before;
    assert!((1..=4).contains(&started), "{started} starts");
    until_said(&site, LONG, Some("nobody has it now"));
}
