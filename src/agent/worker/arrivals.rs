//! Guests that come to a large network: they are served before all of it is gone through again.
//!
//! The first part of a worker's pass; the rest of it finds them there.

use std::sync::Arc;

use super::Worker;
use crate::desired::{Desired, Inputs};
use crate::host::Host;
use crate::plan;
use crate::reason::Problem;

impl<H: Host> Worker<H> {
    /// Serves those who came since the network was last as it shall be. It stays known if they are all that
    /// changed.
    pub(super) async fn receive(&mut self, inputs: &Arc<Inputs>) {
        let Some(known) = self.known.take().filter(|_| !self.signal.is_to_observe()) else { return };
        let Some((known, new)) = self.kept.receive(&self.context.node(), known, inputs).await else { return };
        let Some(new) = new else {
            self.known = Some(known);
            return;
        };
        let Some(mut segment) = self.segment.take() else { return };
        if let Some(actions) = plan::arrivals(new, known.spread(), &segment) {
            let outcome = self.act(&mut segment, actions).await;
            let is_taken = outcome.failure.is_none() && outcome.refused.is_empty();
            self.known = Some(known).filter(|_| is_taken && outcome.distrusted.is_empty());
            self.distrusted.extend(&outcome.distrusted);
            // What became of it is said when all of it was gone through.
            self.judge(outcome, false);
        }
        self.segment = Some(segment);
    }

    /// Goes through all of the network. `None`: while that could wait, there was news.
    pub(super) async fn decide(
        &mut self,
        inputs: Option<&Arc<Inputs>>,
    ) -> Option<(Desired, Result<(), Problem>)> {
        let Some(inputs) = inputs else { return Some((Desired::default(), Ok(()))) };
        let node = self.context.node();
        if self.known.is_none() || self.is_urgent || !self.may_wait() {
            return Some(self.kept.decide(&node, inputs).await);
        }
        let decided = tokio::select! {
            biased;
            () = self.signal.woken() => return None,
            () = self.cancel.cancelled() => return None,
            decided = self.kept.decide_beside(node, inputs.clone()) => decided,
        };
        Some(self.kept.accept(decided, inputs).await)
    }
}
