//! The steps of a Port that the agent of this machine serves, from what it reported.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Explanation, Step, allocated, answered, is_of, warnings, wish};
use crate::api::rules::IMMUTABLE;
use crate::api::{PortStatus, SubnetStatus, is_true};
use crate::report::{ManifestProblem, NetworkReport, NodeReport, ObjectReport};
use crate::source::{Kind, ObjectKey, Origin};
use crate::types::ObjectName;

/// The steps. `runs` says whether the network's dnsmasq does: its process id; `ended`, where no agent runs,
/// when the last one reported.
pub fn explain(
    name: &ObjectName,
    node: &NodeReport,
    networks: &[NetworkReport],
    runs: impl Fn(&NetworkReport) -> Option<u32>,
    ended: Option<Timestamp>,
) -> Explanation {
    let mut steps: Vec<_> = ended.map(no_agent).into_iter().chain(own_manifests(name, node)).collect();
    let mut reserved = None;
    let is_it = |port: &&ObjectReport<PortStatus>| port.namespace == name.namespace && port.name == name.name;
    let placed = networks.iter().find_map(|network| Some((network, network.ports.iter().find(is_it)?)));
    match (placed, node.ports.iter().find(is_it)) {
        (Some((network, port)), _) => {
            steps.push(asks(name, port, &network.name));
            if !is_true(&port.status.conditions, "Ready") {
                steps.extend(lost_subnets(name, node, networks));
            }
            steps.extend(of_network(network, port, runs(network)));
            let (judged, why) = judged(port);
            reserved = why;
            steps.extend(judged);
            steps.extend(beside(node, network, port));
        }
        (None, Some(port)) => {
            if let Some(network) = &port.network {
                steps.push(asks(name, port, network));
                let key = key(Kind::Network, &name.namespace, network);
                steps.extend(manifests(node, |object| object == Some(&key)));
                steps.push(no_network(name, network));
            }
            steps.extend(judged(port).0);
        }
        (None, None) => steps.push(unknown(name, node)),
    }
    Explanation { port: name.to_string(), steps, reserved }
}

fn no_agent(reported: Timestamp) -> Step {
    let message = format!("none does: what follows is what the last one said, at {reported}");
    let cure = "start the agent: until then nothing follows a change, and nobody mends what breaks";
    Step::wrong("an agent runs", message, cure)
}

fn asks(name: &ObjectName, port: &ObjectReport<PortStatus>, network: &str) -> Step {
    let identity = port.identity.as_ref().map(ToString::to_string);
    Step::right(format!("Port {name}"), wish(port.mac_address.as_deref(), identity, network))
}

fn no_network(name: &ObjectName, network: &str) -> Step {
    let cure = format!(
        "declare it in namespace {}, where the Port is; if the name is wrong, {REMAKE}",
        name.namespace
    );
    Step::wrong(format!("Network {network}"), "there is none of this name", cure)
}

/// What is wrong with its manifest, or with one that might be its.
fn own_manifests(name: &ObjectName, node: &NodeReport) -> Vec<Step> {
    let is_so_named = |object: &String| object.rsplit(['/', ' ']).next() == Some(&name.name);
    manifests(node, |object| object.is_none_or(is_so_named))
}

/// What is wrong with those of Subnets that are nowhere: of which Network they were to be nobody knows.
fn lost_subnets(name: &ObjectName, node: &NodeReport, networks: &[NetworkReport]) -> Vec<Step> {
    let known = networks.iter().flat_map(|network| &network.subnets).chain(&node.subnets);
    let known: BTreeSet<_> = known.map(|subnet| key(Kind::Subnet, &subnet.namespace, &subnet.name)).collect();
    let prefix = key(Kind::Subnet, &name.namespace, "");
    manifests(node, |object| {
        object.is_some_and(|object| object.starts_with(&prefix) && !known.contains(object))
    })
}

/// As a problem names an object.
fn key(kind: Kind, namespace: &str, name: &str) -> String {
    ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() }.to_string()
}

/// What is wrong with the manifests of some objects.
fn manifests(node: &NodeReport, ours: impl Fn(Option<&String>) -> bool) -> Vec<Step> {
    let problems = node.problems.iter().filter(|problem| ours(problem.object.as_ref()));
    let step = |problem: &ManifestProblem| {
        let object = problem.object.as_deref().unwrap_or("manifest");
        let message = format!("{}: {}", problem.place, problem.message);
        Step::wrong(object, message, correct(&problem.message))
    };
    problems.map(step).collect()
}

fn correct(message: &str) -> String {
    if message.ends_with(IMMUTABLE) {
        return format!(
            "the field keeps its first value: {REMAKE}; until then the old object stays in force"
        );
    }
    "correct the manifest; what was good before stays in force".to_owned()
}

/// With both in one step it would be a change.
const REMAKE: &str = "take the object out of the directory, wait until `kube-dhcp status` does not show it any more, \
    and make it again";

fn unknown(name: &ObjectName, node: &NodeReport) -> Step {
    let cure = match node.source {
        Origin::Directory => "see that its manifest is in the agent's directory, and its namespace there",
        Origin::Cluster | Origin::LastGoodCopy => {
            "ask the cluster, with --kubeconfig: this node may not serve its Network"
        }
    };
    Step::wrong(format!("Port {name}"), "the agent of this machine knows none of this name", cure)
}

fn of_network(network: &NetworkReport, port: &ObjectReport<PortStatus>, pid: Option<u32>) -> Vec<Step> {
    let ready = |what: String, conditions: &[Condition]| Step::of(&what, conditions, "Ready", None);
    let of_port = |subnet: &&ObjectReport<SubnetStatus>| is_of(&subnet.name, &port.status.addresses);
    let mut steps = vec![ready(format!("Network {}", network.name), &network.status.conditions)];
    let subnets = network.subnets.iter().filter(of_port);
    steps.extend(subnets.map(|subnet| ready(format!("Subnet {}", subnet.name), &subnet.status.conditions)));
    // Where none is to be, that there is none says nothing.
    if network.status.servers.is_none_or(|servers| servers.desired > 0) {
        steps.push(dnsmasq(pid));
    }
    steps
}

/// What guests may suffer from.
fn beside(node: &NodeReport, network: &NetworkReport, port: &ObjectReport<PortStatus>) -> Vec<Step> {
    let mut steps: Vec<_> = warnings(&port.status.conditions, &network.status.conditions).collect();
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

/// And why DHCP does not answer it, if it is not to.
fn judged(port: &ObjectReport<PortStatus>) -> ([Step; 3], Option<String>) {
    let conditions = &port.status.conditions;
    let is_known = port.mac_address.is_some() || port.identity.is_some();
    let (answered, reserved) = answered(conditions, is_known, None);
    let accepted = Step::of("Port is accepted", conditions, "Accepted", None);
    ([accepted, allocated(conditions, &port.status.addresses, None), answered], reserved)
}
