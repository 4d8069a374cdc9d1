//! `kube-dhcp drain` and `kube-dhcp uncordon`: emptying a node of its servers, and taking that back.
//!
//! It only says what is wanted, in the node's `DHCPAgent`, and looks on: the controller moves.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::api::{ListParams, Patch};
use kube::{Api, Client, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api::{Conditioned, DHCPAgent, DHCPServer, ServerState};
use crate::cli::{DrainArgs, Output, UncordonArgs};
use crate::cluster::client::client;
use crate::cluster::write::{self, describe, limited, params};

/// Who wants it: nobody else's wishes are touched.
const MANAGER: &str = "kube-dhcp-drain";
const LOOK: Duration = Duration::from_millis(500);
/// What is waited for is said this often.
const EXPLAIN: Duration = Duration::from_secs(10);
/// Networks of which that is said at a time.
const EXPLAINED: usize = 20;

/// How a drain ended, for `-o json` and `-o yaml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DrainEnd {
    node: String,
    drained: bool,
    /// `None`: nobody could be asked.
    servers_left: Option<usize>,
}

impl DrainEnd {
    /// For people. What is not as it was wanted is an error, and said as one.
    fn text(&self) -> String {
        if self.drained { format!("node {} is drained\n", self.node) } else { String::new() }
    }
}

/// What became of the wish to take it back, likewise.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UncordonEnd {
    node: String,
    drain: bool,
    /// Who else wants it, as `metadata.managedFields` calls them.
    drained_by: Vec<String>,
}

impl UncordonEnd {
    /// See [`DrainEnd::text`].
    fn text(&self) -> String {
        if self.drain { String::new() } else { format!("node {} takes servers again\n", self.node) }
    }
}

/// Sets `drain` and waits until nothing of the node is left.
pub async fn drain(args: DrainArgs) -> Result<()> {
    let client = client(args.kubeconfig.as_deref()).await?;
    let agent = set(&client, &args.node, &json!({"drain": true})).await?;
    let generation = agent.metadata.generation.unwrap_or(0);
    let mut drain = Drain { client, node: args.node, generation, left: None, output: args.output };
    let timeout = (args.timeout > 0).then(|| Duration::from_secs(args.timeout));
    let drained = drain.watch(timeout).await?;
    let Drain { node, left, .. } = drain;
    let end = DrainEnd { node, drained, servers_left: left };
    let printed = super::print(&super::text(args.output, &end, DrainEnd::text)?);
    if !drained {
        let left = left.map_or_else(String::new, |left| format!(", {left} servers are left"));
        bail!("node {} is not drained yet{left}; it goes on until `uncordon`", end.node);
    }
    printed
}

/// Takes `drain` back.
pub async fn uncordon(args: UncordonArgs) -> Result<()> {
    let client = client(args.kubeconfig.as_deref()).await?;
    let agent = set(&client, &args.node, &json!({})).await?;
    let drain = agent.spec.drain;
    let drained_by = if drain { managers(&agent) } else { Vec::new() };
    let end = UncordonEnd { node: args.node, drain, drained_by };
    let printed = super::print(&super::text(args.output, &end, UncordonEnd::text)?);
    if drain {
        let others = end.drained_by.join(", ");
        bail!("node {} is drained by the wish of {others}: take `spec.drain` away there", end.node);
    }
    printed
}

/// Who else wants it to be drained.
fn managers(agent: &DHCPAgent) -> Vec<String> {
    let wants = |fields: &Value| fields.pointer("/f:spec/f:drain").is_some();
    let entries = agent.metadata.managed_fields.iter().flatten();
    let wanting = entries.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| wants(&fields.0)));
    wanting.filter_map(|entry| entry.manager.clone()).collect()
}

/// Applies our part of the agent's spec; an agent that is not there is not made.
async fn set(client: &Client, node: &str, spec: &Value) -> Result<DHCPAgent> {
    let agents: Api<DHCPAgent> = Api::all(client.clone());
    let found = limited(agents.get_opt(node)).await.map_err(|e| said(&e))?;
    let agent = found.with_context(|| format!("there is no agent on a node {node}"))?;
    let object = json!({
        "apiVersion": crate::api::API_VERSION, "kind": "DHCPAgent",
        "metadata": {"name": node, "uid": agent.metadata.uid}, "spec": spec,
    });
    limited(agents.patch(node, &params(MANAGER), &Patch::Apply(&object))).await.map_err(|e| said(&e))
}

fn said(error: &write::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", describe(error))
}

struct Drain {
    client: Client,
    node: String,
    /// The agent's, since it is to be drained.
    generation: i64,
    /// How many servers were left when that was said last.
    left: Option<usize>,
    output: Output,
}

