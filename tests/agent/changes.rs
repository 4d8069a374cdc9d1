//! What is changed in the manifests, seen in the next answers.

use std::net::Ipv4Addr;

use crate::lab::{Answer, DnsReply, DnsSocket, Guest, Mac, MessageType, PATIENCE, eventually};
use crate::manifests::{fixed, lan, lan_v4, network, port, subnet};
use crate::site::{LONG, Site};

const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

/// Waits for an offer as wanted, takes it, and gives the ACK, which is as wanted, too.
fn until(guest: &Guest<'_>, what: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    eventually(what, LONG, || guest.discover(&[]).filter(&wanted));
    let ack = guest.dora();
    assert!(wanted(&ack), "{what}: {:?}", ack.options);
    ack
}

fn vm1(more: &str) -> String {
    fixed("vm1", Mac::nth(1), "10.0.0.20", more)
}

#[test]
fn a_ports_change_is_in_the_next_answer() {
    let site = Site::new();
    site.write("lan.yaml", &lan());
    site.write("vm1.yaml", &vm1(""));
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    let ntp = |ip: &str| format!("options: [{{name: ntp-server, values: [{ip}], family: IPv4}}]");
    site.write("vm1.yaml", &vm1(&ntp("192.0.2.1")));
    until(&guest, "an option comes", |a| a.option(42) == Some(&[192, 0, 2, 1]));
    site.write("vm1.yaml", &vm1(&ntp("192.0.2.2")));
    until(&guest, "an option changes", |a| a.option(42) == Some(&[192, 0, 2, 2]));
    site.write("vm1.yaml", &vm1(""));
    until(&guest, "an option goes", |a| a.option(42).is_none());
    site.write("vm1.yaml", &vm1("hostname: other"));
    until(&guest, "the hostname changes", |a| a.text(12).as_deref() == Some("other"));
    site.until_ready("Port", "vm1");
    site.assert_nothing_to_do();
}

#[test]
fn a_ports_new_address_and_new_mac() {
    let site = Site::new();
    site.lab.bridge("br0");
    site.write("lan.yaml", &lan());
    site.write("vm1.yaml", &vm1(""));
    let _agent = site.start();
    let (guest, new) = (site.guest(1), Ipv4Addr::new(10, 0, 0, 30));
    let server = site.until_leased(&guest, VM1).server();
    site.write("vm1.yaml", &fixed("vm1", Mac::nth(1), "10.0.0.30", ""));
    site.until_leased(&guest, new);
    let refused = guest.renew(VM1, server).expect("silence for the old address");
    assert_eq!(refused.kind(), MessageType::Nak);
    assert!(!leases(&site).contains("10.0.0.20 "), "{}", leases(&site));

    site.write("vm1.yaml", &fixed("vm1", Mac::nth(2), "10.0.0.30", ""));
    let other = site.lab.twin(&guest, Mac::nth(2));
    site.until_leased(&other, new);
    site.until_silent(&guest);
    assert!(guest.renew(new, server).is_none_or(|answer| answer.kind() == MessageType::Nak));
    site.until_ready("Port", "vm1");
    site.assert_nothing_to_do();
}

