//! Proves that the lab works, tells right from wrong, and leaves nothing behind. Needs root.

mod lab;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use lab::MessageType::{Ack, Discover, Nak, Offer, Request};
use lab::{Ask6, Dnsmasq, Kind6, Lab, Mac, PATIENCE, Setup, rtype, status};

const VM1: Mac = Mac([2, 0, 0, 0, 0, 1]);
const VM1_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const VM1_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);

fn lab_with_server(setup: Setup) -> (Lab, Setup) {
    let lab = Lab::new();
    lab.bridge("br0");
    (lab, setup)
}

fn host() -> String {
    format!("{VM1},{VM1_IP},vm1\n")
}

#[test]
fn the_wire_client_gets_keeps_and_returns_a_lease() {
    let (lab, setup) = lab_with_server(Setup::default());
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host());
    let guest = lab.guest("br0", VM1);
    let ack = guest.dora();
    assert_eq!(ack.yiaddr(), VM1_IP);
    assert_eq!(ack.message().yiaddr(), VM1_IP);
    assert!(ack.checksum_ok);
    assert_eq!(guest.renew(VM1_IP, dnsmasq.address()).unwrap().kind(), Ack);
    assert_eq!(guest.rebind(VM1_IP).unwrap().kind(), Ack);
    assert_eq!(guest.init_reboot(VM1_IP).unwrap().kind(), Ack);
    assert!(guest.inform(VM1_IP).is_some());
    assert!(dnsmasq.leases().contains(&VM1.to_string()));
    guest.release(VM1_IP, dnsmasq.address());
    lab::eventually("the lease is gone", PATIENCE, || {
        (!dnsmasq.leases().contains(&VM1.to_string())).then_some(())
    });
    guest.decline(VM1_IP, dnsmasq.address());
    dnsmasq.wait_for_log("DHCPDECLINE");
}

#[test]
fn real_clients_get_a_lease() {
    let (lab, setup) = lab_with_server(Setup::default());
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host());
    let guest = lab.guest("br0", VM1);
    let bound = guest.udhcpc(&[]).expect("udhcpc has no lease");
    assert_eq!(bound["ip"], "10.0.0.11");
    assert_eq!(guest.dig(dnsmasq.address().into(), "vm1", "A").answers, ["10.0.0.11"]);

    let client = guest.dhclient();
    let bound = client.start().expect("dhclient has no lease");
    assert_eq!((&*bound["reason"], &*bound["new_ip_address"]), ("BOUND", "10.0.0.11"));
    client.stop();
    let bound = client.start().expect("dhclient has no lease after a restart");
    assert_eq!((&*bound["reason"], &*bound["new_ip_address"]), ("REBOOT", "10.0.0.11"));
    client.release();
    dnsmasq.wait_for_log("DHCPRELEASE");
}

#[test]
fn a_bad_checksum_is_noticed() {
    let setup = Setup { fill_checksums: false, ..Setup::default() };
    let (lab, setup) = lab_with_server(setup);
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host());
    let guest = lab.guest("br0", VM1);
    assert!(!guest.discover(&[]).unwrap().checksum_ok);
}

#[test]
fn a_capture_sees_both_sides_and_a_nak() {
    let (lab, setup) = lab_with_server(Setup::default());
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host());
    let (guest, capture) = (lab.guest("br0", VM1), lab.capture("br0"));
    guest.dora();
    assert_eq!(capture.kinds(), [Discover, Offer, Request, Ack]);
    capture.assert_no_nak();
    assert_eq!(guest.init_reboot([10, 0, 0, 99].into()).unwrap().kind(), Nak);
    assert_eq!(capture.kinds(), [Request, Nak]);
}

fn setup6(mode: &str) -> Setup {
    let ranges = [&*format!("set:s6,2001:db8::,{mode},64,86400")];
    Setup::default().addresses(&["2001:db8::2/64"]).ranges(&ranges)
}

