//! A cluster in memory: the API server's objects, and agents that do what they are told when they are
//! asked to. What the controller judged is done at once, and completely or not at all.

mod agents;
mod newer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::act::Undone;
use super::super::judge::{Judged, ServerStep, Settings, judge};
use super::super::statuses::{Statuses, statuses};
use super::super::world::{Kind, Object, World};
use crate::api::{
    DHCPAgent, DHCPServer, IPAllocation, Network, PhysicalNetwork, Port, Released, ServerState, Subnet,
};
use crate::types::{ObjectName, Revision};

pub(super) const SETTINGS: Settings =
    Settings { reschedule_after: Duration::from_secs(60), quarantine: Duration::from_secs(86_400) };

/// The conditions that agents write.
const AGENTS: [&str; 3] = ["Programmed", "Serving", "TornDown"];

/// See the module.
#[derive(Default)]
pub(super) struct Sim {
    pub(super) world: World,
    revision: u64,
    pub(super) now: Timestamp,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) subnets: BTreeMap<String, Subnet>,
    pub(super) ports: BTreeMap<String, Port>,
    pub(super) servers: BTreeMap<String, DHCPServer>,
    pub(super) allocations: BTreeMap<String, IPAllocation>,
    pub(super) dead: BTreeSet<String>,
    /// What each server gives to whom at present, by node: address to the Port's UID.
    pub(super) serving: BTreeMap<String, BTreeMap<IpAddr, String>>,
    pub(super) events: Vec<String>,
    /// The namespace ends: nothing can be made in it any more.
    ends: bool,
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    let metadata = json!({"name": name, "namespace": "a", "generation": 1});
    let value = json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
    });
    serde_json::from_value(value).unwrap()
}

pub(super) fn name(text: &str) -> ObjectName {
    ObjectName::new("a", text)
}

impl Sim {
    /// Nodes `n1` to `n<nodes>`, all of which reach the physical network `lan`.
    pub(super) fn new(nodes: usize) -> Self {
        let mut sim = Self { now: "2026-01-01T00:00:00Z".parse().unwrap(), ..Self::default() };
        sim.grant(true);
        for number in 1..=nodes {
            sim.node(&format!("n{number}"));
        }
        sim
    }

    /// One more node.
    pub(super) fn node(&mut self, node: &str) {
        self.world.apply(Object::Node(node.to_owned(), Arc::default()));
        self.agent_object(node, &["IPv4", "SeveralServers"]);
    }

    fn agent_object(&mut self, node: &str, features: &[&str]) {
        let status = json!({
            "observedGeneration": 1, "features": features,
            "physicalNetworks": [{"name": "lan", "attachment": "bridge:br0", "vlan": "Unsupported", "state": "Up"}],
        });
        let mut agent: DHCPAgent = object("DHCPAgent", node, &json!({}));
        agent.metadata.namespace = None;
        agent.metadata.resource_version = Some(self.next().to_string());
        agent.status = serde_json::from_value(status).unwrap();
        self.world.apply(Object::Agent(Arc::new(agent)));
    }

    /// These nodes can serve IPv4, and no network that another one serves.
    pub(super) fn alone(&mut self, nodes: &[&str]) {
        for node in nodes {
            self.agent_object(node, &["IPv4"]);
        }
    }

    pub(super) fn grant(&mut self, all: bool) {
        let from = if all { "All" } else { "None" };
        let spec = json!({"namespaces": {"from": from}, "untagged": "Allowed"});
        let mut physical: PhysicalNetwork = object("PhysicalNetwork", "lan", &spec);
        physical.metadata.namespace = None;
        physical.metadata.resource_version = Some(self.next().to_string());
        self.world.apply(Object::Physical(Arc::new(physical)));
    }

