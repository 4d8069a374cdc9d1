//! What watchers see of Ports, allocations and servers, and what of it must never be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;

use crate::site::Site;

/// Sees every change of Ports, `IPAllocation`s and `DHCPServer`s, as the API server tells it.
pub struct Observer {
    seen: Arc<Mutex<Observed>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Debug, Default)]
pub struct Observed {
    /// By address, whose status has it.
    addresses: BTreeMap<String, String>,
    /// By Port's UID, what its status has.
    ports: BTreeMap<String, Vec<String>>,
    /// By network's UID and slot, the active servers.
    slots: BTreeMap<(String, u64), Vec<String>>,
    /// By holder's UID, the allocations that it has.
    held: BTreeMap<String, Vec<String>>,
    pub events: usize,
    /// The most allocations that one Port had at a time.
    pub most_held: usize,
    faults: Vec<String>,
}

impl Observer {
    pub fn start(site: &Site) -> Self {
        let seen = Arc::<Mutex<Observed>>::default();
        let tasks = ["Port", "IPAllocation", "DHCPServer"].map(|kind| {
            let (api, seen) = (site.api(kind), seen.clone());
            tokio::spawn(async move {
                let events = watcher(api, watcher::Config::default()).default_backoff();
                let take = async |event| {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).take(kind, event);
                    Ok(())
                };
                events.try_for_each(take).await.unwrap();
            })
        });
        Self { seen, tasks: tasks.into() }
    }

    pub fn seen(&self) -> MutexGuard<'_, Observed> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many addresses Ports have.
    pub fn held(&self) -> usize {
        self.seen().addresses.len()
    }

    pub fn assert_good(&self) {
        let seen = self.seen();
        assert!(seen.faults.is_empty(), "{:#?}", seen.faults);
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Observed {
    fn take(&mut self, kind: &str, event: watcher::Event<DynamicObject>) {
        self.events += 1;
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                self.forget(kind, &object, false);
                self.learn(kind, &object);
            }
            watcher::Event::Delete(object) => self.forget(kind, &object, true),
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn learn(&mut self, kind: &str, object: &DynamicObject) {
        let (uid, name, data) = (object.uid().unwrap(), object.name_any(), &object.data);
        match kind {
            "Port" => self.port(&uid, &name, addresses(data)),
            "DHCPServer" if data["spec"]["state"] == "Active" => {
                let network = data["spec"]["networkRef"]["uid"].as_str().unwrap().to_owned();
                let slot = (network, data["spec"]["slot"].as_u64().unwrap());
                let active = self.slots.entry(slot.clone()).or_default();
                active.push(name);
                if active.len() > 1 {
                    self.faults.push(format!("slot {slot:?} is served by {active:?}"));
                }
            }
            "IPAllocation" if data["spec"].get("released").is_none() => {
                if let Some(holder) = data["spec"]["holder"]["uid"].as_str() {
                    let held = self.held.entry(holder.to_owned()).or_default();
                    held.push(name);
                    self.most_held = self.most_held.max(held.len());
                }
            }
            _ => {}
        }
    }

    fn port(&mut self, uid: &str, name: &str, has: Vec<String>) {
        let before = self.ports.insert(uid.to_owned(), has.clone()).unwrap_or_default();
        if !before.is_empty() && before != has {
            self.faults.push(format!("Port {name} had {before:?} and now has {has:?}"));
        }
        for ip in has {
            if let Some(other) = self.addresses.insert(ip.clone(), uid.to_owned())
                && other != uid
            {
                self.faults.push(format!("{ip} is Port {name}'s, and {other}'s as well"));
            }
        }
    }

    fn forget(&mut self, kind: &str, object: &DynamicObject, gone: bool) {
        let (uid, name) = (object.uid().unwrap(), object.name_any());
        match kind {
            "Port" => {
                self.addresses.retain(|_, holder| *holder != uid);
                if gone {
                    self.ports.remove(&uid);
                }
            }
            "DHCPServer" => self.slots.values_mut().for_each(|active| active.retain(|other| *other != name)),
            _ => self.held.values_mut().for_each(|held| held.retain(|other| *other != name)),
        }
    }
}

pub fn addresses(port: &Value) -> Vec<String> {
    let addresses = port.pointer("/status/addresses").and_then(Value::as_array);
    let ip = |address: &Value| address["ip"].as_str().unwrap().to_owned();
    addresses.into_iter().flatten().map(ip).collect()
}
