//! The controller's loop: what changed → which networks → judge → write.
//!
//! Called by `kube-dhcp controller`. It decides nothing about a network itself: `judge` and `statuses`
//! do. Only the leader writes; whoever does not lead keeps its knowledge warm.

mod act;
mod book;
mod conflict;
mod events;
mod feed;
mod fleet;
mod foreign;
mod holder;
mod judge;
mod lacking;
mod metrics;
mod nodes;
mod overview;
mod pass;
mod predecessor;
mod queue;
mod schedule;
mod segments;
mod statuses;
mod strangers;
mod timers;
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

use crate::backoff::Backoff;
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
use schedule::Schedule;
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

/// A network rests this long after it was worked on, and longer if it is so large that it takes long.
const REST: Duration = Duration::from_millis(25);
/// Everything is judged again after this time, whatever was heard.
const RESYNC: Duration = Duration::from_secs(300);
const RETRY: Backoff = Backoff { first: Duration::from_millis(200), last: Duration::from_secs(30) };

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

    fn forget(&self, kind: Kind, name: &ObjectName) {
        let mut world = self.world();
        let revision = world.ports_revision;
        let touched = world.forget(kind, name, revision);
        drop(world);
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
    shared.metrics.look_at(&shared);
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
        schedule: Schedule::default(),
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
    schedule: Schedule,
    /// When the statuses of Network and Subnets were written last.
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
            let timer = self.schedule.next();
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
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => self.schedule.ring(Instant::now()),
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
                self.shared.world().contest_all();
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
        self.touch(all);
    }

    fn take(&mut self, seen: Feed) {
        self.feeds.take(seen, &self.shared, &mut self.liveness);
        self.collect();
    }

    fn collect(&mut self) {
        let touched = self.shared.touched();
        self.touch(touched);
    }

    fn touch(&mut self, networks: Dirty) {
        let now = Instant::now();
        for network in networks {
            self.schedule.touch(network, now);
        }
        self.fleet.mark();
    }

    fn start_turns(&mut self) {
        let Some(guard) = self.guard.clone() else { return };
        while let Some(network) = self.schedule.pop() {
            let written = self.slow.get(&network).map(Instant::elapsed);
            let (shared, guard) = (self.shared.clone(), guard.clone());
            let turn = Turn { shared, guard, network: network.clone(), written };
            self.turns.spawn(async move {
                let outcome = turn.take().await;
                (network, outcome)
            });
        }
    }

    fn done(&mut self, (network, outcome): (ObjectName, Outcome)) {
        let now = Instant::now();
        if outcome.wrote_slow {
            self.slow.insert(network.clone(), now);
        }
        let retry = outcome.error.map(|message| self.failed(&network, &message));
        if retry.is_none() {
            self.failures.remove(&network);
        }
        // A failure waits for its time; else whatever comes first.
        let after = retry.or_else(|| [outcome.look_again, outcome.owes_slow].into_iter().flatten().min());
        self.schedule.done(&network, now + REST.max(2 * outcome.decided), after.map(|after| now + after));
        if outcome.is_gone {
            self.slow.remove(&network);
            self.schedule.forget(&network);
        }
    }

    /// How long to wait before it is tried again.
    fn failed(&mut self, network: &ObjectName, message: &str) -> Duration {
        let failures = self.failures.entry(network.clone()).or_default();
        let wait = RETRY.after(*failures);
        *failures += 1;
        warn!(network = %network, failures = *failures, "cannot do what is to be done: {message}");
        self.shared.metrics.failures.inc();
        wait
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
        if !touched.is_empty() {
            self.touch(touched);
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