fn host6() -> String {
    format!("{VM1},[{VM1_IP6}],vm1\n")
}

#[test]
fn the_wire_client_of_dhcpv6_gets_keeps_and_returns_a_lease() {
    let (lab, setup) = lab_with_server(setup6("static"));
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host6());
    let guest = lab.guest6("br0", VM1);
    let reply = guest.sarr();
    assert_eq!((reply.kind(), reply.addresses()), (Kind6::Reply, vec![VM1_IP6]));
    assert_eq!((reply.lifetimes()[0].valid, reply.status()), (86_400, Some(status::SUCCESS)));
    let typed = reply.message();
    let codes: Vec<u16> =
        typed.opts().iter().map(|option| dhcproto::v6::OptionCode::from(option).into()).collect();
    let mut ours: Vec<u16> = reply.options.iter().map(|(code, _)| *code).collect();
    ours.sort_unstable();
    assert_eq!(ours, codes);
    let server = reply.server();
    assert_eq!(guest.renew(VM1_IP6, &server).unwrap().addresses(), [VM1_IP6]);
    assert_eq!(guest.rebind(VM1_IP6).unwrap().addresses(), [VM1_IP6]);
    assert_eq!(guest.confirm(VM1_IP6).unwrap().status(), Some(status::SUCCESS));
    assert!(!guest.information_request().unwrap().list(23).is_empty());
    assert!(dnsmasq.leases().contains(" 1 2001:db8::11 vm1 00:03:00:01:02:00:00:00:00:01\n"));
    assert_eq!(guest.release(VM1_IP6, &server).unwrap().status(), Some(status::SUCCESS));
    dnsmasq.barrier();
    assert!(!dnsmasq.leases().contains("vm1"), "{}", dnsmasq.leases());
    assert_eq!(guest.decline(VM1_IP6, &server).unwrap().ia_status(), Some(status::NO_BINDING));
}

#[test]
fn a_message_of_dhcpv6_has_what_the_test_put_into_it() {
    let setup = setup6("static").more(&[
        "--dhcp-userclass=set:u,iPXE",
        "--dhcp-vendorclass=set:v,enterprise:343,boot",
        "--dhcp-option=tag:u,option6:59,\"user\"",
        "--dhcp-option=tag:v,option6:60,\"vendor\"",
    ]);
    let (lab, setup) = lab_with_server(setup);
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host6());
    let guest = lab.guest6("br0", VM1).with_duid(&[0, 4, 9, 9]).with_iaid(7);
    let ask = Ask6::new(Kind6::Solicit).want(&[59, 60]);
    let answer = guest.answer(&ask.clone().user_class("iPXE").vendor_class(343, "boot"));
    assert!(answer.option(59).is_some() && answer.option(60).is_some());
    assert_eq!((answer.client(), answer.given()[0].iaid), (Some(&[0, 4, 9, 9][..]), 7));
    let answer = guest.answer(&ask.want(&[59]));
    assert_eq!((answer.option(59), answer.option(60)), (None, None));
}

#[test]
fn only_a_guest_that_is_not_muted_answers_for_its_address() {
    let (lab, setup) = lab_with_server(setup6("static"));
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host6());
    let other = "fe80::1234".parse().unwrap();
    assert_eq!(lab.guest6("br0", VM1).with_link_local(other).sarr().addresses(), [VM1_IP6]);
    let mute = lab.guest6("br0", Mac::nth(2)).muted();
    assert!(mute.silent());
    let known = lab.run_in(dnsmasq.netns(), "ip -6 neighbour");
    assert!(known.contains(&format!("fe80::1234 dev srv0 lladdr {VM1} ")), "{known}");
    assert!(!known.contains(&format!("lladdr {}", mute.mac())), "{known}");
}

