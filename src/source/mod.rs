//! Where objects come from: a stream of changes, the same whether a directory or a cluster is read.
//!
//! The agent's loop calls it. A source knows nothing of what is done with the objects; it gives
//! only objects that passed the API's validation, and says about the others what is wrong.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use crate::api::{DHCPServer, Network, PhysicalNetwork, Port, Subnet};
use crate::plain::plain;
use crate::types::{ObjectName, Revision};
use crate::validate;

pub mod cluster;
pub mod directory;
pub mod manifest;
pub mod schema;

mod files;
mod hints;
mod last_good;
pub(crate) mod metadata;
mod packed;
mod scalar;
mod state;
mod structure;
mod yaml;

/// The kinds of objects that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A Network that was given to a node.
    #[serde(rename = "DHCPServer")]
    DhcpServer,
    /// An L2 segment.
    Network,
    /// What an administrator allows on a physical network.
    PhysicalNetwork,
    /// A guest's NIC.
    Port,
    /// A CIDR on a Network.
    Subnet,
}

impl Kind {
    /// Those that users write.
    pub const ALL: [Self; 4] = [Self::Network, Self::PhysicalNetwork, Self::Port, Self::Subnet];

    /// The kind as manifests name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DhcpServer => "DHCPServer",
            Self::Network => "Network",
            Self::PhysicalNetwork => "PhysicalNetwork",
            Self::Port => "Port",
            Self::Subnet => "Subnet",
        }
    }

    /// The kind of this name, if it is one that users write.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether its objects live in a namespace.
    pub fn namespaced(self) -> bool {
        self != Self::PhysicalNetwork
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which object is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a cluster-scoped kind.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// An object of one of the kinds, valid by the API's schema and rules.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Network.
    Network(Arc<Network>),
    /// A Subnet.
    Subnet(Arc<Subnet>),
    /// A Port.
    Port(Arc<Port>),
    /// A `PhysicalNetwork`.
    PhysicalNetwork(Arc<PhysicalNetwork>),
    /// A `DHCPServer`.
    Server(Arc<DHCPServer>),
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Network(o) => o.serialize(serializer),
            Self::Subnet(o) => o.serialize(serializer),
            Self::Port(o) => o.serialize(serializer),
            Self::PhysicalNetwork(o) => o.serialize(serializer),
            Self::Server(o) => o.serialize(serializer),
        }
    }
}

impl Object {
    /// The typed object of a value that passed validation.
    pub fn from_value(kind: Kind, value: &Value) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::DhcpServer => Self::Server(Arc::new(DHCPServer::deserialize(value)?)),
            Kind::Network => Self::Network(Arc::new(Network::deserialize(value)?)),
            Kind::PhysicalNetwork => Self::PhysicalNetwork(Arc::new(PhysicalNetwork::deserialize(value)?)),
            Kind::Port => Self::Port(Arc::new(Port::deserialize(value)?)),
            Kind::Subnet => Self::Subnet(Arc::new(Subnet::deserialize(value)?)),
        })
    }

    /// What is wrong with it that no schema says; see `validate`.
    fn faults(&self) -> Vec<schema::FieldError> {
        let problems = match self {
            Self::Network(network) => standalone(network).chain(validate::network(network)).collect(),
            Self::Subnet(subnet) => validate::subnet(subnet),
            Self::Port(port) => validate::port(port),
            Self::PhysicalNetwork(_) | Self::Server(_) => Vec::new(),
        };
        let fault = |problem: crate::reason::Problem| match problem.message.split_once(": ") {
            Some((field, message)) => schema::FieldError::new(field, message),
            None => schema::FieldError::new("", problem.message),
        };
        problems.into_iter().map(fault).collect()
    }

    /// Which object it is.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Network(o) => key_of(Kind::Network, &**o),
            Self::PhysicalNetwork(o) => key_of(Kind::PhysicalNetwork, &**o),
            Self::Port(o) => key_of(Kind::Port, &**o),
            Self::Subnet(o) => key_of(Kind::Subnet, &**o),
            Self::Server(o) => key_of(Kind::DhcpServer, &**o),
        }
    }
}

