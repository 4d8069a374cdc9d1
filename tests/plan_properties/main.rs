//! The pure core as a whole: whatever is there and however far a plan came, the next one finishes it
//! and the one after is empty; and no text of a user's becomes more than one value in what is rendered.

#![allow(unreachable_pub, reason = "the modules are a library to this one")]
#![allow(clippy::unwrap_used, reason = "a broken test must fail loudly")]

mod arrivals;
mod damage;
mod six;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use kube_dhcp::allocate::Ledger;
use kube_dhcp::dnsmasq;
use kube_dhcp::node::{Action, Family, Segment};
use kube_dhcp::plan::plan;
use kube_dhcp::types::MacAddr;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use damage::{Damage, damage, suffer};
use six::{Six, six};
use world::{World, wanted, world, world_beside};

/// On the way to a world: whether restarts are allowed, how far the plan comes, what happens then.
type Step = ((World, Six), bool, Index, Vec<Damage>);

fn step() -> impl Strategy<Value = Step> {
    ((world(), six()), any::<bool>(), any::<Index>(), prop::collection::vec(damage(), 0..3))
}

/// What shall be there, where it is so.
fn segment((world, six): &(World, Six), ledger: &mut Ledger, is: &Segment) -> Option<Segment> {
    let mut desired = wanted(world, ledger);
    desired.share_out(is);
    desired.segment.map(|segment| six.add_to(segment))
}

/// Where a node is after all this.
fn after(steps: &[Step], ledger: &mut Ledger) -> Segment {
    let mut is = Segment::default();
    for (world, may_restart, cut, damages) in steps {
        let actions = plan(segment(world, ledger, &is).as_ref(), &is, *may_restart).actions;
        actions.iter().take(cut.index(actions.len() + 1)).for_each(|action| is.record(action));
        for damage in damages {
            suffer(&mut is, *damage);
        }
    }
    is
}

/// One whole pass.
fn pass(wanted: Option<&Segment>, segment: &mut Segment) {
    let plan = plan(wanted, segment, true);
    assert!(!plan.postponed);
    plan.actions.iter().for_each(|action| segment.record(action));
}

/// What no comparison of states shows: a process hears nothing through a device that was made after it,
/// and one that still runs would answer from a network that is half gone.
fn assert_in_order(actions: &[Action], wanted: Option<&Segment>) {
    let at = |kind: &str| actions.iter().position(|action| action.kind() == kind);
    let in_order = |first: &str, then: &str| at(first).zip(at(then)).is_none_or(|(a, b)| a < b);
    let servers: BTreeSet<_> = actions.iter().filter_map(|action| Some(action.of_server()?.0)).collect();
    for server in servers {
        let own = actions.iter().filter_map(Action::of_server).filter(|(of, _)| *of == server);
        let own: Vec<_> = own.map(|(_, action)| action.kind()).collect();
        let at = |kind: &str| own.iter().position(|own| *own == kind);
        let in_order = |first: &str, then: &str| at(first).zip(at(then)).is_none_or(|(a, b)| a < b);
        assert!(
            in_order("add-options", "add-hosts") && in_order("add-hosts", "release-lease"),
            "{actions:?}"
        );
        assert!(in_order("prepare-dnsmasq", "start-dnsmasq"), "{actions:?}");
    }
    // A guest is directed to who knows it, and away before that one ends.
    assert!(in_order("direct-nobody", "remove-files"), "{actions:?}");
    if let Some(device) = at("create-device") {
        assert!(at("start-dnsmasq").is_some_and(|start| device < start), "{actions:?}");
    }
    if at("create-namespace").is_none() && at("create-device").is_none() {
        assert!(in_order("stop-dnsmasq", "delete-device"), "{actions:?}");
        assert!(in_order("stop-dnsmasq", "delete-namespace"), "{actions:?}");
    }
    // Its sockets keep a namespace, and it comes after what all guests wait for.
    assert!(
        in_order("stop-metadata", "delete-namespace") && in_order("add-hosts", "serve-metadata"),
        "{actions:?}"
    );
    assert!(in_order("start-dnsmasq", "serve-metadata"), "{actions:?}");
    // Nobody who is not known is ever heard, and nobody who is hears nothing.
    let servers = ["prepare-dnsmasq", "start-dnsmasq", "add-hosts", "release-lease"];
    for server in servers {
        assert!(in_order("change-neighbours", server), "{actions:?}");
    }
    let is_led = |mac: &MacAddr| {
        wanted.is_some_and(|w| w.directed(Family::V6).is_some_and(|led| led.contains_key(mac)))
    };
    for (at, action) in actions.iter().enumerate() {
        let Action::AdmitToDhcpv6 { whole, add, remove } = action else { continue };
        if *whole || !remove.is_empty() || !add.iter().all(is_led) {
            assert!(actions[..at].iter().all(|before| !servers.contains(&before.kind())), "{actions:?}");
            continue;
        }
        // By the one server, who would look for them, they are not heard either.
        let leads = |then: &Action| matches!(then, Action::Direct { family: Family::V6, .. });
        assert!(!actions[at..].iter().any(leads), "{actions:?}");
    }
}

