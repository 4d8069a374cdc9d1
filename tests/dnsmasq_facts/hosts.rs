//! Host lines in a watched directory: what takes effect when, and what is refused.

use crate::lab::{Ask, Dnsmasq, Guest, Lab, Mac, MessageType, Setup, raw};
use crate::{gone, guest, host, ip, machine, offered, plain_host};

const DUPLICATE: &str = "duplicate dhcp-host IP address";

fn one_port(lab: &Lab) -> (Dnsmasq<'_>, Guest<'_>) {
    let dnsmasq = Dnsmasq::with_hosts(lab, Setup::default(), &host(1, 11));
    (dnsmasq, guest(lab, 1))
}

#[test]
fn a_new_file_is_served_without_a_signal() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    let two = guest(&lab, 2);
    assert!(two.silent());
    dnsmasq.apply("hosts", "2", &host(2, 12));
    assert_eq!(two.dora().yiaddr(), ip(12));
}

#[test]
fn a_removal_silences_discover_init_reboot_renew_and_inform_at_once() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.dora();
    dnsmasq.apply("hosts", "1-gone", &gone(1));
    assert!(guest.silent());
    assert!(guest.init_reboot(ip(11)).is_none());
    assert!(guest.renew(ip(11), dnsmasq.address()).is_none());
    assert!(guest.inform(ip(11)).is_none());
}

#[test]
fn a_plain_ignore_is_enough_for_ipv4_after_a_plain_line() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &plain_host(1, 11));
    let guest = guest(&lab, 1);
    guest.dora();
    dnsmasq.apply("hosts", "1-gone", &format!("{},ignore\n", Mac::nth(1)));
    assert!(guest.silent());
    assert!(guest.init_reboot(ip(11)).is_none());
    assert!(guest.renew(ip(11), dnsmasq.address()).is_none());
    assert!(guest.rebind(ip(11)).is_none());
    assert!(guest.inform(ip(11)).is_none());
    dnsmasq.apply("hosts", "1-new", &host(1, 13));
    assert_eq!(guest.dora().yiaddr(), ip(13));
}

#[test]
fn a_plain_line_does_nothing_where_one_has_a_tag() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("hosts", "1-gone", &format!("{},ignore\n", Mac::nth(1)));
    assert_eq!(guest.dora().yiaddr(), ip(11));
}

#[test]
fn a_removed_host_comes_back_only_with_an_address_never_seen() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("hosts", "1-gone", &gone(1));
    dnsmasq.apply("hosts", "1-again", &host(1, 11));
    assert!(guest.silent());
    dnsmasq.apply("hosts", "1-new", &host(1, 13));
    assert_eq!(guest.dora().yiaddr(), ip(13));
}

#[test]
fn a_spent_ipv4_address_is_refused_in_a_later_hostsdir_line() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    dnsmasq.apply("hosts", "1-gone", &gone(1));
    assert!(dnsmasq.logged(DUPLICATE).is_empty());
    dnsmasq.apply("hosts", "2", &host(2, 11));
    assert_eq!(dnsmasq.logged(DUPLICATE).len(), 1);
    assert!(dnsmasq.logged(DUPLICATE)[0].ends_with("/hosts/2"));
    assert!(guest(&lab, 2).silent());
}

#[test]
fn an_address_is_spent_even_if_its_host_has_moved_on() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    dnsmasq.apply("hosts", "all", &host(1, 13));
    dnsmasq.apply("hosts", "2", &host(2, 11));
    assert!(guest(&lab, 2).silent());
}

#[test]
fn a_restart_frees_every_spent_address() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    dnsmasq.write("hosts", "all", &host(2, 11));
    dnsmasq.restart();
    assert_eq!(guest(&lab, 2).dora().yiaddr(), ip(11));
}

#[test]
fn a_rewritten_line_with_the_same_address_changes_nothing() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("hosts", "all", &host(1, 11).replace("vm1", "other"));
    assert_eq!(dnsmasq.logged(DUPLICATE).len(), 1);
    assert_eq!(guest.dora().text(12).unwrap(), "vm1");
}

#[test]
fn a_rewritten_line_with_a_new_address_moves_the_host() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.dora();
    dnsmasq.apply("hosts", "all", &host(1, 13));
    assert_eq!(guest.init_reboot(ip(11)).unwrap().kind(), MessageType::Nak);
    assert_eq!(guest.renew(ip(11), dnsmasq.address()).unwrap().kind(), MessageType::Nak);
    assert_eq!(guest.dora().yiaddr(), ip(13));
}

#[test]
fn a_combined_line_is_lost_with_both_families() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    let both = format!("{},10.0.0.11,[2001:db8::11],vm2.\n", Mac::nth(2));
    dnsmasq.apply("hosts", "2", &both);
    assert_eq!(dnsmasq.logged(DUPLICATE).len(), 1);
    assert!(guest(&lab, 2).silent());
}

