//! What the tools make of our objects that apply from Git: Argo CD's health, and applying by somebody else than `kubectl`.

use std::process::Command;

use jiff::Timestamp;
use kube_dhcp::conditions::ready_only;
use kube_dhcp::reason::{Problem, Reason};
use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::output;
use crate::serve::NETWORK;
use crate::site::{LONG, Site};

fn example(path: &str) -> String {
    let path = format!("{}/examples/gitops/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A value as Lua writes it. Words have no control characters.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Array(all) => format!("{{{}}}", all.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(all) => {
            let fields = all.iter().map(|(key, value)| format!("[{}] = {}", json!(key), lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// Status and message that the script gives each object.
fn healths(objects: &[Value]) -> Vec<(String, String)> {
    let script = example("argocd/health.lua");
    let ask = |object: &Value| {
        let object = lua(object);
        format!(
            "obj = {object}\nlocal h = (function()\n{script}\nend)()\nprint(h.status .. '\\t' .. h.message)\n"
        )
    };
    let program: Vec<_> = objects.iter().map(|object| format!("do\n{}end\n", ask(object))).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), program.concat()).unwrap();
    let done = output(Command::new("lua5.4").arg(file.path()));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

fn object(kind: &str, observed: i64, conditions: &Value) -> Value {
    let status = json!({"observedGeneration": observed, "conditions": conditions});
    json!({"kind": kind, "metadata": {"name": "a", "generation": 1}, "status": status})
}

#[test]
fn argo_cd_reads_each_condition_as_it_is_meant() {
    let now = Timestamp::now();
    let said = |state: Result<Option<Problem>, Problem>| json!(ready_only(&state, 1, now, &[]));
    let mut cases = vec![
        (object("Network", 1, &said(Ok(None))), "Healthy"),
        // What was found out before the last change says nothing.
        (object("Network", 0, &said(Ok(None))), "Progressing"),
        (object("Network", -1, &json!([])), "Progressing"),
        (object("Network", 1, &json!([])), "Progressing"),
        (json!({"kind": "Port", "metadata": {"name": "a", "generation": 1}}), "Progressing"),
        (json!({"kind": "IPAllocation", "metadata": {"name": "a", "generation": 1}}), "Healthy"),
    ];
    for kind in ["Network", "Subnet", "Port", "PhysicalNetwork", "DHCPServer", "DHCPAgent"] {
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::Ready) {
            let problem = || Problem::new(reason, "words");
            let wanted = if reason.is_stalled() { "Degraded" } else { "Progressing" };
            cases.push((object(kind, 1, &said(Err(problem()))), wanted));
            cases.push((object(kind, 1, &said(Ok(Some(problem())))), "Healthy"));
        }
    }
    // A stranger on the segment makes nothing less healthy.
    let mut foreign = said(Ok(None));
    let condition =
        json!({"type": "ForeignDHCPServer", "status": "True", "reason": "ForeignDHCPServer", "message": "m"});
    foreign.as_array_mut().unwrap().push(condition);
    cases.push((object("Network", 1, &foreign), "Healthy"));
    let objects: Vec<_> = cases.iter().map(|(object, _)| object.clone()).collect();
    let found = healths(&objects);
    assert_eq!(found.len(), cases.len());
    for ((object, wanted), (status, message)) in cases.iter().zip(&found) {
        assert_eq!(status, wanted, "{object:#}");
        let ready = object.pointer("/status/conditions/0/reason").and_then(Value::as_str);
        let observed = object.pointer("/status/observedGeneration") == Some(&json!(1));
        assert!(!observed || ready.is_none_or(|reason| message.starts_with(reason)), "{message}: {object:#}");
    }
}

#[test]
fn argo_cds_configuration_has_the_script_word_for_word() {
    let config: Value = serde_saphyr::from_str(&example("argocd/argocd-cm.yaml")).unwrap();
    let data = config["data"].as_object().unwrap();
    let kinds = ["Network", "Subnet", "Port", "PhysicalNetwork", "DHCPAgent", "DHCPServer", "IPAllocation"];
    // A key that others have, too, would take theirs away.
    assert_eq!(data.len(), kinds.len());
    for kind in kinds {
        let script = &data[&format!("resource.customizations.health.kube-dhcp.io_{kind}")];
        assert_eq!(*script, json!(example("argocd/health.lua")), "{kind}");
    }
    let exclusions: Value = serde_saphyr::from_str(&example("argocd/exclusions.yaml")).unwrap();
    assert_eq!(exclusions[0]["kinds"], json!(["DHCPServer", "IPAllocation"]));
}

#[test]
fn a_second_manager_and_we_do_not_fight() {
    inside("gitops::a_second_manager_and_we_do_not_fight", async {
        let site = Site::running(2).await;
        let file = site.plane.directory().join("objects.yaml");
        std::fs::write(&file, NETWORK).unwrap();
        let file = file.to_str().unwrap();
        let by = |verb: &'static str, manager: &str| {
            let manager = format!("--field-manager={manager}");
            output(site.plane.kubectl_command().args([verb, "--server-side", &manager, "-f", file]))
        };
        assert!(by("apply", "argocd-controller").status.success());
        for (kind, name) in [("Network", "a"), ("Subnet", "a-v4"), ("Port", "p1")] {
            site.until_ready(kind, name).await;
        }
        // What we wrote is no difference to what they want, also when another tool wants the same.
        for manager in ["argocd-controller", "flux"] {
            let applied = by("apply", manager);
            assert!(applied.status.success(), "{manager}: {}", String::from_utf8_lossy(&applied.stderr));
            let diff = by("diff", manager);
            assert_eq!(diff.status.code(), Some(0), "{manager}: {}", String::from_utf8_lossy(&diff.stdout));
        }
        applied_again_nothing_is_written(&site, || {
            assert!(by("apply", "argocd-controller").status.success());
        })
        .await;
        for (kind, name) in [("Network", "a"), ("Subnet", "a-v4"), ("Port", "p1")] {
            only_statuses_are_ours(&site.get(kind, name).await.unwrap());
        }
    });
}

/// Until what we have to write is written: then two looks, with an apply between, see the same.
async fn applied_again_nothing_is_written(site: &Site, apply: impl Fn()) {
    let revisions = async || {
        let mut all = Vec::new();
        for (kind, name) in [("Network", "a"), ("Subnet", "a-v4"), ("Port", "p1")] {
            let object = site.get(kind, name).await.unwrap();
            all.push((
                object["metadata"]["resourceVersion"].clone(),
                object["metadata"]["generation"].clone(),
            ));
        }
        all
    };
    let look = async || {
        let before = revisions().await;
        apply();
        let after = revisions().await;
        if before == after { Ok(()) } else { Err(format!("{before:?} {after:?}")) }
    };
    site.eventually(LONG, look).await;
    assert!(revisions().await.iter().all(|(_, generation)| *generation == json!(1)));
}

fn only_statuses_are_ours(object: &Value) {
    for entry in object.pointer("/metadata/managedFields").and_then(Value::as_array).unwrap() {
        let manager = entry["manager"].as_str().unwrap();
        assert_eq!(entry["subresource"] == "status", manager.starts_with("kube-dhcp"), "{entry:#}");
        assert!(["argocd-controller", "flux", "kube-dhcp-controller"].contains(&manager), "{manager}");
    }
}
