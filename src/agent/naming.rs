//! The names of a large network: its server is told of them while its guests are served.
//!
//! Used by the network's worker. The guests are the business of other processes there, and the one that answers
//! for names takes seconds to read a change of 20,000. Whatever else is to be done with that one waits.

use std::future::pending;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::context::Context;
use super::execute::{Executor, Failure};
use crate::dnsmasq;
use crate::host::{Applied, Host};
use crate::node::{Action, Segment};
use crate::store::PortsRevision;
use crate::types::NetworkUid;

/// See the module.
#[derive(Default)]
pub(super) struct Naming {
    under_way: Option<UnderWay>,
    /// The next time it is waited for, and a failure is said.
    failed: bool,
    /// The server did not take all of what it was told last.
    refused: bool,
    /// What it is told is not of this pass.
    behind: bool,
    /// Up to which revision the Ports are done that are looked at.
    revision: Option<PortsRevision>,
    /// Up to which they are done with their names.
    named: Option<PortsRevision>,
}

struct UnderWay {
    revision: Option<PortsRevision>,
    task: AbortOnDropHandle<Result<(Action, Applied), Failure>>,
}

impl Naming {
    /// Whether the server is being told.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// A pass begins, for the Ports up to here.
    pub(super) fn look_at(&mut self, revision: Option<PortsRevision>) {
        self.revision = revision;
        self.behind = self.is_under_way();
    }

    /// All else is done: up to which revision the Ports are.
    pub(super) fn done(&mut self) -> Option<PortsRevision> {
        if !self.is_under_way() {
            self.named = self.revision;
        }
        self.named
    }

    /// Whether the server knows all that this pass had to tell.
    pub(super) fn is_done(&self) -> bool {
        !(self.is_under_way() || self.failed || self.refused || self.behind)
    }

    /// Whether it is not known what the server was told last.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the server has refused anything since this was asked last.
    pub(super) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    /// What of `actions` is for later: the names, where the rest is nothing to do with who answers for them.
    pub(super) fn defer(&mut self, segment: &Segment, actions: &mut Vec<Action>) -> Option<Action> {
        if segment.shares.is_empty() || !actions.iter().all(|action| is_names(action) || is_beside(action)) {
            return None;
        }
        let at = actions.iter().position(is_names)?;
        // Waiting for what was tried in vain says why it was.
        if std::mem::take(&mut self.failed) { None } else { Some(actions.remove(at)) }
    }

    /// Begins to tell the server, unless somebody does: whoever asks when that is done finds what is left.
    pub(super) fn begin<H: Host>(
        &mut self,
        context: &Arc<Context<H>>,
        uid: NetworkUid,
        label: String,
        names: Action,
    ) {
        let context = context.clone();
        let tell = async move {
            let (host, metrics, cancel) = (&context.host, &context.metrics, CancellationToken::new());
            let executor = Executor { host, metrics, uid, label: &label, cancel: &cancel };
            let (_, applied) = executor.act(&names).await?;
            Ok((names, applied))
        };
        let revision = self.revision;
        self.under_way.get_or_insert_with(|| {
            let task = AbortOnDropHandle::new(tokio::spawn(tell.in_current_span()));
            UnderWay { revision, task }
        });
    }

    /// Returns when the server was told, or was not. Cancel-safe.
    pub(super) async fn told(&mut self, segment: &mut Option<Segment>) {
        let Some(under_way) = &mut self.under_way else { return pending().await };
        let told = (&mut under_way.task).await;
        let revision = self.under_way.take().and_then(|under_way| under_way.revision);
        let Ok(Ok((names, applied))) = told else {
            self.failed = true;
            return;
        };
        if let Some(segment) = segment {
            segment.record(&names);
        }
        self.refused |= !applied.refused.is_empty();
        self.named = revision;
    }

    /// The same, at once if nobody tells it.
    pub(super) async fn finish(&mut self, segment: &mut Option<Segment>) {
        if self.is_under_way() {
            self.told(segment).await;
        }
    }
}

fn is_names(action: &Action) -> bool {
    matches!(action, Action::Server(dnsmasq::Action::WriteNames(_)))
}

/// Whether it concerns neither who answers for names nor what that one stands on.
pub(super) fn is_beside(action: &Action) -> bool {
    match action {
        Action::InRoom(_, change) => is_beside(change),
        Action::Direct { whole, .. } | Action::AdmitToDhcpv6 { whole, .. } => !whole,
        Action::Share(..) | Action::ChangeNeighbours { .. } => true,
        _ => false,
    }
}
