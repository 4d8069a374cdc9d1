//! Cases and properties of `allocate`.

use super::*;
use crate::types::IpRange;
use ipnet::IpNet;
use proptest::prelude::*;

fn pool(name: &str, cidr: &str, gateway: Option<[u8; 4]>) -> Pool {
    let cidr: IpNet = cidr.parse().unwrap();
    let ranges = vec![IpRange::of(cidr)];
    let (subnet_name, gateway) = (name.into(), gateway.map(Into::into));
    Pool { subnet_name, cidr, ranges, gateway, automatic: true, formed: false }
}

fn port(name: &str) -> Holder {
    Holder::port(name)
}

fn claim(holder: Holder, wishes: &[Wish]) -> Claim<'static> {
    Claim::new(holder, wishes.to_vec())
}

fn any(name: &str) -> Claim<'static> {
    claim(port(name), &Family::ALL.map(Wish::Any))
}

fn ips(given: &[Given]) -> Vec<String> {
    given.iter().flat_map(|g| g.addresses.iter().map(|(ip, _)| ip.to_string())).collect()
}

fn slash29() -> Vec<Pool> {
    vec![pool("a", "10.0.0.0/29", Some([10, 0, 0, 1]))]
}

#[test]
fn the_lowest_never_used_address_comes_first_and_the_gateway_never() {
    let given = Ledger::default().allocate(&slash29(), &[], &[any("x"), any("y")]);
    assert_eq!(ips(&given), ["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn a_wish_for_an_address_goes_before_one_for_any() {
    let wish = claim(port("y"), &[Wish::Exactly([10, 0, 0, 2].into())]);
    let given = Ledger::default().allocate(&slash29(), &[], &[any("x"), wish]);
    assert_eq!(ips(&given), ["10.0.0.3", "10.0.0.2"]);
}

#[test]
fn what_was_given_stays() {
    let mut ledger = Ledger::default();
    ledger.allocate(&slash29(), &[], &[any("x"), any("y")]);
    let before = ledger.clone();
    assert_eq!(ips(&ledger.allocate(&slash29(), &[], &[any("y"), any("x")])), ["10.0.0.3", "10.0.0.2"]);
    assert_eq!(ledger, before);
}

fn leaving(ip: [u8; 4], since: Option<u64>) -> Claim<'static> {
    let holder = Holder::Leaving { name: "Port old".into(), since };
    claim(holder, &[Wish::Exactly(ip.into())])
}

#[test]
fn an_address_is_one_of_the_subnet_that_is_named_with_it() {
    let within = |ip: [u8; 4], subnet: &str| {
        let given = Ledger::default().allocate(
            &slash29(),
            &[],
            &[claim(port("x"), &[Wish::Within(ip.into(), subnet.into())])],
        );
        (ips(&given), given[0].errors.clone())
    };
    assert_eq!(within([10, 0, 0, 3], "a"), (vec!["10.0.0.3".to_owned()], vec![]));
    assert_eq!(within([10, 0, 0, 3], "b").1, [AllocateError::SubnetNotFound("b".into())]);
    let outside = AllocateError::NotInSubnet([10, 0, 9, 3].into(), "a".into());
    assert_eq!(within([10, 0, 9, 3], "a").1, [outside]);
    // Who has it, and names another Subnet from now on, has it no more.
    let mut ledger = Ledger::default();
    ledger.record([10, 0, 0, 3].into(), "a", &port("x"), 0);
    let given = ledger.allocate(
        &slash29(),
        &[],
        &[claim(port("x"), &[Wish::Within([10, 0, 0, 3].into(), "b".into())])],
    );
    assert!(given[0].addresses.is_empty() && ledger.used("a") == 0);
}

#[test]
fn what_is_leaving_is_taken_when_nothing_else_is_free_the_longest_first() {
    let leaving =
        [leaving([10, 0, 0, 2], Some(7)), leaving([10, 0, 0, 3], Some(5)), leaving([10, 0, 0, 4], None)];
    let mut ledger = Ledger::default();
    for claim in &leaving {
        let [Wish::Exactly(ip)] = claim.wishes[..] else { panic!() };
        ledger.record(ip, "a", &claim.holder, 0);
    }
    let all = |new: &[Claim<'static>]| [&leaving[..], new].concat();
    let given = ledger.clone().allocate(&slash29(), &[], &all(&[any("x"), any("y"), any("z")]));
    assert_eq!(ips(&given[3..]), ["10.0.0.5", "10.0.0.6", "10.0.0.3"]);
    // A server that only needs one for a while takes none.
    let server = claim(Holder::TemporaryServer { slot: 0 }, &[Wish::In("a".into())]);
    let given = ledger.clone().allocate(&slash29(), &[], &all(&[any("x"), any("y"), server]));
    assert!(matches!(given[5].errors[..], [AllocateError::PoolExhausted(..)]), "{given:?}");
    // Who wants this very one waits.
    let wish = claim(port("w"), &[Wish::Exactly([10, 0, 0, 3].into())]);
    let given = ledger.allocate(&slash29(), &[], &all(&[wish]));
    assert!(matches!(given[3].errors[..], [AllocateError::AddressReleasing(..)]), "{given:?}");
}

#[test]
fn only_what_nobody_asked_for_by_name_is_chosen() {
    let wanted = [10, 0, 0, 5].into();
    let exact = claim(port("e"), &[Wish::Exactly(wanted)]);
    let asked = |name: &str, ip| (name, ip) == ("e", wanted);
    let mut ledger = Ledger::default();
    ledger.allocate(&slash29(), &[], std::slice::from_ref(&exact));
    let chooses = |ledger: &Ledger, before: &Ledger| {
        ledger.changes_since(before).iter().any(|change| change.chooses(before, asked))
    };
    assert!(!chooses(&ledger, &Ledger::default()));
    let before = ledger.clone();
    ledger.allocate(&slash29(), &[], &[exact, any("x")]);
    assert!(chooses(&ledger, &before));
    let before = ledger.clone();
    ledger.allocate(&slash29(), &[], &[any("x")]);
    assert!(!chooses(&ledger, &before), "a release chooses nothing");
}

#[test]
fn never_used_goes_before_released_and_the_longest_released_first() {
    let mut ledger = Ledger::default();
    ledger.allocate(&slash29(), &[], &[any("x"), any("y")]);
    ledger.allocate(&slash29(), &[], &[any("y")]);
    ledger.allocate(&slash29(), &[], &[]);
    let four = [any("p"), any("q"), any("r"), any("s"), any("t")];
    assert_eq!(
        ips(&ledger.allocate(&slash29(), &[], &four)),
        ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3"]
    );
    let exhausted = ledger.allocate(&slash29(), &[], &[&four[..], &[any("u")]].concat());
    assert_eq!(exhausted[5].errors, [AllocateError::PoolExhausted(vec!["a".into()])]);
}

#[test]
fn a_port_of_the_same_name_and_mac_gets_its_own_back() {
    let mut ledger = Ledger::default();
    ledger.allocate(&slash29(), &[], &[any("x"), any("y")]);
    ledger.allocate(&slash29(), &[], &[]);
    let identifier = crate::types::Identity::client_id("0a:0b").ok();
    let other = Holder::Port { name: "y".into(), mac_address: None, identifier };
    let other = claim(other, &[Wish::Any(Family::V4)]);
    assert_eq!(ips(&ledger.clone().allocate(&slash29(), &[], &[other])), ["10.0.0.4"]);
    assert_eq!(ips(&ledger.allocate(&slash29(), &[], &[any("y")])), ["10.0.0.3"]);
}

#[test]
fn a_released_address_can_be_wished_for_and_a_held_one_not() {
    let mut ledger = Ledger::default();
    ledger.allocate(&slash29(), &[], &[any("x")]);
    let wish = claim(port("y"), &[Wish::Exactly([10, 0, 0, 2].into())]);
    let given = ledger.allocate(&slash29(), &[], &[any("x"), wish.clone()]);
    assert_eq!(given[1].errors, [AllocateError::AddressInUse([10, 0, 0, 2].into(), port("x"))]);
    assert_eq!(ips(&ledger.allocate(&slash29(), &[], &[wish])), ["10.0.0.2"]);
}

#[test]
fn wishes_that_cannot_be_met_say_why() {
    let wishes = [
        Wish::Exactly([10, 0, 0, 0].into()),
        Wish::Exactly([10, 0, 0, 7].into()),
        Wish::Exactly([10, 1, 0, 1].into()),
        Wish::In("b".into()),
    ];
    let given = Ledger::default().allocate(&slash29(), &[], &[claim(port("x"), &wishes)]);
    let expected = [
        AllocateError::AddressReserved([10, 0, 0, 0].into()),
        AllocateError::AddressReserved([10, 0, 0, 7].into()),
        AllocateError::AddressOutsideSubnet([10, 1, 0, 1].into()),
        AllocateError::SubnetNotFound("b".into()),
    ];
    assert_eq!(given[0].errors, expected);
}

#[test]
fn a_full_subnet_is_followed_by_the_next_and_a_changed_wish_gives_back() {
    let pools = [pool("a", "10.0.0.0/31", None), pool("b", "10.0.1.0/30", None)];
    let mut ledger = Ledger::default();
    let given = ledger.allocate(&pools, &[], &[any("x"), any("y"), any("z")]);
    assert_eq!(ips(&given), ["10.0.0.0", "10.0.0.1", "10.0.1.1"]);
    let moved = claim(port("x"), &[Wish::Exactly([10, 0, 1, 2].into())]);
    ledger.allocate(&pools, &[], &[moved, any("y"), any("z")]);
    assert_eq!((ledger.used("a"), ledger.used("b")), (1, 2));
}

#[test]
fn a_subnet_that_comes_back_gives_everybody_their_own_and_one_that_waits_takes_nothing_away() {
    let mut ledger = Ledger::default();
    ledger.allocate(&slash29(), &[], &[any("x"), any("y")]);
    let before = ledger.clone();
    ledger.allocate(&[], &["a".into()], &[any("y"), any("x")]);
    assert_eq!(ledger.used("a"), before.used("a"));
    ledger.allocate(&[], &[], &[any("x"), any("y")]);
    assert_eq!(ledger.used("a"), 0);
    assert_eq!(ips(&ledger.allocate(&slash29(), &[], &[any("y"), any("x")])), ["10.0.0.3", "10.0.0.2"]);
}

#[test]
fn who_is_only_to_hold_keeps_what_it_has() {
    let mut ledger = Ledger::default();
    ledger.allocate(&slash29(), &[], &[any("x")]);
    let before = ledger.clone();
    let holding = ledger.held().claim(&port("x"));
    ledger.allocate(&slash29(), &[], &[holding]);
    assert_eq!(ledger, before);
}

#[test]
fn a_server_leaves_an_address_that_became_the_gateways() {
    let server = claim(Holder::ServerSlot { slot: 0 }, &[Wish::In("a".into())]);
    let mut ledger = Ledger::default();
    assert_eq!(ips(&ledger.allocate(&slash29(), &[], std::slice::from_ref(&server))), ["10.0.0.2"]);
    let moved = [pool("a", "10.0.0.0/29", Some([10, 0, 0, 2]))];
    assert_eq!(ips(&ledger.allocate(&moved, &[], &[server])), ["10.0.0.1"]);
}

#[test]
fn a_large_pool_costs_nothing() {
    let pools = [pool("a", "10.0.0.0/8", Some([10, 0, 0, 1]))];
    let claims: Vec<_> = (0..5_000).map(|n| any(&format!("p{n}"))).collect();
    let given = Ledger::default().allocate(&pools, &[], &claims);
    assert_eq!(given[4_999].addresses[0].0, IpAddr::from([10, 0, 19, 137]));
    assert_eq!(pools[0].size(), (1 << 24) - 3);
}

#[test]
fn a_port_gets_one_address_of_each_family_that_there_is() {
    let (v4, v6) = (pool("a", "10.0.0.0/29", None), pool("b", "2001:db8::/64", None));
    let mut ledger = Ledger::default();
    let mut ask = |pools: &[&Pool]| {
        let pools: Vec<_> = pools.iter().map(|pool| (*pool).clone()).collect();
        let given = ledger.allocate(&pools, &[], &[any("x")]).remove(0);
        let errors: Vec<_> = given.errors.iter().map(ToString::to_string).collect();
        (ips(&[given]), errors)
    };
    let of = |ips: &[&str]| (ips.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::new());
    assert_eq!(ask(&[&v6]), of(&["2001:db8::1"]));
    assert_eq!(ask(&[&v4, &v6]), of(&["10.0.0.1", "2001:db8::1"]));
    assert_eq!(ask(&[&v4]), of(&["10.0.0.1"]));
    assert_eq!(ask(&[]), (vec![], vec!["the network has no subnet to take an address from".to_owned()]));
    let full = pool("a", "10.0.0.0/31", None);
    ledger.allocate(std::slice::from_ref(&full), &[], &[any("y"), any("z")]);
    let given = ledger.allocate(&[full], &[], &[any("y"), any("z"), any("x")]);
    assert_eq!(given[2].errors, [AllocateError::PoolExhausted(vec!["a".into()])]);
}

#[test]
fn an_address_that_its_holder_makes_is_that_one_or_none() {
    let (v4, v6) = (pool("a", "10.0.0.0/29", None), pool("b", "2001:db8::/64", None));
    let formed = |n: u16| Wish::Formed(format!("2001:db8::ff:fe00:{n}").parse().unwrap(), "b".into());
    let mut ledger = Ledger::default();
    let pools = [v4.clone(), Pool { automatic: false, formed: true, ..v6 }];
    let x = |n| claim(port("x"), &[Wish::Any(Family::V4), Wish::Any(Family::V6), formed(n)]);
    let given = ledger.allocate(&pools, &[], &[x(1)]);
    assert_eq!(ips(&given), ["10.0.0.1", "2001:db8::ff:fe00:1"]);
    let thief = claim(port("y"), &[formed(1)]);
    let given = ledger.allocate(&pools, &[], &[x(1), thief.clone()]);
    assert_eq!(
        given[1].errors,
        [AllocateError::AddressInUse("2001:db8::ff:fe00:1".parse().unwrap(), port("x"))]
    );
    // With another MAC address it is another one, and the first is free.
    let given = ledger.allocate(&pools, &[], &[x(2), thief]);
    assert_eq!(ips(&given), ["10.0.0.1", "2001:db8::ff:fe00:2", "2001:db8::ff:fe00:1"]);
    // Kept while its Subnet waits; gone with it, and nothing to complain of.
    let waiting = ["b".to_owned()];
    assert_eq!(ips(&ledger.allocate(std::slice::from_ref(&v4), &waiting, &[x(2)])).len(), 2);
    let given = ledger.allocate(&[v4], &[], &[x(2)]);
    assert_eq!((ips(&given), given[0].errors.len()), (vec!["10.0.0.1".to_owned()], 0));
}

fn wishes() -> impl Strategy<Value = Wish> {
    prop_oneof![
        3 => prop_oneof![Just(Family::V4), Just(Family::V6)].prop_map(Wish::Any),
        1 => Just(Wish::In("b".into())),
        2 => (0..9u8).prop_map(|n| Wish::Exactly([10, 0, 0, n].into())),
        1 => (0..9u8).prop_map(|n| Wish::Formed([10, 0, 0, n].into(), "a".into())),
    ]
}

proptest! {
    #[test]
    fn no_address_is_given_twice_and_what_is_kept_does_not_move(
        steps in proptest::collection::vec(proptest::collection::btree_map(0..8u8, proptest::collection::vec(wishes(), 0..3), 0..8), 1..6)
    ) {
        let pools = [
            pool("a", "10.0.0.0/29", Some([10, 0, 0, 1])),
            pool("b", "10.0.1.0/30", None),
            pool("c", "2001:db8::/125", None),
        ];
        let mut ledger = Ledger::default();
        for step in steps {
            let claims: Vec<_> = step.iter().map(|(n, wishes)| claim(port(&n.to_string()), wishes)).collect();
            let given = ledger.allocate(&pools, &[], &claims);
            let all: Vec<_> = given.iter().flat_map(|g| &g.addresses).collect();
            let distinct: BTreeSet<_> = all.iter().map(|(ip, _)| ip).collect();
            prop_assert_eq!(all.len(), distinct.len());
            let used: usize = pools.iter().map(|pool| ledger.used(&pool.subnet_name)).sum();
            prop_assert_eq!(all.len(), used);
            for (claim, given) in claims.iter().zip(&given) {
                prop_assert_eq!(claim.wishes.len(), given.addresses.len() + given.errors.len());
            }
            let again = ledger.clone().allocate(&pools, &[], &claims);
            prop_assert_eq!(again, given);
            let text = serde_json::to_string(&ledger).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger.clone());
        }
    }
}
