//! An agent writes about its own node only, whatever RBAC lets it do.

use axum::http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use kube_dhcp::api;
use serde_json::{Value, json};

use crate::cases;
use crate::control_plane::ControlPlane;
use crate::inside::inside;
use crate::installed;

const OURS: &str = "kube-dhcp-system";

#[test]
fn an_agent_writes_about_its_own_node_only() {
    inside("policy::an_agent_writes_about_its_own_node_only", async {
        let plane = installed().await;
        for node in ["n1", "n2"] {
            plane.node(node, &[]).await;
        }
        let agent = agent(&plane, Some("n1")).await;
        until_in_force(&agent).await;
        assert_eq!(lease(&agent, "agent-n1").await, "");
        assert_eq!(lease(&agent, "agent-n2").await, refused("leases agent-n2"));
        assert_eq!(lease(&agent, "kube-dhcp-controller").await, refused("leases kube-dhcp-controller"));
        let homeless = self::agent(&plane, None).await;
        let error = lease(&homeless, "agent-n2").await;
        assert!(error.contains("the agent of node \"\" may not write leases agent-n2"), "{error}");
        // These are nobody's business but the agents'.
        assert_eq!(lease(&plane.admin(), "agent-n2").await, "");
        if api::crds().iter().any(|crd| crd.spec.names.kind == "DHCPServer") {
            servers(&plane, &agent).await;
            agents(&agent).await;
        }
    });
}

async fn agent(plane: &ControlPlane, node: Option<&str>) -> Client {
    let token = plane.service_account_token(OURS, "agent", node).await;
    plane.client(&plane.kubeconfig(node.unwrap_or("none"), &token)).await
}

/// A policy that was just made is not yet asked.
async fn until_in_force(agent: &Client) {
    for number in 0.. {
        if !lease(agent, &format!("agent-probe-{number}")).await.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(number < 300, "the policy is not in force");
    }
}

fn refused(what: &str) -> String {
    format!("the agent of node \"n1\" may not write {what}")
}

/// The error of the creation of a Lease; empty: it was created.
async fn lease(client: &Client, name: &str) -> String {
    let leases: Api<Lease> = Api::namespaced(client.clone(), OURS);
    let metadata = ObjectMeta { name: Some(name.into()), ..Default::default() };
    let lease = Lease { metadata, ..Default::default() };
    said(leases.create(&PostParams::default(), &lease).await.map(drop))
}

async fn servers(plane: &ControlPlane, agent: &Client) {
    let servers = "/apis/kube-dhcp.io/v1alpha1/namespaces/default/dhcpservers";
    for (name, node) in [("lan.n1", "n1"), ("lan.n2", "n2")] {
        let mut server = cases::base("DHCPServer", cases::V4);
        server["metadata"]["name"] = json!(name);
        server["spec"]["nodeName"] = json!(node);
        assert_eq!(send(&plane.admin(), "POST", servers, &server).await, "");
    }
    let status = json!({"status": {"portsRevision": "7"}});
    let mine = send(agent, "PATCH", &format!("{servers}/lan.n1/status"), &status).await;
    assert_eq!(mine, "");
    let others = send(agent, "PATCH", &format!("{servers}/lan.n2/status"), &status).await;
    assert_eq!(others, refused("dhcpservers lan.n2"));
}

async fn agents(agent: &Client) {
    let agents = "/apis/kube-dhcp.io/v1alpha1/dhcpagents";
    for (name, expected) in [("n1", String::new()), ("n2", refused("dhcpagents n2"))] {
        let object = json!({"apiVersion": api::API_VERSION, "kind": "DHCPAgent", "metadata": {"name": name}, "spec": {}});
        assert_eq!(send(agent, "POST", agents, &object).await, expected);
    }
    let status = json!({"status": {"version": "0"}});
    assert_eq!(send(agent, "PATCH", &format!("{agents}/n1/status"), &status).await, "");
    let spec = json!({"spec": {"unschedulable": true}});
    let error = send(agent, "PATCH", &format!("{agents}/n1"), &spec).await;
    assert_eq!(error, "an agent may not change the spec of its DHCPAgent");
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> String {
    let sort = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", sort);
    said(client.request::<Value>(request.body(body.to_string().into_bytes()).unwrap()).await.map(drop))
}

/// What the policy says in a refusal, without the words around it.
fn said(result: kube::Result<()>) -> String {
    match result {
        Ok(()) => String::new(),
        Err(kube::Error::Api(status)) => match status.message.split_once("denied request: ") {
            Some((_, reason)) => reason.to_owned(),
            None => status.message.clone(),
        },
        Err(error) => panic!("{error}"),
    }
}
