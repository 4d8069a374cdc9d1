//! What a stolen token of an agent can write: about its own node, what an agent says, and no more.

use axum::http::Request;
use kube::Client;
use kube_dhcp::api;
use serde_json::{Value, json};

use crate::cases;
use crate::control_plane::ControlPlane;
use crate::inside::inside;
use crate::installed;

const OURS: &str = "kube-dhcp-system";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-dhcp-system/leases";
const AGENTS: &str = "/apis/kube-dhcp.io/v1alpha1/dhcpagents";
const SERVERS: &str = "/apis/kube-dhcp.io/v1alpha1/namespaces/default/dhcpservers";

const METADATA: &str = "an agent may not change labels, annotations, finalizers or owners";
const SPEC: &str = "an agent may not change the spec of its DHCPAgent";
const STATUS: &str = "an agent may not change what the controller says in a status";
const LEASE: &str = "an agent holds its Lease itself, for a minute at most";

/// How, where, what. `APPLY` is what agents do; the others are what they could do.
type Write = (&'static str, String, Value);

#[test]
fn an_agent_writes_about_its_own_node_only() {
    inside("policy::an_agent_writes_about_its_own_node_only", async {
        let plane = installed().await;
        for node in ["n1", "n2"] {
            plane.node(node, &[]).await;
        }
        let admin = plane.admin();
        let (agent, homeless) = (agent(&plane, Some("n1")).await, agent(&plane, None).await);
        until_in_force(&agent).await;
        others_objects(&admin).await;
        // Before there is one: what it would be made with.
        each(&agent, not_for_a_new_agent()).await;
        each(&agent, its_own().into_iter().map(|write| (write, String::new())).collect()).await;
        the_controller_speaks(&admin).await;
        each(&agent, its_own().into_iter().map(|write| (write, String::new())).collect()).await;
        the_controller_was_heard(&admin).await;
        each(&agent, not_its_own()).await;
        each(&agent, not_its_part()).await;
        let nobody = |(how, path, body): Write| {
            let refusal = refused("", &path);
            ((how, path, body), refusal)
        };
        each(&homeless, its_own().into_iter().map(nobody).collect()).await;
        each(&agent, never()).await;
        nothing_but_the_status_by_the_status(&agent, &admin).await;
        the_controller_was_heard(&admin).await;
    });
}

/// All that a real agent writes.
fn its_own() -> Vec<Write> {
    let serving = json!([condition("Programmed", "True"), condition("Serving", "True")]);
    vec![
        ("APPLY", format!("{LEASES}/agent-n1"), lease("n1", 15)),
        ("APPLY", format!("{AGENTS}/n1"), dhcp_agent("n1")),
        (
            "APPLY",
            format!("{AGENTS}/n1/status"),
            status(&json!({"version": "0", "conditions": [condition("PhysicalNetworksReady", "True")]})),
        ),
        (
            "APPLY",
            format!("{SERVERS}/lan.n1/status"),
            status(&json!({"portsRevision": "7", "conditions": serving})),
        ),
        (
            "APPLY",
            format!("{SERVERS}/lan.n1/status"),
            status(&json!({"conditions": [condition("TornDown", "True")]})),
        ),
        (
            "APPLY",
            format!("{SERVERS}/lan.n1/status"),
            status(&json!({"conditions": [
                condition("Serving", "True"),
                condition("ForeignDHCPServer", "True"),
                condition("ForeignRouter", "True"),
            ]})),
        ),
    ]
}

/// Another node's, the leader's, and what is of no node.
fn not_its_own() -> Vec<(Write, String)> {
    let mut all = Vec::new();
    for name in ["agent-n2", "agent-n3", "n1", "kube-dhcp-controller"] {
        all.push(("APPLY", format!("{LEASES}/{name}"), lease("n1", 15)));
    }
    for (path, body) in [
        (format!("{LEASES}/agent-n2"), metadata()),
        (format!("{AGENTS}/n2"), metadata()),
        (format!("{AGENTS}/n2"), json!({"spec": {"drain": true}})),
        (format!("{AGENTS}/n2/status"), json!({"status": {"version": "0"}})),
        (format!("{SERVERS}/lan.n2/status"), json!({"status": {"portsRevision": "7"}})),
        (format!("{SERVERS}/lan.n2/status"), metadata()),
    ] {
        all.push(("MERGE", path, body));
    }
    all.push(("APPLY", format!("{AGENTS}/n3"), dhcp_agent("n3")));
    all.into_iter().map(|write| (write.clone(), refused("n1", &write.1))).collect()
}

/// Of its own node, and not the agent's to say.
fn not_its_part() -> Vec<(Write, String)> {
    let mut all = Vec::new();
    let mut refuse =
        |how, path: &str, body, why: &str| all.push(((how, path.to_owned(), body), why.to_owned()));
    for object in [format!("{LEASES}/agent-n1"), format!("{AGENTS}/n1")] {
        for (field, value) in fields() {
            refuse("MERGE", &object, json!({"metadata": {field: value}}), METADATA);
        }
    }
    for spec in [json!({"unschedulable": true}), json!({"drain": true})] {
        refuse("MERGE", &format!("{AGENTS}/n1"), json!({ "spec": spec }), SPEC);
    }
    refuse("MERGE", &format!("{LEASES}/agent-n1"), json!({"spec": {"holderIdentity": "n2"}}), LEASE);
    refuse("MERGE", &format!("{LEASES}/agent-n1"), json!({"spec": {"leaseDurationSeconds": 61}}), LEASE);
    refuse("MERGE", &format!("{LEASES}/agent-n1"), json!({ "spec": null }), LEASE);
    for object in [format!("{AGENTS}/n1/status"), format!("{SERVERS}/lan.n1/status")] {
        refuse("MERGE", &object, json!({ "status": null }), STATUS);
        for part in [
            json!({"observedGeneration": 2}),
            json!({"observedGeneration": null}),
            json!({"conditions": [condition("Ready", "True")]}),
            json!({"conditions": null}),
        ] {
            refuse("MERGE", &object, json!({ "status": part }), STATUS);
        }
        for type_ in ["Ready", "Stalled", "Reconciling", "Anything"] {
            let part = status(&json!({"conditions": [condition(type_, "Unknown")]}));
            refuse("APPLY", &object, part.clone(), STATUS);
            refuse("APPLY AS CONTROLLER", &object, part, STATUS);
        }
        // With nothing of its own, what it applied before goes.
        refuse("APPLY AS CONTROLLER", &object, status(&json!({"conditions": []})), STATUS);
    }
    all
}

fn not_for_a_new_agent() -> Vec<(Write, String)> {
    let with = |part: &str, field: &str, value: Value| {
        let mut object = dhcp_agent("n1");
        object[part][field] = value;
        object
    };
    let mut all: Vec<_> =
        fields().into_iter().map(|(field, value)| (with("metadata", field, value), METADATA)).collect();
    all.push((with("spec", "drain", json!(true)), SPEC));
    all.push((with("spec", "unschedulable", json!(true)), SPEC));
    let made = |how: &'static str, path: &str| {
        let path = path.to_owned();
        move |(object, why): &(Value, &str)| ((how, path.clone(), object.clone()), (*why).to_owned())
    };
    let posted = all.iter().map(made("POST", AGENTS));
    posted.chain(all.iter().map(made("APPLY", &format!("{AGENTS}/n1")))).collect()
}

