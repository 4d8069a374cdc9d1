//! What the controller looks at: objects of nine kinds.
//!
//! Part of the controller's world. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{DHCPAgent, DHCPServer, IPAllocation, Network, PhysicalNetwork, Port, Subnet};
use crate::controller::nodes::NodeFacts;
use crate::types::ObjectName;

/// An object that the controller looks at.
#[derive(Debug, Clone)]
pub(in crate::controller) enum Object {
    Network(Arc<Network>),
    Subnet(Arc<Subnet>),
    Port(Arc<Port>),
    Server(Arc<DHCPServer>),
    Allocation(Arc<IPAllocation>),
    Physical(Arc<PhysicalNetwork>),
    Agent(Arc<DHCPAgent>),
    Node(String, Arc<NodeFacts>),
    Namespace(String, Arc<BTreeMap<String, String>>),
}

/// Which object is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::controller) enum Kind {
    Network,
    Subnet,
    Port,
    Server,
    Allocation,
    Physical,
    Agent,
    Node,
    Namespace,
}

impl Object {
    /// Namespace and name.
    pub(in crate::controller) fn name(&self) -> ObjectName {
        match self {
            Self::Network(o) => name_of(&**o),
            Self::Subnet(o) => name_of(&**o),
            Self::Port(o) => name_of(&**o),
            Self::Server(o) => name_of(&**o),
            Self::Allocation(o) => name_of(&**o),
            Self::Physical(o) => name_of(&**o),
            Self::Agent(o) => name_of(&**o),
            Self::Node(name, _) | Self::Namespace(name, _) => ObjectName::new("", name),
        }
    }

    /// Its kind, and its UID where one is kept.
    pub(super) fn identity(&self) -> (Kind, Option<&str>) {
        let (kind, metadata) = match self {
            Self::Network(o) => (Kind::Network, &o.metadata),
            Self::Subnet(o) => (Kind::Subnet, &o.metadata),
            Self::Port(o) => (Kind::Port, &o.metadata),
            Self::Server(o) => (Kind::Server, &o.metadata),
            Self::Allocation(o) => (Kind::Allocation, &o.metadata),
            Self::Physical(o) => (Kind::Physical, &o.metadata),
            Self::Agent(o) => (Kind::Agent, &o.metadata),
            Self::Node(..) => return (Kind::Node, None),
            Self::Namespace(..) => return (Kind::Namespace, None),
        };
        (kind, metadata.uid.as_deref())
    }
}

pub(super) fn ns(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_default()
}

/// Namespace and name.
pub(in crate::controller) fn name_of(object: &impl ResourceExt) -> ObjectName {
    ObjectName::new(ns(object), object.name_any())
}

pub(super) fn belongs(object: &impl ResourceExt, network: &str) -> (ObjectName, ObjectName) {
    (name_of(object), ObjectName::new(ns(object), network))
}
