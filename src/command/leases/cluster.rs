//! The leases of a cluster's networks: each node that serves one is asked in its agent's pod.
//!
//! In it runs `kube-dhcp leases`, as `kubectl exec` would run it: the asker's own rights decide, agents need
//! none for it, and nothing listens on the node. A node is believed in what it serves only: which networks
//! those are, and their names, the cluster says.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::lease::{Found, Lease, Missing};
use crate::api::DHCPServer;
use crate::cli::LeasesArgs;
use crate::cluster::client::client;
use crate::cluster::exec::{self, Container, Error, Said};
use crate::cluster::write::{self, describe, limited};
use crate::command::read::within;
use crate::plain::{cut, plain};
use crate::types::NetworkUid;

/// Agents' pods, as in `deploy/`.
const PODS: &str = "app.kubernetes.io/part-of=kube-dhcp,app.kubernetes.io/component=agent";
const CONTAINER: &str = "agent";
const PROGRAM: &str = "kube-dhcp";
/// Nodes that are asked at a time: each costs the API server and us a connection.
const AT_ONCE: usize = 16;
/// A thousand networks with a hundred leases each take 50 MB.
const MOST: u64 = 64 << 20;
/// Of a message.
const LONGEST: usize = 400;
/// It has printed what it has, and that is not all.
const INCOMPLETE: i32 = super::INCOMPLETE as i32;

/// The networks of a node: namespace and name.
type Networks = BTreeMap<NetworkUid, (String, String)>;

/// A node that is to be asked.
#[derive(Debug, PartialEq)]
struct Node {
    name: String,
    networks: Networks,
    /// Where; unset where no agent's pod runs.
    container: Option<Container>,
}

/// Asks all nodes that serve what is asked for; those that do not answer are among the missing.
pub(super) async fn read(kubeconfig: Option<&Path>, args: &LeasesArgs) -> Result<Found> {
    let client = client(kubeconfig).await?;
    let servers = servers(&client, args).await.map_err(|e| anyhow::anyhow!("{}", describe(&e)))?;
    let filtered = args.namespace.is_some() || args.network.is_some() || args.node.is_some();
    ensure!(!(filtered && servers.is_empty()), "no DHCPServer of that: nobody serves it, or it is misspelt");
    let pods: Api<Pod> = Api::namespaced(client.clone(), args.system_namespace());
    let pods = limited(pods.list(&ListParams::default().labels(PODS))).await;
    let pods = pods.map_err(|e| anyhow::anyhow!("{}", allowed(&e, args.system_namespace())))?.items;
    let command = command(args);
    let nodes = nodes(&servers, &pods);
    let ask = |node: Node| ask(&client, node, &command, args);
    let answers: Vec<Found> = stream::iter(nodes).map(ask).buffer_unordered(AT_ONCE).collect().await;
    let mut all = Found::default();
    for Found { leases, missing, .. } in answers {
        all.leases.extend(leases);
        all.missing.extend(missing);
    }
    Ok(all)
}

async fn servers(client: &Client, args: &LeasesArgs) -> Result<Vec<DHCPServer>, write::Error> {
    let servers: Api<DHCPServer> = within(client, args.namespace.as_deref());
    let is = |field: &str, name: &Option<String>| name.as_ref().map(|name| format!("{field}={name}"));
    let fields = [is("spec.networkRef.name", &args.network), is("spec.nodeName", &args.node)];
    let fields = fields.into_iter().flatten().collect::<Vec<_>>().join(",");
    Ok(limited(servers.list(&ListParams::default().fields(&fields))).await?.items)
}

/// Whom to ask about what.
fn nodes(servers: &[DHCPServer], pods: &[Pod]) -> Vec<Node> {
    let mut all: BTreeMap<&str, Networks> = BTreeMap::new();
    for server in servers {
        let name = (server.namespace().unwrap_or_default(), server.spec.network_ref.name.clone());
        // One that is none is of no network of any agent.
        let Ok(uid) = server.spec.network_ref.uid.parse() else { continue };
        all.entry(&server.spec.node_name).or_default().insert(uid, name);
    }
    let node = |(name, networks): (&str, Networks)| {
        let here = pods.iter().filter(|pod| runs_on(pod, name));
        let newest = here.max_by_key(|pod| pod.metadata.creation_timestamp.clone());
        Node { name: name.to_owned(), networks, container: newest.map(container) }
    };
    all.into_iter().map(node).collect()
}

