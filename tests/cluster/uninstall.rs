//! Everything can be deleted in any order: nothing is left, neither in the API nor on the nodes.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::inside::inside;
use crate::serve::{NETWORK, mac};
use crate::site::{Site, condition};

/// Three nodes; the network `a` with its port in a namespace, served by two of them.
async fn served(namespace: &str) -> Site {
    let site = Site::running(3).await;
    if namespace != "default" {
        site.plane.namespace(namespace, &[]).await;
    }
    site.apply(&NETWORK.replace("namespace: default", &format!("namespace: {namespace}"))).await;
    until_served(&site, namespace).await;
    site
}

async fn until_served(site: &Site, namespace: &str) {
    until(site, "the network is served by two nodes", || {
        let ready = "-o=jsonpath={.status.servers.ready}";
        let port = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        says(site, &["get", "dnet", "a", "-n", namespace, ready], "2")
            && says(site, &["get", "dport", "p1", "-n", namespace, port], "True")
    })
    .await;
}

#[test]
fn a_tenants_namespace_goes_with_everything_in_it() {
    inside("uninstall::a_tenants_namespace_goes_with_everything_in_it", async {
        let site = served("tenant").await;
        let began = Instant::now();
        site.plane.kubectl(&["delete", "namespace", "tenant", "--wait=true", "--timeout=60s"]);
        println!("the namespace is gone after {:?}", began.elapsed());
        nothing_is_left(&site).await;
    });
}

#[test]
fn a_physical_network_goes_before_what_is_on_it() {
    inside("uninstall::a_physical_network_goes_before_what_is_on_it", async {
        let site = served("default").await;
        site.delete("PhysicalNetwork", "lan").await;
        site.until_not_ready("Network", "a", "PhysicalNetworkNotFound").await;
        nodes_are_empty(&site).await;
        // What had an address has it still, for when the physical network comes back.
        site.apply(crate::site::LAN).await;
        let port = site.until_ready("Port", "p1").await;
        assert_eq!(port.pointer("/status/addresses/0/ip"), Some(&Value::from("10.0.0.20")));
        site.delete("PhysicalNetwork", "lan").await;
        for (kind, name) in [("Subnet", "a-v4"), ("Network", "a"), ("Port", "p1")] {
            site.delete(kind, name).await;
        }
        nothing_is_left(&site).await;
    });
}

#[test]
fn the_definitions_go_before_what_they_define() {
    inside("uninstall::the_definitions_go_before_what_they_define", async {
        let mut site = served("default").await;
        let began = Instant::now();
        site.plane.kubectl(&["delete", "-k", definitions(), "--wait=true", "--timeout=60s"]);
        println!("the definitions are gone after {:?}", began.elapsed());
        nodes_are_empty(&site).await;
        println!("the nodes are empty after {:?}", began.elapsed());
        let ended = site.controller(0).try_wait().unwrap();
        assert!(ended.is_none(), "the controller ended: {ended:?}\n{}", site.logs());
        // Whoever did not mean it applies everything again.
        site.plane.install().await;
        site.apply(crate::site::LAN).await;
        site.apply(NETWORK).await;
        let began = Instant::now();
        until_served(&site, "default").await;
        println!("served again after {:?}", began.elapsed());
        assert!(site.street.guest("br0", mac(1)).discover(&[]).is_some());
    });
}

