//! Guests that come to a large network: they are served before all of it is gone through again.
//!
//! The first part of a worker's pass; the rest of it finds them there.

use super::Worker;
use crate::desired::{Desired, Inputs, Known};
use crate::host::Host;
use crate::plan;

impl<H: Host> Worker<H> {
    /// Serves those who came since the network was last as it shall be, if that is all that changed.
    pub(super) async fn receive(&mut self, inputs: &Inputs) {
        let Some(known) = self.known.take().filter(|_| !self.signal.is_to_observe()) else { return };
        let Some(new) = self.kept.receive(&self.context.node(), &known, inputs).await else { return };
        let Some(mut segment) = self.segment.take() else { return };
        if let Some(actions) = plan::arrivals(new, known.spread(), &segment) {
            let outcome = self.act(&mut segment, actions).await;
            self.distrusted.extend(&outcome.distrusted);
            // What became of it is said when all of it was gone through.
            self.judge(outcome, false);
        }
        self.segment = Some(segment);
    }

    /// The network is as it shall be: from now on others may come.
    pub(super) fn settle(&mut self, inputs: &Inputs, desired: &Desired) {
        self.known = Known::new(inputs.clone(), desired);
    }
}
