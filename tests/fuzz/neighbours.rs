//! Two tenants in one store: what one writes is not in the other's network, nor takes its segment.

use std::collections::BTreeMap;

use kube_dhcp::desired::Inputs;
use kube_dhcp::source::{Event, Object};
use kube_dhcp::store::Store;
use kube_dhcp::types::ObjectName;
use serde_json::{Value, json};

use crate::scene::Scene;

/// The objects of a bystander in a store, and what it knows of its network.
fn store(bystander: &Scene) -> (Store, Inputs) {
    let mut store = Store::with_segments(BTreeMap::new());
    let all =
        [&bystander.network].into_iter().chain(bystander.subnets.values()).chain(bystander.ports.values());
    store.apply(all.map(|subject| Event::Apply(subject.object.clone())).collect());
    let inputs = store.inputs(&lan()).unwrap();
    (store, inputs)
}

fn lan() -> ObjectName {
    ObjectName::new("team-a", "lan")
}

/// The same object as another tenant's, whose name comes first.
fn moved(value: &Value) -> Option<Object> {
    let mut value = value.clone();
    value["metadata"] = json!({"name": "a", "namespace": "a", "uid": "9f0c9a1b-0000-4000-8000-000000000009"});
    let kind = kube_dhcp::source::Kind::from_name(value["kind"].as_str()?)?;
    Object::from_value(kind, &value).ok()
}

/// Applies each of them, and takes it away again.
pub fn unharmed(bystander: &Scene, values: &[&Value]) -> Result<(), String> {
    let (mut store, was) = store(bystander);
    let segments = store.segments().clone();
    for value in values {
        let Some(object) = moved(value) else { continue };
        let key = object.key();
        let touched = store.apply(vec![Event::Apply(object)]);
        let is = store.inputs(&lan()).ok_or("the network is gone")?;
        let kept = segments.iter().all(|(segment, holder)| store.segments().get(segment) == Some(holder));
        let same = is.network == was.network && is.subnets == was.subnets && is.ports == was.ports;
        if !kept || !same || is.segment_holder.is_some() || touched.contains(&lan()) {
            return Err(format!("another tenant's network is touched by {value}"));
        }
        store.apply(vec![Event::Delete(key)]);
    }
    Ok(())
}
