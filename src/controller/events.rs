//! Events: what a person wants to read in `kubectl describe`.
//!
//! Called after each judgement. Said once, when it changes; never waited for: an Event that cannot be
//! written is lost, the condition stays.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Notify;
use tracing::debug;

use super::judge::{Judged, ServerStep};
use super::statuses::Statuses;
use super::world::Snapshot;
use crate::api::{Conditioned, Port, find};
use crate::cluster::write::{describe, limited};
use crate::fair::Turns;
use crate::foreign::Kind;
use crate::plain::cut;
use crate::reason::Reason;

/// The condition of a Port.
const CONFLICT: &str = "AddressConflict";
/// Events of one namespace that wait to be written; beyond, they are dropped.
const QUEUE: usize = 256;
/// Events are at least this far apart: they are read by people.
const PACE: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Recorder {
    events: Arc<Waiting>,
    instance: String,
}

/// Events that are to be written, namespaces in turn: where one has many to tell, others are heard.
#[derive(Default)]
struct Waiting {
    events: Mutex<Turns<Event>>,
    notify: Notify,
}

impl Waiting {
    /// Whether there was room for it.
    fn put(&self, namespace: &str, event: Event) -> bool {
        let mut events = self.events();
        let room = events.len(namespace) < QUEUE;
        if room {
            events.push(namespace, event);
            self.notify.notify_one();
        }
        room
    }

    async fn next(&self) -> (String, Event) {
        loop {
            if let Some(next) = self.events().pop(|_| true) {
                return next;
            }
            self.notify.notified().await;
        }
    }

    fn events(&self) -> MutexGuard<'_, Turns<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said.
struct Note<'a> {
    warning: bool,
    reason: &'a str,
    action: &'a str,
    message: &'a str,
}

impl Recorder {
    /// Starts to write in the background.
    pub(super) fn start(client: Client, instance: &str) -> Self {
        let events = Arc::<Waiting>::default();
        let waiting = events.clone();
        tokio::spawn(async move {
            loop {
                let (namespace, event) = waiting.next().await;
                let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
                if let Err(e) = limited(api.create(&PostParams::default(), &event)).await {
                    debug!("an Event is lost: {}", describe(&e));
                }
                tokio::time::sleep(PACE).await;
            }
        });
        Self { events, instance: instance.to_owned() }
    }

    /// Says what is new in what was judged. Of Network and Subnets only if `all`: what is not written
    /// now is found again, and would be said again.
    pub(super) fn record(&self, snapshot: &Snapshot, judged: &Judged, statuses: &Statuses, all: bool) {
        if let Some(inputs) = &snapshot.inputs {
            for step in &judged.servers {
                let (reason, message) = match step {
                    ServerStep::Apply(name, _, spec) if !has(snapshot, name) => {
                        ("ServerPlaced", format!("slot {} is served by node {}", spec.slot, spec.node_name))
                    }
                    ServerStep::Withdraw(server, why) => {
                        ("ServerWithdrawn", format!("node {}: {why}", server.spec.node_name))
                    }
                    _ => continue,
                };
                let note = Note { warning: false, reason, action: "Place", message: &message };
                self.say(&*inputs.network, &note);
            }
        }
        for taken in &judged.entries.taken {
            let named = |port: &&Arc<Port>| port.metadata.name.as_deref() == Some(&taken.port);
            if let Some(port) = snapshot.ports.iter().find(named) {
                let (reason, message) = ("AddressTakenEarly", taken.message.as_str());
                self.say(&**port, &Note { warning: true, reason, action: "Allocate", message });
            }
        }
        if let Some((network, status)) = statuses.network.as_ref().filter(|_| all) {
            self.change(&**network, &status.conditions);
            self.appeared(&**network, &status.conditions);
        }
        for (subnet, status) in statuses.subnets.iter().filter(|_| all) {
            self.change(&**subnet, &status.conditions);
        }
        for (port, status) in &statuses.ports {
            self.change(&**port, &status.conditions);
            self.conflict(port, &status.conditions);
        }
    }

