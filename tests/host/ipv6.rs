//! The IPv6 half of a network: addresses, routes, neighbours and the filter before DHCPv6.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::inside::{cpu, inside, sh, timed};
use kube_dhcp::host::{Host, LinuxHost};
use kube_dhcp::node::{Action, Family, INNER_DEVICE, Segment, namespace_name};
use kube_dhcp::plan::plan;
use kube_dhcp::types::{MacAddr, NetworkUid};

use crate::fixture::*;

/// All DHCPv6 servers and relay agents of a link.
const SERVERS: &str = "ff02::1:2";

fn macs(ports: impl IntoIterator<Item = u16>) -> BTreeSet<MacAddr> {
    ports.into_iter().map(mac).collect()
}

fn neighbours(ports: impl IntoIterator<Item = u16>) -> BTreeMap<Ipv6Addr, MacAddr> {
    ports.into_iter().map(|n| (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n), mac(n))).collect()
}

/// With guests 1 to 3.
fn six(uid: NetworkUid) -> Segment {
    let mut wanted = desired(uid, &service(1..=3));
    let device = wanted.device.as_mut().unwrap();
    device
        .addresses
        .extend(["2001:db8::2".parse().map(net).unwrap(), "2001:db8:1::2".parse().map(net).unwrap()]);
    device.gateways.insert(Family::V6, "fe80::1".parse().unwrap());
    device.neighbours = neighbours(1..=3);
    wanted.namespace.as_mut().unwrap().known = Some(macs(1..=3));
    wanted
}

fn net(ip: IpAddr) -> ipnet::IpNet {
    ipnet::IpNet::new(ip, 64).unwrap()
}

#[test]
fn each_step_is_seen_and_may_be_repeated() {
    inside("ipv6::each_step_is_seen_and_may_be_repeated", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = six(uid(1));
        let actions = plan(Some(&wanted), &observe(&host, uid(1)).await, true).actions;
        let mut expected = Segment::default();
        for action in actions.iter().filter(|action| !matches!(action, Action::Server(_))) {
            expected.record(action);
            for _ in 0..2 {
                apply(&host, uid(1), action).await;
                let is = observe(&host, uid(1)).await;
                assert_eq!(is.device, expected.device, "after {action}");
                let known = |segment: &Segment| segment.namespace.as_ref().map(|n| n.known.clone());
                assert_eq!(known(&is), known(&expected), "after {action}");
            }
            if matches!(action, Action::CreateDevice { .. }) {
                let own = in_netns(uid(1), "ip -6 address show dev dhcp0 scope link");
                assert!(own.contains("fe80::") && !own.contains("tentative"), "{own}");
            }
        }
        let table = in_netns(uid(1), "nft list table ip6 kube-dhcp");
        for line in [
            "type ether_addr",
            "type filter hook input priority filter; policy accept;",
            "iifname \"dhcp0\" udp dport 547 ether saddr != @known drop",
            "iifname \"dhcp0\" icmpv6 type nd-router-solicit ether saddr != @known drop",
        ] {
            assert!(table.contains(line), "{table}");
        }
        settle(&host, uid(1), &wanted).await;
        let twice = async |action: Action| {
            apply(&host, uid(1), &action).await;
            apply(&host, uid(1), &action).await;
            observe(&host, uid(1)).await
        };
        let (add, remove) = (neighbours([2, 4]), neighbours([1]).into_keys().collect());
        let is = twice(Action::ChangeNeighbours { add, remove }).await;
        assert_eq!(is.device.unwrap().neighbours, neighbours([2, 3, 4]));
        let is = twice(Action::AdmitToDhcpv6 { whole: false, add: macs([2, 4]), remove: macs([1, 9]) }).await;
        assert_eq!(is.namespace.unwrap().known, Some(macs([2, 3, 4])));
        let is = twice(Action::OpenDhcpv6).await;
        assert_eq!(is.namespace.unwrap().known, None);
        // A change of what is not there would keep all others out.
        let change = Action::AdmitToDhcpv6 { whole: false, add: macs([5]), remove: macs([]) };
        let error = host.apply(uid(1), "a/b", &change).await.unwrap_err();
        assert!(error.to_string().contains("cannot change an nftables table"), "{error}");
        settle(&host, uid(1), &wanted).await;
    });
}

