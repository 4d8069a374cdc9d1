//! Nodes die and return, agents are replaced, nodes are drained; guests do not notice.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::output;
use crate::random::number;
use crate::site::{BIN, LAN, LONG, Site, condition, lan_name};
use crate::traffic::{Tally, Traffic, assert_nobody_noticed, network};

const NETWORKS: usize = 5;
/// What the controller is told to wait for a silent agent.
const RESCHEDULE: Duration = Duration::from_secs(5);

/// Three nodes, two controllers, networks with this many servers each, all of them served.
async fn served(networks: usize, servers: u8) -> Site {
    let mut site = Site::with_lans(3, networks).await;
    for lan in 0..networks {
        site.apply(&LAN.replace("name: lan", &format!("name: {}", lan_name(lan)))).await;
    }
    for _ in 0..2 {
        site.start_controller(&["--reschedule-after=5"]);
    }
    site.start_agents();
    for number in 0..networks {
        site.apply(&network(number, servers)).await;
    }
    until_ready(&site, networks, servers).await;
    site
}

async fn until_ready(site: &Site, networks: usize, servers: u8) {
    for number in 0..networks {
        let all = |network: &Value| {
            let ports = network.pointer("/status/ports").cloned().unwrap_or_default();
            network.pointer("/status/servers/ready") == Some(&servers.into())
                && ports["ready"] == ports["total"]
                && ports["total"] == crate::traffic::GUESTS
        };
        site.until("Network", &format!("net{number}"), all).await;
    }
}

