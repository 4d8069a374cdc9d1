//! Both families: two nodes are one DHCPv6 server, and either answers for the other.

use std::net::Ipv6Addr;

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::Guest6;
use crate::serve::{NETWORK, STATEFUL, mac, port, subnet};
use crate::site::{LAN, Site};

/// The network `a` with both families on two of three nodes, and the Port `p2`.
async fn served(flags: &[&str]) -> Site {
    let mut site = Site::new(3).await;
    site.apply(LAN).await;
    site.start_controller(flags);
    site.start_agents();
    site.apply(NETWORK).await;
    site.apply(&subnet("a-v6", "2001:db8::/64", STATEFUL)).await;
    site.until("Network", "a", |a| a.pointer("/status/servers/ready") == Some(&json!(2))).await;
    site.apply_object(&port(2)).await;
    site.until_ready("Port", "p2").await;
    site
}

fn addresses(object: &Value) -> Vec<String> {
    let all = object.pointer("/status/addresses").and_then(Value::as_array).cloned().unwrap_or_default();
    all.iter().map(|address| address["ip"].as_str().unwrap().to_owned()).collect()
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A whole exchange; the guest's address and the server's identity.
fn given(guest: &Guest6<'_>) -> (Ipv6Addr, Vec<u8>) {
    let reply = guest.sarr();
    (reply.addresses()[0], reply.server())
}

#[test]
fn a_port_has_both_families_and_any_server_knows_its_guest() {
    inside("six::a_port_has_both_families_and_any_server_knows_its_guest", async {
        let mut site = served(&["--reschedule-after=2"]).await;
        let port = site.get("Port", "p2").await.unwrap();
        assert_eq!(addresses(&port), ["10.0.0.12", "2001:db8::4"]);
        let name = "a.2001-0db8-0000-0000-0000-0000-0000-0004";
        let allocation = site.get("IPAllocation", name).await.unwrap();
        assert_eq!(allocation.pointer("/spec/holder/name"), Some(&json!("p2")));
        let reply = site.street.guest6("br0", mac(2)).sarr();
        assert_eq!(reply.addresses(), [ip("2001:db8::4")]);
        assert_eq!(reply.list(23), [ip("2001:db8::2"), ip("2001:db8::3")], "both servers are resolvers");
        told_where_it_is_served(&site);
        let before = reply.server();
        // Whichever of the two it was, the other one answers, and a third in the place of the dead one.
        let dead = site.nodes.iter().position(|node| !node.servers().is_empty()).unwrap() + 1;
        site.power_off(dead);
        {
            let guest = site.street.guest6("br0", mac(2));
            assert_eq!(given(&guest), (ip("2001:db8::4"), before.clone()));
            let renewed = guest.renew(ip("2001:db8::4"), &before).unwrap();
            assert_eq!(renewed.addresses(), [ip("2001:db8::4")]);
        }
        site.plane.kubectl(&["delete", "node", &format!("n{dead}")]);
        site.until("Network", "a", |a| a.pointer("/status/servers/ready") == Some(&json!(2))).await;
        let guest = site.street.guest6("br0", mac(2));
        let reply = guest.sarr();
        assert_eq!((reply.server(), reply.list(23).len()), (before, 2));
        site.delete("Port", "p2").await;
        site.until("IPAllocation", name, Value::is_null).await;
        assert!(guest.solicit().is_none(), "a removed Port is answered");
    });
}

/// `kube-dhcp status --port` on each node: the servers' addresses are all of the network's.
fn told_where_it_is_served(site: &Site) {
    let served = site.nodes.iter().filter(|node| !node.servers().is_empty());
    let told: Vec<Value> = served.map(|node| node.told("default/p2")).collect();
    assert_eq!(told.len(), 2);
    for told in &told {
        let value = |family: usize, code: u16| {
            let options = told["dhcp"][family]["options"].as_array().unwrap();
            options.iter().find(|option| option["code"] == code).map(|option| option["value"].clone())
        };
        assert_eq!(told["dhcp"][0]["addresses"], json!(["10.0.0.12"]));
        assert_eq!(told["dhcp"][1]["addresses"], json!(["2001:db8::4"]));
        assert_eq!(value(1, 23), Some(json!("2001:db8::2, 2001:db8::3")));
        assert_eq!(value(0, 54), Some(told["dhcp"][0]["server"].clone()));
    }
    assert_ne!(told[0]["dhcp"][0]["server"], told[1]["dhcp"][0]["server"]);
}

#[test]
fn both_servers_advertise_the_same_and_a_port_has_the_address_of_its_mac() {
    inside("six::both_servers_advertise_the_same_and_a_port_has_the_address_of_its_mac", async {
        let site = served(&[]).await;
        let ipv6 = "{addressMode: SLAAC, routerAdvertisements: Server}";
        site.apply(&subnet("a-slaac", "2001:db8:1::/64", ipv6)).await;
        site.until("Port", "p2", |port| addresses(port).len() == 3).await;
        let port = site.until_ready("Port", "p2").await;
        assert_eq!(addresses(&port)[2], "2001:db8:1::ff:fe00:2");
        let name = |last: &str| format!("a.2001-0db8-0001-0000-0000-00ff-fe00-{last}");
        let allocation = site.get("IPAllocation", &name("0002")).await.unwrap();
        assert_eq!(allocation.pointer("/spec/holder/name"), Some(&json!("p2")));
        let guest = site.street.guest6("br0", mac(2));
        let mut heard = std::collections::BTreeMap::new();
        let deadline = std::time::Instant::now() + crate::site::LONG;
        while heard.len() < 2 {
            assert!(std::time::Instant::now() < deadline, "one server advertises: {heard:?}");
            guest.send_router_solicitation();
            for advert in
                guest.advert_within(std::time::Duration::from_secs(1)).into_iter().chain(guest.adverts())
            {
                let said = (advert.prefixes, advert.dns_servers, advert.search, advert.lifetime);
                heard.insert(advert.from, said);
            }
        }
        let all: Vec<_> = heard.into_values().collect();
        assert_eq!(all[0], all[1]);
        let (prefixes, servers, search, lifetime) = &all[0];
        assert_eq!((prefixes.len(), *lifetime), (1, 0));
        assert_eq!(servers, &[ip("2001:db8:1::2"), ip("2001:db8:1::3")]);
        assert_eq!(search, &["vm.example.org"]);
        // Another device: its own address, and the first is nobody's once both servers have forgotten it.
        site.plane.kubectl(&[
            "patch",
            "dport",
            "p2",
            "--type=merge",
            "-p",
            r#"{"spec":{"macAddress":"02:00:00:00:00:09"}}"#,
        ]);
        site.until("Port", "p2", |port| addresses(port).get(2).is_some_and(|ip| ip.ends_with(":9"))).await;
        site.until("IPAllocation", &name("0002"), Value::is_null).await;
        site.until_ready("Port", "p2").await;
    });
}

#[test]
fn a_replacement_leaves_the_addresses_to_a_server_that_still_answers() {
    inside("six::a_replacement_leaves_the_addresses_to_a_server_that_still_answers", async {
        let site = served(&["--reschedule-after=2"]).await;
        let servers = site.list("DHCPServer").await;
        let node = servers[0]["spec"]["nodeName"].as_str().unwrap().to_owned();
        let own = servers[0].pointer("/spec/addresses/1/ip").unwrap().clone();
        site.nodes[node[1..].parse::<usize>().unwrap() - 1].connect(false);
        let held = |server: &&Value| {
            let held = server.pointer("/status/heldAddresses").and_then(Value::as_array);
            held.is_some_and(|held| held.iter().any(|held| held["ip"] == own))
        };
        let look = async || {
            let servers = site.list("DHCPServer").await;
            servers.iter().find(held).cloned().ok_or_else(|| format!("{servers:#?}"))
        };
        let replacement = site.eventually(crate::site::LONG * 2, look).await;
        let moved = |server: &Value| {
            let address = server.pointer("/spec/addresses/1").unwrap();
            address["inPlaceOf"] == own && address["ip"] != own
        };
        let name = replacement.pointer("/metadata/name").and_then(Value::as_str).unwrap();
        site.until("DHCPServer", name, moved).await;
        let guest = site.street.guest6("br0", mac(2));
        assert_eq!(given(&guest).0, ip("2001:db8::4"));
    });
}
