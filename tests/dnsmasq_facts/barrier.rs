//! A DNS question as a barrier: its answer comes after every earlier inotify event.

use std::time::{Duration, Instant};

use crate::lab::{DnsReply, Dnsmasq, Setup, rtype};
use crate::{MANY_RANGE, host, leave_leases, machine, many_hosts, many_leases};

/// A host line whose refusal is logged; says which.
fn bad_line(dnsmasq: &Dnsmasq<'_>, n: usize) -> String {
    dnsmasq.write("hosts", &format!("bad{n}"), "02:zz\n");
    format!("bad hex constant at line 1 of {}/bad{n}\n", dnsmasq.path("hosts").display())
}

#[test]
fn when_the_barrier_answers_every_earlier_event_has_been_logged() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let dns = dnsmasq.local_dns();
    for n in 0..500 {
        let complaint = bad_line(&dnsmasq, n);
        dns.ask("barrier", rtype::A);
        assert!(dnsmasq.log().contains(&complaint), "round {n}");
    }
}

#[test]
fn the_barrier_holds_when_each_event_is_slow() {
    let lab = machine();
    let setup = Setup::default().ranges(&[MANY_RANGE]).addresses(&["10.0.0.2/16"]);
    let dnsmasq = Dnsmasq::prepare(&lab, setup);
    dnsmasq.write("hosts", "all", &many_hosts(1000));
    leave_leases(&dnsmasq, &many_leases(1000));
    dnsmasq.start();
    let dns = dnsmasq.local_dns();
    let mut took = Vec::new();
    for n in 0..100 {
        let start = Instant::now();
        let complaint = bad_line(&dnsmasq, n);
        dns.ask("barrier", rtype::A);
        took.push(start.elapsed());
        assert!(dnsmasq.log().contains(&complaint), "round {n}");
    }
    took.sort();
    println!("an event at 1,000 hosts with leases: median {:?}, most {:?}", took[50], took[99]);
}

#[test]
fn the_barrier_is_answered_here_whatever_is_asked() {
    let lab = machine();
    let setup = Setup::default().more(&["--local=/local.test/"]);
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host(1, 11));
    let dns = dnsmasq.local_dns();
    assert_eq!(dns.ask("barrier", rtype::A), DnsReply::refused());
    assert_eq!(dns.ask("barrier.local.test", rtype::A), DnsReply::nxdomain());
    let chaos = |name: &str| dns.ask_class(name, rtype::TXT, 3, Duration::from_secs(2)).unwrap();
    assert!(chaos("version.bind").answers[0].contains("dnsmasq-"));
    for (name, rtype, class) in
        [("barrier", rtype::A, 1), ("barrier.local.test", rtype::A, 1), ("version.bind", rtype::TXT, 3)]
    {
        let start = Instant::now();
        (0..500).for_each(|_| {
            dns.ask_class(name, rtype, class, Duration::from_secs(2)).unwrap();
        });
        println!("{name}: {:?} each", start.elapsed() / 500);
    }
}
