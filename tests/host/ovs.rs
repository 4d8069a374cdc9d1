//! The device in Open vSwitch: plugged, damaged, mended, removed, and the switch gone and back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kube_dhcp::host::{Host, LinuxHost};
use kube_dhcp::node::{Action, Attached, Segment, outer_device};

use crate::fixture::*;
use crate::inside::{inside, sh};
use crate::switch::{START, START_AGAIN, STOP};

/// Longer than any event takes.
const SOON: Duration = Duration::from_secs(20);

fn wanted(vlan: Option<u16>) -> Segment {
    let mut wanted = desired(uid(1), &service(1..=3));
    wanted.device.as_mut().unwrap().attached = Some(Attached::Ovs { bridge: "br-int".into(), vlan });
    Segment { bridge: None, ..wanted }
}

/// Whether a guest gets its lease whose port has these settings.
fn lease_in(n: u16, settings: &str) -> bool {
    lease_through(
        n,
        &format!(
            "ovs-vsctl --if-exists del-port t{n}
             ip link add t{n} type veth peer name eth0 netns g{n}; ip link set t{n} up
             ovs-vsctl add-port br-int t{n} {settings}"
        ),
    )
}

async fn refusal(host: &LinuxHost, wanted: &Segment) -> String {
    try_reconcile(host, uid(1), Some(wanted)).await.expect_err("it should be refused").to_string()
}

#[test]
fn guests_of_its_vlan_are_served_and_no_others() {
    inside("ovs::guests_of_its_vlan_are_served_and_no_others", async {
        sh(START);
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &wanted(Some(100))).await;
        assert!(lease_in(1, "tag=100"), "no lease in the VLAN");
        assert!(!lease_in(2, "tag=200"), "a lease in another VLAN");
        assert!(!lease_in(2, ""), "a lease outside of any VLAN");
        settle(&host, uid(1), &wanted(None)).await;
        assert!(lease_in(3, ""), "no lease without VLANs");
        assert!(!lease_in(1, "tag=100"), "a lease in a VLAN");
        let outer = outer_device(uid(1));
        let ids = sh(&format!("ovs-vsctl get interface {outer} external_ids"));
        for id in ["iface-id=", &uid(1).to_string(), "attached-mac=", "iface-status=active"] {
            assert!(ids.contains(id), "{ids}");
        }
        reconcile(&host, uid(1), None).await;
        assert!(!sh("ovs-vsctl list-ports br-int").contains("kd"));
        assert!(host.networks().await.unwrap().is_empty());
    });
}

#[test]
fn every_damage_is_seen_and_mended() {
    inside("ovs::every_damage_is_seen_and_mended", async {
        sh(START);
        sh("ovs-vsctl add-br other -- set bridge other datapath_type=netdev");
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = wanted(Some(100));
        settle(&host, uid(1), &wanted).await;
        let outer = outer_device(uid(1));
        for damage in [
            &format!("ovs-vsctl del-port {outer}"),
            &format!("ovs-vsctl set port {outer} tag=7"),
            &format!("ovs-vsctl clear port {outer} tag"),
            &format!("ovs-vsctl set port {outer} vlan_mode=trunk"),
            &format!("ovs-vsctl set port {outer} trunks=7,100"),
            &format!("ovs-vsctl clear port {outer} external_ids"),
            &format!("ovs-vsctl del-port {outer} -- add-port other {outer} tag=100"),
            &format!("ip link set {outer} down"),
            &format!("ip link delete {outer}"),
            "ovs-vsctl del-br br-int -- add-br br-int -- set bridge br-int datapath_type=netdev",
        ] {
            sh(damage);
            let actions = settle(&host, uid(1), &wanted).await;
            assert!(!actions.is_empty(), "nothing was done after {damage}");
            assert!(lease_in(1, "tag=100"), "no lease after {damage}");
        }
    });
}

