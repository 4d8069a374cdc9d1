//! What is found at a start: networks nobody wants any more, halves of networks, and what is not ours.

use crate::agent::Launch;
use crate::lab::{Mac, eventually};
use crate::manifests::{fixed, lan, port, subnet, vlan};
use crate::site::{LONG, Site};

const UNKNOWN: &str = "3f0c9a1b-0000-4000-8000-000000000001";

fn declared(n: u16) -> String {
    let name = format!("net{n}");
    let port = port(&format!("vm{n}"), &name, Mac::nth(n.into()), "");
    vlan(&name, n) + &subnet(&format!("sub{n}"), &name, "10.0.0.0/24", "") + &port
}

fn launch(site: &Site) -> Launch<'_> {
    site.launch().physical(&["trunk=bridge:br-{vlan}"])
}

/// A namespace with a dnsmasq, a bridge, links and files that look a little like ours.
fn foreign(site: &Site) {
    site.run_shell(
        "ip netns add other; ip netns add kdhcp-other; touch /run/netns/kdhcp-file
        ip link add brforeign type bridge; ip link add kdforeign type bridge
        ip link add kd0123456789ab type veth peer name foreign
        ip netns exec other ip link set lo up
        ip netns exec other dnsmasq --conf-file=/dev/null --port=5353 --pid-file=/run/other.pid",
    );
    std::fs::create_dir_all(site.state.join("networks/not-ours")).unwrap();
}

fn assert_foreign_untouched(site: &Site) {
    site.run_shell(
        "ip netns exec other true; ip netns exec kdhcp-other true; test -e /run/netns/kdhcp-file
        ip link show brforeign; ip link show kdforeign; ip link show kd0123456789ab
        kill -0 $(cat /run/other.pid)",
    );
    assert!(site.state.join("networks/not-ours").is_dir());
}

#[test]
fn networks_deleted_while_the_agent_was_away_go_and_nothing_else() {
    let site = Site::new();
    (1..=3).for_each(|n| site.write(&format!("net{n}.yaml"), &declared(n)));
    foreign(&site);
    launch(&site).start_ready().stop();
    let kept = site.status().object("Network", "net2").unwrap()["pid"].clone();
    site.remove("net1.yaml");
    site.remove("net3.yaml");
    let agent = launch(&site).start_ready();
    let gone = |name: &String| name != "br-1" && name != "br-3";
    eventually("the bridges are gone", LONG, || site.links().iter().all(gone).then_some(()));
    assert_eq!(site.network_dirs().len(), 2, "one network's, and the one that is not ours");
    let ours = |names: Vec<String>| names.iter().filter(|n| n.len() == "kdhcp-".len() + 36).count();
    assert_eq!(ours(site.lab.netns_names()), 1);
    assert_eq!(site.dnsmasq_pids().len(), 2, "ours and the foreign one");
    let status = site.status();
    assert_eq!(status.object("Network", "net2").unwrap()["pid"], kept, "it was restarted");
    assert!(status.object("Network", "net1").is_none());
    assert_foreign_untouched(&site);
    assert!(!agent.actions().iter().any(|action| action.contains("start")), "{:?}", agent.actions());
    agent.kill9();
    site.remove("net2.yaml");
    let _agent = launch(&site).start_ready();
    eventually("the last bridge is gone", LONG, || (!site.links().contains(&"br-2".into())).then_some(()));
    assert_foreign_untouched(&site);
}

/// What a network can be cut down to, with `NS`, `OUTER` and `DIR` for its own.
const HALVES: [&str; 9] = [
    "ip netns delete NS",
    "umount /run/netns/NS",
    "ip link delete OUTER",
    "kill -9 $(cat DIR/pid)",
    "rm -r DIR",
    "rm -r DIR; ip netns delete NS",
    "kill -9 $(cat DIR/pid); ip netns delete NS",
    "rm -r DIR; ip link delete OUTER",
    "kill -9 $(cat DIR/pid); rm -r DIR; ip netns delete NS",
];

#[test]
fn halves_of_networks_that_nobody_wants_go() {
    for half in HALVES {
        let site = halved(half);
        site.remove_all();
        let _agent = site.start();
        site.until_nothing_remains();
    }
}

#[test]
fn halves_of_networks_that_are_wanted_are_made_whole() {
    for half in HALVES {
        let site = halved(half);
        let _agent = site.start();
        site.until_leased(&site.guest(1), [10, 0, 0, 20].into());
        assert_eq!(site.dnsmasq_pids().len(), 1, "after {half}");
        site.assert_nothing_to_do();
    }
}

fn halved(half: &str) -> Site {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    site.start().kill9();
    let line = half
        .replace("NS", &site.namespace())
        .replace("OUTER", &site.outer_device())
        .replace("DIR", site.network_dir().to_str().unwrap());
    site.run_shell(&line);
    site
}

#[test]
fn single_pieces_of_networks_that_never_were_go() {
    let site = Site::new();
    let state = site.state.display();
    site.run_shell(&format!(
        "ip netns add kdhcp-{UNKNOWN}
        mkdir -p {state}/networks/{UNKNOWN}/hosts {state}/status {state}/allocations
        echo '{{}}' >{state}/allocations/{UNKNOWN}.json
        ip link add kd3f0c9a1b0000 type veth peer name foreign
        ip link set kd3f0c9a1b0000 alias 'kube-dhcp a/b {UNKNOWN}'"
    ));
    let _agent = site.start();
    site.until_nothing_remains();
}