    /// A new problem, or the end of one; that work is under way is nothing to tell.
    fn change<K: Resource<DynamicType = ()> + Conditioned>(&self, object: &K, now: &[Condition]) {
        let (Some(now), before) = (find(now, "Ready"), object.condition("Ready")) else { return };
        let same = before.is_some_and(|before| before.status == now.status && before.reason == now.reason);
        if same || now.reason == "Progressing" {
            return;
        }
        let was_wrong = before.is_some_and(|before| {
            falls_short(before) || before.status != "True" && before.reason != "Progressing"
        });
        match now.status.as_str() {
            "True" if was_wrong || falls_short(now) => {
                let message = if now.message.is_empty() { "it is ready" } else { &now.message };
                let warning = now.reason == Reason::AddressHeldByPredecessor.as_str();
                self.say(object, &Note { warning, reason: &now.reason, action: "Reconcile", message });
            }
            "True" => {}
            _ => {
                let message = &now.message;
                self.say(object, &Note { warning: true, reason: &now.reason, action: "Reconcile", message });
            }
        }
    }

    /// That somebody else has a Port's address, and that it is over.
    fn conflict(&self, port: &Port, now: &[Condition]) {
        let (now, before) = (find(now, CONFLICT), port.condition(CONFLICT));
        match (now, before) {
            (Some(now), before) if before.is_none_or(|before| before.message != now.message) => {
                let note =
                    Note { warning: true, reason: CONFLICT, action: "Reconcile", message: &now.message };
                self.say(port, &note);
            }
            (None, Some(_)) => {
                let message = "nobody else has its address any more";
                self.say(
                    port,
                    &Note { warning: false, reason: "AddressConflictEnded", action: "Reconcile", message },
                );
            }
            _ => {}
        }
    }

    /// Who should not be on the segment, once.
    fn appeared<K: Resource<DynamicType = ()> + Conditioned>(&self, object: &K, now: &[Condition]) {
        let types = Kind::ALL.map(Kind::condition).into_iter().filter(|type_| !object.is(type_));
        for condition in types.filter_map(|type_| find(now, type_)) {
            let (reason, message) = (condition.reason.as_str(), condition.message.as_str());
            self.say(object, &Note { warning: true, reason, action: "Listen", message });
        }
    }

    fn say<K: Resource<DynamicType = ()>>(&self, object: &K, note: &Note<'_>) {
        let now = Timestamp::now();
        let namespace = object.namespace().unwrap_or_default();
        let stem: String = object.name_any().chars().take(200).collect();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", stem.trim_end_matches(['.', '-']), now.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some(note.action.to_owned()),
            reason: Some(note.reason.to_owned()),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            // An API server counts bytes, and refuses more than 1,024.
            note: Some(cut(note.message, 1_000).to_owned()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some("kube-dhcp.io/controller".to_owned()),
            reporting_instance: Some(self.instance.chars().take(128).collect()),
            regarding: Some(ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: Some(object.name_any()),
                namespace: Some(namespace.clone()),
                uid: object.uid(),
                resource_version: object.resource_version(),
                ..ObjectReference::default()
            }),
            ..Event::default()
        };
        if !self.events.put(&namespace, event) {
            debug!("too many Events; one is lost");
        }
    }
}

/// Ready, but not as it was asked for.
fn falls_short(ready: &Condition) -> bool {
    let reasons = [Reason::FewerServers, Reason::AddressHeldByPredecessor];
    reasons.iter().any(|reason| reason.as_str() == ready.reason)
}

fn has(snapshot: &Snapshot, server: &str) -> bool {
    snapshot.servers.iter().any(|known| known.metadata.name.as_deref() == Some(server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_namespace_with_thousands_to_tell_silences_nobody() {
        let waiting = Waiting::default();
        let taken = (0..5_000).filter(|_| waiting.put("a", Event::default())).count();
        assert_eq!(taken, QUEUE);
        assert!(waiting.put("z", Event::default()));
        let namespaces = [(); 2].map(|()| waiting.next().now_or_never().unwrap().0);
        assert_eq!(namespaces, ["a", "z"]);
    }
}