#[test]
fn every_damage_by_hand_is_seen_and_mended() {
    inside("ipv6::every_damage_by_hand_is_seen_and_mended", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = six(uid(1));
        settle(&host, uid(1), &wanted).await;
        let table = "ip6 kube-dhcp";
        for damage in [
            "ip -6 address delete 2001:db8::2/64 dev dhcp0",
            "ip -6 address add 2001:db8:7::2/64 dev dhcp0",
            "ip -6 route delete default",
            "ip -6 route replace default via fe80::77 dev dhcp0",
            "ip -6 route add default via fe80::77 dev dhcp0 metric 5",
            "ip -6 neighbour delete fe80::1:2 dev dhcp0",
            "ip -6 neighbour flush dev dhcp0 nud permanent",
            "ip -6 neighbour replace fe80::1:2 lladdr 02:00:00:00:00:99 dev dhcp0 nud permanent",
            "ip -6 neighbour replace fe80::1:2 lladdr 02:00:00:00:00:02 dev dhcp0 nud stale",
            "ip -6 neighbour add fe80::9 lladdr 02:00:00:00:00:09 dev dhcp0 nud permanent",
            "ip link set dhcp0 down",
            "ip link set dhcp0 mtu 1200",
            "ip link set dhcp0 address 02:00:00:00:77:77",
            "ip link delete dhcp0",
            "sysctl -w net.ipv6.conf.default.accept_dad=1",
            "nft flush ruleset",
            &format!("nft delete table {table}"),
            &format!("nft flush set {table} known"),
            &format!("nft \"delete element {table} known {{ {} }}\"", mac(1)),
            &format!("nft \"add element {table} known {{ 02:00:00:00:00:99 }}\""),
            &format!("nft flush chain {table} input"),
            &format!("nft add rule {table} input accept"),
            &format!("nft insert rule {table} input iifname dhcp0 accept"),
            &format!("nft \"chain {table} input {{ policy drop; }}\""),
            &format!("nft \"add table {table} {{ flags dormant; }}\""),
            &format!("nft flush chain {table} input; nft add rule {table} input udp dport 546 drop"),
            &format!("nft flush chain {table} input; nft delete set {table} known"),
            &format!("nft delete chain {table} input"),
        ] {
            sh(&format!("ip netns exec {} sh -ec '{damage}'", namespace_name(uid(1))));
            let actions = settle(&host, uid(1), &wanted).await;
            assert!(!actions.is_empty(), "nothing was done after {damage}");
        }
        let started = dnsmasqs();
        let plain = desired(uid(1), &service(1..=3));
        settle(&host, uid(1), &plain).await;
        assert_eq!(dnsmasqs(), started);
        assert!(!in_netns(uid(1), "nft list tables").contains("kube-dhcp"));
        let left = in_netns(uid(1), "sh -c 'ip -6 route; ip -6 neighbour show nud permanent dev dhcp0'");
        assert!(left.lines().all(|line| line.starts_with("fe80::/64")), "{left}");
        reconcile(&host, uid(1), None).await;
        assert!(host.networks().await.unwrap().is_empty());
    });
}

#[test]
fn a_gateway_may_be_anywhere() {
    inside("ipv6::a_gateway_may_be_anywhere", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut wanted = six(uid(1));
        for gateway in ["fe80::9", "2001:db8::1", "2001:db8:9::1", "2001:db8:9::2", "fe80::1"] {
            wanted.device.as_mut().unwrap().gateways.insert(Family::V6, gateway.parse().unwrap());
            settle(&host, uid(1), &wanted).await;
            let route = in_netns(uid(1), "ip -6 route show default");
            assert!(route.contains(&format!("via {gateway} ")) && route.lines().count() == 1, "{route}");
        }
        wanted.device.as_mut().unwrap().gateways.remove(&Family::V6);
        settle(&host, uid(1), &wanted).await;
        // Of the two subnets and the link.
        assert_eq!(in_netns(uid(1), "ip -6 route show dev dhcp0").lines().count(), 3);
        assert_eq!(in_netns(uid(1), "ip route show default").lines().count(), 1);
    });
}

#[test]
fn neighbours_outlive_an_announcement() {
    inside("ipv6::neighbours_outlive_an_announcement", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = six(uid(1));
        settle(&host, uid(1), &wanted).await;
        host.announce(uid(1)).await.unwrap();
        let left = plan(Some(&wanted), &observe(&host, uid(1)).await, true);
        assert!(left.actions.is_empty(), "{left:?}");
    });
}

