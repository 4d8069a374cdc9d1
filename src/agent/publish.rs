//! Writing to the API server what the workers say: each network's part into its DHCPServer's status.
//!
//! One task beside the loop. It compares with what the API server has and writes only what is new, each
//! network at most five times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::context::Context;
use super::next::until;
use super::outbox::ServerReport;
use crate::api::{AGENT_CONDITIONS, DHCPServer, DHCPServerStatus, ServerState};
use crate::backoff::{Backoff, jittered};
use crate::cluster::client::Connection;
use crate::cluster::older::{self, fitting_status};
use crate::cluster::write::{self, Writer, apply_status};
use crate::conditions::Says;
use crate::fair::Places;
use crate::foreign::Kind;
use crate::reason::{Problem, Reason};
use crate::types::{NetworkUid, ObjectName, Revision};

/// Reports of one network are at least this far apart.
const EVERY: Duration = Duration::from_millis(200);
/// Reports of one namespace that are written at the same time; a third more of all.
const AT_ONCE: usize = 8;
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), last: Duration::from_secs(30) };
/// Not all agents at once.
const SOON: Duration = Duration::from_secs(2);

/// What was written last, and is in the API server from this revision on.
struct Written {
    uid: String,
    /// What was known of the object before.
    over: Revision,
    revision: Revision,
    status: Value,
}

struct Publisher<H> {
    context: Arc<Context<H>>,
    client: Client,
    due: BTreeMap<ObjectName, Instant>,
    not_before: BTreeMap<ObjectName, Instant>,
    failures: BTreeMap<ObjectName, u32>,
    written: BTreeMap<ObjectName, Written>,
    busy: BTreeSet<ObjectName>,
    places: Places,
    /// The namespace that had a turn last.
    last: String,
}

/// Publishes for ever.
pub(super) async fn publish<H>(
    context: Arc<Context<H>>,
    connection: Connection,
    mut kept: watch::Receiver<u64>,
) {
    let Connection { client, pulse } = connection;
    let mut revivals = pulse.revivals();
    let mut publisher = Publisher {
        context: context.clone(),
        client,
        due: BTreeMap::new(),
        not_before: BTreeMap::new(),
        failures: BTreeMap::new(),
        written: BTreeMap::new(),
        busy: BTreeSet::new(),
        places: Places::for_each(AT_ONCE),
        last: String::new(),
    };
    let mut writes = FuturesUnordered::new();
    let mut again = None;
    loop {
        while let Some(next) = publisher.next() {
            writes.push(next);
        }
        let wake = publisher.wake();
        again = again.or_else(|| older::again_at().map(Instant::from_std));
        // Each arm only waits or takes what is done.
        tokio::select! {
            changed = context.outbox.changed() => publisher.mark(changed),
            Some(done) = writes.next() => publisher.done(done),
            () = until(wake) => {}
            () = until(again) => {
                again = None;
                publisher.mark_all();
            }
            copy = next_of(&mut kept) => context.outbox.kept(copy),
            // What waits for the API server need not wait longer. The sender is ours.
            _ = revivals.changed() => publisher.hurry(),
        }
    }
}

