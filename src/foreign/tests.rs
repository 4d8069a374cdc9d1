use super::*;

fn mac(n: u16) -> MacAddr {
    let [a, b] = n.to_be_bytes();
    MacAddr::local([9, 0, 0, a, b])
}

fn server(n: u16) -> Heard {
    Heard { mac: mac(n), ip: [10, 0, 9, 1].into(), what: What::Dhcpv4 }
}

fn router(n: u16, prefixes: &[&str], lifetime_seconds: u16) -> Heard {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Heard { mac: mac(n), ip: mac(n).link_local().into(), what: What::Router { prefixes, lifetime_seconds } }
}

fn message(foreign: &Foreign, kind: Kind) -> String {
    foreign.problem(kind).map(|problem| problem.message).unwrap_or_default()
}

#[test]
fn a_server_is_named_until_it_is_silent_for_long() {
    let (mut foreign, start) = (Foreign::default(), Instant::now());
    assert!(foreign.hear(server(1), start));
    assert!(!foreign.hear(server(1), start + REMEMBERED / 2), "known already");
    assert_eq!(message(&foreign, Kind::DhcpServer), "02:09:00:00:00:01 answers DHCPv4 clients as 10.0.9.1");
    assert_eq!(foreign.problem(Kind::Router), None);
    let end = start + REMEMBERED * 3 / 2;
    assert_eq!(foreign.next(), Some(end));
    assert!(!foreign.forget(start + REMEMBERED));
    assert!(foreign.forget(end));
    assert_eq!((foreign.problem(Kind::DhcpServer), foreign.next()), (None, None));
}

#[test]
fn our_own_are_known_by_device_address_or_identifier() {
    let mut foreign = Foreign::default();
    let ours = Ours {
        macs: [mac(1)].into(),
        addresses: [[10, 0, 0, 2].into()].into(),
        duid: vec![1, 2],
        ..Ours::default()
    };
    foreign.know(ours);
    let now = Instant::now();
    let heard = |n, ip: &str, what| Heard { mac: mac(n), ip: ip.parse().unwrap(), what };
    assert!(!foreign.hear(server(1), now));
    assert!(!foreign.hear(heard(2, "10.0.0.2", What::Dhcpv4), now));
    assert!(!foreign.hear(heard(2, "fe80::2", What::Dhcpv6(vec![1, 2])), now));
    assert!(foreign.hear(heard(2, "10.0.0.3", What::Dhcpv4), now));
    assert!(foreign.hear(heard(2, "fe80::2", What::Dhcpv6(vec![1, 3])), now));
    assert_eq!(foreign.count(Kind::DhcpServer), 2);
}

#[test]
fn whoever_turns_out_to_be_ours_is_not_foreign_any_more() {
    let (mut foreign, now) = (Foreign::default(), Instant::now());
    foreign.hear(server(1), now);
    foreign.hear(server(2), now);
    foreign.know(Ours { macs: [mac(1)].into(), ..Ours::default() });
    assert!(message(&foreign, Kind::DhcpServer).starts_with("02:09:00:00:00:02 "));
}

#[test]
fn the_router_of_our_own_prefixes_is_expected_and_no_other() {
    let (mut foreign, now) = (Foreign::default(), Instant::now());
    assert!(foreign.hear(router(1, &["2001:db8::/64"], 1800), now));
    foreign.know(Ours { routed: vec!["2001:db8::/64".parse().unwrap()], ..Ours::default() });
    assert_eq!(foreign.problem(Kind::Router), None);
    assert!(!foreign.hear(router(1, &[], 1800), now), "the addresses may be DHCPv6's");
    assert!(foreign.hear(router(1, &["2001:db8::/64", "2001:db8:9::/64"], 1800), now));
    assert_eq!(
        message(&foreign, Kind::Router),
        "02:09:00:00:00:01 advertises 2001:db8::/64, 2001:db8:9::/64 for 1800 s as fe80::9:ff:fe00:1"
    );
}

#[test]
fn a_router_is_remembered_for_as_long_as_it_says_within_reason() {
    let start = Instant::now();
    for (lifetime, wanted) in [(0, 1800), (60, 1800), (7200, 7200), (u16::MAX, 9000)] {
        let mut foreign = Foreign::default();
        foreign.hear(router(1, &[], lifetime), start);
        assert_eq!(foreign.next(), Some(start + Duration::from_secs(wanted)));
    }
}

#[test]
fn a_flood_of_names_changes_what_is_said_a_few_times_only() {
    let (mut foreign, start) = (Foreign::default(), Instant::now());
    let changes = (0..60_000).filter(|n| foreign.hear(server(*n), start)).count();
    assert_eq!((changes, foreign.all.len()), (NAMED + 1, NAMED));
    let message = message(&foreign, Kind::DhcpServer);
    assert!(message.ends_with("; and others") && message.len() < 1_024, "{message}");
    assert!(foreign.hear(router(1, &[], 1), start), "the other kind has room of its own");
}

#[test]
fn one_that_says_something_else_each_time_is_heard_once_a_minute() {
    let (mut foreign, start) = (Foreign::default(), Instant::now());
    let at = |n: u16| router(1, &[], n + 1);
    let changes = (0..600).filter(|n| foreign.hear(at(*n), start + Duration::from_secs((*n).into()))).count();
    assert_eq!(changes, 10);
}

#[test]
fn the_longest_words_of_all_fit_into_a_condition() {
    let (mut foreign, now) = (Foreign::default(), Instant::now());
    let prefix = |n: u16| format!("2001:db8:1111:2222:3333:4444:5555:{n:x}/128");
    let prefixes: Vec<_> = (0x6000..0x6009).map(prefix).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    for n in 0..20 {
        foreign.hear(router(n, &prefixes, 9_000), now);
    }
    let message = message(&foreign, Kind::Router);
    assert!(message.len() < 2_048, "{}", message.len());
    assert_eq!(foreign.count(Kind::Router), NAMED);
}

#[test]
fn who_says_what_our_servers_say_is_taken_for_one_of_them() {
    let (mut foreign, now) = (Foreign::default(), Instant::now());
    foreign.know(Ours { advertised: vec!["2001:db8::/64".parse().unwrap()], ..Ours::default() });
    assert!(!foreign.hear(router(1, &["2001:db8::/64"], 0), now));
    assert!(foreign.hear(router(1, &["2001:db8::/64"], 1800), now), "ours are no routers");
    assert!(foreign.hear(router(2, &["2001:db8::/64", "2001:db8:1::/64"], 0), now));
    assert!(foreign.hear(router(3, &[], 0), now));
}