/// What no agent may do to any object: that is RBAC's.
fn never() -> Vec<(Write, String)> {
    let mut all = Vec::new();
    let mut refuse = |how, path: String, body: Value, verb: &str, resource: &str| {
        all.push(((how, path, body), format!("cannot {verb} resource \"{resource}\"")));
    };
    let in_namespace = "/apis/kube-dhcp.io/v1alpha1/namespaces/default";
    for kind in ["Network", "Subnet", "Port", "IPAllocation", "DHCPServer", "PhysicalNetwork"] {
        let object = cases::base(kind, cases::V4);
        let (plural, name) =
            (format!("{}s", kind.to_lowercase()), object["metadata"]["name"].as_str().unwrap());
        let all_of = match kind {
            "PhysicalNetwork" => "/apis/kube-dhcp.io/v1alpha1/physicalnetworks".to_owned(),
            _ => format!("{in_namespace}/{plural}"),
        };
        let one = format!("{all_of}/{name}");
        refuse("POST", all_of.clone(), object.clone(), "create", &plural);
        refuse("PUT", one.clone(), object.clone(), "update", &plural);
        refuse("MERGE", one.clone(), metadata(), "patch", &plural);
        refuse("APPLY", one.clone(), object.clone(), "patch", &plural);
        refuse("DELETE", one.clone(), Value::Null, "delete", &plural);
        refuse("DELETE", all_of, Value::Null, "deletecollection", &plural);
        let status = format!("{plural}/status");
        refuse("PUT", format!("{one}/status"), object, "update", &status);
        if kind != "DHCPServer" {
            refuse("MERGE", format!("{one}/status"), json!({"status": {}}), "patch", &status);
        }
    }
    for (all_of, one, plural) in [(AGENTS, "n1", "dhcpagents"), (LEASES, "agent-n1", "leases")] {
        refuse("DELETE", format!("{all_of}/{one}"), Value::Null, "delete", plural);
        refuse("DELETE", all_of.to_owned(), Value::Null, "deletecollection", plural);
    }
    refuse("PUT", format!("{AGENTS}/n1"), dhcp_agent("n1"), "update", "dhcpagents");
    refuse("PUT", format!("{AGENTS}/n1/status"), dhcp_agent("n1"), "update", "dhcpagents/status");
    for group in ["/api/v1", "/apis/events.k8s.io/v1"] {
        for namespace in ["default", OURS] {
            refuse("POST", format!("{group}/namespaces/{namespace}/events"), json!({}), "create", "events");
        }
    }
    refuse("MERGE", "/api/v1/nodes/n1".to_owned(), metadata(), "patch", "nodes");
    all
}

