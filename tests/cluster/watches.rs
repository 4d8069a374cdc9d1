//! What agents cost the API server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::control_plane::Metrics;
use crate::inside::inside;
use crate::serve::{NETWORK, port};
use crate::site::{LONG, Site};

const KINDS: [&str; 4] = ["dhcpservers", "networks", "subnets", "ports"];

#[test]
fn an_agent_watches_what_its_servers_need_and_no_more() {
    inside("watches::an_agent_watches_what_its_servers_need_and_no_more", async {
        let mut site = Site::new(1).await;
        others_watch(&site).await;
        let none = watches(&site).await;
        give(&site, (0..100).map(|n| ("default".to_owned(), n)).collect()).await;
        let before = requests(&site).await;
        site.start_agent(1, &[]);
        until_watches(&site, &none, [1, 1, 1, 1]).await;
        println!("one namespace: {:?}", asked(&site, &before).await);
        let namespaces: Vec<_> = (0..100).map(|n| format!("team-{n}")).collect();
        join_all(namespaces.iter().map(|name| site.plane.namespace(name, &[]))).await;
        let before = requests(&site).await;
        give(&site, namespaces.iter().map(|name| (name.clone(), 100)).collect()).await;
        until_watches(&site, &none, [1, 101, 101, 101]).await;
        println!("and 100 of their own: {:?}", asked(&site, &before).await);
        a_start_is_no_storm(&mut site, &none, &namespaces).await;
    });
}

/// Each watch lists and follows by the same request.
async fn a_start_is_no_storm(site: &mut Site, none: &BTreeMap<&'static str, i64>, namespaces: &[String]) {
    let four_more = |name: &String| (101..105).map(|n| (name.clone(), n)).collect::<Vec<_>>();
    give(site, namespaces.iter().flat_map(four_more).collect()).await;
    until_watches(site, none, [1, 101, 101, 501]).await;
    site.nodes[0].kill_agent();
    until_watches(site, none, [0, 0, 0, 0]).await;
    let (before, began) = (requests(site).await, Instant::now());
    site.start_agent(1, &[]);
    until_watches(site, none, [1, 101, 101, 501]).await;
    println!("a start with 600 networks: {:?}", began.elapsed());
    let asked = asked(site, &before).await;
    println!("it asked for {asked:?}");
    for kind in KINDS {
        let of = |verb: &str| asked.get(&format!("{verb} {kind}")).copied().unwrap_or_default();
        assert_eq!((of("LIST"), of("WATCH"), of("GET")), (0, 0, 0), "{kind}: lists, and watches that ended");
    }
}

#[test]
fn where_nothing_changes_nothing_is_written() {
    inside("watches::where_nothing_changes_nothing_is_written", async {
        let mut site = Site::new(2).await;
        site.apply(crate::site::LAN).await;
        site.start_controller(&[]);
        site.start_agent(1, &["--resync-seconds=1"]);
        site.start_agent(2, &["--resync-seconds=1"]);
        site.apply(NETWORK).await;
        site.apply_object(&port(2)).await;
        for name in ["p1", "p2"] {
            site.until_ready("Port", name).await;
        }
        let both = |network: &Value| network.pointer("/status/servers/ready") == Some(&json!(2));
        site.until("Network", "a", both).await;
        let before = quiet(&site).await;
        let servers: Vec<_> = site.nodes.iter().map(crate::site::Node::servers).collect();
        let children: Vec<_> = site.nodes.iter().map(children_faults).collect();
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(writes(&site).await, before, "{}", site.logs());
        assert_eq!(site.nodes.iter().map(crate::site::Node::servers).collect::<Vec<_>>(), servers);
        assert_eq!(site.nodes.iter().map(children_faults).collect::<Vec<_>>(), children, "a process was run");
    });
}

/// Page faults of all children that the agent has waited for: a process that is run has some.
fn children_faults(node: &crate::site::Node) -> String {
    let agent = node.lab.pids_of("kube-dhcp")[0];
    let stat = node.lab.run(&format!("cat /proc/{agent}/stat"));
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[8].to_owned()
}

