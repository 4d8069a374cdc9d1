//! An agent of an older version beside one of this one: it lists fewer features, says nothing of what it
//! does not know, and says that it serves all that it was given.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::time::Duration;

use super::{both_ready, until_told_txt, with_txt};
use crate::inside::inside;
use crate::lab::MessageType;
use crate::serve::{NETWORK, mac};
use crate::site::{LAN, LONG, SYSTEM, Site, condition};

/// What agents of commit ad8adfc know.
const OLD: [&str; 4] = ["IPv4", "IPv6", "RouterAdvertisements", "SeveralServers"];

/// As much of an old agent as the API server sees: with the rights of one on its node.
struct OldAgent {
    client: kube::Client,
    node: String,
    heart: tokio::task::JoinHandle<()>,
}

impl OldAgent {
    async fn start(site: &Site, number: usize) -> Self {
        let node = site.nodes[number - 1].name.clone();
        let client = site.plane.client(&site.nodes[number - 1].kubeconfig).await;
        let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
        let holder = node.clone();
        let heart = tokio::spawn(async move {
            loop {
                renew(&leases, &holder).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        let agent = Self { client, node, heart };
        agent.apply("DHCPAgent", "", json!({"spec": {}})).await;
        let physical = |(name, bridge): (&str, &str)| json!({"name": name, "attachment": format!("bridge:{bridge}"), "vlan": "Unsupported", "state": "Up"});
        let physical = [("lan", "br0"), ("lan1", "br1")].map(physical);
        let status = json!({
            "version": "0.0.9", "dnsmasqVersion": "2.90", "features": OLD, "source": "Cluster",
            "physicalNetworks": physical,
            "conditions": [done("PhysicalNetworksReady", 1)],
        });
        agent.apply("DHCPAgent", "status", json!({"status": status})).await;
        agent
    }

    async fn apply(&self, kind: &str, what: &str, mut object: Value) {
        let (name, namespace) = match kind {
            "DHCPServer" => (format!("a.{}", self.node), "default"),
            _ => (self.node.clone(), ""),
        };
        object["apiVersion"] = "kube-dhcp.io/v1alpha1".into();
        object["kind"] = kind.into();
        object["metadata"] = json!({"name": name});
        if what.is_empty() {
            object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "kube-dhcp"});
        }
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kube-dhcp.io", "v1alpha1", kind));
        let api: Api<DynamicObject> = match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let (parameters, patch) = (PatchParams::apply("kube-dhcp-agent").force(), Patch::Apply(&object));
        match what {
            "status" => api.patch_status(&name, &parameters, &patch).await.unwrap(),
            _ => api.patch(&name, &parameters, &patch).await.unwrap(),
        };
    }

    /// It says that it serves network `a` as it is now, as it would have said it.
    async fn serve(&self, site: &Site) {
        let generation = async |kind: &str, name: &str| {
            site.get(kind, name).await.unwrap()["metadata"]["generation"].as_i64().unwrap()
        };
        let server = generation("DHCPServer", &format!("a.{}", self.node)).await;
        let ports = site.api("Port").list(&kube::api::ListParams::default()).await.unwrap();
        let status = json!({
            "device": {"name": "kd0", "macAddress": "02:00:00:00:00:fe", "attachment": "bridge:br0"},
            "portsRevision": ports.metadata.resource_version, "networkGeneration": generation("Network", "a").await,
            "subnets": [{"name": "a-v4", "generation": generation("Subnet", "a-v4").await}],
            "ports": {"wanted": 1, "served": 1, "refused": 0},
            "conditions": [done("Programmed", server), done("Serving", server)],
        });
        self.apply("DHCPServer", "status", json!({"status": status})).await;
    }
}

impl Drop for OldAgent {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

async fn renew(leases: &Api<Lease>, node: &str) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": format!("agent-{node}")},
        "spec": {"holderIdentity": node, "leaseDurationSeconds": 15,
            "renewTime": format!("{:.6}", jiff::Timestamp::now())},
    });
    let parameters = PatchParams::apply("kube-dhcp-agent").force();
    leases.patch(&format!("agent-{node}"), &parameters, &Patch::Apply(&lease)).await.unwrap();
}

fn done(type_: &str, generation: i64) -> Value {
    json!({"type": type_, "status": "True", "reason": "Ready", "message": "", "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn by_id() -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port", "metadata": {"name": "by-id", "namespace": "default"},
        "spec": {"networkRef": {"name": "a"}, "identity": {"type": "ClientID", "clientID": "ab:cd:ef"}},
    })
}