/// The API server takes nothing else from there, whatever is sent.
async fn nothing_but_the_status_by_the_status(agent: &Client, admin: &Client) {
    for one in [format!("{SERVERS}/lan.n1"), format!("{AGENTS}/n1")] {
        let before = send(admin, &("GET", one.clone(), Value::Null)).await.unwrap();
        for (field, value) in fields() {
            let write = ("MERGE", format!("{one}/status"), json!({"metadata": {field: value}}));
            send(agent, &write).await.unwrap();
        }
        let write = ("MERGE", format!("{one}/status"), json!({"spec": {"unschedulable": true, "slot": 1}}));
        send(agent, &write).await.unwrap();
        let after = send(admin, &("GET", one, Value::Null)).await.unwrap();
        assert_eq!(after["spec"], before["spec"]);
        for (field, _) in fields() {
            assert_eq!(after["metadata"][field], before["metadata"][field]);
        }
    }
}

/// The objects of another node, and one of each kind.
async fn others_objects(admin: &Client) {
    for (name, node) in [("lan.n1", "n1"), ("lan.n2", "n2")] {
        let mut server = cases::base("DHCPServer", cases::V4);
        server["metadata"]["name"] = json!(name);
        server["spec"]["nodeName"] = json!(node);
        send(admin, &("POST", SERVERS.to_owned(), server)).await.unwrap();
    }
    let leases = ["agent-n2", "kube-dhcp-controller"];
    for name in leases {
        send(admin, &("APPLY", format!("{LEASES}/{name}"), lease("n2", 15))).await.unwrap();
    }
    send(admin, &("APPLY", format!("{AGENTS}/n2"), dhcp_agent("n2"))).await.unwrap();
}

async fn the_controller_speaks(admin: &Client) {
    let conditions = json!([condition("Ready", "False"), condition("Stalled", "True")]);
    let said = status(&json!({"observedGeneration": 1, "conditions": conditions}));
    for object in [format!("{AGENTS}/n1/status"), format!("{SERVERS}/lan.n1/status")] {
        send(admin, &("APPLY AS CONTROLLER", object, said.clone())).await.unwrap();
    }
}

