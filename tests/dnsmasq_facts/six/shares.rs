//! Several processes for the guests of DHCPv6 of a network: the port is one, so that each is in a namespace of its
//! own, with a device like the server's, to which nftables leads its guests' frames by their MAC address.

use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::time::Instant;

use crate::lab::{Ask6, Dnsmasq, Guest6, Kind6, Lab, Mac, PATIENCE, Setup};
use crate::{leave_leases, machine};

use super::{DUID, SERVER, STATEFUL, advertised, guest6, host6, ip6, leases, serve};

/// The room of a share; the feed is what leads there.
fn room(share: u8) -> (String, String) {
    (format!("room{share}"), format!("feed{share}"))
}

fn setup() -> Setup {
    Setup::default().addresses(&["2001:db8::2/64"]).ranges(&[STATEFUL]).more(&[DUID, "--quiet-dhcp6"])
}

/// A server of a share, which knows these guests.
fn share<'lab>(lab: &'lab Lab, number: u8, setup: Setup, guests: &[u32]) -> Dnsmasq<'lab> {
    let (room, feed) = room(number);
    let device = lab.run_in("srv", "ip -brief link show dev srv0");
    let mac = device.split_whitespace().nth(2).unwrap();
    lab.run_in("srv", &format!("ip netns add {room}"));
    lab.run_in(&room, "ip link set lo up");
    let peer = format!("peer name srv0 address {mac} netns {room}");
    lab.run_in("srv", &format!("ip link add {feed} type veth {peer}"));
    lab.set_ipv6("srv", &feed, "disable_ipv6", "1");
    lab.set_ipv6(&room, "srv0", "accept_dad", "0");
    lab.run_in(&room, "ip link set srv0 up");
    lab.run_in("srv", &format!("ip link set {feed} up"));
    setup.addresses.iter().for_each(|address| lab.address(&room, "srv0", address));
    lab.neighbours(&room, "srv0", guests.iter().copied().map(Mac::nth));
    lab.run_in(&room, &format!("ip neighbour replace 2001:db8::2 lladdr {mac} dev srv0 nud permanent"));
    let dnsmasq = Dnsmasq::prepare(lab, setup.netns(&room));
    let hosts = guests.iter().map(|n| host6(*n, u16::try_from(0x10 + n).unwrap()));
    dnsmasq.write("hosts", "all", &hosts.collect::<String>());
    dnsmasq
}

/// Has each of these guests heard by its share's process alone.
fn lead(one: &Dnsmasq<'_>, lab: &Lab, shares: &[u8], guests: &[(u32, u8)]) {
    let entry = |(n, share): &(u32, u8)| format!("{} : {}, ", Mac::nth(*n), room(*share).1);
    let entries: String = guests.iter().map(entry).collect();
    let out = |share: &u8| {
        let feed = room(*share).1;
        format!(
            "chain {feed} {{ type filter hook ingress device {feed} priority 0;
                udp sport 547 fwd to srv0
                icmpv6 type nd-neighbor-solicit fwd to srv0
                drop
            }}"
        )
    };
    let rules = format!(
        "table netdev shares {{
            map shares {{ type ether_addr : iface_index; elements = {{ {entries} }}; }}
            chain guests {{ type filter hook ingress device srv0 priority 0;
                icmpv6 type nd-neighbor-advert dup to ether saddr map @shares
                udp dport 547 fwd to ether saddr map @shares
            }}
            {}
        }}",
        shares.iter().map(out).collect::<Vec<_>>().join("\n")
    );
    let path = one.path("beside").join("shares");
    std::fs::write(&path, rules).unwrap();
    lab.run_in("srv", &format!("nft -f {}", path.display()));
}

/// One that knows guest 3, and 1 and 2 each heard by another.
fn shared(lab: &Lab) -> [Dnsmasq<'_>; 3] {
    let one = serve(lab, setup(), &host6(3, 0x13));
    let [a, b] = [1, 2].map(|n| share(lab, n, setup(), &[n.into()]));
    a.start();
    b.start();
    lead(&one, lab, &[1, 2], &[(1, 1), (2, 2)]);
    [one, a, b]
}

#[test]
fn each_guest_is_answered_by_its_own_and_as_by_a_single_one() {
    let lab = machine();
    let all = shared(&lab);
    for (n, dnsmasq) in [(3, &all[0]), (1, &all[1]), (2, &all[2])] {
        let (guest, address) = (guest6(&lab, n), ip6(u16::try_from(0x10 + n).unwrap()));
        let reply = guest.sarr();
        assert_eq!((reply.addresses(), reply.server()), (vec![address], SERVER.to_vec()));
        assert_eq!(guest.renew(address, &SERVER).unwrap().addresses(), [address]);
        let answers = guest.ask_all(&Ask6::new(Kind6::Solicit));
        assert_eq!(answers.len(), 1, "one answers");
        assert_eq!(leases(dnsmasq).len(), 1);
        guest.release(address, &SERVER).unwrap();
        assert!(leases(dnsmasq).is_empty(), "a release reaches the one that gave the lease");
    }
}

