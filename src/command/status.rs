//! `kube-dhcp status`: the agent's reports, printed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use jiff::{SpanRound, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::ended::Presence;
use super::running::running;
use super::table::Table;
use crate::api::find;
use crate::cli::{Look, StatusArgs};
use crate::dnsmasq::Layout;
use crate::durable;
use crate::foreign::Kind;
use crate::report::{self, NetworkReport, NodeReport};
use crate::source::Origin;

/// All that is known, for `-o json` and `-o yaml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(flatten)]
    agent: Presence,
    node: NodeReport,
    networks: Vec<Network>,
}

#[derive(Serialize)]
struct Network {
    #[serde(flatten)]
    report: NetworkReport,
    /// Of its dnsmasq.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

/// Prints what is served, and why the rest is not.
pub async fn status(args: StatusArgs, plugin: bool) -> Result<()> {
    let state = match (args.look.place(plugin), &args.port) {
        (Look::Cluster(kubeconfig), None) => return super::overview::overview(kubeconfig, &args).await,
        (Look::Cluster(_), Some(_)) => bail!("--port is answered on the Port's node: name its --state-dir"),
        (Look::Node(state), Some(port)) => return super::port::port(state, port, args.output),
        (Look::Node(state), None) => state,
    };
    let mut status = read(state)?;
    if let Some(namespace) = &args.namespace {
        status.only(namespace);
    }
    super::print(&super::text(args.output, &status, table)?)
}

impl Status {
    fn only(&mut self, namespace: &str) {
        self.networks.retain(|network| network.report.namespace == namespace);
        self.node.subnets.retain(|subnet| subnet.namespace == namespace);
        self.node.ports.retain(|port| port.namespace == namespace);
    }
}

fn read(state: &Path) -> Result<Status> {
    let pid = |uid| running(&Layout::new(state, uid)).map(|running| running.pid);
    let network = |report: NetworkReport| Network { pid: pid(report.uid), report };
    Ok(Status {
        agent: Presence::of(state),
        networks: reports(state)?.into_iter().map(network).collect(),
        node: node(state)?,
    })
}

/// What is reported of the node as a whole.
pub(super) fn node(state: &Path) -> Result<NodeReport> {
    Ok(durable::read(&report::node_path(state))?.unwrap_or_default())
}

/// What is reported of its networks, by name.
pub(super) fn reports(state: &Path) -> Result<Vec<NetworkReport>> {
    let reported = report::networks(state).with_context(|| {
        format!("no agent has reported in {}, or --state-dir is not the agent's", state.display())
    })?;
    let mut networks = Vec::new();
    for uid in reported {
        match durable::read::<NetworkReport>(&report::network_path(state, uid)) {
            Ok(Some(report)) => networks.push(report),
            Ok(None) => {}
            // The others are all the more worth seeing.
            Err(error) => eprintln!("kube-dhcp: {error}; the agent writes it anew when it starts"),
        }
    }
    networks.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(networks)
}

fn table(status: &Status) -> String {
    let problems = problems(&status.node);
    let objects = [
        physical_networks(&status.node),
        networks(&status.networks),
        foreign(&status.networks),
        subnets(status),
        ports(status),
    ];
    // What is said of the node alone says nothing of objects.
    let nothing = status.node.problems.is_empty() && objects.iter().all(String::is_empty);
    let nothing = match status.node.source {
        _ if !nothing => "",
        Origin::Directory => "Nothing is declared.\n",
        _ => "The controller gives this node no network to serve.\n",
    };
    let parts = std::iter::once(problems).chain(objects).chain([nothing.to_owned()]);
    status.agent.note() + &parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn problems(node: &NodeReport) -> String {
    let mut table = Table::new(&["MANIFEST", "OBJECT", "PROBLEM"]);
    for problem in &node.problems {
        table.row(vec![
            problem.place.clone(),
            problem.object.clone().unwrap_or_default(),
            problem.message.clone(),
        ]);
    }
    let mut text = table.text();
    if node.source == Origin::LastGoodCopy {
        text += "Serving from the copy of what the API server said last: it does not answer.\n";
    }
    if node.bridge_filter_active {
        text += "This node's firewall filters what its bridges forward (net.bridge.bridge-nf-call-iptables=1): it may drop DHCP between a bridge's ports.\n";
    }
    text
}

/// Only those that are not as they should be: the others show in their Networks.
fn physical_networks(node: &NodeReport) -> String {
    let mut table = Table::new(&["PHYSICAL NETWORK", "NETWORKS", "READY", "REASON", "MESSAGE"]);
    for physical in &node.physical_networks {
        let Verdict { ready, reason, message, .. } = verdict(&physical.status.conditions);
        if ready != "True" {
            let networks = physical.status.networks.unwrap_or_default().to_string();
            table.row(vec![physical.name.clone(), networks, ready, reason, message]);
        }
    }
    table.text()
}

/// Who is on a network's segment that should not be.
fn foreign(networks: &[Network]) -> String {
    let mut table = Table::new(&["NETWORK", "FOUND", "MESSAGE"]);
    for Network { report, .. } in networks {
        let found = |kind: Kind| find(&report.status.conditions, kind.condition());
        for condition in Kind::ALL.into_iter().filter_map(found) {
            let name = format!("{}/{}", report.namespace, report.name);
            table.row(vec![name, condition.type_.clone(), condition.message.clone()]);
        }
    }
    table.text()
}

fn networks(networks: &[Network]) -> String {
    let mut table = Table::new(&[
        "NETWORK",
        "READY",
        "REASON",
        "ATTACHMENT",
        "DEVICE",
        "ADDRESSES",
        "PORTS",
        "PID",
        "SINCE",
        "MESSAGE",
    ]);
    for Network { report, pid } in networks {
        let Verdict { ready, reason, message, since } = verdict(&report.status.conditions);
        let device = report.device.as_ref();
        let addresses = report.status.slots.iter().flat_map(|slot| slot.addresses.clone());
        let ports = report.status.ports.unwrap_or_default();
        table.row(vec![
            format!("{}/{}", report.namespace, report.name),
            ready,
            reason,
            device.map(|d| d.attachment.clone()).unwrap_or_default(),
            device.map(|d| d.name.clone()).unwrap_or_default(),
            addresses.collect::<Vec<_>>().join(","),
            format!("{}/{}", ports.ready, ports.total),
            pid.map(|pid| pid.to_string()).unwrap_or_default(),
            since,
            message,
        ]);
    }
    table.text()
}

fn subnets(status: &Status) -> String {
    let mut table = Table::new(&["SUBNET", "NETWORK", "GATEWAY", "USED", "READY", "REASON", "MESSAGE"]);
    let known =
        status.networks.iter().flat_map(|n| n.report.subnets.iter().map(|s| (n.report.name.as_str(), s)));
    for (network, subnet) in known.chain(status.node.subnets.iter().map(|s| ("", s))) {
        let Verdict { ready, reason, message, .. } = verdict(&subnet.status.conditions);
        let used = subnet.status.addresses.map(|a| format!("{}/{}", a.used, a.total)).unwrap_or_default();
        let gateway = subnet.status.gateway.clone().unwrap_or_default();
        let name = format!("{}/{}", subnet.namespace, subnet.name);
        table.row(vec![name, network.to_owned(), gateway, used, ready, reason, message]);
    }
    table.text()
}

fn ports(status: &Status) -> String {
    let mut table = Table::new(&["PORT", "NETWORK", "MAC", "ADDRESSES", "READY", "REASON", "MESSAGE"]);
    let known =
        status.networks.iter().flat_map(|n| n.report.ports.iter().map(|p| (n.report.name.as_str(), p)));
    for (network, port) in known.chain(status.node.ports.iter().map(|p| ("", p))) {
        let Verdict { ready, reason, message, .. } = verdict(&port.status.conditions);
        let addresses: Vec<_> = port.status.addresses.iter().map(|a| a.ip.clone()).collect();
        table.row(vec![
            format!("{}/{}", port.namespace, port.name),
            network.to_owned(),
            port.mac_address.clone().or(port.identity.as_ref().map(ToString::to_string)).unwrap_or_default(),
            addresses.join(","),
            ready,
            reason,
            message,
        ]);
    }
    table.text()
}

pub(super) struct Verdict {
    pub(super) ready: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) since: String,
}

pub(super) fn verdict(conditions: &[Condition]) -> Verdict {
    let ready = find(conditions, "Ready");
    let text = |value: fn(&Condition) -> String| ready.map(value).unwrap_or_default();
    Verdict {
        ready: text(|c| c.status.clone()),
        reason: text(|c| c.reason.clone()),
        message: text(|c| c.message.clone()),
        since: text(|c| age(Timestamp::now(), c.last_transition_time.0)),
    }
}

/// As kubectl writes ages: one or two units.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let unit = match seconds {
        0..120 => Unit::Second,
        120..7_200 => Unit::Minute,
        7_200..172_800 => Unit::Hour,
        _ => return format!("{}d", seconds / 86_400),
    };
    let span = jiff::Span::new().seconds(seconds);
    let rounded = span.round(SpanRound::new().largest(unit).smallest(unit).mode(jiff::RoundMode::Trunc));
    rounded.map_or_else(|_| format!("{seconds}s"), |span| format!("{span:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_nothing_that_is_said_whatever_else_is() {
        let of = |bridge_filter_active| {
            let node = NodeReport { bridge_filter_active, ..NodeReport::default() };
            let agent = Presence { agent_running: None, ended: None };
            table(&Status { agent, node, networks: Vec::new() })
        };
        assert_eq!(of(false), "Nothing is declared.\n");
        assert!(of(true).ends_with("ports.\n\nNothing is declared.\n"), "{}", of(true));
    }

    #[test]
    fn that_no_agent_runs_is_said_first() {
        let status = |agent_running, ended| Status {
            agent: Presence { agent_running, ended },
            node: NodeReport::default(),
            networks: Vec::new(),
        };
        let text = table(&status(Some(false), Some(Timestamp::UNIX_EPOCH)));
        let first = "No agent runs: this is what the last one said, at 1970-01-01T00:00:00Z.\n\n";
        assert_eq!(text.strip_prefix(first), Some("Nothing is declared.\n"));
        let json = serde_json::to_value(status(Some(false), None)).unwrap();
        assert_eq!(json["agentRunning"], false);
        assert!(serde_json::to_value(status(None, None)).unwrap().get("agentRunning").is_none());
    }

    #[test]
    fn ages_are_short() {
        let then = Timestamp::UNIX_EPOCH;
        let after = |seconds: i64| age(then + jiff::SignedDuration::from_secs(seconds), then);
        assert_eq!([after(5), after(300), after(90_000), after(999_999)], ["5s", "5m", "25h", "11d"]);
    }
}
