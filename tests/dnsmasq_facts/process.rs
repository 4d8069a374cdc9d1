//! The process: its user, its rights, its end, a second one beside it, and how long a start takes.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::lab::{Ask, DhcpOption, Dnsmasq, Lab, Mac, MessageType, PATIENCE, Setup, eventually, output};
use crate::{MANY_RANGE, guest, host, ip, leave_leases, machine, many_hosts, many_ip, many_leases, offered};

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
    // Debian's service script names the user dnsmasq; the program's own choice is nobody.
    assert_eq!(lab.run(&format!("id -un {uid}")).trim(), "nobody");
    // NET_BIND_SERVICE is 1 << 10, NET_ADMIN 1 << 12, NET_RAW 1 << 13.
    let kept = u64::from_str_radix(&status(&lab, &dnsmasq, "CapEff"), 16).unwrap();
    assert_eq!(kept, 1 << 10 | 1 << 12 | 1 << 13, "{kept:x}");
}

#[test]
fn a_private_or_missing_directory_is_no_start_error_but_a_line_in_the_log() {
    for (private, line) in [(true, "failed to create inotify for"), (false, "bad dynamic directory")] {
        let lab = machine();
        let dnsmasq = Dnsmasq::prepare(&lab, Setup::default());
        dnsmasq.write("hosts", "1", &host(1, 11));
        let path = dnsmasq.path("hosts");
        if private {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        } else {
            std::fs::remove_dir_all(&path).unwrap();
        }
        dnsmasq.start();
        assert_eq!(dnsmasq.logged(line).len(), 1, "{}", dnsmasq.log());
        assert!(guest(&lab, 1).silent());
    }
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
    let first = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let own_files = |argument: &String| {
        !argument.contains("leases") && !argument.contains("log") && !argument.contains("pid")
    };
    let argv: Vec<_> = first.argv().into_iter().filter(own_files).collect();
    let second = |more: &[&str]| {
        let mut command = lab.command_in("srv", "dnsmasq");
        let done = output(command.env("LC_ALL", "C").args(&argv).args(more));
        (done.status.code(), String::from_utf8_lossy(&done.stderr).trim().to_owned())
    };
    let own = ["--pid-file=", "--dhcp-leasefile=/run/other"];
    let (code, said) = second(&own);
    assert_eq!(code, Some(2));
    assert!(
        said.ends_with("failed to create listening socket for 10.0.0.2: Address already in use"),
        "{said}"
    );
    // Only DNS keeps them apart: two for DHCP alone would both answer.
    assert_eq!(second(&[own[0], own[1], "--port=0"]).0, Some(0));
    assert_eq!(lab.pids_of("dnsmasq").len(), 2);
}

#[test]
fn it_listens_on_its_device_only() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let listens = |kind: &str| {
        let list = lab.run_in("srv", &format!("ss -Hln{kind}"));
        let locals = list.lines().filter_map(|line| line.split_whitespace().nth(3));
        // Also on the address that every device gives itself.
        let own = |local: &&str| !(local.starts_with("[fe80:") && local.ends_with("%srv0:53"));
        locals.filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listens("t"), ["10.0.0.2:53"]);
    assert_eq!(listens("u"), ["10.0.0.2:53", "0.0.0.0%srv0:67"]);
    let guest = guest(&lab, 1);
    guest.dora();
    guest.configure("10.0.0.11/24", None);
    assert_eq!(guest.dig(dnsmasq.address().into(), "vm1", "A").answers, ["10.0.0.11"]);
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
fn an_ipv6_prefix_shorter_than_64_is_a_start_error() {
    let lab = machine();
    let setup = Setup::default().more(&["--dhcp-range=2001:db8::,static,63"]);
    let exit = Dnsmasq::prepare(&lab, setup).try_start().unwrap_err();
    assert_eq!(exit.code, 1);
    assert!(exit.stderr.contains("prefix length must be at least 64"), "{}", exit.stderr);
}

#[test]
fn log_and_leases_need_no_directory_that_it_may_write() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let mode = std::fs::metadata(dnsmasq.path("")).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "{mode:o}");
    guest(&lab, 1).dora();
    assert!(dnsmasq.leases().contains("10.0.0.11"));
    dnsmasq.restart();
    guest(&lab, 1).dora();
    assert_eq!(dnsmasq.logged("DHCPACK").len(), 2);
}

#[test]
fn sigterm_ends_it_and_a_pidfd_sees_every_end() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    dnsmasq.stop();
    assert_eq!(dnsmasq.logged("exiting on receipt of SIGTERM").len(), 1);
    // It may not unlink in a directory of root: a pid file is no sign of life.
    assert!(dnsmasq.path("pid").exists());
    dnsmasq.start();
    let ended = dnsmasq.pidfd();
    lab.signal("KILL", dnsmasq.pid());
    assert!(Dnsmasq::ends_within(&ended, Duration::from_secs(5)));
    assert!(dnsmasq.path("pid").exists());
    dnsmasq.start();
}

#[test]
fn after_the_first_barrier_every_file_has_been_read() {
    let lab = machine();
    let dnsmasq = Dnsmasq::prepare(&lab, Setup::default());
    for n in 0..300 {
        let text = format!("{},10.0.1.{}\n", Mac::nth(n), n % 250);
        dnsmasq.write("hosts", &n.to_string(), &text);
    }
    for round in 1..6 {
        dnsmasq.try_start().unwrap();
        dnsmasq.barrier();
        let read = dnsmasq.logged("read ").iter().filter(|line| line.contains("/hosts/")).count();
        assert_eq!(read, round * 300);
        dnsmasq.stop();
    }
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

#[test]
fn nobody_is_told_no_while_it_starts() {
    let lab = machine();
    let setup = Setup::default().ranges(&[MANY_RANGE]).addresses(&["10.0.0.2/16"]);
    let dnsmasq = Dnsmasq::prepare(&lab, setup);
    dnsmasq.write("hosts", "all", &many_hosts(1000));
    let guest = lab.guest("br0", Mac::nth(1000));
    let capture = lab.capture("br0");
    let reboot = Ask::new(MessageType::Request).option(DhcpOption::RequestedIpAddress(many_ip(1000)));
    for _ in 0..5 {
        std::thread::scope(|scope| {
            scope.spawn(|| dnsmasq.try_start().unwrap());
            let first = || guest.ask_for(&reboot, Duration::from_micros(300));
            let answer = eventually("an answer", PATIENCE, first);
            assert_eq!(answer.kind(), MessageType::Ack);
        });
        capture.assert_no_nak();
        dnsmasq.stop();
    }
}

/// Restarts it while a guest asks every third of a millisecond.
fn deaf_for(dnsmasq: &Dnsmasq<'_>, guest: &crate::lab::Guest<'_>) -> Duration {
    let start = Instant::now();
    dnsmasq.restart();
    // Asked during the start, a socket may have kept the question: what counts is the first OFFER.
    guest.discover_until_answered(Duration::from_micros(300), Duration::from_secs(5));
    let took = start.elapsed();
    // It first answers the questions that waited meanwhile; while its socket is full of them, it loses others.
    guest.discover_until_answered(Duration::from_millis(100), PATIENCE);
    took
}
