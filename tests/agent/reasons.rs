//! What cannot be served, and why, naming the other object.

use std::net::Ipv4Addr;

use crate::lab::{Mac, eventually};
use crate::manifests::{fixed, lan, lan_v4, network, object, physical, port, subnet, vlan};
use crate::site::{LONG, Site};

fn assert_not_ready(site: &Site, kind: &str, name: &str, reason: &str, part: &str) {
    site.until_not_ready(kind, name, reason, part);
    let status = site.status();
    let (stalled, reconciling) =
        (status.condition(kind, name, "Stalled"), status.condition(kind, name, "Reconciling"));
    assert!(stalled.is_some() != reconciling.is_some(), "{kind} {name} is both or neither");
}

#[test]
fn automatic_addresses_are_the_lowest_free_and_kept_over_restarts() {
    let site = Site::new();
    site.write("lan.yaml", &(network("lan", "") + &lan_v4("")));
    (1..=5)
        .for_each(|n| site.write(&format!("vm{n}.yaml"), &port(&format!("vm{n}"), "lan", Mac::nth(n), "")));
    let agent = site.start();
    let given = || (1..=5).map(|n| site.status().addresses(&format!("vm{n}"))[0]).collect::<Vec<_>>();
    let low = |last: u8| Ipv4Addr::new(10, 0, 0, last);
    assert_eq!((site.status().server("lan"), given()), (low(10), (11..=15).map(low).collect()));
    // A name before all others gets what is free, and moves nobody.
    site.write("a.yaml", &port("a", "lan", Mac::nth(99), ""));
    site.until_ready("Port", "a");
    site.remove("vm3.yaml");
    let gone = || site.status().object("Port", "vm3").is_none();
    eventually("vm3 is gone", LONG, || gone().then_some(()));
    agent.kill9();
    let _agent = site.start();
    assert_eq!(site.status().addresses("a"), [low(16)]);
    assert_eq!(site.status().addresses("vm5"), [low(15)]);
    site.write("b.yaml", &port("b", "lan", Mac::nth(98), ""));
    site.until_ready("Port", "b");
    assert_eq!(site.status().addresses("b"), [low(17)], "never used goes before released");
}

#[test]
fn an_exhausted_pool_says_which_and_is_cured_by_room() {
    let site = Site::new();
    let pool = |last| lan_v4("").replace("10.0.0.250", last);
    let ports: String = (1..=3).map(|n| port(&format!("vm{n}"), "lan", Mac::nth(n), "")).collect();
    site.write("a.yaml", &(network("lan", "") + &pool("10.0.0.12") + &ports));
    let _agent = site.start();
    site.until_ready("Port", "vm2");
    assert_not_ready(&site, "Port", "vm3", "PoolExhausted", "lan-v4");
    assert!(site.guest(3).silent());
    site.write("a.yaml", &(network("lan", "") + &pool("10.0.0.20") + &ports));
    site.until_leased(&site.guest(3), Ipv4Addr::new(10, 0, 0, 13));
    site.until_ready("Port", "vm3");
}

#[test]
fn of_two_that_want_the_same_the_first_has_it_and_the_other_says_whose_it_is() {
    let site = Site::new();
    site.write("lan.yaml", &lan());
    site.write("z.yaml", &fixed("vm-z", Mac::nth(1), "10.0.0.20", ""));
    let _agent = site.start();
    site.until_ready("Port", "vm-z");
    site.write("a.yaml", &fixed("vm-a", Mac::nth(1), "10.0.0.21", ""));
    site.write("b.yaml", &fixed("vm-b", Mac::nth(2), "10.0.0.20", ""));
    site.write("c.yaml", &subnet("c", "lan", "10.0.0.128/25", ""));
    assert_not_ready(&site, "Port", "vm-a", "DuplicateMAC", "vm-z");
    assert_not_ready(&site, "Port", "vm-b", "AddressInUse", "vm-z");
    assert_not_ready(&site, "Subnet", "c", "SubnetsOverlap", "lan-v4");
    site.until_leased(&site.guest(1), Ipv4Addr::new(10, 0, 0, 20));
    site.remove("z.yaml");
    site.until_ready("Port", "vm-a");
    site.until_ready("Port", "vm-b");
    site.until_leased(&site.guest(2), Ipv4Addr::new(10, 0, 0, 20));
}

#[test]
fn a_segment_stays_with_its_first_network() {
    let site = Site::new();
    site.write("z.yaml", &(vlan("net-z", 7) + &subnet("z", "net-z", "10.0.0.0/24", "")));
    let launch = site.launch().physical(&["trunk=bridge:br-{vlan}", "lan=bridge:br0"]);
    let agent = launch.start_ready();
    let other = vlan("net-a", 7) + &subnet("a", "net-a", "10.0.0.0/24", "");
    site.write("a.yaml", &(other + &port("vm1", "net-a", Mac::nth(1), "")));
    assert_not_ready(&site, "Network", "net-a", "SegmentInUse", "net-z");
    assert_not_ready(&site, "Subnet", "a", "NetworkNotServed", "net-a");
    assert_not_ready(&site, "Port", "vm1", "NetworkNotServed", "net-a");
    agent.kill9();
    let _agent = launch.start_ready();
    assert_not_ready(&site, "Network", "net-a", "SegmentInUse", "net-z");
    site.until_ready("Network", "net-z");
    site.remove("z.yaml");
    site.until_ready("Network", "net-a");
    site.lab.guest("br-7", Mac::nth(1)).dora();
}