#[test]
fn one_that_no_entry_tells_of_is_asked_where_it_is() {
    let lab = machine();
    let all = shared(&lab);
    let elsewhere: Ipv6Addr = "fe80::1:2:3".parse().unwrap();
    let guest = guest6(&lab, 1).with_link_local(elsewhere);
    assert_eq!(guest.sarr().addresses(), [ip6(0x11)]);
    let known = |netns| lab.run_in(netns, "ip -6 neighbour show dev srv0").contains(&elsewhere.to_string());
    assert!(known("room1"), "its word of where it is reached the room");
    assert_eq!(leases(&all[1]).len(), 1);
}

#[test]
fn the_end_of_one_is_the_silence_of_its_own_guests_only() {
    let lab = machine();
    let all = shared(&lab);
    all[1].stop();
    assert!(guest6(&lab, 1).silent());
    assert_eq!(advertised(&guest6(&lab, 2)), Some(vec![ip6(0x12)]));
    assert_eq!(advertised(&guest6(&lab, 3)), Some(vec![ip6(0x13)]));
    all[1].start();
    assert_eq!(advertised(&guest6(&lab, 1)), Some(vec![ip6(0x11)]));
}

/// A device that comes again has another number, and what led to it leads nowhere.
#[test]
fn nobody_is_led_to_a_device_that_was_made_anew() {
    let lab = machine();
    let all = shared(&lab);
    lab.run_in("srv", "ip link del feed1");
    all[1].stop();
    lab.run_in("srv", "ip netns del room1");
    let again = share(&lab, 1, setup(), &[1]);
    again.start();
    assert!(guest6(&lab, 1).silent());
    assert_eq!(advertised(&guest6(&lab, 2)), Some(vec![ip6(0x12)]));
    lab.run_in("srv", "nft delete table netdev shares");
    lead(&all[0], &lab, &[1, 2], &[(1, 1), (2, 2)]);
    assert_eq!(advertised(&guest6(&lab, 1)), Some(vec![ip6(0x11)]));
}

fn many6(n: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::try_from(n).unwrap())
}

/// Host lines, and lease lines, of guests 1 to `count`.
fn many(count: u32) -> (String, String) {
    let mut texts = (String::new(), String::new());
    for n in 1..=count {
        let (mac, ip) = (Mac::nth(n), many6(n));
        writeln!(texts.0, "{mac},tag:dhcpv6,set:s6,[{ip}],vm{n}.").unwrap();
        writeln!(texts.1, "4102444800 1 {ip} vm{n} 00:03:00:01:{mac}").unwrap();
    }
    texts
}

/// For each lease it goes through all names that it has, which are all asked in one place.
#[test]
fn one_that_has_no_names_hears_of_a_guest_at_once() {
    let lab = machine();
    let (hosts, held) = many(1_000);
    let setup = || setup().more(&["--dhcp-lease-max=20000"]);
    let one = Dnsmasq::prepare(&lab, setup());
    let name = |n| format!("{} vm{n}.vm.example.org\n", many6(n));
    one.write("names", "all", &(1..=4_000).map(name).collect::<String>());
    let share = share(&lab, 1, setup(), &[]);
    let took = [one, share].map(|dnsmasq| {
        dnsmasq.write("hosts", "all", &hosts);
        leave_leases(&dnsmasq, &held);
        dnsmasq.start();
        let event = |n: u32| {
            let line = format!("{},tag:dhcpv6,set:s6,[{}],vm{n}.\n", Mac::nth(n), many6(n));
            let began = Instant::now();
            dnsmasq.apply("hosts", &format!("more{n}"), &line);
            began.elapsed()
        };
        // What else the machine does is not in the least of them.
        (20_000..20_009).map(event).min().unwrap()
    });
    println!("a guest more at 1,000 leased ones: with 4,000 names {:?}, without {:?}", took[0], took[1]);
    assert!(took[1] * 4 < took[0], "{took:?}");
}

/// Whose neighbour entry is new to it, it goes through all that its namespace has of them.
#[test]
fn the_neighbours_of_a_namespace_are_felt_by_a_newcomer() {
    let lab = machine();
    let one = serve(&lab, setup(), &host6(1, 0x11));
    let share = share(&lab, 2, setup(), &[2]);
    share.start();
    lead(&one, &lab, &[2], &[(2, 2)]);
    lab.neighbours("srv", "srv0", (100..10_100).map(Mac::nth));
    let took = |guest: &Guest6<'_>| {
        let began = Instant::now();
        guest.ask_for(&Ask6::new(Kind6::Solicit), PATIENCE).unwrap();
        began.elapsed()
    };
    let first = |n: u32, netns: &str| {
        let another = |last: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 9, last);
        let device = guest6(&lab, n);
        let mac = device.mac();
        let entry = |ip| format!("ip neighbour replace {ip} lladdr {mac} dev srv0 nud permanent");
        let mut times = Vec::new();
        for last in 1..=5 {
            lab.run_in(netns, &entry(another(last)));
            times.push(took(&lab.twin6(device.netns(), mac).with_link_local(another(last))));
        }
        times.into_iter().min().unwrap()
    };
    let (with, without) = (first(1, "srv"), first(2, "room2"));
    println!("a newcomer's first answer: beside 10,000 neighbours {with:?}, beside none {without:?}");
    assert!(without * 4 < with, "{without:?}, {with:?}");
}