/// Waits until nothing was written for a while: longer than the controller gathers changes of numbers (5 s).
pub async fn quiet(site: &Site) -> BTreeMap<String, i64> {
    let deadline = Instant::now() + LONG;
    let mut before = writes(site).await;
    loop {
        tokio::time::sleep(Duration::from_secs(8)).await;
        let now = writes(site).await;
        if now == before {
            return now;
        }
        assert!(Instant::now() < deadline, "{before:?} {now:?}");
        before = now;
    }
}

/// Writes of all but Leases so far.
async fn writes(site: &Site) -> BTreeMap<String, i64> {
    let mut writes = requests(site).await;
    let metrics = site.plane.metrics().await;
    for verb in ["POST", "PUT", "PATCH", "APPLY"] {
        let events = metrics.sum("apiserver_request_total", &[("verb", verb), ("resource", "events")]);
        writes.insert(format!("{verb} events"), number(events));
    }
    writes.retain(|what, _| {
        let verb = what.split(' ').next().unwrap_or_default();
        ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb) && !what.contains("leases")
    });
    writes
}

/// Requests that ended, by verb and resource.
async fn requests(site: &Site) -> BTreeMap<String, i64> {
    sums(&site.plane.metrics().await)
}

async fn asked(site: &Site, before: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let mut now = requests(site).await;
    for (what, n) in &mut now {
        *n -= before.get(what).copied().unwrap_or_default();
    }
    now.retain(|what, n| *n != 0 && KINDS.iter().any(|kind| what.contains(kind)));
    now
}

fn sums(metrics: &Metrics) -> BTreeMap<String, i64> {
    metrics.all_requests().into_iter().map(|(what, n)| (what, number(n))).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "counters")]
fn number(n: f64) -> i64 {
    n.round() as i64
}

/// Watches that are open, by resource: of our own kinds, those of namespaces but for `DHCPServer`s'.
async fn watches(site: &Site) -> BTreeMap<&'static str, i64> {
    let metrics = site.plane.metrics().await;
    let open = |kind: &'static str| {
        let scope = if kind == "dhcpservers" { "cluster" } else { "namespace" };
        let labels = [("verb", "WATCH"), ("group", "kube-dhcp.io"), ("resource", kind), ("scope", scope)];
        (kind, number(metrics.sum("apiserver_longrunning_requests", &labels)))
    };
    KINDS.into_iter().map(open).collect()
}

/// Waits until the control plane's own watches are open.
async fn others_watch(site: &Site) {
    let watched = async || match watches(site).await["dhcpservers"] {
        0 => Err("the garbage collector does not watch".to_owned()),
        _ => Ok(()),
    };
    site.eventually(LONG * 2, watched).await;
}

async fn until_watches(site: &Site, none: &BTreeMap<&'static str, i64>, wanted: [i64; 4]) {
    let deadline = Instant::now() + LONG;
    let mut same = 0;
    loop {
        let now = watches(site).await;
        let ours = KINDS.map(|kind| now[kind] - none[kind]);
        same = if ours == wanted { same + 1 } else { 0 };
        // Nor one more a moment later.
        if same == 5 {
            return;
        }
        assert!(Instant::now() < deadline, "{ours:?} instead of {wanted:?}\n{}", site.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Networks without subnets, each given to n1: by namespace and number.
async fn give(site: &Site, networks: Vec<(String, usize)>) {
    for some in networks.chunks(16) {
        join_all(some.iter().map(|(namespace, n)| give_one(site, namespace, *n))).await;
    }
}

async fn give_one(site: &Site, namespace: &str, n: usize) {
    let name = format!("x{n}");
    let network = json!({
        "metadata": {"name": name},
        "spec": {"physicalNetworkRef": {"name": "lan"}},
    });
    let uid = apply(site, "Network", namespace, network).await.uid().unwrap();
    let server = json!({
        "metadata": {"name": format!("{name}.n1")},
        "spec": {"networkRef": {"name": name, "uid": uid}, "nodeName": "n1", "slot": 0, "state": "Active",
            "addresses": []},
    });
    apply(site, "DHCPServer", namespace, server).await;
}

async fn apply(site: &Site, kind: &str, namespace: &str, mut object: Value) -> DynamicObject {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kube-dhcp.io", "v1alpha1", kind));
    object["apiVersion"] = resource.api_version.clone().into();
    object["kind"] = kind.into();
    let api: Api<DynamicObject> = Api::namespaced_with(site.client(), namespace, &resource);
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap()
}
