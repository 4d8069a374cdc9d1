//! Agents, nodes, controllers and the API server die and come back.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::Guest;
use crate::serve::{NETWORK, mac, port};
use crate::site::{BIN, LAN, LONG, Site, condition};

/// Three nodes, the network `a` with a port, served by two of them.
async fn served() -> Site {
    let site = Site::running(3).await;
    site.apply(NETWORK).await;
    site.until_ready("Port", "p1").await;
    site.until("Network", "a", |network| ready_servers(network) == 2).await;
    site
}

fn ready_servers(network: &Value) -> i64 {
    network.pointer("/status/servers/ready").and_then(Value::as_i64).unwrap_or_default()
}

fn is_answered(guest: &Guest<'_>) -> bool {
    guest.discover(&[]).is_some()
}

/// The numbers of the nodes that hold a server of the network.
async fn holders(site: &Site) -> Vec<usize> {
    let number = |server: &Value| server["spec"]["nodeName"].as_str()?.strip_prefix('n')?.parse().ok();
    let active = |server: &&Value| server["spec"]["state"] == "Active";
    let mut holders: Vec<_> =
        site.list("DHCPServer").await.iter().filter(active).filter_map(number).collect();
    holders.sort_unstable();
    holders
}

#[test]
fn without_the_api_server_an_agent_starts_from_its_copy_and_converges_after() {
    inside("failures::without_the_api_server_an_agent_starts_from_its_copy_and_converges_after", async {
        let mut site = served().await;
        site.apply_object(&port(2)).await;
        site.until_ready("Port", "p2").await;
        let number = holders(&site).await[0];
        let before = site.nodes[number - 1].servers();
        site.nodes[number - 1].until_copied("p2");
        site.plane.stop_api();
        site.nodes[number - 1].kill_agent();
        site.start_agent(number, &[]);
        let copy = || site.nodes[number - 1].status()["node"]["source"] == "LastGoodCopy";
        until("the agent says that it serves from its copy", copy);
        assert_eq!(site.nodes[number - 1].servers(), before, "dnsmasq was restarted");
        let guest = site.street.guest("br0", mac(1));
        assert!(is_answered(&guest));
        drop(guest);
        site.plane.start_api().await;
        site.delete("Port", "p2").await;
        // A controller that missed the deletion releases it as of its list; that agents have come so far they
        // may learn only from the API server's next bookmark, a minute later.
        let freed = async || {
            let allocation = site.get("IPAllocation", "a.10.0.0.12").await;
            allocation.map_or(Ok(()), |allocation| Err(format!("{allocation:#}")))
        };
        site.eventually(LONG * 2, freed).await;
        assert_eq!(site.nodes[number - 1].servers(), before, "dnsmasq was restarted");
        let guest = site.street.guest("br0", mac(2));
        assert!(!is_answered(&guest), "a removed port is answered");
        let agent =
            site.until("DHCPAgent", &format!("n{number}"), |a| a["status"]["source"] == "Cluster").await;
        assert_eq!(condition(&agent, "Ready", "status"), "True");
    });
}

#[test]
fn an_api_server_that_hangs_delays_nobody_who_is_served() {
    inside("failures::an_api_server_that_hangs_delays_nobody_who_is_served", async {
        let site = served().await;
        site.plane.freeze_api();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let guest = site.street.guest("br0", mac(1));
        assert!(is_answered(&guest));
        drop(guest);
        site.plane.thaw_api();
        // Nobody was called dead for what the API server did not hear.
        site.apply_object(&port(2)).await;
        site.until_ready("Port", "p2").await;
        for node in &site.nodes {
            let agent = site.get("DHCPAgent", &node.name).await.unwrap();
            assert_eq!(condition(&agent, "Ready", "status"), "True", "{agent:#}");
        }
        assert_eq!(ready_servers(&site.get("Network", "a").await.unwrap()), 2);
    });
}

