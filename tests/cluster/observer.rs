//! Sees every change of Ports, `IPAllocation`s and `DHCPServer`s as the API server tells it, and what must
//! not be in them.

mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

pub use ports::{Key, Ports, addresses};

const AGAIN: Duration = Duration::from_millis(100);

/// See the module.
pub struct Observer {
    seen: Arc<Mutex<Observed>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What is known.
#[derive(Default)]
pub struct Observed {
    pub ports: Ports,
    pub servers: Servers,
    /// By holder's UID, the allocations that it has.
    held: BTreeMap<String, Vec<String>>,
    pub events: usize,
    /// The most allocations that one Port had at a time.
    pub most_held: usize,
    faults: Vec<String>,
    /// New lists that are not complete yet.
    lists: BTreeMap<&'static str, Vec<DynamicObject>>,
}

/// Servers.
#[derive(Default)]
pub struct Servers {
    /// By network's UID and slot, the active ones.
    slots: BTreeMap<(String, u64), BTreeSet<String>>,
    /// By MAC address: the network's UID and the node. Also of those that are gone.
    pub devices: BTreeMap<String, (String, String)>,
    /// A node is emptied: whoever leaves a slot stays until the next one serves.
    pub moving: bool,
}

impl Observer {
    pub fn start(client: &Client) -> Self {
        let seen = Arc::<Mutex<Observed>>::default();
        let tasks = ["Port", "IPAllocation", "DHCPServer"].map(|kind| {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kube-dhcp.io", "v1alpha1", kind));
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut events = watcher(api, watcher::Config::default()).boxed();
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => lock(&seen).take(kind, event),
                        // The API server may be away; who looks is not to be behind when it is back.
                        Err(_) => tokio::time::sleep(AGAIN).await,
                    }
                }
            })
        });
        Self { seen, tasks: tasks.into() }
    }

    pub fn seen(&self) -> MutexGuard<'_, Observed> {
        lock(&self.seen)
    }

    /// How many addresses Ports have.
    pub fn held(&self) -> usize {
        self.seen().ports.held()
    }

    /// For a thread of its own.
    pub fn share(&self) -> Arc<Mutex<Observed>> {
        self.seen.clone()
    }

    pub fn faults(&self) -> Vec<String> {
        let seen = self.seen();
        seen.faults.iter().chain(seen.ports.faults()).cloned().collect()
    }

    pub fn assert_good(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// What is observed, whoever failed while they had it.
pub fn lock(seen: &Mutex<Observed>) -> MutexGuard<'_, Observed> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observed {
    fn take(&mut self, kind: &'static str, event: watcher::Event<DynamicObject>) {
        self.events += 1;
        match event {
            watcher::Event::Init => drop(self.lists.insert(kind, Vec::new())),
            watcher::Event::InitApply(object) => self.lists.entry(kind).or_default().push(object),
            watcher::Event::InitDone => {
                let list = self.lists.remove(kind).unwrap_or_default();
                self.replace(kind, &list);
            }
            watcher::Event::Apply(object) => self.learn(kind, &object),
            watcher::Event::Delete(object) => self.forget(kind, &object),
        }
    }

    /// What a new list lacks is gone.
    fn replace(&mut self, kind: &str, list: &[DynamicObject]) {
        match kind {
            "Port" => self.ports.replace(list),
            "DHCPServer" => self.servers.slots.clear(),
            _ => self.held.clear(),
        }
        for object in list {
            self.learn(kind, object);
        }
    }

    fn learn(&mut self, kind: &str, object: &DynamicObject) {
        match kind {
            "Port" => self.ports.learn(object),
            "DHCPServer" => self.faults.extend(self.servers.learn(&object.name_any(), &object.data)),
            _ => self.allocation(object),
        }
    }

    fn allocation(&mut self, object: &DynamicObject) {
        self.forget("IPAllocation", object);
        let spec = &object.data["spec"];
        if let (None, Some(holder)) = (spec.get("released"), spec["holder"]["uid"].as_str()) {
            let held = self.held.entry(holder.to_owned()).or_default();
            held.push(object.name_any());
            self.most_held = self.most_held.max(held.len());
        }
    }

    fn forget(&mut self, kind: &str, object: &DynamicObject) {
        let name = object.name_any();
        match kind {
            "Port" => self.ports.forget(object),
            "DHCPServer" => self.servers.forget(&name, &object.data),
            _ => self.held.values_mut().for_each(|held| held.retain(|other| *other != name)),
        }
    }
}

impl Servers {
    fn learn(&mut self, name: &str, data: &Value) -> Option<String> {
        let (slot, node) = (slot(data), data["spec"]["nodeName"].as_str().unwrap().to_owned());
        if let Some(mac) = data.pointer("/status/device/macAddress").and_then(Value::as_str) {
            self.devices.insert(mac.to_owned(), (slot.0.clone(), node));
        }
        self.forget(name, data);
        let active = self.slots.entry(slot.clone()).or_default();
        if data["spec"]["state"] == "Active" {
            active.insert(name.to_owned());
        }
        (active.len() > 1 + usize::from(self.moving))
            .then(|| format!("slot {slot:?} is served by {active:?}"))
    }

    fn forget(&mut self, name: &str, data: &Value) {
        self.slots.entry(slot(data)).or_default().remove(name);
    }
}

fn slot(data: &Value) -> (String, u64) {
    let network = data["spec"]["networkRef"]["uid"].as_str().unwrap().to_owned();
    (network, data["spec"]["slot"].as_u64().unwrap())
}
