//! What the API server takes at the schema's bounds is served, and nothing that is made of it is too large; a node
//! that is full gets no more.

use serde_json::Value;

use crate::inside::inside;
use crate::lab::Mac;
use crate::largest::{all, label, long};
use crate::serve::NETWORK;
use crate::site::{LAN, Site, condition};

/// What an object of etcd may have, less room for others' changes.
const LARGE: usize = 1 << 20;

#[test]
fn the_largest_network_is_served() {
    inside("sizes::the_largest_network_is_served", async {
        let site = Site::running(2).await;
        site.apply(&all("default")).await;
        // Two of eight servers: there are two nodes.
        let served = |network: &Value| {
            condition(network, "Ready", "reason") == "FewerServers"
                && network.pointer("/status/servers/ready") == Some(&2.into())
        };
        site.until("Network", &label('n'), served).await;
        site.until_ready("Port", &long('p')).await;
        site.until_ready("Subnet", &long('s')).await;
        site.until_not_ready("Subnet", "t64", "TooManySubnets").await;
        for kind in ["Network", "Subnet", "Port", "DHCPServer", "IPAllocation"] {
            let objects = site.list(kind).await;
            let largest = objects.iter().map(|object| object.to_string().len()).max().unwrap();
            println!("{} {kind}s, the largest has {largest} bytes", objects.len());
            assert!(largest < LARGE, "{kind}");
        }
        let offer = site.street.guest("br0", Mac::nth(1)).dora();
        assert_eq!(offer.yiaddr(), std::net::Ipv4Addr::new(10, 0, 0, 251));
    });
}

const SECOND: &str = r"
apiVersion: kube-dhcp.io/v1alpha1
kind: Network
metadata: {name: b, namespace: default}
spec: {physicalNetworkRef: {name: lan1}}
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Subnet
metadata: {name: b, namespace: default}
spec: {networkRef: {name: b}, cidr: 10.1.0.0/24}
";

#[test]
fn a_node_gets_no_more_networks_than_its_agent_takes() {
    inside("sizes::a_node_gets_no_more_networks_than_its_agent_takes", async {
        let mut site = Site::with_lans(1, 2).await;
        site.apply(LAN).await;
        site.apply(&LAN.replace("name: lan", "name: lan1")).await;
        site.start_controller(&[]);
        site.start_agent(1, &["--max-networks=1"]);
        site.apply(NETWORK).await;
        site.until_ready("Port", "p1").await;
        site.apply(SECOND).await;
        let told = |network: &Value| condition(network, "Scheduled", "message").contains("has no room");
        let network = site.until("Network", "b", told).await;
        assert_eq!(condition(&network, "Scheduled", "reason"), "NoAgent");
        site.delete("Network", "a").await;
        let ready = |network: &Value| network.pointer("/status/servers/ready") == Some(&1.into());
        site.until("Network", "b", ready).await;
    });
}
