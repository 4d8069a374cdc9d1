//! A worker on a node in memory.

use serde_json::json;

use super::super::context::Config;
use super::*;
use crate::desired::NodeConfig;
use crate::dnsmasq::{self, Limit, Limits};
use crate::host::DryRun;
use crate::metrics::Metrics;
use crate::node::Action;
use crate::source::{Event, Kind, Object};

const UID: &str = "3f0c9a1b-0000-4000-8000-000000000001";

fn context(state: &std::path::Path) -> Arc<Context<DryRun>> {
    context_with(state, 1)
}

/// Of a network with so many ports; from four on it is a large one.
fn context_with(state: &std::path::Path, ports: u8) -> Arc<Context<DryRun>> {
    let attachments = [("p".to_owned(), "bridge:br0".parse().unwrap())].into();
    let limits = Limits { four: Limit { alone: 3, share: 3 }, ..Limits::default() };
    let node = NodeConfig { attachments, state: state.to_owned(), limits, ..NodeConfig::default() };
    let config = Config {
        node,
        node_name: "n1".into(),
        resync: Duration::from_secs(60),
        max_networks: 1,
        resolv_conf: state.join("resolv.conf"),
        cluster: None,
        proxy: None,
    };
    let context = Context::new(DryRun::default(), config, Metrics::default()).unwrap();
    let network = json!({
        "apiVersion": crate::api::API_VERSION, "kind": "Network",
        "metadata": {"name": "x", "namespace": "a", "uid": UID, "generation": 1},
        "spec": {"physicalNetworkRef": {"name": "p"}},
    });
    let subnet = json!({
        "apiVersion": crate::api::API_VERSION, "kind": "Subnet",
        "metadata": {"name": "s", "namespace": "a", "uid": UID, "generation": 1},
        "spec": {"networkRef": {"name": "x"}, "cidr": "10.0.0.0/24"},
    });
    let all = [(Kind::Network, network), (Kind::Subnet, subnet)];
    let all = all.map(|(kind, object)| Event::Apply(Object::from_value(kind, &object).unwrap()));
    context.store().apply(all.into());
    (1..=ports).for_each(|n| come(&context, n));
    Arc::new(context)
}

fn come(context: &Context<DryRun>, n: u8) {
    let port = json!({
        "apiVersion": crate::api::API_VERSION, "kind": "Port",
        "metadata": {"name": format!("p{n}"), "namespace": "a", "uid": UID, "generation": 1},
        "spec": {"networkRef": {"name": "x"}, "macAddress": format!("02:00:00:00:00:{n:02x}")},
    });
    context.store().apply(vec![Event::Apply(Object::from_value(Kind::Port, &port).unwrap())]);
}

