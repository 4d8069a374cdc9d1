use super::*;
use serde_json::{Value, json};

fn object(kind: Kind, name: &str, spec: &Value) -> Object {
    let value = json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind.as_str(),
        "metadata": {"name": name, "namespace": "a"}, "spec": spec,
    });
    Object::from_value(kind, &value).unwrap()
}

fn server(network: &str) -> Object {
    let spec = json!({"networkRef": {"name": network, "uid": "u"}, "nodeName": "n1", "slot": 0});
    object(Kind::DhcpServer, &format!("{network}.n1"), &spec)
}

fn network(name: &str) -> Object {
    object(Kind::Network, name, &json!({"physicalNetworkRef": {"name": "p"}}))
}

fn port(name: &str, network: &str) -> Object {
    object(Kind::Port, name, &json!({"networkRef": {"name": network}}))
}

fn networks() -> WatchKey {
    WatchKey::Networks("a".into())
}

fn subnets() -> WatchKey {
    WatchKey::Subnets("a".into())
}

fn ports(network: &str) -> WatchKey {
    WatchKey::Ports(PortsOf::Network(ObjectName::new("a", network)))
}

fn all_ports() -> WatchKey {
    WatchKey::Ports(PortsOf::Namespace("a".into()))
}

/// A mirror that takes lists for the watches it needs.
fn mirror(servers: Vec<Object>) -> Mirror {
    let mut mirror = Mirror::default();
    mirror.open(WatchKey::Servers);
    mirror.take(&WatchKey::Servers, News::Listed(servers, Vec::new(), Revision(1)));
    mirror
}

fn list(mirror: &mut Mirror, key: &WatchKey, objects: Vec<Object>) {
    mirror.open(key.clone());
    mirror.take(key, News::Listed(objects, Vec::new(), Revision(2)));
}

fn said(mirror: &mut Mirror) -> Vec<String> {
    let say = |event: &Event| match event {
        Event::Apply(object) => format!("+{}", object.key().name),
        Event::Delete(key) => format!("-{}", key.name),
        Event::PortsSeen(_, revision) => format!("@{revision}"),
    };
    mirror.news().iter().map(say).collect()
}

#[test]
fn a_server_needs_its_namespace_and_its_ports() {
    let mirror = mirror(vec![server("x"), server("y")]);
    let needed = [WatchKey::Servers, networks(), subnets(), ports("x"), ports("y")];
    assert_eq!(mirror.needed(), needed.into());
    assert!(!mirror.is_complete());
}

#[test]
fn above_sixteen_networks_one_watch_is_for_all_ports_of_the_namespace() {
    let many = |n: usize| (0..n).map(|i| server(&format!("x{i}"))).collect();
    assert_eq!(mirror(many(16)).needed().len(), 3 + 16);
    let needed = mirror(many(17)).needed();
    assert_eq!(needed, [WatchKey::Servers, networks(), subnets(), all_ports()].into());
}

#[test]
fn a_network_is_told_when_all_of_it_is_known() {
    let mut mirror = mirror(vec![server("x")]);
    list(&mut mirror, &networks(), vec![network("x")]);
    list(&mut mirror, &subnets(), vec![]);
    assert_eq!(said(&mut mirror), ["+x"]);
    list(&mut mirror, &ports("x"), vec![port("p", "x")]);
    assert!(mirror.is_complete());
    assert_eq!(said(&mut mirror), ["+p", "+x.n1", "@2"]);
    mirror.take(&ports("x"), News::Reached(Revision(9)));
    assert_eq!(said(&mut mirror), ["@9"]);
    assert!(said(&mut mirror).is_empty());
}

#[test]
fn what_a_new_list_lacks_is_gone_and_what_it_repeats_is_no_news() {
    let mut mirror = mirror(vec![server("x")]);
    list(&mut mirror, &networks(), vec![network("x")]);
    list(&mut mirror, &subnets(), vec![]);
    list(&mut mirror, &ports("x"), vec![port("p", "x"), port("q", "x")]);
    said(&mut mirror);
    list(&mut mirror, &ports("x"), vec![port("p", "x")]);
    assert_eq!(said(&mut mirror), ["-q", "@2"]);
}

