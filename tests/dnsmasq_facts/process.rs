//! The process: its user, its rights, its end, a second one beside it, and how long a start takes.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::lab::{Ask, Dnsmasq, Lab, Mac, MessageType, Setup};
use crate::{MANY_RANGE, guest, host, ip, leave_leases, machine, many_hosts, many_leases, offered};

fn status(lab: &Lab, dnsmasq: &Dnsmasq<'_>, field: &str) -> String {
    let status = lab.read(&format!("/proc/{}/status", dnsmasq.pid())).unwrap();
    let status = String::from_utf8_lossy(&status).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn it_drops_to_a_user_and_keeps_three_capabilities() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let uid = status(&lab, &dnsmasq, "Uid").split_whitespace().next().unwrap().to_owned();
    println!("user {}", lab.run(&format!("id {uid}")));
    println!("capabilities {}", status(&lab, &dnsmasq, "CapEff"));
    assert_ne!(uid, "0");
    // NET_BIND_SERVICE is 1 << 10, NET_ADMIN 1 << 12, NET_RAW 1 << 13.
    let kept = u64::from_str_radix(&status(&lab, &dnsmasq, "CapEff"), 16).unwrap();
    assert_eq!(kept & !(1 << 10 | 1 << 12 | 1 << 13), 0, "{kept:x}");
}

#[test]
fn a_private_directory_is_read_at_no_time() {
    let lab = machine();
    let dnsmasq = Dnsmasq::prepare(&lab, Setup::default());
    dnsmasq.write("hosts", "1", &host(1, 11));
    let private = |mode| {
        std::fs::set_permissions(dnsmasq.path(""), PermissionsExt::from_mode(mode)).unwrap();
    };
    private(0o700);
    let started = dnsmasq.try_start();
    println!("start in a 0700 directory: {started:?}");
    println!("{}", dnsmasq.log());
}

#[test]
fn as_root_it_reads_private_directories() {
    let lab = machine();
    let dnsmasq = Dnsmasq::prepare(&lab, Setup::default().more(&["--user=root"]));
    std::fs::set_permissions(dnsmasq.path(""), PermissionsExt::from_mode(0o700)).unwrap();
    dnsmasq.start();
    dnsmasq.apply("hosts", "1", &host(1, 11));
    assert_eq!(guest(&lab, 1).dora().yiaddr(), ip(11));
}

#[test]
fn a_file_it_may_not_read_is_logged() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let file = dnsmasq.path("beside/private");
    std::fs::write(&file, host(2, 12)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(&file, dnsmasq.path("hosts/private")).unwrap();
    dnsmasq.barrier();
    assert_eq!(dnsmasq.logged("cannot read").len(), 1, "{}", dnsmasq.log());
    assert!(guest(&lab, 2).silent());
}

#[test]
fn a_second_one_on_the_same_device_fails_with_code_2() {
    let lab = machine();
    let _first = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    for more in [&[][..], &["--port=0"]] {
        let second =
            Dnsmasq::prepare(&lab, Setup::default().more(more).more(&["--pid-file=", "--log-facility=-"]));
        println!("second, {more:?}: {:?}", second.try_start());
    }
}

#[test]
fn it_answers_dns_on_its_device_and_in_its_namespace_only() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    println!("{}", lab.run_in("srv", "ss -Hlnup"));
    println!("{}", lab.run_in("srv", "ss -Hlntp"));
    let guest = guest(&lab, 1);
    guest.dora();
    guest.configure("10.0.0.11/24", None);
    assert_eq!(guest.dig(dnsmasq.address().into(), "vm1", "A").answers, ["10.0.0.11"]);
    assert_eq!(guest.dig(dnsmasq.address().into(), "vm1", "AAAA").status, "NOERROR");
}

