//! People who apply and delete objects, and what they want in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::lans::{LANS, Lan, PORTS, Wish, restless};
use crate::lab::Mac;
use crate::observer::{Observed, Observer, addresses, lock};
use crate::random::Random;

/// How long they wait for the API server.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module.
pub struct Users {
    client: Client,
    observed: Arc<Mutex<Observed>>,
    /// By lan and place.
    pub wanted: BTreeMap<(usize, usize), Wish>,
    /// Ports that got another MAC address and kept their address: nobody is asked whether all servers know.
    pub swapped: Arc<Mutex<BTreeSet<Mac>>>,
}

impl Users {
    pub fn new(client: Client, observer: &Observer) -> Self {
        let mut wanted = BTreeMap::new();
        for lan in restless() {
            for port in 0..PORTS - 1 {
                let fixed = (port > 3).then(|| lan.address(100 + u8::try_from(port).unwrap()).to_string());
                wanted.insert((lan.number, port), Wish { other_mac: false, ip: fixed });
            }
        }
        Self { client, observed: observer.share(), wanted, swapped: Arc::default() }
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        lock(&self.observed)
    }

    /// The objects of a kind in a namespace; `""`: in all, or of the cluster.
    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = if kind == "Namespace" { ("", "v1") } else { ("kube-dhcp.io", "v1alpha1") };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Its resource version, if it was done.
    pub async fn apply(&self, object: &Value) -> Option<u64> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let api = self.api(text("/kind"), text("/metadata/namespace"));
        let (parameters, patch) = (PatchParams::apply("test").force(), Patch::Apply(object));
        let done = said(api.patch(text("/metadata/name"), &parameters, &patch)).await?;
        done.resource_version()?.parse().ok()
    }

    /// Whether it was done, or there is nothing.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> bool {
        said(self.api(kind, namespace).delete(name, &DeleteParams::default())).await.is_some()
            || self.is_gone(kind, namespace, name).await
    }

    /// Whether a namespace is being deleted, or may be.
    pub async fn is_ending(&self, namespace: &str) -> bool {
        let found = said(self.api("Namespace", "").get_opt(namespace)).await;
        found.is_none_or(|found| found.is_some_and(|n| n.metadata.deletion_timestamp.is_some()))
    }

    async fn is_gone(&self, kind: &str, namespace: &str, name: &str) -> bool {
        said(self.api(kind, namespace).get_opt(name)).await.is_some_and(|object| object.is_none())
    }

    /// All of a kind; `None`: the API server does not say.
    pub async fn list(&self, kind: &str) -> Option<Vec<Value>> {
        let list = said(self.api(kind, "").list(&ListParams::default())).await?;
        Some(list.items.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect())
    }

    /// Everything of a network.
    pub async fn apply_lan(&self, lan: &Lan) -> Option<u64> {
        let mut last = None;
        for object in [lan.physical(), lan.network(), lan.subnet()] {
            last = Some(self.apply(&object).await?);
        }
        last
    }

    /// Ports come, go and change.
    pub async fn churn(&mut self, mut random: Random) -> String {
        let mut told = Vec::new();
        for _ in 0..=random.below(6) {
            let lan = &LANS[super::lans::STEADY + random.index(LANS.len() - super::lans::STEADY)];
            let (port, other, kind) = (random.index(PORTS), random.index(PORTS), random.below(9));
            let did = self.change(lan, port, other, kind).await;
            told.push(format!("{} {did}", lan.port_name(port)));
        }
        told.join(", ")
    }

    async fn change(&mut self, lan: &Lan, port: usize, other: usize, kind: u64) -> &'static str {
        let place = (lan.number, port);
        let wish = self.wanted.get(&place).cloned();
        match (kind, wish) {
            (0, Some(_)) => {
                self.wanted.remove(&place);
                self.remove_port(lan, port).await;
                "deleted"
            }
            (1, Some(wish)) => {
                let wish = Wish { other_mac: !wish.other_mac, ..wish };
                let both = [false, true].map(|other| lan.mac(port, other));
                self.swapped.lock().unwrap().extend(both);
                self.wanted.insert(place, wish);
                self.apply_port(lan, port).await;
                "gets another MAC"
            }
            (2, Some(wish)) => {
                self.again(lan, port, Wish { other_mac: !wish.other_mac, ip: None }).await;
                "made again with another MAC"
            }
            (3, _) => {
                let ip = self.address_of(lan, other).await;
                self.again(lan, port, Wish { other_mac: false, ip }).await;
                "asks for another's address"
            }
            (4 | 5, _) => {
                let ip = self.address_of(lan, other).await;
                self.wanted.remove(&(lan.number, other));
                self.remove_port(lan, other).await;
                self.again(lan, port, Wish { other_mac: false, ip }).await;
                "asks for that of one who is deleted"
            }
            (_, Some(wish)) => {
                self.again(lan, port, wish).await;
                "made again as it was"
            }
            (_, None) => {
                self.again(lan, port, Wish::default()).await;
                "made"
            }
        }
    }

    async fn again(&mut self, lan: &Lan, port: usize, wish: Wish) {
        self.wanted.insert((lan.number, port), wish);
        self.remove_port(lan, port).await;
        self.apply_port(lan, port).await;
    }

    async fn address_of(&self, lan: &Lan, port: usize) -> Option<String> {
        let found = said(self.api("Port", lan.namespace).get_opt(&lan.port_name(port))).await??;
        addresses(&found.data).into_iter().next()
    }

    pub async fn remove_port(&self, lan: &Lan, port: usize) -> bool {
        let key = (lan.namespace.to_owned(), lan.port_name(port));
        self.observed().ports.change(&key);
        self.delete("Port", &key.0, &key.1).await
    }

    /// As it is wanted.
    pub async fn apply_port(&self, lan: &Lan, port: usize) -> bool {
        let Some(wish) = self.wanted.get(&(lan.number, port)) else { return true };
        let key = (lan.namespace.to_owned(), lan.port_name(port));
        self.observed().ports.change(&key);
        let revision = self.apply(&lan.port(port, wish)).await;
        if let Some(revision) = revision {
            self.observed().ports.changed(&key, revision);
        }
        revision.is_some()
    }

    /// All Ports of a network as they are wanted, and no others.
    pub async fn apply_ports(&self, lan: &Lan) -> bool {
        let mut done = true;
        for port in 0..PORTS {
            done &= if self.wanted.contains_key(&(lan.number, port)) {
                self.apply_port(lan, port).await
            } else {
                self.remove_port(lan, port).await
            };
        }
        done
    }

    /// Who asks for what another one has asks for anything.
    pub async fn give_way(&mut self, lan: &Lan, port: usize) {
        if let Some(wish) = self.wanted.get_mut(&(lan.number, port)) {
            wish.ip = None;
            self.apply_port(lan, port).await;
        }
    }

    pub async fn make_namespace(&self, name: &str) -> bool {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply(&object).await.is_some()
    }

    /// Nothing is held against a network until it is there again.
    pub fn rebuild(&self, lan: &Lan) {
        self.observed().ports.rebuild(&lan.key());
    }

    pub fn rebuilt(&self, lan: &Lan, revision: u64) {
        self.observed().ports.rebuilt(&lan.key(), revision);
    }

    /// All is as it is wanted: everything that is seen from now on counts.
    pub fn settled(&self) {
        let mut observed = self.observed();
        observed.ports.settled();
        observed.servers.moving = false;
        drop(observed);
        self.swapped.lock().unwrap().clear();
    }

    /// Whether a node is to be emptied.
    pub async fn drain(&self, node: &str, drain: bool) -> bool {
        self.observed().servers.moving |= drain;
        let patch = Patch::Merge(json!({"spec": {"drain": drain}}));
        said(self.api("DHCPAgent", "").patch(node, &PatchParams::default(), &patch)).await.is_some()
    }
}

/// What the API server answered, if it did, and well.
async fn said<T>(request: impl Future<Output = kube::Result<T>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, request).await.ok()?.ok()
}