#[test]
fn physical_networks_are_reached_and_granted() {
    let site = Site::new();
    let on = |name: &str, physical: &str| {
        object("Network", name, &format!("physicalNetworkRef: {{name: {physical}}}"))
            + &subnet(&format!("{name}-v4"), name, "10.0.0.0/24", "")
    };
    site.write("a.yaml", &(on("nowhere", "unknown") + &on("lan", "lan") + &vlan("tagged", 7)));
    site.write("p.yaml", &physical("lan", "namespaces: {from: None}"));
    let _agent = site.launch().physical(&["lan=bridge:br0", "trunk=bridge:br-{vlan}"]).start_ready();
    assert_not_ready(&site, "Network", "nowhere", "PhysicalNetworkNotFound", "unknown");
    assert_not_ready(&site, "Network", "lan", "NotGranted", "team-a");
    assert_not_ready(&site, "Network", "tagged", "NoSubnet", "Subnet");
    site.write("p.yaml", &physical("lan", "namespaces: {from: All}"));
    assert_not_ready(&site, "Network", "lan", "NotGranted", "untagged");
    site.write("p.yaml", &physical("lan", "namespaces: {from: All}\nuntagged: Allowed\nmtu: 1300"));
    site.until_ready("Network", "lan");
    site.write("vm.yaml", &port("vm1", "lan", Mac::nth(1), ""));
    let guest = site.guest(1);
    let ack = site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 3));
    assert_eq!(ack.option(26), Some(&1300u16.to_be_bytes()[..]));
    site.write("p.yaml", &(physical("lan", "namespaces: {from: All}\nuntagged: Denied")));
    assert_not_ready(&site, "Network", "lan", "NotGranted", "untagged");
    site.until_silent(&guest);
    site.remove("p.yaml");
    site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 3));
}

#[test]
fn a_missing_bridge_is_waited_for() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let launch = site.launch().no_bridges().more(&["--resync-seconds", "1"]);
    // Its not being there is no fault of the agent: it is ready.
    let agent = launch.start_ready();
    assert_not_ready(&site, "Network", "lan", "BridgeNotFound", "br0");
    assert_not_ready(&site, "Port", "vm1", "BridgeNotFound", "br0");
    site.lab.bridge("br0");
    site.until_leased(&site.guest(1), Ipv4Addr::new(10, 0, 0, 20));
    site.until_ready("Port", "vm1");
    site.lab.run("ip link set br0 down");
    assert_not_ready(&site, "Network", "lan", "InterfaceUnusable", "bridge br0 is down");
    site.lab.run("ip link set br0 up");
    site.until_ready("Port", "vm1");
    site.remove_all();
    eventually("all but the bridge is gone", LONG, || (site.remains(true) == ["br0"]).then_some(()));
    drop(agent);
}

#[test]
fn what_refers_to_nothing_says_so_until_it_is_there() {
    let site = Site::new();
    site.write("a.yaml", &fixed("vm1", Mac::nth(1), "10.0.0.20", ""));
    site.write("b.yaml", &lan_v4(""));
    let _agent = site.start();
    assert_not_ready(&site, "Port", "vm1", "NetworkNotFound", "lan");
    assert_not_ready(&site, "Subnet", "lan-v4", "NetworkNotFound", "lan");
    site.write("c.yaml", &network("lan", ""));
    site.until_ready("Network", "lan");
    site.until_leased(&site.guest(1), Ipv4Addr::new(10, 0, 0, 20));
    site.remove("b.yaml");
    assert_not_ready(&site, "Network", "lan", "NoSubnet", "");
    let silent = port("vm2", "lan", Mac::nth(2), "");
    site.write("d.yaml", &silent);
    assert_not_ready(&site, "Port", "vm2", "NoSubnet", "");
    site.write("b.yaml", &lan_v4(""));
    site.until_ready("Port", "vm2");
    for (spec, reason, part) in [
        ("addresses: [{ip: 192.0.2.1}]", "AddressOutsideSubnet", "192.0.2.1"),
        ("addresses: [{ip: 10.0.0.0}]", "AddressReserved", "10.0.0.0"),
        ("addresses: [{subnetRef: {name: other}}]", "SubnetNotFound", "other"),
        ("addresses: [{ip: 10.0.0.30, subnetRef: {name: other}}]", "SubnetNotFound", "other"),
        ("addresses: [{ip: 192.0.2.1, subnetRef: {name: lan-v4}}]", "AddressOutsideSubnet", "subnet lan-v4"),
        ("addresses: [{ip: 10.0.0.10}]", "AddressInUse", "DHCP server"),
    ] {
        site.write("d.yaml", &port("vm2", "lan", Mac::nth(2), spec));
        assert_not_ready(&site, "Port", "vm2", reason, part);
        assert!(site.guest(2).silent(), "{spec}");
    }
    // It only lacks the name that it may not have.
    site.write(
        "d.yaml",
        &port("vm2", "lan", Mac::nth(2), "dnsNames: [www.example.com]\naddresses: [{ip: 10.0.0.30}]"),
    );
    assert_not_ready(&site, "Port", "vm2", "NameOutsideDomain", "www.example.com");
    site.until_leased(&site.guest(2), Ipv4Addr::new(10, 0, 0, 30));
    site.until_leased(&site.guest(1), Ipv4Addr::new(10, 0, 0, 20));
}
