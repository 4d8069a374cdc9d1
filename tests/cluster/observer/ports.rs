//! Ports as the API server tells of them: who has which address since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

/// Namespace and name, of a Port or a Network.
pub type Key = (String, String);

/// After a network was made again nothing is held against it for so long.
const LOOSE: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Default)]
pub struct Ports {
    by_uid: BTreeMap<String, Seen>,
    /// Whose status has an address of a network.
    holders: BTreeMap<(Key, String), String>,
    /// By network and MAC address: all addresses that it ever had.
    pub had: BTreeMap<(Key, String), BTreeSet<String>>,
    /// Ports that somebody is changing; once that is done, since which resource version it is.
    changing: BTreeMap<Key, Option<u64>>,
    /// The same for networks, and when it was done.
    rebuilt: BTreeMap<Key, Option<(u64, Instant)>>,
    faults: Vec<String>,
    /// Up to which resource version it has heard.
    revision: u64,
}

#[derive(Clone)]
struct Seen {
    key: Key,
    network: Key,
    mac: String,
    generation: i64,
    addresses: Vec<String>,
    /// Since when it has them for certain: nobody is changing it or its network.
    certain: Option<Instant>,
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    pub port: Key,
    pub uid: String,
    pub mac: String,
    pub since: Instant,
}

impl Ports {
    /// How many addresses are held.
    pub fn held(&self) -> usize {
        self.holders.len()
    }

    /// Up to which resource version of a Port all is known.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Who has an address of a network, if that is certain.
    pub fn holder(&self, network: &Key, ip: &str) -> Option<Holder> {
        let uid = self.holders.get(&(network.clone(), ip.to_owned()))?;
        let seen = self.by_uid.get(uid)?;
        let since = seen.certain?;
        Some(Holder { port: seen.key.clone(), uid: uid.clone(), mac: seen.mac.clone(), since })
    }

    /// Somebody is about to change or delete a Port.
    pub fn change(&mut self, port: &Key) {
        self.changing.insert(port.clone(), None);
        self.by_uid.values_mut().filter(|seen| seen.key == *port).for_each(|seen| seen.certain = None);
    }

    /// They have, and this is its resource version.
    pub fn changed(&mut self, port: &Key, revision: u64) {
        self.changing.insert(port.clone(), Some(revision));
    }

    /// Somebody is about to take away what a network's addresses come from.
    pub fn rebuild(&mut self, network: &Key) {
        self.rebuilt.insert(network.clone(), None);
        self.by_uid.values_mut().filter(|seen| seen.network == *network).for_each(|seen| seen.certain = None);
    }

    /// All of it is there again, the last of it with this resource version.
    pub fn rebuilt(&mut self, network: &Key, revision: u64) {
        self.rebuilt.insert(network.clone(), Some((revision, Instant::now())));
    }

    /// All is as the API server says: everybody has what they have for certain.
    pub fn settled(&mut self) {
        self.changing.clear();
        self.rebuilt.clear();
        let now = Instant::now();
        self.by_uid.values_mut().for_each(|seen| seen.certain = seen.certain.or(Some(now)));
    }

    pub(super) fn replace(&mut self, list: &[DynamicObject]) {
        let there: BTreeSet<_> = list.iter().filter_map(ResourceExt::uid).collect();
        self.by_uid.retain(|uid, _| there.contains(uid));
        self.holders.clear();
    }

    pub(super) fn learn(&mut self, object: &DynamicObject) {
        let (uid, mut seen) = (object.uid().unwrap(), read(object));
        let revision: u64 = object.resource_version().unwrap().parse().unwrap();
        self.revision = self.revision.max(revision);
        let before = self.by_uid.get(&uid).cloned();
        let is_firm = self.is_firm(&seen, revision, object);
        if let Some(before) = &before {
            self.compare(before, &seen, is_firm);
        }
        let same = before.filter(|old| old.addresses == seen.addresses && old.mac == seen.mac);
        seen.certain = is_firm.then(|| same.and_then(|old| old.certain).unwrap_or_else(Instant::now));
        self.holders.retain(|_, holder| *holder != uid);
        for ip in &seen.addresses {
            let network_mac = (seen.network.clone(), seen.mac.clone());
            self.had.entry(network_mac).or_default().insert(ip.clone());
            let slot = (seen.network.clone(), ip.clone());
            if let Some(other) = self.holders.insert(slot, uid.clone())
                && let Some(other) = self.by_uid.get(&other)
            {
                self.faults.push(format!("{ip} is Port {:?}'s, and {:?}'s as well", seen.key, other.key));
            }
        }
        self.by_uid.insert(uid, seen);
    }

