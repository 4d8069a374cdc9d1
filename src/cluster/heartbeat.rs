//! The agent's own Lease: the sign that it is alive.
//!
//! Run by the agent in a task of its own from its first second on, so that nothing it does delays it.
//! It knows nothing of what the agent does. When the agent ends the Lease stays: one that is back
//! before it expires was never away.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Patch;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::write::{AGENT, params};
use crate::backoff::Backoff;

/// How often an agent renews its Lease.
pub const RENEW: Duration = Duration::from_secs(5);
/// For how long a Lease is good.
pub const VALID: Duration = Duration::from_secs(15);

/// The first pause after a failure; each is twice the one before, up to half of the period.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Which Lease, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Where our Leases are.
    pub namespace: String,
    /// The node's name.
    pub node: String,
    /// From one renewal to the next, and how long one may take; 5 s.
    pub renew: Duration,
    /// How long after a renewal the agent counts as alive; whole seconds, 15 s.
    pub valid: Duration,
}

/// Why a renewal failed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("cannot write Lease {0}")]
    Api(String, #[source] kube::Error),
    #[error("no answer about Lease {0} within {1:?}")]
    Timeout(String, Duration),
}

impl Heartbeat {
    /// The name of a node's Lease.
    pub fn lease_name(node: &str) -> String {
        format!("agent-{node}")
    }

    /// Renews the Lease until `stop`, whatever happens.
    pub async fn run(self, client: Client, stop: CancellationToken) {
        let api = Api::namespaced(client, &self.namespace);
        // Cancel-safe: a renewal that is cut off is one that may or may not have been.
        stop.run_until_cancelled(self.beat(&api)).await;
    }

    async fn beat(&self, api: &Api<Lease>) {
        let retry = Backoff { first: FIRST_PAUSE, last: self.renew / 2 };
        let mut failures = 0;
        loop {
            let began = Instant::now();
            match self.renew(api).await {
                Ok(()) => {
                    if std::mem::take(&mut failures) > 0 {
                        tracing::info!(node = self.node, "the agent's Lease is renewed again");
                    }
                    sleep_until(began + self.renew).await;
                }
                Err(error) => {
                    if failures == 0 {
                        let error = &error as &(dyn Error + 'static);
                        tracing::warn!(
                            node = self.node,
                            error,
                            "the agent's Lease is not renewed; trying on"
                        );
                    }
                    sleep(retry.after(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    async fn renew(&self, api: &Api<Lease>) -> Result<(), RenewError> {
        let name = Self::lease_name(&self.node);
        let (params, lease) = (params(AGENT), self.lease(&name, Timestamp::now()));
        match timeout(self.renew, api.patch(&name, &params, &Patch::Apply(lease))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(RenewError::Api(name, error)),
            Err(_) => Err(RenewError::Timeout(name, self.renew)),
        }
    }

    fn lease(&self, name: &str, now: Timestamp) -> Value {
        // What is applied is all that we own: nobody's labels are touched.
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name},
            "spec": {
                "holderIdentity": self.node,
                "leaseDurationSeconds": self.valid.as_secs(),
                "renewTime": format!("{now:.6}"),
            },
        })
    }
}

#[cfg(test)]
mod tests;
