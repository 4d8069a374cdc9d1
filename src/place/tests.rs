mod properties;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);
const UP: Reach = Reach { down_for: None, vlans: true, untagged: true };

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn mk_node(node: &str, zone: &str) -> Candidate {
    Candidate {
        node: node.to_owned(),
        zone: (!zone.is_empty()).then(|| zone.to_owned()),
        labels: BTreeMap::from([("rack".to_owned(), format!("r-{zone}"))]),
        alive: true,
        accepts: true,
        draining: false,
        physical: BTreeMap::from([("p".to_owned(), UP)]),
        features: [Feature::IPv4].into(),
        load: 0,
        capacity: 10,
    }
}

fn mk_placed(slot: u8, node: &str, standing: Standing) -> Placed {
    Placed { node: node.to_owned(), slot, standing }
}

const GONE: fn(u64) -> Standing = |n| Standing::Gone { for_: Duration::from_secs(n) };

fn run(servers: u8, nodes: &[Candidate], placed: &[Placed]) -> Placement {
    let features = [Feature::IPv4].into();
    let need = Need { network: "u", servers, physical: "p", vlan: None, features: &features, selector: None };
    let placement = place(&need, nodes, placed, PATIENCE);
    // Who looks for no node needs to know those that have a server only.
    let has_one = |node: &&Candidate| placed.iter().any(|placed| placed.node == node.node);
    let holders: Vec<_> = nodes.iter().filter(has_one).cloned().collect();
    let alone = place(&need, &holders, placed, PATIENCE);
    assert!(alone.searched || alone == placement);
    placement
}

/// `+slot@node` and `-slot@node`.
fn steps(placement: &Placement) -> String {
    let text = |step: &Step| match step {
        Step::Create { slot, node } => format!("+{slot}@{node}"),
        Step::Withdraw { node, slot, .. } => format!("-{slot}@{node}"),
    };
    placement.steps.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn nodes(names: &[&str]) -> Vec<Candidate> {
    names.iter().map(|name| mk_node(name, "")).collect()
}

#[test]
fn a_new_server_goes_to_the_emptiest_zone_then_the_least_loaded_node() {
    let mut all =
        [mk_node("a1", "a"), mk_node("a2", "a"), mk_node("b1", "b"), mk_node("b2", "b"), mk_node("c1", "")];
    for (node, load) in all.iter_mut().zip([1, 0, 3, 2, 9]) {
        node.load = load;
    }
    assert_eq!(steps(&run(3, &all, &[])), "+0@a2 +1@b2 +2@c1");
    assert_eq!(steps(&run(5, &all, &[])), "+0@a2 +1@b2 +2@c1 +3@a1 +4@b1");
    assert_eq!(steps(&run(2, &all, &[mk_placed(0, "a1", Standing::Ready)])), "+1@b2");
}

#[test]
fn one_that_would_contradict_the_others_goes_whether_there_is_another_or_not() {
    let features = [Feature::IPv4, Feature::SeveralServers].into();
    let need = Need { servers: 2, ..need_of(&features) };
    let mut all = nodes(&["n1", "n2"]);
    let placed = [mk_placed(0, "n1", Standing::Ready), mk_placed(1, "n2", Standing::Ready)];
    all[1].features = features.clone();
    assert_eq!(steps(&place(&need, &all, &placed, PATIENCE)), "-0@n1");
    all.push(Candidate { features: features.clone(), ..mk_node("n3", "") });
    assert_eq!(steps(&place(&need, &all, &placed, PATIENCE)), "-0@n1 +0@n3");
}

#[test]
fn a_slot_never_has_a_third_server() {
    let features = [Feature::IPv4].into();
    let mut all = nodes(&["n1", "n2", "n3"]);
    all[0].alive = false;
    all[1].draining = true;
    let placed = [mk_placed(0, "n2", Standing::Ready), mk_placed(0, "n1", GONE(100))];
    let placement = place(&need_of(&features), &all, &placed, PATIENCE);
    assert_eq!(steps(&placement), "-0@n1 +0@n3");
}

#[test]
fn networks_spread_over_equal_nodes() {
    let all = nodes(&["n1", "n2", "n3", "n4"]);
    let mut counts = BTreeMap::new();
    for i in 0..400 {
        let (network, features) = (format!("network-{i}"), BTreeSet::new());
        let need = Need { network: &network, ..need_of(&features) };
        *counts.entry(steps(&place(&need, &all, &[], PATIENCE))).or_insert(0) += 1;
    }
    assert!(counts.len() == 4 && counts.values().all(|n| (60..140).contains(n)), "{counts:?}");
}

fn need_of(features: &BTreeSet<Feature>) -> Need<'_> {
    Need { network: "u", servers: 1, physical: "p", vlan: None, features, selector: None }
}

