//! Networks with VLANs: on a bridge that filters them, and on interfaces for each. The kernel of whoever
//! runs the tests may have neither, so another one is booted.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::agent::Agent;
use crate::lab::{Guest, Mac, eventually};
use crate::manifests::{lan, port, subnet, vlan};
use crate::site::{LONG, Site, patiently};
use crate::vm::in_another_kernel;

const VM: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);
const MAPPING: &str = "trunk=bridge:br0";

/// A network of a VLAN, whose one Port has this MAC address and the same address as all others'.
fn whole(name: &str, id: u16, mac: u32) -> String {
    let port = port(name, name, Mac::nth(mac), "addresses: [{ip: 10.0.0.20}]\n");
    vlan(name, id) + &subnet(name, name, "10.0.0.0/24", "") + &port
}

/// Two of them, a bridge that filters, and an agent.
fn two() -> Site {
    let site = Site::new();
    site.run_shell("ip link add br0 type bridge vlan_filtering 1; ip link set br0 promisc on up");
    site.write("a.yaml", &(whole("a", 100, 1) + &whole("b", 200, 2)));
    site
}

fn start(site: &Site) -> Agent<'_> {
    site.launch().physical(&[MAPPING]).no_bridges().start_ready()
}

/// A guest on a port of the bridge that is in this VLAN.
fn guest<'s>(site: &'s Site, bridge: &str, vlan: u16, mac: u32) -> Guest<'s> {
    let guest = site.lab.guest(bridge, Mac::nth(mac));
    let number = |name: &str| name.strip_prefix('p')?.parse::<u32>().ok();
    let ports = site.lab.run(&format!("ls /sys/class/net/{bridge}/brif"));
    let last = ports.split_whitespace().filter_map(number).max().unwrap();
    site.run_shell(&format!(
        "bridge vlan del dev p{last} vid 1; bridge vlan add dev p{last} vid {vlan} pvid untagged"
    ));
    guest
}

/// The outer device of a network.
fn device(site: &Site, network: &str) -> String {
    let status = site.status();
    status.object("Network", network).unwrap()["device"]["name"].as_str().unwrap().to_owned()
}

/// Its VLANs: numbers and flags.
fn vlans(site: &Site, device: &str) -> Vec<(u64, Vec<String>)> {
    let text = site.run_shell(&format!("bridge -j vlan show dev {device}"));
    let ports: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    let vlans = ports.iter().filter_map(|port| port["vlans"].as_array()).flatten();
    let flags = |vlan: &Value| {
        let flags = vlan["flags"].as_array().cloned().unwrap_or_default();
        flags.iter().map(|flag| flag.as_str().unwrap().to_owned()).collect()
    };
    vlans.map(|vlan| (vlan["vlan"].as_u64().unwrap(), flags(vlan))).collect()
}

fn only(vlan: u64) -> Vec<(u64, Vec<String>)> {
    vec![(vlan, vec!["PVID".to_owned(), "Egress Untagged".to_owned()])]
}

fn until_only(site: &Site, device: &str, vlan: u64) {
    patiently(&format!("{device} is in VLAN {vlan} only"), |instead| {
        let found = vlans(site, device);
        *instead = format!("{found:?}");
        (found == only(vlan)).then_some(())
    });
}

#[test]
#[ignore = "boots another kernel: make test-vm"]
fn one_bridge_keeps_the_vlans_of_its_networks_apart() {
    in_another_kernel("vlans::one_bridge_keeps_the_vlans_of_its_networks_apart", || {
        let site = two();
        let agent = start(&site);
        let guests = [(100, 1), (200, 2)].map(|(vlan, mac)| guest(&site, "br0", vlan, mac));
        for guest in &guests {
            site.until_leased(guest, VM);
        }
        // What is known in the one is a stranger in the other.
        for (vlan, mac) in [(100, 2), (200, 1)] {
            assert!(guests[0].discover(&[]).is_some(), "it is too slow to tell silence");
            assert!(guest(&site, "br0", vlan, mac).silent(), "VLAN {vlan} hears what is not its own");
        }
        assert!(site.lab.guest("br0", Mac::nth(1)).silent(), "VLAN 1 hears what is VLAN 100's");
        let device = device(&site, "a");
        assert_eq!(vlans(&site, &device), only(100));
        println!("apart");
        // By hand: at once, not with the next pass in a minute.
        for change in ["add dev DEV vid 300", "del dev DEV vid 100", "add dev DEV vid 1 pvid untagged"] {
            site.run_shell(&format!("bridge vlan {}", change.replace("DEV", &device)));
            until_only(&site, &device, 100);
        }
        site.run_shell(&format!("ip link set {device} nomaster"));
        until_only(&site, &device, 100);
        site.until_leased(&guests[0], VM);
        println!("mended");
        agent.kill9();
        let agent = start(&site);
        assert_eq!(agent.actions(), Vec::<String>::new());
        println!("adopted");
        filtering_ends_and_comes_back(&site, &device, &guests[0]);
        site.remove_all();
        eventually("both are taken down", LONG, || site.network_dirs().is_empty().then_some(()));
        drop(agent);
    });
}