fn runs_on(pod: &Pod, node: &str) -> bool {
    let is_there = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    is_there && phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

fn container(pod: &Pod) -> Container {
    Container {
        namespace: pod.namespace().unwrap_or_default(),
        pod: pod.name_any(),
        name: CONTAINER.to_owned(),
    }
}

/// What runs there. It leaves out what nobody asked for, so that it need not be sent.
fn command(args: &LeasesArgs) -> Vec<String> {
    let flag = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("--{name}={value}"));
    let state = args.look.state_dir.as_ref().map(|state| state.display().to_string());
    let all = [
        Some(PROGRAM.to_owned()),
        Some("leases".to_owned()),
        Some("--output=json".to_owned()),
        flag("namespace", &args.namespace),
        flag("network", &args.network),
        flag("port", &args.port),
        flag("state-dir", &state),
    ];
    all.into_iter().flatten().collect()
}

async fn ask(client: &Client, node: Node, command: &[String], args: &LeasesArgs) -> Found {
    let Some(container) = &node.container else {
        return lost(&node, "no pod of an agent runs there; `kube-dhcp leases` on the node tells");
    };
    match exec::run(client, container, command, MOST, args.patience()).await {
        Ok(said) => heard(&node, &said),
        Err(Error::Refused(e)) => lost(&node, &allowed(&e.into(), args.system_namespace())),
        Err(error) => lost(&node, &format!("{:#}", anyhow::Error::new(error))),
    }
}

fn lost(node: &Node, message: &str) -> Found {
    let missing = Missing { node: node.name.clone(), network_uid: None, message: words(message) };
    Found { missing: vec![missing], ..Found::default() }
}

/// What a node may say: of the networks that it serves.
fn heard(node: &Node, said: &Said) -> Found {
    let ended = said.code.is_some_and(|code| code == 0 || code == INCOMPLETE);
    let told = match serde_json::from_slice::<Found>(&said.stdout) {
        Ok(told) if ended => told,
        Err(e) if ended => return lost(node, &format!("it tells no leases: {e}")),
        _ => return lost(node, &failure(said)),
    };
    let own = |mut lease: Lease| {
        let (namespace, network) = node.networks.get(&lease.network_uid)?.clone();
        (lease.node, lease.namespace, lease.network) = (node.name.clone(), namespace, network);
        Some(lease)
    };
    let missing = |missing: Missing| {
        let uid = missing.network_uid.filter(|uid| node.networks.contains_key(uid))?;
        let message = words(&missing.message);
        Some((uid, Missing { node: node.name.clone(), network_uid: Some(uid), message }))
    };
    // No more of them than it has networks.
    let missing: BTreeMap<_, _> = told.missing.into_iter().filter_map(missing).collect();
    let leases = told.leases.into_iter().filter_map(own).collect();
    Found { leases, missing: missing.into_values().collect(), ..Found::default() }
}

fn failure(said: &Said) -> String {
    let last = said.stderr.lines().rfind(|line| !line.trim().is_empty());
    let code =
        said.code.map_or_else(|| "it was ended".to_owned(), |code| format!("it ended with code {code}"));
    last.map_or_else(|| code.clone(), |last| format!("{code}: {last}"))
}

fn words(text: &str) -> String {
    plain(cut(text, LONGEST)).into_owned()
}

