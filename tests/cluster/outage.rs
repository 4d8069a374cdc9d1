//! The API server is away, hangs, comes back older than it was, or is another one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::eventually;
use crate::serve::{NETWORK, mac, port};
use crate::site::{LONG, Site};

/// From the API server's first answer to a Port's being served. Seconds; the rest is for busy machines.
const CONVERGED: Duration = Duration::from_secs(15);

async fn served(nodes: usize) -> Site {
    let site = Site::running(nodes).await;
    site.apply(NETWORK).await;
    site.until_ready("Port", "p1").await;
    let wanted = json!(nodes.min(2));
    let all = |network: &Value| network.pointer("/status/servers/ready") == Some(&wanted);
    site.until("Network", "a", all).await;
    site
}

fn is_answered(site: &Site, n: u8) -> bool {
    site.street.guest("br0", mac(n)).discover(&[]).is_some()
}

/// A Port that is applied now is ready soon.
async fn converges(site: &Site, n: u8, what: &str) {
    let began = Instant::now();
    site.apply_object(&port(n)).await;
    site.until_ready("Port", &format!("p{n}")).await;
    println!("{what}: a port is ready after {:?}", began.elapsed());
    assert!(began.elapsed() < CONVERGED, "{what}: {:?}\n{}", began.elapsed(), site.logs());
    assert!(is_answered(site, n));
}

#[test]
fn after_an_outage_all_converges_within_seconds() {
    inside("outage::after_an_outage_all_converges_within_seconds", async {
        let mut site = served(2).await;
        let servers: Vec<_> = site.nodes.iter().map(crate::site::Node::servers).collect();
        site.plane.stop_api();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(is_answered(&site, 1));
        site.plane.start_api().await;
        converges(&site, 2, "killed for 30 s").await;
        site.plane.freeze_api();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(is_answered(&site, 1));
        site.plane.thaw_api();
        converges(&site, 3, "hung for 60 s").await;
        site.delete("Port", "p2").await;
        site.until("IPAllocation", "a.10.0.0.12", Value::is_null).await;
        assert!(!is_answered(&site, 2));
        assert_eq!(site.nodes.iter().map(crate::site::Node::servers).collect::<Vec<_>>(), servers);
    });
}

#[test]
fn a_node_that_was_cut_off_converges_within_seconds() {
    inside("outage::a_node_that_was_cut_off_converges_within_seconds", async {
        let site = served(1).await;
        site.nodes[0].connect(false);
        // What is sent meanwhile is sent again ever more rarely.
        site.apply_object(&port(2)).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        site.nodes[0].connect(true);
        converges(&site, 3, "cut off for 60 s").await;
        site.until_ready("Port", "p2").await;
    });
}

#[test]
fn an_older_storage_is_believed() {
    inside("outage::an_older_storage_is_believed", async {
        let mut site = served(2).await;
        site.plane.snapshot("early");
        site.apply_object(&port(2)).await;
        site.until_ready("Port", "p2").await;
        assert!(is_answered(&site, 2));
        for n in 3..10 {
            site.apply_object(&port(n)).await;
        }
        site.until_ready("Port", "p9").await;
        site.plane.restore("early").await;
        let began = Instant::now();
        // Its numbers are as high again before anybody looks.
        for n in 0..60 {
            site.apply_object(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("x{n}")}}),
            )
            .await;
        }
        converges(&site, 20, "put back").await;
        let silent = || (!is_answered(&site, 2)).then_some(());
        eventually("a port that never was is not answered", LONG, silent);
        println!("silent after {:?}", began.elapsed());
        let held: Vec<_> =
            site.list("IPAllocation").await.iter().map(|a| a["metadata"]["name"].to_string()).collect();
        assert_eq!(held.len(), 4, "two servers, two ports: {held:?}");
        let now = revision(&site).await;
        for server in site.list("DHCPServer").await {
            let said: u64 = server["status"]["portsRevision"].as_str().unwrap().parse().unwrap();
            assert!(said <= now, "{said} is ahead of {now}: {server:#}");
        }
        site.delete("Port", "p20").await;
        let gone = async || {
            let held = site.list("IPAllocation").await;
            if held.len() == 3 { Ok(()) } else { Err(format!("{held:#?}")) }
        };
        site.eventually(LONG, gone).await;
    });
}

async fn revision(site: &Site) -> u64 {
    let list = site.api("Port").list(&kube::api::ListParams::default()).await.unwrap();
    list.metadata.resource_version.unwrap().parse().unwrap()
}

