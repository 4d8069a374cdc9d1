//! Leaders are stopped, go on, and are killed, while ports come and go: nobody gets an address twice,
//! no slot is served twice, and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::Mac;
use crate::observer::{Observer, addresses};
use crate::random::{Random, number};
use crate::site::{LAN, Site};

/// How long everything may take to settle on a busy machine.
const SETTLE: Duration = Duration::from_secs(180);
/// How long the leader's Lease is good.
const LEASE: Duration = Duration::from_secs(15);
/// How many leaders are killed where `KUBE_DHCP_TEST_KILLS` does not say; each costs the time of a Lease.
const KILLS: u64 = 4;

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
    let look = async || {
        observer.assert_good();
        ports_have_what_is_theirs(site).await?;
        slots_have_what_is_theirs(site).await?;
        nodes_run_what_is_wanted(site)
    };
    site.eventually(SETTLE, look).await;
    observer.assert_good();
}

async fn ports_have_what_is_theirs(site: &Site) -> Result<(), String> {
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

/// Two slots, one active server in each and no other server, and an allocation of each one's address.
async fn slots_have_what_is_theirs(site: &Site) -> Result<(), String> {
    let mut wanted = BTreeMap::new();
    for server in site.list("DHCPServer").await {
        let spec = &server["spec"];
        if spec["state"] != "Active" {
            return Err(format!("a server that goes: {spec}"));
        }
        for address in spec["addresses"].as_array().into_iter().flatten() {
            wanted.insert(address["ip"].to_string(), spec["slot"].clone());
        }
    }
    let slots: BTreeSet<_> = wanted.values().filter_map(Value::as_u64).collect();
    if wanted.len() != 2 || slots != BTreeSet::from([0, 1]) {
        return Err(format!("servers' addresses and slots: {wanted:?}"));
    }
    for allocation in site.list("IPAllocation").await {
        let (spec, holder) = (&allocation["spec"], &allocation["spec"]["holder"]);
        if holder["type"] == "ServerSlot"
            && wanted.remove(&spec["ip"].to_string()).as_ref() != Some(&holder["slot"])
        {
            return Err(format!("an orphan: {spec}"));
        }
    }
    if wanted.is_empty() { Ok(()) } else { Err(format!("without an allocation: {wanted:?}")) }
}

/// Each node has a server of the one network.
fn nodes_run_what_is_wanted(site: &Site) -> Result<(), String> {
    for node in &site.nodes {
        let (namespaces, servers) = (node.lab.netns_names(), node.servers());
        if namespaces.len() != 1 || servers.len() != 1 {
            return Err(format!("{} has {namespaces:?}, {servers:?}", node.name));
        }
    }
    Ok(())
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
        let first = tokio::spawn(create_all(site.api("Port"), 0..400));
        until_held(&site, &observer, 40).await;
        signal(&mut site, old, Signal::STOP);
        let stopped = Instant::now();
        println!("the leader stands still when {} Ports have addresses", observer.held());
        first.await.unwrap();
        until_led(&site, Some(old)).await;
        println!("another leads after {:.1?}", stopped.elapsed());
        until_held(&site, &observer, 400).await;
        tokio::time::sleep_until((stopped + LEASE * 2).into()).await;
        let second = tokio::spawn(create_all(site.api("Port"), 400..500));
        until_held(&site, &observer, 420).await;
        // In the middle of the other one's work.
        signal(&mut site, old, Signal::CONT);
        println!("it goes on after {:.1?}, {} Ports have addresses", stopped.elapsed(), observer.held());
        second.await.unwrap();
        until_settled(&site, &observer).await;
        println!("500 Ports are ready {:.1?} after the first leader stopped", stopped.elapsed());
        // It has found out by now that it leads no more, and whatever it had begun is done.
        tokio::time::sleep(Duration::from_secs(5)).await;
        until_settled(&site, &observer).await;
        assert_eq!(site.list("Port").await.len(), 500);
        assert_ne!(site.leader().await, Some(old));
        let seen = observer.seen();
        println!("{} changes; the most allocations of a Port at a time: {}", seen.events, seen.most_held);
    });
}

async fn create_all(ports: Api<DynamicObject>, numbers: std::ops::Range<u32>) {
    for number in numbers {
        create(&ports, &format!("p{number}"), number).await;
    }
}

/// Waits until this many Ports have addresses; looks often, to be in the middle of the rest.
async fn until_held(site: &Site, observer: &Observer, wanted: usize) {
    let deadline = Instant::now() + SETTLE;
    while observer.held() < wanted {
        assert!(Instant::now() < deadline, "{} have addresses\n{}", observer.held(), site.logs());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn leaders_that_are_killed_give_nothing_twice() {
    inside("leaders::leaders_that_are_killed_give_nothing_twice", async {
        let mut random = Random::seeded();
        let kills = number("KUBE_DHCP_TEST_KILLS").unwrap_or(KILLS);
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
    let look = async || {
        let leader = site.leader().await.filter(|leader| Some(*leader) != but);
        leader.ok_or_else(|| "nobody leads".to_owned())
    };
    site.eventually(SETTLE, look).await
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
