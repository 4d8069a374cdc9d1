//! The control plane of these tests itself: what the other tests rely on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use kube::{Api, ResourceExt};

use crate::control_plane::{ControlPlane, Settings, bridge_to_nodes};
use crate::inside::{inside, sh};

#[test]
fn the_control_plane_does_what_the_tests_need() {
    inside("harness::the_control_plane_does_what_the_tests_need", async {
        let began = Instant::now();
        let mut plane = ControlPlane::start_with(on_a_bridge()).await;
        println!("ready after {:?}", began.elapsed());
        assert!(plane.server().starts_with("https://10.99.0.1:"), "{}", plane.server());
        another_namespace_reaches_it(&plane);
        tokens_carry_the_node(&plane).await;
        namespaces_end(&plane).await;
        metrics_count(&plane).await;
        a_frozen_server_says_nothing_and_goes_on(&plane).await;
        a_restarted_server_has_its_data(&mut plane).await;
        a_restore_goes_back(&mut plane).await;
    });
}

fn on_a_bridge() -> Settings {
    Settings { addresses: bridge_to_nodes(), parent: PathBuf::from("/run"), ..Settings::default() }
}

fn another_namespace_reaches_it(plane: &ControlPlane) {
    sh("ip netns add n1; ip link add n1 type veth peer name eth0 netns n1; ip link set n1 master kc0 up
        ip -n n1 address add 10.99.0.2/24 dev eth0; ip -n n1 link set eth0 up");
    let (ca, server) = (plane.ca(), plane.server());
    let ask = format!("ip netns exec n1 curl -sS --cacert {} {server}/version", ca.display());
    assert!(sh(&ask).contains("\"gitVersion\""), "{ask}");
}

async fn tokens_carry_the_node(plane: &ControlPlane) {
    plane.node("n1", &[("rack", "r1")]).await;
    plane.kubectl(&["create", "serviceaccount", "agent", "-n", "default"]);
    let token = plane.service_account_token("default", "agent", Some("n1")).await;
    let client = plane.client(&plane.kubeconfig("n1", &token)).await;
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let me = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let me = me.status.unwrap().user_info.unwrap();
    assert_eq!(me.username.unwrap(), "system:serviceaccount:default:agent");
    let node = &me.extra.unwrap()["authentication.kubernetes.io/node-name"];
    assert_eq!(*node, ["n1"]);
}

async fn namespaces_end(plane: &ControlPlane) {
    plane.namespace("short-lived", &[]).await;
    let namespaces: Api<Namespace> = Api::all(plane.admin());
    let uid = namespaces.get("short-lived").await.unwrap().uid().unwrap();
    namespaces.delete("short-lived", &DeleteParams::default()).await.unwrap();
    let gone = await_condition(namespaces, "short-lived", is_deleted(&uid));
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap().unwrap();
}

async fn metrics_count(plane: &ControlPlane) {
    let gets = async || {
        let labels = [("verb", "GET"), ("resource", "configmaps"), ("code", "200")];
        plane.metrics().await.sum("apiserver_request_total", &labels)
    };
    create(plane, "counted").await;
    let before = gets().await;
    for _ in 0..3 {
        config_maps(plane).get("counted").await.unwrap();
    }
    let counted = gets().await - before;
    assert!((counted - 3.0).abs() < 0.1, "{counted}");
}

async fn a_frozen_server_says_nothing_and_goes_on(plane: &ControlPlane) {
    plane.freeze_api();
    let maps = config_maps(plane);
    let asked = maps.get("counted");
    tokio::pin!(asked);
    let answer = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
    assert!(answer.is_err(), "{answer:?}");
    plane.thaw_api();
    asked.await.unwrap();
}

async fn a_restarted_server_has_its_data(plane: &mut ControlPlane) {
    plane.stop_api();
    assert!(config_maps(plane).get("counted").await.is_err());
    let began = Instant::now();
    plane.start_api().await;
    println!("ready again after {:?}", began.elapsed());
    config_maps(plane).get("counted").await.unwrap();
}

async fn a_restore_goes_back(plane: &mut ControlPlane) {
    plane.snapshot("early");
    create(plane, "late").await;
    plane.restore("early").await;
    assert!(config_maps(plane).get_opt("late").await.unwrap().is_none());
    config_maps(plane).get("counted").await.unwrap();
}

fn config_maps(plane: &ControlPlane) -> Api<ConfigMap> {
    Api::namespaced(plane.admin(), "default")
}

async fn create(plane: &ControlPlane, name: &str) {
    let metadata = ObjectMeta { name: Some(name.into()), ..Default::default() };
    let map = ConfigMap { metadata, ..Default::default() };
    config_maps(plane).create(&PostParams::default(), &map).await.unwrap();
}
