//! An address that somebody gave back rests until every server has forgotten who had it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::Guest;
use crate::serve::{NETWORK, mac};
use crate::site::{LAN, LONG, Site, condition};

/// Three nodes, the network `a` on two of them, and a Port `p2` that has 10.0.0.12.
async fn served() -> Site {
    let mut site = Site::new(3).await;
    site.apply(LAN).await;
    site.start_controller(&["--reschedule-after=3"]);
    site.start_agents();
    site.apply(NETWORK).await;
    site.until("Network", "a", |a| a.pointer("/status/servers/ready") == Some(&json!(2))).await;
    has(&site, &mk_port("p2", 2, None), "10.0.0.12").await;
    site
}

fn mk_port(name: &str, number: u8, ip: Option<&str>) -> Value {
    let mut port = json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"networkRef": {"name": "a"}, "macAddress": mac(number).to_string()},
    });
    if let Some(ip) = ip {
        port["spec"]["addresses"] = json!([{"ip": ip}]);
    }
    port
}

/// Applies a Port; it must get this address and be ready.
async fn has(site: &Site, port: &Value, ip: &str) {
    site.apply_object(port).await;
    let ready = site.until_ready("Port", port["metadata"]["name"].as_str().unwrap()).await;
    assert_eq!(ready.pointer("/status/addresses/0/ip"), Some(&json!(ip)));
}

/// The number of a node that serves `a`.
async fn serving(site: &Site) -> usize {
    let servers = site.list("DHCPServer").await;
    servers[0]["spec"]["nodeName"].as_str().unwrap()[1..].parse().unwrap()
}

/// The number of a node that serves `a`; it is cut off from the API server, and called dead.
async fn cut_off(site: &Site) -> usize {
    let number = serving(site).await;
    site.nodes[number - 1].connect(false);
    number
}

async fn until_dead(site: &Site, number: usize) {
    site.until_not_ready("DHCPAgent", &format!("n{number}"), "LeaseExpired").await;
}

/// Whether the servers of this node, alone, still give the address.
fn is_given(guest: &Guest<'_>, ip: &str) -> bool {
    guest.discover(&[]).is_some_and(|offer| offer.yiaddr().to_string() == ip)
}

/// Asks for an address that rests; the refusal says for whom it waits.
async fn wish_waits(site: &Site, name: &str, number: u8, ip: &str, node: usize) {
    site.apply_object(&mk_port(name, number, Some(ip))).await;
    let named = |port: &Value| {
        condition(port, "Ready", "reason") == "AddressReleasing"
            && condition(port, "Ready", "message").contains(&format!("node n{node} "))
    };
    let port = site.until("Port", name, named).await;
    println!("{name}: {}", condition(&port, "Ready", "message"));
    assert_eq!(condition(&port, "Reconciling", "status"), "True");
}

async fn is_at_rest(site: &Site, ip: &str) -> bool {
    let allocation = site.get("IPAllocation", &format!("a.{ip}")).await.unwrap_or_default();
    allocation.pointer("/spec/released").is_some()
}

#[test]
fn an_address_rests_until_an_agent_that_was_cut_off_returns() {
    inside("release::an_address_rests_until_an_agent_that_was_cut_off_returns", async {
        let site = served().await;
        let number = cut_off(&site).await;
        site.delete("Port", "p2").await;
        has(&site, &mk_port("p3", 3, None), "10.0.0.13").await;
        wish_waits(&site, "p4", 4, "10.0.0.12", number).await;
        until_dead(&site, number).await;
        let replaced = |a: &Value| a.pointer("/status/servers/ready") == Some(&json!(2));
        site.until("Network", "a", replaced).await;
        // It is withdrawn, and does not know.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(is_at_rest(&site, "10.0.0.12").await, "{}", site.logs());
        wish_waits(&site, "p4", 4, "10.0.0.12", number).await;
        let old = site.street.guest("br0", mac(2));
        assert!(is_given(&old, "10.0.0.12"), "what was cut off serves on");
        site.nodes[number - 1].connect(true);
        let ready = site.until_ready("Port", "p4").await;
        assert_eq!(ready.pointer("/status/addresses/0/ip"), Some(&json!("10.0.0.12")));
        assert!(old.silent(), "two guests are given the same address");
        drop(old);
        assert!(is_given(&site.street.guest("br0", mac(4)), "10.0.0.12"));
        site.until("DHCPServer", &format!("a.n{number}"), Value::is_null).await;
        assert!(site.nodes[number - 1].servers().is_empty(), "it serves what it lost");
    });
}