#[test]
fn an_older_agent_is_not_taken_for_one_that_knows_all() {
    inside("skew::features::an_older_agent_is_not_taken_for_one_that_knows_all", async {
        let mut site = Site::with_lans(2, 2).await;
        for lan in [LAN.to_owned(), LAN.replace("name: lan", "name: lan1")] {
            site.apply(&lan).await;
        }
        site.start_controller(&[]);
        site.start_agent(2, &[]);
        let old = OldAgent::start(&site, 1).await;
        for node in ["n1", "n2"] {
            site.until_ready("DHCPAgent", node).await;
        }
        it_serves_what_it_knows(&site, &old).await;
        it_gets_nothing_that_it_does_not_know(&site).await;
        what_comes_to_what_it_serves_is_not_called_ready(&site, &old).await;
        // Its successor is of this version.
        drop(old);
        site.start_agent(1, &[]);
        let all = |network: &Value| both_ready(network) && condition(network, "Ready", "reason") == "Ready";
        site.until("Network", "a", all).await;
        site.until("Network", "b", all).await;
        site.until_ready("Port", "by-id").await;
        let street = site.street.clone();
        let guest = street.guest("br0", mac(50)).with_client_id(&[0xab, 0xcd, 0xef]);
        let ack = guest.dora();
        assert_eq!(guest.rebind(ack.yiaddr()).map(|ack| ack.kind()), Some(MessageType::Ack));
    });
}

async fn it_serves_what_it_knows(site: &Site, old: &OldAgent) {
    site.apply(NETWORK).await;
    site.until("DHCPServer", "a.n1", |server| !server.is_null()).await;
    let ready = async || {
        // It reports again while others write.
        old.serve(site).await;
        let network = site.get("Network", "a").await.unwrap();
        let fine = both_ready(&network) && condition(&network, "Ready", "reason") == "Ready";
        if fine { Ok(()) } else { Err(format!("{network:#}")) }
    };
    site.eventually(LONG, ready).await;
    site.until_ready("Port", "p1").await;
}

async fn it_gets_nothing_that_it_does_not_know(site: &Site) {
    let other = with_txt()
        .split("---")
        .next()
        .unwrap()
        .replace("name: a,", "name: b,")
        .replace("{name: lan}", "{name: lan1}");
    site.apply(&other).await;
    site.apply(
        "apiVersion: kube-dhcp.io/v1alpha1\nkind: Subnet\nmetadata: {name: b-v4, namespace: default}\n\
         spec: {networkRef: {name: b}, cidr: 10.1.0.0/24}\n",
    )
    .await;
    let one = |network: &Value| condition(network, "Ready", "reason") == "FewerServers";
    let network = site.until("Network", "b", one).await;
    let message = condition(&network, "Scheduled", "message");
    assert!(message.contains("1 lacks TXTRecords"), "{message}");
    assert!(site.get("DHCPServer", "b.n1").await.is_none());
}

/// It serves on, for there is no other one, and would say that all is well.
async fn what_comes_to_what_it_serves_is_not_called_ready(site: &Site, old: &OldAgent) {
    site.apply(&with_txt()).await;
    site.apply_object(&by_id()).await;
    let said = async || {
        old.serve(site).await;
        let network = site.get("Network", "a").await.unwrap();
        let message = condition(&network, "Ready", "message");
        let (status, reason) =
            (condition(&network, "Ready", "status"), condition(&network, "Ready", "reason"));
        let lacks = message == "node n1: its agent lacks Identities and TXTRecords";
        let fine = status == "True" && reason == "AgentLacksFeature" && lacks && both_ready(&network);
        if fine { Ok(()) } else { Err(format!("{network:#}")) }
    };
    site.eventually(LONG, said).await;
    let port = site.until_not_ready("Port", "by-id", "AgentLacksFeature").await;
    assert_eq!(condition(&port, "Ready", "message"), "node n1: its agent lacks Identities");
    site.until_ready("Port", "p1").await;
    let (street, server) = (site.street.clone(), site.get("DHCPServer", "a.n2").await.unwrap());
    let guest = street.guest("br0", mac(1));
    assert_eq!(guest.dora().yiaddr().to_string(), "10.0.0.20");
    guest.configure("10.0.0.20/24", None);
    let own = server["spec"]["addresses"][0]["ip"].as_str().unwrap().parse().unwrap();
    until_told_txt(site, &guest, own).await;
}