    /// Whether what this says is the outcome of no change that is under way.
    fn is_firm(&mut self, seen: &Seen, revision: u64, object: &DynamicObject) -> bool {
        if self.changing.get(&seen.key).is_some_and(|since| since.is_some_and(|since| revision >= since)) {
            self.changing.remove(&seen.key);
        }
        let ready = crate::site::condition(&object.data, "Ready", "status") == "True";
        let rebuilt = self.rebuilt.get(&seen.network).is_none_or(|rebuilt| {
            rebuilt.is_some_and(|(since, when)| ready && revision > since && when.elapsed() > LOOSE)
        });
        rebuilt && !self.changing.contains_key(&seen.key)
    }

    fn compare(&mut self, before: &Seen, now: &Seen, is_firm: bool) {
        let moved = !before.addresses.is_empty() && before.addresses != now.addresses;
        let untouched = before.certain.is_some() && is_firm && before.generation == now.generation;
        if moved && untouched {
            let (had, has) = (&before.addresses, &now.addresses);
            self.faults.push(format!("Port {:?} had {had:?} and now has {has:?}", now.key));
        }
    }

    pub(super) fn forget(&mut self, object: &DynamicObject) {
        let uid = object.uid().unwrap();
        self.by_uid.remove(&uid);
        self.holders.retain(|_, holder| *holder != uid);
    }
}

fn read(object: &DynamicObject) -> Seen {
    let (namespace, spec) = (object.namespace().unwrap(), &object.data["spec"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Seen {
        key: (namespace.clone(), object.name_any()),
        network: (namespace, text(&spec["networkRef"]["name"])),
        mac: text(&spec["macAddress"]),
        generation: object.metadata.generation.unwrap_or_default(),
        addresses: addresses(&object.data),
        certain: None,
    }
}

/// What a Port's status has.
pub fn addresses(port: &Value) -> Vec<String> {
    let addresses = port.pointer("/status/addresses").and_then(Value::as_array);
    let ip = |address: &Value| address["ip"].as_str().unwrap().to_owned();
    addresses.into_iter().flatten().map(ip).collect()
}

/// What is looked for is found.
mod tests {
    use super::*;
    use serde_json::json;

    fn port(name: &str, uid: &str, generation: i64, revision: u64, ip: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port",
            "metadata": {"name": name, "namespace": "a", "uid": uid, "generation": generation,
                "resourceVersion": revision.to_string()},
            "spec": {"networkRef": {"name": "x"}, "macAddress": format!("02:{uid}")},
            "status": {"addresses": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap()
    }

    fn key(name: &str) -> Key {
        ("a".into(), name.into())
    }

    #[test]
    fn an_address_moves_only_when_somebody_changes_the_port() {
        let mut ports = Ports::default();
        ports.learn(&port("p", "1", 1, 1, "10.0.0.1"));
        ports.learn(&port("p", "1", 2, 2, "10.0.0.2"));
        ports.change(&key("p"));
        ports.learn(&port("p", "1", 2, 3, "10.0.0.3"));
        ports.changed(&key("p"), 5);
        ports.learn(&port("p", "1", 2, 4, "10.0.0.4"));
        assert_eq!(ports.holder(&key("x"), "10.0.0.4"), None);
        ports.learn(&port("p", "1", 2, 5, "10.0.0.5"));
        assert_eq!((ports.faults().len(), ports.holder(&key("x"), "10.0.0.5").unwrap().port), (0, key("p")));
        ports.learn(&port("p", "1", 2, 6, "10.0.0.6"));
        assert_eq!(ports.faults().len(), 1);
    }

    #[test]
    fn two_have_one_address_but_not_when_it_only_looks_so() {
        let mut ports = Ports::default();
        ports.learn(&port("p", "1", 1, 1, "10.0.0.1"));
        let list = [port("q", "2", 1, 4, "10.0.0.1"), port("p", "1", 2, 3, "10.0.0.2")];
        ports.replace(&list);
        for object in &list {
            ports.learn(object);
        }
        ports.forget(&list[0]);
        ports.learn(&port("r", "3", 1, 5, "10.0.0.1"));
        assert_eq!(ports.faults().len(), 0, "{:?}", ports.faults());
        ports.learn(&port("q", "4", 1, 6, "10.0.0.1"));
        assert_eq!(ports.faults().len(), 1);
    }

    #[test]
    fn nothing_is_held_against_a_network_that_is_made_again() {
        let mut ports = Ports::default();
        ports.learn(&port("p", "1", 1, 1, "10.0.0.1"));
        ports.rebuild(&key("x"));
        ports.learn(&port("p", "1", 1, 2, "10.0.0.2"));
        ports.rebuilt(&key("x"), 3);
        ports.learn(&port("p", "1", 1, 4, "10.0.0.3"));
        assert_eq!((ports.faults().len(), ports.holder(&key("x"), "10.0.0.3")), (0, None));
        ports.settled();
        assert!(ports.holder(&key("x"), "10.0.0.3").is_some());
        ports.learn(&port("p", "1", 1, 5, "10.0.0.4"));
        assert_eq!(ports.faults().len(), 1);
    }
}