#[test]
fn one_watch_takes_over_from_many_and_nothing_is_taken_back() {
    let mut mirror = mirror(vec![server("x")]);
    list(&mut mirror, &networks(), vec![network("x")]);
    list(&mut mirror, &subnets(), vec![]);
    list(&mut mirror, &ports("x"), vec![port("p", "x")]);
    said(&mut mirror);
    let many: Vec<_> = (0..16).map(|i| server(&format!("y{i}"))).chain([server("x")]).collect();
    mirror.take(&WatchKey::Servers, News::Listed(many, Vec::new(), Revision(3)));
    assert!(mirror.retire().is_empty(), "the new watch is not there yet");
    list(&mut mirror, &all_ports(), vec![port("p", "x")]);
    assert_eq!(mirror.retire(), [ports("x")]);
    let said = said(&mut mirror);
    assert!(said.iter().all(|event| !event.starts_with('-')), "{said:?}");
}

#[test]
fn what_was_told_from_a_copy_goes_when_the_api_server_does_not_know_it() {
    let mut mirror = Mirror::default();
    mirror.tell_first(vec![server("x"), network("x"), port("p", "x"), port("old", "x")]);
    assert!(said(&mut mirror).is_empty(), "nothing is known yet");
    mirror.open(WatchKey::Servers);
    mirror.take(&WatchKey::Servers, News::Listed(vec![server("x")], Vec::new(), Revision(1)));
    list(&mut mirror, &networks(), vec![network("x")]);
    list(&mut mirror, &subnets(), vec![]);
    list(&mut mirror, &ports("x"), vec![port("p", "x")]);
    assert_eq!(said(&mut mirror), ["-old", "@2"]);
}

#[test]
fn an_object_that_cannot_be_read_stays_as_it_was() {
    let mut mirror = mirror(vec![server("x")]);
    list(&mut mirror, &networks(), vec![network("x")]);
    list(&mut mirror, &subnets(), vec![]);
    list(&mut mirror, &ports("x"), vec![port("p", "x")]);
    said(&mut mirror);
    let key = port("p", "x").key();
    mirror.take(&ports("x"), News::Unreadable(key, "why".into()));
    assert!(said(&mut mirror).is_empty());
    assert_eq!(mirror.unreadable().count(), 1);
}

#[test]
fn when_the_last_server_of_a_namespace_goes_all_of_it_goes() {
    let mut mirror = mirror(vec![server("x")]);
    list(&mut mirror, &networks(), vec![network("x")]);
    list(&mut mirror, &subnets(), vec![]);
    list(&mut mirror, &ports("x"), vec![port("p", "x")]);
    said(&mut mirror);
    mirror.take(&WatchKey::Servers, News::Deleted(server("x").key(), Revision(5)));
    assert_eq!(mirror.retire().len(), 3);
    let mut said = said(&mut mirror);
    said.sort();
    assert_eq!(said, ["-p", "-x", "-x.n1"]);
}

#[test]
fn what_cannot_be_read_is_what_it_was_before_the_agent_was_started() {
    let old = port("p", "x");
    let mut mirror = mirror(vec![server("x")]);
    mirror.remember(&[old.clone(), port("gone", "x")]);
    list(&mut mirror, &networks(), vec![network("x")]);
    list(&mut mirror, &subnets(), vec![]);
    mirror.open(ports("x"));
    let unreadable = vec![(old.key(), "why".to_owned())];
    mirror.take(&ports("x"), News::Listed(vec![], unreadable, Revision(2)));
    let mut said = said(&mut mirror);
    said.sort();
    assert_eq!(said, ["+p", "+x", "+x.n1", "@2"]);
    // Of one that was deleted in between it says nothing.
    mirror.take(&ports("x"), News::Deleted(old.key(), Revision(3)));
    assert_eq!(self::said(&mut mirror), ["-p", "@3"]);
    mirror.take(&ports("x"), News::Unreadable(old.key(), "why".into()));
    mirror.take(&ports("x"), News::Listed(vec![], vec![(old.key(), "why".into())], Revision(4)));
    assert_eq!(self::said(&mut mirror), ["@4"]);
}

#[test]
fn what_cannot_be_read_in_a_new_list_stays_as_it_was() {
    let mut mirror = mirror(vec![server("x")]);
    for (key, objects) in
        [(networks(), vec![network("x")]), (subnets(), vec![]), (ports("x"), vec![port("p", "x")])]
    {
        list(&mut mirror, &key, objects);
    }
    assert!(mirror.is_complete());
    mirror.news();
    let key = port("p", "x").key();
    mirror.take(&ports("x"), News::Listed(Vec::new(), vec![(key, "why".into())], Revision(3)));
    assert_eq!(said(&mut mirror), ["@3"]);
    assert_eq!(mirror.unreadable().count(), 1);
    mirror.take(&ports("x"), News::Listed(Vec::new(), Vec::new(), Revision(4)));
    assert_eq!(said(&mut mirror), ["-p", "@4"]);
    assert_eq!(mirror.unreadable().count(), 0);
}
