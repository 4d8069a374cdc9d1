//! A client of the API server, and its errors in words.

use std::path::Path;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::BoxError;
use tower::util::MapResultLayer;

use super::failures::{Failure, Failures};
use super::pulse::Pulse;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that was named is of no use.
    #[error("kubeconfig {0} cannot be used")]
    Kubeconfig(String, #[source] kube::config::KubeconfigError),
    /// Neither a kubeconfig nor a pod's service account.
    #[error("no cluster is known: no kubeconfig, and no service account of a pod")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// What the configuration says cannot be done.
    #[error("no client for the API server")]
    Client(#[source] kube::Error),
}

/// A client, and what it hears.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// Fed by all its requests.
    pub pulse: Pulse,
}

/// A client: of `kubeconfig`, else of the pod's service account or the usual files. Says what failed at
/// once: whoever calls knows better whether to try again. Later failures are counted.
pub async fn connect(kubeconfig: Option<&Path>, failures: &Failures) -> Result<Connection, Error> {
    let mut config = match kubeconfig {
        Some(path) => {
            let named = |e| Error::Kubeconfig(path.display().to_string(), e);
            let file = Kubeconfig::read_from(path).map_err(named)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(named)?
        }
        None => Config::infer().await.map_err(Error::NoCluster)?,
    };
    config.connect_timeout = Some(CONNECT);
    // A write that is tried again behind our back could land when somebody else leads.
    config.default_retry = false;
    let pulse = Pulse::default();
    let heard = pulse.clone();
    let failures = failures.clone();
    let layer = MapResultLayer::new(move |answer: Result<axum::http::Response<_>, BoxError>| {
        let failure = match &answer {
            Ok(response) => Failure::of_status(response.status()),
            Err(error) => Some(Failure::of_error(&**error)),
        };
        if let Some(failure) = failure {
            failures.count(failure);
        }
        // One that asks for patience, or is in trouble itself, is no invitation to others.
        if answer.is_ok() && failure != Some(Failure::Unavailable) {
            heard.answered();
        }
        answer
    });
    let client = ClientBuilder::try_from(config).map_err(Error::Client)?.with_layer(&layer).build();
    Ok(Connection { client, pulse })
}

/// A client for a command that asks a little and ends.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    Ok(connect(kubeconfig, &Failures::default()).await?.client)
}

/// An API server that does not answer is not waited for: others may.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a request that is no watch may take. Shorter than what is left of a leader's Lease when it
/// may no longer write.
pub const REQUEST: Duration = Duration::from_secs(5);

/// A failure in one line, with what to do about it where that is known.
pub fn why(error: &kube::Error, resource: &str) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 && !is_terminating(status) => {
            format!("{}; apply the RBAC of deploy/", status.message)
        }
        kube::Error::Api(status) if status.code == 401 => {
            format!("the API server does not know us ({}): the token is of no use", status.message)
        }
        kube::Error::Api(status) if status.code == 404 => {
            format!("the API server has no {resource}: install the CRDs of crds/")
        }
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// Nothing is made any more in a namespace that is being deleted: no rights would help.
fn is_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// An error and what stands behind it; kube repeats causes in its messages, so each is said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |e| e.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rights_are_asked_for_only_where_they_help() {
        let refused = |reason: &str| {
            let status = json!({
                "status": "Failure", "code": 403, "message": "it is forbidden", "reason": "Forbidden",
                "details": {"causes": [{"reason": reason, "message": "m"}]},
            });
            why(&kube::Error::Api(serde_json::from_value(status).unwrap()), "ports")
        };
        assert_eq!(refused("other"), "it is forbidden; apply the RBAC of deploy/");
        assert_eq!(refused("NamespaceTerminating"), "it is forbidden");
    }
}
