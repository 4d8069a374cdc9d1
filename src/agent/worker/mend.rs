//! Bringing the node to what shall be: look, plan, act, and what is to be thought of the outcome.
//!
//! The part of a worker's pass between deciding and speaking.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::super::announce::announce;
use super::super::execute::{Executor, Failure, Outcome, is_quick, takes_back};
use super::super::naming::is_beside;
use super::super::next::{Failures, Next};
use super::super::voice::host_failed;
use super::Worker;
use crate::desired::Desired;
use crate::dnsmasq::Share;
use crate::host::{self, Host};
use crate::node::{Action, Segment};
use crate::plan::plan;
use crate::reason::{Problem, Reason};

/// A port's restart waits at least this long after the one before, so that changes gather.
const GATHER: Duration = Duration::from_millis(50);
/// A server that was started anew for changes serves at least this many times as long as it was deaf.
const SERVE_AT_LEAST: u32 = 10;
/// … but no change waits longer than this for that.
const SERVE_AT_MOST: Duration = Duration::from_secs(10);

/// What came of a plan.
struct Stepped {
    /// What is not as it shall be, and when to look again.
    judged: (Option<Problem>, Next),
    /// Somebody lost an address.
    took_back: bool,
}

impl<H: Host> Worker<H> {
    /// Brings the node to what shall be, as far as it goes now.
    pub(super) async fn mend(&mut self, desired: &mut Desired) -> (Option<Problem>, Next) {
        if let Err(error) = self.look(desired).await {
            self.context.metrics.failed("observe");
            let error = &error as &(dyn std::error::Error + 'static);
            warn!(error, "cannot observe");
            return (Some(host_failed(None, error)), Next::At(self.failures.retry_at()));
        }
        let mut segment = self.segment.take().unwrap_or_default();
        desired.share_out(&segment);
        let mut stepped = self.step(desired, &mut segment).await;
        if stepped.took_back && matches!(stepped.judged, (None, Next::Never)) {
            // Who lost an address may have got a lease for it since anybody last looked.
            if self.senses.hearing.look(&self.context, self.uid).await {
                self.senses.hearing.tell(Some(&mut segment));
                stepped = self.step(desired, &mut segment).await;
            } else {
                self.signal.observe_again();
                stepped.judged.1 = Next::At(Instant::now());
            }
        }
        self.segment = Some(segment);
        stepped.judged
    }

    async fn step(&mut self, desired: &Desired, segment: &mut Segment) -> Stepped {
        self.distrusted.extend(self.naming.take_refused().then_some(None));
        for (share, server) in segment.servers_mut() {
            server.hosts.foreign |= self.distrusted.contains(&share);
        }
        self.senses.judge(segment);
        let may_restart = Instant::now() >= self.may_restart_at;
        let held_back = desired.segment.as_ref().and_then(|all| self.predecessor.hold_back(all, segment));
        let mut plan = plan(held_back.as_ref().or(desired.segment.as_ref()), segment, may_restart);
        let wait = self.crashes.hold_back(&mut plan.actions);
        let took_back = takes_back(segment, &plan.actions);
        let mut actions: Vec<_> = self.senses.hearing.in_the_way(segment).chain(plan.actions).collect();
        let names = self.naming.defer(segment, &mut actions);
        let mut outcome = self.act(segment, actions).await;
        if let Some(names) = names.filter(|_| outcome.failure.is_none()) {
            self.naming.begin(&self.context, self.uid, self.label(), names);
        }
        if self.metadata.take(&mut outcome, desired, segment) {
            self.signal.observe_again();
        }
        // What a running process did not take, a fresh one may; what that did not take, none will.
        self.distrusted.extend(outcome.distrusted.difference(&outcome.started));
        let (mut failure, mut next) = self.judge(outcome, plan.postponed || !self.distrusted.is_empty());
        if let Some(wait) = wait {
            let ends = "dnsmasq ends again and again soon after its start; see its log";
            failure = failure.or_else(|| Some(Problem::new(Reason::HostFailed, ends)));
            next = next.no_later(Next::At(wait));
        }
        let failure = failure.or_else(|| held_back.map(|_| self.predecessor.problem()));
        Stepped { judged: (failure, next), took_back }
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

    pub(super) async fn act(&mut self, segment: &mut Segment, actions: Vec<Action>) -> Outcome {
        if actions.is_empty() {
            return Outcome::default();
        }
        if !actions.iter().all(is_beside) && self.naming.is_under_way() {
            // It was decided without what the server knows then.
            self.signal.change();
            let mut told = Some(std::mem::take(segment));
            self.naming.finish(&mut told).await;
            *segment = told.unwrap_or_default();
        }
        // A change of a running server never waits for networks that are built; and the kernel takes
        // many networks down in the time of one, if they come together.
        let pass = if actions.iter().all(is_quick) {
            None
        } else {
            Some(self.context.heavy.enter(self.namespace()).await)
        };
        let arrives = actions.iter().any(|action| matches!(action, Action::AddAddress(_)));
        let label = self.label();
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
            tokio::spawn(announce(self.context.clone(), self.uid));
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

    /// What people call the network.
    fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| self.uid.to_string(), ToString::to_string)
    }

    /// dnsmasq was started: what its last process refused and kept back is forgotten.
    fn began_anew(&mut self, share: Option<Share>, segment: &Segment) {
        self.distrusted.remove(&share);
        self.refused.retain(|_, (by, _)| *by != share);
        self.crashes.started(share, Instant::now());
        segment.server_of(share).into_iter().for_each(|server| self.senses.begin_anew(share, server));
    }

    pub(super) fn judge(&mut self, outcome: Outcome, postponed: bool) -> (Option<Problem>, Next) {
        let refused = outcome.refused.into_iter();
        self.refused.extend(refused.filter_map(|(by, line)| Some((line.identity?, (by, line.message)))));
        if let Some(Failure { action, error }) = outcome.failure {
            // How far it came is not known.
            self.signal.observe_again();
            // One that we ended did not crash.
            if let (host::Error::Unread(_), Some((share, _))) = (&error, action.of_server()) {
                self.crashes.not_started(share);
            }
            let error = &error as &(dyn std::error::Error + 'static);
            warn!(error, failures = self.failures.0 + 1, "failed to {action}");
            return (Some(host_failed(Some(&action), error)), Next::At(self.failures.retry_at()));
        }
        self.failures = Failures::default();
        (None, if postponed { Next::At(self.may_restart_at) } else { Next::Never })
    }
}
