use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::cluster::failures::Failure;
use crate::host::Reply;
use crate::reason::Reason;

/// With all that there can be in it.
fn example() -> String {
    let metrics = Metrics::default();
    for family in node::Family::ALL {
        metrics.leases.get_or_create(&family.into()).set(1);
    }
    for reply in [Reply::Right, Reply::Wrong(String::new()), Reply::Silence] {
        metrics.replied(reply.kind());
    }
    for result in MetadataResult::ALL {
        metrics.metadata(result);
    }
    for failure in Failure::ALL {
        metrics.api_failures.count(failure);
    }
    metrics.runs("x", "x".to_owned());
    metrics.acted("x");
    metrics.failed("x");
    metrics.text()
}

/// A metric as it is read.
#[derive(Debug, Default)]
struct Row {
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// By the names that a query has, in the order of the text.
fn rows(text: &str) -> Vec<(String, Row)> {
    let mut rows: Vec<(String, Row)> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let help = help.strip_suffix('.').unwrap_or(help).to_owned();
            rows.push((name.to_owned(), Row { help, ..Row::default() }));
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (name, row) = rows.last_mut().unwrap();
            kind.clone_into(&mut row.kind);
            match kind {
                "counter" => name.push_str("_total"),
                "info" => name.push_str("_info"),
                _ => {}
            }
        } else if let Some((_, rest)) = line.split_once('{') {
            let (labels, _) = rest.rsplit_once("} ").unwrap();
            for (label, value) in labels.split(',').filter_map(|pair| pair.split_once('=')) {
                let values = rows.last_mut().unwrap().1.labels.entry(label.to_owned()).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    for (_, row) in &mut rows {
        row.labels.remove("le");
    }
    rows
}

fn all() -> Vec<(String, Row)> {
    rows(&example()).into_iter().chain(rows(&crate::controller::Metrics::example())).collect()
}

fn table(rows: &[(String, Row)]) -> String {
    let head = "| Metric | Type | Labels | |\n|---|---|---|---|\n".to_owned();
    rows.iter().fold(head, |mut table, (name, row)| {
        let label = |(name, values): (&String, &BTreeSet<String>)| match values.len() {
            1 => format!("`{name}`"),
            _ => format!("`{name}`: {}", values.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        };
        let labels: Vec<_> = row.labels.iter().map(label).collect();
        writeln!(table, "| `{name}` | {} | {} | {} |", row.kind, labels.join("; "), row.help).unwrap();
        table
    })
}

/// The rules, as the chart has them.
fn alerts() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/kube-dhcp/files/alerts.yaml");
    let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts_table() -> String {
    let head = "| Alert | Severity | Means | What to do |\n|---|---|---|---|\n".to_owned();
    alerts().iter().fold(head, |mut table, rule| {
        let text =
            |path| rule.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path}: {rule}"));
        let (name, severity) = (text("/alert"), text("/labels/severity"));
        let (means, cure) = (text("/annotations/summary"), text("/annotations/description"));
        let means = means.split(": ").take_while(|part| !part.contains("{{")).collect::<Vec<_>>().join(": ");
        let cure = cure.strip_prefix("{{ $labels.reason }}; ").unwrap_or(cure);
        writeln!(table, "| `{name}` | {severity} | {means} | {cure} |").unwrap();
        table
    })
}

const HEAD: &str = "# Metrics and alerts

Agents answer `GET /metrics` at port 9467 of their node, controllers at port 9468 of their pod, in the OpenMetrics text
format. Labels have few values: no Port, MAC address or UID is one, and Networks, Subnets and agents are named only while
something is wrong with them, 100 of each at most. Of the objects only the controller that leads tells.

The chart brings PodMonitors, these alerts and a dashboard (`podMonitor.enabled`, `prometheusRule.enabled`,
`dashboard.enabled`). Without the Prometheus operator take
[alerts.yaml](../deploy/helm/kube-dhcp/files/alerts.yaml) and
[dashboard.json](../deploy/helm/kube-dhcp/files/dashboard.json) as they are.

";

#[test]
fn the_tables_of_metrics_in_the_docs_are_current() {
    let (agent, controller) =
        (table(&rows(&example())), table(&rows(&crate::controller::Metrics::example())));
    let alerts = alerts_table();
    let wanted = format!("{HEAD}## Agent\n\n{agent}\n## Controller\n\n{controller}\n## Alerts\n\n{alerts}");
    crate::docs::assert_says("metrics.md", &wanted);
}

#[test]
fn names_are_as_prometheus_wants_them_and_labels_are_known() {
    let labels = ["agent", "family", "kind", "network", "program", "reason", "result", "subnet", "version"];
    for (name, row) in all().into_iter().filter(|(_, row)| row.kind != "info") {
        let of = ["kube_dhcp_agent_", "kube_dhcp_controller_"].iter().find_map(|of| name.strip_prefix(of));
        let own = of.unwrap_or_else(|| panic!("{name}: of what?"));
        assert!(own.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        match row.kind.as_str() {
            "counter" => assert!(own.ends_with("_total"), "{name}"),
            "histogram" => assert!(own.ends_with("_seconds"), "{name}"),
            kind => assert!(kind == "gauge" && !own.ends_with("_total"), "{name} is a {kind}"),
        }
        assert!(row.labels.keys().all(|label| labels.contains(&label.as_str())), "{name}: {row:?}");
        assert!(!row.help.is_empty(), "{name}");
    }
}

/// Whatever begins like a metric of ours.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("kube_dhcp_")).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_what_there_is() {
    let all: BTreeMap<_, _> = all().into_iter().collect();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/kube-dhcp/files");
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(format!("{files}/{file}")).unwrap();
        let asked = named(&text);
        assert!(asked.len() > 5, "{asked:?}");
        for name in asked {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(
                all.contains_key(name) || base.is_some_and(|base| all.contains_key(base)),
                "{file}: {name}"
            );
        }
    }
}

#[test]
fn alerts_know_the_reasons_that_there_are() {
    let known: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let failures: BTreeSet<_> = Failure::ALL.iter().map(|failure| format!("{failure:?}")).collect();
    for rule in alerts() {
        let expr = rule["expr"].as_str().unwrap();
        for part in expr.split("reason").skip(1) {
            let list = part.split('"').nth(1).unwrap();
            for reason in list.split('|') {
                assert!(known.contains(reason) || failures.contains(reason), "{expr}: {reason}");
            }
        }
    }
}

#[test]
fn alerts_name_what_they_are_about() {
    let all: BTreeMap<_, _> = all().into_iter().collect();
    let mut seen = 0;
    for rule in alerts() {
        let text = |path: &str| rule.pointer(path).and_then(Value::as_str).unwrap();
        let expr = text("/expr");
        for part in ["/annotations/summary", "/annotations/description"].map(text) {
            for label in part.split("{{ $labels.").skip(1).map(|rest| rest.split(" }}").next().unwrap()) {
                seen += 1;
                // A sum has no labels; `instance` is Prometheus' own.
                assert!(!expr.contains("sum("), "{expr}: {label}");
                let has = |name: &&str| label == "instance" || all[*name].labels.contains_key(label);
                assert!(named(expr).iter().all(has), "{expr}: {label}");
            }
        }
    }
    assert!(seen > 10, "{seen}");
}
