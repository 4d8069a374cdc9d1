//! Ports that are known by their guests' DUID.

use std::time::{Duration, Instant};

use crate::lab::{Ask6, Guest6, Kind6, Mac, hex};
use crate::manifests::{object, port};
use crate::site::{Site, patiently};

use super::{Both, dual, ip4, ip6, lan46, leases, served_after, until_leases, until_nothing_to_do};

const ID: &[u8] = &[0, 4, 0xab, 0xcd, 0xef];
const OTHER: &[u8] = &[0, 2, 0, 0, 9, 9, 1, 2, 3];

/// Port `vm1`, `2001:db8::20` and 10.0.0.32, that is known by this.
fn vm1(duid: &[u8], more: &str) -> String {
    let identity = format!("identity: {{type: DUID, duid: '{}'}}", hex(duid));
    let addresses = format!("addresses: [{{ip: {}}}, {{ip: '{}'}}]", ip4(0x20), ip6(0x20));
    object("Port", "vm1", &format!("networkRef: {{name: lan}}\n{addresses}\n{identity}\n{more}"))
}

/// Network `lan` with `vm1`, and with `vm2` that is known by its MAC address.
fn site(more: &str) -> Site {
    let site = Site::new();
    site.write("lan.yaml", &(lan46() + &dual(2, 0x21, "")));
    site.write("vm1.yaml", &vm1(ID, more));
    site
}

fn calling_itself<'s>(site: &'s Site, n: u32, duid: &[u8]) -> Guest6<'s> {
    site.lab.guest6("br0", Mac::nth(n)).with_duid(duid)
}

/// How often.
fn asked_until_served(guest: &Guest6<'_>) -> usize {
    served_after(guest, 0x20, 4).0
}

