//! A life of an installation: guests are served, agents replaced, a node dies, everything goes.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::lab::{DnsReply, DnsSocket, Mac, rtype};
use crate::machine::NEXT_TAG;
use crate::site::{LAN, SYSTEM, Site, on_nodes};
use crate::traffic::{Traffic, assert_nobody_noticed, network};

const SIX: &str = "
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Subnet
metadata: {name: net0-v6, namespace: default}
spec:
  networkRef: {name: net0}
  cidr: fd00:7::/64
  ipv6: {addressMode: DHCPv6Stateful}
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Port
metadata: {name: six, namespace: default}
spec:
  networkRef: {name: net0}
  macAddress: \"02:00:00:00:00:66\"
  hostname: six
";

#[test]
#[ignore = "real nodes: make test-cluster"]
fn an_installation_from_its_first_day_to_its_last() {
    on_nodes("life::an_installation_from_its_first_day_to_its_last", 2, async |site| {
        site.helm_install_older();
        site.until_rolled_out();
        site.say("agents and controllers are ready, with definitions of before");
        site.apply(LAN);
        site.apply(&(network(0, 2) + SIX));
        site.kubectl(&["wait", "dnet,dsub,dport", "--all", "--for=condition=Ready", "--timeout=60s"]);
        site.wait("both nodes serve", || {
            site.kubectl(&["get", "dnet", "net0", "-o", "jsonpath={.status.servers.ready}"]) == "2"
        });
        site.say("the network is served by both nodes");
        guests_are_served(site);
        site.say("a guest has its lease, its name and its IPv6 address");
        the_commands_work_in_the_pod(site);
        the_processes_are_few_and_small(site);
        a_stolen_token_writes_about_its_own_node_only(site).await;
        site.say("a stolen token was refused");
        a_killed_agent_comes_back(site);
        site.say("a killed agent came back in its pod");
        an_upgrade_is_not_noticed(site);
        people_can_read_it(site);
        a_dead_node_is_not_noticed(site);
        site.helm_uninstall();
        site.say("uninstalled");
        what_users_made_is_left_and_can_be_deleted(site);
        nothing_is_left(site);
    });
}

fn guests_are_served(site: &Site) {
    let guest = site.street.guest("br0", Mac([2, 0, 0, 0, 0, 0]));
    let ack = guest.dora();
    assert_eq!(ack.yiaddr().to_string(), "10.0.0.100");
    guest.configure("10.0.0.100/24", None);
    for resolver in ack.addresses(6) {
        let reply = DnsSocket::new(&site.street, Some(guest.netns()), resolver)
            .ask("six.vm.example.org", rtype::AAAA);
        assert_eq!(reply, DnsReply::found(&[&address_of_six(site)]));
    }
    let six = site.street.guest6("br0", Mac([2, 0, 0, 0, 0, 0x66]));
    assert_eq!(six.sarr().addresses()[0].to_string(), address_of_six(site));
}

fn address_of_six(site: &Site) -> String {
    let addresses = "jsonpath={.status.addresses[*].ip}";
    let found = site.kubectl(&["get", "dport", "six", "-o", addresses]);
    found.split(' ').find(|ip| ip.contains(':')).unwrap().to_owned()
}

fn the_commands_work_in_the_pod(site: &Site) {
    let pod = site.agent_on("n1").unwrap();
    let run = |arguments: &[&str]| {
        let words = [&["exec", "-n", SYSTEM, &pod, "--", "kube-dhcp"], arguments].concat();
        site.kubectl(&words)
    };
    let version: Value = serde_json::from_str(&run(&["version", "-o", "json"])).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["dnsmasq"].is_string() && version["iptables"].is_string(), "{version}");
    assert!(run(&["status"]).contains("default/net0   True"), "{}", run(&["status"]));
    run(&["leases"]);
    // There is nobody else to talk to in it.
    let shell = site.try_kubectl(&["exec", "-n", SYSTEM, &pod, "--", "sh", "-c", "true"]);
    assert!(shell.is_err());
}