fn assert_reached(wanted: Option<&Segment>, is: &Segment) {
    let left = plan(wanted, is, true);
    assert!(left.actions.is_empty() && !left.postponed, "left to do: {left:?}");
    let Some(wanted) = wanted else {
        assert!(is.is_absent(), "{is:?}");
        return;
    };
    assert_eq!((&is.namespace, &is.device), (&wanted.namespace, &wanted.device));
    assert_eq!(is.rooms, wanted.rooms);
    assert_eq!(is.metadata, wanted.metadata);
    if let Some(bridge) = &wanted.bridge {
        assert_eq!(is.bridge.as_ref().map(|is| (&is.name, is.vlan)), Some((&bridge.name, bridge.vlan)));
    }
    assert!(is.server.is_some() && is.shares.keys().eq(wanted.shares.keys()), "{:?}", is.shares.keys());
    for (share, wanted) in wanted.servers() {
        assert_served(is.server_of(share).unwrap(), wanted);
    }
}

fn assert_served(is: &dnsmasq::Server, wanted: &dnsmasq::Server) {
    assert_eq!(
        (&is.process, &is.hosts.entries, &is.names),
        (&wanted.process, &wanted.hosts.entries, &wanted.names)
    );
    // In each protocol by itself.
    let of = |key: &dnsmasq::OptionKey| (key.code.family(), key.tag.clone());
    let hosts = wanted.hosts.entries.iter().map(|((_, family), host)| (*family, host.tag.clone()));
    let tags: BTreeSet<_> = hosts.chain(wanted.options.values.keys().map(of)).collect();
    let in_use = is.options.values.iter().filter(|(key, _)| tags.contains(&of(key)));
    assert_eq!(in_use.collect::<BTreeMap<_, _>>(), wanted.options.values.iter().collect());
    assert!(!is.hosts.foreign && !is.options.foreign);
    assert_eq!(is.stale_leases(&is.hosts).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_plan_that_was_cut_anywhere_is_finished_by_the_next(
        steps in prop::collection::vec(step(), 0..4),
        last in (world(), six()),
        may_restart: bool,
    ) {
        let mut ledger = Ledger::default();
        let before = after(&steps, &mut ledger);
        let first = segment(&last, &mut ledger, &before);
        let actions = plan(first.as_ref(), &before, may_restart).actions;
        assert_in_order(&actions, first.as_ref());
        for cut in 0..=actions.len() {
            let mut is = before.clone();
            actions[..cut].iter().for_each(|action| is.record(action));
            // Who is in no share that is there may come into another one.
            let wanted = segment(&last, &mut ledger.clone(), &is);
            pass(wanted.as_ref(), &mut is);
            assert_reached(wanted.as_ref(), &is);
        }
    }

    #[test]
    fn without_a_restart_no_server_is_stopped_and_what_is_left_is_told(
        steps in prop::collection::vec(step(), 0..3),
        last in (world(), six()),
        six in six(),
    ) {
        let mut ledger = Ledger::default();
        let mut is = after(&steps, &mut ledger);
        let before = segment(&last, &mut ledger, &is);
        pass(before.as_ref(), &mut is);
        let wanted = segment(&(world_beside(&last.0), six), &mut ledger, &is);
        let first = plan(wanted.as_ref(), &is, false);
        let stops = first.actions.contains(&Action::Server(dnsmasq::Action::Stop));
        prop_assert!(wanted.is_none() || !stops, "{first:?}");
        first.actions.iter().for_each(|action| is.record(action));
        let second = plan(wanted.as_ref(), &is, false);
        prop_assert!(second.actions.is_empty(), "{second:?}");
        prop_assert_eq!(second.postponed, first.postponed);
        if first.postponed {
            pass(wanted.as_ref(), &mut is);
        }
        assert_reached(wanted.as_ref(), &is);
    }

    #[test]
    fn a_text_is_never_more_than_one_value(texts in prop::collection::vec(text(), 6), code: u8) {
        let own = json!({"physicalNetworkRef": {"name": "lan"}, "dns": {"domain": texts[0]}});
        assert_rendered(&own, &texts, code);
        assert_rendered(&json!({"physicalNetworkRef": {"name": "lan"}}), &texts, code);
    }
}

/// Any text, often one with what files and command lines are made of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-c\n\r\0,;:#\"'\\\\ =.-]{0,12}", "[a-z][a-z0-9-]{0,5}"]
}

