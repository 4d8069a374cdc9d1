//! What the controller tells of the objects, and what of the API server, as a scrape has it.

use kube_dhcp::cluster::client::connect;
use kube_dhcp::cluster::failures::{Failure, FailureLabel, Failures};

use crate::inside::{inside, sh};
use crate::installed;
use crate::serve::NETWORK;
use crate::site::{LAN, LONG, Site};

const CONTROLLER: &str = "127.0.0.1:9998";

const BAD: &str = r"
apiVersion: kube-dhcp.io/v1alpha1
kind: Network
metadata: {name: bad, namespace: default}
spec: {physicalNetworkRef: {name: nowhere}}
";

async fn until_told(site: &Site, line: &str) {
    let look = async || {
        let text = sh(&format!("curl -sS http://{CONTROLLER}/metrics"));
        let line = format!("kube_dhcp_controller_{line}");
        if text.lines().any(|said| said.starts_with(&line)) {
            Ok(())
        } else {
            Err(format!("{line} is not in:\n{text}"))
        }
    };
    site.eventually(LONG, look).await;
}

#[test]
fn all_objects_are_counted_and_those_in_trouble_are_named() {
    inside("observed::all_objects_are_counted_and_those_in_trouble_are_named", async {
        let mut site = Site::new(2).await;
        site.apply(LAN).await;
        site.start_controller(&[&format!("--listen={CONTROLLER}")]);
        site.start_agents();
        // Two servers and a Port: three of four addresses, and then the fourth.
        site.apply(&NETWORK.replace("10.0.0.250", "10.0.0.13").replace("ip: 10.0.0.20", "ip: 10.0.0.12"))
            .await;
        site.apply(BAD).await;
        site.until_ready("Port", "p1").await;
        for line in [
            "leading 1",
            "networks{reason=\"Ready\"} 1",
            "networks{reason=\"PhysicalNetworkNotFound\"} 1",
            "subnets{reason=\"Ready\"} 1",
            "servers{reason=\"Ready\"} 2",
            "agents{reason=\"Ready\"} 2",
            "ports 1",
            "ports_ready 1",
        ] {
            until_told(&site, line).await;
        }
        site.apply_object(&crate::serve::port(2)).await;
        until_told(&site, "subnet_addresses_used_ratio{subnet=\"default/a-v4\"} 1.0").await;
        for node in &mut site.nodes {
            node.kill_agent();
        }
        until_told(&site, "agent_lost{agent=\"n2\",reason=\"LeaseExpired\"} 1.0").await;
        until_told(&site, "agents{reason=\"LeaseExpired\"} 2").await;
        until_told(&site, "network_unserved{network=\"default/a\",reason=").await;
    });
}

#[test]
fn what_the_api_server_refuses_is_counted_by_its_reason() {
    inside("observed::what_the_api_server_refuses_is_counted_by_its_reason", async {
        let plane = installed().await;
        let token = plane.service_account_token("kube-dhcp-system", "agent", None).await;
        let agent = plane.kubeconfig("agent", &token);
        let text = std::fs::read_to_string(&agent).unwrap();
        // Another authority's certificate, a token that nobody has, and a port that nobody listens at.
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        let ca = plane.directory().join("other.crt");
        std::fs::write(&ca, other.cert.pem()).unwrap();
        let strange = text.replace(&plane.ca().display().to_string(), &ca.display().to_string());
        let away = text.replace(&plane.server(), "https://127.0.0.1:1");
        for (name, text, wanted) in [
            ("certificate", strange, Failure::Certificate),
            ("token", text.replace(&token, "nobody"), Failure::Unauthorized),
            ("rights", text.clone(), Failure::Forbidden),
            ("away", away, Failure::Unreachable),
        ] {
            let kubeconfig = plane.directory().join(name);
            std::fs::write(&kubeconfig, text).unwrap();
            let failures = Failures::default();
            let client = connect(Some(&kubeconfig), &failures).await.unwrap().client;
            let secrets = kube::Api::<k8s_openapi::api::core::v1::Secret>::namespaced(client, "default");
            secrets.list(&kube::api::ListParams::default()).await.unwrap_err();
            let counted = Failure::ALL.map(|reason| {
                let counter = failures.0.get_or_create(&FailureLabel { reason });
                (reason, counter.get())
            });
            assert_eq!(counted, Failure::ALL.map(|reason| (reason, u64::from(reason == wanted))), "{name}");
        }
    });
}
