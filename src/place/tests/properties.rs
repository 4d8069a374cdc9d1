//! Whatever nodes and servers there are: what placement asks for is right.

use proptest::prelude::*;

use super::*;

/// Mostly good, so that cases have something to choose from.
fn any_node(i: usize) -> impl Strategy<Value = Candidate> {
    let odds = || prop::bool::weighted(0.85);
    let reach = prop_oneof![6 => Just(Some(UP)), 1 => Just(None),
        1 => (0..120u64).prop_map(|n| Some(Reach { down_for: Some(secs(n)), ..UP }))];
    (0..3u8, odds(), odds(), odds(), odds(), reach, 0..4u32).prop_map(
        move |(zone, alive, accepts, stays, able, reach, load)| {
            let mut node = mk_node(&format!("n{i}"), ["", "a", "b"][usize::from(zone)]);
            (node.alive, node.accepts, node.draining) = (alive, accepts, !stays);
            node.physical = reach.map(|reach| ("p".to_owned(), reach)).into_iter().collect();
            (node.load, node.capacity) = (load, 3);
            if !able {
                node.features.clear();
            }
            node
        },
    )
}

fn any_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        4 => Just(Standing::Ready),
        2 => Just(Standing::Starting),
        2 => (0..120u64).prop_map(GONE),
        1 => Just(Standing::Leaving),
    ]
}

prop_compose! {
    /// Up to eight nodes, each with at most one server; some servers' agents were deleted.
    fn any_case()(
        servers in 1..5u8,
        nodes in (0..8usize).prop_flat_map(|n| (0..n).map(any_node).collect::<Vec<_>>()),
        placed in prop::collection::vec(prop::option::weighted(0.5, (0..5u8, any_standing())), 9),
    ) -> (u8, Vec<Candidate>, Vec<Placed>) {
        let placed = placed.into_iter().enumerate();
        let placed = placed.filter_map(|(i, p)| p.map(|(slot, s)| mk_placed(slot, &format!("n{i}"), s)));
        let placed = placed.map(|mut p| {
            let alive = nodes.iter().find(|n| n.node == p.node).is_none_or(|n| n.alive);
            match p.standing {
                Standing::Gone { .. } if alive => p.standing = Standing::Starting,
                Standing::Ready | Standing::Starting if !alive => p.standing = GONE(0),
                _ => {}
            }
            p
        });
        let placed = placed.collect();
        (servers, nodes, placed)
    }
}

fn applied(placed: &[Placed], steps: &[Step], nodes: &mut [Candidate]) -> Vec<Placed> {
    let mut placed = placed.to_vec();
    for step in steps {
        match step {
            Step::Create { slot, node } => {
                assert!(placed.iter().all(|p| p.node != *node), "two on {node}");
                placed.push(mk_placed(*slot, node, Standing::Starting));
                nodes.iter_mut().filter(|n| n.node == *node).for_each(|n| n.load += 1);
            }
            Step::Withdraw { node, slot, .. } => {
                let mut held = placed.iter_mut().filter(|p| p.node == *node && p.slot == *slot);
                held.next().expect("withdraws what is there").standing = Standing::Leaving;
            }
        }
    }
    placed
}

fn active(placed: &[Placed]) -> impl Iterator<Item = &Placed> {
    placed.iter().filter(|p| p.standing != Standing::Leaving)
}

proptest! {
    #[test]
    fn the_second_pass_is_empty_and_slots_are_held_once((servers, mut nodes, placed) in any_case()) {
        let first = run(servers, &nodes, &placed);
        let after = applied(&placed, &first.steps, &mut nodes);
        for step in &first.steps {
            if let Step::Create { slot, .. } = step {
                // But for one that answers until the new one does.
                let answers = |p: &&Placed| p.standing == Standing::Ready;
                let old = active(&placed).filter(answers).any(|p| p.slot == *slot);
                let held = active(&after).filter(|p| p.slot == *slot).count();
                prop_assert!(held == 1 || old && held == 2, "{} in slot {}", held, slot);
            }
        }
        let second = run(servers, &nodes, &after);
        prop_assert_eq!(second.steps, []);
        prop_assert_eq!(second.missing.map(|m| m.slots), first.missing.map(|m| m.slots));
    }

    #[test]
    fn new_servers_go_only_where_they_may((servers, nodes, placed) in any_case()) {
        for step in run(servers, &nodes, &placed).steps {
            if let Step::Create { slot, node } = step {
                let node = nodes.iter().find(|n| n.node == node).unwrap();
                prop_assert!(slot < servers && node.alive && node.accepts && !node.draining);
                prop_assert!(node.physical.get("p") == Some(&UP) && node.load < node.capacity);
                prop_assert!(node.features.contains(&Feature::IPv4));
            }
        }
    }

    #[test]
    fn a_network_that_is_answered_and_has_others_to_come_stays_answered((servers, nodes, placed) in any_case()) {
        let serves = |p: &&Placed| p.standing == Standing::Ready
            && nodes.iter().any(|n| n.node == p.node && n.alive && n.physical.get("p") == Some(&UP));
        // Two in one slot are one server too many, whatever they say.
        let before = active(&placed).filter(serves).map(|p| p.slot).collect::<BTreeSet<_>>().len();
        let after = applied(&placed, &run(servers, &nodes, &placed).steps, &mut nodes.clone());
        prop_assert!(before < 2 || active(&after).any(|p| serves(&p)));
    }

    #[test]
    fn what_is_placed_well_never_moves(
        (servers, mut nodes, _) in any_case(),
        loads in prop::collection::vec(0..9u32, 8),
        cut in 0..8usize,
    ) {
        let placed: Vec<_> = run(servers, &nodes, &[]).steps.iter().filter_map(|step| match step {
            Step::Create { slot, node } => Some(mk_placed(*slot, node, Standing::Ready)),
            Step::Withdraw { .. } => None,
        }).collect();
        nodes.iter_mut().zip(loads).for_each(|(node, load)| node.load = load);
        let mut at = 0;
        nodes.retain(|n| { at += 1; at != cut || placed.iter().any(|p| p.node == n.node) });
        nodes.push(mk_node("new", "z"));
        let stays = run(servers, &nodes, &placed);
        prop_assert!(stays.steps.iter().all(|step| matches!(step, Step::Create { .. })), "{:?}", stays);
    }

    #[test]
    fn servers_are_spread_over_zones((servers, nodes, _) in any_case()) {
        let zone_of = |node: &str| nodes.iter().find(|n| n.node == node).unwrap().zone.clone();
        let placement = run(servers, &nodes, &[]);
        let used: BTreeSet<_> = placement.steps.iter().filter_map(|step| match step {
            Step::Create { node, .. } => Some(zone_of(node)),
            Step::Withdraw { .. } => None,
        }).collect();
        let features = [Feature::IPv4].into();
        let open = nodes.iter().filter(|n| refusal(&need_of(&features), n, &BTreeMap::new()).is_none());
        let zones = open.map(|n| n.zone.clone()).collect::<BTreeSet<_>>().len();
        prop_assert_eq!(used.len(), zones.min(servers.into()));
    }
}
