//! How an agent ends, and how dnsmasq does.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::lab::{Mac, MessageType, eventually};
use crate::manifests::{fixed, lan, port};
use crate::site::{BIN, LONG, Site};

const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

fn declared() -> String {
    lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")
}

#[test]
fn sigterm_leaves_everything_serving() {
    let site = Site::new();
    site.write("a.yaml", &declared());
    let agent = site.start();
    let guest = site.guest(1);
    let server = site.until_leased(&guest, VM1).server();
    let process = site.dnsmasq_pids();
    agent.stop();
    assert_eq!(guest.renew(VM1, server).map(|ack| ack.kind()), Some(MessageType::Ack));
    assert_eq!(guest.dora().yiaddr(), VM1);
    assert!(site.get("/livez").is_none(), "an agent still runs");
    let agent = site.start();
    assert_eq!((agent.actions(), site.dnsmasq_pids()), (vec![], process));
}

#[test]
fn sigint_ends_it_as_well() {
    let site = Site::new();
    site.write("a.yaml", &declared());
    let mut agent = site.start();
    site.lab.signal("INT", agent.pid());
    assert!(agent.until_exited().0.success());
    assert_eq!(site.dnsmasq_pids().len(), 1);
}

#[test]
fn stop_serving_on_exit_takes_all_down_but_what_was_allocated() {
    let site = Site::new();
    site.write("b.yaml", &(lan() + &port("vm-b", "lan", Mac::nth(2), "")));
    let agent = site.launch().more(&["--stop-serving-on-exit"]).start_ready();
    // In the order of names it would be the other way round.
    site.write("a.yaml", &port("vm-a", "lan", Mac::nth(1), ""));
    site.until_ready("Port", "vm-a");
    let status = site.status();
    let before = (status.addresses("vm-a"), status.addresses("vm-b"), status.server("lan"));
    assert!(before.1 < before.0);
    agent.stop();
    assert_eq!(site.remains(false), Vec::<String>::new());
    let _agent = site.start();
    let status = site.status();
    assert_eq!((status.addresses("vm-a"), status.addresses("vm-b"), status.server("lan")), before);
    site.until_leased(&site.guest(1), before.0[0]);
}

#[test]
fn cleanup_takes_down_what_an_agent_left_and_nothing_where_one_runs() {
    let site = Site::new();
    site.write("a.yaml", &declared());
    let agent = site.start();
    site.until_ready("Port", "vm1");
    let cleanup = || {
        let state = ["cleanup", "--state-dir", site.state.to_str().unwrap()];
        let done = crate::lab::output(site.lab.command(BIN).args(state));
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (done, why) = cleanup();
    assert!(!done && why.contains("another agent"), "{why}");
    site.assert_nothing_to_do();
    agent.kill9();
    for _ in 0..2 {
        let (done, why) = cleanup();
        assert!(done, "{why}");
        assert_eq!(site.remains(false), [] as [String; 0]);
    }
    let allocated = site.remains(true);
    assert!(allocated.iter().any(|path| path.contains("allocations")), "{allocated:?}");
    let _agent = site.start();
    site.until_leased(&site.guest(1), VM1);
}

#[test]
fn a_dnsmasq_that_ends_is_answered_at_once() {
    let site = Site::new();
    site.write("a.yaml", &declared());
    let agent = site.start();
    let guest = site.guest(1);
    let server = site.until_leased(&guest, VM1).server();
    for signal in ["KILL", "SEGV", "TERM"] {
        let pid = site.dnsmasq_pids()[0];
        let killed = Instant::now();
        site.lab.signal(signal, pid);
        // A signal takes its time: until then the old one answers.
        eventually("it ends", LONG, || (!site.dnsmasq_pids().contains(&pid)).then_some(()));
        guest.discover_until_answered(Duration::from_millis(20), Duration::from_secs(5));
        println!("SIG{signal} to OFFER: {:?}", killed.elapsed());
        let now = eventually("one dnsmasq", LONG, || Some(site.dnsmasq_pids()).filter(|p| p.len() == 1));
        assert_ne!(now, [pid]);
        // It knows its leases.
        assert_eq!(guest.renew(VM1, server).map(|ack| ack.kind()), Some(MessageType::Ack));
    }
    agent.until_logged("dnsmasq has ended");
    site.assert_nothing_to_do();
}

#[test]
fn a_crash_loop_is_backed_off_and_ends() {
    let site = Site::new();
    site.write("a.yaml", &declared());
    let agent = site.start();
    // One that is killed before it answers is a start that failed.
    let starts = || agent.log().iter().filter(|line| line.contains("start dnsmasq\"")).count();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        site.run_shell("for p in $(pidof dnsmasq); do kill -9 $p 2>/dev/null || true; done");
    }
    // At once, then 200, 400, 800 … ms after each other.
    assert!((3..=9).contains(&starts()), "{} starts in six seconds", starts());
    site.run_shell("for p in $(pidof dnsmasq); do kill -9 $p 2>/dev/null || true; done");
    site.until_leased(&site.guest(1), VM1);
    site.until_ready("Network", "lan");
}

#[test]
fn on_a_full_disk_who_serves_is_not_ended_for_files_that_cannot_be_written() {
    let site = Site::new();
    let state = site.state.display();
    site.run_shell(&format!("mkdir -p {state}; mount -t tmpfs -o size=2m,mode=755 none {state}"));
    let in_domain = |domain: &str| declared().replace("vm.example.org", domain);
    site.write("a.yaml", &in_domain("vm.example.org"));
    let agent = site.launch().more(&["--resync-seconds", "1"]).start_ready();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    let process = site.dnsmasq_pids();
    site.run_shell(&format!("dd if=/dev/zero of={state}/filler bs=4k status=none 2>&1 || true"));
    site.write("a.yaml", &in_domain("other.example.org"));
    agent.until_logged("failed to see whether the disk has");
    assert_eq!(guest.dora().text(15).as_deref(), Some("vm.example.org"));
    assert_eq!(site.dnsmasq_pids(), process);
    site.run_shell(&format!("rm {state}/filler"));
    eventually("the new domain is told", LONG, || {
        (guest.dora().text(15).as_deref() == Some("other.example.org")).then_some(())
    });
}
