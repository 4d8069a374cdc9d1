//! Writing: server-side apply of whole statuses, each with a limit of time.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::{REQUEST, why};
use super::leader::Guard;
use super::older;

/// Why a write did not happen, as far as one knows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or did not hear.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// Nobody knows whether it happened.
    #[error("no answer within {} s", REQUEST.as_secs())]
    Late,
    /// Somebody else may lead now.
    #[error("no longer the leader")]
    NotLeader,
}

impl Error {
    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The object is not as it was when we looked, or it is there already.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// The API server heard it and said no.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

/// A failure in one line, with its causes.
pub fn describe(error: &Error) -> String {
    match error {
        Error::Api(e) => why(e, "such resource"),
        other => other.to_string(),
    }
}

/// Whether a write may begin.
pub fn leading(guard: &Guard) -> Result<(), Error> {
    if guard.may_write() { Ok(()) } else { Err(Error::NotLeader) }
}

/// Who writes: the field manager that owns what is applied.
#[derive(Debug, Clone, Copy)]
pub enum Writer<'a> {
    /// An agent, on its own part.
    Agent,
    /// The controller, while it leads.
    Controller(&'a Guard),
}

impl Writer<'_> {
    fn manager(self) -> &'static str {
        match self {
            Self::Agent => AGENT,
            Self::Controller(_) => CONTROLLER,
        }
    }

    fn may_write(self) -> Result<(), Error> {
        match self {
            Self::Agent => Ok(()),
            Self::Controller(guard) => leading(guard),
        }
    }
}

/// `request`, but not for ever.
pub async fn limited<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    timeout(REQUEST, request).await.map_err(|_| Error::Late)?.map_err(Error::Api)
}

/// Applies `status` to an object of a namespace. With `uid` only to that very object: a later one of the
/// same name is left alone. What this manager applied before and does not apply now goes.
pub async fn apply_status<K>(
    client: &Client,
    writer: Writer<'_>,
    (namespace, name): (&str, &str),
    uid: &str,
    status: &impl Serialize,
) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let patch = status_patch::<K>(name, Some(uid), status)?;
    apply(&api, writer, (name, At::Status), patch, None).await
}

/// The same, if the object is still as it is known: what is written follows from that.
pub async fn apply_status_unchanged<K>(
    client: &Client,
    writer: Writer<'_>,
    object: &K,
    status: &impl Serialize,
) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    let (meta, name) = (object.meta(), object.name_any());
    let api: Api<K> = Api::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
    let mut patch = status_patch::<K>(&name, meta.uid.as_deref(), status)?;
    patch["metadata"]["resourceVersion"] = json!(meta.resource_version);
    apply(&api, writer, (&name, At::Status), patch, None).await
}

/// As [`apply_status`], for an object without namespace.
pub async fn apply_cluster_status<K>(
    client: &Client,
    writer: Writer<'_>,
    name: &str,
    uid: Option<&str>,
    status: &impl Serialize,
) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let patch = status_patch::<K>(name, uid, status)?;
    apply(&api, writer, (name, At::Status), patch, None).await
}

/// Applies an object; its status is not looked at. Nothing is written if the spec of the `old` one is the
/// same, but for what its definition has no room for.
pub async fn apply_object<K>(
    api: &Api<K>,
    writer: Writer<'_>,
    name: &str,
    object: Value,
    old: Option<&K>,
) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let old = old.map(|old| Ok((old, serde_json::to_value(old)?))).transpose();
    let old = old.map_err(kube::Error::SerdeError)?;
    apply(api, writer, (name, At::Object), object, old).await
}

#[derive(Clone, Copy)]
enum At {
    Object,
    Status,
}

/// What the definitions in the cluster do not have yet is left out.
async fn apply<K>(
    api: &Api<K>,
    writer: Writer<'_>,
    (name, at): (&str, At),
    mut patch: Value,
    old: Option<(&K, Value)>,
) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let (kind, parameters) = (K::kind(&()), params(writer.manager()));
    loop {
        patch = older::fitting(&kind, patch);
        if let Some((old, has)) = &old
            && older::fitting(&kind, has.clone())["spec"] == patch["spec"]
        {
            return Ok((*old).clone());
        }
        // Each time: the answer to the last one may have been long on its way.
        writer.may_write()?;
        let apply = Patch::Apply(&patch);
        let done = match at {
            At::Object => limited(api.patch(name, &parameters, &apply)).await,
            At::Status => limited(api.patch_status(name, &parameters, &apply)).await,
        };
        match done {
            Err(Error::Api(kube::Error::Api(no))) if older::learn(&kind, &no, &patch) => {}
            done => return done,
        }
    }
}

/// Server-side apply as `manager`, which owns what it applies.
pub fn params(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

fn status_patch<K: Resource<DynamicType = ()>>(
    name: &str,
    uid: Option<&str>,
    status: &impl Serialize,
) -> Result<Value, Error> {
    let status = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    let mut metadata = json!({"name": name});
    if let Some(uid) = uid {
        metadata["uid"] = uid.into();
    }
    Ok(json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status,
    }))
}

/// The field manager of all that an agent writes.
pub const AGENT: &str = "kube-dhcp-agent";
/// The field manager of all that the controller writes.
pub const CONTROLLER: &str = "kube-dhcp-controller";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::patch;
    use k8s_openapi::api::coordination::v1::Lease;

    use super::*;

    /// Leases of an API server that refuses this field, and how often it did; meanwhile `then`.
    fn refusing(
        field: &str,
        then: impl Fn() + Clone + Send + Sync + 'static,
    ) -> (Api<Lease>, Arc<AtomicUsize>) {
        let refusals = Arc::new(AtomicUsize::new(0));
        let (counter, message) =
            (refusals.clone(), format!("errors:\n  .spec.{field}: field not declared in schema"));
        let refuse = async move || {
            counter.fetch_add(1, Ordering::Relaxed);
            then();
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": "", "message": message, "code": 500});
            (StatusCode::INTERNAL_SERVER_ERROR, status.to_string())
        };
        let path = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/{name}";
        let client = Client::new(Router::new().route(path, patch(refuse)), "ns");
        (Api::namespaced(client, "ns"), refusals)
    }

    fn object(spec: &Value) -> Value {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}, "spec": spec})
    }

    #[tokio::test]
    async fn who_leads_no_more_sends_nothing_again() {
        let (guard, end) = Guard::until_told();
        // Meanwhile somebody else leads.
        let (api, refusals) = refusing("strategy", end);
        let object = object(&json!({"strategy": "x"}));
        let written = apply_object(&api, Writer::Controller(&guard), "a", object, None).await;
        assert!(matches!(written, Err(Error::NotLeader)), "{written:?}");
        assert_eq!(refusals.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn where_the_rest_is_no_news_nothing_is_sent_again() {
        let (api, refusals) = refusing("preferredHolder", || {});
        let old: Lease = serde_json::from_value(object(&json!({"holderIdentity": "x"}))).unwrap();
        let shall = object(&json!({"holderIdentity": "x", "preferredHolder": "y"}));
        for _ in 0..2 {
            let has = apply_object(&api, Writer::Agent, "a", shall.clone(), Some(&old)).await.unwrap();
            assert_eq!(has, old);
        }
        assert_eq!(refusals.load(Ordering::Relaxed), 1, "it is tried again after a while only");
    }
}
