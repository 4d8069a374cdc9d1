//! Each capability of the agent's pod is needed: without it a network is not served, or not taken down.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Mac;
use crate::site::{LAN, SYSTEM, Site, on_nodes};

const GUEST: Mac = Mac([2, 0, 0, 0, 0, 1]);

const NETWORK: &str = "
apiVersion: kube-dhcp.io/v1alpha1
kind: Network
metadata: {name: a, namespace: default}
spec:
  physicalNetworkRef: {name: lan}
  dhcp: {servers: 1}
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Subnet
metadata: {name: a-v4, namespace: default}
spec: {networkRef: {name: a}, cidr: 10.0.0.0/24, pools: [{first: 10.0.0.10, last: 10.0.0.250}]}
---
apiVersion: kube-dhcp.io/v1alpha1
kind: Port
metadata: {name: p1, namespace: default}
spec: {networkRef: {name: a}, macAddress: \"02:00:00:00:00:01\", addresses: [{ip: 10.0.0.20}]}
";

/// How long what a capability is for may take. With all of them it takes two seconds.
const PATIENCE: Duration = Duration::from_secs(25);
/// A failure that stands for so long is one, although it is tried again and again.
const STANDS: Duration = Duration::from_secs(5);

#[test]
#[ignore = "real nodes: make test-cluster"]
fn none_of_the_agents_capabilities_is_too_much() {
    on_nodes("capabilities::none_of_the_agents_capabilities_is_too_much", 1, async |site| {
        site.install();
        site.until_rolled_out();
        site.apply(LAN);
        let all = capabilities(site);
        assert_eq!(all.len(), 7, "{all:?}");
        assert_eq!(what_fails(site), None);
        site.say("with all of them a network is served, and taken down");
        for without in &all {
            let others: Vec<_> = all.iter().filter(|name| *name != without).collect();
            let fails = replace_agent(site, &json!(others)).err().or_else(|| what_fails(site));
            site.say(&format!("without {without}: {}", fails.as_deref().unwrap_or("everything works")));
            assert!(fails.is_some(), "{without} is not needed");
            // What an agent could not take down goes with its pod.
            replace_agent(site, &json!(all)).unwrap();
            site.wait("nothing is left", || is_empty(site));
        }
        site.uninstall();
        site.plane.assert_uninstalled();
    });
}

fn capabilities(site: &Site) -> Vec<String> {
    let path = "jsonpath={.spec.template.spec.containers[0].securityContext.capabilities.add}";
    serde_json::from_str(&site.kubectl(&["get", "ds", "agent", "-n", SYSTEM, "-o", path])).unwrap()
}

/// Fails with the agent's last words when it does not stay.
fn replace_agent(site: &Site, capabilities: &Value) -> Result<(), String> {
    let place = "/spec/template/spec/containers/0/securityContext/capabilities/add";
    let change = json!([{"op": "replace", "path": place, "value": capabilities}]).to_string();
    site.kubectl(&["patch", "ds", "agent", "-n", SYSTEM, "--type=json", "-p", &change]);
    let ends = || {
        let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
        let pod = site.agent_on("n1").filter(|pod| {
            let count = site.try_kubectl(&["get", pod, "-n", SYSTEM, "-o", restarts]);
            count.is_ok_and(|count| count.parse().is_ok_and(|count: u32| count > 0))
        })?;
        let log = site.try_kubectl(&["logs", &pod, "-n", SYSTEM, "--previous", "--tail=1"]);
        Some(format!("the agent ends; {}", log.unwrap_or_default().trim()))
    };
    let deadline = Instant::now() + PATIENCE * 4;
    loop {
        if site.try_kubectl(&["rollout", "status", "ds/agent", "-n", SYSTEM, "--timeout=5s"]).is_ok() {
            return Ok(());
        }
        if let Some(why) = ends() {
            return Err(why);
        }
        assert!(Instant::now() < deadline, "neither replaced nor ended\n{}", site.logs());
    }
}

/// A network from its first to its last day: which part of that does not work, and why.
fn what_fails(site: &Site) -> Option<String> {
    site.apply(NETWORK);
    let guest = site.street.guest("br0", GUEST);
    let served = or_why(|| match conditions(site) {
        all if all.is_empty() || all.iter().any(|condition| condition["status"] != "True") => Err(told(&all)),
        _ => guest.discover(&[]).map(|_| ()).ok_or_else(|| "no answer".to_owned()),
    });
    site.kubectl(&["delete", "dnet/a", "dsub/a-v4", "dport/p1", "--timeout=60s"]);
    let removed = or_why(|| if is_empty(site) { Ok(()) } else { Err(told(&conditions(site))) });
    let words = |what: &str, why: String| format!("{what}; {why}");
    let served = served.err().map(|why| words("guests are not served", why));
    served.or(removed.err().map(|why| words("it is not taken down", why)))
}

/// Waits for something, until the cause that it is not so has stood for a while.
fn or_why(mut look: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut cause = (String::new(), Instant::now());
    loop {
        let Err(why) = look() else { return Ok(()) };
        if why != cause.0 {
            cause = (why, Instant::now());
        }
        let stands = !cause.0.is_empty() && cause.1.elapsed() > STANDS;
        if stands || Instant::now() > deadline {
            return Err(cause.0);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// What the agent says of the server.
fn conditions(site: &Site) -> Vec<Value> {
    let list = site.kubectl(&["get", "dsrv", "-A", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let servers = list["items"].as_array().unwrap().iter();
    let all = servers.filter_map(|server| server["status"]["conditions"].as_array()).flatten();
    let agents = ["Programmed", "Serving", "TornDown"];
    all.filter(|one| agents.iter().any(|kind| one["type"] == *kind)).cloned().collect()
}

/// What failed, once; nothing while it goes on.
fn told(conditions: &[Value]) -> String {
    let failed = conditions.iter().find(|one| one["status"] != "True" && one["reason"] == "HostFailed");
    failed.and_then(|one| one["message"].as_str()).unwrap_or_default().to_owned()
}

/// Whether nothing of a network is left, neither in the API nor on the node.
fn is_empty(site: &Site) -> bool {
    let node = &site.nodes[0];
    site.kubectl(&["get", "dsrv", "-A", "-o", "name"]).is_empty()
        && node.shell("ip -o link show master br0").lines().count() == 1
        && !node.shell("ps -eo comm --no-headers").lines().any(|name| name == "dnsmasq")
}
