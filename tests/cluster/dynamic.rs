//! Guests that are no Port have one of a network's servers, and another one when that is gone.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::inside::inside;
use crate::lab::MessageType;
use crate::serve::{NETWORK, mac};
use crate::site::{Site, condition};

const DYNAMIC: &str = "pools: [{first: 10.0.0.10, last: 10.0.0.250}]\n  dhcp: {mode: Dynamic, dynamic: {first: 10.0.0.200, last: 10.0.0.209}}";

/// The servers that answer strangers, and are to serve.
async fn answering(site: &Site) -> Vec<String> {
    let servers = site.list("DHCPServer").await;
    let to = servers.iter().filter(|s| s["spec"]["dynamic"] == true && s["spec"]["state"] == "Active");
    to.map(|server| server["spec"]["nodeName"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_server_answers_strangers_and_another_takes_over() {
    inside("dynamic::one_server_answers_strangers_and_another_takes_over", async {
        let mut site = Site::new(2).await;
        site.apply(crate::site::LAN).await;
        site.start_controller(&["--reschedule-after=5"]);
        site.start_agents();
        site.apply(&NETWORK.replace("pools: [{first: 10.0.0.10, last: 10.0.0.250}]", DYNAMIC)).await;
        let both = |network: &Value| network.pointer("/status/servers/ready") == Some(&2.into());
        site.until("Network", "a", both).await;
        let [node] = &answering(&site).await[..] else { panic!("{:#?}", site.list("DHCPServer").await) };
        let capture = site.street.capture("br0");
        let (vm, stranger) = (site.street.guest("br0", mac(1)), site.street.guest("br0", mac(50)));
        let ack = stranger.dora();
        let address = ack.yiaddr();
        assert!((200..210).contains(&address.octets()[3]), "{ack:?}");
        assert_eq!(vm.dora().yiaddr(), Ipv4Addr::new(10, 0, 0, 20));
        assert_eq!(stranger.rebind(address).map(|ack| ack.kind()), Some(MessageType::Ack));
        // Its node dies with its leases; who has one is told by the other that it keeps it.
        let number: usize = node.trim_start_matches('n').parse().unwrap();
        let dead = site.nodes.remove(number - 1);
        drop(dead);
        site.until_not_ready("DHCPAgent", node, "LeaseExpired").await;
        let renewed = async || {
            let ack = stranger.rebind(address).filter(|ack| ack.kind() == MessageType::Ack);
            ack.map(|_| ()).ok_or_else(|| "silence".to_owned())
        };
        site.eventually(Duration::from_secs(30), renewed).await;
        assert_eq!(stranger.dora().yiaddr(), address);
        let other = site.street.guest("br0", mac(51)).dora().yiaddr();
        assert_ne!(other, address);
        assert_eq!(vm.dora().yiaddr(), Ipv4Addr::new(10, 0, 0, 20));
        capture.assert_no_nak();
        let now = answering(&site).await;
        assert!(now.len() == 1 && now[0] != *node, "{now:?}");
        let server = site.get("DHCPServer", &format!("a.{}", now[0])).await.unwrap();
        assert_eq!(condition(&server, "Ready", "status"), "True", "{server:#}");
    });
}
