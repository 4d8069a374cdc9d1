//! `kube-dhcp leases --cluster`: who holds which address, asked in the agents' pods.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::inside::inside;
use crate::kubelet::{Manner, start};
use crate::lab::output;
use crate::serve::{NETWORK, mac};
use crate::site::{BIN, SYSTEM, Site};

/// Somebody who may read our objects, and by the Role what runs in the agents' pods tells.
const HELPDESK: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: helpdesk, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: helpdesk}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kube-dhcp-admin}
subjects: [{kind: ServiceAccount, name: helpdesk, namespace: default}]
";

const ALLOWED: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: helpdesk, namespace: kube-dhcp-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: leases}
subjects: [{kind: ServiceAccount, name: helpdesk, namespace: default}]
";

/// A node has an agent's pod, as it comes from `deploy`, and a kubelet.
async fn pod(site: &Site, node: &str, manner: Manner) {
    let port = start(manner).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.99.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "declaredFeatures": ["ExtendWebSocketsToKubelet"]}});
    patch_status(site, "node", node, &status);
    let text = site.plane.kubectl(&["get", "daemonset", "agent", "-n", SYSTEM, "-o", "json"]);
    let template = serde_json::from_str::<Value>(&text).unwrap()["spec"]["template"].clone();
    let name = format!("agent-{node}");
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": name, "namespace": SYSTEM, "labels": template["metadata"]["labels"]}});
    pod["spec"]["nodeName"] = json!(node);
    site.apply_object(&pod).await;
    patch_status(site, "pod", &name, &json!({"status": {"phase": "Running"}}));
}

fn patch_status(site: &Site, kind: &str, name: &str, status: &Value) {
    let patch = status.to_string();
    let what = ["patch", kind, name, "-n", SYSTEM, "--subresource=status", "--type=merge", "-p", &patch];
    site.plane.kubectl(&what);
}

fn ask(kubeconfig: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(BIN);
    output(command.args(["leases", "--kubeconfig"]).arg(kubeconfig).args(more))
}

/// What was told; how it ended, and what it complained of.
fn told(kubeconfig: &Path, more: &[&str]) -> (Vec<Value>, i32, String) {
    let done = ask(kubeconfig, &[&["-o", "json"], more].concat());
    let complaint = String::from_utf8(done.stderr).unwrap();
    let all: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {complaint}"));
    (all["leases"].as_array().unwrap().clone(), done.status.code().unwrap(), complaint)
}

/// All of them are of this node.
fn are_of(leases: &[Value], node: &str) -> bool {
    !leases.is_empty() && leases.iter().all(|lease| lease["node"] == node)
}

#[test]
fn they_are_told_by_all_nodes_that_answer() {
    inside("leases::they_are_told_by_all_nodes_that_answer", async {
        let site = Site::running(2).await;
        site.apply(NETWORK).await;
        site.apply(HELPDESK).await;
        let both = |network: &Value| network.pointer("/status/servers/ready") == Some(&json!(2));
        site.until("Network", "a", both).await;
        for node in &site.nodes {
            pod(&site, &node.name, Manner::Runs(node.state().display().to_string())).await;
        }
        let token = site.plane.service_account_token("default", "helpdesk", None).await;
        let helpdesk = site.plane.kubeconfig("helpdesk", &token);
        not_without_the_role(&helpdesk);
        site.apply(ALLOWED).await;
        // Either server gives it, or both.
        let guest = site.street.guest("br0", mac(1));
        let address = guest.dora().yiaddr();
        guest.init_reboot(address).unwrap();
        let known = async || {
            let (leases, code, complaint) = told(&helpdesk, &[]);
            assert!(code == 0 || complaint.contains("forbidden"), "{complaint}");
            if leases.is_empty() { Err(complaint) } else { Ok(leases) }
        };
        let leases = site.eventually(Duration::from_secs(20), known).await;
        let holder = leases[0]["node"].as_str().unwrap().to_owned();
        assert_eq!(leases[0]["macAddress"], json!(mac(1).to_string()));
        assert_eq!((&leases[0]["namespace"], &leases[0]["network"]), (&json!("default"), &json!("a")));
        asked_for(&helpdesk, &holder);
        one_that_does_not_answer_is_named(&site, &helpdesk, &holder).await;
    });
}

fn not_without_the_role(kubeconfig: &Path) {
    let done = ask(kubeconfig, &[]);
    let complaint = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("pods is forbidden"), "{complaint}");
    assert!(complaint.contains("the Role leases in kube-dhcp-system allows it"), "{complaint}");
}

fn asked_for(kubeconfig: &Path, holder: &str) {
    for (filter, found) in [
        (&["-n", "default", "--network", "a", "--port", "p1"][..], true),
        (&["--node", holder], true),
        (&["--port", "p2"], false),
    ] {
        let (leases, code, complaint) = told(kubeconfig, filter);
        assert_eq!((code, !leases.is_empty()), (0, found), "{filter:?}: {leases:?}, {complaint}");
    }
    let done = ask(kubeconfig, &["--network", "b"]);
    assert_eq!(done.status.code(), Some(1));
    let table = String::from_utf8(ask(kubeconfig, &[]).stdout).unwrap();
    println!("{table}");
    let row = table.lines().find(|line| line.starts_with(holder)).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains("default/a") && row.contains(&mac(1).to_string()), "{table}");
}

async fn one_that_does_not_answer_is_named(site: &Site, kubeconfig: &Path, holder: &str) {
    let other = if holder == "n1" { "n2" } else { "n1" };
    let remove = ["delete", "pod", &format!("agent-{other}"), "-n", SYSTEM, "--grace-period=0", "--force"];
    site.plane.kubectl(&remove);
    let (leases, code, complaint) = told(kubeconfig, &[]);
    assert!(are_of(&leases, holder) && code == 3, "{leases:?}: {complaint}");
    assert!(complaint.contains(&format!("node {other}: no pod of an agent runs there")), "{complaint}");
    pod(site, other, Manner::Silent).await;
    let began = Instant::now();
    let (leases, code, complaint) = told(kubeconfig, &["--timeout", "2"]);
    println!("{complaint}");
    assert!(are_of(&leases, holder) && code == 3, "{leases:?}: {complaint}");
    assert!(complaint.contains(&format!("node {other}: no answer within 2 s")), "{complaint}");
    assert!(complaint.contains("leases of 1 node are missing"), "{complaint}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
