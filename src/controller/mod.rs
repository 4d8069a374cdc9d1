//! The controller's loop: what changed → which networks → judge → write.
//!
//! Called by `kube-dhcp controller`. It decides nothing about a network itself: `judge` and `statuses`
//! do. Only the leader writes; whoever does not lead keeps its knowledge warm.

mod act;
mod book;
mod events;
mod feed;
mod fleet;
mod judge;
mod metrics;
mod nodes;
mod pass;
mod queue;
mod segments;
mod statuses;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cluster::client::Connection;
use crate::cluster::heartbeat::VALID;
use crate::cluster::leader::{Guard, Leader, LeaderHandle, Times};
use crate::liveness::Liveness;
use crate::types::ObjectName;
use act::Learn;
use events::Recorder;
use feed::{Feed, Feeds};
use fleet::Fleet;
pub use judge::Settings;
pub use metrics::Metrics;
use pass::{Outcome, Turn};
use queue::Queue;
use world::{Dirty, Kind, Object, World};

/// What the controller is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where our Leases are.
    pub namespace: String,
    /// This process' name among the candidates for leadership.
    pub identity: String,
    /// Decisions for all networks.
    pub settings: Settings,
    /// How often agents renew their Leases.
    pub renew: Duration,
}

/// The name of the leader's Lease.
pub const LEASE: &str = "kube-dhcp-controller";

/// Networks that are worked on at the same time.
const AT_ONCE: usize = 16;
/// Statuses of Networks and Subnets are written at most this often.
const SLOW: Duration = Duration::from_secs(1);
/// Everything is judged again after this time, whatever was heard.
const RESYNC: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Why the controller ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A mistake of ours.
    #[error("a task of the controller failed; another candidate takes over")]
    Task(#[from] tokio::task::JoinError),
    /// There is nothing to learn any more.
    #[error("the watches ended")]
    FeedEnded,
}

