//! One network: look, decide, do, say; again when something changed.
//!
//! Each network has one worker, so that nothing of it happens twice at a time and a network that is
//! stuck delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::context::{Context, Signal, conditions_of, ledger_path};
use super::execute::{Executor, Failure, Outcome};
use super::progress::Reached;
use crate::allocate::Ledger;
use crate::api::{PortStatus, SubnetStatus};
use crate::conditions;
use crate::desired::{Desired, Inputs, desired};
use crate::dnsmasq;
use crate::durable::{self, Survives};
use crate::host::{self, Host};
use crate::node::{Action, Segment, namespace_name, outer_device};
use crate::plan::plan;
use crate::reason::{Problem, Reason};
use crate::report::{self, DeviceReport, NetworkReport, ObjectReport};
use crate::types::{MacAddr, NetworkUid, ObjectName};

/// A port's restart waits at least this long after the one before, so that changes gather.
const GATHER: Duration = Duration::from_millis(50);
/// A server that was started anew for changes serves at least this many times as long as it was deaf.
const SERVE_AT_LEAST: u32 = 10;
/// Reports of one network are at least this far apart.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// A process that ends sooner after its start did not do its work.
const SHORT_LIFE: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(60);

pub(super) struct Worker<H> {
    context: Arc<Context<H>>,
    uid: NetworkUid,
    name: Option<ObjectName>,
    signal: Arc<Signal>,
    cancel: CancellationToken,
    ledger: Option<Ledger>,
    /// The ledger is not on the disk yet.
    unkept: bool,
    segment: Option<Segment>,
    refused: BTreeMap<MacAddr, String>,
    failures: u32,
    short_lives: u32,
    started: Option<Instant>,
    may_restart_at: Instant,
    may_report_at: Instant,
    said: Option<NetworkReport>,
    counted: (i64, i64, i64),
}

