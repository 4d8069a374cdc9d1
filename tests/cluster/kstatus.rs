//! The objects by the rules of kstatus, which Flux and others wait by: at every step, as every watcher
//! sees it, nothing is called finished that is not, and nothing failed that is only not yet done.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::inside::inside;
use crate::serve::port;
use crate::site::Site;

const KINDS: [&str; 6] = ["PhysicalNetwork", "Network", "Subnet", "Port", "DHCPServer", "DHCPAgent"];

/// What kstatus makes of an object (cli-utils, `status/generic.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Current,
    InProgress,
    Failed,
    Terminating,
}

fn kstatus(object: &Value) -> Verdict {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Verdict::Terminating;
    }
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if observed.is_some_and(|observed| Some(observed) != object["metadata"]["generation"].as_i64()) {
        return Verdict::InProgress;
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let status = |type_: &str| {
        let found = conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
        found.map(|condition| condition["status"].clone())
    };
    if status("Stalled") == Some(json!("True")) {
        return Verdict::Failed;
    }
    if status("Reconciling") == Some(json!("True")) {
        return Verdict::InProgress;
    }
    match status("Ready") {
        Some(ready) if ready != "True" => Verdict::InProgress,
        _ => Verdict::Current,
    }
}

/// Every version of every object that a watcher saw.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, Value)>>>);

impl Seen {
    fn watch(&self, site: &Site) {
        for kind in KINDS {
            let (api, seen) = (site.api(kind), self.clone());
            tokio::spawn(async move {
                let events = api.watch(&WatchParams::default(), "0").await.unwrap();
                let mut events = Box::pin(events);
                while let Some(Ok(event)) = events.next().await {
                    if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                        seen.take(kind, &object);
                    }
                }
            });
        }
    }

    fn take(&self, kind: &str, object: &DynamicObject) {
        let value = serde_json::to_value(object).unwrap();
        self.0.lock().unwrap().push((kind.to_owned(), value));
    }

    /// All objects that were `verdict` at some time since the last call of this.
    fn drain(&self, verdict: Verdict) -> BTreeSet<String> {
        let seen = std::mem::take(&mut *self.0.lock().unwrap());
        let is_it = |(_, object): &&(String, Value)| kstatus(object) == verdict;
        let name = |(kind, object): &(String, Value)| format!("{kind} {}", object["metadata"]["name"]);
        seen.iter().filter(is_it).map(name).collect()
    }
}

async fn until_current(site: &Site, kind: &str, name: &str) -> Value {
    site.until(kind, name, |object| !object.is_null() && kstatus(object) == Verdict::Current).await
}

#[test]
fn nothing_is_called_finished_or_failed_too_early() {
    inside("kstatus::nothing_is_called_finished_or_failed_too_early", async {
        let site = Site::running(2).await;
        let seen = Seen::default();
        seen.watch(&site);
        created_in_the_wrong_order(&site).await;
        assert_eq!(seen.drain(Verdict::Failed), BTreeSet::new());
        changed(&site).await;
        assert_eq!(seen.drain(Verdict::Failed), BTreeSet::new());
        broken_and_mended(&site).await;
        assert_eq!(seen.drain(Verdict::Failed), ["Port \"p1\"".to_owned()].into());
        deleted(&site).await;
        assert_eq!(seen.drain(Verdict::Failed), BTreeSet::new());
    });
}

const NETWORK: &str = r"
apiVersion: kube-dhcp.io/v1alpha1
kind: Network
metadata: {name: a, namespace: default}
spec: {physicalNetworkRef: {name: lan}}
";

const SUBNET: &str = r"
apiVersion: kube-dhcp.io/v1alpha1
kind: Subnet
metadata: {name: a-v4, namespace: default}
spec: {networkRef: {name: a}, cidr: 10.0.0.0/24}
";

/// A Port, then its Network, then its Subnet.
async fn created_in_the_wrong_order(site: &Site) {
    let mut wishes = port(1);
    wishes["spec"]["addresses"] = json!([{"ip": "10.0.0.20"}]);
    site.apply_object(&wishes).await;
    site.until_not_ready("Port", "p1", "NetworkNotFound").await;
    site.apply(NETWORK).await;
    site.until_not_ready("Network", "a", "NoSubnet").await;
    site.apply(SUBNET).await;
    let port = until_current(site, "Port", "p1").await;
    assert_eq!(port["status"]["addresses"][0]["ip"], "10.0.0.20");
    for (kind, name) in
        [("Network", "a"), ("Subnet", "a-v4"), ("PhysicalNetwork", "lan"), ("DHCPAgent", "n1")]
    {
        until_current(site, kind, name).await;
    }
}

/// Finished means that guests get what the new generation says.
async fn changed(site: &Site) {
    let mut wishes = port(1);
    wishes["spec"]["addresses"] = json!([{"ip": "10.0.0.20"}]);
    wishes["spec"]["hostname"] = json!("renamed");
    site.apply_object(&wishes).await;
    until_current(site, "Port", "p1").await;
    let guest = site.street.guest("br0", crate::serve::mac(1));
    let name = |ack: &crate::lab::Answer| String::from_utf8_lossy(&ack.options[&12]).into_owned();
    assert_eq!(name(&guest.dora()), "renamed");
    let subnet = SUBNET.replace("cidr:", "options: [{name: ntp-server, values: [10.0.0.9]}], cidr:");
    site.apply(&subnet).await;
    until_current(site, "Subnet", "a-v4").await;
    let ntp = crate::lab::Ask::new(crate::lab::MessageType::Discover).want(&[42]);
    let answers = guest.ask_all(&ntp);
    assert!(answers.iter().any(|offer| offer.options.get(&42) == Some(&vec![10, 0, 0, 9])), "{answers:?}");
}

async fn broken_and_mended(site: &Site) {
    let mut wishes = port(1);
    wishes["spec"]["addresses"] = json!([{"ip": "10.0.0.0"}]);
    site.apply_object(&wishes).await;
    site.until_not_ready("Port", "p1", "AddressReserved").await;
    wishes["spec"]["addresses"] = json!([{"ip": "10.0.0.21"}]);
    site.apply_object(&wishes).await;
    until_current(site, "Port", "p1").await;
    // Somebody else's address: that may change without a change of this object.
    let mut other = port(2);
    other["spec"]["addresses"] = json!([{"ip": "10.0.0.21"}]);
    site.apply_object(&other).await;
    site.until_not_ready("Port", "p2", "AddressInUse").await;
    site.delete("Port", "p1").await;
    until_current(site, "Port", "p2").await;
}

async fn deleted(site: &Site) {
    for (kind, name) in [("Subnet", "a-v4"), ("Network", "a"), ("Port", "p2")] {
        site.delete(kind, name).await;
        // Without finalizers it is gone at once.
        assert!(site.get(kind, name).await.is_none());
    }
    site.until("DHCPServer", "a.n1", Value::is_null).await;
}