fn passes(metrics: &Metrics) -> u64 {
    let (text, name) = (metrics.text(), "kube_dhcp_agent_pass_duration_seconds_count ");
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn passes_that_say_nothing_yet_are_counted() {
    const PASSES: u64 = 100;
    let directory = tempfile::tempdir().unwrap();
    let (context, signal) = (context(directory.path()), Arc::new(Signal::default()));
    let (name, cancel) = (Some(ObjectName::new("a", "x")), CancellationToken::new());
    let mut worker = Worker::new(context.clone(), UID.parse().unwrap(), name, signal.clone(), cancel.clone());
    worker.spoke = Some((Instant::now(), REPORT_AT_LATEST));
    // There is always a change to make first.
    let changes = cancel.clone();
    let changing = std::thread::spawn(move || {
        while !changes.is_cancelled() {
            signal.change();
        }
    });
    for _ in 0..PASSES {
        worker.counted(None).await;
    }
    cancel.cancel();
    changing.join().unwrap();
    assert_eq!(passes(&context.metrics), PASSES);
}

#[tokio::test]
async fn names_of_a_large_network_are_told_while_its_guests_are_served() {
    use crate::node::{Family, Segment};
    let (server, share) = (dnsmasq::Server::default(), dnsmasq::Share::new(Family::V4, 1).unwrap());
    let small = Segment { server: Some(server.clone()), ..Segment::default() };
    let large = Segment { shares: [(share, server)].into(), ..small.clone() };
    let names = [([10, 0, 0, 1].into(), vec!["vm1".parse().unwrap()])];
    let names = || Action::Server(dnsmasq::Action::WriteNames(names.clone().into()));
    let guest = || Action::Share(share, dnsmasq::Action::AddHosts(Vec::new()));
    let mut naming = Naming::default();
    let mut deferred = |segment: &Segment, mut actions: Vec<Action>| {
        let deferred = naming.defer(segment, &mut actions);
        (deferred.is_some(), actions.len())
    };
    assert_eq!(deferred(&large, vec![guest(), names()]), (true, 1));
    assert_eq!(deferred(&small, vec![names()]), (false, 1), "they are read at once");
    assert_eq!(deferred(&large, vec![Action::Server(dnsmasq::Action::Stop), names()]), (false, 2));
    assert_eq!(deferred(&large, vec![guest()]), (false, 1));

    let directory = tempfile::tempdir().unwrap();
    let (context, mut segment) = (context(directory.path()), Some(large));
    for comes_another in [true, false] {
        naming.look_at(None);
        naming.begin(&context, UID.parse().unwrap(), "a/x".into(), names());
        assert!(naming.is_under_way());
        if comes_another {
            naming.look_at(None);
        }
        naming.finish(&mut segment).await;
        assert!(!naming.is_under_way());
        assert_eq!(naming.is_done(), !comes_another, "another pass may want other names");
    }
    assert_eq!(segment.unwrap().server.unwrap().names.len(), 1, "it is known that they were told");
}

#[tokio::test]
async fn a_report_waits_for_changes_but_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (context, signal) = (context(directory.path()), Arc::new(Signal::default()));
    let name = Some(ObjectName::new("a", "x"));
    let mut worker =
        Worker::new(context, UID.parse().unwrap(), name, signal.clone(), CancellationToken::new());
    let now = Instant::now();
    worker.spoke = Some((now, Duration::ZERO));
    for (since, is_late) in [(now, false), (now.checked_sub(REPORT_AT_LATEST).unwrap(), true)] {
        worker.unsaid_since = Some(since);
        let passed = worker.reconcile().await;
        signal.change();
        worker.speak(passed).await;
        assert_eq!((worker.said.last().is_some(), worker.unsaid_since.is_none()), (is_late, is_late));
    }
}

#[tokio::test]
async fn who_comes_to_a_large_network_interrupts_that_it_is_gone_through_but_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (context, signal) = (context_with(directory.path(), 5), Arc::new(Signal::default()));
    let (name, cancel) = (ObjectName::new("a", "x"), CancellationToken::new());
    let uid = UID.parse().unwrap();
    let mut worker = Worker::new(context.clone(), uid, Some(name.clone()), signal.clone(), cancel);
    let ports = |passed: Passed| passed.desired.ports.len();
    signal.observe();
    assert_eq!(ports(worker.reconcile().await), 5);
    assert!(worker.known.is_some(), "it is large, and as it shall be");

    come(&context, 6);
    let inputs = Arc::new(context.inputs(&name, uid).unwrap());
    worker.receive(&inputs).await;
    assert!(worker.known.is_some(), "it is known with who came");
    let now = Instant::now();
    let cases = [
        (now, false, false),
        // For others than those who change objects it goes on.
        (now, true, true),
        (now.checked_sub(REPORT_AT_LATEST).unwrap(), false, true),
    ];
    for (since, is_urgent, goes_on) in cases {
        signal.change();
        (worker.unsaid_since, worker.is_urgent) = (Some(since), is_urgent);
        let decided = worker.decide(Some(&inputs)).await;
        let decided = decided.map(|(desired, kept)| (desired.ports.len(), kept));
        assert_eq!(decided, goes_on.then_some((6, Ok(()))));
    }

    (worker.unsaid_since, worker.is_urgent) = (None, false);
    come(&context, 7);
    assert_eq!(ports(worker.reconcile().await), 7);
    assert!(worker.known.is_some());
    signal.observe();
    worker.receive(&inputs).await;
    assert!(worker.known.is_none(), "something may have happened on the node");
    assert!(worker.decide(Some(&inputs)).await.is_some(), "it cannot wait");
    worker.cancel.cancel();
    assert!(worker.reconcile().await.inputs.is_some(), "the agent ends");
}