/// The program reaps what it starts; dnsmasq is not root.
fn the_processes_are_few_and_small(site: &Site) {
    for node in &site.nodes {
        let seen = node.shell("ps -eo stat,user,comm --no-headers");
        let dnsmasq: Vec<_> = seen.lines().filter(|line| line.ends_with(" dnsmasq")).collect();
        assert_eq!(dnsmasq.len(), 1, "{seen}");
        assert!(!dnsmasq[0].contains("root"), "{seen}");
        assert!(!seen.lines().any(|line| line.starts_with('Z')), "{seen}");
    }
}

async fn a_stolen_token_writes_about_its_own_node_only(site: &Site) {
    let find = "find /var/lib/kubelet/pods/*/volumes/kubernetes.io~projected -name token | xargs grep -l .";
    let tokens = site.nodes[0].shell(find);
    let own = tokens.lines().enumerate().filter_map(|(number, path)| {
        let token = site.nodes[0].shell(&format!("cat '{path}'"));
        let config = site.plane.kubeconfig(&format!("stolen-{number}"), token.trim());
        let config = config.to_str().unwrap().to_owned();
        let who = site.kubectl(&["--kubeconfig", &config, "auth", "whoami", "-o", "json"]);
        who.contains("serviceaccount:kube-dhcp-system:agent").then_some(config)
    });
    let config = own.into_iter().next().expect("an agent's token on n1");
    let thief = site.plane.client(config.as_ref()).await;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kube-dhcp.io", "v1alpha1", "DHCPAgent"));
    let agents: Api<DynamicObject> = Api::all_with(thief, &resource);
    let patch = Patch::Merge(json!({"status": {"version": "9.9.9"}}));
    let refused = agents.patch_status("n2", &PatchParams::default(), &patch).await.unwrap_err().to_string();
    assert!(refused.contains("the agent of node \"n1\" may not write dhcpagents n2"), "{refused}");
    agents.patch_status("n1", &PatchParams::default(), &patch).await.unwrap();
    let secrets = site.try_kubectl(&["--kubeconfig", &config, "get", "secrets", "-A"]);
    assert!(secrets.unwrap_err().contains("forbidden"));
}

/// A container that is started anew finds what the last one left in `/run`.
fn a_killed_agent_comes_back(site: &Site) {
    let pod = site.agent_on("n1").unwrap();
    let of_container = |field: &str| {
        let path = format!("jsonpath={{.status.containerStatuses[0].{field}}}");
        site.kubectl(&["get", "-n", SYSTEM, &pod, "-o", &path])
    };
    assert_eq!(of_container("restartCount"), "0");
    let files = "ls /var/lib/kubelet/pods/*/volumes/kubernetes.io~empty-dir/run/netns";
    let left = site.nodes[0].shell(files);
    assert!(left.starts_with("kdhcp-"), "{left}");
    site.nodes[0].shell("kill -9 $(pgrep -f '^/usr/local/bin/kube-dhcp agent')");
    site.wait("it was started anew", || of_container("restartCount") == "1");
    site.wait("it is ready", || of_container("ready") == "true");
    let ready = "jsonpath={.status.servers.ready}";
    site.wait("both nodes serve", || site.kubectl(&["get", "dnet", "net0", "-o", ready]) == "2");
    assert_eq!(site.nodes[0].shell(files), left);
}

/// New definitions, and another image for every pod.
fn an_upgrade_is_not_noticed(site: &Site) {
    let knows = "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.dynamic.type}";
    let knows = || site.kubectl(&["get", "crd", "dhcpservers.kube-dhcp.io", "-o", knows]);
    let uids = || site.kubectl(&["get", "dnet,dsub,dport", "-A", "-o", "jsonpath={.items[*].metadata.uid}"]);
    let (before, images) = (uids(), "jsonpath={.items[*].spec.containers[0].image}");
    assert_eq!(knows(), "", "these are no older definitions");
    let traffic = Traffic::start(&site.street, 1);
    traffic.until_served(2, Instant::now(), Duration::from_secs(30));
    let began = Instant::now();
    site.helm_upgrade(NEXT_TAG);
    site.until_rolled_out();
    traffic.until_served(2, Instant::now(), Duration::from_secs(60));
    site.say("definitions, agents and controllers were replaced");
    assert_nobody_noticed("an upgrade", &traffic.stop(), began);
    assert_eq!((knows().as_str(), uids()), ("boolean", before));
    site.wait("only the new image runs", || {
        let running = site.kubectl(&["get", "pod", "-n", SYSTEM, "-o", images]);
        running.split(' ').all(|image| image.ends_with(&format!(":{NEXT_TAG}")))
    });
    let ready = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    let all = site.kubectl(&["get", "dnet,dsub,dport", "-A", "-o", ready]);
    assert!(all.split(' ').all(|ready| ready == "True"), "{all}");
}

