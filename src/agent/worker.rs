//! One network: look, decide, do, say; again when something changed.
//!
//! Each network has one worker, so that nothing of it happens twice at a time and a network that is
//! stuck delays no other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::context::Context;
use super::crashes::AllCrashes;
use super::execute::{Executor, Failure, Outcome, is_quick, takes_back};
use super::foreigners::ours;
use super::kept::Kept;
use super::leased::Leased;
use super::metadata::Metadata;
use super::next::{Failures, Next, RETRY};
use super::predecessor::Predecessor;
use super::progress::{Reached, Refusals};
use super::senses::Senses;
use super::signal::Signal;
use super::sums::{self, Sums};
use super::voice::{Voice, host_failed};
use super::words::Words;
use crate::desired::{Desired, Inputs};
use crate::dnsmasq::Share;
use crate::durable::{self, Survives};
use crate::host::{self, Host};
use crate::node::{Action, Segment};
use crate::plan::plan;
use crate::reason::{Problem, Reason};
use crate::report::{self, NetworkReport};
use crate::store::PortsRevision;
use crate::types::{NetworkUid, ObjectName};

/// A port's restart waits at least this long after the one before, so that changes gather.
const GATHER: Duration = Duration::from_millis(50);
/// A server that was started anew for changes serves at least this many times as long as it was deaf.
const SERVE_AT_LEAST: u32 = 10;
/// … but no change waits longer than this for that.
const SERVE_AT_MOST: Duration = Duration::from_secs(10);
/// Reports of one network are at least this far apart.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// A network that failed so often in a row holds nobody's start up any more.
const ATTEMPTS: u32 = 5;

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
    refused: Refusals,
    /// Running servers that refused something that they should have taken.
    distrusted: BTreeSet<Option<Share>>,
    failures: Failures,
    metadata: Metadata,
    crashes: AllCrashes,
    may_restart_at: Instant,
    may_report_at: Instant,
    said: Option<NetworkReport>,
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
            refused: Refusals::new(),
            distrusted: BTreeSet::new(),
            failures: Failures::default(),
            metadata: Metadata::default(),
            crashes: AllCrashes::default(),
            may_restart_at: now,
            may_report_at: now,
            said: None,
            sums: Sums::default(),
        }
    }

    /// Works until nothing of the network is wanted or there, or the agent stops.
    pub(super) async fn run(mut self) -> NetworkUid {
        let path = report::network_path(&self.context.config.node.state, self.uid);
        self.said = durable::read(&path).unwrap_or_default();
        self.senses.newcomers.remember(self.said.iter().flat_map(|report| &report.newcomers));
        let mut next = Next::Never;
        while !matches!(next, Next::End) {
            // Cancel-safe: a wake-up that is not taken stays, and so does an answer.
            tokio::select! {
                () = self.cancel.cancelled() => break,
                () = self.signal.woken() => {}
                () = next.due() => {}
                () = self.predecessor.told(&self.context, self.uid) => {}
                () = self.senses.told(&self.context, self.uid, &self.signal) => {}
            }
            next = self.pass().await;
        }
        self.sums.count(&self.context.metrics, [0; 5]);
        self.context.forget_guests(self.uid);
        self.uid
    }

    async fn pass(&mut self) -> Next {
        let began = Instant::now();
        let ports = self.name.as_ref().and_then(|name| self.context.store().ports_revision(name));
        let inputs = self.name.as_ref().and_then(|name| self.context.inputs(name, self.uid));
        let (mut desired, kept) = match &inputs {
            Some(inputs) => self.kept.decide(&self.context.node(), inputs).await,
            None => (Desired::default(), Ok(())),
        };
        self.senses.newcomers.welcome(desired.segment.as_mut());
        self.predecessor.watch(inputs.as_ref().and_then(|inputs| inputs.server.as_deref()));
        let bridge = desired.segment.as_ref().and_then(|segment| segment.bridge.as_ref());
        self.context.set_bridge(self.uid, bridge.map(|bridge| bridge.name.as_str()));
        // Before the node is changed: a guest that is let through is known.
        self.context.know_guests(self.uid, desired.directory.as_ref());
        let (mut failure, mut next) = match kept {
            Ok(()) => self.mend(&mut desired).await,
            Err(problem) => self.not_kept(problem),
        };
        self.predecessor.ask_through(self.segment.as_ref());
        let servers = self.segment.iter().flat_map(Segment::servers);
        self.senses.declined.settle(servers.map(|(_, server)| server));
        self.leased =
            Leased::of(self.segment.as_ref(), &self.senses.hearing.withheld, &self.senses.declined, &desired);
        self.senses.selfcheck.ask(self.reached(&desired, None).asked());
        let ours = inputs.as_ref().map(|inputs| ours(self.uid, inputs, &desired));
        self.senses.foreigners.listen(self.segment.as_ref(), ours);
        self.senses.foreigners.count(&self.context.metrics);
        if let Some(inputs) = inputs.as_ref().filter(|inputs| inputs.server.is_some()) {
            let done = ports.filter(|_| failure.is_none() && matches!(next, Next::Never));
            self.tell(inputs, &desired, failure.as_ref(), done);
        }
        next = next.no_later(self.metadata.next());
        if inputs.is_some()
            && let Err(problem) = self.kept.keep().await
        {
            let (problem, at) = self.not_kept(problem);
            (failure, next) = (problem, next.no_later(at));
        }
        self.context.metrics.passes.observe(began.elapsed().as_secs_f64());
        // To its end: it serves, or fails for a cause that is not ours.
        let ours = failure.as_ref().is_some_and(|problem| problem.reason == Reason::HostFailed);
        let attempted = !ours || self.failures.0 > ATTEMPTS;
        match &inputs {
            Some(inputs) => next = next.no_later(self.say(inputs, &desired, failure.as_ref())),
            None if self.is_gone() => {
                self.forget();
                next = Next::End;
            }
            None => {}
        }
        // Who sees this agent ready can read what it says.
        if attempted {
            self.context.readiness.attempted(self.uid);
        }
        next
    }

    fn not_kept(&mut self, problem: Problem) -> (Option<Problem>, Next) {
        self.context.metrics.failed("write-allocations");
        (Some(problem), Next::At(self.failures.retry_at()))
    }

    /// Brings the node to what shall be, as far as it goes now.
    async fn mend(&mut self, desired: &mut Desired) -> (Option<Problem>, Next) {
        if let Err(error) = self.look(desired).await {
            self.context.metrics.failed("observe");
            let error = &error as &(dyn std::error::Error + 'static);
            warn!(error, "cannot observe");
            return (Some(host_failed(None, error)), Next::At(self.failures.retry_at()));
        }
        let mut segment = self.segment.take().unwrap_or_default();
        desired.share_out(&segment);
        for (share, server) in segment.servers_mut() {
            server.hosts.foreign |= self.distrusted.contains(&share);
        }
        self.senses.judge(&mut segment);
        let may_restart = Instant::now() >= self.may_restart_at;
        let held_back = desired.segment.as_ref().and_then(|all| self.predecessor.hold_back(all, &segment));
        let mut plan = plan(held_back.as_ref().or(desired.segment.as_ref()), &segment, may_restart);
        let wait = self.crashes.hold_back(&mut plan.actions);
        let takes_back = takes_back(&segment, &plan.actions);
        let actions = self.senses.hearing.in_the_way(&segment).chain(plan.actions).collect();
        let mut outcome = self.act(&mut segment, actions).await;
        if self.metadata.take(&mut outcome, desired, &segment) {
            self.signal.observe_again();
        }
        // What a running process did not take, a fresh one may; what that did not take, none will.
        self.distrusted.extend(outcome.distrusted.difference(&outcome.started));
        self.segment = Some(segment);
        let (mut failure, mut next) = self.judge(outcome, plan.postponed || !self.distrusted.is_empty());
        if let Some(wait) = wait {
            let ends = "dnsmasq ends again and again soon after its start; see its log";
            failure = failure.or_else(|| Some(Problem::new(Reason::HostFailed, ends)));
            next = next.no_later(Next::At(wait));
        }
        let judged = (failure.or_else(|| held_back.map(|_| self.predecessor.problem())), next);
        if takes_back && matches!(judged, (None, Next::Never)) {
            self.signal.observe_again();
            return (None, Next::At(Instant::now()));
        }
        judged
    }

    /// Observes, if what is known may not be true any more.
    async fn look(&mut self, desired: &Desired) -> Result<(), host::Error> {
        self.senses.hearing.tell(self.segment.as_mut());
        if !self.signal.take_observe() && self.segment.is_some() {
            return Ok(());
        }
        let running = |segment: &Segment| segment.servers().filter(|(_, s)| s.process.is_some()).count();
        let ran = self.segment.as_ref().map_or(0, running);
        let wanted = desired.segment.as_ref().and_then(Segment::attached);
        let pass = self.context.looks.enter(self.namespace()).await;
        let observed = self.context.host.observe(self.uid, wanted).await;
        drop(pass);
        let observed = observed.inspect_err(|_| self.signal.observe_again())?;
        let ended = ran.saturating_sub(running(&observed));
        if ended > 0 {
            self.context.metrics.exits.inc_by(ended as u64);
            warn!("dnsmasq has ended");
        }
        self.segment = Some(observed);
        self.senses.hearing.withheld.clear();
        Ok(())
    }

    async fn act(&mut self, segment: &mut Segment, actions: Vec<Action>) -> Outcome {
        if actions.is_empty() {
            return Outcome::default();
        }
        // A change of a running server never waits for networks that are built; and the kernel takes
        // many networks down in the time of one, if they come together.
        let pass = if actions.iter().all(is_quick) {
            None
        } else {
            Some(self.context.heavy.enter(self.namespace()).await)
        };
        let arrives = actions.iter().any(|action| matches!(action, Action::AddAddress(_)));
        let label = self.name.as_ref().map_or_else(|| self.uid.to_string(), ToString::to_string);
        let executor = Executor {
            host: &self.context.host,
            metrics: &self.context.metrics,
            uid: self.uid,
            label: &label,
            cancel: &self.cancel,
        };
        // Not before: waiting for others says nothing of how long this server is deaf.
        let began = Instant::now();
        let outcome = executor.execute(segment, actions).await;
        drop(pass);
        if arrives && outcome.failure.is_none() && self.context.config.cluster.is_some() {
            tokio::spawn(super::announce::announce(self.context.clone(), self.uid));
        }
        outcome.taken.iter().for_each(|identity| drop(self.refused.remove(identity)));
        self.senses.hearing.withhold(&outcome.kept);
        outcome.started.iter().for_each(|share| self.began_anew(*share, segment));
        if !outcome.started.is_empty() {
            let deaf = began.elapsed() * SERVE_AT_LEAST;
            self.may_restart_at = Instant::now() + deaf.clamp(GATHER, SERVE_AT_MOST);
        }
        outcome
    }

    /// dnsmasq was started: what its last process refused and kept back is forgotten.
    fn began_anew(&mut self, share: Option<Share>, segment: &Segment) {
        self.distrusted.remove(&share);
        self.refused.retain(|_, (by, _)| *by != share);
        self.crashes.started(share, Instant::now());
        segment.server_of(share).into_iter().for_each(|server| self.senses.begin_anew(share, server));
    }

    fn judge(&mut self, outcome: Outcome, postponed: bool) -> (Option<Problem>, Next) {
        let refused = outcome.refused.into_iter();
        self.refused.extend(refused.filter_map(|(by, line)| Some((line.identity?, (by, line.message)))));
        if let Some(Failure { action, error }) = outcome.failure {
            // How far it came is not known.
            self.signal.observe_again();
            let error = &error as &(dyn std::error::Error + 'static);
            warn!(error, failures = self.failures.0 + 1, "failed to {action}");
            return (Some(host_failed(Some(&action), error)), Next::At(self.failures.retry_at()));
        }
        self.failures = Failures::default();
        (None, if postponed { Next::At(self.may_restart_at) } else { Next::Never })
    }

    /// Says for the API server how far the network is.
    fn tell(
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

    fn reached<'a>(&'a self, desired: &'a Desired, failure: Option<&'a Problem>) -> Reached<'a> {
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
        }
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
    fn forget(&mut self) {
        let report = report::network_path(&self.context.config.node.state, self.uid);
        let released = if self.context.is_taking_down() { Ok(()) } else { self.kept.release() };
        for done in [durable::remove(&report), released] {
            if let Err(e) = done {
                warn!(error = &e as &(dyn std::error::Error + 'static), "cannot forget the network");
            }
        }
        info!("nothing of the network is left");
    }

    /// Reports, if there is something new to say; else, or if it is too soon, when to do so.
    fn say(&mut self, inputs: &Inputs, desired: &Desired, failure: Option<&Problem>) -> Next {
        let now = Instant::now();
        if now < self.may_report_at {
            return Next::At(self.may_report_at);
        }
        let reached = self.reached(desired, failure);
        let voice = Voice {
            uid: self.uid,
            node: &self.context.config.node_name,
            reached,
            said: self.said.as_ref(),
            now: Timestamp::now(),
            newcomers: self.senses.newcomers.list(),
        };
        let report = voice.report(inputs);
        self.sums.count(&self.context.metrics, sums::of(&report, self.leased.counts));
        if self.said.as_ref() == Some(&report) {
            return Next::Never;
        }
        let path = report::network_path(&self.context.config.node.state, self.uid);
        if let Err(e) = durable::write(&path, &report, Survives::Crash) {
            self.context.metrics.failed("report");
            warn!(error = &e as &(dyn std::error::Error + 'static), "cannot report");
            return Next::At(now + RETRY.last);
        }
        debug!("reported");
        self.may_report_at = now + REPORT_EVERY;
        self.said = Some(report);
        Next::Never
    }
}
