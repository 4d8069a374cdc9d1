//! The real node: kernel, iptables and dnsmasq. Needs root; each test runs in a machine of its own.
#![allow(missing_docs, reason = "tests")]

mod inside;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use inside::{cpu, inside, sh, timed};
use kube_dhcp::dnsmasq::{self, Action as Step};
use kube_dhcp::host::{Applied, Host, LinuxHost};
use kube_dhcp::node::{
    Action, Bridge, Device, Family, Namespace, Segment, Sysctl, namespace_name, outer_device,
};
use kube_dhcp::plan::plan;
use kube_dhcp::service::{Reservation, Scope, Service};
use kube_dhcp::types::{MacAddr, NetworkUid};

const STATE: &str = "/run/state";
const BRIDGE: &str = "br0";

fn uid(n: u32) -> NetworkUid {
    format!("{n:08x}-0000-4000-8000-000000000001").parse().unwrap()
}

fn mac(n: u16) -> MacAddr {
    let [a, b] = n.to_be_bytes();
    MacAddr::local([0, 0, 0, a, b])
}

fn ip(n: u16) -> Ipv4Addr {
    let [a, b] = n.to_be_bytes();
    Ipv4Addr::new(10, 0, a, b)
}

fn port(n: u16) -> Reservation {
    let hostname = format!("vm{n}").parse().unwrap();
    Reservation { key: format!("p{n}"), mac: mac(n), ip: ip(n), hostname, options: BTreeMap::new() }
}

fn service(ports: impl IntoIterator<Item = u16>) -> Service {
    let reservations: Vec<_> = ports.into_iter().map(port).collect();
    let options = BTreeMap::from([(3, vec![10, 0, 0, 1])]);
    let cidr = "10.0.0.0/16".parse().unwrap();
    let names = reservations.iter().map(|port| (port.ip, vec![(&port.hostname).into()])).collect();
    Service {
        scopes: vec![Scope { key: "s1".into(), cidr, lease_seconds: 3600, options }],
        reservations,
        names,
        ..Service::default()
    }
}

fn desired(uid: NetworkUid, service: &Service) -> Segment {
    let rules = Family::ALL.into();
    let namespace = Namespace { usable: true, sysctls: BTreeSet::from(Sysctl::ALL), rules };
    let device = Device {
        mac: MacAddr::local([1, uid.bytes()[0], uid.bytes()[1], uid.bytes()[2], uid.bytes()[3]]),
        mtu: 1400,
        bridge: Some(BRIDGE.into()),
        up: true,
        addresses: BTreeSet::from(["10.0.0.250/16".parse().unwrap(), "10.9.0.2/24".parse().unwrap()]),
        gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
    };
    let layout = dnsmasq::Layout::new(Path::new(STATE), uid);
    let (server, refused) = dnsmasq::server(service, &layout);
    assert!(refused.is_empty());
    let bridge = Some(Bridge { name: BRIDGE.into(), ours: true });
    Segment { namespace: Some(namespace), bridge, device: Some(device), server: Some(server) }
}

async fn observe(host: &LinuxHost, uid: NetworkUid) -> Segment {
    host.observe(uid, Some(BRIDGE)).await.unwrap()
}

async fn apply(host: &LinuxHost, uid: NetworkUid, action: &Action) -> Applied {
    host.apply(uid, "team-a/lan-a", action).await.unwrap_or_else(|error| panic!("{action}: {error:?}"))
}

/// Does what is to be done; returns it.
async fn reconcile(host: &LinuxHost, uid: NetworkUid, desired: Option<&Segment>) -> Vec<Action> {
    let actions = plan(desired, &observe(host, uid).await, true).actions;
    for action in &actions {
        apply(host, uid, action).await;
    }
    actions
}

