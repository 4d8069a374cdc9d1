//! Leaders are stopped, go on, and are killed, while ports come and go: nobody gets an address twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::inside::inside;
use crate::lab::Mac;
use crate::observer::{Observer, addresses};
use crate::random::{Random, number};
use crate::site::{LAN, Site};

/// How long everything may take to settle on a busy machine.
const SETTLE: Duration = Duration::from_secs(180);

const NETWORK: &str = r"
apiVersion: kube-dhcp.io/v1alpha1
kind: Network
metadata: {name: a, namespace: default}
spec:
  physicalNetworkRef: {name: lan}
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Subnet
metadata: {name: a-v4, namespace: default}
spec:
  networkRef: {name: a}
  cidr: 10.0.0.0/22
";

/// Two nodes, two controllers, the network `a`.
async fn two_leaders() -> Site {
    let mut site = Site::new(2).await;
    site.apply(LAN).await;
    site.start_controller(&[]);
    site.start_controller(&[]);
    site.start_agents();
    site.apply(NETWORK).await;
    site.until("Network", "a", |a| a.pointer("/status/servers/ready") == Some(&2.into())).await;
    site
}

fn mk_port(name: &str, mac: u32) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"networkRef": {"name": "a"}, "macAddress": Mac::nth(mac).to_string()},
    }))
    .unwrap()
}

/// Waits until every Port is ready with one address of its own, which its one allocation says too, and
/// nothing is left of others.
async fn until_settled(site: &Site, observer: &Observer) {
    let deadline = Instant::now() + SETTLE;
    while let Err(why) = settled(site).await {
        observer.assert_good();
        assert!(Instant::now() < deadline, "{why}\n{}", site.logs());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    observer.assert_good();
}

async fn settled(site: &Site) -> Result<(), String> {
    let ports = site.list("Port").await;
    let mut wanted = BTreeMap::new();
    for port in &ports {
        let (name, has) = (&port["metadata"]["name"], addresses(port));
        let [ip] = &has[..] else { return Err(format!("Port {name} has {has:?}")) };
        if crate::site::condition(port, "Ready", "status") != "True" {
            return Err(format!("Port {name} is not ready"));
        }
        if let Some(other) = wanted.insert(ip.clone(), port["metadata"]["uid"].clone()) {
            return Err(format!("{ip} is {name}'s and {other}'s"));
        }
    }
    for allocation in site.list("IPAllocation").await {
        let spec = &allocation["spec"];
        if spec["holder"]["type"] == "ServerSlot" {
            continue;
        }
        let (ip, holder) = (spec["ip"].as_str().unwrap(), &spec["holder"]["uid"]);
        if spec.get("released").is_some() || wanted.remove(ip).as_ref() != Some(holder) {
            return Err(format!("an orphan: {spec}"));
        }
    }
    if wanted.is_empty() { Ok(()) } else { Err(format!("without an allocation: {wanted:?}")) }
}

async fn create(ports: &Api<DynamicObject>, name: &str, mac: u32) {
    ports.create(&PostParams::default(), &mk_port(name, mac)).await.unwrap();
}

fn signal(site: &mut Site, controller: usize, signal: Signal) {
    kill_process(Pid::from_child(site.controller(controller)), signal).unwrap();
}

#[test]
fn a_leader_that_stood_still_gives_nothing_twice() {
    inside("leaders::a_leader_that_stood_still_gives_nothing_twice", async {
        let mut site = two_leaders().await;
        let observer = Observer::start(&site.client());
        let old = site.leader().await.unwrap();
        let ports = site.api("Port");
        let creating = tokio::spawn(async move {
            for number in 0..400 {
                create(&ports, &format!("p{number}"), number).await;
            }
        });
        let held = || observer.seen().ports.held();
        while held() < 40 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        signal(&mut site, old, Signal::STOP);
        let stopped = Instant::now();
        println!("the leader stands still when {} Ports have addresses", held());
        creating.await.unwrap();
        let other = async || site.leader().await.filter(|leader| *leader != old);
        while other().await.is_none() {
            assert!(stopped.elapsed() < SETTLE, "nobody takes over\n{}", site.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("another leads after {:.1?}", stopped.elapsed());
        while held() < 200 {
            assert!(stopped.elapsed() < SETTLE, "{} have addresses\n{}", held(), site.logs());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // In the middle of the other one's work.
        signal(&mut site, old, Signal::CONT);
        let ports = site.api("Port");
        for number in 400..440 {
            create(&ports, &format!("p{number}"), number).await;
        }
        until_settled(&site, &observer).await;
        println!("440 Ports are ready {:.1?} after the first leader stopped", stopped.elapsed());
        tokio::time::sleep(Duration::from_secs(5)).await;
        until_settled(&site, &observer).await;
        let seen = observer.seen();
        println!(
            "{} changes seen; the most allocations of a Port at a time: {}",
            seen.events, seen.most_held
        );
    });
}

#[test]
fn leaders_that_are_killed_give_nothing_twice() {
    inside("leaders::leaders_that_are_killed_give_nothing_twice", async {
        let mut random = Random::seeded();
        let kills = number("KUBE_DHCP_TEST_KILLS").unwrap_or(20);
        let mut site = two_leaders().await;
        let observer = Observer::start(&site.client());
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let churn = tokio::spawn(churn(site.api("Port"), random.fork(1), stop.clone()));
        for kill in 0..kills {
            let began = Instant::now();
            let leader = until_led(&site, None).await;
            tokio::time::sleep(Duration::from_millis(500 + random.below(4_000))).await;
            observer.assert_good();
            site.controller(leader).kill().unwrap();
            site.controller(leader).wait().unwrap();
            site.start_controller(&[]);
            let next = until_led(&site, Some(leader)).await;
            println!("kill {kill}: {leader}, then {next} leads, after {:.1?}", began.elapsed());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let changes = churn.await.unwrap();
        until_settled(&site, &observer).await;
        let told = observer.seen();
        println!("{changes} Ports made or deleted, {} changes seen, {kills} kills", told.events);
        println!("the most allocations of a Port at a time: {}", told.most_held);
    });
}

async fn until_led(site: &Site, but: Option<usize>) -> usize {
    let deadline = Instant::now() + SETTLE;
    loop {
        if let Some(leader) = site.leader().await.filter(|leader| Some(*leader) != but) {
            return leader;
        }
        assert!(Instant::now() < deadline, "nobody leads\n{}", site.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes and deletes Ports: new ones, and earlier ones with their old MAC address or another.
async fn churn(
    ports: Api<DynamicObject>,
    mut random: Random,
    stop: Arc<std::sync::atomic::AtomicBool>,
) -> usize {
    let mut there: BTreeMap<u64, bool> = BTreeMap::new();
    let (mut changes, mut fresh) = (0, 10_000);
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let slot = random.below(80);
        let name = format!("p{slot}");
        if there.insert(slot, !there.get(&slot).copied().unwrap_or_default()) == Some(true) {
            ports.delete(&name, &DeleteParams::default()).await.unwrap();
        } else {
            let again = random.below(2) == 0;
            fresh += u32::from(!again);
            create(&ports, &name, if again { u32::try_from(slot).unwrap() } else { fresh }).await;
        }
        changes += 1;
        tokio::time::sleep(Duration::from_millis(random.below(120))).await;
    }
    changes
}