async fn the_controller_was_heard(admin: &Client) {
    for object in [format!("{AGENTS}/n1"), format!("{SERVERS}/lan.n1")] {
        let object = send(admin, &("GET", object, Value::Null)).await.unwrap();
        assert_eq!(object["status"]["observedGeneration"], 1, "{object:#}");
        for (type_, wanted) in [("Ready", "False"), ("Stalled", "True")] {
            assert_eq!(crate::site::condition(&object, type_, "status"), wanted, "{object:#}");
        }
    }
}

fn lease(holder: &str, seconds: u64) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": seconds,
            "renewTime": "2026-01-01T00:00:00.000000Z",
        },
    })
}

fn dhcp_agent(name: &str) -> Value {
    json!({
        "apiVersion": api::API_VERSION, "kind": "DHCPAgent", "spec": {},
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kube-dhcp"}},
    })
}

/// A part of a status, to be applied; the kind is the path's.
fn status(status: &Value) -> Value {
    json!({"apiVersion": api::API_VERSION, "status": status})
}

fn condition(type_: &str, status: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": "Test", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

/// Metadata by which an object does something to others.
fn fields() -> Vec<(&'static str, Value)> {
    let owner =
        json!({"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u", "blockOwnerDeletion": true});
    vec![
        ("labels", json!({"a": "b"})),
        ("annotations", json!({"a": "b"})),
        ("finalizers", json!(["example.org/stays"])),
        ("ownerReferences", json!([owner])),
    ]
}

fn metadata() -> Value {
    json!({"metadata": {"finalizers": ["example.org/stays"]}})
}

fn refused(node: &str, path: &str) -> String {
    let path = path.strip_suffix("/status").unwrap_or(path);
    let mut parts = path.rsplit('/');
    let (name, resource) = (parts.next().unwrap(), parts.next().unwrap());
    format!("the agent of node \"{node}\" may not write {resource} {name}")
}

/// Tries all, and tells of every one that ended otherwise than it should; empty: it is allowed.
async fn each(client: &Client, writes: Vec<(Write, String)>) {
    let mut wrong = Vec::new();
    for (write, expected) in &writes {
        let said = send(client, write).await.err().unwrap_or_default();
        let is_right = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
        if !is_right {
            wrong.push(format!("{} {} {}\n  expected {expected:?}, was {said:?}", write.0, write.1, write.2));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} writes were answered as they should", writes.len());
}

async fn agent(plane: &ControlPlane, node: Option<&str>) -> Client {
    let token = plane.service_account_token(OURS, "agent", node).await;
    plane.client(&plane.kubeconfig(node.unwrap_or("none"), &token)).await
}

/// A policy that was just made is not yet asked.
async fn until_in_force(agent: &Client) {
    for number in 0.. {
        let probe = ("APPLY", format!("{LEASES}/agent-probe-{number}"), lease("n1", 15));
        if send(agent, &probe).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(number < 300, "the policy is not in force");
    }
}

/// What comes of it: the object, or what the API server says.
async fn send(client: &Client, (how, path, body): &Write) -> Result<Value, String> {
    let mut body = body.clone();
    let (method, sort, manager) = match *how {
        "APPLY" => ("PATCH", "application/apply-patch+yaml", "?fieldManager=kube-dhcp-agent&force=true"),
        "APPLY AS CONTROLLER" => {
            ("PATCH", "application/apply-patch+yaml", "?fieldManager=kube-dhcp-controller&force=true")
        }
        "MERGE" => ("PATCH", "application/merge-patch+json", ""),
        other => (other, "application/json", ""),
    };
    if how.starts_with("APPLY") {
        complete(path, &mut body);
    }
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(format!("{path}{manager}"));
    let request = request.header("content-type", sort).body(body).unwrap();
    match client.request::<Value>(request).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{how} {path}: {error}"),
    }
}

/// What is applied says its kind and name.
fn complete(path: &str, body: &mut Value) {
    if path.starts_with(AGENTS) {
        body["kind"] = json!("DHCPAgent");
    } else if path.starts_with(SERVERS) {
        body["kind"] = json!("DHCPServer");
    }
    let name = path.strip_suffix("/status").unwrap_or(path).rsplit('/').next().unwrap();
    body["metadata"]["name"] = json!(name);
}