async fn settle(host: &LinuxHost, uid: NetworkUid, desired: &Segment) -> Vec<Action> {
    let actions = reconcile(host, uid, Some(desired)).await;
    let left = plan(Some(desired), &observe(host, uid).await, true);
    assert!(left.actions.is_empty() && !left.postponed, "left after {actions:#?}: {left:#?}");
    actions
}

fn dnsmasqs() -> Vec<i32> {
    let list = sh("pidof dnsmasq || true");
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn in_netns(uid: NetworkUid, line: &str) -> String {
    sh(&format!("ip netns exec {} {line}", namespace_name(uid)))
}

/// A lease, as a guest on the bridge gets it.
fn lease(n: u16) -> bool {
    let mac = mac(n);
    sh(&format!(
        "ip netns add g{n}; ip link add t{n} type veth peer name eth0 netns g{n}; ip link set t{n} master {BRIDGE} up
         ip -n g{n} link set eth0 address {mac} up"
    ));
    let line = format!("ip netns exec g{n} udhcpc -i eth0 -n -q -f -t 3 -T 1 -s /bin/true 2>&1 || true");
    let said = sh(&line);
    sh(&format!("ip netns delete g{n}; ip link delete t{n} 2>/dev/null || true"));
    said.contains(&format!("lease of {} obtained", ip(n)))
}

/// Returns the network of the next event; none within `patience` is a failure.
async fn event(events: &mut tokio::sync::mpsc::Receiver<NetworkUid>, patience: Duration) -> NetworkUid {
    tokio::time::timeout(patience, events.recv()).await.expect("no event").unwrap()
}

#[test]
fn a_network_comes_serves_and_goes() {
    inside("a_network_comes_serves_and_goes", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = desired(uid(1), &service(1..=3));
        settle(&host, uid(1), &wanted).await;
        assert_eq!(host.networks().await.unwrap(), BTreeSet::from([uid(1)]));
        let outer = outer_device(uid(1));
        assert!(sh(&format!("cat /sys/class/net/{outer}/ifalias")).starts_with("kube-dhcp team-a/lan-a "));
        for device in [&outer, BRIDGE] {
            assert_eq!(sh(&format!("ip -6 address show {device}")), "");
        }
        assert!(lease(2), "no lease");
        assert_eq!(observe(&host, uid(1)).await.server.unwrap().leases, BTreeMap::from([(ip(2), mac(2))]));

        host.sweep_bridges(&BTreeSet::new()).await.unwrap();
        assert!(Path::new("/sys/class/net/br0").exists(), "a bridge with a port was removed");
        reconcile(&host, uid(1), None).await;
        assert!(observe(&host, uid(1)).await.is_absent());
        assert!(host.networks().await.unwrap().is_empty());
        host.sweep_bridges(&BTreeSet::from([BRIDGE.to_owned()])).await.unwrap();
        assert!(Path::new("/sys/class/net/br0").exists(), "a wanted bridge was removed");
        host.sweep_bridges(&BTreeSet::new()).await.unwrap();
        assert_eq!(
            sh("ls /sys/class/net; ls /run/netns; ls /run/state/networks; pidof dnsmasq || true"),
            "lo\n"
        );
        assert!(!sh("cat /proc/mounts").contains("kdhcp-"));
    });
}

