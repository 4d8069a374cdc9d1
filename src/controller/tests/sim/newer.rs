//! Objects that use what not every agent knows.

use std::sync::Arc;

use kube::ResourceExt;

use super::super::super::world::Object;
use super::Sim;
use crate::api::{NetworkSpec, PortSpec, SubnetSpec};

impl Sim {
    /// What the agent of a node knows to do from now on.
    pub(in super::super) fn features(&mut self, node: &str, features: &[&str]) {
        self.agent_object(node, features);
    }

    /// Changes the network `x`.
    pub(in super::super) fn change_network(&mut self, change: impl FnOnce(&mut NetworkSpec)) {
        let mut network = self.networks["x"].clone();
        let old = network.metadata.clone();
        change(&mut network.spec);
        self.stamp(&mut network.metadata, Some(&old));
        self.networks.insert(network.name_any(), network.clone());
        self.world.apply(Object::Network(Arc::new(network)));
    }

    /// Changes a Subnet.
    pub(in super::super) fn change_subnet(&mut self, name: &str, change: impl FnOnce(&mut SubnetSpec)) {
        let mut subnet = self.subnets[name].clone();
        let old = subnet.metadata.clone();
        change(&mut subnet.spec);
        self.stamp(&mut subnet.metadata, Some(&old));
        self.subnets.insert(subnet.name_any(), subnet.clone());
        self.world.apply(Object::Subnet(Arc::new(subnet)));
    }

    /// Changes a Port.
    pub(in super::super) fn change_port(&mut self, name: &str, change: impl FnOnce(&mut PortSpec)) {
        let mut port = self.ports[name].clone();
        let old = port.metadata.clone();
        change(&mut port.spec);
        self.stamp(&mut port.metadata, Some(&old));
        self.ports.insert(port.name_any(), port.clone());
        self.world.apply(Object::Port(Arc::new(port)));
    }
}
