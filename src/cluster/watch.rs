//! One watch on one selection of objects, for ever: listed, followed, resumed, listed anew when it must.
//!
//! Used by the cluster source and the controller. kube's own watcher does not say up to which resource
//! version it has seen everything; the rules between controller and agents rest on that.

mod absence;
mod hear;
mod list;
mod seen;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use kube::api::ListParams;
use kube::core::{DynamicObject, WatchEvent};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::client::why;
use super::pulse::Pulse;
use crate::backoff::{Backoff, jittered};
use crate::types::Revision;
use absence::Absence;
use hear::{Heard, heard};

pub use seen::{Gone, Seen, Selection, Unreadable};

/// How many lists a process asks for at the same time: a start with many networks is no storm.
const LISTS: usize = 8;
/// A list that stops in the middle is begun anew.
const LIST_SILENCE: Duration = Duration::from_secs(30);
const RETRY: Backoff = Backoff { first: Duration::from_millis(200), last: Duration::from_secs(20) };
/// No backup is put back in less.
const TRUSTED: Duration = Duration::from_secs(3);

/// Bounds what all watches of a process ask for at the same time.
#[derive(Debug, Clone)]
pub struct Pace {
    lists: Arc<Semaphore>,
    pulse: Pulse,
}

impl Pace {
    /// For a process that hears of the API server by this pulse.
    pub fn new(pulse: Pulse) -> Self {
        Self { lists: Arc::new(Semaphore::new(LISTS)), pulse }
    }
}

/// A kind that can be watched.
pub trait Watched:
    Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

/// Follows `selection` until `tell` says that nobody listens any more.
pub async fn follow<K: Watched>(
    client: Client,
    selection: Selection,
    pace: Pace,
    tell: impl AsyncFnMut(Seen<K>) -> bool,
) {
    Watch::new::<K>(client, selection, pace, tell).run().await;
}

struct Watch<F> {
    api: Api<DynamicObject>,
    resource: String,
    selection: Selection,
    pace: Pace,
    tell: F,
    failures: u32,
    /// Whether the last failure was an answer.
    refused: bool,
    /// Since when nothing is seen.
    broken: Option<Instant>,
    /// Whether the API server can list by a watch (KEP-3157).
    streaming: bool,
    absence: Absence,
    /// It was told that there is nothing because the kind is not there any more.
    gone: bool,
}

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<DynamicObject>>> + Send>>;

type Listed = (Vec<DynamicObject>, Revision, Option<Events>);

/// Why a turn ended.
enum End {
    /// Nobody listens.
    Unheard,
    /// What follows a list, on the same stream.
    Follow(Events, Revision),
    /// What was seen up to here holds: go on from there.
    Resume(Revision),
    /// The same, after a short failure: only if the API server is no older than that.
    Verify(Revision),
    /// List anew.
    Relist,
}

impl<F> Watch<F> {
    fn new<K: Watched>(client: Client, selection: Selection, pace: Pace, tell: F) -> Self {
        let resource = kube::api::ApiResource::erase::<K>(&());
        let absence = Absence::new(client.clone(), &resource.group);
        let api = match &selection.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        Self {
            api,
            resource: resource.plural,
            selection,
            pace,
            tell,
            failures: 0,
            refused: false,
            broken: None,
            streaming: true,
            absence,
            gone: false,
        }
    }

    async fn run<K: Watched>(&mut self)
    where
        F: AsyncFnMut(Seen<K>) -> bool,
    {
        let mut next = End::Relist;
        loop {
            next = match next {
                End::Unheard => return,
                End::Relist => self.list().await,
                End::Verify(revision) => self.verify(revision).await,
                End::Follow(events, revision) => self.events(events, revision).await,
                End::Resume(revision) => self.watch(revision).await,
            };
        }
    }

    async fn list<K: Watched>(&mut self) -> End
    where
        F: AsyncFnMut(Seen<K>) -> bool,
    {
        let permit = self.pace.lists.clone().acquire_owned().await;
        let listed = if self.streaming { self.streamed_list().await } else { self.paged_list().await };
        drop(permit);
        match listed {
            Ok((objects, revision, events)) => {
                debug!(resource = self.resource, objects = objects.len(), revision = revision.0, "listed");
                self.mended();
                let seen = Seen::listed(objects, revision);
                self.found();
                self.gone = false;
                let heard = (self.tell)(seen).await;
                match events {
                    _ if !heard => End::Unheard,
                    Some(events) => End::Follow(events, revision),
                    None => End::Resume(revision),
                }
            }
            Err(kube::Error::Api(status)) if self.streaming && matches!(status.code, 400 | 422) => {
                info!(resource = self.resource, "the API server does not stream lists; asking for pages");
                self.streaming = false;
                End::Relist
            }
            Err(error) => self.failed(&error, End::Relist).await,
        }
    }

    /// An API server whose storage was put back has other objects under numbers that we saw already.
    async fn verify<K: Watched>(&mut self, revision: Revision) -> End
    where
        F: AsyncFnMut(Seen<K>) -> bool,
    {
        let permit = self.pace.lists.clone().acquire_owned().await;
        let params =
            ListParams { field_selector: self.selection.fields.clone(), ..ListParams::default() }.limit(1);
        let answer = within(LIST_SILENCE, async { Some(self.api.list(&params).await) }).await;
        drop(permit);
        match answer {
            Ok(Some(list)) => {
                self.found();
                let now = Revision::read(list.metadata.resource_version.as_deref()).unwrap_or_default();
                if now >= revision {
                    let heard = (self.tell)(Seen::Reconnected).await;
                    return if heard { End::Resume(revision) } else { End::Unheard };
                }
                warn!(
                    resource = self.resource,
                    was = revision.0,
                    now = now.0,
                    "the API server is older than it was: its storage was put back; listing anew"
                );
                End::Relist
            }
            Ok(None) => End::Relist,
            Err(error) => self.failed(&error, End::Verify(revision)).await,
        }
    }

