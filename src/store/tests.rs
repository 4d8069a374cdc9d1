use super::*;
use serde_json::{Value, json};

fn object(kind: Kind, name: &str, spec: &Value) -> Event {
    let value = json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind.as_str(),
        "metadata": {"name": name, "namespace": "a"}, "spec": spec,
    });
    Event::Apply(Object::from_value(kind, &value).unwrap())
}

fn network(name: &str, physical: &str) -> Event {
    object(Kind::Network, name, &json!({"physicalNetworkRef": {"name": physical}}))
}

fn port(name: &str, network: &str) -> Event {
    object(Kind::Port, name, &json!({"networkRef": {"name": network}}))
}

fn delete(kind: Kind, name: &str) -> Event {
    Event::Delete(ObjectKey { kind, namespace: "a".into(), name: name.into() })
}

fn names(dirty: &Dirty) -> Vec<&str> {
    dirty.iter().map(|name| name.name.as_str()).collect()
}

#[test]
fn a_port_touches_its_network_only() {
    let mut store = Store::default();
    store.apply(vec![network("n", "p"), network("m", "q")]);
    assert_eq!(names(&store.apply(vec![port("x", "n")])), ["n"]);
    assert_eq!(names(&store.apply(vec![port("x", "m")])), ["m", "n"]);
    assert_eq!(names(&store.apply(vec![delete(Kind::Port, "x")])), ["m"]);
}

#[test]
fn a_segment_stays_with_its_first_network_and_then_goes_to_the_next() {
    let mut store = Store::default();
    store.apply(vec![network("z", "p")]);
    store.apply(vec![network("a", "p")]);
    let a = ObjectName::new("a", "a");
    assert_eq!(store.inputs(&a).unwrap().segment_holder, Some(ObjectName::new("a", "z")));
    let dirty = store.apply(vec![delete(Kind::Network, "z")]);
    assert_eq!(names(&dirty), ["a", "z"]);
    assert_eq!(store.inputs(&a).unwrap().segment_holder, None);
}

#[test]
fn who_may_not_have_a_segment_keeps_nobody_from_it() {
    let mut store = Store::default();
    let none = json!({"namespaces": {"from": "None"}});
    let granted = json!({"namespaces": {"from": "All"}, "untagged": "Allowed"});
    store.apply(vec![object(Kind::PhysicalNetwork, "p", &none), network("n", "p")]);
    assert!(store.segments().is_empty());
    let dirty = store.apply(vec![object(Kind::PhysicalNetwork, "p", &granted)]);
    assert_eq!((names(&dirty), store.segments().len()), (vec!["n"], 1));
    store.apply(vec![object(Kind::PhysicalNetwork, "p", &none)]);
    assert!(store.segments().is_empty());
}

#[test]
fn who_had_a_segment_before_a_restart_has_it_after() {
    let mut store = Store::with_segments([(("p".into(), None), ObjectName::new("a", "z"))].into());
    store.apply(vec![network("a", "p"), network("z", "p")]);
    assert!(store.inputs(&ObjectName::new("a", "z")).unwrap().segment_holder.is_none());
}

#[test]
fn a_storage_that_was_put_back_has_lower_numbers() {
    let mut store = Store::of_cluster();
    let name = ObjectName::new("a", "n");
    let seen = |of: PortsOf, revision| Event::PortsSeen(of, Revision(revision));
    let (own, all) = (PortsOf::Network(name.clone()), PortsOf::Namespace("a".into()));
    store.apply(vec![port("x", "n"), seen(own, 50)]);
    store.apply(vec![delete(Kind::Port, "x"), seen(all.clone(), 60)]);
    let at = |seen, removal| Some(PortsRevision { seen: Revision(seen), removal: Revision(removal) });
    assert_eq!(store.ports_revision(&name), at(60, 60));
    store.apply(vec![seen(all.clone(), 40)]);
    assert_eq!(store.ports_revision(&name), at(40, 40));
    store.apply(vec![seen(all, 45)]);
    assert_eq!(store.ports_revision(&name), at(45, 40));
}

#[test]
fn what_has_no_network_is_an_orphan() {
    let mut store = Store::default();
    store.apply(vec![port("x", "n")]);
    assert_eq!(store.orphans().1.len(), 1);
    store.apply(vec![network("n", "p")]);
    assert!(store.orphans().1.is_empty());
}

fn served_port(ready: &str, ip: &str) -> Event {
    let value = json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port", "metadata": {"name": "x", "namespace": "a"},
        "spec": {"networkRef": {"name": "n"}},
        "status": {"observedGeneration": 1, "addresses": [{"ip": ip, "subnetName": "s"}], "conditions": [{
            "type": "Ready", "status": ready, "reason": "Ready", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    Event::Apply(Object::from_value(Kind::Port, &value).unwrap())
}

#[test]
fn that_a_port_is_ready_gives_nothing_to_do() {
    let mut store = Store::of_cluster();
    assert_eq!(names(&store.apply(vec![served_port("False", "10.0.0.2")])), ["n"]);
    assert!(store.is_awaited(&ObjectName::new("a", "n")));
    assert!(store.apply(vec![served_port("True", "10.0.0.2")]).is_empty());
    assert!(!store.is_awaited(&ObjectName::new("a", "n")));
    assert_eq!(names(&store.apply(vec![served_port("False", "10.0.0.2")])), ["n"]);
    assert_eq!(names(&store.apply(vec![served_port("True", "10.0.0.3")])), ["n"]);
}

#[test]
fn what_is_said_of_a_server_gives_nothing_to_do() {
    let server = |slot: u8| {
        let spec = json!({"networkRef": {"name": "n", "uid": "u"}, "nodeName": "n1", "slot": slot,
            "state": "Active", "addresses": []});
        object(Kind::DhcpServer, "n.n1", &spec)
    };
    let mut store = Store::of_cluster();
    assert_eq!(names(&store.apply(vec![server(0)])), ["n"]);
    assert!(store.take_reported().is_empty());
    assert!(store.apply(vec![server(0)]).is_empty());
    assert_eq!(names(&store.take_reported()), ["n"]);
    assert_eq!(names(&store.apply(vec![server(1)])), ["n"]);
}
