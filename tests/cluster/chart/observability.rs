//! Rules and dashboard, asked of Prometheus' own tool. No API server is needed.

use std::process::Command;

use serde_json::Value;

use super::{objects, of, ours, rendered, run};

fn promtool(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("promtool").args(arguments))
}

#[test]
fn the_rules_are_rules_and_each_alert_comes_when_it_should() {
    let rules = ours("deploy/helm/kube-dhcp/files/alerts.yaml");
    println!("{}", promtool(&["check", "rules", &rules]).unwrap());
    let cases = std::fs::read_to_string(ours("tests/cluster/chart/alerts_test.yaml")).unwrap();
    let parsed: Value = serde_saphyr::from_str(&std::fs::read_to_string(&rules).unwrap()).unwrap();
    for rule in parsed.pointer("/groups/0/rules").and_then(Value::as_array).unwrap() {
        let name = rule["alert"].as_str().unwrap();
        let named = |end: &str| cases.contains(&format!("{name}{end}"));
        assert!(named("\"") || named("\n"), "{name} has no case");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cases.yaml");
    std::fs::write(&file, cases.replace("[RULES]", &format!("[{rules}]"))).unwrap();
    println!("{}", promtool(&["test", "rules", file.to_str().unwrap()]).unwrap());
}

#[test]
fn each_panel_of_the_dashboard_asks_a_question_that_prometheus_understands() {
    let text = std::fs::read_to_string(ours("deploy/helm/kube-dhcp/files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let rules: Vec<_> = targets
        .enumerate()
        .map(|(number, target)| {
            let question = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            serde_json::json!({"record": format!("panel:{number}"), "expr": question})
        })
        .collect();
    assert!(rules.len() > 20, "{rules:?}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    let rules = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(&file, rules.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]).unwrap();
}

#[test]
fn the_chart_carries_rules_and_dashboard_as_they_are() {
    let all = ["--set", "prometheusRule.enabled=true,dashboard.enabled=true,podMonitor.enabled=true"];
    let objects = objects(&rendered(&all).unwrap());
    let object = |kind: &str, name: &str| of(&objects, kind, name);
    let file =
        |name: &str| std::fs::read_to_string(ours(&format!("deploy/helm/kube-dhcp/files/{name}"))).unwrap();
    let rules: Value = serde_saphyr::from_str(&file("alerts.yaml")).unwrap();
    assert_eq!(object("PrometheusRule", "kube-dhcp")["spec"], rules);
    let dashboard = object("ConfigMap", "kube-dhcp-dashboard").pointer("/data/kube-dhcp.json").unwrap();
    assert_eq!(dashboard.as_str().unwrap().trim_end(), file("dashboard.json").trim_end());
    // What the monitors select is what the pods have.
    for (name, kind) in [("agent", "DaemonSet"), ("controller", "Deployment")] {
        let selected =
            object("PodMonitor", &format!("kube-dhcp-{name}")).pointer("/spec/selector/matchLabels");
        assert_eq!(selected, object(kind, name).pointer("/spec/template/metadata/labels"));
        let port = object(kind, name).pointer("/spec/template/spec/containers/0/ports/0/name");
        assert_eq!(port, Some(&Value::from("metrics")));
    }
}
