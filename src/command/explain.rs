//! `kube-dhcp explain`: reads what there is to be read, and prints the steps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use clap::builder::styling::{AnsiColor, Style};
use futures::future::join_all;
use kube::api::ListParams;
use kube::{Api, Client};

use super::ended::Presence;
use super::read::{listed, within};
use super::running::running;
use super::table::Table;
use crate::api::{DHCPAgent, DHCPServer, Network, PhysicalNetwork, Port, Subnet};
use crate::cli::{ExplainArgs, Explained, Look, PortArgs};
use crate::cluster::client::client;
use crate::cluster::write::{Error, describe, limited};
use crate::dnsmasq::Layout;
use crate::explain::{Explanation, Found, Scene, Step, Verdict, explain_local};
use crate::report::NetworkReport;
use crate::types::ObjectName;

/// Prints the steps; whether all of them are right.
pub async fn explain(args: ExplainArgs, plugin: bool) -> Result<bool> {
    let Explained::Port(args) = args.what;
    let explanation = match args.look.place(plugin) {
        Look::Node(state) => of_node(state, &args)?,
        Look::Cluster(kubeconfig) => of_cluster(kubeconfig, &args).await?,
    };
    super::print(&super::text(args.output, &explanation, table)?)?;
    Ok(explanation.first_wrong().is_none())
}

fn of_node(state: &Path, args: &PortArgs) -> Result<Explanation> {
    let node = super::status::node(state)?;
    let networks = super::status::reports(state)?;
    let name = ObjectName::new(args.namespace.as_deref().unwrap_or("default"), &args.name);
    let runs = |network: &NetworkReport| running(&Layout::new(state, network.uid)).map(|running| running.pid);
    Ok(explain_local(&name, &node, &networks, runs, Presence::of(state).ended))
}

async fn of_cluster(kubeconfig: Option<&Path>, args: &PortArgs) -> Result<Explanation> {
    let client = client(kubeconfig).await?;
    let namespace = args.namespace.as_deref().unwrap_or(client.default_namespace());
    let name = ObjectName::new(namespace, &args.name);
    Ok(scene(&client, name).await?.explain())
}

/// Reads all that has to do with a Port. What a user may not read is left unknown; a list of the Port's
/// own namespace that fails is an error.
async fn scene(client: &Client, name: ObjectName) -> Result<Scene> {
    let port = found(limited(within::<Port>(client, Some(&name.namespace)).get_opt(&name.name)).await);
    let mut scene = Scene {
        port,
        network: Found::Missing,
        physical: Found::Missing,
        subnets: Vec::new(),
        servers: Vec::new(),
        agents: BTreeMap::new(),
        name,
    };
    let Found::Known(port) = &scene.port else { return Ok(scene) };
    let namespace = &scene.name.namespace;
    let network = port.spec.network_ref.name.clone();
    scene.network = found(limited(within::<Network>(client, Some(namespace)).get_opt(&network)).await);
    if let Found::Known(network) = &scene.network {
        let physical = &network.spec.physical_network_ref.name;
        scene.physical = found(limited(Api::<PhysicalNetwork>::all(client.clone()).get_opt(physical)).await);
    }
    let subnets = ListParams::default().fields(&format!("spec.networkRef.name={network}"));
    scene.subnets = listed::<Subnet>(&within(client, Some(namespace)), &subnets).await?;
    let servers = ListParams::default().labels(&format!("kube-dhcp.io/network={network}"));
    scene.servers = listed::<DHCPServer>(&within(client, Some(namespace)), &servers).await?;
    let agents: Api<DHCPAgent> = Api::all(client.clone());
    let agent = async |node: String| {
        let agent = found(limited(agents.get_opt(&node)).await);
        (node, agent)
    };
    let nodes = scene.servers.iter().map(|server| server.spec.node_name.clone());
    scene.agents = join_all(nodes.map(agent)).await.into_iter().collect();
    Ok(scene)
}

fn found<T>(result: Result<Option<T>, Error>) -> Found<T> {
    match result {
        Ok(Some(object)) => Found::Known(object),
        Ok(None) => Found::Missing,
        Err(error) => Found::Hidden(describe(&error)),
    }
}

fn table(explanation: &Explanation) -> String {
    let mut table = Table::new(&["STEP", "SAID"]);
    for step in &explanation.steps {
        table.row(vec![step.what.clone(), step.message.clone()]);
    }
    let marks =
        std::iter::once("  ".to_owned()).chain(explanation.steps.iter().map(|step| mark(step.verdict)));
    let text = table.text();
    let lines = text.lines().zip(marks).map(|(line, mark)| format!("{mark} {line}\n"));
    lines.collect::<String>() + "\n" + &verdict(explanation)
}

/// In colours, of which nothing is left where the output is no terminal.
fn mark(verdict: Verdict) -> String {
    let (text, colour) = match verdict {
        Verdict::Right => ("ok", AnsiColor::Green),
        Verdict::Wrong => ("NO", AnsiColor::Red),
        Verdict::Warning => ("! ", AnsiColor::Yellow),
        Verdict::Unknown => ("? ", AnsiColor::Yellow),
    };
    let style = Style::new().fg_color(Some(colour.into())).bold();
    format!("{style}{text}{style:#}")
}

/// What one reads first.
fn verdict(explanation: &Explanation) -> String {
    let cure = |step: &Step| step.cure.as_deref().unwrap_or("see the message").to_owned();
    if let Some(step) = explanation.first_wrong() {
        return format!("The first that is not right: {}.\nWhat to do: {}.\n", step.what, cure(step));
    }
    let mut text = explanation.reserved.as_ref().map_or_else(
        || {
            "All of it is right: the guest is answered. If it has no address, its questions do not arrive; \
            `kube-dhcp leases` says whether it ever got one.\n"
                .to_owned()
        },
        |why| format!("All of it is right: what the Port asks for is reserved. {why}.\n"),
    );
    for step in explanation.steps.iter().filter(|step| step.verdict == Verdict::Warning) {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "But see: {}.\nWhat to do: {}.", step.what, cure(step));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_only_reserves_is_not_said_to_be_answered() {
        let why = "DHCP does not answer: the Port says dhcp: Disabled".to_owned();
        let text = verdict(&Explanation { reserved: Some(why.clone()), ..Explanation::default() });
        assert!(text.contains(&why) && !text.contains("the guest is answered"), "{text}");
        assert!(verdict(&Explanation::default()).contains("the guest is answered"));
    }
}
