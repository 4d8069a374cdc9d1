//! What is said of a node's networks: the files in the state directory that `kube-dhcp status` prints.
//!
//! Written by the agent, read by the status command. One file for each network, so that a change costs
//! what its network is large, and one for what belongs to no network.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{NetworkStatus, PhysicalNetworkStatus, Port, PortStatus, SubnetStatus};
use crate::conditions::whole_seconds;
use crate::desired::identifier_of;
use crate::node::Newcomer;
use crate::plain::{cut, plain};
use crate::source::{self, Origin};
use crate::types::{Identity, NetworkUid};

/// One network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkReport {
    /// Kubernetes namespace of it and all its objects.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: NetworkUid,
    /// Where it is attached; unset while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceReport>,
    /// The Network's status.
    pub status: NetworkStatus,
    /// Its Subnets.
    pub subnets: Vec<ObjectReport<SubnetStatus>>,
    /// Its Ports.
    pub ports: Vec<ObjectReport<PortStatus>>,
    /// Guests of DHCPv6 that are known by their DUID, and the devices that they came by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newcomers: Vec<Newcomer>,
}

/// A network's DHCP device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceReport {
    /// Of the end on the node.
    pub name: String,
    /// Of the end in the namespace.
    pub mac_address: String,
    /// `bridge:br0`.
    pub attachment: String,
    /// The network namespace.
    pub namespace: String,
}

/// One object and its status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport<S> {
    /// Kubernetes namespace; empty for a kind that has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The Network that a Port names, where there is none of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// A Port's, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// By what a Port is known in the place of that, in one protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The object's status.
    pub status: S,
}

impl<S> ObjectReport<S> {
    /// Of an object that is no Port.
    pub fn new(namespace: String, name: String, status: S) -> Self {
        Self { namespace, name, network: None, mac_address: None, identity: None, status }
    }
}

impl ObjectReport<PortStatus> {
    /// Of a Port.
    pub fn of_port(namespace: String, name: String, port: &Port, status: PortStatus) -> Self {
        let (mac_address, identity) = (port.spec.mac_address.clone(), identifier_of(port));
        Self { namespace, name, network: None, mac_address, identity, status }
    }
}

/// What belongs to no network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// The node's name.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// Where the objects come from.
    #[serde(default)]
    pub source: Origin,
    /// The node's firewall may drop DHCP between ports of a bridge.
    pub bridge_filter_active: bool,
    /// The agent knows a metadata server.
    #[serde(default)]
    pub metadata: bool,
    /// What is wrong with the manifests.
    pub problems: Vec<ManifestProblem>,
    /// All physical networks that are declared.
    pub physical_networks: Vec<ObjectReport<PhysicalNetworkStatus>>,
    /// Subnets whose Network does not exist.
    pub subnets: Vec<ObjectReport<SubnetStatus>>,
    /// Ports whose Network does not exist.
    pub ports: Vec<ObjectReport<PortStatus>>,
}

/// A mistake in a manifest. What was good before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestProblem {
    /// File, and line where that is known.
    pub place: String,
    /// The object, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field and what is wrong with it.
    pub message: String,
}

impl From<&source::Problem> for ManifestProblem {
    fn from(problem: &source::Problem) -> Self {
        let source::Problem { file, line, object, field, message } = problem;
        Self {
            place: said(&line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))),
            object: object.as_ref().map(|object| said(&object.to_string())),
            message: said(&if field.is_empty() { message.clone() } else { format!("{field}: {message}") }),
        }
    }
}

/// More than that of what somebody wrote nobody wants to read.
const LONGEST: usize = 4_096;

fn said(text: &str) -> String {
    plain(cut(text, LONGEST)).into_owned()
}

/// The directory of all reports.
pub fn directory(state: &Path) -> PathBuf {
    state.join("status")
}

/// The networks that have a report.
pub fn networks(state: &Path) -> io::Result<Vec<NetworkUid>> {
    let uid = |name: OsString| name.to_str()?.strip_suffix(".json")?.parse().ok();
    let names = fs::read_dir(directory(state))?.map(|entry| entry.map(|entry| uid(entry.file_name())));
    names.filter_map(Result::transpose).collect()
}

/// When anything was reported last.
pub fn reported_last(state: &Path) -> Option<Timestamp> {
    let entries = fs::read_dir(directory(state)).ok()?.flatten();
    let times = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok());
    Timestamp::try_from(times.max()?).ok().map(whole_seconds)
}

/// A network's report.
pub fn network_path(state: &Path, uid: NetworkUid) -> PathBuf {
    directory(state).join(format!("{uid}.json"))
}

/// The node's report.
pub fn node_path(state: &Path) -> PathBuf {
    directory(state).join("node.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_said_is_read() {
        for text in crate::previous::texts("network.json") {
            let report: NetworkReport = serde_json::from_str(&text).unwrap();
            let ports: Vec<_> = report.ports.iter().map(|port| port.name.as_str()).collect();
            assert_eq!((report.name.as_str(), ports), ("a", vec!["p1", "p3"]));
        }
        for text in crate::previous::texts("node.json") {
            let report: NodeReport = serde_json::from_str(&text).unwrap();
            assert_eq!((report.node.as_str(), report.physical_networks.len()), ("n1", 1));
        }
    }
}
