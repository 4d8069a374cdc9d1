//! All objects in numbers, and by name those of them that are in trouble.
//!
//! Made of the world when somebody asks for metrics. Pure. How many series come of it does not depend on how
//! many objects there are: reasons are those of `Reason`, and of what is named there are [`NAMED`] at most, of
//! one namespace [`OF_A_NAMESPACE`], so that no tenant keeps another's from being seen.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::world::{World, name_of};
use crate::api::{Conditioned, Subnet};
use crate::reason::Reason;
use crate::types::ObjectName;

/// Objects of a kind that are named at a time, the first by name.
const NAMED: usize = 100;
const OF_A_NAMESPACE: usize = 10;
/// Subnets that have used more of their addresses than this are named, the fullest first.
const FULL: f64 = 0.75;

/// See the module.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Overview {
    networks: BTreeMap<&'static str, i64>,
    subnets: BTreeMap<&'static str, i64>,
    servers: BTreeMap<&'static str, i64>,
    agents: BTreeMap<&'static str, i64>,
    ports: i64,
    ports_ready: i64,
    unserved: Vec<(ObjectName, &'static str)>,
    lost: Vec<(String, &'static str)>,
    full: Vec<(ObjectName, f64)>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Names have labels of their own: "namespace" and "node" are often the target's.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NetworkLabel {
    network: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SubnetLabel {
    subnet: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AgentLabel {
    agent: String,
    reason: &'static str,
}

impl Overview {
    pub(super) fn new(world: &World) -> Self {
        let mut overview = Self::default();
        for network in world.networks() {
            let reason = count(&mut overview.networks, &**network);
            let ports = network.status.as_ref().and_then(|status| status.ports).unwrap_or_default();
            overview.ports += i64::from(ports.total);
            overview.ports_ready += i64::from(ports.ready);
            // What may not be served is its tenant's to mend.
            let accepted = network.condition("Accepted").is_none_or(|accepted| accepted.status != "False");
            if accepted && !network.is("Ready") {
                overview.unserved.push((name_of(&**network), reason));
            }
        }
        for subnet in world.subnets() {
            count(&mut overview.subnets, &**subnet);
            let ratio = used(subnet).filter(|ratio| *ratio > FULL);
            overview.full.extend(ratio.map(|ratio| (name_of(&**subnet), ratio)));
        }
        overview.full.sort_by(|one, other| other.1.total_cmp(&one.1));
        overview.full = few(overview.full);
        overview.unserved = few(overview.unserved);
        for server in world.servers() {
            count(&mut overview.servers, &**server);
        }
        for (agent, _, _) in world.agents() {
            let reason = count(&mut overview.agents, &*agent.object);
            if !agent.object.is("Ready") && overview.lost.len() < NAMED {
                overview.lost.push((name_of(&*agent.object).name, reason));
            }
        }
        overview
    }

    /// As metrics of the controller.
    pub(super) fn register(self, registry: &mut Registry) {
        registry.register("networks", "Networks, by the reason of Ready", reasons(self.networks));
        registry.register("subnets", "Subnets, by the reason of Ready", reasons(self.subnets));
        registry.register("servers", "DHCPServers, by the reason of Ready", reasons(self.servers));
        registry.register("agents", "DHCPAgents, by the reason of Ready", reasons(self.agents));
        registry.register("ports", "Ports of all Networks", gauge(self.ports));
        registry.register("ports_ready", "Ports that all servers have accepted", gauge(self.ports_ready));
        let unserved = self.unserved.into_iter();
        let label =
            |(name, reason): (ObjectName, _)| (NetworkLabel { network: name.to_string(), reason }, 1.0);
        registry.register(
            "network_unserved",
            "1 for each Network that may be served and whose guests nobody answers; 100 at most, 10 of a namespace",
            family(unserved.map(label)),
        );
        let lost = self.lost.into_iter();
        registry.register(
            "agent_lost",
            "1 for each agent that does not renew its Lease; 100 at most",
            family(lost.map(|(agent, reason)| (AgentLabel { agent, reason }, 1.0))),
        );
        let full = self.full.into_iter();
        registry.register(
            "subnet_addresses_used_ratio",
            "Of a Subnet's addresses those that are not free, where it is more than 0.75; the fullest 100, 10 of a namespace",
            family(full.map(|(name, ratio)| (SubnetLabel { subnet: name.to_string() }, ratio))),
        );
    }
}

/// The first of each namespace.
fn few<T>(all: Vec<(ObjectName, T)>) -> Vec<(ObjectName, T)> {
    let mut namespaces: BTreeMap<String, usize> = BTreeMap::new();
    let has_room = |(name, _): &(ObjectName, T)| {
        let named = namespaces.entry(name.namespace.clone()).or_default();
        *named += 1;
        *named <= OF_A_NAMESPACE
    };
    all.into_iter().filter(has_room).take(NAMED).collect()
}

/// Counts an object under the reason of its condition `Ready`.
fn count(counts: &mut BTreeMap<&'static str, i64>, object: &impl Conditioned) -> &'static str {
    let ready = object.condition("Ready");
    // Somebody may have written what he likes. What nobody has looked at yet is under way.
    let known = |name: &str| Reason::named(name).map_or("Other", Reason::as_str);
    let reason = ready.map_or(Reason::Progressing.as_str(), |c| known(&c.reason));
    *counts.entry(reason).or_default() += 1;
    reason
}

/// How much of its addresses a Subnet has used. One that nobody gets an address from has none.
#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn used(subnet: &Subnet) -> Option<f64> {
    let addresses = subnet.status.as_ref()?.addresses.filter(|addresses| addresses.total > 0)?;
    Some((addresses.used + addresses.releasing) as f64 / addresses.total as f64)
}

type Ratio = Gauge<f64, AtomicU64>;

fn reasons(counts: BTreeMap<&'static str, i64>) -> Family<ReasonLabel, Gauge> {
    let family: Family<ReasonLabel, Gauge> = Family::default();
    for (reason, number) in counts {
        family.get_or_create(&ReasonLabel { reason }).set(number);
    }
    family
}

fn family<L: Clone + Hash + Eq>(values: impl Iterator<Item = (L, f64)>) -> Family<L, Ratio> {
    let family: Family<L, Ratio> = Family::default();
    for (label, value) in values {
        family.get_or_create(&label).set(value);
    }
    family
}

fn gauge(value: i64) -> Gauge {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    gauge
}

#[cfg(test)]
impl Overview {
    /// With all metrics in it.
    pub(super) fn example() -> Self {
        let one = BTreeMap::from([("Ready", 1)]);
        let name = ObjectName::new("team-a", "lan");
        Self {
            networks: one.clone(),
            subnets: one.clone(),
            servers: one.clone(),
            agents: one,
            unserved: vec![(name.clone(), "NoAgent")],
            lost: vec![("n1".to_owned(), "LeaseExpired")],
            full: vec![(name, 0.9)],
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::controller::world::Object;

    fn object<K: serde::de::DeserializeOwned>(
        kind: &str,
        name: &str,
        spec: &str,
        status: &serde_json::Value,
    ) -> K {
        let (namespace, name) = name.split_once('/').unwrap();
        let metadata = json!({"name": name, "namespace": namespace, "resourceVersion": "1"});
        let spec: serde_json::Value = serde_json::from_str(spec).unwrap();
        let api = "kube-dhcp.io/v1alpha1";
        let object =
            json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec, "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn conditions(all: &[(&str, &str, &str)]) -> serde_json::Value {
        let since = "2026-01-01T00:00:00Z";
        let condition = |(type_, status, reason): &(&str, &str, &str)| json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": since});
        all.iter().map(condition).collect()
    }

    fn network(name: &str, accepted: &str, ready: &str, reason: &str) -> Object {
        let conditions = conditions(&[("Accepted", accepted, reason), ("Ready", ready, reason)]);
        let status = json!({"conditions": conditions, "ports": {"total": 3, "ready": 2}});
        Object::Network(Arc::new(object(
            "Network",
            name,
            r#"{"physicalNetworkRef": {"name": "p"}}"#,
            &status,
        )))
    }

    fn subnet(name: &str, used: i64, releasing: i64) -> Object {
        let addresses = json!({"total": 100, "used": used, "releasing": releasing});
        let status = json!({"conditions": conditions(&[("Ready", "True", "Ready")]), "addresses": addresses});
        let spec = r#"{"networkRef": {"name": "n"}, "cidr": "10.0.0.0/24"}"#;
        Object::Subnet(Arc::new(object("Subnet", name, spec, &status)))
    }

    #[test]
    fn what_is_in_trouble_is_named_and_all_is_counted() {
        let mut world = World::default();
        for seen in [
            network("t/good", "True", "True", "FewerServers"),
            network("t/bad", "True", "False", "NoAgent"),
            network("t/odd", "True", "False", "Whatever"),
            network("t/wrong", "False", "False", "NotGranted"),
            subnet("t/half", 50, 0),
            subnet("t/full", 70, 10),
            subnet("t/fuller", 99, 0),
        ] {
            world.apply(seen);
        }
        let overview = Overview::new(&world);
        let counted = BTreeMap::from([("FewerServers", 1), ("NoAgent", 1), ("NotGranted", 1), ("Other", 1)]);
        assert_eq!(overview.networks, counted);
        let unserved =
            [("bad", "NoAgent"), ("odd", "Other")].map(|(name, why)| (ObjectName::new("t", name), why));
        assert_eq!(overview.unserved, unserved);
        let full = [("fuller", 0.99), ("full", 0.8)].map(|(name, ratio)| (ObjectName::new("t", name), ratio));
        assert_eq!(overview.full, full);
        assert_eq!((overview.ports, overview.ports_ready), (12, 8));
        let mut registry = Registry::default();
        overview.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("network_unserved{network=\"t/bad\",reason=\"NoAgent\"} 1.0\n"), "{text}");
        assert!(text.contains("subnet_addresses_used_ratio{subnet=\"t/full\"} 0.8\n"), "{text}");
    }

    #[test]
    fn however_many_there_are_few_are_named_and_nobody_hides_anothers() {
        let mut world = World::default();
        for number in 0..200 {
            world.apply(network(&format!("a/n{number:03}"), "True", "False", "NoAgent"));
            world.apply(subnet(&format!("a/s{number:03}"), 100, 0));
        }
        world.apply(network("z/n", "True", "False", "NoAgent"));
        world.apply(subnet("z/s", 80, 0));
        let overview = Overview::new(&world);
        assert_eq!((overview.unserved.len(), overview.full.len()), (OF_A_NAMESPACE + 1, OF_A_NAMESPACE + 1));
        assert_eq!(overview.unserved[OF_A_NAMESPACE].0, ObjectName::new("z", "n"));
        assert_eq!(overview.full[OF_A_NAMESPACE].0, ObjectName::new("z", "s"));
        assert_eq!(overview.networks, BTreeMap::from([("NoAgent", 201)]));
        for namespace in 0..200 {
            world.apply(network(&format!("b{namespace}/n"), "True", "False", "NoAgent"));
        }
        assert_eq!(Overview::new(&world).unserved.len(), NAMED);
    }
}