/// An agent writes down what it knows a moment after it acts on it. Killed in between, and started without
/// the API server, it would give the address to whom it gave it before.
#[test]
fn an_address_rests_until_the_next_start_knows_that_it_is_given_back() {
    inside("release::an_address_rests_until_the_next_start_knows_that_it_is_given_back", async {
        let mut site = served().await;
        let number = serving(&site).await;
        site.nodes[number - 1].until_copied("p2");
        let copy = site.nodes[number - 1].state().join("cluster.json");
        let old = std::fs::read(&copy).unwrap();
        // It cannot be written from now on.
        std::fs::remove_file(&copy).unwrap();
        std::fs::create_dir(&copy).unwrap();
        site.delete("Port", "p2").await;
        let guest = site.street.guest("br0", mac(2));
        site.eventually(LONG, async || if guest.silent() { Ok(()) } else { Err("p2 is answered".into()) })
            .await;
        drop(guest);
        wish_waits(&site, "p4", 4, "10.0.0.12", number).await;
        site.power_off(number);
        std::fs::remove_dir(&copy).unwrap();
        std::fs::write(&copy, old).unwrap();
        site.power_on(number);
        site.nodes[number - 1].connect(false);
        site.start_agent(number, &[]);
        let guest = site.street.guest("br0", mac(2));
        let given = async || if is_given(&guest, "10.0.0.12") { Ok(()) } else { Err("it is silent".into()) };
        site.eventually(LONG, given).await;
        drop(guest);
        assert!(is_at_rest(&site, "10.0.0.12").await, "{}", site.logs());
        site.nodes[number - 1].connect(true);
        let ready = site.until_ready("Port", "p4").await;
        assert_eq!(ready.pointer("/status/addresses/0/ip"), Some(&json!("10.0.0.12")));
        assert!(site.street.guest("br0", mac(2)).silent(), "two guests are given the same address");
    });
}

#[test]
fn what_a_node_that_is_cut_off_may_still_give_is_nobodys_until_it_is_out_of_service() {
    let name = "release::what_a_node_that_is_cut_off_may_still_give_is_nobodys_until_it_is_out_of_service";
    inside(name, async {
        let mut site = served().await;
        site.apply_object(&pool("10.0.0.10", "10.0.0.19")).await;
        let number = cut_off(&site).await;
        site.delete("Port", "p2").await;
        site.until("Network", "a", |a| condition(a, "Ready", "reason") == "AddressHeldByPredecessor").await;
        // Besides p2's the servers' two are taken, and the one that the replacement has meanwhile.
        let mut given = vec!["10.0.0.12".to_owned()];
        for n in 3..=8 {
            site.apply_object(&mk_port(&format!("p{n}"), n, None)).await;
            let ready = site.until_ready("Port", &format!("p{n}")).await;
            given.push(ready.pointer("/status/addresses/0/ip").unwrap().as_str().unwrap().to_owned());
        }
        let addresses: BTreeSet<_> = given.iter().collect();
        assert_eq!(addresses.len(), given.len(), "an address is given twice: {given:?}");
        for (n, ip) in (2..).zip(&given) {
            assert!(is_given(&site.street.guest("br0", mac(n)), ip), "guest {n}");
        }
        site.power_off(number);
        let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
        site.plane.kubectl(&["taint", "node", &format!("n{number}"), taint]);
        for n in [9, 10] {
            site.apply_object(&mk_port(&format!("p{n}"), n, None)).await;
            let ready = site.until_ready("Port", &format!("p{n}")).await;
            given.push(ready.pointer("/status/addresses/0/ip").unwrap().as_str().unwrap().to_owned());
        }
        // p2's and the temporary one; nobody had to take anything early.
        assert!(given[7..].contains(&"10.0.0.12".to_owned()), "{given:?}");
        let early = ["get", "events", "-A", "--field-selector", "reason=AddressTakenEarly", "-o", "name"];
        assert_eq!(site.plane.kubectl(&early), "");
        assert!(is_given(&site.street.guest("br0", mac(10)), &given[8]));
    });
}

