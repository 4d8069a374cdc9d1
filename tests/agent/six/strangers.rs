//! Whom DHCPv6 does not answer, and that nobody else suffers from it.

use std::net::Ipv6Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{ALL_DHCP, Ask6, Body, Guest6, Kind6, Mac, PATIENCE, Packet6, Wire, eventually, status};
use crate::manifests::port;
use crate::site::Site;

use super::{Both, dual, ip6, lan46, until_leases};

fn site() -> Site {
    let site = Site::new();
    let disabled = port("silent", "lan", Mac::nth(3), "dhcp: Disabled");
    site.write("a.yaml", &(lan46() + &dual(1, 0x20, "") + &dual(2, 0x21, "") + &disabled));
    site
}

/// Everything that a client says, about an address of somebody else's.
fn all(guest: &Guest6<'_>, server: &[u8]) -> Vec<Ask6> {
    let about = |kind| guest.about(kind, ip6(0x20));
    vec![
        Ask6::new(Kind6::Solicit),
        Ask6::new(Kind6::Solicit).option(14, &[]),
        about(Kind6::Request).to(server),
        about(Kind6::Confirm),
        about(Kind6::Renew).to(server),
        about(Kind6::Rebind),
        about(Kind6::Release).to(server),
        about(Kind6::Decline).to(server),
        Ask6::new(Kind6::InformationRequest),
    ]
}

/// The numbers of all messages that a server answered since the wire was opened, whoever was to hear it.
fn answered(wire: &Wire) -> Vec<u32> {
    let frames = std::iter::from_fn(|| wire.receive(Instant::now()));
    let number = |packet: Packet6| match packet.body {
        Body::Udp { to: 546, payload, .. } => {
            Some(u32::from_be_bytes([0, payload[1], payload[2], payload[3]]))
        }
        _ => None,
    };
    frames.filter_map(|frame| number(Packet6::parse(&frame)?)).collect()
}

#[test]
fn a_stranger_meets_silence_whatever_it_says() {
    let site = site();
    let _agent = site.start();
    let known = Both::new(&site, 1).six;
    let server = site.until_leased6(&known, ip6(0x20)).server();
    until_leases(&site, "2001:db8::20 ", 1);
    let wire = Wire::open(&site.lab, Some(known.netns()), "eth0");
    for n in [77, 3] {
        // Answers to these would reach the known guest: for its address the server has to ask nobody.
        let stranger = || site.lab.twin6(known.netns(), Mac::nth(n)).with_link_local(known.link_local());
        for stranger in [stranger(), stranger().with_duid(known.duid())] {
            for ask in all(&stranger, &server) {
                stranger.send(&ask);
            }
        }
        assert!(site.lab.twin6(known.netns(), Mac::nth(n)).silent(), "{n} is answered");
    }
    // Messages are read in order: what is not answered before this one never is.
    wire_is_quiet_but_for(&wire, &known, &server);
    until_leases(&site, "2001:db8::20 ", 1);
    site.until_ready("Port", "vm1");
}

/// Whoever is asked here answers the last question and has answered none before it.
fn wire_is_quiet_but_for(wire: &Wire, known: &Guest6<'_>, server: &[u8]) {
    let renewal = known.renew(ip6(0x20), server).expect("the known guest is not answered");
    assert_eq!(renewal.lifetimes()[0].valid, 86_400);
    assert_eq!(answered(wire), [renewal.xid()]);
}

#[test]
fn a_relayed_message_meets_silence_also_from_a_known_guest() {
    let site = site();
    let _agent = site.start();
    let known = Both::new(&site, 1).six;
    let server = site.until_leased6(&known, ip6(0x20)).server();
    let wire = Wire::open(&site.lab, Some(known.netns()), "eth0");
    // A SOLICIT with the other guest's MAC address as the relay tells it (RFC 6939).
    let solicit = [&[1, 0, 0, 9, 0, 1, 0, 10, 0, 3, 0, 1], &Mac::nth(2).0[..], &[0, 3, 0, 12], &[0; 12]];
    let solicit = solicit.concat();
    let length = u8::try_from(solicit.len()).unwrap();
    let (link, peer) = (ip6(1).octets(), Mac::nth(2).link_local().octets());
    let told = [&[0, 79, 0, 8, 0, 1], &Mac::nth(2).0[..]].concat();
    let payload = [&[12, 0], &link[..], &peer, &told, &[0, 9, 0, length], &solicit].concat();
    for from in [546, 547] {
        let body = Body::Udp { from, to: 547, payload: payload.clone() };
        wire.send(&Packet6::to_group(known.mac(), known.link_local(), ALL_DHCP, body).frame());
    }
    let renewal = known.renew(ip6(0x20), &server).expect("the known guest is not answered");
    let frames = std::iter::from_fn(|| wire.receive(Instant::now()));
    let from_server = |packet: &Packet6| matches!(packet.body, Body::Udp { from: 547, .. });
    let mut said = frames.filter_map(|frame| Packet6::parse(&frame)).filter(from_server);
    // Its own, as it was sent, and the answer to RENEW.
    let is_own = |packet: &Packet6| packet.from_mac == known.mac();
    assert_eq!(said.by_ref().filter(|packet| !is_own(packet)).count(), 1, "besides {renewal:?}");
}

