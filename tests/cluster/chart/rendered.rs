//! What the chart renders. No API server is needed but where it is asked whether it would take that.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;
use kube_dhcp::cli::Cli;
use serde_json::Value;

use super::{Objects, PLAIN, chart, helm, objects, of, ours, rendered, run};
use crate::control_plane::binaries::find;
use crate::inside::inside;
use crate::installed;
use crate::site::SYSTEM;

#[test]
fn chart_kustomization_and_install_yaml_are_the_same_objects() {
    let from_chart = objects(&rendered(&PLAIN).unwrap());
    let kustomized = kustomized("deploy");
    let installed = objects(&std::fs::read_to_string(ours("deploy/install.yaml")).unwrap());
    assert_eq!(from_chart.len(), 27);
    same("deploy/install.yaml", &from_chart, &installed);
    same("deploy/kustomization.yaml", &from_chart, &kustomized);
}

fn kustomized(directory: &str) -> Objects {
    let mut kubectl = std::process::Command::new(find().join("kubectl"));
    objects(&run(kubectl.args(["kustomize", &ours(directory)])).unwrap())
}

fn same(what: &str, wanted: &Objects, found: &Objects) {
    let names = |objects: &Objects| objects.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(wanted), names(found), "{what}: run make manifests");
    for (name, object) in wanted {
        assert_eq!(object, &found[name], "{what}: {name:?}: run make manifests");
    }
}

#[test]
fn the_charts_definitions_are_ours() {
    let files = |directory: &str| {
        let files = std::fs::read_dir(ours(directory)).unwrap().map(|entry| entry.unwrap().path());
        let named =
            files.map(|path| (path.file_name().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()));
        named.filter(|(name, _)| name != "kustomization.yaml").collect::<BTreeMap<_, _>>()
    };
    let chart = files("deploy/helm/kube-dhcp/files/crds");
    assert!(files("crds") == chart, "the chart's copy is old: run make crds");
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let home = tempfile::tempdir().unwrap();
    let linted = run(helm(home.path()).args(["lint", "--strict", &chart()])).unwrap();
    assert!(!linted.contains("[WARNING]") && !linted.contains("[ERROR]"), "{linted}");
}

/// Flags that the chart gives by other means, or that make no sense in a pod of a cluster.
const ELSEWHERE: [&str; 5] = ["node-name", "namespace", "identity", "manifests", "kubeconfig"];

#[test]
fn each_flag_of_agent_and_controller_is_a_value() {
    for name in ["agent", "controller"] {
        let template = std::fs::read_to_string(format!("{}/templates/{name}.yaml", chart())).unwrap();
        let helpers = std::fs::read_to_string(format!("{}/templates/_helpers.tpl", chart())).unwrap();
        let cli = Cli::command();
        let command = cli.find_subcommand(name).unwrap();
        let flags: Vec<_> = command.get_arguments().filter_map(|flag| flag.get_long()).collect();
        assert!(flags.contains(&"listen"), "{flags:?}");
        for flag in flags.into_iter().filter(|flag| !ELSEWHERE.contains(flag)) {
            let there = [&template, &helpers].iter().any(|text| text.contains(&format!("--{flag}")));
            assert!(there, "the chart does not know {name} --{flag}");
        }
    }
}

