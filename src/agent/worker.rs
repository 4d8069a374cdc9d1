//! One network: look, decide, do, say; again when something changed.
//!
//! Each network has one worker, so that nothing of it happens twice at a time and a network that is
//! stuck delays no other.

mod arrivals;
mod mend;
mod say;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::context::Context;
use super::crashes::AllCrashes;
use super::foreigners::ours;
use super::kept::Kept;
use super::leased::Leased;
use super::metadata::Metadata;
use super::naming::Naming;
use super::next::{Failures, Next};
use super::predecessor::Predecessor;
use super::progress::Refusals;
use super::reported::Reported;
use super::senses::Senses;
use super::signal::Signal;
use super::sums::Sums;
use crate::desired::{Desired, Inputs, Known};
use crate::dnsmasq::Share;
use crate::host::Host;
use crate::node::Segment;
use crate::reason::{Problem, Reason};
use crate::types::{NetworkUid, ObjectName};

/// A network that failed so often in a row holds nobody's start up any more.
const ATTEMPTS: u32 = 5;
/// While there are changes to make, a report waits so many times as long as the last one took …
const REPORT_COSTS: u32 = 9;
/// … but no longer than this.
const REPORT_AT_LATEST: Duration = Duration::from_secs(2);

/// What came of a pass, as far as something is to be said of it.
struct Passed {
    inputs: Option<Arc<Inputs>>,
    desired: Desired,
    failure: Option<Problem>,
    next: Next,
}

pub(super) struct Worker<H> {
    context: Arc<Context<H>>,
    uid: NetworkUid,
    name: Option<ObjectName>,
    signal: Arc<Signal>,
    cancel: CancellationToken,
    kept: Kept,
    predecessor: Predecessor,
    senses: Senses,
    leased: Leased,
    segment: Option<Segment>,
    /// Of a large network that is as it shall be.
    known: Option<Known>,
    naming: Naming,
    refused: Refusals,
    /// Running servers that refused something that they should have taken.
    distrusted: BTreeSet<Option<Share>>,
    failures: Failures,
    metadata: Metadata,
    crashes: AllCrashes,
    may_restart_at: Instant,
    may_report_at: Instant,
    /// When it had said what there was to say last, and how long that took.
    spoke: Option<(Instant, Duration)>,
    /// The pass is not for what changed of the objects alone.
    is_urgent: bool,
    /// Since when there is something to say.
    unsaid_since: Option<Instant>,
    /// What there is to say when the server knows the names that it is being told.
    unsaid: Option<Passed>,
    said: Reported,
    sums: Sums,
}

impl<H: Host> Worker<H> {
    pub(super) fn new(
        context: Arc<Context<H>>,
        uid: NetworkUid,
        name: Option<ObjectName>,
        signal: Arc<Signal>,
        cancel: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let namespace = name.as_ref().map_or("", |name| &name.namespace);
        let said = Reported::new(&context.config.node.state, uid);
        let kept = Kept::new(&context.config.node.state, uid, context.pens.clone(), namespace);
        Self {
            context,
            uid,
            name,
            signal,
            cancel,
            kept,
            predecessor: Predecessor::default(),
            senses: Senses::new(),
            leased: Leased::default(),
            segment: None,
            known: None,
            naming: Naming::default(),
            refused: Refusals::new(),
            distrusted: BTreeSet::new(),
            failures: Failures::default(),
            metadata: Metadata::default(),
            crashes: AllCrashes::default(),
            may_restart_at: now,
            may_report_at: now,
            spoke: None,
            is_urgent: false,
            unsaid_since: None,
            unsaid: None,
            said,
            sums: Sums::default(),
        }
    }

    /// Works until nothing of the network is wanted or there, or the agent stops.
    pub(super) async fn run(mut self) -> NetworkUid {
        self.said.resume();
        self.senses.newcomers.remember(self.said.last().iter().flat_map(|report| &report.newcomers));
        let mut next = Next::Never;
        while !matches!(next, Next::End) {
            // Cancel-safe: a wake-up that is not taken stays, and so does an answer.
            let (named, is_urgent) = tokio::select! {
                () = self.cancel.cancelled() => break,
                () = self.signal.woken() => (false, false),
                () = next.due() => (false, true),
                () = self.predecessor.told(&self.context, self.uid) => (false, true),
                () = self.senses.told(&self.context, self.uid, &self.signal) => (false, true),
                () = self.naming.told(&mut self.segment) => {
                    if self.naming.has_failed() {
                        self.signal.observe_again();
                    }
                    (self.naming.is_done(), false)
                }
            };
            self.is_urgent = is_urgent;
            let unsaid = self.unsaid.take().filter(|_| named);
            next = self.counted(unsaid).await;
        }
        self.naming.finish(&mut self.segment).await;
        self.sums.count(&self.context.metrics, [0; 5]);
        self.context.forget_guests(self.uid);
        self.uid
    }

    /// A pass, whatever it says.
    async fn counted(&mut self, unsaid: Option<Passed>) -> Next {
        let began = Instant::now();
        let next = self.pass(unsaid).await;
        self.context.metrics.passes.observe(began.elapsed().as_secs_f64());
        next
    }

    /// `unsaid`: all but to say what came of the pass before.
    async fn pass(&mut self, unsaid: Option<Passed>) -> Next {
        let unsaid = unsaid.filter(|_| !self.signal.is_woken() && !self.signal.is_to_observe());
        self.unsaid_since.get_or_insert_with(Instant::now);
        let passed = match unsaid {
            Some(passed) => passed,
            None => self.reconcile().await,
        };
        if passed.inputs.is_none() || passed.failure.is_some() || !self.may_speak_later() {
            return self.speak(passed).await;
        }
        let next = passed.next;
        self.unsaid = Some(passed).filter(|_| next.is_never());
        next
    }