/// As a source that checks nothing would hand them over.
fn assert_rendered(network: &Value, texts: &[String], code: u8) {
    let options = json!([
        {"code": code, "values": [texts[1]], "family": "IPv4"},
        {"code": code, "values": [texts[1]], "family": "IPv6"},
    ]);
    let net = json!({"name": "n"});
    let subnets = BTreeMap::from([
        (0, json!({"networkRef": net, "cidr": "10.0.0.0/24"})),
        (1, json!({"networkRef": net, "cidr": "2001:db8::/64", "ipv6": {"addressMode": "DHCPv6Stateful"}})),
    ]);
    let named = |more: Value| {
        let mut spec = json!({"networkRef": {"name": "n"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let ports = BTreeMap::from([
        (0, named(json!({"macAddress": "02:00:00:00:00:01", "hostname": texts[2]}))),
        (
            1,
            named(
                json!({"macAddress": "02:00:00:00:00:02", "dnsNames": [texts[3], format!("a.{}", texts[0])]}),
            ),
        ),
        (2, named(json!({"macAddress": "02:00:00:00:00:03", "options": options}))),
        (3, named(json!({"macAddress": texts[4]}))),
        (4, named(json!({"macAddress": "02:00:00:00:00:04", "addresses": [{"ip": texts[5]}]}))),
        (5, named(json!({"macAddress": "02:00:00:00:00:05"}))),
    ]);
    let desired = wanted(&Some((network.clone(), subnets, ports)), &mut Ledger::default());
    // A Network with a domain that is none is not served at all.
    let Some(server) = desired.segment.and_then(|segment| segment.server) else { return };
    let hosts: Vec<_> = server.hosts.entries.iter().collect();
    let changes: Vec<_> = hosts
        .iter()
        .map(|(client, host)| dnsmasq::HostChange::Set((*client).clone(), (*host).clone()))
        .collect();
    assert_lines(&dnsmasq::hosts_text(&changes), hosts.len(), |line| line.split(',').count() == 5);
    let values = &server.options.values;
    assert_lines(&dnsmasq::options_text(values), values.len(), |line| line.starts_with("tag:"));
    let count = server.names.values().map(Vec::len).sum();
    let lines: String = dnsmasq::name_files(&server.names, &BTreeMap::new()).into_values().collect();
    assert_lines(&lines, count, |line| line.split(' ').count() == 2);
    let argv = server.process.unwrap().argv;
    assert!(
        argv.iter().skip(1).all(|arg| arg.starts_with("--") && !arg.contains(char::is_control)),
        "{argv:?}"
    );
    let of_domain = network["dns"]["domain"].is_string();
    assert_eq!(argv.iter().filter(|arg| arg.starts_with("--domain=")).count(), usize::from(of_domain));
    assert!(!server.hosts.entries.is_empty(), "the port without any text of a user's is always there");
}

fn assert_lines(text: &str, count: usize, whole: impl Fn(&str) -> bool) {
    assert_eq!(text.split_terminator('\n').count(), count, "{text:?}");
    assert!(text.split_terminator('\n').all(whole), "{text:?}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}