#[test]
fn an_address_that_comes_later_is_served_too() {
    let lab = machine();
    let setup = Setup { addresses: vec!["10.0.0.2/24".into()], ..Setup::default() };
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host(1, 11));
    lab.run_in("srv", "ip address del 10.0.0.2/24 dev srv0");
    assert!(guest(&lab, 1).silent());
    lab.address("srv", "srv0", "10.0.0.2/24");
    assert_eq!(offered(&guest(&lab, 1)), Some(ip(11)));
    drop(dnsmasq);
}

#[test]
fn sigterm_ends_it_and_a_pidfd_sees_every_end() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    dnsmasq.stop();
    assert_eq!(dnsmasq.logged("exiting on receipt of SIGTERM").len(), 1);
    assert!(!dnsmasq.path("pid").exists(), "its pid file stays");
    dnsmasq.start();
    let ended = dnsmasq.pidfd();
    lab.signal("KILL", dnsmasq.pid());
    assert!(Dnsmasq::ends_within(&ended, Duration::from_secs(5)));
    assert!(dnsmasq.path("pid").exists());
    dnsmasq.start();
}

#[test]
fn a_missing_directory_is_a_start_error() {
    let lab = machine();
    let dnsmasq = Dnsmasq::prepare(&lab, Setup::default());
    std::fs::remove_dir(dnsmasq.path("hosts")).unwrap();
    let exit = dnsmasq.try_start().unwrap_err();
    println!("{exit:?}");
    assert!(exit.stderr.contains("hosts"), "{}", exit.stderr);
}

#[test]
fn the_log_says_which_lines_were_read_and_refused() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    dnsmasq.apply("hosts", "2", &host(2, 12));
    assert_eq!(dnsmasq.logged("/hosts/2 new or modified").len(), 1);
    assert_eq!(dnsmasq.logged("read ").iter().filter(|line| line.ends_with("/hosts/2")).count(), 1);
    dnsmasq.remove("hosts", "2");
    assert_eq!(dnsmasq.logged("/hosts/2 removed").len(), 1);
}

#[test]
fn its_log_may_be_truncated_while_it_runs() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    std::fs::OpenOptions::new().write(true).open(dnsmasq.path("log")).unwrap().set_len(0).unwrap();
    dnsmasq.apply("hosts", "2", &host(2, 12));
    let log = std::fs::read(dnsmasq.path("log")).unwrap();
    assert!(!log.is_empty() && !log.contains(&0), "it writes behind a hole");
}

#[test]
fn an_inotify_instance_is_taken_for_the_watched_directories() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let list = lab.run(&format!("ls -l /proc/{}/fd", dnsmasq.pid()));
    assert_eq!(list.matches("inotify").count(), 1, "{list}");
}

#[test]
fn a_restart_at_a_thousand_hosts_is_short() {
    for leased in [false, true] {
        let lab = machine();
        let setup = Setup::default().ranges(&[MANY_RANGE]).addresses(&["10.0.0.2/16"]);
        let dnsmasq = Dnsmasq::prepare(&lab, setup);
        dnsmasq.write("hosts", "all", &many_hosts(1000));
        if leased {
            leave_leases(&dnsmasq, &many_leases(1000));
        }
        dnsmasq.start();
        let guest = lab.guest("br0", Mac::nth(500));
        let mut took: Vec<_> = (0..11).map(|_| deaf_for(&dnsmasq, &guest)).collect();
        took.sort();
        println!(
            "SIGTERM to OFFER, 1,000 hosts, leased: {leased}: median {:?}, most {:?}",
            took[5], took[10]
        );
    }
}

/// Restarts it while a guest asks every third of a millisecond.
fn deaf_for(dnsmasq: &Dnsmasq<'_>, guest: &crate::lab::Guest<'_>) -> Duration {
    let start = Instant::now();
    dnsmasq.restart();
    // Asked during the start, a socket may have kept the question: what counts is the first OFFER.
    guest.discover_until_answered(Duration::from_micros(300), Duration::from_secs(5));
    let took = start.elapsed();
    assert!(guest.ask(&Ask::new(MessageType::Discover)).is_some());
    took
}
