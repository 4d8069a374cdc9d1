//! What most users of a control plane want in it: our own installation, nodes, namespaces, tokens.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::http::Request;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Resource, ResourceExt};

use super::{ControlPlane, PATIENCE};

/// A day: no test and no bench outlives it.
const TOKEN_SECONDS: i64 = 24 * 3600;

impl ControlPlane {
    /// Applies `deploy/` as a user would, and waits until the API serves our kinds.
    pub async fn install(&self) {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", deploy.to_str().unwrap()]);
        self.until_all_served().await;
    }

    /// Of `deploy/` nothing is left: neither what is in no namespace, nor our own namespace.
    pub fn assert_uninstalled(&self) {
        let kinds = "crd,ns,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding";
        let left = self.kubectl(&["get", kinds, "--output=name"]);
        assert!(!left.contains("kube-dhcp"), "{left}");
    }

    /// Waits until the API serves all kinds that are defined.
    pub async fn until_all_served(&self) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.admin());
        for crd in crds.list(&ListParams::default()).await.unwrap() {
            let name = crd.name_any();
            let established = await_condition(crds.clone(), &name, conditions::is_crd_established());
            let waited = tokio::time::timeout(PATIENCE, established).await;
            waited.expect("the CRD is never established").unwrap();
            self.until_served(&crd).await;
        }
    }

    /// An established kind answers 404 for a short while more.
    async fn until_served(&self, crd: &CustomResourceDefinition) {
        let (group, version) = (&crd.spec.group, &crd.spec.versions[0].name);
        let path = format!("/apis/{group}/{version}/{}?limit=1", crd.spec.names.plural);
        let request = || Request::get(&path).body(Vec::new()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.admin().request_text(request()).await {
            assert!(Instant::now() < deadline, "{path} is never served: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Creates a Node with these labels; gives its uid.
    pub async fn node(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let metadata = ObjectMeta { name: Some(name.into()), labels: Some(labels), ..Default::default() };
        let node = Node { metadata, ..Default::default() };
        let nodes: Api<Node> = Api::all(self.admin());
        nodes.create(&PostParams::default(), &node).await.unwrap().uid().unwrap()
    }

    /// Creates a namespace with these labels.
    pub async fn namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let metadata = ObjectMeta { name: Some(name.into()), labels: Some(labels), ..Default::default() };
        let namespace = Namespace { metadata, ..Default::default() };
        let namespaces: Api<Namespace> = Api::all(self.admin());
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// A token of the service account; with `node`, as one that a pod on that node would have.
    pub async fn service_account_token(&self, namespace: &str, name: &str, node: Option<&str>) -> String {
        let bound = match node {
            Some(node) => Some(self.reference(node).await),
            None => None,
        };
        let spec = TokenRequestSpec {
            bound_object_ref: bound,
            expiration_seconds: Some(TOKEN_SECONDS),
            ..Default::default()
        };
        let request = TokenRequest { spec, ..Default::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), namespace);
        let made = accounts.create_token_request(name, &PostParams::default(), &request).await;
        made.unwrap_or_else(|e| panic!("a token for {namespace}/{name}: {e}")).status.unwrap().token
    }

    async fn reference(&self, node: &str) -> BoundObjectReference {
        let nodes: Api<Node> = Api::all(self.admin());
        BoundObjectReference {
            api_version: Some(Node::api_version(&()).into()),
            kind: Some(Node::kind(&()).into()),
            name: Some(node.into()),
            uid: Some(nodes.get(node).await.unwrap().uid().unwrap()),
        }
    }
}
