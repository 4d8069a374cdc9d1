//! Definitions of the version before, with controller and agents of this one: the API server refuses
//! what is applied with a field that it does not know.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{both_ready, crds, lines, told_txt, until_told_txt, with_txt};
use crate::inside::inside;
use crate::lab::DnsReply;
use crate::serve::{NETWORK, mac, port};
use crate::site::{LAN, LONG, Site, condition};
use crate::watches::quiet;

const SERVER_SIDE: [&str; 2] = ["--server-side", "--force-conflicts"];

/// Applies TXT records as a user does; or what kubectl complains of.
fn user_applies_txt(site: &Site, how: &[&str]) -> Result<String, String> {
    let file = site.plane.directory().join("txt.yaml");
    std::fs::write(&file, with_txt()).unwrap();
    site.plane.try_kubectl(&[&["apply", "-f", file.to_str().unwrap()], how].concat())
}

/// Replaces the definitions, which takes a moment more until the API server goes by them.
async fn define(site: &Site, how: &str, directory: &str, knows_txt: bool) {
    site.plane.kubectl(&["apply", "--server-side", how, &crds(directory)]);
    site.plane.until_all_served().await;
    let fields = async || {
        let object = json!({"apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Network",
            "metadata": {"name": "probe", "namespace": "default"}, "spec": {"physicalNetworkRef": {"name": "none"},
            "dns": {"txtRecords": [{"name": "a.", "texts": ["b"]}]}}});
        let parameters = PatchParams { dry_run: true, ..PatchParams::apply("test") };
        let done = site.api("Network").patch("probe", &parameters, &Patch::Apply(&object)).await;
        if done.is_ok() == knows_txt { Ok(()) } else { Err(format!("{done:?}")) }
    };
    site.eventually(LONG, fields).await;
}

fn dynamic() -> String {
    let pools = "pools: [{first: 10.0.0.10, last: 10.0.0.250}]";
    let range = "dhcp: {mode: Dynamic, dynamic: {first: 10.0.0.200, last: 10.0.0.209}}";
    NETWORK.replace(pools, &format!("{pools}\n  {range}"))
}

fn by_id() -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port", "metadata": {"name": "by-id", "namespace": "default"},
        "spec": {"networkRef": {"name": "a"}, "identity": {"type": "ClientID", "clientID": "ab:cd:ef"}},
    })
}

#[test]
fn what_they_know_is_served_and_the_rest_is_said_and_follows() {
    inside("skew::definitions::what_they_know_is_served_and_the_rest_is_said_and_follows", async {
        let mut site = Site::new(2).await;
        define(&site, "-f", "tests/previous/crds", false).await;
        site.apply(LAN).await;
        site.start_controller(&[]);
        for number in [1, 2] {
            // One that carries all Networks, which has no name there yet.
            site.start_agent(number, &["--resync-seconds=1", "--physical-network=any=ovs:br-any"]);
        }
        site.apply(&dynamic()).await;
        site.apply_object(&by_id()).await;
        site.until("Network", "a", both_ready).await;
        let address = site.until_ready("Port", "by-id").await;
        let address = address.pointer("/status/addresses/0/ip").unwrap().as_str().unwrap().to_owned();
        site.until_ready("Port", "p1").await;
        let street = site.street.clone();
        let (vm, stranger) = (street.guest("br0", mac(1)), street.guest("br0", mac(50)));
        let ack = vm.dora();
        assert_eq!(ack.yiaddr().to_string(), "10.0.0.20");
        let known = street.guest("br0", mac(60)).with_client_id(&[0xab, 0xcd, 0xef]);
        assert_eq!(known.dora().yiaddr().to_string(), address);
        vm.configure("10.0.0.20/24", None);
        // What is dropped each time is not written again and again.
        println!("{:?}", quiet(&site).await);
        servers_are_left_alone(&site).await;
        its_user_hears_what_is_not_known(&site).await;
        assert!(stranger.discover(&[]).is_none());
        assert_eq!(told_txt(&vm, ack.server()), Some(DnsReply::nxdomain()));
        for server in site.list("DHCPServer").await {
            assert!(server.pointer("/status/leases").is_none(), "{server:#}");
        }
        define(&site, "-k", "crds", true).await;
        user_applies_txt(&site, &SERVER_SIDE).unwrap();
        until_told_txt(&site, &vm, ack.server()).await;
        strangers_are_served(&site).await;
        assert!((200..210).contains(&stranger.dora().yiaddr().octets()[3]));
        counted(&site).await;
        all_is_said_of_agents(&site).await;
        for name in ["p1", "by-id"] {
            site.until_ready("Port", name).await;
        }
        quiet(&site).await;
    });
}

/// Nothing is written of them when the network is judged again.
async fn servers_are_left_alone(site: &Site) {
    let written = async || {
        let of_servers =
            [("verb", "APPLY"), ("resource", "dhcpservers"), ("subresource", ""), ("code", "200")];
        site.plane.metrics().await.sum("apiserver_request_total", &of_servers)
    };
    let before = written().await;
    site.apply_object(&port(2)).await;
    site.until_ready("Port", "p2").await;
    assert!((written().await - before).abs() < 0.5, "they are written anew");
}

/// From the API server, and from conditions.
async fn its_user_hears_what_is_not_known(site: &Site) {
    let refused = user_applies_txt(site, &SERVER_SIDE).unwrap_err();
    assert!(refused.contains(".spec.dns.txtRecords: field not declared in schema"), "{refused}");
    let refused = user_applies_txt(site, &[]).unwrap_err();
    assert!(refused.contains("unknown field \"spec.dns.txtRecords\""), "{refused}");
    let subnet = site.until_not_ready("Subnet", "a-v4", "Progressing").await;
    let message = condition(&subnet, "Ready", "message");
    assert!(message.contains("the definition of DHCPServer is older than the controller"), "{message}");
    let said = lines(site, "WARN");
    for field in [".status.leases", ".spec.dynamic"] {
        assert!(said.contains(&format!("has no {field}, which is left out")), "{said}");
    }
    assert!(said.contains("has no Any in .status.physicalNetworks.vlan"), "{said}");
    let agent = site.get("DHCPAgent", "n1").await.unwrap();
    assert_eq!(physical_networks(&agent), ["lan"], "{agent:#}");
}

/// As soon as the controller has tried again.
async fn strangers_are_served(site: &Site) {
    let ready = async || {
        let subnet = site.get("Subnet", "a-v4").await.unwrap();
        if condition(&subnet, "Ready", "status") == "True" { Ok(()) } else { Err(format!("{subnet:#}")) }
    };
    site.eventually(2 * LONG, ready).await;
}

/// What had no room is told now.
async fn counted(site: &Site) {
    let all = async || {
        let servers = site.list("DHCPServer").await;
        let counts = servers.iter().filter(|server| server.pointer("/status/leases").is_some()).count();
        if counts == 2 { Ok(()) } else { Err(format!("{servers:#?}")) }
    };
    site.eventually(LONG, all).await;
}

fn physical_networks(agent: &Value) -> Vec<&str> {
    let all = agent.pointer("/status/physicalNetworks").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|network| network["name"].as_str()).collect()
}

/// As soon as something happens on the node.
async fn all_is_said_of_agents(site: &Site) {
    let all = async || {
        for line in ["ip link add blink type bridge", "ip link delete blink"] {
            site.nodes[0].lab.run(line);
        }
        let agent = site.get("DHCPAgent", "n1").await.unwrap();
        if physical_networks(&agent) == ["any", "lan"] { Ok(()) } else { Err(format!("{agent:#}")) }
    };
    site.eventually(2 * LONG, all).await;
}
