//! Doing a plan: one action after the other, the firewall's waits beside the rest, and what servers of different
//! shares are told side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::dnsmasq::{self, Lease, Share};
use crate::host::{Applied, Error, Host, Refused};
use crate::metrics::Metrics;
use crate::node::{Action, Segment};
use crate::types::{Identity, NetworkUid};

/// How long an action may take: longer than whatever it waits for, each with a limit of its own. Beyond
/// it something hangs, and only its own network is to wait for that.
const PATIENCE: Duration = Duration::from_secs(60);

/// Servers that are told something at a time: each takes a processor for that.
const LANES: usize = 4;

/// What came of a plan.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Lines that dnsmasq did not take.
    pub(super) refused: Vec<(Option<Share>, Refused)>,
    /// Why it was not done to its end.
    pub(super) failure: Option<Failure>,
    /// Which servers were started.
    pub(super) started: BTreeSet<Option<Share>>,
    /// Which servers that ran did not take a line that they should have taken.
    pub(super) distrusted: BTreeSet<Option<Share>>,
    /// Leases that they did not give up.
    pub(super) kept: Vec<(Option<Share>, IpAddr, Lease)>,
    /// The hosts that a running server has taken.
    pub(super) taken: Vec<Identity>,
}

impl Outcome {
    fn note(&mut self, action: &Action, applied: Applied) {
        let Some((share, action)) = action.of_server() else { return };
        match action {
            dnsmasq::Action::Start(_) => {
                self.started.insert(share);
            }
            _ if !applied.refused.is_empty() => {
                self.distrusted.insert(share);
            }
            dnsmasq::Action::Release(ip, lease) if applied.kept => {
                self.kept.push((share, *ip, lease.clone()));
            }
            _ => {}
        }
        if let dnsmasq::Action::AddHosts(changes) = action {
            self.taken.extend(changes.iter().map(|change| change.identity().clone()));
        }
        self.refused.extend(applied.refused.into_iter().map(|refused| (share, refused)));
    }
}

/// An action that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) action: Action,
    pub(super) error: Error,
}

pub(super) struct Executor<'a, H> {
    pub(super) host: &'a H,
    pub(super) metrics: &'a Metrics,
    pub(super) uid: NetworkUid,
    pub(super) label: &'a str,
    pub(super) cancel: &'a CancellationToken,
}

impl<H: Host> Executor<'_, H> {
    /// Does `actions` and records in `segment` what was done.
    pub(super) async fn execute(&self, segment: &mut Segment, actions: Vec<Action>) -> Outcome {
        let mut outcome = Outcome::default();
        let (first, rest): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| *action == Action::CreateNamespace);
        // The first use of the firewall in a new namespace waits for the kernel, not for a processor.
        let (rules, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|action| matches!(action, Action::AddRule(_)));
        self.sequence(segment, &first, &mut outcome).await;
        if outcome.failure.is_some() || self.cancel.is_cancelled() {
            return outcome;
        }
        let rules = join_all(rules.iter().map(|rule| self.act(rule)));
        let ((), done) = tokio::join!(self.sequence(segment, &rest, &mut outcome), rules);
        for done in done {
            match done {
                Ok((action, _)) => segment.record(action),
                Err(failure) => outcome.failure = outcome.failure.or(Some(failure)),
            }
        }
        outcome
    }

    async fn sequence(&self, segment: &mut Segment, actions: &[Action], outcome: &mut Outcome) {
        for lanes in side_by_side(actions) {
            for (done, failure) in join_all(lanes.iter().map(|lane| self.lane(lane))).await {
                for (action, applied) in done {
                    segment.record(action);
                    outcome.note(action, applied);
                }
                outcome.failure = outcome.failure.take().or(failure);
            }
            if outcome.failure.is_some() {
                return;
            }
        }
    }

    /// One after the other: what was done, and how it failed.
    async fn lane<'b>(&self, actions: &[&'b Action]) -> (Vec<(&'b Action, Applied)>, Option<Failure>) {
        let mut done = Vec::new();
        for &action in actions {
            if self.cancel.is_cancelled() {
                break;
            }
            match self.act(action).await {
                Ok(acted) => done.push(acted),
                Err(failure) => return (done, Some(failure)),
            }
        }
        (done, None)
    }

    /// Does one of them.
    pub(super) async fn act<'b>(&self, action: &'b Action) -> Result<(&'b Action, Applied), Failure> {
        let started = Instant::now();
        let applied = tokio::time::timeout(PATIENCE, self.host.apply(self.uid, self.label, action)).await;
        let applied = applied.unwrap_or(Err(Error::TookTooLong(PATIENCE.as_secs())));
        let milliseconds = started.elapsed().as_secs_f64() * 1_000.0;
        match applied {
            Ok(applied) => {
                info!(milliseconds, "{action}");
                self.count(action, started);
                for refused in &applied.refused {
                    warn!(
                        identity = refused.identity.as_ref().map(ToString::to_string),
                        "dnsmasq refused: {}", refused.message
                    );
                }
                Ok((action, applied))
            }
            Err(error) => {
                self.metrics.failed(action.kind());
                Err(Failure { action: action.clone(), error })
            }
        }
    }

    fn count(&self, action: &Action, started: Instant) {
        self.metrics.acted(action.kind());
        match action.of_server() {
            Some((_, dnsmasq::Action::Start(_))) => {
                self.metrics.starts.inc();
            }
            Some((
                _,
                dnsmasq::Action::AddHosts(_)
                | dnsmasq::Action::AddOptions(_)
                | dnsmasq::Action::WriteNames(_),
            )) => self.metrics.reloads.observe(started.elapsed().as_secs_f64()),
            _ => {}
        }
    }
}

