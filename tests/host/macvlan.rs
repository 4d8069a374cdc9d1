//! The device as a macvlan: made, damaged, mended, removed, and its parent gone and back.

use std::path::Path;
use std::time::Duration;

use kube_dhcp::host::{Attaching, Host, LinuxHost};
use kube_dhcp::node::{Action, Attached, Segment, namespace_name, outer_device};

use crate::fixture::*;
use crate::inside::{inside, sh};

/// Longer than any event takes.
const SOON: Duration = Duration::from_secs(10);

/// A wire from the node's `eth1` to a switch, where guests are.
const WIRE: &str = "ip link add switch type bridge; ip link set switch up
    ip link add eth1 type veth peer name far; ip link set far master switch up; ip link set eth1 up";

fn wanted(parent: &str) -> Segment {
    let mut wanted = desired(uid(1), &service(1..=3));
    wanted.device.as_mut().unwrap().attached = Some(Attached::Macvlan(parent.into()));
    Segment { bridge: None, ..wanted }
}

async fn refusal(host: &LinuxHost, wanted: &Segment) -> String {
    try_reconcile(host, uid(1), Some(wanted)).await.expect_err("it should be refused").to_string()
}

#[test]
fn guests_of_the_parent_and_behind_it_are_served() {
    inside("macvlan::guests_of_the_parent_and_behind_it_are_served", async {
        sh(WIRE);
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &wanted("eth1")).await;
        assert!(lease_from(1, "switch"), "no lease for a guest behind the wire");
        let beside = "ip link add eth0 netns g2 link eth1 type macvlan mode bridge";
        assert!(lease_through(2, beside), "no lease for a guest on the same parent");
        reconcile(&host, uid(1), None).await;
        assert_eq!(
            sh("ls /sys/class/net; ls /run/netns /run/state/networks | grep kdhcp || true"),
            "eth1\nfar\nlo\nswitch\n"
        );
    });
}

#[test]
fn every_damage_is_seen_and_mended() {
    inside("macvlan::every_damage_is_seen_and_mended", async {
        sh(WIRE);
        sh("ip link add eth2 type veth peer name far2; ip link set eth2 up");
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = wanted("eth1");
        settle(&host, uid(1), &wanted).await;
        let (name, outer) = (namespace_name(uid(1)), outer_device(uid(1)));
        let again = |how: &str| {
            format!(
                "mac=$(ip netns exec {name} cat /sys/class/net/dhcp0/address)
            ip -n {name} link delete dhcp0; {how}; ip -n {name} link set dhcp0 address $mac mtu 1400 up"
            )
        };
        for damage in [
            &format!("ip -n {name} link delete dhcp0"),
            &format!("ip -n {name} link set dhcp0 mtu 1300"),
            &format!("ip -n {name} link set dhcp0 down"),
            &format!("ip -n {name} link set dhcp0 name other"),
            &format!("ip -n {name} link set dhcp0 type macvlan mode private"),
            &format!("ip -n {name} address delete 10.0.0.250/16 dev dhcp0"),
            &again(&format!("ip link add dhcp0 netns {name} link eth2 type macvlan mode bridge")),
            &again(&format!("ip link add {outer} type veth peer name dhcp0 netns {name}")),
            &format!("ip link add {outer} type veth peer name y"),
            "kill -9 $(pidof dnsmasq); while pidof dnsmasq; do :; done",
        ] {
            sh(damage);
            let actions = settle(&host, uid(1), &wanted).await;
            assert!(!actions.is_empty(), "nothing was done after {damage}");
            assert_eq!(sh("ls /sys/class/net | wc -l").trim(), "6", "after {damage}");
        }
        assert!(lease_from(1, "switch"));
    });
}

#[test]
fn a_network_moves_between_bridge_and_parent() {
    inside("macvlan::a_network_moves_between_bridge_and_parent", async {
        sh(WIRE);
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let bridged = desired(uid(1), &service(1..=3));
        for _ in 0..2 {
            settle(&host, uid(1), &bridged).await;
            assert!(lease(1));
            settle(&host, uid(1), &wanted("eth1")).await;
            assert!(lease_from(1, "switch"));
        }
    });
}

#[test]
fn a_parent_that_goes_and_comes_back_is_heard_of() {
    inside("macvlan::a_parent_that_goes_and_comes_back_is_heard_of", async {
        sh(WIRE);
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut events = host.events();
        let wanted = wanted("eth1");
        settle(&host, uid(1), &wanted).await;
        assert!(events.try_recv().is_err(), "our own doing is no event");
        sh("ip link delete eth1");
        assert_eq!(event(&mut events, SOON).await, uid(1));
        assert_eq!(refusal(&host, &wanted).await, "there is no interface eth1 on this node");
        sh("ip link add eth1 type veth peer name far; ip link set far master switch up; ip link set eth1 up");
        assert_eq!(event(&mut events, SOON).await, uid(1));
        settle(&host, uid(1), &wanted).await;
        assert!(lease_from(1, "switch"));
        // The kernel takes ours down with it.
        sh("ip link set eth1 mtu 1300");
        assert_eq!(event(&mut events, SOON).await, uid(1));
        assert_eq!(refusal(&host, &wanted).await, "mtu 1400 is more than interface eth1 carries: 1300");
        sh("ip link set eth1 mtu 1500");
        assert_eq!(event(&mut events, SOON).await, uid(1));
        settle(&host, uid(1), &wanted).await;
    });
}

#[test]
fn a_bridge_of_others_that_comes_is_heard_of() {
    inside("macvlan::a_bridge_of_others_that_comes_is_heard_of", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut events = host.events();
        let mut wanted = desired(uid(1), &service([1]));
        wanted.bridge.as_mut().unwrap().ours = false;
        assert!(refusal(&host, &wanted).await.contains("there is no bridge br0"));
        sh("ip link add other type bridge; ip link add br0 type bridge; ip link set br0 up");
        assert_eq!(event(&mut events, SOON).await, uid(1));
        settle(&host, uid(1), &wanted).await;
    });
}

#[test]
fn an_interface_that_is_no_parent_is_refused() {
    inside("macvlan::an_interface_that_is_no_parent_is_refused", async {
        sh(WIRE);
        sh("ip link add above link eth1 type macvlan mode bridge");
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let refused = async |parent: &str, why: &str| {
            let said = refusal(&host, &wanted(parent)).await;
            assert!(said.contains(why), "{parent}: {said}");
        };
        refused("nothere", "there is no interface nothere").await;
        refused("lo", "lo cannot have macvlans").await;
        refused("far", "far cannot have macvlans").await;
        refused("above", "above cannot have macvlans").await;
        let mut large = wanted("eth1");
        large.device.as_mut().unwrap().mtu = 9000;
        assert!(refusal(&host, &large).await.contains("mtu 9000 is more than interface eth1 carries: 1500"));
        sh("ip address add fe80::99/64 dev eth1 nodad");
        settle(&host, uid(1), &wanted("eth1")).await;
        reconcile(&host, uid(1), None).await;
        sh("ip route add default dev eth1");
        refused("eth1", "eth1 carries a default route").await;
        sh("ip address add 192.0.2.1/24 dev eth1");
        refused("eth1", "eth1 carries the node's address 192.0.2.1").await;
        let host =
            host.attaching(&Attaching { macvlan_on_node_interfaces: true, ovs_socket: "/nowhere".into() });
        settle(&host, uid(1), &wanted("eth1")).await;
        assert!(lease_from(1, "switch"));
        apply(&host, uid(1), &Action::DeleteDevice).await;
    });
}
