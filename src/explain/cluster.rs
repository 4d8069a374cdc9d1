//! The steps of a Port in a cluster.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{Explanation, NOT_SEEN, Step, Verdict, allocated, answered, cure, is_of, warnings, wish};
use crate::api::{
    AllocatedAddress, Conditioned, DHCPAgent, DHCPServer, Network, PhysicalNetwork, Port, ServerCounts,
    ServerState, Subnet,
};
use crate::types::ObjectName;

/// An object, as far as one gets to see it.
#[derive(Debug, Clone)]
pub enum Found<T> {
    /// It is there.
    Known(T),
    /// It is not.
    Missing,
    /// It may not be looked at, or could not be: why.
    Hidden(String),
}

/// All objects that have to do with a Port.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Of the Port.
    pub name: ObjectName,
    /// The Port.
    pub port: Found<Port>,
    /// Its Network.
    pub network: Found<Network>,
    /// The physical network of that.
    pub physical: Found<PhysicalNetwork>,
    /// The Subnets of the Network.
    pub subnets: Vec<Subnet>,
    /// Its servers.
    pub servers: Vec<DHCPServer>,
    /// The agents of the servers' nodes.
    pub agents: BTreeMap<String, Found<DHCPAgent>>,
}

impl Scene {
    /// The steps.
    pub fn explain(&self) -> Explanation {
        let (steps, reserved) = match &self.port {
            Found::Missing => (vec![self.no_port()], None),
            Found::Hidden(why) => (vec![Step::unknown(format!("Port {}", self.name), why)], None),
            Found::Known(port) => self.steps(port),
        };
        Explanation { port: self.name.to_string(), steps, reserved }
    }

    fn no_port(&self) -> Step {
        let namespace = &self.name.namespace;
        let cure = format!("see `kubectl get dport -n {namespace}`, or name another namespace with -n");
        Step::wrong(format!("Port {}", self.name), "there is none of this name", cure)
    }

    /// And why DHCP does not answer it, if it is not to.
    fn steps(&self, port: &Port) -> (Vec<Step>, Option<String>) {
        let conditions = port.conditions();
        let generation = port.metadata.generation;
        let mut steps = vec![self.wish(port)];
        steps.extend(self.network(port));
        steps.extend(self.subnets(port));
        let own = [
            Step::of("Port is accepted", conditions, "Accepted", generation),
            allocated(conditions, addresses(port), generation),
        ];
        let settled = own.iter().all(|step| step.verdict == Verdict::Right);
        steps.extend(own);
        steps.extend(self.scheduled());
        steps.extend(self.active().flat_map(|server| self.server(server, port, settled)));
        let is_known = port.spec.mac_address.is_some() || identity(port).is_some();
        let (answered, reserved) = answered(conditions, is_known, generation);
        steps.push(answered);
        let network = match &self.network {
            Found::Known(network) => network.conditions(),
            Found::Missing | Found::Hidden(_) => &[],
        };
        steps.extend(warnings(conditions, network));
        (steps, reserved)
    }

    /// What the Port asks for.
    fn wish(&self, port: &Port) -> Step {
        let what = format!("Port {}", self.name);
        let network = &port.spec.network_ref.name;
        if port.metadata.deletion_timestamp.is_some() {
            return Step::wrong(what, "it is being deleted", "see its finalizers: they are not ours");
        }
        Step::right(what, wish(port.spec.mac_address.as_deref(), identity(port).cloned(), network))
    }

    fn network(&self, port: &Port) -> Vec<Step> {
        let name = &port.spec.network_ref.name;
        let what = format!("Network {name}");
        let network = match &self.network {
            Found::Missing => {
                let cure = format!("create it in namespace {}, where the Port is", self.name.namespace);
                return vec![Step::wrong(what, "there is none of this name", cure)];
            }
            Found::Hidden(why) => return vec![Step::unknown(what, why)],
            Found::Known(network) => network,
        };
        let physical = format!("PhysicalNetwork {}", network.spec.physical_network_ref.name);
        let physical = match &self.physical {
            Found::Missing => {
                let cure = "have a cluster administrator create it; if the name is wrong, delete the Network and make it again with the right one";
                Step::wrong(physical, "there is none of this name", cure)
            }
            Found::Hidden(why) => Step::unknown(physical, why),
            Found::Known(object) => {
                Step::of(&physical, object.conditions(), "Ready", object.metadata.generation)
            }
        };
        vec![physical, Step::of(&what, network.conditions(), "Accepted", network.metadata.generation)]
    }