/// The networks that a node is to serve.
async fn on_node(site: &Site, node: &str) -> BTreeSet<String> {
    let servers = site.list("DHCPServer").await;
    let here = servers.iter().filter(|server| server["spec"]["nodeName"] == node);
    here.map(|server| server["spec"]["networkRef"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The node with the most networks.
async fn busiest(site: &Site) -> usize {
    let mut most = (0, 0);
    for (index, node) in site.nodes.iter().enumerate() {
        most = most.max((on_node(site, &node.name).await.len(), index + 1));
    }
    most.1
}

#[test]
fn nobody_notices_that_a_node_dies_and_returns() {
    inside("failover::nobody_notices_that_a_node_dies_and_returns", async {
        // As many as one likes; on a machine that has nothing else to do.
        let networks = number("KUBE_DHCP_TEST_NETWORKS").map_or(NETWORKS, |n| usize::try_from(n).unwrap());
        let mut site = served(networks, 2).await;
        let (traffic, began) = (Traffic::start(&site.street, networks), Instant::now());
        traffic.until_served(2, began, LONG);
        node_dies(&mut site, &traffic, false).await;
        let number = busiest(&site).await;
        println!("now node {number} and the leading controller");
        node_dies(&mut site, &traffic, true).await;
        assert_nobody_noticed("nodes died and returned", &traffic.stop(), began);
    });
}

async fn node_dies(site: &mut Site, traffic: &Traffic, with_leader: bool) {
    let number = busiest(site).await;
    let name = site.nodes[number - 1].name.clone();
    let lost = on_node(site, &name).await.len();
    if with_leader {
        let leader = site.leader().await.unwrap();
        site.controller(leader).kill().unwrap();
    }
    let died = Instant::now();
    site.power_off(number);
    site.until_not_ready("DHCPAgent", &name, "LeaseExpired").await;
    let due = Instant::now() + RESCHEDULE;
    println!("{name} with {lost} networks is called dead after {:.1?}", died.elapsed());
    let replaced = until_replaced(traffic, died, due);
    println!("all networks have two servers on the wire {replaced:.1?} after that is due");
    assert!(replaced < Duration::from_secs(5), "{replaced:?}");
    // The address is where it was for guests: they need not find out by themselves where that is now.
    let now = Instant::now();
    traffic.until_resolved(now, LONG);
    println!("guests reach all resolvers {:.1?} later", now.elapsed());
    assert!(now.elapsed() < Duration::from_secs(5), "{:?}", now.elapsed());
    site.power_on(number);
    site.start_agent(number, &[]);
    site.until_ready("DHCPAgent", &name).await;
    until_empty(site, &name).await;
    assert_eq!(site.nodes[number - 1].servers(), [0; 0], "it serves what it lost");
    println!("{name} returned, and gave up what it had, {:.1?} after its death", died.elapsed());
    let now = Instant::now();
    traffic.until_served(2, now, LONG);
}

async fn until_empty(site: &Site, node: &str) {
    let look = async || {
        let left = on_node(site, node).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are left")) }
    };
    site.eventually(LONG, look).await;
}

/// How long after `due` each network is served by two again; a new server is one with another MAC.
fn until_replaced(traffic: &Traffic, died: Instant, due: Instant) -> Duration {
    let since = died + Duration::from_millis(500);
    traffic.until_served(2, since, LONG);
    let second = |tally: &Tally| {
        let mut firsts: Vec<_> = tally.servers.values().filter(|(_, last)| *last > since).collect();
        firsts.sort_unstable();
        firsts.last().map_or(due, |(first, _)| *first)
    };
    traffic.tallies().iter().map(second).max().unwrap().saturating_duration_since(due)
}

#[test]
fn nobody_notices_a_node_that_is_cut_off_from_the_api_server_only() {
    inside("failover::nobody_notices_a_node_that_is_cut_off_from_the_api_server_only", async {
        let site = served(NETWORKS, 2).await;
        let (traffic, began) = (Traffic::start(&site.street, NETWORKS), Instant::now());
        traffic.until_served(2, began, LONG);
        let number = busiest(&site).await;
        let name = site.nodes[number - 1].name.clone();
        let (lost, serves) = (on_node(&site, &name).await, site.nodes[number - 1].servers());
        site.nodes[number - 1].connect(false);
        for network in &lost {
            displaced(&site, network, &name).await;
        }
        println!("{} replacements have other addresses {:.1?} after the cut", lost.len(), began.elapsed());
        let now = Instant::now();
        traffic.until_served(2, now, LONG);
        assert_eq!(site.nodes[number - 1].servers(), serves, "what was cut off serves on");
        // What comes up meanwhile only the others know.
        for network in &lost {
            let port = crate::traffic::extra_port(network);
            site.apply(&port).await;
            site.until_ready("Port", &format!("{network}-extra")).await;
        }
        site.nodes[number - 1].connect(true);
        let returned = Instant::now();
        until_empty(&site, &name).await;
        for network in &lost {
            let back = |network: &Value| {
                condition(network, "Ready", "reason") == "Ready"
                    && condition(network, "Ready", "status") == "True"
            };
            site.until("Network", network, back).await;
        }
        println!("all have their own addresses {:.1?} after the return", returned.elapsed());
        until_no_temporary(&site).await;
        let now = Instant::now();
        traffic.until_served(2, now, LONG);
        traffic.until_resolved(now, LONG);
        let tallies = traffic.stop();
        assert_nobody_noticed("a node was cut off from the API server", &tallies, began);
        for tally in &tallies {
            assert_eq!(tally.doubles(), Vec::<Ipv4Addr>::new(), "two at one address");
        }
    });
}

/// Waits until a network's replacement of this node's server has another address than its slot's.
async fn displaced(site: &Site, network: &str, node: &str) {
    let held = |network: &Value| {
        condition(network, "Ready", "reason") == "AddressHeldByPredecessor"
            && condition(network, "Ready", "message").contains(&format!("node {node} cannot be told"))
            && network.pointer("/status/servers/ready") == Some(&2.into())
    };
    let said = site.until("Network", network, held).await;
    println!("{network}: {}", condition(&said, "Ready", "message"));
}

async fn until_no_temporary(site: &Site) {
    let look = async || {
        let mut left = site.list("IPAllocation").await;
        left.retain(|allocation| allocation.pointer("/spec/holder/temporary") == Some(&true.into()));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    };
    site.eventually(LONG, look).await;
}

#[test]
fn an_agent_that_returns_to_servers_of_others_takes_its_own_down_first() {
    inside("failover::an_agent_that_returns_to_servers_of_others_takes_its_own_down_first", async {
        let mut site = served(NETWORKS, 2).await;
        let (traffic, began) = (Traffic::start(&site.street, NETWORKS), Instant::now());
        traffic.until_served(2, began, LONG);
        let number = busiest(&site).await;
        let (name, had) = (site.nodes[number - 1].name.clone(), site.nodes[number - 1].servers());
        site.nodes[number - 1].kill_agent();
        site.until_not_ready("DHCPAgent", &name, "LeaseExpired").await;
        let elsewhere = |network: &Value| {
            let slots = network.pointer("/status/slots").and_then(Value::as_array).cloned();
            network.pointer("/status/servers/ready") == Some(&2.into())
                && slots.unwrap_or_default().iter().all(|slot| slot["nodeName"] != name.as_str())
        };
        for network in 0..NETWORKS {
            site.until("Network", &format!("net{network}"), elsewhere).await;
        }
        // Nobody told its servers: for a while two nodes have the same addresses, and say the same.
        assert_eq!(site.nodes[number - 1].servers(), had);
        site.start_agent(number, &[]);
        let returned = Instant::now();
        until_empty(&site, &name).await;
        println!("{} servers are taken down {:.1?} after the agent's start", had.len(), returned.elapsed());
        assert!(site.nodes[number - 1].servers().is_empty());
        let now = Instant::now();
        traffic.until_served(2, now, LONG);
        traffic.until_resolved(now, LONG);
        println!("guests reach all resolvers {:.1?} later", now.elapsed());
        assert_nobody_noticed("an agent died, and its servers did not", &traffic.stop(), began);
    });
}

#[test]
fn nobody_notices_that_all_agents_are_replaced() {
    inside("failover::nobody_notices_that_all_agents_are_replaced", async {
        let mut site = served(NETWORKS, 2).await;
        let (traffic, began) = (Traffic::start(&site.street, NETWORKS), Instant::now());
        traffic.until_served(2, began, LONG);
        for number in 1..=3 {
            let before = site.nodes[number - 1].servers();
            site.nodes[number - 1].kill_agent();
            site.start_agent(number, &[]);
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert_eq!(site.nodes[number - 1].servers(), before, "a dnsmasq was restarted");
        }
        for number in 1..=3 {
            let deaf = pod_is_replaced(&mut site, &traffic, number).await;
            println!("the pod of n{number} was replaced: all networks have two servers after {deaf:.1?}");
        }
        until_ready(&site, NETWORKS, 2).await;
        assert_nobody_noticed("agents were replaced", &traffic.stop(), began);
    });
}

/// What is in the pod ends with it: agent, servers and namespaces.
async fn pod_is_replaced(site: &mut Site, traffic: &Traffic, number: usize) -> Duration {
    let node = &mut site.nodes[number - 1];
    node.kill_agent();
    node.servers().into_iter().for_each(|pid| node.lab.signal("KILL", pid));
    node.lab.netns_names().iter().for_each(|netns| drop(node.lab.run(&format!("ip netns del {netns}"))));
    let gone = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.start_agent(number, &[]);
    traffic.until_served(2, gone + Duration::from_millis(500), LONG);
    gone.elapsed()
}

#[test]
fn nobody_notices_a_drain() {
    inside("failover::nobody_notices_a_drain", async {
        let mut site = served(NETWORKS, 2).await;
        let (traffic, began) = (Traffic::start(&site.street, NETWORKS), Instant::now());
        traffic.until_served(2, began, LONG);
        for number in 1..=3 {
            drain_and_undo(&mut site, number).await;
            let now = Instant::now();
            traffic.until_served(2, now, LONG);
        }
        assert_nobody_noticed("nodes were drained", &traffic.stop(), began);
    });
}

#[test]
fn a_network_with_one_server_is_served_through_a_drain() {
    inside("failover::a_network_with_one_server_is_served_through_a_drain", async {
        let mut site = served(NETWORKS, 1).await;
        let (traffic, began) = (Traffic::start(&site.street, NETWORKS), Instant::now());
        traffic.until_served(1, began, LONG);
        for number in 1..=3 {
            drain_and_undo(&mut site, number).await;
            let now = Instant::now();
            traffic.until_served(1, now, LONG);
        }
        assert_nobody_noticed("nodes were drained, one server each", &traffic.stop(), began);
    });
}

async fn drain_and_undo(site: &mut Site, number: usize) {
    let name = site.nodes[number - 1].name.clone();
    let (had, began) = (on_node(site, &name).await.len(), Instant::now());
    println!("{}", kube_dhcp(site, &["drain", &name, "--timeout=60"]));
    println!("{name} had {had} networks and is empty after {:.1?}", began.elapsed());
    assert!(on_node(site, &name).await.is_empty());
    assert!(site.nodes[number - 1].servers().is_empty(), "{name} still serves");
    kube_dhcp(site, &["uncordon", &name]);
    let agent = site.get("DHCPAgent", &name).await.unwrap();
    assert_ne!(agent.pointer("/spec/drain"), Some(&true.into()), "{agent:#}");
}

/// Runs the program as the administrator.
fn run(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(BIN);
    output(command.args(arguments).arg("--kubeconfig").arg(site.plane.admin_kubeconfig()))
}

/// What it prints; it must succeed.
fn kube_dhcp(site: &Site, arguments: &[&str]) -> String {
    let done = run(site, arguments);
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}: {said}\n{}", site.logs());
    said
}

#[test]
fn a_drain_that_cannot_end_says_why() {
    inside("failover::a_drain_that_cannot_end_says_why", async {
        let mut site = Site::running(1).await;
        site.apply(crate::serve::NETWORK).await;
        site.until_ready("Port", "p1").await;
        let done = run(&site, &["drain", "n1", "--timeout=5"]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains("default/a: no other node can take it"), "{said}");
        let network = site.get("Network", "a").await.unwrap();
        assert_eq!(condition(&network, "Ready", "status"), "True", "it is served on");
        assert_eq!(site.nodes[0].servers().len(), 1);
        let ends = |arguments: &[&str], code: i32| {
            let done = run(&site, &[arguments, &["-o", "json"]].concat());
            assert_eq!(done.status.code(), Some(code), "{arguments:?}: {done:?}");
            serde_json::from_slice::<Value>(&done.stdout).unwrap()
        };
        let drained = ends(&["drain", "n1", "--timeout=1"], 1);
        assert_eq!(drained, json!({"node": "n1", "drained": false, "serversLeft": 1}));
        let taken_back = ends(&["uncordon", "n1"], 0);
        assert_eq!(taken_back, json!({"node": "n1", "drain": false, "drainedBy": []}));
        let done = run(&site, &["drain", "nowhere"]);
        assert!(!done.status.success() && site.get("DHCPAgent", "nowhere").await.is_none());
        site.nodes[0].kill_agent();
    });
}