#[test]
fn an_ipv6_address_may_be_read_again() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    for file in ["a", "b", "a"] {
        dnsmasq.apply("hosts", file, &format!("{},tag:dhcpv6,[2001:db8::11]\n", Mac::nth(1)));
    }
    assert!(dnsmasq.logged("duplicate").is_empty(), "{}", dnsmasq.log());
    assert!(dnsmasq.logged("error").is_empty(), "{}", dnsmasq.log());
}

#[test]
fn a_line_with_a_matching_filter_beats_a_later_ignore_without() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    let filtered = format!("{},tag:!zz,10.0.0.12\n", Mac::nth(2));
    dnsmasq.apply("hosts", "2", &filtered);
    dnsmasq.apply("hosts", "2-gone", &format!("{},ignore\n", Mac::nth(2)));
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(12)));
}

#[test]
fn of_two_addresses_in_a_line_the_last_is_offered() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    dnsmasq.apply("hosts", "2", &format!("{},10.0.0.12,10.0.0.13\n", Mac::nth(2)));
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(13)));
}

#[test]
fn of_two_files_for_one_host_the_last_read_wins() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.apply("hosts", "other", &host(1, 13));
    assert_eq!(offered(&guest), Some(ip(13)));
}

#[test]
fn a_deleted_file_leaves_its_hosts_in_force() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    dnsmasq.remove("hosts", "all");
    assert_eq!(offered(&guest), Some(ip(11)));
}

#[test]
fn a_temporary_file_in_the_directory_is_read_too() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    std::fs::write(dnsmasq.path("hosts/2.tmp"), host(2, 12)).unwrap();
    dnsmasq.barrier();
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(12)));
}

#[test]
fn a_file_that_somebody_has_still_open_when_it_is_renamed_is_read_twice() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    let beside = dnsmasq.path("beside/open");
    let mut open = std::fs::File::create(&beside).unwrap();
    std::io::Write::write_all(&mut open, host(2, 12).as_bytes()).unwrap();
    std::fs::rename(&beside, dnsmasq.path("hosts/2")).unwrap();
    dnsmasq.barrier();
    assert_eq!(dnsmasq.logged("/hosts/2 new or modified").len(), 1);
    // Also a child that was just being started counts: it has the file until it is its program.
    drop(open);
    dnsmasq.barrier();
    assert_eq!(dnsmasq.logged("/hosts/2 new or modified").len(), 2);
    assert_eq!(dnsmasq.logged(DUPLICATE).len(), 1);
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(12)));
}

#[test]
fn files_that_begin_with_a_dot_or_end_with_a_tilde_are_not_read() {
    let lab = machine();
    let (dnsmasq, guest2) = (Dnsmasq::prepare(&lab, Setup::default()), guest(&lab, 2));
    dnsmasq.write("hosts", ".before", &host(2, 12));
    dnsmasq.start();
    for name in [".2", "2~", "#2#"] {
        dnsmasq.apply("hosts", name, &host(2, 12));
    }
    assert!(guest2.silent());
}

#[test]
fn a_bad_line_is_logged_with_its_place_and_costs_only_itself() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    dnsmasq.apply("hosts", "2", &format!("02:zz,10.0.0.14\n{}", host(2, 12)));
    assert_eq!(dnsmasq.logged("bad hex constant at line 1 of").len(), 1);
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(12)));
}

#[test]
fn a_line_of_1024_bytes_or_more_is_read_in_pieces() {
    let lab = machine();
    let (dnsmasq, _) = one_port(&lab);
    // The rest of a long comment becomes a line of its own.
    let comment = format!("#{}", "x".repeat(1023));
    dnsmasq.apply("hosts", "2", &(comment + &host(2, 12)));
    assert_eq!(offered(&guest(&lab, 2)), Some(ip(12)));
}

#[test]
fn a_trailing_dot_makes_every_label_a_name() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), "");
    let names = ["vm1", "ignore", "infinite", "123", "10d", "5", "1w", "ff", "0a", "a-b", "s"];
    let wire = guest(&lab, 1);
    for (n, name) in (1..).zip(names) {
        let line = format!("{},tag:!dhcpv6,set:p1,10.0.0.{},{name}.\n", Mac::nth(n), 100 + n);
        dnsmasq.apply("hosts", name, &line);
        let ack = lab.twin(&wire, Mac::nth(n)).dora();
        assert_eq!(ack.text(12).as_deref(), Some(name));
        assert_eq!(ack.seconds(51), Some(86_400), "{name}");
    }
}

