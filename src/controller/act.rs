//! Doing what was judged: the writes of one network, in their order.
//!
//! Called by the controller's loop. Before each write it asks whether this process still leads; every
//! answer goes back into the world.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tracing::{debug, info};

use super::book::Entries;
use super::judge::{ServerStep, labels};
use super::statuses::Statuses;
use super::world::{Kind, Object, name_of};
use crate::api::{DHCPServer, DHCPServerSpec, IPAllocation, Released, ServerState};
use crate::cluster::leader::Guard;
use crate::cluster::write::{
    CONTROLLER, Error, Writer, apply_object, apply_status, apply_status_unchanged, describe, leading, limited,
};
use crate::conditions::whole_seconds;
use crate::types::{ObjectName, Revision};

/// Writes of one network at the same time.
const AT_ONCE: usize = 8;

/// What of a turn could not be done.
#[derive(Debug, Default)]
pub(super) struct Undone {
    /// Addresses without allocation: another one has it, or the API server refused it for this reason.
    pub(super) addresses: BTreeMap<IpAddr, Option<String>>,
    /// Why the API server refused a server.
    pub(super) server: Option<String>,
}

/// Takes what a write answered.
pub(super) trait Learn: Sync {
    /// An object is now so.
    fn learn(&self, object: Object);
    /// An object is gone.
    fn forget(&self, kind: Kind, name: &ObjectName);
}

/// Writes for one network.
pub(super) struct Actor<'a, L> {
    pub(super) client: &'a Client,
    pub(super) guard: &'a Guard,
    pub(super) network: &'a ObjectName,
    pub(super) world: &'a L,
}