/// On a thread that ends in that namespace.
fn within<T: Send>(name: &str, f: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
    let run = || {
        #[expect(clippy::disallowed_methods, reason = "the thread is ours and ends")]
        nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        f()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn index(device: &str) -> u32 {
    nix::net::if_::if_nametoindex(device).unwrap()
}

/// What a guest with this number says to all servers and to `server` alone.
fn say(n: u16, server: Ipv6Addr) {
    sh(&format!(
        "ip netns add g{n}; ip netns exec g{n} sysctl -qw net.ipv6.conf.default.accept_dad=0
         ip link add t{n} type veth peer name eth0 netns g{n}; ip link set t{n} master {BRIDGE} up
         ip -n g{n} link set eth0 address {} up; ip -n g{n} address add 2001:db8::1:{n:x}/64 dev eth0 nodad",
        mac(n)
    ));
    // What is sent to all before both ends carry it is lost; what is sent to one waits for its neighbour.
    let start = Instant::now();
    loop {
        let ends = sh(&format!("ip -n g{n} link show eth0; ip -d link show t{n}"));
        if ends.matches("state UP").count() == 2 && ends.contains("state forwarding") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "the guest's line is not up: {ends}");
    }
    within(&format!("g{n}"), || {
        let socket = UdpSocket::bind("[::]:546").unwrap();
        let all = SocketAddrV6::new(SERVERS.parse().unwrap(), 547, 0, index("eth0"));
        for kind in [SOLICIT, REBIND, RELAY_FORW, SOLICIT] {
            socket.send_to(&packet(kind, &format!("{n} to all")), all).unwrap();
            socket.send_to(&packet(kind, &format!("{n} to one")), (server, 547)).unwrap();
        }
    });
}

/// RFC 8415 §7.3. Of these the server shall hear but the first.
const SOLICIT: u8 = 1;
const REBIND: u8 = 6;
const RELAY_FORW: u8 = 12;

fn packet(kind: u8, text: &str) -> Vec<u8> {
    [&[kind], text.as_bytes()].concat()
}

#[test]
fn who_is_known_is_heard_and_nobody_else() {
    inside("ipv6::who_is_known_is_heard_and_nobody_else", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &six(uid(1))).await;
        let server: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let name = namespace_name(uid(1));
        let socket = within(&name, || {
            let socket = UdpSocket::bind("[::]:547").unwrap();
            socket.join_multicast_v6(&SERVERS.parse().unwrap(), index(INNER_DEVICE)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            // It says something to itself, too.
            let own = UdpSocket::bind("[::]:0").unwrap();
            own.send_to(&packet(SOLICIT, "own"), (server, 547)).unwrap();
            let all = SocketAddrV6::new(SERVERS.parse().unwrap(), 547, 0, index(INNER_DEVICE));
            own.send_to(&packet(SOLICIT, "own to all"), all).unwrap();
            socket
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // All that is said until two things were heard and nothing more comes.
        let heard = || {
            let (start, mut packet, mut heard) = (Instant::now(), [0; 64], BTreeSet::new());
            loop {
                match socket.recv(&mut packet) {
                    Ok(length) => drop(heard.insert((packet[0], text(&packet[1..length])))),
                    Err(_) if heard.len() < 2 && start.elapsed() < Duration::from_secs(10) => {}
                    Err(_) => return heard,
                }
            }
        };
        let text = |text: &&str| (SOLICIT, (*text).to_owned());
        let set = |texts: &[&str]| texts.iter().map(text).collect::<BTreeSet<_>>();
        assert_eq!(heard(), set(&["own", "own to all"]));
        say(9, server);
        say(2, server);
        assert_eq!(heard(), set(&["2 to all", "2 to one"]));
        apply(&host, uid(1), &Action::OpenDhcpv6).await;
        say(8, server);
        let kinds = [SOLICIT, REBIND, RELAY_FORW].into_iter();
        let all = kinds.flat_map(|kind| ["8 to all", "8 to one"].map(|text| (kind, text.to_owned())));
        assert_eq!(heard(), all.collect(), "without the filter");
    });
}

#[test]
fn what_ipv6_costs() {
    inside("ipv6::what_ipv6_costs", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut wanted = six(uid(1));
        for count in [0, 1_000, 10_000] {
            wanted.device.as_mut().unwrap().neighbours = neighbours(1..=count);
            wanted.namespace.as_mut().unwrap().known = Some(macs(1..=count));
            for action in plan(Some(&wanted), &observe(&host, uid(1)).await, true).actions {
                let (_, took) = timed(apply(&host, uid(1), &action)).await;
                if matches!(action, Action::ChangeNeighbours { .. } | Action::AdmitToDhcpv6 { .. }) {
                    println!("{count:>6} guests, {}: {took:?}", action.kind());
                }
            }
            let (spent, rounds) = (cpu(), 50);
            let look = async {
                for _ in 0..rounds {
                    observe(&host, uid(1)).await;
                }
            };
            let ((), took) = timed(look).await;
            let spent = cpu().saturating_sub(spent) / rounds;
            println!("{count:>6} guests, a look: {:?}, {spent:?} of CPU", took / rounds);
            settle(&host, uid(1), &wanted).await;
        }
        let one = Action::AdmitToDhcpv6 { whole: false, add: macs([20_000]), remove: macs([5]) };
        println!("one of 10,000: {:?}", timed(apply(&host, uid(1), &one)).await.1);
    });
}
