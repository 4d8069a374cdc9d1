//! The agent's loop: what changed → which networks → one worker for each → what is to be said.
//!
//! Called by `kube-dhcp agent`. It knows neither where objects come from nor how a node is changed:
//! both are handed to it. It decides nothing about a network's state; `desired` and `plan` do.

mod announce;
mod beacon;
mod beside;
mod context;
mod crashes;
mod declined;
mod ear;
mod ending;
mod execute;
mod foreigners;
mod hearing;
mod kept;
mod leased;
mod ledger_file;
mod metadata;
mod naming;
mod newcomers;
mod next;
mod outbox;
mod predecessor;
mod progress;
mod publish;
mod reborn;
mod repeat;
mod reported;
mod selfcheck;
mod senses;
mod signal;
mod sums;
mod voice;
mod words;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::durable::{self, Survives};
use crate::host::{Host, ensure_inotify_instances};
use crate::metrics::Metrics;
use crate::report::{self, NodeReport};
use crate::source::{Batch, Source};
use crate::store::Dirty;
use crate::types::{NetworkUid, ObjectName};

pub use context::Config;
use context::Context;
pub(crate) use context::segments_path;
pub(crate) use ledger_file::read as read_ledger;
use signal::Signal;
pub use signal::{Readiness, Turning};
use worker::Worker;

/// How the agent is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything goes on serving.
    Leave,
    /// Everything is taken down first.
    TakeDown,
}

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the node.
    #[error(transparent)]
    Host(#[from] crate::host::Error),
    /// Of the state directory.
    #[error(transparent)]
    State(#[from] durable::Error),
    /// A mistake of ours.
    #[error(
        "the worker of a network failed; its network and all others are served on, start the agent again"
    )]
    Worker(#[source] tokio::task::JoinError),
    /// There is nothing to learn any more.
    #[error("the source of objects ended")]
    SourceEnded,
}

/// One agent on one node.
pub struct Agent<H> {
    context: Arc<Context<H>>,
    workers: BTreeMap<NetworkUid, Arc<Signal>>,
    names: BTreeMap<ObjectName, NetworkUid>,
    /// There may be objects that are not known: what else is found on the node may be somebody's.
    partial: bool,
    turning: Turning,
    tasks: JoinSet<NetworkUid>,
    said: NodeReport,
    cancel: CancellationToken,
}

impl<H: Host> Agent<H> {
    /// An agent that acts on `host`. Reads what an earlier one left in the state directory.
    pub fn new(host: H, config: Config, metrics: Metrics) -> Result<Self, Error> {
        // What is said already is not said again; one that cannot be read is said anew.
        let said = durable::read(&report::node_path(&config.node.state)).unwrap_or_default();
        Ok(Self {
            context: Arc::new(Context::new(host, config, metrics)?),
            workers: BTreeMap::new(),
            names: BTreeMap::new(),
            partial: false,
            turning: Turning::default(),
            tasks: JoinSet::new(),
            said: said.unwrap_or_default(),
            cancel: CancellationToken::new(),
        })
    }

    /// Whether all networks of the start were attempted.
    pub fn readiness(&self) -> Readiness {
        self.context.readiness.clone()
    }

    /// Whether the loop turns.
    pub fn turning(&self) -> Turning {
        self.turning.clone()
    }

