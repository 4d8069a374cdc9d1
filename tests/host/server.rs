//! What dnsmasq is told and what it says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::inside::{inside, sh};
use kube_dhcp::dnsmasq::{self, Action as Step};
use kube_dhcp::host::{Host, LinuxHost};
use kube_dhcp::node::{Action, Family};

use crate::fixture::*;

#[test]
fn a_killed_dnsmasq_is_an_event_and_a_stopped_one_is_not() {
    inside("server::a_killed_dnsmasq_is_an_event_and_a_stopped_one_is_not", async {
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
fn a_spent_address_is_refused_and_said_so() {
    inside("server::a_spent_address_is_refused_and_said_so", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &desired(uid(1), &service(1..=2))).await;
        let entry = |n: u16, ip| dnsmasq::HostChange::Set((mac(n).into(), Family::V4), host_line(n, ip));
        let changes = vec![entry(3, ip(3)), entry(4, ip(1)), entry(5, ip(5))];
        let applied = apply(&host, uid(1), &Action::Server(Step::AddHosts(changes))).await;
        assert_eq!(applied.refused.len(), 1, "{applied:?}");
        assert_eq!(applied.refused[0].identity, Some(mac(4).into()));
        assert!(applied.refused[0].message.contains("10.0.0.1"), "{applied:?}");
        assert!(lease(3) && lease(5) && !lease(4));
    });
}

#[test]
fn changes_are_taken_and_leases_released_without_a_restart() {
    inside("server::changes_are_taken_and_leases_released_without_a_restart", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        settle(&host, uid(1), &desired(uid(1), &service(1..=3))).await;
        let process = dnsmasqs();
        assert!(lease(1) && lease(2) && !lease(4));
        let wanted = desired(uid(1), &service(2..=4));
        let actions = settle(&host, uid(1), &wanted).await;
        assert!(actions.contains(&Action::Server(Step::Release(ip(1), held(1)))), "{actions:?}");
        assert_eq!(dnsmasqs(), process, "restarted");
        assert!(lease(4) && !lease(1));
        let leases = observe(&host, uid(1)).await.server.unwrap().leases;
        assert_eq!(leases, BTreeMap::from([2, 4].map(|n| (ip(n), held(n)))));
    });
}

#[test]
fn who_only_looks_leaves_a_long_log_alone() {
    inside("server::who_only_looks_leaves_a_long_log_alone", async {
        let directory = format!("{STATE}/networks/{}", uid(1));
        let log = dnsmasq::Layout::new(Path::new(STATE), uid(1)).log();
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        sh(&format!("mkdir -p {directory}; head -c 2000000 /dev/zero > {}", log.display()));
        observe(&LinuxHost::look(Path::new(STATE)).unwrap(), uid(1)).await;
        assert_eq!(log.metadata().unwrap().len(), 2_000_000);
        observe(&host, uid(1)).await;
        assert_eq!(log.metadata().unwrap().len(), 0);
    });
}