#[test]
fn what_is_left_half_made_is_finished_or_goes() {
    inside("ovs::what_is_left_half_made_is_finished_or_goes", async {
        sh(START);
        let outer = outer_device(uid(1));
        let wanted = wanted(Some(100));
        let halves = [format!("ovs-vsctl del-port {outer}"), format!("ip link delete {outer}")];
        for (half, is_wanted) in halves.iter().flat_map(|half| [(half, true), (half, false)]) {
            settle(&LinuxHost::new(Path::new(STATE)).unwrap(), uid(1), &wanted).await;
            sh(half);
            // As an agent that was killed leaves it to the next one.
            let host = LinuxHost::new(Path::new(STATE)).unwrap();
            assert_eq!(host.networks().await.unwrap(), BTreeSet::from([uid(1)]));
            if is_wanted {
                settle(&host, uid(1), &wanted).await;
            }
            reconcile(&host, uid(1), None).await;
            assert!(observe(&host, uid(1)).await.is_absent(), "after {half}");
            assert_eq!(sh("ovs-vsctl list-ports br-int"), "");
        }
        // Nothing of it is left but the port.
        let port = format!("add-port br-int {outer} -- set port {outer} external_ids:owner=kube-dhcp");
        sh(&format!("ovs-vsctl --no-wait {port} external_ids:kube-dhcp-network={}", uid(1)));
        sh("ovs-vsctl --no-wait add-port br-int kd-not-ours");
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        assert_eq!(host.networks().await.unwrap(), BTreeSet::from([uid(1)]));
        assert_eq!(reconcile(&host, uid(1), None).await, [Action::DeleteDevice]);
        assert_eq!(sh("ovs-vsctl list-ports br-int"), "kd-not-ours\n");
    });
}

#[test]
fn what_others_do_to_the_switch_is_heard_of() {
    inside("ovs::what_others_do_to_the_switch_is_heard_of", async {
        sh(START);
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let mut events = host.events();
        let wanted = wanted(Some(100));
        let mut other = desired(uid(2), &service(4..=5));
        other.device.as_mut().unwrap().attached = wanted.device.as_ref().unwrap().attached.clone();
        other.bridge = None;
        settle(&host, uid(1), &wanted).await;
        assert!(host.link(&Attached::Ovs { bridge: "br-int".into(), vlan: None }).await.is_ok());
        sh(&format!("ovs-vsctl del-port {}", outer_device(uid(1))));
        assert_eq!(event(&mut events, SOON).await, uid(1));
        settle(&host, uid(1), &wanted).await;
        sh(STOP);
        // What was plugged stays plugged.
        assert!(reconcile(&host, uid(1), Some(&wanted)).await.is_empty());
        // Also for an agent that never saw it; what is not there is not made.
        let stranger = LinuxHost::new(Path::new(STATE)).unwrap();
        assert!(reconcile(&stranger, uid(1), Some(&wanted)).await.is_empty());
        let bridge = Attached::Ovs { bridge: "br-int".into(), vlan: None };
        assert!(host.link(&bridge).await.unwrap().unwrap().up, "the switch itself works on");
        assert!(stranger.link(&bridge).await.is_err());
        let refused = try_reconcile(&stranger, uid(2), Some(&other)).await.expect_err("there is no switch");
        assert!(refused.to_string().contains("cannot speak to Open vSwitch"), "{refused}");
        while events.try_recv().is_ok() {}
        sh(START_AGAIN);
        assert_eq!(event(&mut events, SOON).await, uid(1));
        settle(&host, uid(1), &wanted).await;
        sh("ovs-vsctl del-br br-int");
        assert_eq!(event(&mut events, SOON).await, uid(1));
        assert!(refusal(&host, &wanted).await.contains("Open vSwitch has no bridge br-int"));
        while events.try_recv().is_ok() {}
        sh("ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev");
        assert_eq!(event(&mut events, SOON).await, uid(1));
        settle(&host, uid(1), &wanted).await;
        assert!(lease_in(1, "tag=100"));
    });
}

#[test]
fn a_network_moves_between_bridge_and_switch() {
    inside("ovs::a_network_moves_between_bridge_and_switch", async {
        sh(START);
        let bridged = desired(uid(1), &service(1..=3));
        for _ in 0..2 {
            // An agent whose flags changed.
            let host = LinuxHost::new(Path::new(STATE)).unwrap();
            host.networks().await.unwrap();
            settle(&host, uid(1), &wanted(Some(100))).await;
            assert!(lease_in(1, "tag=100"));
            let host = LinuxHost::new(Path::new(STATE)).unwrap();
            host.networks().await.unwrap();
            settle(&host, uid(1), &bridged).await;
            assert!(lease(1));
            assert!(!sh("ovs-vsctl list-ports br-int").contains("kd"));
        }
    });
}