/// When to look again without being woken.
enum Next {
    Never,
    At(Instant),
    /// Nothing of this network is wanted or there.
    End,
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
        Self {
            context,
            uid,
            name,
            signal,
            cancel,
            ledger: None,
            unkept: false,
            segment: None,
            refused: BTreeMap::new(),
            failures: 0,
            short_lives: 0,
            started: None,
            may_restart_at: now,
            may_report_at: now,
            said: None,
            counted: (0, 0, 0),
        }
    }

    /// Works until nothing of the network is wanted or there, or the agent stops.
    pub(super) async fn run(mut self) -> NetworkUid {
        let path = report::network_path(&self.context.config.node.state, self.uid);
        self.said = durable::read(&path).unwrap_or_default();
        loop {
            // Cancel-safe: a wake-up that is not taken stays.
            tokio::select! {
                () = self.cancel.cancelled() => break,
                () = self.signal.woken() => {}
            }
            if self.work().await.is_break() {
                break;
            }
        }
        self.count(0, 0, 0);
        self.uid
    }

    /// Passes until there is nothing more to do than to wait to be woken.
    async fn work(&mut self) -> std::ops::ControlFlow<()> {
        loop {
            match self.pass().await {
                Next::Never => return std::ops::ControlFlow::Continue(()),
                Next::End => return std::ops::ControlFlow::Break(()),
                Next::At(when) => tokio::select! {
                    () = self.cancel.cancelled() => return std::ops::ControlFlow::Break(()),
                    () = self.signal.woken() => {}
                    () = tokio::time::sleep_until(when) => {}
                },
            }
        }
    }

    async fn pass(&mut self) -> Next {
        let began = Instant::now();
        let inputs = self.name.as_ref().and_then(|name| self.context.inputs(name, self.uid));
        let (desired, allocated) = match &inputs {
            Some(inputs) => self.decide(inputs),
            None => (Desired::default(), Ok(())),
        };
        let bridge = desired.segment.as_ref().and_then(|segment| segment.bridge.as_ref());
        self.context.set_bridge(self.uid, bridge.map(|bridge| bridge.name.as_str()));
        let (mut failure, mut next) = match allocated {
            Ok(()) => self.mend(&desired).await,
            Err(problem) => (Some(problem), Next::At(self.retry_at())),
        };
        if inputs.is_some()
            && let Err(problem) = self.keep().await
        {
            (failure, next) = (Some(problem), next.no_later(Next::At(self.retry_at())));
        }
        self.context.metrics.passes.observe(began.elapsed().as_secs_f64());
        // To its end: it serves, or fails for a cause that is not ours.
        let attempted = failure.as_ref().is_none_or(|problem| problem.reason != Reason::HostFailed);
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

    /// What shall be; an address that we chose is on the disk before anybody is told. One that was
    /// asked for by name is found again from the objects: it is kept after the guest was served.
    fn decide(&mut self, inputs: &Inputs) -> (Desired, Result<(), Problem>) {
        let path = ledger_path(&self.context.config.node.state, self.uid);
        let unreadable = |e: durable::Error| {
            let cause = std::error::Error::source(&e).map_or_else(String::new, |cause| format!(": {cause}"));
            Problem::new(Reason::StateUnreadable, format!("{e}{cause}"))
        };
        let before = match self.ledger.take().map_or_else(|| durable::read(&path), |ledger| Ok(Some(ledger)))
        {
            Ok(ledger) => ledger.unwrap_or_default(),
            Err(e) => {
                let problem = unreadable(e);
                let desired = Desired { problem: Some(problem.clone()), ..Desired::default() };
                return (desired, Err(problem));
            }
        };
        let mut ledger = before.clone();
        let desired = desired(&self.context.node(), self.uid, inputs, &mut ledger);
        self.unkept |= ledger != before;
        let must = self.unkept && ledger.has_chosen(&before, |port, ip| inputs.asks_for(port, ip));
        if must && let Err(e) = durable::write(&path, &ledger, Survives::PowerFailure) {
            self.ledger = Some(before);
            return (desired, Err(self.not_kept(&e)));
        }
        self.unkept &= !must;
        self.ledger = Some(ledger);
        (desired, Ok(()))
    }

    /// Writes the ledger, if it is not on the disk. Not on a thread that others need.
    async fn keep(&mut self) -> Result<(), Problem> {
        let Some(ledger) = self.ledger.clone().filter(|_| self.unkept) else { return Ok(()) };
        let path = ledger_path(&self.context.config.node.state, self.uid);
        let write = move || durable::write(&path, &ledger, Survives::PowerFailure);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => self.unkept = false,
            Ok(Err(e)) => return Err(self.not_kept(&e)),
            // Only while the runtime ends.
            Err(_) => {}
        }
        Ok(())
    }

    fn not_kept(&self, error: &durable::Error) -> Problem {
        self.context.metrics.failed("write-allocations");
        Problem::new(Reason::HostFailed, format!("{error}: {}", cause(error)))
    }

    /// Brings the node to what shall be, as far as it goes now.
    async fn mend(&mut self, desired: &Desired) -> (Option<Problem>, Next) {
        if let Err(error) = self.look(desired).await {
            self.context.metrics.failed("observe");
            let error = &error as &(dyn std::error::Error + 'static);
            warn!(error, "cannot observe");
            return (Some(host_failed(None, error)), Next::At(self.retry_at()));
        }
        let began = Instant::now();
        let mut segment = self.segment.take().unwrap_or_default();
        let may_restart = Instant::now() >= self.may_restart_at;
        let plan = plan(desired.segment.as_ref(), &segment, may_restart);
        if let Some(wait) = self.crash_loop(&plan.actions) {
            self.segment = Some(segment);
            let problem = Problem::new(
                Reason::HostFailed,
                "dnsmasq ends again and again soon after its start; see its log",
            );
            return (Some(problem), Next::At(wait));
        }
        let takes_back = takes_back(&segment, &plan.actions);
        let outcome = self.act(&mut segment, plan.actions).await;
        // What a running process did not take, a fresh one may; what that did not take, none will.
        let fresh = self.started.is_some_and(|at| at >= began);
        let distrusted = !outcome.refused.is_empty() && !fresh;
        segment.server.iter_mut().for_each(|server| server.hosts.foreign |= distrusted);
        self.segment = Some(segment);
        let judged = self.judge(outcome, plan.postponed || distrusted);
        if takes_back && matches!(judged, (None, Next::Never)) {
            self.signal.observe_again();
            return (None, Next::At(Instant::now()));
        }
        judged
    }

    /// Observes, if what is known may not be true any more.
    async fn look(&mut self, desired: &Desired) -> Result<(), host::Error> {
        if !self.signal.take_observe() && self.segment.is_some() {
            return Ok(());
        }
        let known = self.segment.as_ref().and_then(|segment| segment.server.as_ref());
        let ran = known.is_some_and(|server| server.process.is_some());
        let bridge = desired.segment.as_ref().and_then(|segment| segment.bridge.as_ref());
        let observed = self.context.host.observe(self.uid, bridge.map(|bridge| bridge.name.as_str())).await;
        let observed = observed.inspect_err(|_| self.signal.observe_again())?;
        let runs = observed.server.as_ref().is_some_and(|server| server.process.is_some());
        if ran && !runs {
            self.context.metrics.exits.inc();
            warn!("dnsmasq has ended");
        }
        self.segment = Some(observed);
        Ok(())
    }

    /// A process that was found dead is started at once, but not for ever.
    fn crash_loop(&mut self, actions: &[Action]) -> Option<Instant> {
        let stops = actions.contains(&Action::Server(dnsmasq::Action::Stop));
        let starts = actions.iter().any(|a| matches!(a, Action::Server(dnsmasq::Action::Start(_))));
        if !starts || stops {
            return None;
        }
        let started = self.started?;
        if started.elapsed() > SHORT_LIFE.max(retry_after(self.short_lives) * 2) {
            self.short_lives = 0;
            return None;
        }
        let at = started + retry_after(self.short_lives);
        if self.short_lives > 1 && Instant::now() < at {
            return Some(at);
        }
        self.short_lives += 1;
        None
    }

    async fn act(&mut self, segment: &mut Segment, actions: Vec<Action>) -> Outcome {
        if actions.is_empty() {
            return Outcome { complete: true, ..Outcome::default() };
        }
        let began = Instant::now();
        let starts = actions.iter().any(|a| matches!(a, Action::Server(dnsmasq::Action::Start(_))));
        let quick = |a: &Action| {
            use dnsmasq::Action as Server;
            matches!(
                a,
                Action::Server(
                    Server::AddHosts(_)
                        | Server::AddOptions(_)
                        | Server::WriteNames(_)
                        | Server::Release(..)
                        | Server::Stop
                        | Server::Remove
                ) | Action::DeleteDevice
                    | Action::DeleteNamespace
            )
        };
        // A change of a running server never waits for networks that are built; and the kernel takes
        // many networks down in the time of one, if they come together.
        let permit = if actions.iter().all(quick) { None } else { Some(self.context.heavy.acquire().await) };
        let label = self.name.as_ref().map_or_else(|| self.uid.to_string(), ToString::to_string);
        let executor = Executor {
            host: &self.context.host,
            metrics: &self.context.metrics,
            uid: self.uid,
            label: &label,
            cancel: &self.cancel,
        };
        let outcome = executor.execute(segment, actions).await;
        drop(permit);
        if starts {
            let now = Instant::now();
            self.refused.clear();
            self.started = Some(now);
            self.may_restart_at = now + GATHER.max(began.elapsed() * SERVE_AT_LEAST);
        }
        outcome
    }

    fn judge(&mut self, outcome: Outcome, postponed: bool) -> (Option<Problem>, Next) {
        for refused in outcome.refused {
            if let Some(mac) = refused.mac {
                self.refused.insert(mac, refused.message);
            }
        }
        if let Some(Failure { action, error }) = outcome.failure {
            // How far it came is not known.
            self.signal.observe_again();
            let error = &error as &(dyn std::error::Error + 'static);
            warn!(error, failures = self.failures + 1, "failed to {action}");
            return (Some(host_failed(Some(&action), error)), Next::At(self.retry_at()));
        }
        self.failures = 0;
        (None, if postponed { Next::At(self.may_restart_at) } else { Next::Never })
    }

    /// Later with every failure in a row, and not at the same time as others that failed together.
    fn retry_at(&mut self) -> Instant {
        let wait = retry_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        let jitter = wait.mul_f64(f64::from(Timestamp::now().subsec_nanosecond() % 1_000) / 2_000.0);
        Instant::now() + wait + jitter
    }

    fn is_gone(&self) -> bool {
        self.segment.as_ref().is_some_and(Segment::is_absent)
    }

    /// The network is no more: nothing of ours speaks of it. Not when all is only taken down for now.
    fn forget(&mut self) {
        let report = report::network_path(&self.context.config.node.state, self.uid);
        let ledger = ledger_path(&self.context.config.node.state, self.uid);
        let files = if self.context.is_taking_down() { vec![report] } else { vec![report, ledger] };
        for file in files {
            if let Err(e) = durable::remove(&file) {
                warn!(error = &e as &(dyn std::error::Error + 'static), "cannot forget the network");
            }
        }
        self.ledger = None;
        self.unkept = false;
        info!("nothing of the network is left");
    }

    /// Reports, if there is something new to say; else, or if it is too soon, when to do so.
    fn say(&mut self, inputs: &Inputs, desired: &Desired, failure: Option<&Problem>) -> Next {
        let now = Instant::now();
        if now < self.may_report_at {
            return Next::At(self.may_report_at);
        }
        let report = self.report(inputs, desired, failure);
        let ready = |conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
            conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
        };
        let ports = report.status.ports.unwrap_or_default();
        self.count(i64::from(ready(&report.status.conditions)), ports.total.into(), ports.ready.into());
        if self.said.as_ref() == Some(&report) {
            return Next::Never;
        }
        let path = report::network_path(&self.context.config.node.state, self.uid);
        if let Err(e) = durable::write(&path, &report, Survives::Crash) {
            self.context.metrics.failed("report");
            warn!(error = &e as &(dyn std::error::Error + 'static), "cannot report");
            return Next::At(now + LAST_RETRY);
        }
        debug!("reported");
        self.may_report_at = now + REPORT_EVERY;
        self.said = Some(report);
        Next::Never
    }

    fn report(&self, inputs: &Inputs, desired: &Desired, failure: Option<&Problem>) -> NetworkReport {
        let reached = Reached { desired, segment: self.segment.as_ref(), failure, refused: &self.refused };
        let name = self.name.clone().unwrap_or_else(|| ObjectName::new("", ""));
        let now = Timestamp::now();
        let generation = |meta: &kube::core::ObjectMeta| meta.generation.unwrap_or(0);
        let said = self.said.as_ref();
        let before = said.map_or(&[][..], |report| &report.status.conditions[..]);
        let node = &self.context.config.node_name;
        let status =
            conditions::network(desired, &reached, node, generation(&inputs.network.metadata), now, before);
        let subnets = inputs.subnets.iter().filter_map(|subnet| {
            let subnet_name = subnet.metadata.name.clone()?;
            let old = said.map_or(&[][..], |r| {
                conditions_of(&r.subnets, &name.namespace, &subnet_name, |s: &SubnetStatus| &s.conditions)
            });
            let view = desired.subnets.get(&subnet_name).cloned().unwrap_or_default();
            let status = conditions::subnet(&view, &reached, generation(&subnet.metadata), now, old);
            Some(ObjectReport {
                namespace: name.namespace.clone(),
                name: subnet_name,
                mac_address: None,
                status,
            })
        });
        let ports = inputs.ports.iter().filter_map(|port| {
            let port_name = port.metadata.name.clone()?;
            let old = said.map_or(&[][..], |r| {
                conditions_of(&r.ports, &name.namespace, &port_name, |s: &PortStatus| &s.conditions)
            });
            let view = desired.ports.get(&port_name).cloned().unwrap_or_default();
            let status = conditions::port(&port_name, &view, &reached, generation(&port.metadata), now, old);
            let mac_address = port.spec.mac_address.clone();
            Some(ObjectReport { namespace: name.namespace.clone(), name: port_name, mac_address, status })
        });
        let (subnets, ports) = (subnets.collect(), ports.collect());
        let device =
            desired.segment.as_ref().and(self.segment.as_ref()).and_then(|segment| device(self.uid, segment));
        NetworkReport {
            namespace: name.namespace.clone(),
            name: name.name,
            uid: self.uid,
            device,
            status,
            subnets,
            ports,
        }
    }

    /// Brings the sums over all networks up to date with this one's part.
    fn count(&mut self, networks_ready: i64, ports: i64, ports_ready: i64) {
        let metrics = &self.context.metrics;
        metrics.networks_ready.inc_by(networks_ready - self.counted.0);
        metrics.ports.inc_by(ports - self.counted.1);
        metrics.ports_ready.inc_by(ports_ready - self.counted.2);
        self.counted = (networks_ready, ports, ports_ready);
    }
}

impl Next {
    fn no_later(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::Never, other) => other,
            (own, _) => own,
        }
    }
}

/// Whether an address is taken from a host of a running server. The host may have a lease for it since
/// anybody last looked: guests get leases without our being told.
fn takes_back(segment: &Segment, actions: &[Action]) -> bool {
    let hosts = segment.server.as_ref().map(|server| &server.hosts.entries);
    let had = |change: &dnsmasq::HostChange| match change {
        dnsmasq::HostChange::Gone(_) => true,
        dnsmasq::HostChange::Set(mac, _) => hosts.is_some_and(|hosts| hosts.contains_key(mac)),
    };
    actions.iter().any(|action| {
        matches!(action, Action::Server(dnsmasq::Action::AddHosts(changes)) if changes.iter().any(had))
    })
}

fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2u32.saturating_pow(failures.min(16))).min(LAST_RETRY)
}

fn device(uid: NetworkUid, segment: &Segment) -> Option<DeviceReport> {
    let device = segment.device.as_ref()?;
    Some(DeviceReport {
        name: outer_device(uid),
        mac_address: device.mac.to_string(),
        attachment: format!("bridge:{}", device.bridge.as_deref().unwrap_or("none")),
        namespace: namespace_name(uid),
    })
}

fn host_failed(action: Option<&Action>, error: &(dyn std::error::Error + 'static)) -> Problem {
    let reason = match error.downcast_ref() {
        Some(host::Error::BridgeMissing(_)) => Reason::BridgeNotFound,
        _ => Reason::HostFailed,
    };
    let did = action.map_or_else(|| "look at the network".to_owned(), ToString::to_string);
    let cause = cause(error);
    let message = if cause.is_empty() { error.to_string() } else { format!("{error}: {cause}") };
    match reason {
        Reason::BridgeNotFound => Problem::new(reason, message),
        _ => Problem::new(reason, format!("cannot {did}: {message}")),
    }
}

/// What stands behind an error, in one line.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(error.source(), |e| e.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
