//! `kube-dhcp plan`: what a pass of the agent would do now.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Serialize;

use super::table::Table;
use crate::cli::{Output, PlanArgs};
use crate::desired::{Desired, NodeConfig, desired};
use crate::durable;
use crate::host::{Host, LinuxHost};
use crate::node::Segment;
use crate::plan::{plan as plan_of, why};
use crate::report::{self, NetworkReport};
use crate::source;
use crate::source::directory::Directory;
use crate::store::Store;
use crate::types::{NetworkUid, ObjectName};

/// One step.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    network: String,
    kind: &'static str,
    action: String,
    why: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    actions: Vec<Step>,
    /// What is not served, and why.
    problems: Vec<Trouble>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trouble {
    object: String,
    reason: &'static str,
    message: String,
}

/// Prints what the agent would do, and why it would not do more.
pub async fn plan(args: PlanArgs) -> Result<()> {
    let mut node = args.node.config()?;
    let host = LinuxHost::look(&node.state)?.attaching(&args.node.attaching());
    node.state = host.state_dir().to_owned();
    let batch = Directory::read_once(&args.manifests, &node.state)?;
    let mut planned = Planned { actions: Vec::new(), problems: Vec::new() };
    planned.problems.extend(batch.problems.iter().map(mistake));
    let segments: Vec<_> = durable::read(&crate::agent::segments_path(&node.state))?.unwrap_or_default();
    let mut store = Store::with_segments(segments.into_iter().collect());
    store.apply(batch.events);
    let mut seen = BTreeSet::new();
    for name in store.networks() {
        seen.extend(planned.network(&host, &node, &store, name).await?);
    }
    // What else there is may be of what cannot be read.
    let there = if batch.partial { BTreeSet::new() } else { host.networks().await? };
    for uid in there.difference(&seen) {
        planned.mend(&host, *uid, &uid.to_string(), Desired::default()).await?;
    }
    print(&planned, args.output)
}

fn mistake(problem: &source::Problem) -> Trouble {
    Trouble { object: problem.file.clone(), reason: "InvalidManifest", message: problem.to_string() }
}

impl Planned {
    async fn network(
        &mut self,
        host: &LinuxHost,
        node: &NodeConfig,
        store: &Store,
        name: &ObjectName,
    ) -> Result<Option<NetworkUid>> {
        let Some(inputs) = store.inputs(name) else { return Ok(None) };
        let uid: NetworkUid = inputs.network.metadata.uid.as_deref().unwrap_or_default().parse()?;
        let mut ledger = crate::agent::read_ledger(&node.state, uid)?.unwrap_or_default();
        let mut desired = desired(node, uid, &inputs, &mut ledger);
        let report: Option<NetworkReport> = durable::read(&report::network_path(&node.state, uid))?;
        if let (Some(segment), Some(report)) = (&mut desired.segment, report) {
            segment.welcome(&report.newcomers);
        }
        self.troubles(name, &desired);
        self.mend(host, uid, &name.to_string(), desired).await?;
        Ok(Some(uid))
    }

    async fn mend(
        &mut self,
        host: &LinuxHost,
        uid: NetworkUid,
        label: &str,
        mut desired: Desired,
    ) -> Result<()> {
        let wanted = desired.segment.as_ref().and_then(Segment::attached);
        let observed = host.observe(uid, wanted).await;
        let observed = observed.with_context(|| format!("network {label}"))?;
        desired.share_out(&observed);
        let actions = plan_of(desired.segment.as_ref(), &observed, true).actions;
        self.actions.extend(actions.iter().map(|action| Step {
            network: label.to_owned(),
            kind: action.kind(),
            action: action.to_string(),
            why: why(desired.segment.as_ref(), &observed, action),
        }));
        Ok(())
    }

    fn troubles(&mut self, name: &ObjectName, desired: &Desired) {
        let of = |object: String, problem: &crate::reason::Problem| Trouble {
            object,
            reason: problem.reason.as_str(),
            message: problem.message.clone(),
        };
        let namespace = &name.namespace;
        self.problems.extend(desired.problem.as_ref().map(|problem| of(format!("Network {name}"), problem)));
        for (name, view) in &desired.subnets {
            self.problems.extend(view.problem.as_ref().map(|p| of(format!("Subnet {namespace}/{name}"), p)));
        }
        for (name, view) in &desired.ports {
            let problem = view.problem.as_ref().or(view.unallocated.as_ref()).or(view.unserved.as_ref());
            self.problems.extend(problem.map(|p| of(format!("Port {namespace}/{name}"), p)));
        }
    }
}

fn print(planned: &Planned, output: Output) -> Result<()> {
    super::print(&super::text(output, planned, table)?)
}

fn table(planned: &Planned) -> String {
    let mut steps = Table::new(&["NETWORK", "ACTION", "WHY"]);
    for step in &planned.actions {
        steps.row(vec![step.network.clone(), step.action.clone(), step.why.clone()]);
    }
    let mut troubles = Table::new(&["NOT SERVED", "REASON", "MESSAGE"]);
    for trouble in &planned.problems {
        troubles.row(vec![trouble.object.clone(), trouble.reason.to_owned(), trouble.message.clone()]);
    }
    let nothing = if planned.actions.is_empty() { "Nothing to do.\n" } else { "" };
    let gap = if planned.problems.is_empty() { "" } else { "\n" };
    format!("{}{nothing}{gap}{}", steps.text(), troubles.text())
}