#[test]
fn a_server_that_answers_stays_whatever_bars_new_ones() {
    let mut all = nodes(&["n1", "n2"]);
    (all[0].accepts, all[0].load) = (false, 99);
    assert_eq!(run(1, &all, &[mk_placed(0, "n1", Standing::Ready)]), Placement::default());
    assert_eq!(run(1, &all, &[mk_placed(0, "n1", Standing::Starting)]), Placement::default());
}

#[test]
fn the_highest_slots_go_once_a_lower_one_answers() {
    let all = nodes(&["n1", "n2", "n3"]);
    let placed = |first| {
        [
            mk_placed(0, "n1", first),
            mk_placed(1, "n2", Standing::Ready),
            mk_placed(2, "n3", Standing::Starting),
        ]
    };
    assert_eq!(steps(&run(1, &all, &placed(Standing::Ready))), "-2@n3 -1@n2");
    assert_eq!(steps(&run(1, &all, &placed(Standing::Starting))), "-2@n3");
    let twice = [mk_placed(0, "n1", Standing::Starting), mk_placed(0, "n2", Standing::Ready)];
    assert_eq!(steps(&run(1, &all, &twice)), "-0@n1");
}

#[test]
fn a_dead_server_is_waited_for_only_while_another_answers() {
    let all = |alive: [bool; 3]| {
        let mut all = nodes(&["n1", "n2", "n3"]);
        all.iter_mut().zip(alive).for_each(|(node, alive)| node.alive = alive);
        all
    };
    let rest = |standing| [mk_placed(0, "n1", standing), mk_placed(1, "n2", Standing::Ready)];
    let early = run(2, &all([false, true, true]), &rest(GONE(20)));
    assert_eq!((steps(&early), early.look_again), (String::new(), Some(secs(40))));
    let due = run(2, &all([false, true, true]), &rest(GONE(60)));
    assert_eq!((steps(&due).as_str(), due.look_again), ("-0@n1 +0@n3", None));
    let nowhere = run(2, &all([false, true, false]), &rest(GONE(60)));
    assert_eq!(steps(&nowhere), "");
    assert_eq!(
        nowhere.missing.unwrap().to_string(),
        "1 of 2 servers has no node: 3 agents: 2 are not alive, 1 serves the network already"
    );
    let only = run(1, &all([false, true, true])[..2], &[mk_placed(0, "n1", GONE(0))]);
    assert_eq!(steps(&only), "-0@n1 +0@n2");
    let deleted = run(2, &all([true, true, true])[1..], &rest(Standing::Ready));
    assert_eq!(steps(&deleted), "-0@n1 +0@n3");
}

#[test]
fn a_link_that_is_down_is_waited_for_like_a_dead_agent() {
    let mut all = nodes(&["n1", "n2", "n3"]);
    let rest = [mk_placed(0, "n1", Standing::Ready), mk_placed(1, "n2", Standing::Ready)];
    let mut down = |for_| {
        all[0].physical.insert("p".to_owned(), Reach { down_for: Some(secs(for_)), ..UP });
        run(2, &all, &rest)
    };
    assert_eq!((steps(&down(1)), down(1).look_again), (String::new(), Some(secs(59))));
    assert_eq!(steps(&down(60)), "-0@n1 +0@n3");
}

#[test]
fn a_server_on_a_node_that_is_no_longer_fit_moves_without_a_gap() {
    let mut all = nodes(&["n1", "n2", "n3"]);
    all[0].draining = true;
    let placed = |other| [mk_placed(0, "n1", Standing::Ready), mk_placed(1, "n2", other)];
    assert_eq!(steps(&run(2, &all, &placed(Standing::Ready))), "-0@n1 +0@n3");
    assert_eq!(steps(&run(2, &all, &placed(Standing::Starting))), "");
    assert_eq!(steps(&run(2, &all, &placed(GONE(1)))), "");
    assert_eq!(steps(&run(2, &all[..2], &placed(Standing::Ready))), "", "nowhere to go");
    assert_eq!(run(2, &all[..2], &placed(Standing::Ready)).missing, None);
    assert_eq!(steps(&run(1, &all, &[mk_placed(0, "n1", Standing::Starting)])).len(), "-0@n1 +0@n2".len());
    all[1].draining = true;
    assert_eq!(steps(&run(2, &all, &placed(Standing::Ready))), "-0@n1 +0@n3", "one at a time");
}

