//! A guest that comes again under another identity: installed anew, or first by its firmware.

use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::lab::Mac;
use crate::manifests::port;
use crate::site::Site;

use super::{Both, dual, ip6, lan46, served_after, until_leases};

/// Its address is leased to its first identity.
fn site() -> Site {
    let site = Site::new();
    site.write("a.yaml", &(lan46() + &dual(1, 0x20, "") + &dual(2, 0x21, "")));
    site
}

fn start(site: &Site) -> Agent<'_> {
    site.launch().more(&["--resync-seconds", "3600"]).start_ready()
}

#[test]
fn a_new_identifier_and_another_association_are_served_when_they_ask_a_third_time() {
    let timed = [&[0, 1, 0, 1, 9, 9, 9, 9], &Mac::nth(1).0[..]].concat();
    let same = [&[0, 3, 0, 1], &Mac::nth(1).0[..]].concat();
    for (duid, iaid) in [(vec![0, 4, 9, 9, 9, 9], 1), (timed, 1), (same, 7)] {
        let site = site();
        let _agent = start(&site);
        let old = Both::new(&site, 1).six;
        site.until_leased6(&old, ip6(0x20));
        until_leases(&site, "2001:db8::20 ", 1);
        let new = site.lab.twin6(old.netns(), Mac::nth(1)).with_duid(&duid).with_iaid(iaid);
        let (_, took) = served_after(&new, 0x20, 3);
        println!("served after {took:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        until_leases(&site, "2001:db8::20 ", 1);
    }
}

#[test]
fn nobody_elses_lease_is_given_back() {
    let site = site();
    let agent = start(&site);
    let (owner, thief) = (Both::new(&site, 1).six, Both::new(&site, 2).six);
    site.until_leased6(&owner, ip6(0x20));
    site.until_leased6(&thief, ip6(0x21));
    until_leases(&site, "2001:db8::2", 2);
    // Its own address is leased, and its identifier claims to be the owner's.
    let claims = site.lab.twin6(thief.netns(), Mac::nth(2)).with_duid(owner.duid());
    served_after(&claims, 0x21, 3);
    let released: Vec<_> = agent.actions().into_iter().filter(|a| a.contains("2001:db8::20")).collect();
    assert_eq!(released, [] as [String; 0]);
    // dnsmasq itself takes the owner's lease for this guest's, as both have one identifier and association.
}

#[test]
fn a_guest_with_many_identities_makes_no_work() {
    let site = site();
    let agent = start(&site);
    let guest = Both::new(&site, 1).six;
    site.until_leased6(&guest, ip6(0x20));
    let before = agent.actions().len();
    let until = Instant::now() + Duration::from_secs(5);
    for n in 0_u8.. {
        let other = site.lab.twin6(guest.netns(), Mac::nth(1)).with_duid(&[0, 4, n]);
        if other.solicit().is_some_and(|advertise| !advertise.addresses().is_empty()) {
            other.sarr();
        }
        if Instant::now() > until {
            break;
        }
    }
    let actions = agent.actions();
    assert!(actions.len() - before <= 1, "{:?}", &actions[before..]);
    let neighbour = Both::new(&site, 2).six;
    site.until_leased6(&neighbour, ip6(0x21));
}

#[test]
fn several_associations_keep_their_addresses() {
    let site = Site::new();
    let more = format!("addresses: [{{ip: '{}'}}, {{ip: '{}'}}]", ip6(0x20), ip6(0x21));
    site.write("a.yaml", &(lan46() + &port("vm1", "lan", Mac::nth(1), &more)));
    let agent = start(&site);
    let first = Both::new(&site, 1).six;
    site.until_leased6(&first, ip6(0x20));
    let second = site.lab.twin6(first.netns(), first.mac()).with_iaid(2);
    assert_eq!(second.sarr().addresses(), [ip6(0x21)]);
    until_leases(&site, "2001:db8::2", 2);
    for _ in 0..3 {
        assert_eq!(first.sarr().addresses(), [ip6(0x20)]);
        assert_eq!(second.sarr().addresses(), [ip6(0x21)]);
    }
    assert!(agent.actions().iter().all(|action| !action.contains("release")), "{:?}", agent.actions());
    // Installed anew it gets both again.
    let new = |iaid| site.lab.twin6(first.netns(), first.mac()).with_duid(&[0, 4, 9]).with_iaid(iaid);
    served_after(&new(1), 0x20, 3);
    assert_eq!(new(2).sarr().addresses(), [ip6(0x21)]);
    until_leases(&site, "00:04:09", 2);
}
