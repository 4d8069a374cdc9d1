//! What is said of agents and physical networks: their `Ready` conditions.
//!
//! Part of the controller's loop. Written only when it changed, at most once a second.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use super::world::{Kind, Object, World};
use super::{Learn, Shared};
use crate::api::{Conditioned, DHCPAgent, PhysicalNetwork, PhysicalNetworkStatus};
use crate::cluster::leader::Guard;
use crate::cluster::write::{Error, Writer, apply_cluster_status, describe, leading, limited};
use crate::conditions::ready_only;
use crate::reason::{Problem, Reason};
use crate::types::ObjectName;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    dirty: bool,
    /// More than half of the agents are silent at once.
    pub(super) mass_expiry: bool,
}

/// What is to be written.
#[derive(Default)]
struct Writes {
    agents: Vec<(Arc<DHCPAgent>, serde_json::Value)>,
    physical: Vec<(Arc<PhysicalNetwork>, PhysicalNetworkStatus)>,
    /// Agents whose nodes are no more.
    gone: Vec<Arc<DHCPAgent>>,
}

impl Fleet {
    /// Something may be different.
    pub(super) fn mark(&mut self) {
        self.dirty = true;
    }

    /// Writes what is new, if something may be.
    pub(super) async fn write(&mut self, shared: &Shared, guard: &Guard) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let writes = self.judge(&shared.world(), Timestamp::now());
        if let Err(e) = write(shared, guard, writes).await {
            self.dirty = true;
            if !matches!(e, Error::NotLeader) {
                warn!("cannot write the state of agents and physical networks: {}", describe(&e));
            }
        }
    }

    fn judge(&self, world: &World, now: Timestamp) -> Writes {
        let mut writes = Writes::default();
        for (agent, node, dead_for) in world.agents() {
            let object = &agent.object;
            if node.is_none() && dead_for.is_some() {
                writes.gone.push(object.clone());
                continue;
            }
            let silent = dead_for.is_some() || self.mass_expiry;
            let state = if silent { Err(self.silence(&object.name_any())) } else { Ok(None) };
            let has = object.status.clone().unwrap_or_default();
            let generation = object.metadata.generation.unwrap_or(0);
            let conditions = ready_only(&state, generation, now, &has.conditions);
            let ours = has.conditions.iter().filter(|c| c.type_ != "PhysicalNetworksReady");
            if has.observed_generation != generation || !ours.eq(conditions.iter()) {
                let status = json!({"observedGeneration": generation, "conditions": conditions});
                writes.agents.push((object.clone(), status));
            }
        }
        for (physical, networks, agents) in world.physical_networks() {
            let status = physical_status(physical, networks, agents, now);
            if physical.status.as_ref() != Some(&status) {
                writes.physical.push((physical.clone(), status));
            }
        }
        writes
    }

    fn silence(&self, node: &str) -> Problem {
        if self.mass_expiry {
            let message = "more than half of the agents are silent at once; nothing is moved";
            return Problem::new(Reason::MassLeaseExpiry, message);
        }
        Problem::new(Reason::LeaseExpired, format!("the agent of node {node} does not renew its Lease"))
    }
}

fn physical_status(
    physical: &PhysicalNetwork,
    networks: usize,
    agents: usize,
    now: Timestamp,
) -> PhysicalNetworkStatus {
    let name = physical.name_any();
    let nobody = Problem::new(
        Reason::NoAgent,
        format!("no live agent reaches it; start agents with --physical-network {name}=bridge:NAME"),
    );
    let state = if agents > 0 { Ok(None) } else { Err(nobody) };
    let generation = physical.metadata.generation.unwrap_or(0);
    PhysicalNetworkStatus {
        observed_generation: generation,
        networks: u32::try_from(networks).ok(),
        agents: u32::try_from(agents).ok(),
        conditions: ready_only(&state, generation, now, physical.conditions()),
    }
}

async fn write(shared: &Shared, guard: &Guard, writes: Writes) -> Result<(), Error> {
    let leader = Writer::Controller(guard);
    for (agent, status) in writes.agents {
        let (name, uid) = (agent.name_any(), agent.uid());
        match apply_cluster_status::<DHCPAgent>(&shared.client, leader, &name, uid.as_deref(), &status).await
        {
            Ok(agent) => shared.learn(Object::Agent(Arc::new(agent))),
            Err(e) if e.is_not_found() || e.is_conflict() => {}
            Err(e) => return Err(e),
        }
    }
    for (physical, status) in writes.physical {
        let (name, uid) = (physical.name_any(), physical.uid());
        let written =
            apply_cluster_status::<PhysicalNetwork>(&shared.client, leader, &name, uid.as_deref(), &status);
        match written.await {
            Ok(physical) => shared.learn(Object::Physical(Arc::new(physical))),
            Err(e) if e.is_not_found() || e.is_conflict() => {}
            Err(e) => return Err(e),
        }
    }
    for agent in writes.gone {
        leading(guard)?;
        let (api, name) = (Api::<DHCPAgent>::all(shared.client.clone()), agent.name_any());
        match limited(api.delete(&name, &DeleteParams::default())).await {
            Ok(_) => info!(node = name, "the node is no more: removed its DHCPAgent"),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(e),
        }
        shared.forget(Kind::Agent, &ObjectName::new("", name));
    }
    Ok(())
}
