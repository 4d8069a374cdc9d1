//! Who leads: one process of several, by a Lease, as `client-go` does it.
//!
//! Used by the controller, which writes only under a [`Guard`]. No process' wall clock matters: a Lease
//! may be taken once it stood still for its duration on our own monotonic clock.
//!
//! Why no write of an old leader lands after another leads: another one takes the Lease `duration`
//! after it saw the last renewal, which is after that renewal was sent. A guard says no from
//! `renew_deadline` after it was sent, and a request begun before that is given up within
//! [`Times::request`], which is what remains. What the network itself delays for longer is refused by
//! the `resourceVersion` that such writes carry.

mod record;

use std::error::Error;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::backoff::chance;
use record::{Decision, Observed, claimed, decide, released};

/// How long what takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long a Lease must stand still before another takes it; told to others in whole seconds.
    pub duration: Duration,
    /// How long a leader leads after it began its last renewal. Shorter than `duration`.
    pub renew_deadline: Duration,
    /// Between two attempts.
    pub retry: Duration,
}

impl Default for Times {
    /// As `client-go` has it: 15 s, 10 s, 2 s.
    fn default() -> Self {
        let [duration, renew_deadline, retry] = [15, 10, 2].map(Duration::from_secs);
        Self { duration, renew_deadline, retry }
    }
}

impl Times {
    /// How long a leader's request may take, whatever it is about.
    pub fn request(&self) -> Duration {
        self.duration.saturating_sub(self.renew_deadline)
    }
}

/// Whether this process leads, for the how-manieth time, and until when without a further renewal.
#[derive(Debug, Clone, Copy, Default)]
struct Term {
    number: u64,
    until: Option<Instant>,
}

/// One term of leadership; cheap to clone. It never comes to life again.
#[derive(Debug, Clone)]
pub struct Guard {
    number: u64,
    term: watch::Receiver<Term>,
}

impl Guard {
    /// Whether a request may be begun now; it is to be given up after [`Times::request`]. At once false
    /// after this process stood still.
    pub fn may_write(&self) -> bool {
        let term = *self.term.borrow();
        term.number == self.number && term.until.is_some_and(|until| Instant::now() < until)
    }

    /// Returns when the term is over. Cancel-safe.
    pub async fn lost(&self) {
        let over = |term: &Term| term.number != self.number || term.until.is_none();
        // An error means that the campaign ended, and with it the term.
        let _ = self.term.clone().wait_for(over).await;
    }
}

#[cfg(test)]
impl Guard {
    /// One that allows everything until it is told to end.
    pub(super) fn until_told() -> (Self, impl Fn() + Clone + Send + Sync + 'static) {
        let until = Instant::now().checked_add(Duration::from_secs(3600));
        let (term, receiver) = watch::channel(Term { number: 1, until });
        (Self { number: 1, term: receiver }, move || term.send_modify(|term| term.until = None))
    }
}

/// A campaign under way.
#[derive(Debug)]
pub struct LeaderHandle {
    term: watch::Receiver<Term>,
    task: JoinHandle<()>,
}

impl LeaderHandle {
    /// The present term's; if there is none, one that never allows anything.
    pub fn guard(&self) -> Guard {
        Guard { number: self.term.borrow().number, term: self.term.clone() }
    }

    /// Waits until this process leads; `None`: the campaign was stopped. Cancel-safe.
    pub async fn acquired(&self) -> Option<Guard> {
        let mut term = self.term.clone();
        let number = term.wait_for(|term| term.until.is_some()).await.ok()?.number;
        Some(Guard { number, term })
    }

    /// Returns when the present term is over; at once if there is none. Cancel-safe.
    pub async fn lost(&self) {
        self.guard().lost().await;
    }

    /// Waits until the campaign has ended and the Lease is released.
    pub async fn finished(self) {
        // It fails only if the runtime ends first.
        let _ = self.task.await;
    }
}

/// One that wants to lead.
#[derive(Debug)]
pub struct Leader {
    api: Api<Lease>,
    name: String,
    identity: String,
    times: Times,
    observed: Observed,
    /// The Lease as we wrote it; unknown after an error.
    own: Option<Lease>,
    term: watch::Sender<Term>,
    failing: bool,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("cannot read or write the leader's Lease")]
    Api(#[source] kube::Error),
    #[error("no answer about the leader's Lease within {0:?}")]
    Timeout(Duration),
}

/// What came of an attempt.
enum Attempt {
    /// The Lease is ours by a write that began then.
    Ours(Instant),
    /// Somebody else's, for at least this time.
    Theirs(Duration),
}

impl Leader {
    /// Campaigns in a task of its own, again after each loss, until `stop`; then the Lease is released,
    /// so nothing may be writing any more. `identity` must be this process' alone.
    pub fn campaign(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        times: Times,
        stop: CancellationToken,
    ) -> LeaderHandle {
        let (term, receiver) = watch::channel(Term::default());
        let (name, identity) = (name.to_owned(), identity.to_owned());
        let (api, observed) = (Api::namespaced(client, namespace), Observed::default());
        let leader = Self { api, name, identity, times, observed, own: None, term, failing: false };
        LeaderHandle { term: receiver, task: tokio::spawn(leader.run(stop)) }
    }

