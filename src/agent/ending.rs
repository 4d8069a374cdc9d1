//! How the agent ends: everything goes on serving, or is taken down first.
//!
//! Called when the agent is to stop, and by `kube-dhcp cleanup`, which only takes down.

use std::time::Duration;

use tracing::{info, warn};

use super::{Agent, Error, Exit};
use crate::host::Host;
use crate::source::Batch;

/// How long the actions that are being done may go on.
const LAST_ACTIONS: Duration = Duration::from_secs(10);

/// How long taking everything down may take: longer than a process that does not end at SIGTERM.
const TAKE_DOWN: Duration = Duration::from_secs(20);

impl<H: Host> Agent<H> {
    /// Takes down all that is there instead of serving; addresses stay allocated. Whether nothing is left.
    pub async fn take_down(mut self) -> Result<bool, Error> {
        let found = self.found().await?;
        self.context.learn_rules().await?;
        // Before a worker begins: a network that only nobody wants gives its addresses back.
        self.context.take_down();
        self.start(Batch::default(), found);
        Ok(self.stop(Exit::TakeDown).await)
    }

    /// Whether it came to the end that was asked for.
    pub(super) async fn stop(&mut self, exit: Exit) -> bool {
        let mut done = true;
        if exit == Exit::TakeDown {
            info!("taking everything down");
            self.context.take_down();
            self.workers.values().for_each(|signal| signal.change());
            let all = async { while self.tasks.join_next().await.is_some() {} };
            done = tokio::time::timeout(TAKE_DOWN, all).await.is_ok();
            if !done {
                warn!("some networks could not be taken down");
            }
            self.sweep().await;
        }
        self.cancel.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ACTIONS, all).await.is_err() {
            warn!("some actions do not end; the next start sees what came of them");
        }
        info!("stopped");
        done
    }
}
