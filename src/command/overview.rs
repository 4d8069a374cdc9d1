//! `kube-dhcp status` of a cluster: all Networks, and whatever else is not as it should be.

use std::fmt::Debug;
use std::path::Path;

use anyhow::{Result, anyhow};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::read::{listed, within};
use super::status::verdict;
use super::table::Table;
use crate::api::{Conditioned, DHCPAgent, DHCPServer, Network, PhysicalNetwork, Port, Subnet};
use crate::cli::StatusArgs;
use crate::cluster::client::client;
use crate::cluster::write::{Error, describe, limited};
use crate::reason::Reason;

/// For `-o json` and `-o yaml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    networks: Vec<NetworkLine>,
    not_ready: Vec<Problem>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkLine {
    namespace: String,
    name: String,
    servers: u32,
    serving: u32,
    ports: u32,
    ready_ports: u32,
    ready: String,
    reason: String,
    message: String,
    #[serde(skip)]
    since: String,
}

/// An object that is not Ready.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    reason: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<&'static str>,
}

/// The most Ports of a Network that are listed.
const MOST: usize = 50;

/// Prints it.
pub(super) async fn overview(kubeconfig: Option<&Path>, args: &StatusArgs) -> Result<()> {
    let client = client(kubeconfig).await?;
    let overview = Overview::read(&client, args.namespace.as_deref()).await?;
    super::print(&super::text(args.output, &overview, table)?)
}

impl Overview {
    async fn read(client: &Client, namespace: Option<&str>) -> Result<Self> {
        let all = ListParams::default();
        let networks = listed::<Network>(&within(client, namespace), &all).await?;
        let mut not_ready = Vec::new();
        // What is nobody's in particular, is not for everybody to see.
        not_ready.extend(problems(&permitted::<DHCPAgent>(&Api::all(client.clone())).await?));
        not_ready.extend(problems(&permitted::<PhysicalNetwork>(&Api::all(client.clone())).await?));
        not_ready.extend(problems(&listed::<Subnet>(&within(client, namespace), &all).await?));
        not_ready.extend(problems(&listed::<DHCPServer>(&within(client, namespace), &all).await?));
        for network in networks.iter().filter(|network| lacks_ports(network)) {
            let of_network = all.clone().fields(&format!("spec.networkRef.name={}", network.name_any()));
            let ports = within::<Port>(client, network.namespace().as_deref());
            let ports = listed(&ports, &of_network).await?;
            not_ready.extend(problems(&ports).into_iter().take(MOST));
        }
        let mut networks: Vec<_> = networks.iter().map(line).collect();
        networks.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(Self { networks, not_ready })
    }
}

/// None, with a word about it, of what one may not see.
async fn permitted<K>(objects: &Api<K>) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    match limited(objects.list(&ListParams::default())).await {
        Err(Error::Api(kube::Error::Api(status))) if status.code == 403 => {
            eprintln!("{} are not shown: you may not list them", K::plural(&()));
            Ok(Vec::new())
        }
        Err(error) => Err(anyhow!("cannot list {}: {}", K::plural(&()), describe(&error))),
        Ok(list) => Ok(list.items),
    }
}

fn lacks_ports(network: &Network) -> bool {
    let ports = network.status.as_ref().and_then(|status| status.ports).unwrap_or_default();
    ports.ready < ports.total
}

fn line(network: &Network) -> NetworkLine {
    let status = network.status.as_ref();
    let servers = status.and_then(|status| status.servers).unwrap_or_default();
    let ports = status.and_then(|status| status.ports).unwrap_or_default();
    let verdict = verdict(network.conditions());
    NetworkLine {
        namespace: network.namespace().unwrap_or_default(),
        name: network.name_any(),
        servers: servers.desired,
        serving: servers.ready,
        ports: ports.total,
        ready_ports: ports.ready,
        ready: verdict.ready,
        reason: verdict.reason,
        message: verdict.message,
        since: verdict.since,
    }
}

/// Those that are not Ready.
fn problems<K>(objects: &[K]) -> Vec<Problem>
where
    K: Resource<DynamicType = ()> + Conditioned,
{
    let not_ready = objects.iter().filter(|object| !object.is("Ready"));
    not_ready.map(|object| problem(object, object.condition("Ready"))).collect()
}

fn problem<K: Resource<DynamicType = ()>>(object: &K, ready: Option<&Condition>) -> Problem {
    let reason = ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.reason.clone());
    Problem {
        kind: K::kind(&()).into_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        cure: Reason::named(&reason).map(Reason::cure),
        message: ready.map_or_else(
            || "nobody has looked at it yet: does the controller run?".to_owned(),
            |ready| ready.message.clone(),
        ),
        reason,
    }
}

fn table(overview: &Overview) -> String {
    let parts = [networks(&overview.networks), not_ready(&overview.not_ready)];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "Nothing is declared.\n".to_owned() } else { parts.join("\n") }
}

fn networks(networks: &[NetworkLine]) -> String {
    let mut table = Table::new(&["NETWORK", "SERVING", "PORTS", "READY", "REASON", "SINCE", "MESSAGE"]);
    for line in networks {
        table.row(vec![
            format!("{}/{}", line.namespace, line.name),
            format!("{}/{}", line.serving, line.servers),
            format!("{}/{}", line.ready_ports, line.ports),
            line.ready.clone(),
            line.reason.clone(),
            line.since.clone(),
            line.message.clone(),
        ]);
    }
    table.text()
}

fn not_ready(problems: &[Problem]) -> String {
    let mut table = Table::new(&["NOT READY", "REASON", "MESSAGE", "WHAT TO DO"]);
    for problem in problems {
        let Problem { kind, namespace, name, reason, message, cure } = problem;
        let slash = if namespace.is_empty() { "" } else { "/" };
        table.row(vec![
            format!("{kind} {namespace}{slash}{name}"),
            reason.clone(),
            message.clone(),
            cure.unwrap_or_default().to_owned(),
        ]);
    }
    table.text()
}
