//! helm in a real API server, with objects of users there: installing, upgrading, removing.

use super::{chart, ours};
use crate::control_plane::ControlPlane;
use crate::inside::inside;
use crate::lab::eventually;
use crate::plane;
use crate::site::{LONG, SYSTEM};

fn helms(plane: &ControlPlane, arguments: &[&str]) -> Result<String, String> {
    plane.helm(SYSTEM, arguments)
}

/// The objects of examples/cluster, in force: their UIDs.
async fn users(plane: &ControlPlane) -> String {
    plane.until_all_served().await;
    plane.kubectl(&["apply", "--server-side", "-f", &ours("examples/cluster/admin.yaml")]);
    // A definition that is new is not in force at once.
    eventually("the objects are taken", LONG, || {
        let applied = plane.try_kubectl(&["apply", "--server-side", "-f", &ours("examples/cluster")]);
        applied.inspect_err(|why| println!("{why}")).ok()
    });
    let name = ["get", "dport", "vm1-eth0", "-n", "team-a", "-o=jsonpath={.spec.hostname}"];
    assert_eq!(plane.kubectl(&name), "vm1");
    uids(plane)
}

fn uids(plane: &ControlPlane) -> String {
    let fields = "-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    plane.kubectl(&["get", "dphys,dnet,dsub,dport", "--all-namespaces", fields])
}

/// Names of whatever of ours is in the cluster, but for the objects of users.
fn left(plane: &ControlPlane) -> String {
    let kinds =
        "crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding";
    let all = plane.kubectl(&["get", kinds, "--output=name"]);
    let ours: Vec<_> = all.lines().filter(|line| line.contains("kube-dhcp")).collect();
    let kinds = "ds,deploy,pdb,sa,role,rolebinding,netpol,cm";
    let named = plane.kubectl(&["get", kinds, "-n", SYSTEM, "--output=name"]);
    let named: Vec<_> =
        named.lines().filter(|line| !line.contains("default") && !line.contains("kube-root-ca")).collect();
    [ours, named].concat().join(" ")
}

/// Where a definition says what a spec has.
const SPEC: &str = "openAPIV3Schema/properties/spec";

const DEFINITIONS: &str = "customresourcedefinition.apiextensions.k8s.io/";

#[test]
fn an_upgrade_brings_new_definitions_and_touches_no_object() {
    inside("chart::lifecycle::an_upgrade_brings_new_definitions_and_touches_no_object", async {
        let plane = plane().await;
        // A chart of before: its Ports have no host names.
        let old = plane.directory().join("old");
        crate::inside::sh(&format!("cp -r {} {}", chart(), old.display()));
        let ports = old.join("files/crds/ports.yaml");
        let text = std::fs::read_to_string(&ports).unwrap();
        let mut definition: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let fields = definition.pointer_mut(&format!("/spec/versions/0/schema/{SPEC}/properties")).unwrap();
        assert!(fields.as_object_mut().unwrap().remove("hostname").is_some());
        std::fs::write(&ports, definition.to_string()).unwrap();

        helms(&plane, &["install", "kube-dhcp", old.to_str().unwrap(), "--create-namespace"]).unwrap();
        let path = format!(
            "-o=jsonpath={{.spec.versions[0].schema.{}.properties.hostname.type}}",
            SPEC.replace('/', ".")
        );
        let known = || plane.kubectl(&["get", "crd", "ports.kube-dhcp.io", &path]);
        assert_eq!(known(), "", "this is no old definition");
        helms(&plane, &["upgrade", "kube-dhcp", &chart(), "--set", "controller.replicas=3"]).unwrap();
        assert_eq!(known(), "string");
        let before = users(&plane).await;
        let set = ["--set", "agent.physicalNetworks.datacentre=bridge:br0", "--reset-then-reuse-values"];
        helms(&plane, &[&["upgrade", "kube-dhcp", &chart()][..], &set].concat()).unwrap();
        assert_eq!(uids(&plane), before);
        let argument = "-o=jsonpath={.spec.template.spec.containers[0].args[2]}";
        let argument = plane.kubectl(&["get", "ds", "agent", "-n", SYSTEM, argument]);
        assert_eq!(argument, "--physical-network=datacentre=bridge:br0");
        let replicas = ["get", "deploy", "controller", "-n", SYSTEM, "-o=jsonpath={.spec.replicas}"];
        assert_eq!(plane.kubectl(&replicas), "3");
        helms(&plane, &["rollback", "kube-dhcp", "2"]).unwrap();
        assert_eq!(uids(&plane), before);
    });
}

#[test]
fn what_users_made_outlives_the_chart() {
    inside("chart::lifecycle::what_users_made_outlives_the_chart", async {
        let plane = plane().await;
        helms(&plane, &["install", "kube-dhcp", &chart(), "--create-namespace"]).unwrap();
        let before = users(&plane).await;
        helms(&plane, &["uninstall", "kube-dhcp"]).unwrap();
        let left = left(&plane);
        assert_eq!(left.split(' ').filter(|name| name.starts_with(DEFINITIONS)).count(), 7, "{left}");
        assert_eq!(left.split(' ').count(), 7, "{left}");
        assert_eq!(uids(&plane), before);
        // And is its own again with the next one.
        helms(&plane, &["install", "kube-dhcp", &chart()]).unwrap();
        assert_eq!(uids(&plane), before);
    });
}

#[test]
fn where_it_is_wanted_everything_goes_with_the_chart() {
    inside("chart::lifecycle::where_it_is_wanted_everything_goes_with_the_chart", async {
        let plane = plane().await;
        helms(&plane, &["install", "kube-dhcp", &chart(), "--create-namespace"]).unwrap();
        users(&plane).await;
        // Somebody changed his mind: it holds from the next upgrade on.
        helms(&plane, &["upgrade", "kube-dhcp", &chart(), "--set", "crds.keep=false"]).unwrap();
        helms(&plane, &["uninstall", "kube-dhcp", "--wait", "--timeout=50s"]).unwrap();
        assert_eq!(left(&plane), "");
        plane.kubectl(&["delete", "namespace", SYSTEM, "team-a", "--wait=true", "--timeout=60s"]);
    });
}

#[test]
fn helm_takes_over_from_kubectl() {
    inside("chart::lifecycle::helm_takes_over_from_kubectl", async {
        let plane = crate::installed().await;
        let before = users(&plane).await;
        let take = ["--take-ownership", "--force-conflicts"];
        helms(&plane, &[&["install", "kube-dhcp", &chart()][..], &take].concat()).unwrap();
        assert_eq!(uids(&plane), before);
        helms(&plane, &["uninstall", "kube-dhcp"]).unwrap();
        assert_eq!(uids(&plane), before);
    });
}
