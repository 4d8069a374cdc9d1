//! Networks that are attached otherwise than by a bridge: real leases, damages, and the end.

use std::net::Ipv4Addr;

use crate::agent::Agent;
use crate::lab::Mac;
use crate::manifests::{fixed, lan, lan_v4, network};
use crate::site::Site;

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
