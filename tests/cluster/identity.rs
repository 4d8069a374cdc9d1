//! Ports that are known by what their guests call themselves, through a whole cluster.

use std::time::Duration;

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::MessageType;
use crate::serve::{NETWORK, STATEFUL, mac, subnet};
use crate::site::Site;

const ID: [u8; 3] = [0xab, 0xcd, 0xef];
const DUID: [u8; 5] = [0, 4, 1, 2, 3];

fn port(name: &str, identity: &Value) -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"networkRef": {"name": "a"}, "identity": identity},
    })
}

fn addresses(port: &Value) -> Vec<String> {
    let all = port.pointer("/status/addresses").and_then(Value::as_array).into_iter().flatten();
    all.map(|address| address["ip"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn they_are_answered_by_all_servers_and_have_their_addresses_again() {
    inside("identity::they_are_answered_by_all_servers_and_have_their_addresses_again", async {
        let site = Site::running(2).await;
        site.apply(&(NETWORK.to_owned() + "---\n" + &subnet("a-v6", "2001:db8::/64", STATEFUL))).await;
        let known = json!({"type": "ClientID", "clientID": "ab:cd:ef"});
        site.apply_object(&port("by-id", &known)).await;
        site.apply_object(&port("by-duid", &json!({"type": "DUID", "duid": "00:04:01:02:03"}))).await;
        let both = |network: &Value| network.pointer("/status/servers/ready") == Some(&json!(2));
        site.until("Network", "a", both).await;
        let (by_id, by_duid) =
            (site.until_ready("Port", "by-id").await, site.until_ready("Port", "by-duid").await);
        let capture = site.street.capture("br0");
        let address = addresses(&by_id)[0].clone();
        for n in [50, 51] {
            let guest = site.street.guest("br0", mac(n)).with_client_id(&ID);
            let ack = guest.dora();
            assert_eq!(ack.yiaddr().to_string(), address);
            assert_eq!(guest.rebind(ack.yiaddr()).map(|ack| ack.kind()), Some(MessageType::Ack));
        }
        assert!(site.street.guest("br0", mac(50)).silent());
        let guest = site.street.guest6("br0", mac(60)).with_duid(&DUID);
        let served = async || {
            let advertise = guest.solicit().map(|advertise| advertise.addresses());
            let wanted: Vec<std::net::Ipv6Addr> = vec![addresses(&by_duid)[1].parse().unwrap()];
            if advertise.as_ref() == Some(&wanted) { Ok(()) } else { Err(format!("{advertise:?}")) }
        };
        site.eventually(Duration::from_secs(20), served).await;
        capture.assert_no_nak();
        let table = site.plane.kubectl(&["get", "ports", "-n", "default", "-o", "wide"]);
        let row =
            |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert!(row("by-id ").contains("ab:cd:ef") && row("by-duid ").contains("00:04:01:02:03"), "{table}");
        the_same_again_has_its_addresses(&site, &address, &known).await;
    });
}

/// Whoever has its name and its identity is the same.
async fn the_same_again_has_its_addresses(site: &Site, address: &str, known: &Value) {
    let allocation = site.get("IPAllocation", &format!("a.{address}")).await.unwrap();
    assert_eq!(allocation.pointer("/spec/holder/clientID"), Some(&json!("ab:cd:ef")));
    site.delete("Port", "by-id").await;
    site.apply_object(&port("by-id", known)).await;
    let again = site.until_ready("Port", "by-id").await;
    assert_eq!(addresses(&again)[0], address);
    let guest = site.street.guest("br0", mac(52)).with_client_id(&ID);
    assert_eq!(guest.dora().yiaddr().to_string(), address);
}