#[test]
fn a_subnets_and_a_networks_change_is_in_the_next_answer() {
    let site = Site::new();
    site.write("lan.yaml", &lan());
    site.write("vm1.yaml", &vm1(""));
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    let lan = |more: &str| network("lan", "dns: {domain: vm.example.org}") + &lan_v4(more);
    site.write("lan.yaml", &lan("dhcp: {leaseDurationSeconds: 1200}"));
    until(&guest, "the lease time changes", |a| a.seconds(51) == Some(1200));
    site.write("lan.yaml", &lan("gateway: {type: Address, address: 10.0.0.254}"));
    until(&guest, "the gateway changes", |a| a.option(3) == Some(&[10, 0, 0, 254]));
    site.write("lan.yaml", &lan("gateway: {type: None}"));
    until(&guest, "the gateway goes", |a| a.option(3).is_none());
    site.write("lan.yaml", &lan("dns: {type: Addresses, addresses: [192.0.2.53]}"));
    let ack = until(&guest, "the DNS servers change", |a| a.option(6) == Some(&[192, 0, 2, 53]));
    assert_eq!(ack.option(3), Some(&[10, 0, 0, 1][..]), "the gateway is back");
    assert_eq!(ack.option(121), None);
    let second = subnet("second", "lan", "10.1.0.0/24", "");
    let both = lan("") + &second + &port("vm2", "lan", Mac::nth(2), "addresses: [{ip: 10.1.0.20}]");
    site.write("lan.yaml", &both);
    let routes: &[u8] = &[24, 10, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
    until(&guest, "a route to the new subnet", |a| a.option(121) == Some(routes));
    let other = site.lab.twin(&guest, Mac::nth(2));
    site.until_leased(&other, Ipv4Addr::new(10, 1, 0, 20));
    site.write("lan.yaml", &lan(""));
    until(&guest, "the route goes with the subnet", |a| a.option(121).is_none());
    site.until_silent(&other);
    site.write("lan.yaml", &(network("lan", "mtu: 1300\ndns: {domain: new.example.org}") + &lan_v4("")));
    let changed =
        |a: &Answer| a.option(26) == Some(&[5, 20]) && a.text(15).as_deref() == Some("new.example.org");
    until(&guest, "MTU and domain change", changed);
    let netns = site.lab.netns_names().into_iter().find(|name| name.starts_with("kdhcp-")).unwrap();
    let device = site.lab.run_in(&netns, "ip link show dhcp0");
    assert!(device.contains("mtu 1300"), "{device}");
    site.until_ready("Network", "lan");
    site.assert_nothing_to_do();
}

#[test]
fn a_removed_port_meets_silence_and_its_lease_and_name_are_gone() {
    let site = Site::new();
    site.write("lan.yaml", &(lan() + &fixed("vm2", Mac::nth(2), "10.0.0.21", "")));
    site.write("vm1.yaml", &vm1("hostname: vm1"));
    let _agent = site.start();
    let (guest, other) = (site.guest(1), site.guest(2));
    site.until_leased(&guest, VM1);
    let server = site.until_leased(&other, Ipv4Addr::new(10, 0, 0, 21)).server();
    other.configure("10.0.0.21/24", None);
    let dns = DnsSocket::new(&site.lab, Some(other.netns()), server);
    assert_eq!(dns.reverse(VM1), DnsReply::found(&["vm1.vm.example.org"]));
    let process = site.dnsmasq_pids();
    site.remove("vm1.yaml");
    site.until_silent(&guest);
    for (how, answer) in [
        ("renewal", guest.renew(VM1, server)),
        ("rebinding", guest.rebind(VM1)),
        ("init-reboot", guest.init_reboot(VM1)),
        ("inform", guest.inform(VM1)),
    ] {
        assert!(answer.is_none_or(|answer| answer.kind() == MessageType::Nak), "{how} is still answered");
    }
    eventually("the lease is gone", PATIENCE, || (!leases(&site).contains("10.0.0.20 ")).then_some(()));
    eventually("the name is gone", PATIENCE, || (dns.reverse(VM1) == DnsReply::nxdomain()).then_some(()));
    assert!(leases(&site).contains("10.0.0.21 "), "another port's lease is gone, too");
    assert_eq!(site.dnsmasq_pids(), process, "a removal needs no restart");
    assert!(site.status().object("Port", "vm1").is_none());
}

#[test]
fn an_address_is_given_to_another_mac_at_once() {
    let site = Site::new();
    site.write("lan.yaml", &lan());
    site.write("vm.yaml", &vm1(""));
    let _agent = site.start();
    let (old, new) = (site.guest(1), site.guest(2));
    site.until_leased(&old, VM1);
    site.write("vm.yaml", &fixed("vm2", Mac::nth(2), "10.0.0.20", ""));
    let server = site.until_leased(&new, VM1).server();
    assert!(old.silent());
    assert!(old.rebind(VM1).is_none_or(|answer| answer.kind() == MessageType::Nak));
    assert!(
        leases(&site).contains(&Mac::nth(2).to_string()) && !leases(&site).contains(&Mac::nth(1).to_string())
    );
    let renewed = eventually("an answer", PATIENCE, || new.renew(VM1, server));
    assert_eq!(renewed.kind(), MessageType::Ack);
    site.until_ready("Port", "vm2");
    site.assert_nothing_to_do();
}

#[test]
fn two_ports_swap_their_addresses() {
    let site = Site::new();
    let pair = |a, b| lan() + &fixed("a", Mac::nth(1), a, "") + &fixed("b", Mac::nth(2), b, "");
    site.write("a.yaml", &pair("10.0.0.20", "10.0.0.21"));
    let _agent = site.start();
    let (a, b) = (site.guest(1), site.guest(2));
    let (low, high) = (VM1, Ipv4Addr::new(10, 0, 0, 21));
    site.until_leased(&a, low);
    site.until_leased(&b, high);
    site.write("a.yaml", &pair("10.0.0.21", "10.0.0.20"));
    site.until_leased(&a, high);
    site.until_leased(&b, low);
    site.until_ready("Port", "a");
    site.until_ready("Port", "b");
    site.assert_nothing_to_do();
    assert_eq!(leases(&site).lines().count(), 2, "{}", leases(&site));
}

#[test]
fn a_port_re_created_as_it_was_has_its_own_address_again() {
    let site = Site::new();
    site.write("lan.yaml", &lan());
    for n in 1..=3 {
        site.write(&format!("vm{n}.yaml"), &port(&format!("vm{n}"), "lan", Mac::nth(n), ""));
    }
    let _agent = site.start();
    let guests: Vec<_> = (1..=4).map(|n| site.guest(n)).collect();
    let before = site.status().addresses("vm1")[0];
    site.until_leased(&guests[0], before);
    site.remove("vm1.yaml");
    site.until_silent(&guests[0]);
    // Somebody else comes meanwhile and does not get it: there are others that nobody ever had.
    site.write("vm4.yaml", &port("vm4", "lan", Mac::nth(4), ""));
    site.until_ready("Port", "vm4");
    let other = site.status().addresses("vm4")[0];
    assert_ne!(other, before);
    site.until_leased(&guests[3], other);
    site.write("vm1.yaml", &port("vm1", "lan", Mac::nth(1), ""));
    site.until_leased(&guests[0], before);
    site.until_ready("Port", "vm1");
    site.assert_nothing_to_do();
}

#[test]
fn a_network_that_goes_and_comes_again_is_served_again() {
    let site = Site::new();
    let all = lan() + &vm1("");
    site.write("a.yaml", &all);
    let agent = site.start();
    for round in 0..8 {
        // Less and less time for its end.
        site.remove("a.yaml");
        if round < 2 {
            eventually("it ends", LONG, || site.dnsmasq_pids().is_empty().then_some(()));
        } else if round < 5 {
            let ends = agent.actions().iter().filter(|action| action.contains("stop dnsmasq")).count();
            eventually("it begins to end", LONG, || {
                let now = agent.actions().iter().filter(|action| action.contains("stop dnsmasq")).count();
                (now > ends || site.dnsmasq_pids().is_empty()).then_some(())
            });
        }
        site.write("a.yaml", &all);
    }
    site.until_ready("Port", "vm1");
    site.until_leased(&site.guest(1), VM1);
    site.assert_nothing_to_do();
    assert_eq!((site.dnsmasq_pids().len(), site.network_dirs().len()), (1, 1));
    site.remove_all();
    // The bridge stays as long as a guest is in it.
    eventually("it ends for good", LONG, || (site.remains(true) == ["br0"]).then_some(()));
}

#[test]
fn a_physical_network_that_is_another_bridge_after_a_restart_moves_the_device() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &vm1("")));
    site.start().stop();
    let process = site.dnsmasq_pids();
    let launch = site.launch().physical(&["lan=bridge:br-new"]).more(&["--resync-seconds", "1"]);
    let _agent = launch.start_ready();
    site.until_leased(&site.lab.guest("br-new", Mac::nth(1)), VM1);
    eventually("the old bridge is gone", LONG, || (!site.links().contains(&"br0".into())).then_some(()));
    assert_eq!(site.dnsmasq_pids(), process, "a device that moves needs no restart");
}

fn leases(site: &Site) -> String {
    std::fs::read_to_string(site.network_dir().join("leases")).unwrap()
}