impl Drain {
    /// Whether the node was empty before the time was over.
    async fn watch(&mut self, timeout: Option<Duration>) -> Result<bool> {
        let began = Instant::now();
        let mut explain = began + EXPLAIN;
        loop {
            let late = timeout.is_some_and(|timeout| began.elapsed() >= timeout);
            match self.look().await {
                Ok((seen, left)) => {
                    self.count(left.len())?;
                    if left.is_empty() && seen {
                        return Ok(true);
                    }
                    if late || Instant::now() >= explain {
                        explain = Instant::now() + EXPLAIN;
                        self.say(&self.explain(seen, &left).await)?;
                    }
                }
                // It may be back before the time is over.
                Err(e) => self.say(&format!("{}; trying again\n", describe(&e)))?,
            }
            if late {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
    }

    fn count(&mut self, left: usize) -> Result<()> {
        if self.left.replace(left) == Some(left) {
            return Ok(());
        }
        self.say(&format!("{left} servers left on node {}\n", self.node))
    }

    /// How far it is: where the output is for programs it is not part of that.
    fn say(&self, text: &str) -> Result<()> {
        if self.output == Output::Table {
            return super::print(text);
        }
        // Nobody has to listen.
        let _ = std::io::stderr().write_all(text.as_bytes());
        Ok(())
    }

    /// Whether the controller knows, and the servers that are left.
    async fn look(&self) -> Result<(bool, Vec<DHCPServer>), write::Error> {
        let agents: Api<DHCPAgent> = Api::all(self.client.clone());
        let agent = limited(agents.get_opt(&self.node)).await?;
        // In this order: a controller that knows makes no new ones.
        let seen = agent.and_then(|agent| agent.status);
        let seen = seen.is_none_or(|status| status.observed_generation >= self.generation);
        let servers: Api<DHCPServer> = Api::all(self.client.clone());
        let here = ListParams::default().fields(&format!("spec.nodeName={}", self.node));
        Ok((seen, limited(servers.list(&here)).await?.items))
    }

    /// What each network waits for.
    async fn explain(&self, seen: bool, left: &[DHCPServer]) -> String {
        let mut text = String::new();
        if !seen {
            text += "the controller has not looked at the node yet: does it run?\n";
        }
        for server in left.iter().take(EXPLAINED) {
            let (namespace, network) =
                (server.namespace().unwrap_or_default(), &server.spec.network_ref.name);
            let servers: Api<DHCPServer> = Api::namespaced(self.client.clone(), &namespace);
            let of_network = ListParams::default().labels(&format!("kube-dhcp.io/network={network}"));
            let others = limited(servers.list(&of_network)).await.map(|list| list.items).unwrap_or_default();
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  {namespace}/{network}: {}", obstacle(server, &others));
        }
        if left.len() > EXPLAINED {
            let _ = writeln!(text, "  and {} more", left.len() - EXPLAINED);
        }
        text
    }
}

/// Why a server is still there.
fn obstacle(server: &DHCPServer, all: &[DHCPServer]) -> String {
    if server.spec.state == ServerState::Withdrawn {
        return "it is to be taken down by the node's agent".to_owned();
    }
    let other = |other: &&DHCPServer| {
        other.spec.state == ServerState::Active && other.spec.node_name != server.spec.node_name
    };
    let waits = all.iter().filter(other).find_map(|other| {
        let ready = other.condition("Ready");
        let message = ready.map_or("nothing is known of it yet", |ready| ready.message.as_str());
        let is_ready = ready.is_some_and(|ready| ready.status == "True");
        (!is_ready).then(|| format!("it waits for the server on node {}: {message}", other.spec.node_name))
    });
    waits.unwrap_or_else(|| "no other node can take it; it is served on".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_server(node: &str, state: &str, ready: Option<(&str, &str)>) -> DHCPServer {
        let conditions: Vec<_> = (ready.iter())
            .map(|(status, message)| {
                json!({"type": "Ready", "status": status, "reason": "X", "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": crate::api::API_VERSION, "kind": "DHCPServer",
            "metadata": {"name": format!("a.{node}"), "namespace": "default"},
            "spec": {"networkRef": {"name": "a", "uid": "u"}, "nodeName": node, "slot": 0, "state": state,
                "addresses": []},
            "status": {"observedGeneration": 1, "conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn what_a_server_waits_for_is_said() {
        let here = mk_server("n1", "Active", Some(("True", "")));
        let ready = mk_server("n2", "Active", Some(("True", "")));
        let starting = mk_server("n3", "Active", Some(("False", "it starts")));
        let all = [here.clone(), ready.clone(), starting];
        assert_eq!(obstacle(&here, &all), "it waits for the server on node n3: it starts");
        assert!(obstacle(&here, &[here.clone(), ready]).starts_with("no other node"));
        let withdrawn = mk_server("n1", "Withdrawn", None);
        assert!(obstacle(&withdrawn, &all).contains("taken down"));
    }
}