    async fn run(mut self, stop: CancellationToken) {
        // Cancel-safe: what an abandoned attempt wrote is seen by the next look, or released below.
        while stop.run_until_cancelled(self.acquire()).await.is_some() {
            tracing::info!(lease = self.name, identity = self.identity, "leading");
            let stopped = stop.run_until_cancelled(self.hold()).await.is_none();
            self.term.send_modify(|term| term.until = None);
            if stopped {
                break;
            }
            tracing::warn!(lease = self.name, "no longer leading");
        }
        self.release().await;
    }

    /// Returns when we lead.
    async fn acquire(&mut self) {
        loop {
            let pause = jittered(self.times.retry);
            let pause = match self.look().await {
                Some(Attempt::Ours(began)) if self.extend(began, 1) => return,
                Some(Attempt::Theirs(rest)) => pause.min(rest),
                _ => pause,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns when we lead no more.
    async fn hold(&mut self) {
        loop {
            let until = self.term.borrow().until.unwrap_or_else(Instant::now);
            let pause = self.times.retry.min(until.saturating_duration_since(Instant::now()));
            tokio::time::sleep(pause).await;
            let rest = until.saturating_duration_since(Instant::now());
            match timeout(rest, self.look()).await {
                Ok(Some(Attempt::Ours(began))) if self.extend(began, 0) => {}
                // Tried again until the term is over.
                Ok(None) if Instant::now() < until => {}
                _ => return,
            }
        }
    }

    /// Leads from `began` on, unless that was too long ago: whoever stood still in between must look again.
    fn extend(&self, began: Instant, terms: u64) -> bool {
        let until = began + self.times.renew_deadline;
        let leads = Instant::now() < until;
        if leads {
            self.term.send_modify(|term| *term = Term { number: term.number + terms, until: Some(until) });
        }
        leads
    }

    /// An attempt, and another one at once if somebody else wrote first. `None`: it failed.
    async fn look(&mut self) -> Option<Attempt> {
        let mut attempt = self.attempt().await;
        if matches!(&attempt, Err(AttemptError::Api(kube::Error::Api(status))) if status.code == 409) {
            attempt = self.attempt().await;
        }
        match attempt {
            Ok(attempt) => {
                self.failing = false;
                Some(attempt)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let error = &error as &(dyn Error + 'static);
                    tracing::warn!(lease = self.name, error, "leader election: trying again");
                }
                None
            }
        }
    }

    /// Reads the Lease unless we wrote it last, and writes it if it is ours or to be had.
    async fn attempt(&mut self) -> Result<Attempt, AttemptError> {
        let lease = match self.own.take() {
            Some(lease) => Some(lease),
            None => self.within(self.api.get_opt(&self.name)).await?,
        };
        let began = Instant::now();
        let record = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let unchanged = self.observed.see(&record, began);
        if let Decision::Wait(rest) = decide(&record, &self.identity, unchanged, self.times.duration) {
            return Ok(Attempt::Theirs(rest));
        }
        let record = claimed(&record, &self.identity, self.times.duration, Timestamp::now());
        let lease = self.write(lease, record).await?;
        // What the server made of it, so that a look at it later finds it unchanged.
        self.observed.see(lease.spec.as_ref().unwrap_or(&LeaseSpec::default()), began);
        self.own = Some(lease);
        Ok(Attempt::Ours(began))
    }

    /// Refused as a conflict if somebody else wrote since `lease` was read.
    async fn write(&self, lease: Option<Lease>, record: LeaseSpec) -> Result<Lease, AttemptError> {
        let (params, spec) = (PostParams::default(), Some(record));
        if let Some(lease) = lease {
            let lease = Lease { spec, ..lease };
            return self.within(self.api.replace(&self.name, &params, &lease)).await;
        }
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        self.within(self.api.create(&params, &Lease { metadata, spec })).await
    }

    /// Lets the next one lead at once.
    async fn release(&mut self) {
        // An attempt that was cut off may have taken it without our knowing.
        let lease = match self.own.take() {
            Some(lease) => Some(lease),
            None => self.within(self.api.get_opt(&self.name)).await.unwrap_or_default(),
        };
        let Some(lease) = lease else { return };
        let record = lease.spec.clone().unwrap_or_default();
        if record.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        match self.write(Some(lease), released(&record, Timestamp::now())).await {
            Ok(_) => tracing::info!(lease = self.name, "released"),
            Err(error) => {
                let error = &error as &(dyn Error + 'static);
                tracing::warn!(lease = self.name, error, "not released; others wait for it to expire");
            }
        }
    }

    async fn within<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, AttemptError> {
        let limit = self.times.request();
        timeout(limit, request).await.map_err(|_| AttemptError::Timeout(limit))?.map_err(AttemptError::Api)
    }
}

/// One to 2.2 times the period, as `client-go` does, so that candidates do not stay in step.
fn jittered(period: Duration) -> Duration {
    period.mul_f64(1.0 + 1.2 * chance())
}

#[cfg(test)]
mod tests;
