//! A user applies a network and its ports; guests are answered, and the objects say so.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::inside::inside;
use crate::lab::{Mac, MessageType};
use crate::site::{Site, condition};

/// A network `a` on the physical network `lan`, 10.0.0.0/24, with one port.
pub const NETWORK: &str = r#"
apiVersion: kube-dhcp.io/v1alpha1
kind: Network
metadata: {name: a, namespace: default}
spec:
  physicalNetworkRef: {name: lan}
  dns: {domain: vm.example.org}
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Subnet
metadata: {name: a-v4, namespace: default}
spec:
  networkRef: {name: a}
  cidr: 10.0.0.0/24
  pools: [{first: 10.0.0.10, last: 10.0.0.250}]
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Port
metadata: {name: p1, namespace: default}
spec:
  networkRef: {name: a}
  macAddress: "02:00:00:00:00:01"
  hostname: vm1
  addresses: [{ip: 10.0.0.20}]
"#;

/// Guests get their addresses from DHCPv6.
pub const STATEFUL: &str = "{addressMode: DHCPv6Stateful}";

/// An IPv6 subnet of it.
pub fn subnet(name: &str, cidr: &str, ipv6: &str) -> String {
    format!(
        "apiVersion: kube-dhcp.io/v1alpha1\nkind: Subnet\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{networkRef: {{name: a}}, cidr: '{cidr}', ipv6: {ipv6}}}\n"
    )
}

pub fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

pub fn port(n: u8) -> serde_json::Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port",
        "metadata": {"name": format!("p{n}"), "namespace": "default"},
        "spec": {"networkRef": {"name": "a"}, "macAddress": mac(n).to_string()},
    })
}

#[test]
fn a_network_is_served_by_two_nodes_and_says_so() {
    inside("serve::a_network_is_served_by_two_nodes_and_says_so", async {
        let site = Site::running(3).await;
        let capture = site.street.capture("br0");
        let began = Instant::now();
        site.apply(NETWORK).await;
        let ready = site.until_ready("Port", "p1").await;
        println!("ready after {:?}", began.elapsed());
        assert_eq!(ready.pointer("/status/addresses/0/ip"), Some(&json!("10.0.0.20")));
        let both = |network: &serde_json::Value| network.pointer("/status/servers/ready") == Some(&json!(2));
        let network = site.until("Network", "a", both).await;
        assert_eq!(condition(&network, "Ready", "reason"), "Ready");
        let guest = site.street.guest("br0", mac(1));
        let ack = guest.dora();
        assert_eq!(ack.yiaddr().to_string(), "10.0.0.20");
        // Both servers' addresses are the guests' resolvers, whoever answers.
        assert_eq!(ack.options[&6], [10, 0, 0, 10, 10, 0, 0, 11]);
        assert_eq!(guest.init_reboot(ack.yiaddr()).unwrap().kind(), MessageType::Ack);
        capture.assert_no_nak();
        a_server_counts_its_lease(&site).await;
        println!("{}", site.plane.kubectl(&["get", "dnet,dsub,dport,dsrv,dagent,dip,dphys", "-A"]));
        events_say_each_thing_once(&site);
        a_port_is_added_and_removed(&site).await;
        everything_goes(&site).await;
    });
}

async fn a_server_counts_its_lease(site: &Site) {
    let counted = async || {
        let servers = site.list("DHCPServer").await;
        let leases = |server: &serde_json::Value| server.pointer("/status/leases/ipv4").cloned();
        let has = servers.iter().any(|server| leases(server) == Some(json!(1)));
        if has { Ok(()) } else { Err(format!("{servers:#?}")) }
    };
    site.eventually(Duration::from_secs(20), counted).await;
}

/// That servers start is nothing to warn of, and what is said is not said again.
fn events_say_each_thing_once(site: &Site) {
    let columns = "-o=custom-columns=T:.type,R:.reason,O:.regarding.name,M:.note";
    let said = site.plane.kubectl(&["get", "events.v1.events.k8s.io", "--no-headers", columns]);
    let mut lines: Vec<_> = said.lines().collect();
    assert!(!said.contains("NoServerReady"), "{said}");
    let all = lines.len();
    assert!(lines.iter().any(|line| line.contains("ServerPlaced")), "{said}");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all, "{said}");
}

async fn a_port_is_added_and_removed(site: &Site) {
    site.apply_object(&port(2)).await;
    let began = Instant::now();
    let ready = site.until_ready("Port", "p2").await;
    println!("a port is ready after {:?}", began.elapsed());
    assert_eq!(ready.pointer("/status/addresses/0/ip"), Some(&json!("10.0.0.12")));
    let guest = site.street.guest("br0", mac(2));
    assert_eq!(guest.dora().yiaddr().to_string(), "10.0.0.12");
    site.delete("Port", "p2").await;
    let gone = |object: &serde_json::Value| object.is_null();
    site.until("IPAllocation", "a.10.0.0.12", gone).await;
    assert!(guest.discover(&[]).is_none(), "a removed port is answered");
}

async fn everything_goes(site: &Site) {
    for (kind, name) in [("Network", "a"), ("Port", "p1"), ("Subnet", "a-v4")] {
        site.delete(kind, name).await;
    }
    let gone = async || {
        let left = [site.list("DHCPServer").await, site.list("IPAllocation").await].concat();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    };
    site.eventually(Duration::from_secs(30), gone).await;
    for node in &site.nodes {
        assert!(
            node.servers().is_empty() && node.lab.netns_names().is_empty(),
            "{} has left-overs",
            node.name
        );
    }
}