    fn next(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn stamp(&mut self, metadata: &mut kube::core::ObjectMeta, old: Option<&kube::core::ObjectMeta>) {
        let revision = self.next();
        metadata.resource_version = Some(revision.to_string());
        metadata.uid = old.and_then(|old| old.uid.clone()).or_else(|| Some(uuid(revision)));
        metadata.generation = Some(old.and_then(|old| old.generation).unwrap_or(0) + 1);
        metadata.creation_timestamp = Some(Time(self.now));
    }

    pub(super) fn network(&mut self, name: &str, servers: u8) {
        let spec = json!({"physicalNetworkRef": {"name": "lan"}, "dhcp": {"servers": servers}});
        let mut network: Network = object("Network", name, &spec);
        let old = self.networks.get(name).cloned();
        self.stamp(&mut network.metadata, old.as_ref().map(|old| &old.metadata));
        network.status = old.and_then(|old| old.status);
        self.networks.insert(name.to_owned(), network.clone());
        self.world.apply(Object::Network(Arc::new(network)));
    }

    /// Changes what a network tells its guests.
    pub(super) fn options(&mut self, name: &str, options: Vec<crate::api::DhcpOption>) {
        let mut network = self.networks[name].clone();
        let old = network.metadata.clone();
        network.spec.options = options;
        self.stamp(&mut network.metadata, Some(&old));
        self.networks.insert(name.to_owned(), network.clone());
        self.world.apply(Object::Network(Arc::new(network)));
    }

    pub(super) fn subnet(&mut self, name: &str, cidr: &str) {
        let mut subnet: Subnet = object("Subnet", name, &json!({"networkRef": {"name": "x"}, "cidr": cidr}));
        self.stamp(&mut subnet.metadata, None);
        self.subnets.insert(name.to_owned(), subnet.clone());
        self.world.apply(Object::Subnet(Arc::new(subnet)));
    }

    /// A Port of the network `x`; one that exists is changed.
    pub(super) fn port(&mut self, name: &str, mac: Option<u8>, ip: Option<&str>) {
        let mut spec = json!({"networkRef": {"name": "x"}});
        if let Some(mac) = mac {
            spec["macAddress"] = format!("02:00:00:00:00:{mac:02x}").into();
        }
        if let Some(ip) = ip {
            spec["addresses"] = json!([{"ip": ip}]);
        }
        let mut port: Port = object("Port", name, &spec);
        let old = self.ports.get(name).cloned();
        self.stamp(&mut port.metadata, old.as_ref().map(|old| &old.metadata));
        port.status = old.and_then(|old| old.status);
        self.ports.insert(name.to_owned(), port.clone());
        self.world.apply(Object::Port(Arc::new(port)));
    }

    pub(super) fn delete(&mut self, kind: Kind, text: &str) {
        let revision = Revision(self.next());
        let was_there = match kind {
            Kind::Network => self.networks.remove(text).is_some(),
            Kind::Subnet => self.subnets.remove(text).is_some(),
            _ => self.ports.remove(text).is_some(),
        };
        if was_there {
            self.world.ports_revision = revision;
            self.world.remove(kind, &name(text), revision);
        }
    }

    /// What the namespace has of a kind is deleted, as with the namespace or the definitions: without a
    /// word to the controller, and nothing can be made any more.
    pub(super) fn vanish(&mut self, kind: Kind) {
        self.ends = true;
        let names: Vec<_> = self.world.names(kind).into_iter().collect();
        for object in names {
            let revision = Revision(self.next());
            match kind {
                Kind::Server => drop(self.servers.remove(&object.name)),
                Kind::Allocation => drop(self.allocations.remove(&object.name)),
                _ => self.delete(kind, &object.name),
            }
            self.world.remove(kind, &object, revision);
        }
    }

    /// No PhysicalNetwork any more.
    pub(super) fn ungrant(&mut self) {
        let revision = Revision(self.next());
        self.world.remove(Kind::Physical, &ObjectName::new("", "lan"), revision);
    }

    /// What the controller would do for a network.
    pub(super) fn judged(&self, network: &str) -> (Judged, Statuses) {
        let snapshot = self.world.snapshot(&name(network));
        let holders = self.world.holders(&snapshot, self.now);
        let all = || self.world.candidates(&name(network), self.now);
        let judged = judge(&snapshot, &holders, all, SETTINGS, self.now);
        let statuses = statuses(&snapshot, &judged, &Undone::default(), self.now);
        (judged, statuses)
    }

    /// One turn of a network; how many writes it took.
    pub(super) fn turn(&mut self, network: &str) -> usize {
        let (judged, statuses) = self.judged(network);
        let applies = |step: &ServerStep| !matches!(step, ServerStep::Delete(_));
        if self.ends && (!judged.entries.create.is_empty() || judged.servers.iter().any(applies)) {
            // The API server refuses the first of these, and the turn is over.
            return 0;
        }
        let mut writes = self.allocations(&judged);
        writes += judged.servers.len();
        for step in judged.servers {
            self.server(step);
        }
        writes + self.statuses(statuses)
    }

    fn allocations(&mut self, judged: &Judged) -> usize {
        let entries = &judged.entries;
        for allocation in &entries.free {
            self.free(allocation);
        }
        for (allocation, at) in &entries.release {
            let mut allocation = IPAllocation::clone(allocation);
            let time = self.now.to_string();
            allocation.spec.released = Some(Released { time, ports_revision: at.to_string() });
            self.keep(allocation);
        }
        for (allocation, old) in &entries.create {
            if let Some(old) = old {
                self.free(old);
            }
            let there = self.allocations.contains_key(&allocation.name_any());
            assert!(!there, "{} has an allocation already", allocation.spec.ip);
            let early =
                entries.taken.iter().any(|taken| Some(&taken.port) == allocation.spec.holder.name.as_ref());
            self.given(allocation, early);
            self.keep(allocation.clone());
        }
        entries.free.len() + entries.release.len() + entries.create.len()
    }

    /// Nobody may get what a server still gives to somebody else; but with a warning what only dead ones give.
    fn given(&self, allocation: &IPAllocation, early: bool) {
        let ip: IpAddr = allocation.spec.ip.parse().unwrap();
        let (holder, ports) = (&allocation.spec.holder, &self.ports);
        for (server, serving) in &self.serving {
            let Some(uid) = serving.get(&ip) else { continue };
            let same = holder.uid.as_ref() == Some(uid);
            // A Port that comes back as it was: the guest is the same.
            let back = self.events.contains(&format!("{uid} was {:?} {:?}", holder.name, holder.mac_address));
            let dead = self.dead.iter().any(|node| server.ends_with(node));
            assert!(
                same || back || (early && dead),
                "{ip} is given to {holder:?} while {server} serves {uid}: {ports:?}"
            );
        }
    }

    fn keep(&mut self, mut allocation: IPAllocation) {
        let revision = self.next();
        allocation.metadata.resource_version = Some(revision.to_string());
        allocation.metadata.uid.get_or_insert_with(|| uuid(revision));
        self.allocations.insert(allocation.name_any(), allocation.clone());
        self.world.apply(Object::Allocation(Arc::new(allocation)));
    }

    fn free(&mut self, allocation: &IPAllocation) {
        self.allocations.remove(&allocation.name_any());
        let revision = Revision(self.next());
        self.world.remove(Kind::Allocation, &name(&allocation.name_any()), revision);
    }

    fn server(&mut self, step: ServerStep) {
        match step {
            ServerStep::Apply(server, _, spec) => {
                let mut made = DHCPServer::new(&server, spec);
                let old = self.servers.get(&server).cloned();
                made.metadata.namespace = Some("a".into());
                self.stamp(&mut made.metadata, old.as_ref().map(|old| &old.metadata));
                made.status = old.and_then(|old| old.status);
                self.set_server(made);
            }
            ServerStep::Withdraw(server, why) => {
                self.events.push(why);
                let mut server = DHCPServer::clone(&server);
                let old = server.metadata.clone();
                server.spec.state = ServerState::Withdrawn;
                self.stamp(&mut server.metadata, Some(&old));
                self.set_server(server);
            }
            ServerStep::Delete(server) => {
                self.servers.remove(&server.name_any());
                let revision = Revision(self.next());
                self.world.remove(Kind::Server, &name(&server.name_any()), revision);
            }
        }
    }

    fn set_server(&mut self, server: DHCPServer) {
        self.servers.insert(server.name_any(), server.clone());
        self.world.apply(Object::Server(Arc::new(server)));
    }

    fn statuses(&mut self, statuses: Statuses) -> usize {
        let mut writes = statuses.ports.len() + statuses.subnets.len() + statuses.servers.len();
        for (port, status) in statuses.ports {
            let mut port = Port::clone(&port);
            port.status = Some(status);
            port.metadata.resource_version = Some(self.next().to_string());
            self.ports.insert(port.name_any(), port.clone());
            self.world.apply(Object::Port(Arc::new(port)));
        }
        for (subnet, status) in statuses.subnets {
            let mut subnet = Subnet::clone(&subnet);
            subnet.status = Some(status);
            subnet.metadata.resource_version = Some(self.next().to_string());
            self.subnets.insert(subnet.name_any(), subnet.clone());
            self.world.apply(Object::Subnet(Arc::new(subnet)));
        }
        for (server, status) in statuses.servers {
            let Some(mut server) = self.servers.get(&server.name_any()).cloned() else { continue };
            let mut has = server.status.take().unwrap_or_default();
            has.observed_generation = status.observed_generation;
            has.conditions.retain(|c| AGENTS.contains(&c.type_.as_str()));
            has.conditions.extend(status.conditions);
            server.status = Some(has);
            server.metadata.resource_version = Some(self.next().to_string());
            self.set_server(server);
        }
        if let Some((network, status)) = statuses.network {
            writes += 1;
            let mut network = Network::clone(&network);
            network.status = Some(status);
            network.metadata.resource_version = Some(self.next().to_string());
            self.networks.insert(network.name_any(), network.clone());
            self.world.apply(Object::Network(Arc::new(network)));
        }
        writes
    }

    /// Turns and agents until nothing is written any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..60 {
            let before = self.revision;
            self.turn("x");
            for node in ["n1", "n2", "n3", "n4"] {
                self.agent(node);
            }
            if self.revision == before {
                return;
            }
        }
        panic!("it does not settle: {:#?}", self.judged("x").0);
    }

    pub(super) fn addresses(&self, port: &str) -> Vec<String> {
        let status = self.ports[port].status.clone();
        status.into_iter().flat_map(|status| status.addresses).map(|a| a.ip).collect()
    }

    /// Status and reason of a Port's Ready.
    pub(super) fn ready(&self, port: &str) -> (String, String) {
        let status = self.ports[port].status.clone().unwrap_or_else(|| panic!("{port} has no status"));
        ready(&status.conditions)
    }

    pub(super) fn network_ready(&self) -> (String, String) {
        ready(&self.networks["x"].status.clone().unwrap().conditions)
    }

    /// The nodes with an active server, by slot.
    pub(super) fn nodes(&self) -> Vec<(u8, String)> {
        let active = self.servers.values().filter(|s| s.spec.state == ServerState::Active);
        let mut nodes: Vec<_> = active.map(|s| (s.spec.slot, s.spec.node_name.clone())).collect();
        nodes.sort();
        nodes
    }
}

fn ready(conditions: &[Condition]) -> (String, String) {
    let ready = conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    (ready.status.clone(), ready.reason.clone())
}

fn uuid(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}