fn filtering_ends_and_comes_back(site: &Site, device: &str, guest: &Guest<'_>) {
    let filtering = |on: u8| site.run_shell(&format!("ip link set br0 type bridge vlan_filtering {on}"));
    filtering(0);
    site.until_not_ready("Network", "a", "InterfaceUnusable", "does not filter VLANs");
    assert!(!site.lab.exists(&format!("/sys/class/net/{device}/brport")), "it hears all VLANs");
    filtering(1);
    site.until_leased(guest, VM);
    until_only(site, device, 100);
    println!("off and on");
}

#[test]
#[ignore = "boots another kernel: make test-vm"]
fn the_default_vlan_of_a_bridge_is_no_networks_own() {
    in_another_kernel("vlans::the_default_vlan_of_a_bridge_is_no_networks_own", || {
        let site = two();
        let untagged = lan() + &port("c", "lan", Mac::nth(3), "addresses: [{ip: 10.0.0.30}]\n");
        site.write("b.yaml", &(whole("one", 1, 4) + &untagged));
        let _agent = site.launch().physical(&[MAPPING, "lan=bridge:br0"]).no_bridges().start_ready();
        site.until_not_ready("Network", "one", "InterfaceUnusable", "VLAN 1 is the default of bridge br0");
        site.until_leased(&site.lab.guest("br0", Mac::nth(3)), Ipv4Addr::new(10, 0, 0, 30));
        // What is in none by default leaves it free.
        site.run_shell("ip link set br0 type bridge vlan_default_pvid 0");
        site.until_leased(&guest(&site, "br0", 1, 4), VM);
        until_only(&site, &device(&site, "one"), 1);
        site.until_leased(&guest(&site, "br0", 100, 1), VM);
    });
}

/// `eth1` leads to a switch that has all VLANs on it; on the node it is divided.
const DIVIDED: &str = "ip link add switch type bridge vlan_filtering 1; ip link set switch promisc on up
    ip link add eth1 type veth peer name far; ip link set far master switch up; ip link set eth1 up
    for id in 100 200; do
        bridge vlan add dev far vid $id; ip link add link eth1 name eth1.$id type vlan id $id
        ip link add br-$id type bridge; ip link set br-$id up; ip link set eth1.$id master br-$id up
    done";

#[test]
#[ignore = "boots another kernel: make test-vm"]
fn a_bridge_for_each_vlan_has_it_from_the_wire() {
    in_another_kernel("vlans::a_bridge_for_each_vlan_has_it_from_the_wire", || {
        let site = Site::new();
        site.run_shell(DIVIDED);
        site.write("a.yaml", &(whole("a", 100, 1) + &whole("b", 200, 2)));
        let _agent = site.launch().physical(&["trunk=bridge:br-{vlan}"]).no_bridges().start_ready();
        for (vlan, mac) in [(100, 1), (200, 2)] {
            site.until_leased(&guest(&site, "switch", vlan, mac), VM);
        }
        assert!(guest(&site, "switch", 100, 2).silent());
    });
}

/// Any kernel has those.
#[test]
fn a_bridge_that_filters_nothing_is_no_ones_vlan() {
    let site = Site::new();
    site.lab.bridge("br0");
    site.write("a.yaml", &whole("a", 100, 1));
    let plan = site.run(&site.launch().physical(&[MAPPING]).no_bridges().arguments("plan"));
    assert!(plan.contains("wait for bridge br0 that filters VLANs and keeps 100 free"), "{plan}");
    assert!(plan.contains("in bridge br0, VLAN 100"), "{plan}");
    let agent = start(&site);
    site.until_not_ready("Network", "a", "InterfaceUnusable", "like bridge:br-{vlan}");
    assert!(site.guest(1).silent());
    assert!(site.dnsmasq_pids().is_empty());
    agent.kill9();
}