    async fn reconcile(&mut self) -> Passed {
        let (inputs, (mut desired, kept)) = loop {
            self.signal.begin();
            let ports = self.name.as_ref().and_then(|name| self.context.store().ports_revision(name));
            self.naming.look_at(ports);
            let inputs = self.name.as_ref().and_then(|name| self.context.inputs(name, self.uid));
            let inputs = inputs.map(Arc::new);
            if let Some(inputs) = &inputs {
                self.receive(inputs).await;
            }
            if let Some(decided) = self.decide(inputs.as_ref()).await {
                break (inputs, decided);
            }
        };
        self.known = None;
        self.senses.newcomers.welcome(desired.segment.as_mut());
        self.predecessor.watch(inputs.as_ref().and_then(|inputs| inputs.server.as_deref()));
        let bridge = desired.segment.as_ref().and_then(|segment| segment.bridge.as_ref());
        self.context.set_bridge(self.uid, bridge.map(|bridge| bridge.name.as_str()));
        // Before the node is changed: a guest that is let through is known.
        self.context.know_guests(self.uid, desired.directory.as_ref());
        let (failure, next) = match kept {
            Ok(()) => self.mend(&mut desired).await,
            Err(problem) => self.not_kept(problem),
        };
        if let Some(inputs) = inputs.as_ref().filter(|_| failure.is_none() && next.is_never()) {
            self.known = Known::new(inputs.clone(), &desired);
        }
        self.predecessor.ask_through(self.segment.as_ref());
        let servers = self.segment.iter().flat_map(Segment::servers);
        self.senses.declined.settle(servers.map(|(_, server)| server));
        self.senses.selfcheck.ask(self.reached(&desired, None).asked());
        Passed { inputs, desired, failure, next }
    }

    async fn speak(&mut self, passed: Passed) -> Next {
        let Passed { inputs, desired, mut failure, mut next } = passed;
        let speaks = Instant::now();
        self.leased =
            Leased::of(self.segment.as_ref(), &self.senses.hearing.withheld, &self.senses.declined, &desired);
        let ours = inputs.as_ref().map(|inputs| ours(self.uid, inputs, &desired));
        self.senses.foreigners.listen(self.segment.as_ref(), ours);
        self.senses.foreigners.count(&self.context.metrics);
        if let Some(inputs) = inputs.as_ref().filter(|inputs| inputs.server.is_some()) {
            let is_done = failure.is_none() && next.is_never();
            let done = if is_done { self.naming.done() } else { None };
            self.tell(inputs, &desired, failure.as_ref(), done);
        }
        next = next.no_later(self.metadata.next());
        if inputs.is_some()
            && let Err(problem) = self.kept.keep().await
        {
            let (problem, at) = self.not_kept(problem);
            (failure, next) = (problem, next.no_later(at));
        }
        // To its end: it serves, or fails for a cause that is not ours.
        let ours = failure.as_ref().is_some_and(|problem| problem.reason == Reason::HostFailed);
        let attempted = !ours || self.failures.0 > ATTEMPTS;
        match &inputs {
            Some(inputs) => {
                let Some(again) = self.say(inputs, &desired, failure.as_ref()).await else {
                    // As much as was said of it costs the next pass no time.
                    self.spoke = self.spoke.map(|(_, took)| (Instant::now(), took));
                    return next;
                };
                next = next.no_later(again);
            }
            None if self.is_gone() => {
                self.forget().await;
                next = Next::End;
            }
            None => self.tell_stuck(failure.as_ref()),
        }
        self.spoke = Some((Instant::now(), speaks.elapsed()));
        self.unsaid_since = None;
        // Who sees this agent ready can read what it says.
        if attempted {
            self.context.readiness.attempted(self.uid);
        }
        next
    }

    /// Whether there are changes to make first: whoever waits for an answer waits for no report.
    fn may_speak_later(&self) -> bool {
        let wait = |took: Duration| (took * REPORT_COSTS).min(REPORT_AT_LATEST);
        let is_busy = self.signal.is_woken() || self.naming.is_under_way();
        is_busy && !self.is_late() && self.spoke.is_some_and(|(at, took)| at.elapsed() < wait(took))
    }

    fn not_kept(&mut self, problem: Problem) -> (Option<Problem>, Next) {
        self.context.metrics.failed("write-allocations");
        (Some(problem), Next::At(self.failures.retry_at()))
    }

    /// Whose turn it is. What is only to be removed waits for nobody's.
    fn namespace(&self) -> &str {
        self.name.as_ref().map_or("", |name| &name.namespace)
    }

    fn is_gone(&self) -> bool {
        self.segment.as_ref().is_some_and(Segment::is_absent)
    }

    /// The network is no more: nothing of ours speaks of it. Its addresses stay in use when all is only
    /// taken down for now.
    async fn forget(&mut self) {
        let released = if self.context.is_taking_down() { Ok(()) } else { self.kept.release() };
        for done in [self.said.remove().await, released] {
            if let Err(e) = done {
                warn!(error = &e as &(dyn std::error::Error + 'static), "cannot forget the network");
            }
        }
        info!("nothing of the network is left");
    }
}

#[cfg(test)]
mod tests;
