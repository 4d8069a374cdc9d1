//! Saying what came of a pass: for the API server, and in the node's own report.
//!
//! The last part of a worker's pass.

use std::cell::OnceCell;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::super::next::{Next, RETRY};
use super::super::progress::Reached;
use super::super::sums;
use super::super::voice::Voice;
use super::super::words::Words;
use super::{REPORT_AT_LATEST, Worker};
use crate::desired::{Desired, Inputs};
use crate::host::Host;
use crate::reason::Problem;
use crate::store::PortsRevision;

/// Reports of one network are at least this far apart.
const REPORT_EVERY: Duration = Duration::from_millis(200);

impl<H: Host> Worker<H> {
    /// Says for the API server how far the network is.
    pub(super) fn tell(
        &self,
        inputs: &Inputs,
        desired: &Desired,
        failure: Option<&Problem>,
        done: Option<PortsRevision>,
    ) {
        let Some(name) = &self.name else { return };
        let (reached, leased) = (self.reached(desired, failure), &self.leased);
        let awaited = self.context.store().is_awaited(name);
        let held = self.predecessor.report();
        let words = Words { name, uid: self.uid, inputs, reached, done, awaited, held, leased };
        self.context.outbox.put(self.uid, words.report());
    }

    /// Says for it what keeps the network from being taken down.
    pub(super) fn tell_stuck(&self, failure: Option<&Problem>) {
        if let Some(name) = &self.name {
            self.context.outbox.hold(self.uid, name, failure);
        }
    }

    pub(super) fn reached<'a>(&'a self, desired: &'a Desired, failure: Option<&'a Problem>) -> Reached<'a> {
        let (segment, metadata) = (self.segment.as_ref(), self.metadata.problem());
        Reached {
            desired,
            segment,
            failure,
            metadata,
            refused: &self.refused,
            leased: &self.leased,
            unanswered: self.senses.selfcheck.problem(),
            foreign: self.senses.foreigners.there(),
            strays: OnceCell::new(),
        }
    }

    /// Reports, if there is something new to say; else, or if it is too soon, when to do so. `None`: there are
    /// changes to make, and it can wait.
    pub(super) async fn say(
        &mut self,
        inputs: &Inputs,
        desired: &Desired,
        failure: Option<&Problem>,
    ) -> Option<Next> {
        let now = Instant::now();
        if now < self.may_report_at {
            return Some(Next::At(self.may_report_at));
        }
        let can_wait = failure.is_none() && self.spoke.is_some() && self.may_wait();
        let reached = self.reached(desired, failure);
        let voice = Voice {
            uid: self.uid,
            node: &self.context.config.node_name,
            reached,
            said: self.said.last(),
            now: Timestamp::now(),
            newcomers: self.senses.newcomers.list(),
        };
        let report = voice.report(inputs, || can_wait && self.signal.is_woken())?;
        self.sums.count(&self.context.metrics, sums::of(&report, self.leased.counts));
        if self.said.is(&report) {
            return Some(Next::Never);
        }
        let is_large = self.segment.as_ref().is_some_and(|segment| !segment.shares.is_empty());
        let writing = self.said.write(report, is_large && can_wait);
        let written = tokio::select! {
            biased;
            written = writing => written,
            // It may come to its end all the same.
            () = self.signal.woken(), if can_wait => {
                self.signal.change();
                return None;
            }
        };
        if let Err(e) = written {
            self.context.metrics.failed("report");
            warn!(error = &e as &(dyn std::error::Error + 'static), "cannot report");
            return Some(Next::At(now + RETRY.last));
        }
        debug!("reported");
        self.may_report_at = now + REPORT_EVERY;
        Some(Next::Never)
    }

    /// Whether what is only to be said may wait for who comes.
    pub(super) fn may_wait(&self) -> bool {
        !self.is_late() && !self.cancel.is_cancelled()
    }

    /// Whether what there is to say has waited for as long as it may.
    pub(super) fn is_late(&self) -> bool {
        self.unsaid_since.is_some_and(|since| since.elapsed() >= REPORT_AT_LATEST)
    }
}
