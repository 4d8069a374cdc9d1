//! A network's metadata service as its worker sees it: what keeps it from being offered, and until when.
//!
//! Called by the worker. It keeps nobody from what else is served.

use tokio::time::Instant;
use tracing::warn;

use super::execute::{Failure, Outcome};
use super::next::{Next, RETRY};
use super::voice::host_failed;
use crate::backoff::jittered;
use crate::desired::Desired;
use crate::node::{Action, Segment};
use crate::reason::{Problem, Reason};

/// How it is on this node.
#[derive(Debug, Default)]
pub(super) struct Metadata(Option<Failed>);

#[derive(Debug)]
struct Failed {
    problem: Problem,
    /// In a row.
    times: u32,
    retry: Instant,
}

impl Metadata {
    /// Why it is not offered.
    pub(super) fn problem(&self) -> Option<&Problem> {
        self.0.as_ref().map(|failed| &failed.problem)
    }

    /// When it is tried again.
    pub(super) fn next(&self) -> Next {
        self.0.as_ref().map_or(Next::Never, |failed| Next::At(failed.retry))
    }

    /// Takes its failure out of what came of a plan, and remembers it. Returns whether there was one: then
    /// how far it came is not known.
    pub(super) fn take(&mut self, outcome: &mut Outcome, desired: &Desired, segment: &Segment) -> bool {
        let is_its_own = |failure: &mut Failure| matches!(failure.action, Action::ServeMetadata(_));
        let Some(Failure { action, error }) = outcome.failure.take_if(is_its_own) else {
            let wanted = desired.segment.as_ref().and_then(|segment| segment.metadata.as_ref());
            if segment.metadata.as_ref() == wanted {
                self.0 = None;
            }
            return false;
        };
        let times = self.0.as_ref().map_or(0, |failed| failed.times) + 1;
        let error = &error as &(dyn std::error::Error + 'static);
        warn!(error, failures = times, "failed to {action}");
        let problem = Problem::new(Reason::MetadataNotServed, host_failed(Some(&action), error).message);
        let wait = RETRY.after(times - 1);
        self.0 = Some(Failed { problem, times, retry: Instant::now() + wait / 2 + jittered(wait) });
        true
    }
}