fn newcomers(site: &Site) -> Vec<String> {
    let status = site.status();
    let all = status.object("Network", "lan").and_then(|network| network["newcomers"].as_array().cloned());
    all.into_iter().flatten().map(|n| n["macAddress"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_duid_is_answered_whatever_the_mac_from_the_second_word_on() {
    let site = site("");
    let agent = site.start();
    let guest = calling_itself(&site, 7, ID);
    site.until_ready("Port", "vm1");
    let tries = asked_until_served(&guest);
    assert!((2..=3).contains(&tries), "{tries}");
    assert_eq!(guest.renew(ip6(0x20), &super::server_duid(&site)).unwrap().addresses(), [ip6(0x20)]);
    assert!(guest.rebind(ip6(0x20)).is_none(), "of nobody it is heard");
    until_leases(&site, "2001:db8::20 ", 1);
    // A restart of the agent is nothing to it.
    patiently("it is written down", |_| (newcomers(&site) == [Mac::nth(7).to_string()]).then_some(()));
    let pids = site.dnsmasq_pids();
    agent.kill9();
    let agent = site.start();
    site.assert_nothing_to_do();
    assert_eq!(site.dnsmasq_pids(), pids);
    assert!(agent.actions().is_empty(), "{:?}", agent.actions());
    assert_eq!(asked_until_served(&guest), 1);
    // And by another device: its lease there is another association's, as with real clients.
    let second = calling_itself(&site, 8, ID).with_iaid(8);
    asked_until_served(&second);
    until_leases(&site, "2001:db8::20 ", 1);
    assert!(site.status().condition("Port", "vm1", "AddressConflict").is_none());
}

#[test]
fn strangers_meet_silence_and_delay_nobody() {
    let site = site("");
    let _agent = site.start();
    let (guest, neighbour) = (calling_itself(&site, 7, ID), Both::new(&site, 2).six);
    asked_until_served(&guest);
    let server = site.until_leased6(&neighbour, ip6(0x21)).server();
    for duid in [OTHER, &ID[..4], &[ID, &[1]].concat()] {
        let stranger = calling_itself(&site, 9, duid);
        for kind in [Kind6::Solicit, Kind6::Confirm, Kind6::Renew, Kind6::Rebind, Kind6::Release] {
            let ask = stranger.about(kind, ip6(0x20)).to(&server);
            assert!(stranger.ask(&ask).is_none(), "{kind:?} of {duid:?} is answered");
        }
        // With the identifier anywhere but where it belongs.
        let hidden = Ask6::new(Kind6::Solicit).option(16, &[&[0, 1, 0, 5][..], ID].concat());
        assert!(stranger.ask(&hidden).is_none());
    }
    assert_eq!(newcomers(&site), [Mac::nth(7).to_string()]);
    assert_eq!(guest.renew(ip6(0x20), &server).unwrap().addresses(), [ip6(0x20)]);
    // Whoever says so from many devices is heard by a few of them, and the neighbour does not wait.
    let flood = site.lab.guest6("br0", Mac::nth(100));
    let mut slowest = Duration::ZERO;
    for n in 0..200 {
        site.lab
            .twin6(flood.netns(), Mac::nth(1000 + n))
            .with_duid(ID)
            .muted()
            .send(&Ask6::new(Kind6::Solicit));
        if n % 10 == 0 {
            let asked = Instant::now();
            assert_eq!(neighbour.renew(ip6(0x21), &server).unwrap().addresses(), [ip6(0x21)]);
            slowest = slowest.max(asked.elapsed());
        }
    }
    println!("the slowest answer took {slowest:?}");
    assert!(slowest < Duration::from_millis(400), "{slowest:?}");
    patiently("a few are let through", |instead| {
        let all = newcomers(&site);
        *instead = format!("{all:?}");
        (all.len() == 4).then_some(())
    });
    until_nothing_to_do(&site);
    // Its guest is one of them again when it asks.
    asked_until_served(&guest);
}

#[test]
fn another_duid_gets_the_address_and_a_removed_one_nothing() {
    let site = site("");
    let _agent = site.start();
    let (old, new) = (calling_itself(&site, 7, ID), calling_itself(&site, 8, OTHER));
    asked_until_served(&old);
    until_leases(&site, "2001:db8::20 ", 1);
    site.write("vm1.yaml", &vm1(OTHER, ""));
    asked_until_served(&new);
    assert!(old.silent() && old.renew(ip6(0x20), &super::server_duid(&site)).is_none());
    until_leases(&site, "2001:db8::20 ", 1);
    assert!(leases(&site, "2001:db8::20 ")[0].ends_with(&hex(OTHER)), "{:?}", leases(&site, "2001:db8"));
    // To a MAC address, whose guest calls itself as the Port was known before.
    site.write("vm1.yaml", &dual(1, 0x20, ""));
    let by_mac = calling_itself(&site, 1, OTHER);
    site.until_leased6(&by_mac, ip6(0x20));
    site.until_silent6(&new);
    site.write("vm1.yaml", &vm1(ID, &format!("macAddress: '{}'", Mac::nth(1))));
    asked_until_served(&old);
    assert!(by_mac.silent());
    site.remove("vm1.yaml");
    site.until_silent6(&old);
    until_leases(&site, "2001:db8::20 ", 0);
    patiently("nobody is let through for it", |_| newcomers(&site).is_empty().then_some(()));
    until_nothing_to_do(&site);
}

#[test]
fn its_mac_address_counts_in_dhcpv4_and_is_let_through_at_once() {
    let site = site(&format!("macAddress: '{}'", Mac::nth(1)));
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let guest = Both::new(&site, 1);
    site.until_leased(&guest.four, ip4(0x20));
    let known = site.lab.twin6(guest.four.netns(), Mac::nth(1)).with_duid(ID);
    assert_eq!(asked_until_served(&known), 1);
    assert!(guest.six.silent(), "another DUID is not its guest's");
    assert!(newcomers(&site).is_empty());
    let other = calling_itself(&site, 7, ID);
    asked_until_served(&other);
    let second = port("second", "lan", Mac::nth(1), "addresses: []");
    site.write("b.yaml", &second);
    site.until_not_ready("Port", "second", "DuplicateMAC", "Port vm1");
}

#[test]
fn dhclient_has_its_address_by_its_duid_on_any_device() {
    // What dhclient calls itself with -D LL on this device.
    let duid = [&[0, 3, 0, 1][..], &Mac::nth(7).0].concat();
    let site = site("");
    site.write("vm1.yaml", &vm1(&duid, ""));
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let guest = site.guest(7);
    let client = guest.dhclient6();
    let bound = patiently("dhclient has a lease", |_| client.start());
    assert_eq!(bound["new_ip6_address"], ip6(0x20).to_string());
    client.stop();
    let bound = client.start().expect("dhclient has no lease after a restart");
    assert_eq!(bound["new_ip6_address"], ip6(0x20).to_string());
    client.release();
    until_leases(&site, "2001:db8::20 ", 0);
}
