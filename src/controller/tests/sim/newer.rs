//! Objects that use what not every agent knows.

use std::sync::Arc;

use kube::{Resource, ResourceExt};

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
        change(&mut network.spec);
        let network = self.changed(network, Object::Network);
        self.networks.insert(network.name_any(), network);
    }

    /// Changes a Subnet.
    pub(in super::super) fn change_subnet(&mut self, name: &str, change: impl FnOnce(&mut SubnetSpec)) {
        let mut subnet = self.subnets[name].clone();
        change(&mut subnet.spec);
        let subnet = self.changed(subnet, Object::Subnet);
        self.subnets.insert(subnet.name_any(), subnet);
    }

    /// Changes a Port.
    pub(in super::super) fn change_port(&mut self, name: &str, change: impl FnOnce(&mut PortSpec)) {
        let mut port = self.ports[name].clone();
        change(&mut port.spec);
        let port = self.changed(port, Object::Port);
        self.ports.insert(port.name_any(), port);
    }

    /// As the API server has it then, and the controller hears of it.
    fn changed<K: Resource + Clone>(&mut self, mut object: K, to: fn(Arc<K>) -> Object) -> K {
        let old = object.meta().clone();
        self.stamp(object.meta_mut(), Some(&old));
        self.world.apply(to(Arc::new(object.clone())));
        object
    }
}