#[test]
fn every_damage_by_hand_is_seen_and_mended() {
    inside("every_damage_by_hand_is_seen_and_mended", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = desired(uid(1), &service(1..=3));
        settle(&host, uid(1), &wanted).await;
        let name = namespace_name(uid(1));
        let outer = outer_device(uid(1));
        let files = format!("{STATE}/networks/{}", uid(1));
        let inner = format!("ip netns exec {name}");
        for damage in [
            &format!("ip -n {name} address delete 10.0.0.250/16 dev dhcp0"),
            &format!("ip -n {name} address add 10.7.0.2/16 dev dhcp0"),
            &format!("ip -n {name} route delete default"),
            &format!("ip -n {name} route replace default via 10.9.0.77"),
            &format!("ip -n {name} link set dhcp0 down"),
            &format!("ip -n {name} link set dhcp0 mtu 1300"),
            &format!("ip -n {name} link set dhcp0 address 02:00:00:00:77:77"),
            &format!("ip -n {name} link set dhcp0 name other"),
            &format!("ip -n {name} link set lo down"),
            &format!("ip -n {name} link delete dhcp0"),
            &format!("ip link set {outer} down"),
            &format!("ip link set {outer} nomaster"),
            &format!("ip link set {outer} down; ip link set {outer} name other"),
            &format!("ip link delete {outer}"),
            "ip link delete br0",
            &format!("{inner} iptables -t mangle -F"),
            &format!("{inner} ip6tables -t mangle -F"),
            &format!("{inner} nft flush ruleset"),
            &format!("{inner} sysctl -w net.ipv4.ip_nonlocal_bind=0"),
            &format!("ip netns delete {name}"),
            &format!("umount /run/netns/{name}"),
            &format!("umount /run/netns/{name}; rm /run/netns/{name}; mkdir /run/netns/{name}"),
            "kill -9 $(pidof dnsmasq); while pidof dnsmasq; do :; done",
            &format!("rm {files}/hosts/base"),
            &format!("rm {files}/options/base"),
            &format!("rm {files}/names/names"),
            &format!("echo 10.0.0.9 x > {files}/names/stranger"),
            &format!("rm -r {files}/names"),
            &format!("rm -r {files}"),
            &format!("touch {files}/hosts/stranger"),
        ] {
            sh(damage);
            let actions = settle(&host, uid(1), &wanted).await;
            assert!(!actions.is_empty(), "nothing was done after {damage}");
            assert_eq!(dnsmasqs().len(), 1, "after {damage}");
            // Nothing of what was replaced is left.
            assert_eq!(sh("ls /sys/class/net | wc -l").trim(), "3", "after {damage}");
        }
        assert!(lease(1));
        sh(&format!("umount /run/netns/{name}"));
        reconcile(&host, uid(1), None).await;
        assert!(host.networks().await.unwrap().is_empty());
        assert!(dnsmasqs().is_empty());
    });
}

#[test]
fn a_gateway_outside_the_subnets_comes_and_goes() {
    inside("a_gateway_outside_the_subnets_comes_and_goes", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut wanted = desired(uid(1), &service([1]));
        for gateway in [Some(Ipv4Addr::new(192, 0, 2, 1)), Some(Ipv4Addr::new(192, 0, 2, 9)), None] {
            wanted.device.as_mut().unwrap().gateway = gateway;
            settle(&host, uid(1), &wanted).await;
        }
        assert_eq!(in_netns(uid(1), "ip route").lines().count(), 2);
    });
}

#[test]
fn an_idle_look_starts_nothing_and_writes_nothing() {
    inside("an_idle_look_starts_nothing_and_writes_nothing", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        for n in 1..=20 {
            settle(&host, uid(n), &desired(uid(n), &service(1..=10))).await;
        }
        let files = format!("find {STATE} /run/netns -printf '%p %T@ %C@\\n' | sort");
        let (before, written) = (last_pid(), sh(&files));
        let spent = cpu();
        let rounds = 20;
        for n in (0..rounds).flat_map(|_| 1..=20) {
            let left = plan(Some(&desired(uid(n), &service(1..=10))), &observe(&host, uid(n)).await, true);
            assert!(left.actions.is_empty(), "{left:?}");
        }
        println!("idle look: {:?} of CPU for each network", (cpu() - spent) / (rounds * 20));
        // Threads take numbers, too: one for each look, and the runtime's.
        assert!(last_pid() - before < rounds * 20 + 40, "processes were started");
        assert_eq!(sh(&files), written);
    });
}