    /// Those of the Port's addresses; all of the Network's while it has none.
    fn subnets(&self, port: &Port) -> Vec<Step> {
        let has = |subnet: &&Subnet| is_of(&subnet.name_any(), addresses(port));
        let step = |subnet: &Subnet| {
            let what = format!("Subnet {} ({})", subnet.name_any(), subnet.spec.cidr);
            Step::of(&what, subnet.conditions(), "Accepted", subnet.metadata.generation)
        };
        self.subnets.iter().filter(has).map(step).collect()
    }

    fn scheduled(&self) -> Option<Step> {
        let Found::Known(network) = &self.network else { return None };
        let mut step =
            Step::of("Network has servers", network.conditions(), "Scheduled", network.metadata.generation);
        if step.verdict != Verdict::Right {
            return Some(step);
        }
        let nodes: Vec<_> = self.active().map(|server| server.spec.node_name.as_str()).collect();
        let wanted = network.status.as_ref().and_then(|status| status.servers);
        match wanted {
            _ if !nodes.is_empty() => step.message = format!("on {}", nodes.join(", ")),
            Some(ServerCounts { desired: 0, .. }) => "it needs none".clone_into(&mut step.message),
            _ => step = Step::wrong(step.what, "none is placed yet", NOT_SEEN),
        }
        Some(step)
    }

    /// The servers that are to serve the Network.
    fn active(&self) -> impl Iterator<Item = &DHCPServer> {
        self.servers.iter().filter(|server| server.spec.state == ServerState::Active)
    }

    /// `settled`: the Port is accepted, and has addresses.
    fn server(&self, server: &DHCPServer, port: &Port, settled: bool) -> Vec<Step> {
        let node = &server.spec.node_name;
        let mut steps = vec![self.agent(node)];
        let says = |what: &str, type_| Step::of(&format!("{node}: {what}"), server.conditions(), type_, None);
        steps.push(says("namespace, device, rules, dnsmasq are there", "Programmed"));
        steps.push(says("dnsmasq answers", "Serving"));
        steps.push(knows(server, port, settled));
        steps
    }

    fn agent(&self, node: &str) -> Step {
        let what = format!("{node}: agent is alive");
        match self.agents.get(node) {
            Some(Found::Known(agent)) => Step::of(&what, agent.conditions(), "Ready", None),
            Some(Found::Hidden(why)) => Step::unknown(what, why),
            Some(Found::Missing) | None => {
                Step::wrong(what, "there is no agent on this node", "see the DaemonSet's pods")
            }
        }
    }
}

fn addresses(port: &Port) -> &[AllocatedAddress] {
    port.status.as_ref().map_or(&[], |status| &status.addresses)
}

fn identity(port: &Port) -> Option<&String> {
    let identity = &port.spec.identity;
    identity.client_id.as_ref().or(identity.duid.as_ref())
}

/// Whether a server has come as far as to this Port; to one that is not `settled` it does not come.
fn knows(server: &DHCPServer, port: &Port, settled: bool) -> Step {
    let what = format!("{}: dnsmasq knows the Port", server.spec.node_name);
    let status = server.status.as_ref();
    let refused = status.iter().flat_map(|status| &status.refused_ports);
    let uid = port.metadata.uid.as_deref().unwrap_or_default();
    if let Some(refused) = refused.into_iter().find(|refused| refused.uid == uid) {
        return Step::wrong(what, format!("{}: {}", refused.reason, refused.message), cure(&refused.reason));
    }
    if !settled {
        let message = "not while the Port is not accepted, or has no addresses";
        return Step::wrong(what, message, "see the steps before");
    }
    let revision = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let done = revision(status.and_then(|status| status.ports_revision.as_deref()));
    let needed = revision(port.metadata.resource_version.as_deref());
    // The write that called it Ready moved the Port on, and nobody reports that.
    if port.is("Ready") || done.is_some_and(|done| needed.is_some_and(|needed| done >= needed)) {
        return Step::right(what, "");
    }
    Step::wrong(what, "it has not come to it yet", "wait a moment, then see the log of the agent there")
}