impl<L: Learn> Actor<'_, L> {
    /// Makes, marks and removes allocations.
    pub(super) async fn allocations(&self, entries: Entries, undone: &mut Undone) -> Result<(), Error> {
        let free = entries.free.into_iter().map(|allocation| self.free(allocation));
        let mut outcome = every(free).await;
        let release = entries.release.into_iter().map(|(allocation, at)| self.release(allocation, at));
        outcome = outcome.and(every(release).await);
        let create = entries.create.into_iter().map(async |(allocation, old)| {
            let ip: Option<IpAddr> = allocation.spec.ip.parse().ok();
            (ip, self.create(allocation, old).await)
        });
        let made: Vec<_> = stream::iter(create).buffer_unordered(AT_ONCE).collect().await;
        for (ip, made) in made {
            match made {
                Ok(true) => {}
                Ok(false) => undone.addresses.extend(ip.map(|ip| (ip, None))),
                Err(e) => {
                    undone.addresses.extend(ip.map(|ip| (ip, Some(describe(&e)))));
                    outcome = outcome.and(Err(e));
                }
            }
        }
        outcome
    }

    /// Whether it was made; otherwise another one has the address.
    async fn create(&self, allocation: IPAllocation, old: Option<Arc<IPAllocation>>) -> Result<bool, Error> {
        if let Some(old) = old {
            self.free(old).await?;
        }
        let api: Api<IPAllocation> = self.api();
        match self.write(api.create(&PostParams::default(), &allocation)).await {
            Ok(made) => {
                self.world.learn(Object::Allocation(Arc::new(made)));
                Ok(true)
            }
            // Whoever made it, it is the truth. Where nobody did, it is a quota that many write at once.
            Err(e) if e.is_conflict() => {
                let there = limited(api.get_opt(&allocation.name_any())).await?.ok_or(e)?;
                let (ours, theirs) = (&allocation.spec, &there.spec);
                let same = ours.network_uid == theirs.network_uid && ours.holder.uid == theirs.holder.uid;
                let is_its = same && ours.holder.uid.is_some() && theirs.released.is_none();
                if !is_its {
                    info!(network = %self.network, ip = ours.ip, "somebody has this address already");
                }
                self.world.learn(Object::Allocation(Arc::new(there)));
                Ok(is_its)
            }
            Err(e) => Err(e),
        }
    }

    async fn release(&self, allocation: Arc<IPAllocation>, at: Revision) -> Result<(), Error> {
        let time = whole_seconds(Timestamp::now()).to_string();
        let released = Released { time, ports_revision: at.to_string() };
        let patch = json!({
            "metadata": {"resourceVersion": allocation.metadata.resource_version},
            "spec": {"released": released},
        });
        let api: Api<IPAllocation> = self.api();
        let name = allocation.name_any();
        let parameters = PatchParams { field_manager: Some(CONTROLLER.to_owned()), ..PatchParams::default() };
        match self.write(api.patch(&name, &parameters, &Patch::Merge(&patch))).await {
            Ok(released) => self.world.learn(Object::Allocation(Arc::new(released))),
            Err(e) if e.is_not_found() || e.is_conflict() => debug!(name, "it is another one now"),
            Err(e) => return Err(e),
        }
        Ok(())
    }

    async fn free(&self, allocation: Arc<IPAllocation>) -> Result<(), Error> {
        let api: Api<IPAllocation> = self.api();
        let name = name_of(&*allocation);
        match self.write(api.delete(&name.name, &only(&*allocation))).await {
            Ok(_) => {}
            Err(e) if e.is_not_found() => debug!(name = %name, "it is gone already"),
            // There is another one, of which we hear.
            Err(e) if e.is_conflict() => return Ok(()),
            Err(e) => return Err(e),
        }
        self.world.forget(Kind::Allocation, &name);
        Ok(())
    }

    /// Makes, changes, withdraws and deletes servers. Where one cannot be told to stop, none is told to answer
    /// more than it does.
    pub(super) async fn servers(&self, steps: Vec<ServerStep>, undone: &mut Undone) -> Result<(), Error> {
        let (mut outcome, mut blocked) = (Ok(()), false);
        for step in steps {
            if blocked && adds(&step) {
                continue;
            }
            let is_new = matches!(step, ServerStep::Apply(_, None, _));
            let done = self.server(step).await;
            if let Err(e) = &done {
                undone.server.get_or_insert_with(|| describe(e));
                blocked |= !is_new;
            }
            let goes_on = done.as_ref().err().is_none_or(Error::is_refused);
            outcome = outcome.and(done);
            if !goes_on {
                break;
            }
        }
        outcome
    }

    async fn server(&self, step: ServerStep) -> Result<(), Error> {
        match step {
            ServerStep::Apply(name, old, spec) => self.apply_server(&name, old.as_deref(), &spec).await,
            ServerStep::Withdraw(server, why) => {
                info!(network = %self.network, node = server.spec.node_name, "withdrawing a server: {why}");
                let spec = DHCPServerSpec { state: ServerState::Withdrawn, ..server.spec.clone() };
                self.apply_server(&server.name_any(), Some(&*server), &spec).await
            }
            ServerStep::Delete(server) => self.delete_server(&server).await,
        }
    }

    /// With `old` only that very one: none that was deleted meanwhile comes back.
    async fn apply_server(
        &self,
        name: &str,
        old: Option<&DHCPServer>,
        spec: &DHCPServerSpec,
    ) -> Result<(), Error> {
        let api: Api<DHCPServer> = self.api();
        let mut object = json!({
            "apiVersion": crate::api::API_VERSION, "kind": "DHCPServer",
            "metadata": {"name": name, "labels": labels(&self.network.name)},
            "spec": spec,
        });
        if let Some(uid) = old.and_then(|old| old.metadata.uid.as_deref()) {
            object["metadata"]["uid"] = uid.into();
        }
        let applied = apply_object(&api, self.writer(), name, object, old).await?;
        self.world.learn(Object::Server(Arc::new(applied)));
        Ok(())
    }

    async fn delete_server(&self, server: &DHCPServer) -> Result<(), Error> {
        let api: Api<DHCPServer> = self.api();
        match self.write(api.delete(&server.name_any(), &only(server))).await {
            Ok(_) => {}
            Err(e) if e.is_not_found() => {}
            Err(e) if e.is_conflict() => return Ok(()),
            Err(e) => return Err(e),
        }
        self.world.forget(Kind::Server, &name_of(server));
        Ok(())
    }

    /// Writes statuses; those of Network and Subnets only if `all`.
    pub(super) async fn statuses(&self, statuses: Statuses, all: bool) -> Result<(), Error> {
        every(statuses.ports.into_iter().map(async |(port, status)| {
            // Agents serve these addresses: one who stood still does not put back what others changed.
            if let Some(written) = self.status(&*port, &status, true).await? {
                self.world.learn(Object::Port(Arc::new(written)));
            }
            Ok(())
        }))
        .await?;
        every(statuses.servers.into_iter().map(async |(server, status)| {
            // Only our part: the rest is the agent's.
            let ours = json!({
                "observedGeneration": status.observed_generation, "conditions": status.conditions,
            });
            if let Some(written) = self.status(&*server, &ours, false).await? {
                self.world.learn(Object::Server(Arc::new(written)));
            }
            Ok(())
        }))
        .await?;
        if !all {
            return Ok(());
        }
        for (subnet, status) in statuses.subnets {
            if let Some(written) = self.status(&*subnet, &status, false).await? {
                self.world.learn(Object::Subnet(Arc::new(written)));
            }
        }
        if let Some((network, status)) = statuses.network
            && let Some(written) = self.status(&*network, &status, false).await?
        {
            self.world.learn(Object::Network(Arc::new(written)));
        }
        Ok(())
    }

    /// `None`: the object is gone, or another one; or with `unchanged` a newer one, of which we hear.
    async fn status<K>(
        &self,
        object: &K,
        status: &impl serde::Serialize,
        unchanged: bool,
    ) -> Result<Option<K>, Error>
    where
        K: crate::cluster::watch::Watched + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        let namespace = &self.network.namespace;
        let written = if unchanged {
            apply_status_unchanged(self.client, self.writer(), object, status).await
        } else {
            apply_status(self.client, self.writer(), (namespace, &name), &uid, status).await
        };
        match written {
            Ok(written) => Ok(Some(written)),
            Err(e) if e.is_not_found() || e.is_conflict() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn writer(&self) -> Writer<'_> {
        Writer::Controller(self.guard)
    }

    async fn write<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        leading(self.guard)?;
        limited(request).await
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.network.namespace)
    }
}

/// Whether it makes a server answer what it did not: where another one was to stop first, two would.
fn adds(step: &ServerStep) -> bool {
    match step {
        ServerStep::Apply(_, Some(old), spec) => {
            old.spec.addresses != spec.addresses || (spec.dynamic && !old.spec.dynamic)
        }
        ServerStep::Apply(..) => true,
        ServerStep::Withdraw(..) | ServerStep::Delete(_) => false,
    }
}

async fn every<F: Future<Output = Result<(), Error>>>(writes: impl Iterator<Item = F>) -> Result<(), Error> {
    let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
    let mut outcome = Ok(());
    // To the end: one that fails does not undo the others.
    while let Some(done) = writes.next().await {
        outcome = outcome.and(done);
    }
    outcome
}

/// Deletes this very object, as we know it.
fn only(object: &impl kube::Resource) -> DeleteParams {
    let meta = object.meta();
    let preconditions =
        Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}