/// What the containers of a workload are started with.
fn arguments(objects: &Objects, kind: &str, name: &str) -> Vec<String> {
    let arguments = of(objects, kind, name).pointer("/spec/template/spec/containers/0/args").unwrap();
    arguments.as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

#[test]
fn values_become_flags_that_the_program_takes() {
    let values = r#"{"physicalNetworks": {"lan": "bridge:br-{vlan}", "san": "ovs:br-int"}, "createBridges": true,
        "macvlanOnNodeInterfaces": true, "dnsForwarders": ["192.0.2.1", "2001:db8::1"],
        "dnsTxtRecords": ["info.example.org,a b,c"],
        "metadataUpstream": "http://192.0.2.9:8775", "stateDir": "/srv/kube-dhcp", "listen": "[::]:9500",
        "stopServingOnExit": true, "resyncSeconds": 30, "maxNetworks": 50, "logFormat": "json", "logFilter": "debug"}"#;
    let controller = r#"{"rescheduleAfterSeconds": 0, "quarantineHours": 1, "logFormat": "json"}"#;
    let set = [format!("agent={values}"), format!("controller={controller}")];
    let objects = objects(&rendered(&["--set-json", &set[0], "--set-json", &set[1]]).unwrap());
    for (kind, name, flags) in [("DaemonSet", "agent", 16), ("Deployment", "controller", 5)] {
        let arguments = arguments(&objects, kind, name);
        assert_eq!(arguments.len(), flags, "{arguments:?}");
        let all = std::iter::once("kube-dhcp").chain(arguments.iter().map(String::as_str));
        Cli::command().try_get_matches_from(all).unwrap();
    }
    let text = objects.values().cloned().collect::<Value>().to_string();
    assert!(text.contains(r#"{"name":"RUST_LOG","value":"debug"}"#));
    let limits = |objects: &Objects| {
        let agent = of(objects, "DaemonSet", "agent");
        agent.pointer("/spec/template/spec/containers/0/resources/limits").cloned()
    };
    assert_eq!(limits(&objects), Some(serde_json::json!({"memory": "456Mi"})));
    let own = rendered(&["--set", "agent.resources.limits.memory=1Gi"]).unwrap();
    assert_eq!(limits(&self::objects(&own)), Some(serde_json::json!({"memory": "1Gi"})));
    assert!(text.contains(r#""hostPort":9500"#) && text.contains(r#""path":"/run/openvswitch""#));
}

#[test]
fn a_digest_stands_over_a_tag_and_a_tag_over_the_version() {
    let image = |set: &str| {
        let objects = objects(&rendered(&["--set", set]).unwrap());
        let controller = of(&objects, "Deployment", "controller");
        let image = controller.pointer("/spec/template/spec/containers/0/image").unwrap();
        image.as_str().unwrap().to_owned()
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(image("image.repository=r/kd"), format!("r/kd:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(image("image.repository=r/kd,image.tag=x"), "r/kd:x");
    assert_eq!(
        image(&format!("image.repository=r/kd,image.tag=x,image.digest={digest}")),
        format!("r/kd@{digest}")
    );
}

#[test]
fn a_group_of_nodes_says_what_is_different_there() {
    let groups = r#"nodeGroups={"a": {"nodeSelector": {"role": "a"}},
        "b": {"nodeSelector": {"role": "b"}, "createBridges": false, "tolerations": [],
              "physicalNetworks": {"san": "macvlan:eth2"}}}"#;
    let set = "agent.createBridges=true,agent.physicalNetworks.lan=bridge:br0,agent.nodeSelector.x=y";
    let objects = objects(&rendered(&["--set-json", groups, "--set", set]).unwrap());
    let sets: Vec<_> = objects.keys().filter(|key| key.0 == "DaemonSet").map(|key| key.2.as_str()).collect();
    assert_eq!(sets, ["agent-a", "agent-b"]);
    let (lan, san) = ("--physical-network=lan=bridge:br0", "--physical-network=san=macvlan:eth2");
    let first = ["agent", "--listen=0.0.0.0:9467"];
    assert_eq!(
        arguments(&objects, "DaemonSet", "agent-a"),
        [&first[..], &[lan, "--create-bridges"]].concat()
    );
    assert_eq!(arguments(&objects, "DaemonSet", "agent-b"), [&first[..], &[lan, san]].concat());
    let b = of(&objects, "DaemonSet", "agent-b");
    assert_eq!(b.pointer("/spec/template/spec/tolerations"), None);
    let selector = serde_json::json!({"kubernetes.io/os": "linux", "role": "b", "x": "y"});
    assert_eq!(b.pointer("/spec/template/spec/nodeSelector"), Some(&selector));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (set, word) in [
        ("agnet={}", "agnet"),
        ("agent.physicalNetworks.lan=\"br0\"", "physicalNetworks/lan"),
        ("agent.physicalNetworks.LAN=\"bridge:br0\"", "LAN"),
        ("agent.listen=\"off\"", "listen"),
        ("agent.logFormat=\"xml\"", "logFormat"),
        ("agent.dnsTxtRecords=[\"a.example.org\"]", "dnsTxtRecords"),
        ("agent.resyncSeconds=0", "resyncSeconds"),
        ("agent.metadataUpstream=\"169.254.169.254\"", "metadataUpstream"),
        ("agent.stateDir=\"/\"", "stateDir"),
        ("controller.replicas=0", "replicas"),
        ("controller.quarantineHours=0", "quarantineHours"),
        ("image.digest=\"latest\"", "digest"),
        ("nodeGroups.a={}", "nodeGroups/a"),
        ("nodeGroups.a={\"nodeSelector\":{}}", "nodeGroups/a"),
        ("nodeGroups.a={\"nodeSelector\":{\"x\":\"y\"},\"relpicas\":1}", "relpicas"),
        ("networkPolicy.apiServerPorts=[]", "apiServerPorts"),
    ] {
        let error = rendered(&["--set-json", set]).expect_err(set);
        assert!(error.contains("schema") && error.contains(word), "{set}: {error}");
    }
}

/// Texts that YAML would take for something else: numbers, truth, maps, comments.
const ODD: &str = r#"{"nodeGroups": {"1": {"nodeSelector": {"role": "1"}}, "true": {"nodeSelector": {"role": "true"}}},
    "commonLabels": {"team": "1"}, "image": {"repository": "1", "tag": "2", "pullSecrets": [{"name": "1"}]},
    "agent": {"physicalNetworks": {"san": "ovs:br-int"}, "ovsSocket": "/run/a: b/c #d", "dnsForwarders": ["fd00::"],
        "dnsTxtRecords": ["a.b,c: \"d\" \\ #e,1"], "metadataUpstream": "unix:/run/a: b #c", "stateDir": "/srv/a: b #c", "priorityClassName": "1", "logFilter": "1",
        "extraArgs": ["--a: b"], "podLabels": {"a": "1"}, "podAnnotations": {"a": "true"}},
    "controller": {"priorityClassName": "true", "podLabels": {"a": "1"}, "nodeSelector": {"a": "1"}}}"#;

#[test]
fn a_text_stays_what_it_is_whatever_it_looks_like() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ODD).unwrap();
    let objects = objects(&rendered(&["--values", file.path().to_str().unwrap()]).unwrap());
    for group in ["1", "true"] {
        let name = format!("agent-{group}");
        let given = arguments(&objects, "DaemonSet", &name);
        for flag in [
            "--ovs-socket=/run/a: b/c #d",
            "--dns-forwarder=fd00::",
            "--dns-txt-record=a.b,c: \"d\" \\ #e,1",
            "--metadata-upstream=unix:/run/a: b #c",
            "--state-dir=/srv/a: b #c",
            "--a: b",
        ] {
            assert!(given.iter().any(|argument| argument == flag), "{flag}: {given:?}");
        }
        let agent = of(&objects, "DaemonSet", &name);
        let selected = agent.pointer("/spec/selector/matchLabels/kube-dhcp.io~1node-group");
        assert_eq!(selected, Some(&Value::from(group)));
        let class = agent.pointer("/spec/template/spec/priorityClassName");
        assert_eq!(class, Some(&Value::from("1")));
    }
}

#[test]
fn everything_is_in_the_namespace_that_is_named() {
    let all = [&PLAIN[..], &["--set", OPTIONS]].concat();
    let here = objects(&rendered(&all).unwrap());
    let there = objects(&rendered(&[&all[..], &["--namespace", "1"]].concat()).unwrap());
    assert_eq!(here.len(), there.len());
    for (here, there) in here.values().zip(there.values()) {
        assert_eq!(there.to_string(), here.to_string().replace(SYSTEM, "1"));
    }
}

/// Sets of values that have all parts of the chart in them.
const VARIANTS: [&str; 4] = [
    "{}",
    r#"{"networkPolicy": {"enabled": true, "metricsFrom": [{"namespaceSelector": {}}]},
        "dashboard": {"enabled": true, "annotations": {"grafana_folder": "DHCP"}},
        "commonLabels": {"team": "net"}, "image": {"pullSecrets": [{"name": "s"}]},
        "agent": {"physicalNetworks": {"san": "ovs:br-int"}, "extraArgs": ["--create-bridges"],
            "extraEnv": [{"name": "A", "value": "b"}], "extraCapabilities": ["DAC_OVERRIDE"],
            "extraVolumes": [{"name": "v", "emptyDir": {}}], "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
            "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"}, "maxUnavailable": "10%",
            "appArmorProfile": {}, "affinity": {"nodeAffinity": {}}, "tolerations": []},
        "controller": {"replicas": 1, "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"}, "logFilter": "debug",
            "tolerations": [{"operator": "Exists"}], "nodeSelector": {"e": "f"}, "affinity": {"nodeAffinity": {}}}}"#,
    r#"{"nodeGroups": {"a": {"nodeSelector": {"role": "a"}}, "b": {"affinity": {"nodeAffinity": {}}}}}"#,
    ODD,
];

