//! One turn of one network: look, judge, write.
//!
//! Spawned by the loop; of one network there is one at a time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{Instrument, debug_span};

use super::Shared;
use super::act::{Actor, Undone};
use super::judge::{Judged, judge};
use super::statuses::{Statuses, statuses};
use super::world::Snapshot;
use crate::cluster::leader::Guard;
use crate::cluster::write::Error;
use crate::types::ObjectName;

/// See the module.
pub(super) struct Turn {
    pub(super) shared: Arc<Shared>,
    pub(super) guard: Guard,
    pub(super) network: ObjectName,
    /// How long ago the statuses of Network and Subnets were written, if ever.
    pub(super) written: Option<Duration>,
}

/// Statuses of Networks and Subnets are written at most this often …
const SLOW: Duration = Duration::from_secs(1);
/// … and so often when only their numbers of ports and addresses changed.
const NUMBERS: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) look_again: Option<Duration>,
    /// Statuses of Network or Subnets were written.
    pub(super) wrote_slow: bool,
    /// Such are to be written after this time.
    pub(super) owes_slow: Option<Duration>,
    /// How long it took to decide what to do.
    pub(super) decided: Duration,
    /// Nothing is left of the network.
    pub(super) is_gone: bool,
    pub(super) error: Option<String>,
}

impl Turn {
    pub(super) async fn take(self) -> Outcome {
        let span = debug_span!("network", network = %self.network);
        let began = Instant::now();
        let mut outcome = Outcome::default();
        let done = self.work(&mut outcome).instrument(span).await;
        self.shared.world().room.place(&self.network, super::Nodes::new());
        self.shared.metrics.passes.observe(began.elapsed().as_secs_f64());
        match done {
            // Whoever leads now does it.
            Ok(()) | Err(Error::NotLeader) => {}
            Err(e) => outcome.error = Some(crate::cluster::write::describe(&e)),
        }
        outcome
    }

    async fn work(&self, outcome: &mut Outcome) -> Result<(), Error> {
        let now = Timestamp::now();
        let began = Instant::now();
        let (snapshot, mut judged) = self.judge(now);
        outcome.decided = began.elapsed();
        outcome.look_again = judged.look_again;
        outcome.is_gone = snapshot.inputs.is_none() && !snapshot.hidden;
        let (client, world) = (&self.shared.client, &*self.shared);
        let actor = Actor { client, guard: &self.guard, network: &self.network, world };
        // What the API server refuses is said, and keeps nothing else.
        let mut undone = Undone::default();
        let mut done = unless_refused(actor.allocations(judged.entries.clone(), &mut undone).await)?;
        // Without its addresses a server would be another one's double.
        let mut own = judged.accepted.slots.iter().flatten().filter_map(|address| address.ip.parse().ok());
        if !own.any(|ip: IpAddr| undone.addresses.contains_key(&ip)) {
            let told = actor.servers(judged.servers.clone(), &mut undone).await;
            done = done.and(unless_refused(told)?);
        }
        let began = Instant::now();
        let statuses = statuses(&snapshot, &judged, &undone, now);
        outcome.decided += began.elapsed();
        self.shared.metrics.decisions.observe(outcome.decided.as_secs_f64());
        outcome.owes_slow = self.owed(&statuses);
        outcome.wrote_slow = statuses.has_slow() && outcome.owes_slow.is_none();
        if done.is_err() {
            // Not all of it happened.
            judged.servers.clear();
            judged.entries.taken.clear();
        }
        self.shared.recorder.record(&snapshot, &judged, &statuses, outcome.wrote_slow);
        done.and(actor.statuses(statuses, outcome.wrote_slow).await)
    }

    /// After what time the statuses of Network and Subnets are to be written, if not now.
    fn owed(&self, statuses: &Statuses) -> Option<Duration> {
        let every = if statuses.are_numbers_only() { NUMBERS } else { SLOW };
        let wait = every.checked_sub(self.written?)?;
        (statuses.has_slow() && !wait.is_zero()).then_some(wait)
    }

    fn judge(&self, now: Timestamp) -> (Snapshot, Judged) {
        let (snapshot, holders, times) = {
            let world = self.shared.world();
            let snapshot = world.snapshot(&self.network);
            let holders = world.holders(&snapshot, now);
            (snapshot, holders, world.room.times())
        };
        let all = || self.shared.world().candidates(&self.network, now);
        let mut judged = judge(&snapshot, &holders, all, self.shared.settings, now);
        let mut world = self.shared.world();
        world.room.place(&self.network, judged.placing.clone());
        if world.room.wait(&self.network, judged.missing.is_some(), times) {
            judged.look_again = Some(Duration::ZERO);
        }
        drop(world);
        (snapshot, judged)
    }
}

/// An error that says nothing about the next write, or else at once.
fn unless_refused(done: Result<(), Error>) -> Result<Result<(), Error>, Error> {
    match done {
        Err(e) if !e.is_refused() => Err(e),
        done => Ok(done),
    }
}