#[test]
fn without_the_dot_a_name_may_be_a_keyword_or_a_lease_time() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), "");
    let wire = guest(&lab, 1);
    let lease_of = |n: u32, name: &str| {
        let line = format!("{},10.0.0.{},{name}\n", Mac::nth(n), 100 + n);
        dnsmasq.apply("hosts", name, &line);
        let guest = lab.twin(&wire, Mac::nth(n));
        let offer = guest.discover(&[])?;
        Some((offer.seconds(51).unwrap(), offer.text(12)))
    };
    assert_eq!(lease_of(1, "ignore"), None);
    assert_eq!(lease_of(2, "infinite"), Some((u32::MAX, None)));
    assert_eq!(lease_of(3, "10d"), Some((864_000, None)));
    assert_eq!(lease_of(4, "123"), Some((123, None)));
    assert_eq!(lease_of(5, "5"), Some((120, None)));
    assert_eq!(lease_of(6, "vm"), Some((86_400, Some("vm".into()))));
}

#[test]
fn a_name_with_a_domain_that_is_not_ours_is_cut_to_its_label() {
    let lab = machine();
    let line = format!("{},10.0.0.11,vm1.example.org.\n", Mac::nth(1));
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &line);
    assert_eq!(guest(&lab, 1).dora().text(12).unwrap(), "vm1");
    assert_eq!(dnsmasq.logged("Ignoring domain example.org for DHCP host name vm1").len(), 1);
}

#[test]
fn names_that_no_resolver_would_take_are_accepted_or_refused_thus() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), "");
    let refused = |n: u32, name: &str| {
        dnsmasq.apply("hosts", &n.to_string(), &format!("{},10.0.0.{n},{name}.\n", Mac::nth(n)));
        !dnsmasq
            .logged(&format!("bad DHCP host name at line 1 of {}/{n}", dnsmasq.path("hosts").display()))
            .is_empty()
    };
    assert!(refused(1, "-vm"));
    assert!(refused(2, "v m"));
    assert!(refused(3, "*"));
    assert!(!refused(4, "v_m"));
    assert!(!refused(5, "vm-"));
    assert!(!refused(6, "v..m"), "an empty label is taken");
    assert!(refused(7, &"x".repeat(64)));
    assert!(!refused(8, &"x".repeat(63)));
}

#[test]
fn an_id_beside_a_mac_means_or_a_match_means_and() {
    let lab = machine();
    let setup = Setup::default().more(&["--dhcp-match=set:c35,61,01:ee"]);
    let lines = format!("id:01:aa:bb,{},10.0.0.11\n{},tag:c35,10.0.0.12\n", Mac::nth(1), Mac::nth(2));
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &lines);
    let offer = |n: u32, id: &[u8]| {
        let ask = Ask::new(MessageType::Discover).option(raw(61, id));
        guest(&lab, n).ask(&ask).map(|offer| offer.yiaddr())
    };
    assert_eq!(offer(1, &[1, 9, 9]), Some(ip(11)), "the MAC with another id");
    assert_eq!(offer(5, &[1, 0xaa, 0xbb]), Some(ip(11)), "the id with another MAC");
    assert_eq!(offer(2, &[1, 0xee]), Some(ip(12)));
    assert_eq!(offer(2, &[1, 9]), None);
    assert_eq!(offer(6, &[1, 0xee]), None);
}

#[test]
fn an_address_from_a_names_file_can_go_come_back_and_move() {
    let lab = machine();
    let line = |n: u32| format!("{},set:p{n},vm{n}.\n", Mac::nth(n));
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &(line(1) + &line(2)));
    let (one, two) = (guest(&lab, 1), guest(&lab, 2));
    dnsmasq.apply("names", "all", "10.0.0.11 vm1\n");
    assert_eq!((offered(&one), offered(&two)), (Some(ip(11)), None));
    dnsmasq.apply("names", "all", "");
    assert_eq!(offered(&one), None);
    dnsmasq.apply("names", "all", "10.0.0.11 vm2\n");
    assert_eq!((offered(&one), offered(&two)), (None, Some(ip(11))));
    dnsmasq.apply("names", "all", "10.0.0.11 vm1\n10.0.0.12 vm2\n");
    assert_eq!((offered(&one), offered(&two)), (Some(ip(11)), Some(ip(12))));
}

#[test]
fn a_host_line_with_set_kills_it_at_the_second_sighup_after_a_lease() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.dora();
    let (ended, pid) = (dnsmasq.pidfd(), dnsmasq.pid());
    let mut sighups = 0;
    let dead = (1..=5).any(|n| {
        sighups = n;
        lab.signal("HUP", pid);
        Dnsmasq::ends_within(&ended, std::time::Duration::from_millis(300))
    });
    assert!(dead, "five SIGHUPs did it no harm: the driver could use them");
    assert!(sighups <= 2, "{sighups}");
}