#[test]
fn an_agent_that_was_away_learns_that_the_definitions_are_gone() {
    inside("uninstall::an_agent_that_was_away_learns_that_the_definitions_are_gone", async {
        let mut site = served("default").await;
        // One agent is away, the other server's node ends for good.
        let serving: Vec<_> = (1..=3).filter(|number| !site.nodes[number - 1].servers().is_empty()).collect();
        let [away, dead] = serving[..] else { panic!("{serving:?} serve") };
        site.nodes[away - 1].until_copied("p1");
        site.nodes[away - 1].kill_agent();
        site.power_off(dead);
        site.plane.kubectl(&["delete", "node", &format!("n{dead}")]);
        site.plane.kubectl(&["delete", "-k", definitions(), "--wait=true", "--timeout=60s"]);
        let third = 6 - away - dead;
        until(&site, "the other one is empty", || site.nodes[third - 1].servers().is_empty()).await;
        site.start_agent(away, &[]);
        let began = Instant::now();
        let copied = || site.nodes[away - 1].status()["node"]["source"] == "LastGoodCopy";
        until(&site, "it serves from its copy", copied).await;
        // An API server that starts says the same for a while.
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(site.nodes[away - 1].servers().len(), 1, "it gave up early");
        site.nodes.remove(dead - 1);
        nodes_are_empty(&site).await;
        println!("taken down after {:?}", began.elapsed());
        // With new definitions there is nothing, but for the agents that live.
        site.plane.install().await;
        nothing_is_left(&site).await;
        let living: Vec<_> =
            site.nodes.iter().map(|node| format!("dhcpagent.kube-dhcp.io/{}", node.name)).collect();
        until(&site, "the living agents are back", || {
            let agents = site.plane.try_kubectl(&["get", "dagent", "--output=name"]);
            agents.is_ok_and(|agents| agents.lines().eq(living.iter()))
        })
        .await;
    });
}

#[test]
fn a_node_that_is_gone_for_good_holds_nothing_back() {
    inside("uninstall::a_node_that_is_gone_for_good_holds_nothing_back", async {
        let mut site = served("default").await;
        let number = site.nodes.iter().position(|node| !node.servers().is_empty()).unwrap();
        let dead = site.nodes.remove(number).name.clone();
        for (kind, name) in [("Network", "a"), ("Port", "p1"), ("Subnet", "a-v4")] {
            site.delete(kind, name).await;
        }
        nodes_are_empty(&site).await;
        // The dead node may serve on, as far as anybody knows.
        let server = site.get("DHCPServer", &format!("a.{dead}")).await.unwrap();
        assert_eq!(condition(&server, "TornDown", "status"), "", "{server:#}");
        site.plane.kubectl(&["delete", "node", &dead]);
        nothing_is_left(&site).await;
        site.until("DHCPAgent", &dead, Value::is_null).await;
    });
}

#[test]
fn everything_goes_at_once_with_networks_still_there() {
    inside("uninstall::everything_goes_at_once_with_networks_still_there", async {
        let mut site = served("default").await;
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
        let began = Instant::now();
        site.plane.kubectl(&["delete", "-k", deploy, "--wait=true", "--timeout=60s"]);
        println!("deleted after {:?}", began.elapsed());
        site.plane.assert_uninstalled();
        // Nobody ended because the rights went first. What agents serve ends with their pods.
        assert!(site.controller(0).try_wait().unwrap().is_none(), "{}", site.logs());
        for node in &site.nodes {
            assert_eq!(node.lab.pids_of("kube-dhcp").len(), 1, "{}", site.logs());
            println!("{}: {} servers", node.name, node.servers().len());
        }
    });
}

fn definitions() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/crds")
}

async fn nothing_is_left(site: &Site) {
    nodes_are_empty(site).await;
    until(site, "nothing is left in the API", || {
        let kinds = "dnet,dsub,dport,dsrv,dip";
        says(site, &["get", kinds, "--all-namespaces", "--output=name"], "")
    })
    .await;
}

async fn nodes_are_empty(site: &Site) {
    until(site, "nothing is left on the nodes", || {
        let links = |node: &crate::site::Node| node.lab.run("ip -o link show master br0");
        site.nodes.iter().all(|node| {
            node.servers().is_empty() && node.lab.netns_names().is_empty() && links(node).lines().count() == 1
        })
    })
    .await;
    for node in &site.nodes {
        let networks = node.state().join("networks");
        let left: Vec<_> = std::fs::read_dir(networks).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{}: {left:?}", node.name);
    }
}

/// Whether kubectl succeeds with these words.
fn says(site: &Site, arguments: &[&str], words: &str) -> bool {
    site.plane.try_kubectl(arguments).is_ok_and(|said| said == words)
}

async fn until(site: &Site, what: &str, wanted: impl Fn() -> bool) {
    let look = async || {
        let objects = || site.plane.try_kubectl(&["get", "dnet,dport,dsrv,dip,dagent", "-A"]);
        if wanted() { Ok(()) } else { Err(format!("{what}\n{}", objects().unwrap_or_else(|why| why))) }
    };
    site.eventually(crate::site::LONG * 2, look).await;
}