#[test]
fn a_dead_node_is_replaced_and_the_other_server_answers_meanwhile() {
    inside("failures::a_dead_node_is_replaced_and_the_other_server_answers_meanwhile", async {
        let mut site = Site::new(3).await;
        site.apply(crate::site::LAN).await;
        site.start_controller(&["--reschedule-after=5"]);
        site.start_agents();
        site.apply(NETWORK).await;
        site.until("Network", "a", |network| ready_servers(network) == 2).await;
        let held = holders(&site).await;
        let dead = site.nodes.remove(held[0] - 1);
        let (name, began) = (dead.name.clone(), Instant::now());
        drop(dead);
        let capture = site.street.capture("br0");
        let guest = site.street.guest("br0", mac(1));
        assert!(is_answered(&guest));
        site.until_not_ready("DHCPAgent", &name, "LeaseExpired").await;
        println!("called dead after {:?}", began.elapsed());
        let replaced = |network: &Value| {
            let slots =
                network.pointer("/status/slots").and_then(Value::as_array).cloned().unwrap_or_default();
            ready_servers(network) == 2 && slots.iter().all(|slot| slot["nodeName"] != json!(name))
        };
        let network = site.until("Network", "a", replaced).await;
        println!("replaced after {:?}", began.elapsed());
        // The slot's addresses are what they were: guests' resolvers do not change.
        assert_eq!(network.pointer("/status/slots/0/addresses/0"), Some(&json!("10.0.0.10")));
        assert_eq!(network.pointer("/status/slots/1/addresses/0"), Some(&json!("10.0.0.11")));
        assert_eq!(guest.dora().yiaddr().to_string(), "10.0.0.20");
        capture.assert_no_nak();
        site.plane.kubectl(&["delete", "node", &name]);
        site.until("DHCPServer", &format!("a.{name}"), Value::is_null).await;
        site.until("DHCPAgent", &name, Value::is_null).await;
    });
}

#[test]
fn another_controller_takes_over() {
    inside("failures::another_controller_takes_over", async {
        let mut site = served().await;
        site.start_controller(&[]);
        site.controller(0).kill().unwrap();
        let began = Instant::now();
        site.apply_object(&port(2)).await;
        site.until_ready("Port", "p2").await;
        println!("taken over after {:?}", began.elapsed());
        // At SIGTERM the Lease is given back: the next one does not wait for it to run out.
        site.start_controller(&[]);
        until("the new one is ready to take over", || {
            site.log("controller-2").contains("all objects are known")
        });
        let pid = rustix::process::Pid::from_child(site.controller(1));
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let began = Instant::now();
        site.apply_object(&port(3)).await;
        site.until_ready("Port", "p3").await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
}

#[test]
fn a_node_cut_off_from_the_api_server_serves_on() {
    inside("failures::a_node_cut_off_from_the_api_server_serves_on", async {
        let mut site = Site::new(1).await;
        site.apply(crate::site::LAN).await;
        site.start_controller(&[]);
        site.start_agent(1, &[]);
        site.apply(NETWORK).await;
        site.until_ready("Port", "p1").await;
        site.nodes[0].connect(false);
        site.until_not_ready("DHCPAgent", "n1", "LeaseExpired").await;
        // It is the only one: there is nowhere to move to, and what it does is not known any more.
        site.until_not_ready("Network", "a", "NoServerReady").await;
        let guest = site.street.guest("br0", mac(1));
        assert!(is_answered(&guest));
        site.nodes[0].connect(true);
        site.until_ready("DHCPAgent", "n1").await;
        let network = site.until_ready("Network", "a").await;
        assert_eq!(condition(&network, "Ready", "reason"), "FewerServers");
    });
}

fn until(what: &str, wanted: impl Fn() -> bool) {
    crate::lab::eventually(what, crate::site::LONG, || wanted().then_some(()));
}

#[test]
fn what_keeps_a_server_from_being_taken_down_is_said() {
    inside("failures::what_keeps_a_server_from_being_taken_down_is_said", async {
        let mut site = Site::new(1).await;
        site.apply(LAN).await;
        site.start_controller(&[]);
        let weak = may_not_kill(&site);
        site.start_agent_of(&weak, 1, &[]);
        site.apply(NETWORK).await;
        site.until_ready("Port", "p1").await;
        site.delete("Network", "a").await;
        let stuck = |server: &Value| condition(server, "TornDown", "status") == "False";
        let server = site.until("DHCPServer", "a.n1", stuck).await;
        assert_eq!(condition(&server, "TornDown", "reason"), "HostFailed");
        let message = condition(&server, "TornDown", "message");
        assert!(message.contains("give it the capability KILL"), "{message}");
        site.nodes[0].kill_agent();
        site.start_agent(1, &[]);
        site.until("DHCPServer", "a.n1", Value::is_null).await;
    });
}

/// A program that starts the agent without the right to signal processes of others.
fn may_not_kill(site: &Site) -> String {
    let script = site.plane.directory().join("kube-dhcp");
    let text = format!("#!/bin/sh\nexec setpriv --bounding-set=-kill --inh-caps=-kill {BIN} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}