#[test]
fn the_only_server_that_answers_moves_when_the_next_one_does() {
    let mut all = nodes(&["n1", "n2", "n3"]);
    all[0].draining = true;
    let old = mk_placed(0, "n1", Standing::Ready);
    let next = |standing| [old.clone(), mk_placed(0, "n2", standing)];
    assert!(["+0@n2", "+0@n3"].contains(&&*steps(&run(1, &all, &next(Standing::Ready)[..1]))));
    assert_eq!(steps(&run(1, &all, &next(Standing::Starting))), "");
    assert_eq!(steps(&run(1, &all, &next(Standing::Ready))), "-0@n1");
    // The next one dies before it answers; the old one is to stay after all; it dies itself.
    assert_eq!(steps(&run(1, &all, &next(GONE(0)))), "-0@n2 +0@n3");
    all[0].draining = false;
    assert_eq!(steps(&run(1, &all, &next(Standing::Starting))), "-0@n2");
    all[0].alive = false;
    let dead = [mk_placed(0, "n1", GONE(0)), mk_placed(0, "n2", Standing::Starting)];
    assert_eq!(steps(&run(1, &all, &dead)), "-0@n1");
}

#[test]
fn a_server_that_reaches_nobody_is_replaced_or_withdrawn() {
    let mut all = nodes(&["n1", "n2"]);
    all[0].physical.clear();
    let placed = [mk_placed(0, "n1", Standing::Ready)];
    assert_eq!(steps(&run(1, &all, &placed)), "-0@n1 +0@n2");
    let withdrawn = run(1, &all[..1], &placed);
    assert_eq!(
        withdrawn.steps,
        [Step::Withdraw { node: "n1".to_owned(), slot: 0, why: Why::Node(Cause::NotReached) }]
    );
    assert_eq!(
        withdrawn.missing.unwrap().to_string(),
        "1 of 1 servers has no node: 1 agent: 1 does not reach physical network p"
    );
}

#[test]
fn a_node_takes_no_other_server_before_the_last_one_is_gone() {
    let all = nodes(&["n1"]);
    let left = run(1, &all, &[mk_placed(0, "n1", Standing::Leaving)]);
    assert_eq!(
        left.missing.unwrap().to_string(),
        "1 of 1 servers has no node: 1 agent: 1 is still giving the network up"
    );
}

#[test]
fn each_agent_that_is_not_taken_counts_under_one_cause() {
    let mut all = nodes(&["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"]);
    all[0].physical.clear();
    all[1].physical.clear();
    all[2].accepts = false;
    all[3].alive = false;
    all[5].features.clear();
    all[6].load = 10;
    all[7].physical.insert("p".to_owned(), Reach { untagged: false, ..UP });
    let missing = run(3, &all, &[mk_placed(0, "n5", Standing::Ready)]).missing.unwrap();
    assert_eq!(
        missing.to_string(),
        "2 of 3 servers have no node: 8 agents: 2 do not reach physical network p, 1 carries nothing untagged of \
         physical network p, 1 lacks IPv4, 1 is cordoned, 1 has no room, 1 is not alive, 1 serves the network already"
    );
    assert_eq!(
        run(2, &[], &[]).missing.unwrap().to_string(),
        "2 of 2 servers have no node: there is no agent"
    );
}

#[test]
fn nodes_are_chosen_by_selector_and_vlan() {
    let selector: LabelSelector =
        serde_json::from_value(serde_json::json!({"matchLabels": {"rack": "r-b"}})).unwrap();
    let (features, all) = (BTreeSet::new(), [mk_node("a1", "a"), mk_node("b1", "b")]);
    let need = Need { vlan: Some(7), selector: Some(&selector), ..need_of(&features) };
    assert_eq!(steps(&place(&need, &all, &[], PATIENCE)), "+0@b1");
    let mut tagless = all;
    tagless[1].physical.insert("p".to_owned(), Reach { vlans: false, ..UP });
    assert_eq!(
        place(&need, &tagless, &[], PATIENCE).missing.unwrap().to_string(),
        "1 of 1 servers has no node: 2 agents: 1 carries no VLANs of physical network p, 1 is not selected by nodeSelector"
    );
}

#[test]
fn features_are_read_as_they_are_printed() {
    for feature in Feature::ALL {
        assert_eq!(feature.as_str().parse(), Ok(feature));
    }
    assert!("VXLAN".parse::<Feature>().is_err());
    assert_eq!(Why::Node(Cause::Lacks(Feature::IPv6)).to_string(), "the node lacks IPv6");
    assert_eq!(Why::Node(Cause::NotReached).to_string(), "the node does not reach the physical network");
}