/// What makes no sense where there is one node only.
fn standalone(network: &Network) -> impl Iterator<Item = crate::reason::Problem> {
    let message = "spec.dhcp.nodeSelector: there is one node only: nothing to select";
    let selects = network.spec.dhcp.node_selector.is_some();
    selects.then(|| crate::reason::Problem::new(crate::reason::Reason::NotSupported, message)).into_iter()
}

fn key_of(kind: Kind, object: &impl ResourceExt) -> ObjectKey {
    ObjectKey { kind, namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object is new, or it is different from what was said before.
    Apply(Object),
    /// The object is gone.
    Delete(ObjectKey),
    /// All changes of these Ports up to this revision came before this event.
    PortsSeen(PortsOf, Revision),
}

/// The Ports of one network, or of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortsOf {
    /// Of this network.
    Network(ObjectName),
    /// Of all networks of this namespace.
    Namespace(String),
}

/// Where what is known comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A directory of manifests.
    #[default]
    Directory,
    /// An API server.
    Cluster,
    /// The copy of what an API server said when it was there last.
    LastGoodCopy,
}

/// Changes that were seen together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The changes; in the first batch every object there is.
    pub events: Vec<Event>,
    /// All that is wrong at present, not only what is new.
    pub problems: Vec<Problem>,
    /// Where they come from.
    pub origin: Origin,
    /// Networks of which they take something back: an address of a guest, a server.
    pub taken: BTreeSet<ObjectName>,
    /// The number of the copy that has them: see [`Source::kept`].
    pub copy: u64,
    /// There may be more objects: what the source reads them from cannot be read.
    pub partial: bool,
}

/// Where batches come from.
pub trait Source: Send {
    /// Waits for the next changes; `None`: there will be no more. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Batch>> + Send;

    /// The number of the last copy that outlives this process, if copies are made. Who starts from a copy
    /// serves what is in it: what a batch takes back may be given to others only when its copy is kept.
    fn kept(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// A mistake in what the user wrote, or a source that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The file, or the directory if it is that which cannot be read.
    pub file: String,
    /// The line in the file, from 1.
    pub line: Option<usize>,
    /// The object, where it is known which one is meant.
    pub object: Option<ObjectKey>,
    /// The field, such as `spec.pools[0].first`; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(object) = &self.object {
            write!(f, ": {}", plain(&object.to_string()))?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", plain(&self.field))?;
        }
        write!(f, ": {}", plain(&self.message))
    }
}

/// Our own name space for UIDs of objects that no API server has given one.
const UID_NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_41c8_8a3e_4f0b_9c1d_6b64_6863_7001);

/// The UID of an object outside of a cluster: the same for the same name, for ever.
pub fn object_uid(kind: Kind, namespace: &str, name: &str) -> String {
    let name = format!("{kind}/{namespace}/{name}");
    Uuid::new_v5(&UID_NAMESPACE, name.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_depends_on_kind_namespace_and_name_only() {
        let uid = object_uid(Kind::Port, "default", "a");
        assert_eq!(uid, object_uid(Kind::Port, "default", "a"));
        assert_ne!(uid, object_uid(Kind::Subnet, "default", "a"));
        assert_ne!(uid, object_uid(Kind::Port, "other", "a"));
        assert_ne!(uid, object_uid(Kind::Port, "default", "b"));
    }

    #[test]
    fn problem_reads_as_a_compiler_message() {
        let problem = Problem {
            file: "a.yaml".into(),
            line: Some(7),
            object: Some(ObjectKey { kind: Kind::Port, namespace: "ns".into(), name: "p".into() }),
            field: "spec.hostname".into(),
            message: "Required value".into(),
        };
        assert_eq!(problem.to_string(), "a.yaml:7: Port ns/p: spec.hostname: Required value");
    }
}