    /// Serves what `source` says until `stop`; returns when the last action ended.
    pub async fn run(
        mut self,
        mut source: impl Source,
        stop: CancellationToken,
        exit: Exit,
    ) -> Result<(), Error> {
        let mut events = self.context.host.events();
        let mut writes = self.context.host.writes();
        let left_over = self.found().await?;
        let (first, learnt) = tokio::select! {
            both = async { tokio::join!(source.next(), self.context.learn_rules()) } => both,
            () = stop.cancelled() => return Ok(()),
        };
        let first = first.ok_or(Error::SourceEnded)?;
        learnt?;
        let mut speakers = self.speakers(source.kept());
        // Bridges of networks whose removal was cut short. One with a port of anybody's stays.
        self.sweep().await;
        self.start(first, left_over);
        let every = self.context.config.resync;
        let mut resync = interval_at(Instant::now() + every, every);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.turning.answer();
        loop {
            // Each arm only takes from a channel or waits: nothing is lost when another one wins.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.turning.asked() => self.turning.answer(),
                batch = source.next() => self.take(batch.ok_or(Error::SourceEnded)?).await,
                Some(uid) = events.recv() => self.disturbed(uid),
                Some(uid) = writes.recv() => self.wrote(uid),
                Some(ended) = self.tasks.join_next() => self.ended(ended).await?,
                Some(ended) = speakers.join_next() => ended.map_err(Error::Worker)?,
                _ = resync.tick() => self.resync().await,
            }
        }
        self.stop(exit).await;
        Ok(())
    }

    async fn found(&self) -> Result<BTreeSet<NetworkUid>, Error> {
        let mut found = self.context.host.networks().await?;
        found.extend(self.context.remembered());
        Ok(found)
    }

    /// The networks that are wanted, and those that are there and no longer wanted.
    fn start(&mut self, first: Batch, mut left_over: BTreeSet<NetworkUid>) {
        let dirty = self.learn(first);
        let known: BTreeSet<_> = dirty.iter().filter_map(|name| self.context.uid(name)).collect();
        info!(networks = (&known | &left_over).len(), found = left_over.len(), "starting");
        if self.partial {
            let unknown = left_over.difference(&known).count();
            left_over.retain(|uid| known.contains(uid));
            if unknown > 0 {
                warn!(
                    networks = unknown,
                    "not everything that is declared can be read: what else is served here stays as it is until then"
                );
            }
        }
        self.context.readiness.expect(&known | &left_over);
        self.wake(dirty);
        for uid in left_over {
            self.signal(uid, None).observe();
        }
        self.settle();
    }

    /// The tasks that speak to the API server.
    fn speakers(&self, kept: Option<watch::Receiver<u64>>) -> JoinSet<()> {
        let mut speakers = JoinSet::new();
        if let Some((connection, kept)) = self.context.config.cluster.as_ref().zip(kept) {
            speakers.spawn(publish::publish(self.context.clone(), connection.clone(), kept));
            speakers.spawn(beacon::shine(self.context.clone(), connection.clone()));
        }
        speakers
    }

    async fn take(&mut self, batch: Batch) {
        let was_partial = self.partial;
        let dirty = self.learn(batch);
        self.wake(dirty);
        self.settle();
        if was_partial && !self.partial {
            self.collect(self.found().await);
        }
    }

    fn learn(&mut self, batch: Batch) -> Dirty {
        self.partial = batch.partial;
        self.context.set_origin(batch.origin);
        self.context.set_problems(&batch.problems);
        self.context.outbox.withhold(batch.taken, batch.copy);
        let (dirty, reported) = {
            let mut store = self.context.store();
            (store.apply(batch.events), store.take_reported())
        };
        for network in reported {
            self.context.outbox.look(network);
        }
        self.context.save_segments();
        dirty
    }

    fn wake(&mut self, dirty: Dirty) {
        for name in dirty {
            self.context.outbox.look(name.clone());
            let uid = self.context.uid(&name);
            // An object of this name but another UID: the old one's worker takes down, the new one's serves.
            if let Some(old) = self.names.get(&name).copied().filter(|old| Some(*old) != uid) {
                self.signal(old, None).change();
                self.names.remove(&name);
            }
            if let Some(uid) = uid {
                self.names.insert(name.clone(), uid);
                self.signal(uid, Some(name)).change();
            }
        }
        if let Err(e) = ensure_inotify_instances(self.names.len()) {
            warn!(
                error = &e as &(dyn std::error::Error + 'static),
                "the node is not ready for so many networks"
            );
        }
        self.context.metrics.networks.set(self.names.len().try_into().unwrap_or(i64::MAX));
    }

    /// After all workers that there shall be are there, and only those.
    fn settle(&mut self) {
        self.context.set_at_work(self.workers.keys().copied().collect());
        self.context.beacon.notify_one();
        self.say();
    }

    fn signal(&mut self, uid: NetworkUid, name: Option<ObjectName>) -> Arc<Signal> {
        if let Some(signal) = self.workers.get(&uid) {
            return signal.clone();
        }
        let signal = Arc::new(Signal::default());
        self.workers.insert(uid, signal.clone());
        let span = if let Some(name) = &name {
            info_span!("worker", network = %name)
        } else {
            info_span!("worker", network_uid = %uid)
        };
        let worker = Worker::new(self.context.clone(), uid, name, signal.clone(), self.cancel.clone());
        self.tasks.spawn(async move { worker.run().await }.instrument(span));
        signal
    }

    fn disturbed(&mut self, uid: NetworkUid) {
        // What nobody wants and has no worker is left-over of another time: found at the next start.
        if let Some(signal) = self.workers.get(&uid) {
            signal.observe();
        }
    }

    fn wrote(&self, uid: NetworkUid) {
        if let Some(signal) = self.workers.get(&uid) {
            signal.wrote();
        }
    }

    /// A worker ends when nothing of its network is wanted or there. What ended together is swept up
    /// together: a sweep looks at all links.
    async fn ended(&mut self, ended: Ended) -> Result<(), Error> {
        let mut gone = self.take_back(ended)?;
        while let Some(ended) = self.tasks.try_join_next() {
            gone |= self.take_back(ended)?;
        }
        if gone {
            self.sweep().await;
        }
        Ok(())
    }

    /// Whether a network is gone. It may have been wanted again just before. A worker that panicked is
    /// our mistake, and nobody looks after its network any more: a fresh agent adopts all of them.
    fn take_back(&mut self, ended: Ended) -> Result<bool, Error> {
        let uid = ended.map_err(Error::Worker)?;
        self.workers.remove(&uid);
        self.context.set_at_work(self.workers.keys().copied().collect());
        self.context.outbox.forget(uid);
        self.look_at_server_of(uid);
        let name = self.names.iter().find(|(_, other)| **other == uid).map(|(name, _)| name.clone());
        let Some(name) = name else { return Ok(true) };
        self.signal(uid, Some(name)).change();
        Ok(false)
    }

    /// Whoever waits for its end is told, also of a network that this process found and never served.
    fn look_at_server_of(&self, uid: NetworkUid) {
        let uid = uid.to_string();
        let store = self.context.store();
        for server in store.servers().filter(|server| server.spec.network_ref.uid == uid) {
            let namespace = server.metadata.namespace.as_deref().unwrap_or_default();
            self.context.outbox.look(ObjectName::new(namespace, &server.spec.network_ref.name));
        }
    }

    async fn resync(&mut self) {
        self.context.refresh_node();
        self.context.save_segments();
        self.context.beacon.notify_one();
        for name in self.names.keys() {
            self.context.outbox.look(name.clone());
        }
        for signal in self.workers.values() {
            signal.observe();
        }
        if !self.partial {
            self.context.expire_ledgers();
            let found = self.context.host.networks().await;
            self.collect(found.map_err(Error::Host));
        }
        self.sweep().await;
        self.say();
    }

    /// What is left of networks that nobody looks after, such as a port of a switch that was away.
    fn collect(&mut self, found: Result<BTreeSet<NetworkUid>, Error>) {
        match found {
            Ok(all) => {
                for uid in all.into_iter().filter(|uid| !self.workers.contains_key(uid)).collect::<Vec<_>>() {
                    self.signal(uid, None).observe();
                }
            }
            Err(e) => warn!(error = &e as &(dyn std::error::Error + 'static), "cannot look for what is left"),
        }
    }

    async fn sweep(&self) {
        let wanted = self.context.bridges();
        if let Err(e) = self.context.host.sweep_bridges(&wanted).await {
            warn!(error = &e as &(dyn std::error::Error + 'static), "cannot remove unused bridges");
        }
    }

    /// Writes what belongs to no network, if it is not what was written before.
    fn say(&mut self) {
        let report = self.context.node_report(&self.said);
        if report == self.said {
            return;
        }
        let path = report::node_path(&self.context.config.node.state);
        match durable::write(&path, &report, Survives::Crash) {
            Ok(()) => self.said = report,
            Err(e) => warn!(error = &e as &(dyn std::error::Error + 'static), "cannot report"),
        }
    }
}

type Ended = Result<NetworkUid, tokio::task::JoinError>;

/// An error and all that stands behind it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