/// The last number that a process or thread was given.
fn last_pid() -> u32 {
    sh("cat /proc/loadavg").split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn a_killed_dnsmasq_is_an_event_and_a_stopped_one_is_not() {
    inside("a_killed_dnsmasq_is_an_event_and_a_stopped_one_is_not", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut events = host.events();
        let wanted = desired(uid(1), &service([1]));
        settle(&host, uid(1), &wanted).await;
        apply(&host, uid(1), &Action::Server(Step::Stop)).await;
        settle(&host, uid(1), &wanted).await;
        assert!(events.try_recv().is_err(), "an event of our own doing");
        let start = Instant::now();
        sh("kill -9 $(pidof dnsmasq)");
        assert_eq!(event(&mut events, Duration::from_millis(100)).await, uid(1));
        println!("kill to event: {:?}, the shell included", start.elapsed());
        settle(&host, uid(1), &wanted).await;
        assert!(host.events().recv().await.is_none(), "events are for one");
    });
}

#[test]
fn a_device_that_is_taken_away_is_an_event() {
    inside("a_device_that_is_taken_away_is_an_event", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut events = host.events();
        let wanted = desired(uid(1), &service([1]));
        let outer = outer_device(uid(1));
        for damage in ["nomaster", "down"] {
            settle(&host, uid(1), &wanted).await;
            sh(&format!("ip link set {outer} {damage}"));
            assert_eq!(event(&mut events, Duration::from_millis(100)).await, uid(1));
        }
        for damage in [&outer, BRIDGE] {
            settle(&host, uid(1), &wanted).await;
            sh(&format!("ip link delete {damage}"));
            assert_eq!(event(&mut events, Duration::from_millis(100)).await, uid(1));
        }
        settle(&host, uid(1), &wanted).await;
        reconcile(&host, uid(1), None).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(events.try_recv().is_err(), "an event of our own doing");
    });
}

#[test]
fn a_spent_address_is_refused_and_said_so() {
    inside("a_spent_address_is_refused_and_said_so", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &desired(uid(1), &service(1..=2))).await;
        let entry = |n: u16, ip| {
            let port = port(n);
            dnsmasq::HostChange::Set(port.mac, dnsmasq::Host { ip, name: port.hostname, tag: port.key })
        };
        let changes = vec![entry(3, ip(3)), entry(4, ip(1)), entry(5, ip(5))];
        let applied = apply(&host, uid(1), &Action::Server(Step::AddHosts(changes))).await;
        assert_eq!(applied.refused.len(), 1, "{applied:?}");
        assert_eq!(applied.refused[0].mac, Some(mac(4)));
        assert!(applied.refused[0].message.contains("10.0.0.1"), "{applied:?}");
        assert!(lease(3) && lease(5) && !lease(4));
    });
}

#[test]
fn changes_are_taken_and_leases_released_without_a_restart() {
    inside("changes_are_taken_and_leases_released_without_a_restart", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &desired(uid(1), &service(1..=3))).await;
        let process = dnsmasqs();
        assert!(lease(1) && lease(2) && !lease(4));
        let wanted = desired(uid(1), &service(2..=4));
        let actions = settle(&host, uid(1), &wanted).await;
        assert!(actions.contains(&Action::Server(Step::Release(mac(1), ip(1)))), "{actions:?}");
        assert_eq!(dnsmasqs(), process, "restarted");
        assert!(lease(4) && !lease(1));
        let leases = observe(&host, uid(1)).await.server.unwrap().leases;
        assert_eq!(leases, BTreeMap::from([(ip(2), mac(2)), (ip(4), mac(4))]));
    });
}

