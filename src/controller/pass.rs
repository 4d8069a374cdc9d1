//! One turn of one network: look, judge, write.
//!
//! Spawned by the loop; of one network there is one at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{Instrument, debug_span};

use super::Shared;
use super::act::Actor;
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
    /// Whether the statuses of Network and Subnets may be written.
    pub(super) all: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) look_again: Option<Duration>,
    /// Statuses of Network or Subnets were written.
    pub(super) wrote_slow: bool,
    /// Such are to be written later.
    pub(super) owes_slow: bool,
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
        self.shared.world().set_placing(&self.network, super::Nodes::new());
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
        let (snapshot, judged) = self.judge(now);
        outcome.look_again = judged.look_again;
        outcome.is_gone = snapshot.inputs.is_none();
        let (client, world) = (&self.shared.client, &*self.shared);
        let actor = Actor { client, guard: &self.guard, network: &self.network, world };
        let unmade = actor.allocations(judged.entries.clone()).await?;
        // Without its addresses a server would be another one's double.
        if unmade.is_empty() {
            actor.servers(judged.servers.clone()).await?;
        }
        let statuses = statuses(&snapshot, &judged, &unmade, now);
        self.shared.recorder.record(&snapshot, &judged, &statuses, self.all);
        let slow = is_slow(&statuses);
        outcome.owes_slow = slow && !self.all;
        outcome.wrote_slow = slow && self.all;
        actor.statuses(statuses, self.all).await
    }

    fn judge(&self, now: Timestamp) -> (Snapshot, Judged) {
        let (snapshot, candidates) = {
            let world = self.shared.world();
            (world.snapshot(&self.network), world.candidates(&self.network, now))
        };
        let judged = judge(&snapshot, &candidates, self.shared.settings, now);
        self.shared.world().set_placing(&self.network, judged.placing.clone());
        (snapshot, judged)
    }
}

fn is_slow(statuses: &Statuses) -> bool {
    statuses.network.is_some() || !statuses.subnets.is_empty()
}
