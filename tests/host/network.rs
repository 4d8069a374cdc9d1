//! Namespace, device, rules and files: made, damaged, mended, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use crate::inside::{inside, sh};
use kube_dhcp::dnsmasq::{self, Action as Step};
use kube_dhcp::host::{Host, LinuxHost};
use kube_dhcp::node::{Action, Attached, Bridge, Family, namespace_name, outer_device};

use crate::fixture::*;

#[test]
fn a_network_comes_serves_and_goes() {
    inside("network::a_network_comes_serves_and_goes", async {
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
        assert_eq!(observe(&host, uid(1)).await.server.unwrap().leases, BTreeMap::from([(ip(2), held(2))]));

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
    inside("network::every_damage_by_hand_is_seen_and_mended", async {
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
    inside("network::a_gateway_outside_the_subnets_comes_and_goes", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut wanted = desired(uid(1), &service([1]));
        for gateway in [Some(Ipv4Addr::new(192, 0, 2, 1)), Some(Ipv4Addr::new(192, 0, 2, 9)), None] {
            let gateways = gateway.map(|ip| (Family::V4, ip.into()));
            wanted.device.as_mut().unwrap().gateways = gateways.into_iter().collect();
            settle(&host, uid(1), &wanted).await;
        }
        assert_eq!(in_netns(uid(1), "ip route").lines().count(), 2);
    });
}

#[test]
fn what_cannot_be_done_says_why() {
    inside("network::what_cannot_be_done_says_why", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let fails = async |action: Action| {
            host.apply(uid(1), "a/b", &action).await.expect_err("it should fail").to_string()
        };
        let bridge = |name: &str, ours| Action::RequireBridge(Bridge { name: name.into(), ours, vlan: None });
        assert!(fails(bridge("nothere", false)).await.contains("there is no bridge nothere"));
        assert!(fails(bridge("lo", true)).await.contains("lo is not a bridge"));
        assert!(fails(Action::SetUp).await.contains(&format!("{} does not exist", namespace_name(uid(1)))));
        assert!(fails(Action::Server(Step::AddHosts(vec![]))).await.contains("not running"));
        apply(&host, uid(1), &Action::CreateNamespace).await;
        let start = Action::Server(Step::Start(vec!["dnsmasq".into(), "--no-such-option".into()]));
        assert!(fails(start).await.contains("bad command line options"));
        sh("mount -t tmpfs -o size=4k,mode=755 none /run/state");
        let files = dnsmasq::Files {
            hosts: (1..=2000).map(|n| ((mac(n).into(), Family::V4), host_line(n, ip(n)))).collect(),
            ..dnsmasq::Files::default()
        };
        let full = fails(Action::Server(Step::Prepare(files))).await;
        assert!(full.contains("cannot write /run/state/networks/"), "{full}");
    });
}

#[test]
fn a_bridge_keeps_its_mtu() {
    inside("network::a_bridge_keeps_its_mtu", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        // Not set by hand, it follows the smallest of its ports.
        for (bridge, port, mtu) in [("br0", "p0", 9000), ("br1", "p1", 4000)] {
            sh(&format!(
                "ip link add {bridge} type bridge; ip link set {bridge} up
                 ip link add {port} mtu {mtu} type veth peer name peer-{port}; ip link set {port} master {bridge} up"
            ));
        }
        let mtu_of = |device: &str| sh(&format!("cat /sys/class/net/{device}/mtu")).trim().to_owned();
        let mut wanted = desired(uid(1), &service([1]));
        for mtu in [1400, 1300, 9500] {
            wanted.device.as_mut().unwrap().mtu = mtu;
            settle(&host, uid(1), &wanted).await;
            assert_eq!(mtu_of("br0"), "9000", "with a network of {mtu}");
            assert_eq!(in_netns(uid(1), "cat /sys/class/net/dhcp0/mtu").trim(), mtu.to_string());
        }
        wanted.device.as_mut().unwrap().mtu = 1400;
        settle(&host, uid(1), &wanted).await;
        // As when it is moved from a bridge with a small MTU.
        sh(&format!("ip link set {0} nomaster mtu 1400", outer_device(uid(1))));
        apply(&host, uid(1), &Action::AttachDevice(Attached::Bridge { bridge: "br1".into(), vlan: None }))
            .await;
        assert_eq!(mtu_of("br1"), "4000");
    });
}
