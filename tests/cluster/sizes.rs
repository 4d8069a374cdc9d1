//! What the API server takes at the schema's bounds is served, and nothing that is made of it is too large.

use serde_json::Value;

use crate::inside::inside;
use crate::lab::Mac;
use crate::largest::{all, label, long};
use crate::site::{Site, condition};

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