/// What loop and tasks share.
pub(crate) struct Shared {
    client: Client,
    settings: Settings,
    world: Mutex<World>,
    dirty: Mutex<Dirty>,
    woken: Notify,
    recorder: Recorder,
    metrics: Metrics,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, networks: Dirty) {
        if !networks.is_empty() {
            self.dirty.lock().unwrap_or_else(PoisonError::into_inner).extend(networks);
            self.woken.notify_one();
        }
    }

    fn touched(&self) -> Dirty {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Learn for Shared {
    fn learn(&self, object: Object) {
        let touched = self.world().apply(object);
        self.touch(touched);
    }

    fn forget(&self, kind: Kind, name: &ObjectName, uid: Option<&str>) {
        let revision = self.world().ports_revision;
        let touched = self.world().remove(kind, name, uid, revision);
        self.touch(touched);
    }
}

/// Runs until `stop`: then the Lease is given back.
pub async fn run(
    connection: Connection,
    config: Config,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), Error> {
    let client = connection.client.clone();
    let shared = Arc::new(Shared {
        client: client.clone(),
        settings: config.settings,
        world: Mutex::default(),
        dirty: Mutex::default(),
        woken: Notify::new(),
        recorder: Recorder::start(client.clone(), &config.identity),
        metrics,
    });
    let (feeds, feed) = Feeds::open(&connection, &config.namespace);
    let released = CancellationToken::new();
    let times = Times::default();
    let leader =
        Leader::campaign(client, &config.namespace, LEASE, &config.identity, times, released.clone());
    let mut controller = Controller {
        liveness: Liveness::new(config.renew, feed::now()),
        fleet: Fleet::default(),
        shared,
        feeds,
        leader,
        guard: None,
        queue: Queue::default(),
        timers: BTreeMap::new(),
        slow: BTreeMap::new(),
        failures: BTreeMap::new(),
        turns: JoinSet::new(),
    };
    let ended = controller.serve(feed, stop).await;
    // Nothing may be writing when another one may lead.
    controller.guard = None;
    controller.turns.shutdown().await;
    released.cancel();
    controller.leader.finished().await;
    info!("stopped");
    ended
}

struct Controller {
    shared: Arc<Shared>,
    feeds: Feeds,
    leader: LeaderHandle,
    guard: Option<Guard>,
    liveness: Liveness,
    fleet: Fleet,
    queue: Queue,
    /// When to look at a network again.
    timers: BTreeMap<ObjectName, Instant>,
    /// When the statuses of Network and Subnets may be written again.
    slow: BTreeMap<ObjectName, Instant>,
    failures: BTreeMap<ObjectName, u32>,
    turns: JoinSet<(ObjectName, Outcome)>,
}

impl Controller {
    async fn serve(&mut self, mut feed: mpsc::Receiver<Feed>, stop: CancellationToken) -> Result<(), Error> {
        let mut tick = interval(Liveness::TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resync = interval(RESYNC);
        let shared = self.shared.clone();
        loop {
            self.start_turns();
            let timer = self.timers.values().min().copied();
            let lost = self.guard.clone();
            // Each arm only waits, or takes from a channel: nothing is lost when another one wins.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                seen = feed.recv() => {
                    self.take(seen.ok_or(Error::FeedEnded)?);
                    while let Ok(more) = feed.try_recv() {
                        self.take(more);
                    }
                }
                () = shared.woken.notified() => self.collect(),
                Some(done) = self.turns.join_next() => self.done(done?),
                guard = self.leader.acquired(), if self.guard.is_none() && self.feeds.are_synced() => {
                    self.lead(guard).await;
                }
                () = async { match &lost { Some(guard) => guard.lost().await, None => std::future::pending().await } } => {
                    warn!("no longer the leader");
                    self.guard = None;
                    self.shared.metrics.leading.set(0);
                    self.liveness.blind(feed::now());
                }
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => self.ring(),
                _ = tick.tick() => self.tick().await,
                _ = resync.tick() => self.everything(),
            }
        }
    }

    /// We lead: what is known is made as new as the API server, then everything is judged.
    async fn lead(&mut self, guard: Option<Guard>) {
        let Some(guard) = guard else { return };
        match feed::refresh(&self.shared).await {
            Ok(()) => {
                self.guard = Some(guard);
                self.shared.metrics.leading.set(1);
                self.liveness.sighted(feed::now());
                self.everything();
            }
            Err(e) => {
                let error = &e as &(dyn std::error::Error + 'static);
                error!(error, "cannot learn who has which address; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn everything(&mut self) {
        let all = {
            let mut world = self.shared.world();
            world.prune();
            world.all()
        };
        for network in all {
            self.queue.push(network);
        }
        self.fleet.mark();
    }

    fn take(&mut self, seen: Feed) {
        self.feeds.take(seen, &self.shared, &mut self.liveness);
        self.collect();
    }

    fn collect(&mut self) {
        for network in self.shared.touched() {
            self.queue.push(network);
        }
        self.fleet.mark();
    }

    fn start_turns(&mut self) {
        let Some(guard) = self.guard.clone() else { return };
        while self.turns.len() < AT_ONCE
            && let Some(network) = self.queue.pop()
        {
            let now = Instant::now();
            let all = self.slow.get(&network).is_none_or(|at| *at <= now);
            let turn =
                Turn { shared: self.shared.clone(), guard: guard.clone(), network: network.clone(), all };
            self.turns.spawn(async move {
                let outcome = turn.take().await;
                (network, outcome)
            });
        }
    }

    fn done(&mut self, (network, outcome): (ObjectName, Outcome)) {
        let now = Instant::now();
        let mut again = outcome.look_again.map(|after| now + after);
        if outcome.wrote_slow {
            self.slow.insert(network.clone(), now + SLOW);
        }
        if outcome.owes_slow {
            let at = self.slow.get(&network).copied().unwrap_or(now);
            again = Some(again.map_or(at, |again| again.min(at)));
        }
        match outcome.error {
            None => {
                self.failures.remove(&network);
            }
            Some(message) => {
                let failures = self.failures.entry(network.clone()).or_default();
                let wait =
                    FIRST_RETRY.saturating_mul(2u32.saturating_pow((*failures).min(10))).min(LAST_RETRY);
                *failures += 1;
                warn!(network = %network, failures = *failures, "cannot do what is to be done: {message}");
                self.shared.metrics.failures.inc();
                again = Some(now + wait);
            }
        }
        match again {
            Some(at) => self.timers.insert(network.clone(), at),
            None => self.timers.remove(&network),
        };
        if outcome.is_gone {
            self.slow.remove(&network);
        }
        self.queue.done(&network);
    }

    fn ring(&mut self) {
        let now = Instant::now();
        let due: Vec<_> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(network, _)| network.clone()).collect();
        for network in due {
            self.timers.remove(&network);
            self.queue.push(network);
        }
    }

    async fn tick(&mut self) {
        let now = feed::now();
        if self.feeds.is_silent(now) {
            self.liveness.blind(now);
        }
        let agents = self.shared.world().agent_names();
        self.liveness.expect(&agents, VALID);
        let verdict = self.liveness.verdict(now);
        if self.fleet.mass_expiry != verdict.mass_expiry {
            self.fleet.mass_expiry = verdict.mass_expiry;
            self.fleet.mark();
            if verdict.mass_expiry {
                error!("more than half of the agents are silent at once: nothing is moved");
            }
        }
        let dead = verdict.dead.into_iter().map(|(node, since)| (node, now.saturating_sub(since)));
        let touched = self.shared.world().set_dead(dead.collect());
        for network in touched {
            self.queue.push(network);
            self.fleet.mark();
        }
        if let Some(guard) = &self.guard {
            self.fleet.write(&self.shared, guard).await;
        }
    }
}

/// The names in a set of networks that are to get servers somewhere.
type Nodes = BTreeSet<String>;

#[cfg(test)]
mod tests;
