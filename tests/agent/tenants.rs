//! What one tenant has to be done delays another by little.

use serde_json::Value;

use crate::agent::Agent;
use crate::lab::Mac;
use crate::manifests::{port, subnet, vlan};
use crate::site::{Site, patiently};

/// Networks of the tenant that has many.
const MANY: u16 = 150;

fn whole(name: &str, id: u16, mac: u32) -> String {
    vlan(name, id) + &subnet(name, name, "10.0.0.0/24", "") + &port(name, name, Mac::nth(mac), "")
}

/// The networks in the order in which their servers were started.
fn started(agent: &Agent<'_>) -> Vec<String> {
    let name = |line: &String| {
        let event: Value = serde_json::from_str(line).ok()?;
        let start = event["message"] == "start dnsmasq";
        start.then(|| event["span"]["network"].as_str().unwrap_or_default().to_owned())
    };
    agent.log().iter().filter_map(name).collect()
}

#[test]
fn a_tenant_with_many_networks_delays_another_by_few() {
    let site = Site::new();
    let many: String = (1..=MANY).map(|n| whole(&format!("n{n:03}"), n, n.into())).collect();
    let other = whole("last", MANY + 1, 9_999).replace("namespace: team-a", "namespace: team-z");
    let agent = site.launch().physical(&["trunk=bridge:br{vlan}"]).start_ready();
    site.write("all.yaml", &(many + &other));
    let order = patiently("all are served", |instead| {
        let order = started(&agent);
        *instead = format!("{} of {}", order.len(), MANY + 1);
        (order.len() == usize::from(MANY) + 1).then_some(order)
    });
    let at = order.iter().position(|network| network == "team-z/last").unwrap();
    println!("the other tenant's network was number {} of {}", at + 1, order.len());
    // Those that were being built when it came, and as many that came meanwhile.
    assert!(at < 24, "{at}: {order:?}");

    // Taken down, it waits for nobody who builds.
    let again: String = (1..=MANY).map(|n| whole(&format!("m{n:03}"), 1_000 + n, n.into())).collect();
    site.write("all.yaml", &again);
    patiently("the other one is gone", |instead| {
        *instead = started(&agent).len().to_string();
        let ours = site.status();
        ours.object("Network", "last").is_none().then_some(())
    });
    let after = started(&agent).len() - order.len();
    assert!(after < usize::from(MANY), "{after}");
}