/// For ever, if nothing is kept any more.
async fn next_of(kept: &mut watch::Receiver<u64>) -> u64 {
    match kept.changed().await {
        Ok(()) => *kept.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}

type Done = (ObjectName, Arc<DHCPServer>, Value, Result<DHCPServer, write::Error>);

impl<H> Publisher<H> {
    fn mark(&mut self, changed: BTreeSet<ObjectName>) {
        let now = Instant::now();
        for network in changed {
            let at = self.not_before.get(&network).copied().unwrap_or(now).max(now);
            self.due.entry(network).or_insert(at);
        }
    }

    /// What the API server did not take it may take now.
    fn mark_all(&mut self) {
        let of = |server: &Arc<DHCPServer>| {
            ObjectName::new(server.namespace().unwrap_or_default(), &server.spec.network_ref.name)
        };
        let all = self.context.store().servers().map(of).collect();
        self.mark(all);
    }

    /// What failed is tried again soon.
    fn hurry(&mut self) {
        let soon = Instant::now() + jittered(SOON);
        let failed = self.due.iter_mut().filter(|(network, _)| self.failures.contains_key(*network));
        failed.for_each(|(_, at)| *at = soon.min(*at));
    }

    fn wake(&self) -> Option<Instant> {
        self.due.iter().filter(|(network, _)| self.may_write(network)).map(|(_, at)| *at).min()
    }

    /// One write of a network at a time, and not all of one namespace.
    fn may_write(&self, network: &ObjectName) -> bool {
        !self.busy.contains(network) && self.places.are_for(&network.namespace)
    }

    /// One that is due, of the namespace that is next in turn.
    fn ready(&self, now: Instant) -> Option<ObjectName> {
        let ready = |(network, at): &(&ObjectName, &Instant)| **at <= now && self.may_write(network);
        let mut all = self.due.iter().filter(ready).map(|(network, _)| network);
        let first = all.next()?;
        let later = [first].into_iter().chain(all).find(|network| network.namespace > self.last);
        Some(later.unwrap_or(first).clone())
    }

    /// The next write that is due, if there is something to say.
    fn next(&mut self) -> Option<impl Future<Output = Done> + use<H>> {
        let now = Instant::now();
        loop {
            let network = self.ready(now)?;
            self.due.remove(&network);
            self.last.clone_from(&network.namespace);
            let Some((server, status)) = self.news(&network) else { continue };
            self.busy.insert(network.clone());
            self.places.take(&network.namespace);
            self.not_before.insert(network.clone(), now + EVERY);
            let client = self.client.clone();
            return Some(async move {
                let (namespace, name) = (server.namespace().unwrap_or_default(), server.name_any());
                let uid = server.uid().unwrap_or_default();
                let written = apply_status(&client, Writer::Agent, (&namespace, &name), &uid, &status).await;
                (network, server, status, written)
            });
        }
    }

    fn done(&mut self, (network, before, status, result): Done) {
        self.busy.remove(&network);
        self.places.give_back(&network.namespace);
        match result {
            Ok(server) => {
                self.failures.remove(&network);
                let (uid, over) = (before.uid().unwrap_or_default(), revision_of(&before));
                let revision = revision_of(&server);
                self.written.insert(network.clone(), Written { uid, over, revision, status });
                // What was said meanwhile.
                self.mark([network].into());
            }
            // It is gone, or another one: what follows comes with the watch.
            Err(e) if e.is_not_found() || e.is_conflict() => {
                debug!(network = %network, "its DHCPServer is no more");
                self.written.remove(&network);
            }
            Err(e) => {
                let failures = self.failures.entry(network.clone()).or_default();
                let wait = RETRY.after(*failures);
                *failures += 1;
                if *failures == 1 {
                    let error = &e as &(dyn std::error::Error + 'static);
                    warn!(network = %network, error, "cannot report; trying again");
                }
                self.context.metrics.failed("publish");
                self.due.insert(network, Instant::now() + wait);
            }
        }
    }

    /// The DHCPServer of a network and its new status, if the API server has another one.
    fn news(&mut self, network: &ObjectName) -> Option<(Arc<DHCPServer>, Value)> {
        let server = self.context.store().server_of(network)?.clone();
        let uid: NetworkUid = server.spec.network_ref.uid.parse().ok()?;
        let has = self.has(network, &server);
        let outbox = &self.context.outbox;
        let is_kept = outbox.is_kept(network);
        let shall = match outbox.report(uid) {
            Some(mut report) if server.spec.state == ServerState::Active => {
                report.done = report.done.filter(|_| is_kept);
                status(&report, &server, &has)
            }
            None if server.spec.state == ServerState::Withdrawn && self.context.is_gone(uid) && is_kept => {
                torn_down(&server, &has)
            }
            // Not yet taken down.
            _ if server.spec.state == ServerState::Withdrawn => {
                not_torn_down(&outbox.stuck(uid)?, &server, &has)
            }
            // Not yet looked at.
            _ => return None,
        };
        // What the API server would not take is no news.
        let shall = fitting_status("DHCPServer", shall);
        (shall != ours(&has)).then_some((server, shall))
    }

    /// The status as the API server has it, as far as is known here.
    fn has(&mut self, network: &ObjectName, server: &DHCPServer) -> DHCPServerStatus {
        let seen = revision_of(server);
        // Older than what was there when we wrote: the API server's storage was put back.
        let newer = |written: &&Written| {
            server.uid().as_deref() == Some(written.uid.as_str())
                && (written.over..written.revision).contains(&seen)
        };
        if !self.written.get(network).as_ref().is_some_and(newer) {
            self.written.remove(network);
        }
        let written = self.written.get(network);
        let status = written.and_then(|written| serde_json::from_value(written.status.clone()).ok());
        status.or_else(|| server.status.clone()).unwrap_or_default()
    }
}

fn revision_of(server: &DHCPServer) -> Revision {
    Revision::read(server.metadata.resource_version.as_deref()).unwrap_or_default()
}

/// The part of a status that is ours.
fn ours(status: &DHCPServerStatus) -> Value {
    let mut status = status.clone();
    status.conditions.retain(|condition| AGENT_CONDITIONS.contains(&condition.type_.as_str()));
    written(&status)
}

/// What an agent writes of a status.
pub(super) fn written(status: &impl Serialize) -> Value {
    let mut value = json!(status);
    // The controller's.
    if let Some(fields) = value.as_object_mut() {
        fields.remove("observedGeneration");
    }
    value
}

/// What is to be in the API server.
fn status(report: &ServerReport, server: &DHCPServer, has: &DHCPServerStatus) -> Value {
    let set = |type_: &str, state: &Result<(), Problem>| {
        condition(type_, Says::of(state.as_ref().map(|()| Reason::Ready)), server, has)
    };
    let serving = set("Serving", &report.serving);
    let serving_since = (serving.status == "True").then(|| serving.last_transition_time.0.to_string());
    let there =
        |(kind, problem): &(Kind, Problem)| condition(kind.condition(), Says::warning(problem), server, has);
    let metadata = report.metadata.as_ref().map(|state| set("MetadataServed", state));
    let foreign = report.foreign.iter().map(there);
    let programmed = set("Programmed", &report.programmed);
    let conditions = [programmed, serving].into_iter().chain(foreign).chain(metadata).collect();
    let mut shall = DHCPServerStatus {
        observed_generation: has.observed_generation,
        device: report.device.clone(),
        ports_revision: has.ports_revision.clone(),
        network_generation: Some(report.generation),
        subnets: report.subnets.clone(),
        ports: Some(report.ports),
        refused_ports: report.refused.clone(),
        held_addresses: report.held.clone().unwrap_or_else(|| has.held_addresses.clone()),
        leases: Some(report.leased.counts),
        foreign_leases: report.leased.foreign.clone(),
        declined_addresses: report.leased.declined.clone(),
        serving_since,
        conditions,
    };
    if let Some(done) = report.done {
        let said = Revision::read(has.ports_revision.as_deref());
        let awaited = Revision::read(server.spec.awaited_revision.as_deref());
        let asked =
            awaited.is_some_and(|awaited| said.is_none_or(|said| said < awaited) && awaited <= done.seen);
        let removed = said.is_none_or(|said| said < done.removal);
        // Not for every change: an object that is not written costs nobody a look.
        if said.is_none_or(|said| said > done.seen)
            || asked
            || removed
            || report.awaited
            || written(&shall) != ours(has)
        {
            shall.ports_revision = Some(done.seen.to_string());
        }
    }
    written(&shall)
}

fn torn_down(server: &DHCPServer, has: &DHCPServerStatus) -> Value {
    let conditions = vec![condition("TornDown", Says::of(Ok(Reason::Ready)), server, has)];
    written(&DHCPServerStatus { conditions, ..DHCPServerStatus::default() })
}

/// The rest stays as it was said: what was not taken down may still serve.
fn not_torn_down(problem: &Problem, server: &DHCPServer, has: &DHCPServerStatus) -> Value {
    let mut status = has.clone();
    status.conditions.retain(|condition| condition.type_ != "TornDown");
    status.conditions.push(condition("TornDown", Says::of(Err(problem)), server, has));
    ours(&status)
}

fn condition(type_: &str, says: Says<'_>, server: &DHCPServer, has: &DHCPServerStatus) -> Condition {
    let generation = server.metadata.generation.unwrap_or(0);
    says.condition(type_, Some(generation), Timestamp::now(), &has.conditions)
}