fn pool(first: &str, last: &str) -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Subnet",
        "metadata": {"name": "a-v4", "namespace": "default"},
        "spec": {"networkRef": {"name": "a"}, "cidr": "10.0.0.0/24",
            "pools": [{"first": first, "last": last}]},
    })
}

#[test]
fn a_node_that_is_out_of_service_is_waited_for_by_nobody() {
    inside("release::a_node_that_is_out_of_service_is_waited_for_by_nobody", async {
        let mut site = served().await;
        let number = cut_off(&site).await;
        site.delete("Port", "p2").await;
        wish_waits(&site, "p4", 4, "10.0.0.12", number).await;
        until_dead(&site, number).await;
        assert!(is_at_rest(&site, "10.0.0.12").await);
        site.power_off(number);
        let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
        site.plane.kubectl(&["taint", "node", &format!("n{number}"), taint]);
        site.until_ready("Port", "p4").await;
    });
}

#[test]
fn a_node_that_was_deleted_is_waited_for_by_nobody() {
    inside("release::a_node_that_was_deleted_is_waited_for_by_nobody", async {
        let mut site = served().await;
        let number = cut_off(&site).await;
        site.delete("Port", "p2").await;
        until_dead(&site, number).await;
        wish_waits(&site, "p4", 4, "10.0.0.12", number).await;
        site.power_off(number);
        site.plane.kubectl(&["delete", "node", &format!("n{number}")]);
        site.until_ready("Port", "p4").await;
    });
}

#[test]
fn a_port_that_comes_back_as_it_was_has_its_address_at_once() {
    inside("release::a_port_that_comes_back_as_it_was_has_its_address_at_once", async {
        let site = served().await;
        let number = cut_off(&site).await;
        site.delete("Port", "p2").await;
        site.until("IPAllocation", "a.10.0.0.12", |a| a.pointer("/spec/released").is_some()).await;
        let began = std::time::Instant::now();
        site.apply_object(&mk_port("p2", 2, None)).await;
        let given = |port: &Value| port.pointer("/status/addresses/0/ip") == Some(&json!("10.0.0.12"));
        site.until("Port", "p2", given).await;
        println!("its address after {:?}", began.elapsed());
        site.until_ready("Port", "p2").await;
        assert!(is_given(&site.street.guest("br0", mac(2)), "10.0.0.12"));
        // Another one of the same name is a stranger.
        site.delete("Port", "p2").await;
        wish_waits(&site, "p2", 22, "10.0.0.12", number).await;
        site.nodes[number - 1].connect(true);
        site.until_ready("Port", "p2").await;
        assert!(site.street.guest("br0", mac(2)).silent());
    });
}

#[test]
fn the_longest_at_rest_is_taken_when_nothing_else_is_free() {
    inside("release::the_longest_at_rest_is_taken_when_nothing_else_is_free", async {
        let site = served().await;
        has(&site, &mk_port("p3", 3, None), "10.0.0.13").await;
        let number = cut_off(&site).await;
        until_dead(&site, number).await;
        // The servers' two, p1's outside, p2's and p3's.
        site.apply_object(&pool("10.0.0.10", "10.0.0.13")).await;
        for (port, ip) in [("p3", "a.10.0.0.13"), ("p2", "a.10.0.0.12")] {
            site.delete("Port", port).await;
            site.until("IPAllocation", ip, |a| a.pointer("/spec/released").is_some()).await;
        }
        has(&site, &mk_port("p5", 5, None), "10.0.0.13").await;
        let warned = "reason=AddressTakenEarly,involvedObject.name=p5";
        let events =
            || site.plane.kubectl(&["get", "events", "-A", "--field-selector", warned, "-o", "wide"]);
        crate::lab::eventually("an Event warns", crate::site::LONG, || {
            events().contains(&format!("node n{number}")).then_some(())
        });
        println!("{}", events());
        // Who asks for one of them by name waits on.
        wish_waits(&site, "p6", 6, "10.0.0.12", number).await;
    });
}