    async fn watch<K: Watched>(&mut self, from: Revision) -> End
    where
        F: AsyncFnMut(Seen<K>) -> bool,
    {
        let opened =
            within(LIST_SILENCE, async { Some(self.api.watch(&self.params(), &from.to_string()).await) });
        let events = match opened.await {
            Ok(Some(events)) => Box::pin(events) as Events,
            Ok(None) => return End::Verify(from),
            Err(error) => return self.interrupted(&error, from).await,
        };
        self.events(events, from).await
    }

    async fn events<K: Watched>(&mut self, mut events: Events, from: Revision) -> End
    where
        F: AsyncFnMut(Seen<K>) -> bool,
    {
        let mut revision = from;
        let mut revivals = self.pace.pulse.revivals();
        loop {
            let event = match heard(&mut events, &mut revivals).await {
                Heard::Event(event) => event,
                // Nothing happens, and not every API server says so.
                Heard::Nothing => return End::Resume(revision),
                Heard::Suspect => {
                    debug!(resource = self.resource, "the watch is silent since an outage; listing anew");
                    return End::Relist;
                }
            };
            let seen = match event {
                Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    revision = revision_of(&object, revision);
                    Seen::applied(object, revision)
                }
                Ok(Some(WatchEvent::Deleted(object))) => {
                    revision = revision_of(&object, revision);
                    Seen::deleted(&object, revision)
                }
                Ok(Some(WatchEvent::Bookmark(bookmark))) => {
                    revision = bookmark.metadata.resource_version.parse().unwrap_or(revision);
                    Seen::Reached(revision)
                }
                Ok(Some(WatchEvent::Error(status))) => {
                    return self.interrupted(&kube::Error::Api(status), revision).await;
                }
                // Watches end now and then.
                Ok(None) if revision > from || self.failures == 0 => return End::Resume(revision),
                Ok(None) => return self.interrupted(&cut_short(), revision).await,
                Err(error) => return self.interrupted(&error, revision).await,
            };
            self.mended();
            if !(self.tell)(seen).await {
                return End::Unheard;
            }
        }
    }

    async fn interrupted<K: Watched>(&mut self, error: &kube::Error, revision: Revision) -> End
    where
        F: AsyncFnMut(Seen<K>) -> bool,
    {
        match error {
            // Gone: it no longer knows what happened since then.
            kube::Error::Api(status) if status.code == 410 => {
                debug!(resource = self.resource, "the watch is too old; listing anew");
                End::Relist
            }
            // It has not come so far, or does not know this number: another storage.
            kube::Error::Api(status) if matches!(status.code, 400 | 504) => {
                self.failed(error, End::Relist).await
            }
            _ => self.failed(error, End::Verify(revision)).await,
        }
    }

    /// The kind is there.
    fn found(&mut self) {
        if self.absence.ended() {
            // With the definitions went what others of this process had made.
            self.pace.pulse.revived();
        }
    }

    fn mended(&mut self) {
        self.failures = 0;
        self.broken = None;
    }

    /// Says what failed, the first time, and waits: longer each time, and not together with others.
    async fn failed<K: Watched>(&mut self, error: &kube::Error, then: End) -> End
    where
        F: AsyncFnMut(Seen<K>) -> bool,
    {
        // One that is just starting knows neither rights nor kinds: it says no, but not for long.
        let refused = is_an_answer(error);
        if std::mem::replace(&mut self.refused, refused) != refused {
            self.failures = 0;
        }
        let wait = jittered(RETRY.after(self.failures));
        self.failures = self.failures.saturating_add(1);
        let broken = *self.broken.get_or_insert_with(Instant::now);
        let message = why(error, &self.resource);
        debug!(resource = self.resource, failures = self.failures, "cannot watch: {message}");
        let mut then = then;
        if self.absence.is_final(error).await {
            if !std::mem::replace(&mut self.gone, true) {
                warn!(resource = self.resource, "the definitions are gone, and all objects with them");
                let reached = if let End::Verify(revision) = then { revision } else { Revision::default() };
                if !(self.tell)(Seen::Listed(Vec::new(), Vec::new(), reached)).await {
                    return End::Unheard;
                }
            }
            then = End::Relist;
        }
        if !(self.tell)(Seen::Broken(format!("cannot watch {}: {message}", self.resource))).await {
            return End::Unheard;
        }
        if refused {
            sleep(wait).await;
        } else {
            self.pace.pulse.pause(wait).await;
        }
        match then {
            // What it says then may be another history, whose numbers are as high by now.
            End::Verify(_) if broken.elapsed() > TRUSTED => End::Relist,
            then => then,
        }
    }
}

/// Whether the API server works, and says no.
fn is_an_answer(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code < 500 && status.code != 429)
}

fn revision_of(object: &DynamicObject, before: Revision) -> Revision {
    Revision::read(object.metadata.resource_version.as_deref()).unwrap_or(before)
}

/// The next item, if it comes in time.
async fn within<T>(
    limit: Duration,
    next: impl Future<Output = Option<kube::Result<T>>>,
) -> kube::Result<Option<T>> {
    match timeout(limit, next).await {
        Ok(next) => next.transpose(),
        Err(_) => Err(kube::Error::Service(format!("no answer within {} s", limit.as_secs()).into())),
    }
}

fn cut_short() -> kube::Error {
    kube::Error::Service("the API server ended its answer early".into())
}

#[cfg(test)]
mod tests;
