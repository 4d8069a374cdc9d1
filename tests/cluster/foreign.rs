//! A DHCP server on the segment that is nobody's: two agents hear it, one Network and one Event tell of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::inside::inside;
use crate::lab::{Ask, Datagram, Mac, MessageType, Wire};
use crate::serve::{NETWORK, mac};
use crate::site::{Site, condition};

/// An OFFER to all from 10.0.0.66.
fn offer() -> Vec<u8> {
    let mut payload = vec![0; 236];
    payload[..3].copy_from_slice(&[2, 1, 6]);
    payload.extend([99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 0, 0, 66, 255]);
    let (from, to) = ((Ipv4Addr::new(10, 0, 0, 66), 67), (Ipv4Addr::BROADCAST, 68));
    let (from_mac, to_mac) = (mac(66), Mac::BROADCAST);
    Datagram { from_mac, to_mac, from, to, payload, checksum_ok: true }.frame()
}

#[test]
fn two_servers_do_not_call_each_other_foreign_and_name_who_is() {
    inside("foreign::two_servers_do_not_call_each_other_foreign_and_name_who_is", async {
        let site = Site::running(2).await;
        site.apply(NETWORK).await;
        let both = |network: &Value| network.pointer("/status/servers/ready") == Some(&2.into());
        site.until("Network", "a", both).await;
        let guest = site.street.guest("br0", mac(1));
        let wire = Wire::open(&site.street, Some(guest.netns()), "eth0");
        // Until both listen: the OFFERs of both go to all, and so does what is foreign.
        let mut question = Ask::new(MessageType::Discover);
        question.broadcast_flag = true;
        let heard = async || {
            guest.ask(&question);
            wire.send(&offer());
            let servers = site.list("DHCPServer").await;
            let says = |server: &&Value| condition(server, "ForeignDHCPServer", "status") == "True";
            let told = servers.iter().filter(says).count();
            if told == 2 { Ok(()) } else { Err(format!("{servers:#?}")) }
        };
        site.eventually(Duration::from_secs(40), heard).await;
        let named = |network: &Value| condition(network, "ForeignDHCPServer", "status") == "True";
        let network = site.until("Network", "a", named).await;
        let message = condition(&network, "ForeignDHCPServer", "message");
        assert_eq!(message, "02:00:00:00:00:42 answers DHCPv4 clients as 10.0.0.66");
        assert_eq!(condition(&network, "Ready", "reason"), "Ready");
        for server in site.list("DHCPServer").await {
            assert_eq!(condition(&server, "ForeignDHCPServer", "message"), message, "{server:#}");
            assert_eq!(condition(&server, "Ready", "status"), "True");
        }
        let columns = "-o=custom-columns=T:.type,R:.reason,O:.regarding.name,M:.note";
        let told = async || {
            let said = site.plane.kubectl(&["get", "events.v1.events.k8s.io", "--no-headers", columns]);
            let lines = said.lines().filter(|line| line.contains("ForeignDHCPServer")).count();
            if lines == 1 && said.contains("Warning") { Ok(()) } else { Err(said) }
        };
        site.eventually(Duration::from_secs(20), told).await;
    });
}
