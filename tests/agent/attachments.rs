//! Networks that are attached otherwise than by a bridge: real leases, damages, and the end.

use std::net::Ipv4Addr;

use crate::agent::Agent;
use crate::lab::Mac;
use crate::manifests::{fixed, lan, lan_v4, network, object};
use crate::site::{Site, patiently};
use crate::switch::START;

const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

/// A wire from the node's `eth1` to a switch, where guests are.
const WIRE: &str =
    "ip link add eth1 type veth peer name far; ip link set far master switch up; ip link set eth1 up";

pub(crate) fn wired() -> Site {
    let site = Site::new();
    site.lab.bridge("switch");
    site.run_shell(WIRE);
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    site
}

fn attachment(site: &Site) -> String {
    let status = site.status();
    status.object("Network", "lan").unwrap()["device"]["attachment"].as_str().unwrap().to_owned()
}

/// Nothing of it is done anew by an agent that starts.
fn assert_adopted(site: &Site, agent: Agent<'_>, mapping: &str) {
    agent.kill9();
    let agent = site.launch().physical(&[mapping]).start_ready();
    assert_eq!(agent.actions(), Vec::<String>::new());
    agent.kill9();
}

#[test]
fn a_macvlan_serves_and_comes_back_with_its_parent() {
    let site = wired();
    let agent = site.launch().physical(&["lan=macvlan:eth1"]).start_ready();
    let guest = site.lab.guest("switch", Mac::nth(1));
    site.until_leased(&guest, VM1);
    assert_eq!(attachment(&site), "macvlan:eth1");
    site.run_shell("ip link delete eth1");
    site.until_not_ready("Network", "lan", "InterfaceNotFound", "there is no interface eth1");
    site.run_shell(WIRE);
    site.until_ready("Network", "lan");
    site.until_leased(&guest, VM1);
    site.run_shell(&format!(
        "ip netns delete {}; ip link set eth1 mtu 1499; ip link set eth1 mtu 1500",
        site.namespace()
    ));
    site.until_leased(&guest, VM1);
    site.write("a.yaml", &(network("lan", "mtu: 1501") + &lan_v4("")));
    site.until_not_ready("Network", "lan", "MTUTooLarge", "more than interface eth1 carries: 1500");
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    site.until_ready("Network", "lan");
    site.until_leased(&guest, VM1);
    assert_adopted(&site, agent, "lan=macvlan:eth1");
    site.remove_all();
    let _agent = site.launch().physical(&["lan=macvlan:eth1"]).start_ready();
    site.until_nothing_remains();
}

#[test]
fn a_macvlan_of_the_nodes_own_interface_is_refused_unless_allowed() {
    let site = wired();
    site.run_shell("ip address add 192.0.2.1/24 dev eth1");
    let launch = site.launch().physical(&["lan=macvlan:eth1"]);
    let agent = launch.start_ready();
    site.until_not_ready("Network", "lan", "InterfaceUnusable", "the node's address 192.0.2.1");
    agent.kill9();
    let _agent = launch.more(&["--macvlan-on-node-interfaces"]).start_ready();
    site.until_leased(&site.lab.guest("switch", Mac::nth(1)), VM1);
}

#[test]
fn a_network_whose_mapping_changes_moves() {
    let site = wired();
    let guest = site.lab.guest("switch", Mac::nth(1));
    for (mapping, devices) in [("lan=bridge:switch", 1), ("lan=macvlan:eth1", 0), ("lan=bridge:switch", 1)] {
        let agent = site.launch().physical(&[mapping]).start_ready();
        site.until_leased(&guest, VM1);
        assert_eq!(site.links().iter().filter(|name| name.starts_with("kd")).count(), devices);
        agent.kill9();
    }
}

/// Two switches for guests behind Open vSwitch: one in VLAN 100, one in another.
const BEHIND: &str = "for vlan in 100 200; do
        ip link add up$vlan type veth peer name down$vlan; ip link set up$vlan master vlan$vlan up; ip link set down$vlan up
        ovs-vsctl add-port br-int down$vlan tag=$vlan
    done";

fn in_vlan_100() -> String {
    let spec = "physicalNetworkRef: {name: trunk}\nsegmentation: {type: VLAN, vlan: {id: 100}}\ndns: {domain: vm.example.org}";
    object("Network", "lan", spec) + &lan_v4("") + &fixed("vm1", Mac::nth(1), "10.0.0.20", "hostname: vm1")
}

#[test]
fn a_port_of_open_vswitch_serves_its_vlan() {
    let site = Site::new();
    site.run_shell(START);
    for name in ["vlan100", "vlan200"] {
        site.lab.bridge(name);
    }
    site.run_shell(BEHIND);
    site.write("a.yaml", &in_vlan_100());
    let launch = site.launch().physical(&["trunk=ovs:br-int"]);
    let agent = launch.start_ready();
    let guest = site.lab.guest("vlan100", Mac::nth(1));
    site.until_leased(&guest, VM1);
    assert_eq!(attachment(&site), "ovs:br-int");
    assert!(site.lab.guest("vlan200", Mac::nth(1)).silent());
    // The switch is a program here: it passes frames on as they are, checksums and all.
    site.lab.run_in(guest.netns(), "iptables -t mangle -A POSTROUTING -p udp -j CHECKSUM --checksum-fill");
    site.lab.address(guest.netns(), "eth0", "10.0.0.20/24");
    let server = site.status().server("lan");
    let dig = format!("dig +short +tries=2 +time=3 @{server} vm1.vm.example.org");
    assert_eq!(site.lab.run_in(guest.netns(), &dig), "10.0.0.20\n");
    site.run_shell(&format!("ovs-vsctl del-port {}", site.outer_device()));
    site.until_leased(&guest, VM1);
    assert_adopted(&site, agent, "trunk=ovs:br-int");
    site.remove_all();
    let _agent = launch.start_ready();
    patiently("nothing of ours is left", |instead| {
        *instead = site.remains(true).join(" ");
        (instead == "br-int").then_some(())
    });
    assert!(!site.run_shell("ovs-vsctl list-ports br-int").contains("kd"));
}

#[test]
fn open_vswitch_is_waited_for() {
    let site = Site::new();
    site.write("a.yaml", &in_vlan_100());
    let _agent = site.launch().physical(&["trunk=ovs:br-int"]).start_ready();
    site.until_not_ready("Network", "lan", "OpenVSwitchAway", "/run/openvswitch/db.sock");
    site.run_shell(START);
    site.until_ready("Network", "lan");
}