#[test]
fn the_api_server_takes_all_that_it_can_render() {
    inside("chart::rendered::the_api_server_takes_all_that_it_can_render", async {
        let plane = installed().await;
        for values in VARIANTS {
            let file = plane.directory().join("values.json");
            std::fs::write(&file, values).unwrap();
            let manifests = plane.directory().join("manifests.yaml");
            std::fs::write(&manifests, rendered(&["--values", file.to_str().unwrap()]).unwrap()).unwrap();
            // Strict: a field that is not known is an error.
            let apply =
                ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
            let taken = plane.kubectl(&[&apply[..], &["-f", manifests.to_str().unwrap()]].concat());
            println!("{}", taken.lines().count());
            assert!(taken.lines().count() >= 24, "{taken}");
        }
    });
}

/// What is not there by itself.
const OPTIONS: &str =
    "networkPolicy.enabled=true,podMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true";

#[test]
fn components_are_what_the_charts_options_add() {
    let mut added = objects(&rendered(&[&PLAIN[..], &["--set", OPTIONS]].concat()).unwrap());
    let plain = objects(&rendered(&PLAIN).unwrap());
    added.retain(|name, _| !plain.contains_key(name));
    let production = kustomized("examples/gitops/kustomize");
    let mut found = production.clone();
    found.retain(|name, _| !plain.contains_key(name));
    same("deploy/components", &added, &found);
    assert_eq!(found.len(), 5);
    // And the overlay's patches are flags that there are.
    for (kind, name) in [("DaemonSet", "agent"), ("Deployment", "controller")] {
        let arguments = arguments(&production, kind, name);
        assert!(arguments.contains(&"--log-format=json".to_owned()));
        let all = std::iter::once("kube-dhcp").chain(arguments.iter().map(String::as_str));
        Cli::command().try_get_matches_from(all).unwrap();
    }
}

#[test]
fn the_examples_of_gitops_have_values_that_the_chart_takes() {
    let values = |file: &str, kind: &str, path: &str| {
        let text = std::fs::read_to_string(ours(&format!("examples/gitops/{file}"))).unwrap();
        let all = serde_saphyr::from_multiple::<Value>(&text).unwrap();
        let object = all.iter().find(|object| object["kind"] == kind).unwrap();
        object.pointer(path).unwrap().clone()
    };
    for (file, kind, at, where_) in [
        ("argocd/application.yaml", "Application", "/spec/source/helm/valuesObject", "/spec/source/path"),
        ("flux/kube-dhcp.yaml", "HelmRelease", "/spec/values", "/spec/chart/spec/chart"),
    ] {
        assert_eq!(ours(values(file, kind, where_).as_str().unwrap()), chart());
        let set = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(set.path(), values(file, kind, at).to_string()).unwrap();
        let objects = objects(&rendered(&["--values", set.path().to_str().unwrap()]).unwrap());
        let flags = arguments(&objects, "DaemonSet", "agent");
        assert!(flags.iter().any(|flag| flag.starts_with("--physical-network=datacentre=")), "{flags:?}");
    }
}
