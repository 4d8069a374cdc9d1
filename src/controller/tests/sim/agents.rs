//! The half of the cluster that are agents and their nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::super::super::nodes::NodeFacts;
use super::super::super::world::{Kind, Object};
use super::{AGENTS, Sim};
use crate::api::{
    DHCPServer, DHCPServerStatus, HeldAddress, Port, ServedSubnet, ServerAddress, ServerState, Subnet,
};
use crate::types::{ObjectName, Revision};

impl Sim {
    /// Agents that are dead from now on, for that long.
    pub(in super::super) fn set_dead(&mut self, nodes: &[&str], for_: Duration) {
        self.dead = nodes.iter().map(|node| (*node).to_owned()).collect();
        self.world.set_dead(self.dead.iter().map(|node| (node.clone(), for_)).collect());
    }

    /// The agent of a node does what the objects say, and reports.
    pub(in super::super) fn agent(&mut self, node: &str) {
        if self.dead.contains(node) {
            return;
        }
        let Self { serving, servers, .. } = self;
        // Servers that were deleted without a word are taken down as others are.
        serving.retain(|server, _| servers.contains_key(server) || !server.ends_with(node));
        let servers: Vec<_> = self.servers.values().filter(|s| s.spec.node_name == node).cloned().collect();
        for mut server in servers {
            let exists = self.networks.get(&server.spec.network_ref.name);
            let exists =
                exists.is_some_and(|n| n.metadata.uid.as_deref() == Some(&server.spec.network_ref.uid));
            let before = server.status.clone().unwrap_or_default();
            let status = if server.spec.state == ServerState::Active && exists {
                self.serving.insert(server.name_any(), self.hosts());
                self.report(&server, before.clone())
            } else {
                self.serving.remove(&server.name_any());
                let torn = server.spec.state == ServerState::Withdrawn;
                DHCPServerStatus {
                    conditions: conditions(&before, &[("TornDown", torn)], 1),
                    ..before.clone()
                }
            };
            if status != before {
                server.status = Some(status);
                server.metadata.resource_version = Some(self.next().to_string());
                self.set_server(server);
            }
        }
    }

    fn hosts(&self) -> BTreeMap<IpAddr, String> {
        let addresses = |port: &Port| {
            let uid = port.metadata.uid.clone().unwrap();
            let status = port.status.clone();
            let addresses = status.into_iter().flat_map(|status| status.addresses);
            addresses.map(|a| (a.ip.parse().unwrap(), uid.clone())).collect::<Vec<_>>()
        };
        self.ports.values().flat_map(addresses).collect()
    }

    fn report(&self, server: &DHCPServer, before: DHCPServerStatus) -> DHCPServerStatus {
        let network = &self.networks[&server.spec.network_ref.name];
        // It does not take what another has.
        let held = self.held(server);
        let current = !server.spec.addresses.iter().any(|a| held.iter().any(|held| held.ip == a.ip));
        let generation = server.metadata.generation.unwrap();
        let subnet = |subnet: &Subnet| ServedSubnet {
            name: subnet.name_any(),
            generation: subnet.metadata.generation.unwrap(),
        };
        DHCPServerStatus {
            held_addresses: held,
            ports_revision: Some(self.ports_at().to_string()),
            network_generation: network.metadata.generation,
            subnets: self.subnets.values().map(subnet).collect(),
            conditions: conditions(&before, &[("Programmed", current), ("Serving", current)], generation),
            ..before
        }
    }

    /// The slot's addresses, if its predecessor answers on.
    fn held(&self, server: &DHCPServer) -> Vec<HeldAddress> {
        let own = |address: &ServerAddress| HeldAddress {
            ip: address.in_place_of.clone().unwrap_or_else(|| address.ip.clone()),
            mac_address: String::new(),
        };
        let answers = |node: &String| self.serving.keys().any(|server| server.ends_with(node));
        let held = server.spec.predecessor.as_ref().is_some_and(answers);
        server.spec.addresses.iter().filter(|_| held).map(own).collect()
    }

    /// The revision of the last change of a Port.
    fn ports_at(&self) -> u64 {
        let revisions =
            self.ports.values().filter_map(|port| port.metadata.resource_version.as_deref()?.parse().ok());
        revisions.max().unwrap_or(0).max(self.world.ports_revision.0)
    }

    /// Nothing of a node's answers any more.
    pub(in super::super) fn silence(&mut self, node: &str) {
        self.serving.retain(|server, _| !server.ends_with(node));
    }

    /// A Node that is tainted out-of-service.
    pub(in super::super) fn out_of_service(&mut self, node: &str) {
        self.silence(node);
        let facts = NodeFacts { out_of_service: true, ..NodeFacts::default() };
        self.world.apply(Object::Node(node.to_owned(), Arc::new(facts)));
    }

    /// A node that ended and whose Node object was deleted.
    pub(in super::super) fn gone_for_good(&mut self, node: &str) {
        self.silence(node);
        let revision = Revision(self.next());
        self.world.remove(Kind::Node, &ObjectName::new("", node), revision);
    }
}

fn conditions(before: &DHCPServerStatus, now: &[(&str, bool)], generation: i64) -> Vec<Condition> {
    let theirs = before.conditions.iter().filter(|c| !AGENTS.contains(&c.type_.as_str())).cloned();
    let condition = |(type_, status): &(&str, bool)| Condition {
        type_: (*type_).to_owned(),
        status: if *status { "True" } else { "False" }.to_owned(),
        reason: "Ready".into(),
        message: String::new(),
        observed_generation: Some(generation),
        last_transition_time: Time("2026-01-01T00:00:00Z".parse().unwrap()),
    };
    now.iter().map(condition).chain(theirs).collect()
}
