//! Reading a cluster's objects for a command that shows them.
//!
//! Used by `explain`, `status` and `leases`. Changes nothing.

use std::fmt::Debug;

use anyhow::{Result, anyhow};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::cluster::write::{describe, limited};

/// Those of a Kubernetes namespace, or of all.
pub(super) fn within<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let client = client.clone();
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// All that are selected.
pub(super) async fn listed<K>(objects: &Api<K>, which: &ListParams) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let list = limited(objects.list(which)).await;
    let list = list.map_err(|e| anyhow!("cannot list {}: {}", K::plural(&()), describe(&e)))?;
    Ok(list.items)
}