#[test]
fn a_router_advertisement_is_taken_apart() {
    let setup = setup6("slaac").more(&[
        "--ra-param=srv0,mtu:1400,60,0",
        "--dhcp-option=option6:23,[2001:db8::53]",
        "--dhcp-option=option6:24,a.test,b.test",
    ]);
    let (lab, setup) = lab_with_server(setup);
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, "");
    let advert = lab.guest6("br0", VM1).router_solicit().expect("no advertisement");
    assert_eq!((advert.managed, advert.other, advert.lifetime, advert.mtu), (false, false, 0, Some(1400)));
    let [prefix] = &advert.prefixes[..] else { panic!("{advert:?}") };
    assert_eq!((prefix.address, prefix.length), ("2001:db8::".parse().unwrap(), 64));
    assert!(prefix.on_link && prefix.autonomous && prefix.valid == 86_400);
    assert_eq!(advert.dns_servers, ["2001:db8::53".parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(advert.search, ["a.test", "b.test"]);
}

#[test]
fn a_dns_socket_speaks_both_families() {
    let (lab, setup) = lab_with_server(setup6("static"));
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, "");
    dnsmasq.apply("names", "all", "2001:db8::11 vm1\n");
    let dns = dnsmasq.local_dns();
    assert_eq!(dns.ask("vm1", rtype::AAAA).answers, ["2001:db8::11"]);
    assert_eq!(dns.reverse6(VM1_IP6).answers, ["vm1"]);
}

#[test]
fn a_stranger_meets_silence_and_a_twin_is_another_guest() {
    let (lab, setup) = lab_with_server(Setup::default());
    let _dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host());
    let stranger = lab.guest("br0", Mac::nth(77));
    assert!(stranger.silent());
    assert_eq!(lab.twin(&stranger, VM1).dora().yiaddr(), VM1_IP);
}

#[test]
fn the_lab_is_a_machine_of_its_own() {
    let lab = Lab::new();
    lab.run("ip netns add only-here");
    assert_eq!(lab.netns_names(), ["only-here"]);
    assert!(lab.exists("/run/netns/only-here"));
    assert!(!Path::new("/run/netns/only-here").exists());
    assert!(lab.run_in("only-here", "cat /proc/net/dev").contains("lo:"));
    let links = lab.run("ls /sys/class/net");
    assert!(!links.contains("eth"), "{links}");
    assert!(lab.command("false").status().unwrap().code() == Some(1));
}

#[test]
fn nothing_is_left_of_a_dropped_lab() {
    let (lab, setup) = lab_with_server(Setup::default());
    let (init, state) = (lab.pidfd(), lab.state().to_owned());
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, &host());
    let daemon = dnsmasq.pidfd();
    assert_eq!(lab.pids_of("dnsmasq").len(), 1);
    let space = std::fs::read_link(format!("/proc/{}/ns/net", lab.init_pid())).unwrap();
    drop(lab);
    assert!(ended(&init) && ended(&daemon) && !state.exists());
    let anybody = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|process| std::fs::read_link(process.path().join("ns/net")).is_ok_and(|ns| ns == space));
    assert!(!anybody, "somebody still is in the lab's network namespace");
}

/// The test binary starts itself, is killed with SIGKILL, and its lab must be gone.
#[test]
fn nothing_is_left_of_a_killed_test() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_test_that_is_killed", "--ignored", "--nocapture"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let line = said.lines().map_while(Result::ok).find(|line| line.contains("init=")).unwrap();
    let (pid, state) = line.split_once("init=").unwrap().1.split_once(' ').unwrap();
    let daemon = pid.parse().unwrap();
    assert!(Path::new(state).exists());
    let pid = rustix::process::Pid::from_raw(daemon).unwrap();
    let init = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ended(&init));
    assert!(!Path::new(state).exists());
}

#[test]
#[ignore = "started and killed by nothing_is_left_of_a_killed_test"]
fn a_test_that_is_killed() {
    let lab = Lab::new();
    println!("init={} {}", lab.init_pid(), lab.state().display());
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
}

fn ended(process: &OwnedFd) -> bool {
    Dnsmasq::ends_within(process, PATIENCE)
}
