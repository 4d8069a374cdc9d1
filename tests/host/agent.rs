//! What is left to the next agent, and what it is told of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::inside::{inside, sh};
use kube_dhcp::dnsmasq::Action as Step;
use kube_dhcp::host::{Host, LinuxHost};
use kube_dhcp::node::{Action, Segment, outer_device};
use kube_dhcp::types::NetworkUid;

use crate::fixture::*;

#[test]
fn a_device_that_is_taken_away_is_an_event() {
    inside("agent::a_device_that_is_taken_away_is_an_event", async {
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
            // A bridge is missed, and so is the device's place in it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            while events.try_recv().is_ok() {}
        }
        settle(&host, uid(1), &wanted).await;
        reconcile(&host, uid(1), None).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(events.try_recv().is_err(), "an event of our own doing");
    });
}

#[test]
fn a_restart_keeps_leases_and_an_agent_restart_keeps_everything() {
    inside("agent::a_restart_keeps_leases_and_an_agent_restart_keeps_everything", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        let wanted = desired(uid(1), &service(1..=3));
        settle(&host, uid(1), &wanted).await;
        assert!(lease(1) && lease(2));
        apply(&host, uid(1), &Action::Server(Step::Stop)).await;
        settle(&host, uid(1), &desired(uid(1), &service(2..=3))).await;
        let leases = observe(&host, uid(1)).await.server.unwrap().leases;
        assert_eq!(leases, BTreeMap::from([(ip(2), held(2))]), "a lease that no longer holds was kept");

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
    inside("agent::a_stranger_in_our_namespace_is_stopped", async {
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
fn who_only_has_the_command_line_of_a_dnsmasq_is_left_alone() {
    inside("agent::who_only_has_the_command_line_of_a_dnsmasq_is_left_alone", async {
        let pid_file = format!("--pid-file={STATE}/networks/{}/pid", uid(1));
        let line = ["-c", "read wait", "dnsmasq", &pid_file];
        let mut command = std::process::Command::new("sh");
        let mut other = command.args(line).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        assert!(host.networks().await.unwrap().is_empty());
        other.kill().unwrap();
        other.wait().unwrap();
    });
}

/// Set where the test is the agent that will be killed.
const VICTIM: &str = "KUBE_DHCP_TEST_VICTIM";

/// A process that brings a network up and takes it down is killed a little later each time.
#[test]
fn a_kill_at_any_moment_leaves_nothing_that_cannot_be_mended() {
    let name = "agent::a_kill_at_any_moment_leaves_nothing_that_cannot_be_mended";
    if std::env::var_os(VICTIM).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(up_and_down());
    }
    inside(name, async {
        for step in 0..60 {
            let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(VICTIM, "1")
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            tokio::time::sleep(Duration::from_millis(4) + Duration::from_micros(1_300) * step).await;
            victim.kill().unwrap();
            victim.wait().unwrap();
            let host = LinuxHost::new(Path::new(STATE)).unwrap();
            if step % 2 == 0 {
                settle_at_last(&host, uid(1), &desired(uid(1), &service(1..=10))).await;
            }
            for uid in host.networks().await.unwrap() {
                reconcile(&host, uid, None).await;
            }
            host.sweep_bridges(&BTreeSet::new()).await.unwrap();
            let left = "ls /sys/class/net; ls /run/netns /run/state/networks 2>/dev/null | grep 0001 || true";
            assert_eq!(sh(left), "lo\n", "step {step}");
        }
    });
}

async fn up_and_down() {
    let host = Arc::new(LinuxHost::new(Path::new(STATE)).unwrap());
    bring_up(Arc::clone(&host), uid(1)).await;
    tear_down(host, uid(1)).await;
}

/// A dnsmasq that the killed agent was just starting becomes a daemon meanwhile: as the agent's loop,
/// until there is nothing to do.
async fn settle_at_last(host: &LinuxHost, uid: NetworkUid, desired: &Segment) {
    for _ in 0..50 {
        let done = try_reconcile(host, uid, Some(desired)).await;
        let pid = std::fs::read_to_string(format!("{STATE}/networks/{uid}/pid")).unwrap_or_default();
        if done.is_ok_and(|actions| actions.is_empty())
            && dnsmasqs().iter().map(i32::to_string).eq([pid.trim()])
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not settled: {:?}", observe(host, uid).await);
}