#[test]
fn another_cluster_at_the_same_address_tears_nothing_down() {
    inside("outage::another_cluster_at_the_same_address_tears_nothing_down", async {
        let mut site = Site::new(1).await;
        // Tokens of service accounts would be good for the old cluster only.
        site.nodes[0].kubeconfig = site.plane.admin_kubeconfig().to_owned();
        site.apply(crate::site::LAN).await;
        site.start_controller(&[]);
        site.start_agent(1, &[]);
        site.apply(NETWORK).await;
        site.until_ready("Port", "p1").await;
        let servers = site.nodes[0].servers();
        site.controller(0).kill().unwrap();
        site.plane.start_over().await;
        site.plane.install().await;
        until_status(&site, "another cluster's");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(site.nodes[0].servers(), servers, "{}", site.logs());
        assert!(is_answered(&site, 1), "{}", site.logs());
        assert!(site.logs().contains("the API server is another cluster's"), "{}", site.logs());
        // Started again it serves the new one, which wants nothing.
        site.nodes[0].kill_agent();
        site.start_agent(1, &[]);
        eventually("nothing is served", LONG, || site.nodes[0].servers().is_empty().then_some(()));
        assert!(site.logs().contains("the copy of the cluster's objects is not used"), "{}", site.logs());
    });
}

#[test]
fn without_rights_it_says_which_and_serves_from_its_copy() {
    inside("outage::without_rights_it_says_which_and_serves_from_its_copy", async {
        let mut site = served(1).await;
        let servers = site.nodes[0].servers();
        site.nodes[0].until_copied("p1");
        let rules = json!([{"op": "replace", "path": "/rules/0/resources", "value": ["networks", "subnets", "dhcpservers"]}]);
        site.plane.kubectl(&[
            "patch",
            "clusterrole",
            "kube-dhcp-agent",
            "--type=json",
            "-p",
            &rules.to_string(),
        ]);
        site.nodes[0].kill_agent();
        site.start_agent(1, &["--listen=127.0.0.1:9999"]);
        until_status(&site, "cannot watch ports: ports.kube-dhcp.io is forbidden");
        until_status(&site, "LastGoodCopy");
        site.until("DHCPAgent", "n1", |a| a["status"]["source"] == "LastGoodCopy").await;
        let metrics = site.nodes[0].lab.run("curl -sS http://127.0.0.1:9999/metrics");
        assert!(metrics.contains("kube_dhcp_agent_last_good_copy 1"), "{metrics}");
        let status = site.nodes[0].status_text();
        assert!(status.contains("Serving from the copy"), "{status}");
        assert_eq!(site.nodes[0].servers(), servers);
        assert!(site.logs().contains("cannot watch ports"), "{}", site.logs());
        site.plane.kubectl(&["delete", "clusterrolebinding", "kube-dhcp-agent"]);
        site.nodes[0].kill_agent();
        site.start_agent(1, &[]);
        until_status(&site, "cannot tell which cluster it is");
        until_status(&site, "LastGoodCopy");
        assert!(is_answered(&site, 1));
        site.plane.install().await;
        site.until("DHCPAgent", "n1", |a| a["status"]["source"] == "Cluster").await;
        assert_eq!(site.nodes[0].servers(), servers);
        let told = || (site.nodes[0].status()["node"]["problems"] == json!([])).then_some(());
        eventually("there is nothing wrong any more", LONG, told);
        a_copy_of_a_later_version_is_not_served(&mut site);
    });
}

fn a_copy_of_a_later_version_is_not_served(site: &mut Site) {
    site.nodes[0].kill_agent();
    site.plane.stop_api();
    let copy = site.nodes[0].state().join("cluster.json");
    let (before, servers) = (std::fs::read_to_string(&copy).unwrap(), site.nodes[0].servers());
    let later = before.replacen(r#""format":1"#, r#""format":2"#, 1);
    assert_ne!(later, before);
    std::fs::write(&copy, &later).unwrap();
    site.start_agent(1, &[]);
    let said = || site.logs().contains("it has format 2; this version reads format 1").then_some(());
    eventually("the copy is refused", LONG, said);
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(site.nodes[0].servers(), servers, "what runs is left as it is");
    assert_eq!(std::fs::read_to_string(copy.with_extension("json.refused")).unwrap(), later);
}

fn until_status(site: &Site, words: &str) {
    let said = || site.nodes[0].status().to_string().contains(words).then_some(());
    eventually(&format!("status says {words:?}"), LONG, said);
}