#[test]
fn a_restart_keeps_leases_and_an_agent_restart_keeps_everything() {
    inside("a_restart_keeps_leases_and_an_agent_restart_keeps_everything", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = desired(uid(1), &service(1..=3));
        settle(&host, uid(1), &wanted).await;
        assert!(lease(1) && lease(2));
        apply(&host, uid(1), &Action::Server(Step::Stop)).await;
        settle(&host, uid(1), &desired(uid(1), &service(2..=3))).await;
        let leases = observe(&host, uid(1)).await.server.unwrap().leases;
        assert_eq!(leases, BTreeMap::from([(ip(2), mac(2))]), "a lease that no longer holds was kept");

        let process = dnsmasqs();
        drop(host);
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        assert!(settle(&host, uid(1), &desired(uid(1), &service(2..=3))).await.is_empty());
        assert_eq!(dnsmasqs(), process);
        let mut events = host.events();
        sh("kill $(pidof dnsmasq)");
        assert_eq!(event(&mut events, Duration::from_millis(100)).await, uid(1));
    });
}

#[test]
fn a_stranger_in_our_namespace_is_stopped() {
    inside("a_stranger_in_our_namespace_is_stopped", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = desired(uid(1), &service([1]));
        settle(&host, uid(1), &wanted).await;
        drop(host);
        // Of another state directory, as after the flag was changed.
        let other = format!("/run/other/networks/{}", uid(1));
        sh(&format!("mkdir -p {other}"));
        in_netns(uid(1), &format!("dnsmasq --conf-file=/dev/null --port=0 --pid-file={other}/pid"));
        assert_eq!(dnsmasqs().len(), 2);
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &wanted).await;
        assert_eq!(dnsmasqs().len(), 1);
    });
}

#[test]
fn what_cannot_be_done_says_why() {
    inside("what_cannot_be_done_says_why", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let fails = async |action: Action| {
            host.apply(uid(1), "a/b", &action).await.expect_err("it should fail").to_string()
        };
        let bridge = |name: &str, ours| Action::RequireBridge(Bridge { name: name.into(), ours });
        assert!(fails(bridge("nothere", false)).await.contains("there is no bridge nothere"));
        assert!(fails(bridge("lo", true)).await.contains("lo is not a bridge"));
        assert!(fails(Action::SetUp).await.contains(&format!("{} does not exist", namespace_name(uid(1)))));
        assert!(fails(Action::Server(Step::AddHosts(vec![]))).await.contains("not running"));
        apply(&host, uid(1), &Action::CreateNamespace).await;
        let start = Action::Server(Step::Start(vec!["dnsmasq".into(), "--no-such-option".into()]));
        assert!(fails(start).await.contains("bad command line options"));
        sh("mount -t tmpfs -o size=4k,mode=755 none /run/state");
        let files = dnsmasq::Files {
            hosts: (1..=2000)
                .map(|n| {
                    let p = port(n);
                    (p.mac, dnsmasq::Host { ip: p.ip, name: p.hostname, tag: p.key })
                })
                .collect(),
            ..dnsmasq::Files::default()
        };
        let full = fails(Action::Server(Step::Prepare(files))).await;
        assert!(full.contains("cannot write /run/state/networks/"), "{full}");
    });
}

#[test]
fn what_it_costs() {
    inside("what_it_costs", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let ports: Vec<u16> = (300..1300).collect();
        let wanted = desired(uid(1), &service(ports.clone()));
        for action in plan(Some(&wanted), &observe(&host, uid(1)).await, true).actions {
            let (_, took) = timed(apply(&host, uid(1), &action)).await;
            println!("{:>20}: {took:?}", action.kind());
        }
        let mut took = Vec::new();
        for n in 2000..2050 {
            let more = service(ports.iter().copied().chain(2000..=n));
            let changes = plan(Some(&desired(uid(1), &more)), &observe(&host, uid(1)).await, true).actions;
            assert_eq!(changes.len(), 2, "{changes:?}");
            took.push(timed(apply(&host, uid(1), &changes[0])).await.1);
            apply(&host, uid(1), &changes[1]).await;
        }
        took.sort();
        println!("add one of 1,000 hosts: median {:?}", took[took.len() / 2]);
    });
}