#[test]
fn a_known_guest_cannot_rebind_to_its_neighbours_address() {
    let site = site();
    let _agent = site.start();
    let (owner, thief) = (Both::new(&site, 1).six, Both::new(&site, 2).six);
    assert!(thief.rebind(ip6(0x20)).is_none());
    assert!(thief.rebind(ip6(0x21)).is_none(), "also its own: it solicits once its lease is over");
    let server = site.until_leased6(&owner, ip6(0x20)).server();
    site.until_leased6(&thief, ip6(0x21));
    // Whatever else it says of the address gives it nothing.
    let renewal = thief.renew(ip6(0x20), &server).expect("no answer to RENEW");
    assert_eq!(renewal.ia_status(), Some(status::NO_BINDING));
    let request = thief.about(Kind6::Request, ip6(0x20)).to(&server);
    assert_ne!(thief.ask(&request).map(|reply| reply.addresses()), Some(vec![ip6(0x20)]));
    thief.release(ip6(0x20), &server);
    thief.decline(ip6(0x20), &server);
    assert_eq!(owner.renew(ip6(0x20), &server).unwrap().lifetimes()[0].valid, 86_400);
    assert_eq!(owner.sarr().addresses(), [ip6(0x20)]);
    until_leases(&site, "2001:db8::20 ", 1);
}

/// The median of some exchanges, from SOLICIT to REPLY, before each of which `until` has come.
fn exchange(guest: &Guest6<'_>, until: impl Fn()) -> Duration {
    let once = |_| {
        until();
        let start = Instant::now();
        let advertise = guest.solicit().expect("no ADVERTISE");
        guest.request(&advertise).expect("no REPLY");
        start.elapsed()
    };
    let mut took: Vec<_> = (0..20).map(once).collect();
    took.sort();
    took[10]
}

#[test]
fn a_flood_of_strangers_keeps_nobody_waiting() {
    flood(&lan46(), solicit_of);
}

/// A packet from another MAC address every millisecond, beside a guest of a network that has it.
pub(super) fn flood(network: &str, packet: impl Fn(Mac) -> Vec<u8> + Sync) {
    let site = Site::new();
    let vm = port("vm1", "lan", Mac::nth(1), &format!("addresses: [{{ip: '{}'}}]", ip6(0x20)));
    site.write("a.yaml", &(network.to_owned() + &vm));
    let _agent = site.start();
    let (guest, crowd) = (Both::new(&site, 1).six, site.lab.guest("br0", Mac::nth(99)));
    site.until_leased6(&guest, ip6(0x20));
    let quiet = exchange(&guest, || ());
    let wire = Wire::open(&site.lab, Some(crowd.netns()), "eth0");
    let (sent, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let flooded = std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !over.load(Ordering::Relaxed) {
                let n = sent.fetch_add(1, Ordering::Relaxed);
                wire.send(&packet(Mac::nth(100_000 + n)));
                let due = start + Duration::from_millis(n.into());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        eventually("the flood", PATIENCE, || (sent.load(Ordering::Relaxed) > 1_000).then_some(()));
        let before = sent.load(Ordering::Relaxed);
        let more = || {
            let n = sent.load(Ordering::Relaxed) + 50;
            eventually("more of the flood", PATIENCE, || (sent.load(Ordering::Relaxed) > n).then_some(()));
        };
        let took = catch_unwind(AssertUnwindSafe(|| exchange(&guest, more)));
        let meanwhile = sent.load(Ordering::Relaxed) - before;
        over.store(true, Ordering::Relaxed);
        println!("an exchange: {quiet:?}, beside {meanwhile} packets {took:?}");
        took.expect("an exchange failed")
    });
    assert!(flooded <= Duration::from_millis(50), "{flooded:?}, without a flood {quiet:?}");
}

/// As of a client with this MAC address, one that nobody answers for.
fn solicit_of(mac: Mac) -> Vec<u8> {
    let payload = [&[1, 0, 0, 1, 0, 1, 0, 10, 0, 3, 0, 1], &mac.0[..], &[0, 3, 0, 12], &[0; 12]].concat();
    let from: Ipv6Addr = mac.link_local();
    Packet6::to_group(mac, from, ALL_DHCP, Body::Udp { from: 546, to: 547, payload }).frame()
}