/// What kubectl prints by itself.
fn people_can_read_it(site: &Site) {
    let table = |kind: &str, name: &str| site.kubectl(&["get", kind, name]);
    let row =
        |table: &str| table.lines().nth(1).unwrap().split_whitespace().take(6).collect::<Vec<_>>().join(" ");
    let network = table("dnet", "net0");
    assert!(network.starts_with("NAME") && network.contains("SERVING"), "{network}");
    assert_eq!(row(&network), "net0 lan 2 2 True Ready", "{network}");
    let port = table("dport", "six");
    let words: Vec<_> = port.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[..2], ["six", "02:00:00:00:00:66"], "{port}");
    let four = site.kubectl(&["get", "dport", "six", "-o", "jsonpath={.status.addresses[0].ip}"]);
    assert!(words[2].contains(&four) && words.contains(&"True"), "{port}");
    let described = site.kubectl(&["describe", "dport", "six"]);
    for part in ["Conditions:", "Allocated", "Ready", "02:00:00:00:00:66", &address_of_six(site)] {
        assert!(described.contains(part), "{part}: {described}");
    }
    for (field, word) in [("dnet.spec.physicalNetworkRef", "PhysicalNetwork"), ("dsub.spec.pools", "address")]
    {
        let explained = site.kubectl(&["explain", field]);
        assert!(explained.contains("DESCRIPTION") && explained.contains(word), "{explained}");
    }
}

fn a_dead_node_is_not_noticed(site: &mut Site) {
    let traffic = Traffic::start(&site.street, 1);
    traffic.until_served(2, Instant::now(), Duration::from_secs(30));
    let began = Instant::now();
    drop(site.nodes.remove(0));
    let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    site.wait("it is known to be dead", || {
        site.kubectl(&["get", "dagent", "n1", "-o", ready]) == "LeaseExpired"
    });
    traffic.until_served(1, Instant::now(), Duration::from_secs(10));
    site.say("a node is dead");
    assert_nobody_noticed("a dead node", &traffic.stop(), began);
    // It does not come back; nobody else can say that of its pods.
    site.kubectl(&["delete", "node", "n1"]);
    let on_it = ["--field-selector", "spec.nodeName=n1", "--force", "--grace-period=0"];
    site.kubectl(&[&["delete", "pod", "-n", SYSTEM], &on_it[..]].concat());
}

/// The chart's definitions stay with their objects; nobody is there who would have to let them go.
fn what_users_made_is_left_and_can_be_deleted(site: &Site) {
    let names = site.kubectl(&["get", "dnet,dport", "-o", "name"]);
    assert!(
        names.contains("networks.kube-dhcp.io/net0") || names.contains("network.kube-dhcp.io/net0"),
        "{names}"
    );
    let gone = ["--wait=true", "--timeout=60s"];
    site.kubectl(&[&["delete", "dnet,dsub,dport,dphys", "--all"], &gone[..]].concat());
    let definitions = site.kubectl(&["get", "crd", "-o", "name"]);
    let ours: Vec<_> = definitions.lines().filter(|name| name.contains("kube-dhcp.io")).collect();
    site.kubectl(&[&["delete"][..], &ours, &gone].concat());
    site.kubectl(&[&["delete", "namespace", SYSTEM], &gone[..]].concat());
}

fn nothing_is_left(site: &Site) {
    site.plane.assert_uninstalled();
    for node in &site.nodes {
        site.wait("nothing runs on the node", || {
            let processes = node.shell("ps -eo comm --no-headers");
            !processes.lines().any(|name| ["dnsmasq", "kube-dhcp"].contains(&name))
        });
        let ports = node.shell("ip -o link show master br0");
        assert_eq!(ports.lines().count(), 1, "{ports}");
    }
}