/// Why the API server refused, and who could allow it.
fn allowed(error: &write::Error, namespace: &str) -> String {
    match error {
        write::Error::Api(kube::Error::Api(status)) if status.code == 403 => {
            format!("{}; the Role leases in {namespace} allows it", status.message)
        }
        error => describe(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const UID: &str = "3f0c9a1b-0000-4000-8000-000000000001";
    const OTHER: &str = "3f0c9a1b-0000-4000-8000-000000000002";

    fn mk_server(node: &str) -> DHCPServer {
        serde_json::from_value(json!({
            "apiVersion": crate::api::API_VERSION, "kind": "DHCPServer",
            "metadata": {"name": format!("lan.{node}"), "namespace": "team-a"},
            "spec": {"networkRef": {"name": "lan", "uid": UID}, "nodeName": node, "slot": 0},
        }))
        .unwrap()
    }

    fn mk_pod(name: &str, node: &str, phase: &str, made: u8) -> Pod {
        let pod = json!({
            "metadata": {"name": name, "namespace": "system", "creationTimestamp": format!("2026-01-01T00:00:{made:02}Z")},
            "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn mk_node() -> Node {
        nodes(&[mk_server("n1")], &[mk_pod("a", "n1", "Running", 0)]).remove(0)
    }

    fn mk_said(code: i32, stdout: &Value) -> Said {
        Said { stdout: stdout.to_string().into_bytes(), stderr: String::new(), code: Some(code) }
    }

    fn mk_lease(uid: &str, ip: &str) -> Value {
        json!({"namespace": "kube-system", "network": "x", "networkUID": uid, "ip": ip, "family": "IPv4",
            "heldByOther": false, "expires": "never", "fromLaterVersion": 1})
    }

    #[test]
    fn the_newest_pod_that_runs_is_asked() {
        let pods = [
            mk_pod("old", "n1", "Running", 1),
            mk_pod("new", "n1", "Running", 2),
            mk_pod("ended", "n1", "Failed", 3),
            mk_pod("other", "n3", "Running", 4),
        ];
        let found = nodes(&[mk_server("n2"), mk_server("n1")], &pods);
        let pods: Vec<_> =
            found.iter().map(|node| node.container.as_ref().map(|at| at.pod.as_str())).collect();
        assert_eq!((found[0].name.as_str(), found[1].name.as_str()), ("n1", "n2"));
        assert_eq!(pods, [Some("new"), None]);
    }

    #[test]
    fn a_node_tells_of_what_it_serves_and_nothing_else() {
        let told = json!({"node": "n9", "leases": [mk_lease(UID, "10.0.0.5"), mk_lease(OTHER, "10.0.0.6")],
            "missing": [{"networkUID": UID, "message": "a\x1b[2J"}, {"networkUID": OTHER, "message": "b"}]});
        let all = heard(&mk_node(), &mk_said(INCOMPLETE, &told));
        let [lease] = &all.leases[..] else { panic!("{all:?}") };
        let names = (lease.node.as_str(), lease.namespace.as_str(), lease.network.as_str());
        assert_eq!(names, ("n1", "team-a", "lan"));
        let [missing] = &all.missing[..] else { panic!("{all:?}") };
        assert_eq!((missing.node.as_str(), missing.message.as_str()), ("n1", "a\\u{1b}[2J"));
    }

    #[test]
    fn one_that_tells_nothing_is_missing_and_says_why() {
        let why = |said: Said| heard(&mk_node(), &said).missing.remove(0).message;
        let said = |code, stderr: &str| Said { stdout: Vec::new(), stderr: stderr.into(), code };
        assert_eq!(why(said(Some(1), "x\nno state\n\n")), "it ended with code 1: no state");
        assert_eq!(why(said(None, "")), "it was ended");
        assert!(why(said(Some(0), "")).starts_with("it tells no leases: EOF"));
        let lease = mk_said(0, &json!({"leases": [mk_lease(UID, "no address")]}));
        assert!(why(lease).contains("invalid IP address"), "nothing of it is believed");
    }

    #[test]
    fn what_was_not_asked_for_need_not_be_sent() {
        use clap::Parser;
        let line = ["kube-dhcp", "leases", "--cluster", "-n", "team-a", "--port=--x", "--node", "n1"];
        let crate::cli::Command::Leases(args) = crate::cli::Cli::parse_from(line).command else { panic!() };
        assert_eq!(
            command(&args),
            ["kube-dhcp", "leases", "--output=json", "--namespace=team-a", "--port=--x"]
        );
    }
}
