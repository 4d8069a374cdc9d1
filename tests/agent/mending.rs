//! Whatever is taken away or altered by hand is back by the next resync, and the one after is idle.

use std::net::Ipv4Addr;

use crate::agent::Agent;
use crate::lab::{Guest, Mac, eventually};
use crate::manifests::{fixed, lan, subnet};
use crate::site::{LONG, Site};

const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

/// What is done to the machine, with `NS`, `OUTER` and `DIR` for the network's own.
struct Damage(&'static str);

const INSIDE: [Damage; 12] = [
    Damage("ip -n NS address delete 10.0.0.10/24 dev dhcp0"),
    Damage("ip -n NS address add 10.9.9.9/24 dev dhcp0"),
    Damage("ip -n NS route delete default"),
    Damage("ip -n NS route replace default via 10.0.0.99"),
    Damage("ip -n NS link set dhcp0 down"),
    Damage("ip -n NS link set dhcp0 mtu 1000"),
    Damage("ip -n NS link set lo down"),
    Damage("ip -n NS link delete dhcp0"),
    Damage("ip netns exec NS iptables -w -t mangle -F"),
    Damage("ip netns exec NS ip6tables -w -t mangle -F"),
    Damage("ip netns exec NS sysctl -qw net.ipv4.ip_nonlocal_bind=0"),
    Damage("ip netns exec NS sysctl -qw net.ipv4.conf.all.promote_secondaries=0"),
];

const OUTSIDE: [Damage; 10] = [
    Damage("ip link set OUTER down"),
    Damage("ip link set OUTER nomaster"),
    Damage("ip link delete OUTER"),
    Damage("ip link add other type bridge; ip link set OUTER master other"),
    Damage("ip link delete br0"),
    Damage("ip link set br0 down"),
    // As an agent leaves it that is killed while it removes a network.
    Damage("ip link set OUTER group 1801741676"),
    Damage("ip netns delete NS"),
    Damage("umount /run/netns/NS"),
    Damage("umount /run/netns/NS; rm /run/netns/NS; mkdir /run/netns/NS"),
];

const FILES: [Damage; 12] = [
    Damage("kill -9 $(cat DIR/pid)"),
    Damage("kill -TERM $(cat DIR/pid)"),
    Damage("rm DIR/hosts/base"),
    Damage("echo 02:00:00:00:00:63,set:x,10.0.0.99,stranger. >>DIR/hosts/base"),
    Damage("echo 02:00:00:00:00:63,10.0.0.99 >DIR/hosts/stranger"),
    Damage("rm DIR/options/base"),
    Damage("echo tag:x,42,10.0.0.99 >DIR/options/add-000007"),
    Damage("rm DIR/names/names"),
    Damage("echo 10.0.0.20 wrong >DIR/names/names"),
    Damage("echo 10.0.0.99 stranger >DIR/names/stranger"),
    Damage("rm -r DIR/names"),
    Damage("rm -r DIR"),
];

#[test]
fn what_is_damaged_in_the_namespace_is_mended() {
    mend_all(&INSIDE);
}

#[test]
fn what_is_damaged_on_the_node_is_mended() {
    mend_all(&OUTSIDE);
}

#[test]
fn what_is_damaged_of_dnsmasq_is_mended() {
    mend_all(&FILES);
}

fn mend_all(damages: &[Damage]) {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "hostname: vm1")));
    let agent = site.launch().more(&["--resync-seconds", "1"]).start_ready();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    for damage in damages {
        mend(&site, &agent, &guest, damage.0);
    }
}

fn mend(site: &Site, agent: &Agent<'_>, guest: &Guest<'_>, damage: &str) {
    let line = damage
        .replace("NS", &site.namespace())
        .replace("OUTER", &site.outer_device())
        .replace("DIR", site.network_dir().to_str().unwrap());
    let before = agent.actions().len();
    site.run_shell(&line);
    eventually(damage, LONG, || (agent.actions().len() > before).then_some(()));
    until_idle(site, agent, damage);
    site.assert_nothing_to_do();
    plug_again(site);
    site.until_leased(guest, VM1);
    assert_eq!(site.dnsmasq_pids().len(), 1, "after {damage}");
}

/// Two passes in which nothing is done, nor anything new said.
fn until_idle(site: &Site, agent: &Agent<'_>, damage: &str) {
    let (mut actions, mut seen, mut status) = (agent.actions().len(), site.passes(), site.status());
    eventually(&format!("nothing more to do after {damage}"), LONG, || {
        let now = (agent.actions().len(), site.status());
        if now != (actions, status.clone()) {
            (actions, status, seen) = (now.0, now.1, site.passes());
        }
        (site.passes() >= seen + 2).then_some(())
    });
    let ready = status.condition("Network", "lan", "Ready").unwrap();
    assert_eq!(ready.status, "True", "after {damage}: {ready:?}");
}

/// The guests' ports fall out of a bridge that is deleted; who makes guests puts them back.
fn plug_again(site: &Site) {
    site.run_shell("for p in /sys/class/net/p[0-9]*; do ip link set ${p##*/} master br0; done");
}

#[test]
fn a_lease_file_that_was_removed_is_made_again() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.launch().more(&["--resync-seconds", "1"]).start_ready();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    let leases = site.network_dir().join("leases");
    for damage in ["", "not a lease\n", "0 02:00:00:00:00:63 10.0.0.99 * *\n"] {
        std::fs::remove_file(&leases).unwrap();
        if !damage.is_empty() {
            std::fs::write(&leases, damage).unwrap();
        }
        let pid = site.dnsmasq_pids()[0];
        site.lab.signal("KILL", pid);
        eventually("a new dnsmasq", LONG, || {
            site.dnsmasq_pids().first().filter(|new| **new != pid).map(drop)
        });
        site.until_leased(&guest, VM1);
        let text = std::fs::read_to_string(&leases).unwrap();
        assert!(text.contains("10.0.0.20 ") && !text.contains("10.0.0.99"), "{text}");
    }
    assert!(agent.actions().len() > 10);
    site.assert_nothing_to_do();
}

#[test]
fn that_dnsmasq_cannot_be_ended_is_said() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.launch().before(&["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]).start_ready();
    site.until_ready("Port", "vm1");
    // A change that only a fresh process takes.
    site.write("b.yaml", &subnet("second", "lan", "10.1.0.0/24", ""));
    site.until_not_ready("Subnet", "second", "HostFailed", "give it the capability KILL");
    agent.kill9();
    let _agent = site.start();
    site.until_ready("Subnet", "second");
}