/// What waits for nothing but what is before it in its own lane; all of that before what follows.
fn side_by_side(actions: &[Action]) -> Vec<Vec<Vec<&Action>>> {
    let mut all = Vec::new();
    for together in actions.chunk_by(|one, next| is_told(one) && is_told(next)) {
        let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for action in together {
            lanes.entry(action.of_server().and_then(|(share, _)| share)).or_default().push(action);
        }
        let lanes: Vec<_> = lanes.into_values().collect();
        all.extend(lanes.chunks(LANES).map(<[_]>::to_vec));
    }
    all
}

/// Whether the running server of one share is told something. That one cannot be told must leave no other stopped.
fn is_told(action: &Action) -> bool {
    use dnsmasq::Action as Told;
    matches!(action, Action::Share(_, Told::AddHosts(_) | Told::AddOptions(_) | Told::Release(..)))
}

/// Whether it takes the kernel and dnsmasq no time that others would notice.
pub(super) fn is_quick(action: &Action) -> bool {
    use dnsmasq::Action as Server;
    if let Some((_, action)) = action.of_server() {
        return !matches!(action, Server::Prepare(_) | Server::Start(_));
    }
    matches!(
        action,
        Action::AdmitToDhcpv6 { .. }
            | Action::OpenDhcpv6
            | Action::Direct { .. }
            | Action::DirectNobody(_)
            | Action::InRoom(..)
            | Action::DeleteRoom(_)
            | Action::ChangeNeighbours { .. }
            | Action::ServeMetadata(_)
            | Action::StopMetadata
            | Action::DeleteDevice
            | Action::DeleteNamespace
    )
}

/// Whether an address is taken from a host of a running server. The host may have a lease for it since
/// anybody last looked: guests get leases without our being told.
pub(super) fn takes_back(segment: &Segment, actions: &[Action]) -> bool {
    let had = |change: &dnsmasq::HostChange| match change {
        dnsmasq::HostChange::Gone(_) => true,
        dnsmasq::HostChange::Set(client, _) => segment.who_answers(client).is_some(),
    };
    let added = actions.iter().filter_map(Action::of_server);
    added
        .into_iter()
        .any(|(_, action)| matches!(action, dnsmasq::Action::AddHosts(changes) if changes.iter().any(had)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Family;

    #[test]
    fn servers_of_shares_are_told_side_by_side_and_none_is_stopped_before_all_are_told() {
        let of = |share, action| Action::Share(Share::new(Family::V4, share).unwrap(), action);
        let (hosts, options) =
            (dnsmasq::Action::AddHosts(Vec::new()), dnsmasq::Action::AddOptions(BTreeMap::new()));
        let told = [of(1, options.clone()), of(1, hosts.clone()), of(2, hosts)];
        let stopped = [of(3, dnsmasq::Action::Stop), of(3, dnsmasq::Action::Start(Vec::new()))];
        let actions = [&told[..], &stopped].concat();
        let [first, second] = [vec![&told[0], &told[1]], vec![&told[2]]];
        let expected = vec![vec![first, second], vec![vec![&stopped[0]]], vec![vec![&stopped[1]]]];
        assert_eq!(side_by_side(&actions), expected);
        let many: Vec<_> = (1..=9).map(|share| of(share, options.clone())).collect();
        assert_eq!(side_by_side(&many).iter().map(Vec::len).collect::<Vec<_>>(), [LANES, LANES, 1]);
    }
}
