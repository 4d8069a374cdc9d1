//! Which cluster it is, and whether it still is that one.
//!
//! Used by the cluster source. Nothing that another cluster says is believed.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error};

use crate::cluster::client::why;
use crate::cluster::write::{self, limited};

const RETRY: Duration = Duration::from_secs(1);

/// Which cluster it is, by the UID of its `kube-system` namespace.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Identity {
    Unknown(Option<String>),
    Known(String),
    /// The API server is another cluster's than this one's, which it was.
    Changed(String),
}

/// Finds out which cluster it is, as often as it takes.
pub(super) async fn identify(client: Client, identity: Arc<watch::Sender<Identity>>) {
    loop {
        match cluster_uid(&client).await {
            Ok(uid) => {
                debug!(cluster = uid, "found the cluster");
                identity.send_replace(Identity::Known(uid));
                return;
            }
            Err(why) => {
                let why = format!("cannot tell which cluster it is: {why}");
                identity.send_replace(Identity::Unknown(Some(why)));
                sleep(RETRY).await;
            }
        }
    }
}

async fn cluster_uid(client: &Client) -> Result<String, String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match limited(namespaces.get("kube-system")).await {
        Ok(namespace) => Ok(namespace.metadata.uid.unwrap_or_default()),
        Err(write::Error::Api(e)) => Err(why(&e, "namespaces")),
        Err(e) => Err(e.to_string()),
    }
}

/// Looks whether a list is of the cluster that it is to be of: an API server with other data answers,
/// too, and its lists are empty.
pub(super) struct Guard {
    pub(super) client: Client,
    pub(super) identity: Arc<watch::Sender<Identity>>,
}

impl Guard {
    /// Returns when it is that cluster.
    pub(super) async fn same_cluster(&self) {
        let expected = match &*self.identity.borrow() {
            Identity::Known(uid) | Identity::Changed(uid) => uid.clone(),
            Identity::Unknown(_) => return,
        };
        loop {
            match cluster_uid(&self.client).await {
                Ok(uid) if uid == expected => {
                    self.identity.send_if_modified(|known| {
                        let changed = matches!(known, Identity::Changed(_));
                        *known = Identity::Known(expected.clone());
                        changed
                    });
                    return;
                }
                Ok(uid) => {
                    error!(was = expected, is = uid, "the API server is another cluster's");
                    self.identity.send_replace(Identity::Changed(expected.clone()));
                    sleep(RETRY * 5).await;
                }
                Err(why) => {
                    debug!("cannot tell which cluster it is: {why}");
                    sleep(RETRY).await;
                }
            }
        }
    }
}
