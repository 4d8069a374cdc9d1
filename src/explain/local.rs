//! The steps of a Port that the agent of this machine serves, from what it reported.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Explanation, Step, allocated, is_of, warnings, wish};
use crate::api::{PortStatus, SubnetStatus};
use crate::report::{ManifestProblem, NetworkReport, NodeReport, ObjectReport};
use crate::source::Origin;
use crate::types::ObjectName;

/// The steps. `runs` says whether the network's dnsmasq does: its process id.
pub fn explain(
    name: &ObjectName,
    node: &NodeReport,
    networks: &[NetworkReport],
    runs: impl Fn(&NetworkReport) -> Option<u32>,
) -> Explanation {
    let mut steps = manifests(name, node);
    let is_it = |port: &&ObjectReport<PortStatus>| port.namespace == name.namespace && port.name == name.name;
    let placed = networks.iter().find_map(|network| Some((network, network.ports.iter().find(is_it)?)));
    match (placed, node.ports.iter().find(is_it)) {
        (Some((network, port)), _) => {
            let identity = port.identity.as_ref().map(ToString::to_string);
            let wish = wish(port.mac_address.as_deref(), identity, &network.name);
            steps.push(Step::right(format!("Port {name}"), wish));
            steps.extend(served(node, network, port, runs(network)));
        }
        (None, Some(port)) => steps.extend(judged(port)),
        (None, None) => steps.push(unknown(name, node)),
    }
    Explanation { port: name.to_string(), steps }
}

/// What is wrong with its manifest, or with one that might be its.
fn manifests(name: &ObjectName, node: &NodeReport) -> Vec<Step> {
    // As `source::ObjectKey` prints it.
    let is_so_named = |object: &String| object.rsplit(['/', ' ']).next() == Some(&name.name);
    let ours = |object: &Option<String>| object.as_ref().is_none_or(is_so_named);
    let problems = node.problems.iter().filter(|problem| ours(&problem.object));
    let step = |problem: &ManifestProblem| {
        let object = problem.object.as_deref().unwrap_or("manifest");
        let message = format!("{}: {}", problem.place, problem.message);
        Step::wrong(object, message, "correct the manifest; what was good before stays in force")
    };
    problems.map(step).collect()
}

fn unknown(name: &ObjectName, node: &NodeReport) -> Step {
    let cure = match node.source {
        Origin::Directory => "see that its manifest is in the agent's directory, and its namespace there",
        Origin::Cluster | Origin::LastGoodCopy => {
            "ask the cluster, with --kubeconfig: this node may not serve its Network"
        }
    };
    Step::wrong(format!("Port {name}"), "the agent of this machine knows none of this name", cure)
}

fn served(
    node: &NodeReport,
    network: &NetworkReport,
    port: &ObjectReport<PortStatus>,
    pid: Option<u32>,
) -> Vec<Step> {
    let ready = |what: String, conditions: &[Condition]| Step::of(&what, conditions, "Ready", None);
    let of_port = |subnet: &&ObjectReport<SubnetStatus>| is_of(&subnet.name, &port.status.addresses);
    let mut steps = vec![ready(format!("Network {}", network.name), &network.status.conditions)];
    let subnets = network.subnets.iter().filter(of_port);
    steps.extend(subnets.map(|subnet| ready(format!("Subnet {}", subnet.name), &subnet.status.conditions)));
    steps.push(dnsmasq(pid));
    steps.extend(judged(port));
    steps.extend(warnings(&port.status.conditions, &network.status.conditions));
    if node.bridge_filter_active {
        steps.push(Step::warning(
            "the node lets DHCP pass",
            "its firewall filters what its bridges forward (net.bridge.bridge-nf-call-iptables=1)",
            "set it to 0, or accept UDP 67, 68, 546 and 547 between the bridge's ports",
        ));
    }
    steps
}

fn dnsmasq(pid: Option<u32>) -> Step {
    match pid {
        Some(pid) => Step::right("dnsmasq runs", format!("process {pid}")),
        None => Step::wrong("dnsmasq runs", "it does not", "see whether the agent runs, and its log"),
    }
}

fn judged(port: &ObjectReport<PortStatus>) -> Vec<Step> {
    let conditions = &port.status.conditions;
    vec![
        Step::of("Port is accepted", conditions, "Accepted", None),
        allocated(conditions, &port.status.addresses, None),
        Step::of("Port is answered", conditions, "Ready", None),
    ]
}
