//! Network, Subnet, Port, PhysicalNetwork and Namespace are deleted in every order, while an agent is
//! away and a node ends for good: nothing is left, neither in the API nor on the nodes.

use std::time::Instant;

use futures::future::join_all;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::inside::inside;
use crate::site::{LONG, Site, condition};

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Network,
    Subnet,
    Port,
    Physical,
    Namespace,
}

use What::{Namespace, Network, Physical, Port, Subnet};

const ALL: [What; 4] = [Network, Subnet, Port, Physical];
/// No order is longer.
const ROUNDS: usize = 5;

/// A namespace with a network on a physical network of its own.
struct Case {
    number: usize,
    order: Vec<What>,
    /// In this round all of it, without waiting for anything.
    at_once: Option<usize>,
}

/// All orders; and some that the Namespace cuts short, at each place.
fn cases() -> Vec<Case> {
    let mut orders = Vec::new();
    permute(&mut ALL.clone(), 0, &mut orders);
    let cut = |n: usize| {
        let mut order = orders[n * 3][..n % 4].to_vec();
        order.push(Namespace);
        if !order.contains(&Physical) {
            order.push(Physical);
        }
        order
    };
    let cut: Vec<_> = (0..8).map(cut).collect();
    let case = |(number, order): (usize, Vec<What>)| {
        let at_once = (number % 2 == 1).then_some(number / 2 % 4);
        Case { number, order, at_once }
    };
    orders.into_iter().chain(cut).enumerate().map(case).collect()
}

fn permute(rest: &mut [What; 4], done: usize, orders: &mut Vec<Vec<What>>) {
    if done == rest.len() {
        return orders.push(rest.to_vec());
    }
    for next in done..rest.len() {
        rest.swap(done, next);
        permute(rest, done + 1, orders);
        rest.swap(done, next);
    }
}

#[test]
fn nothing_is_left_in_whichever_order_all_is_deleted() {
    inside("orders::nothing_is_left_in_whichever_order_all_is_deleted", async {
        let cases = cases();
        let (mut site, flags) = (Site::new(3).await, agents_flags(cases.len()));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        site.start_controller(&[]);
        (1..=3).for_each(|node| site.start_agent(node, &flags));
        let began = Instant::now();
        join_all(cases.iter().map(|case| case.apply(&site))).await;
        join_all(cases.iter().map(|case| case.until_served(&site))).await;
        println!("{} networks are served after {:.1?}", cases.len(), began.elapsed());
        for round in 0..ROUNDS {
            match round {
                // What it runs goes on.
                0 => site.nodes[0].kill_agent(),
                2 => {
                    site.start_agent(1, &flags);
                    site.power_off(3);
                }
                3 => drop(site.plane.kubectl(&["delete", "node", "n3"])),
                _ => {}
            }
            join_all(cases.iter().map(|case| case.round(&site, round))).await;
            println!("round {round} is over after {:.1?}", began.elapsed());
        }
        site.nodes.remove(2);
        until_nothing_is_left(&site, &cases).await;
        println!("nothing is left after {:.1?}", began.elapsed());
    });
}

/// A physical network for each case, whose bridges are the agents' to make and to remove.
fn agents_flags(cases: usize) -> Vec<String> {
    let physical = |n: usize| ["--physical-network".to_owned(), format!("p{n}=bridge:p{n}-{{vlan}}")];
    let mut flags: Vec<_> = (0..cases).flat_map(physical).collect();
    flags.push("--create-bridges".to_owned());
    flags
}

impl Case {
    fn namespace(&self) -> String {
        format!("o{}", self.number)
    }

    fn api(&self, site: &Site, kind: &str) -> Api<DynamicObject> {
        let (group, version) = if kind == "Namespace" { ("", "v1") } else { ("kube-dhcp.io", "v1alpha1") };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match kind {
            "PhysicalNetwork" | "Namespace" => Api::all_with(site.client(), &resource),
            _ => Api::namespaced_with(site.client(), &self.namespace(), &resource),
        }
    }

    async fn apply(&self, site: &Site) {
        let (namespace, physical) = (self.namespace(), format!("p{}", self.number));
        site.plane.namespace(&namespace, &[]).await;
        let namespaces = json!({"namespaces": {"from": "All"}, "vlanRanges": [{"first": 1, "last": 9}]});
        for (kind, name, spec) in [
            ("PhysicalNetwork", physical.as_str(), namespaces),
            (
                "Network",
                "a",
                json!({
                    "physicalNetworkRef": {"name": physical},
                    "segmentation": {"type": "VLAN", "vlan": {"id": 7}},
                }),
            ),
            ("Subnet", "a", json!({"networkRef": {"name": "a"}, "cidr": "10.0.0.0/24"})),
            ("Port", "a", json!({"networkRef": {"name": "a"}, "macAddress": "02:00:00:00:00:01"})),
        ] {
            let mut metadata = json!({"name": name});
            if kind != "PhysicalNetwork" {
                metadata["namespace"] = json!(namespace);
            }
            let object = json!({
                "apiVersion": "kube-dhcp.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
            });
            site.apply_object(&object).await;
        }
    }

    async fn get(&self, site: &Site, kind: &str) -> Option<Value> {
        let name = match kind {
            "PhysicalNetwork" => format!("p{}", self.number),
            "Namespace" => self.namespace(),
            _ => "a".to_owned(),
        };
        let object = self.api(site, kind).get_opt(&name).await.unwrap()?;
        Some(serde_json::to_value(object).unwrap())
    }

    async fn until_served(&self, site: &Site) {
        let look = async || {
            let network = self.get(site, "Network").await.unwrap();
            let port = self.get(site, "Port").await.unwrap();
            let servers = network.pointer("/status/servers/ready") == Some(&json!(2));
            let is_served = servers && condition(&port, "Ready", "status") == "True";
            if is_served { Ok(()) } else { Err(format!("{network:#} {port:#}")) }
        };
        site.eventually(LONG, look).await;
    }

    async fn round(&self, site: &Site, round: usize) {
        match self.at_once {
            Some(at) if at == round => {
                for what in &self.order {
                    self.delete(site, *what).await;
                }
            }
            Some(_) => {}
            None => {
                let Some(what) = self.order.get(round) else { return };
                self.delete(site, *what).await;
                self.until_seen(site, *what).await;
            }
        }
    }

    async fn delete(&self, site: &Site, what: What) {
        let (kind, name) = match what {
            Network => ("Network", "a".to_owned()),
            Subnet => ("Subnet", "a".to_owned()),
            Port => ("Port", "a".to_owned()),
            Physical => ("PhysicalNetwork", format!("p{}", self.number)),
            Namespace => ("Namespace", self.namespace()),
        };
        self.api(site, kind).delete(&name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the controller has taken it in, where that can be seen from outside.
    async fn until_seen(&self, site: &Site, what: What) {
        let look = async || {
            let sign = self.sign(site, what).await;
            sign.map_err(|why| format!("{} after {what:?} of {:?}: {why}", self.namespace(), self.order))
        };
        site.eventually(LONG, look).await;
    }

    async fn sign(&self, site: &Site, what: What) -> Result<(), String> {
        let is = |object: Option<Value>, reason: &str| match object {
            Some(object) if condition(&object, "Ready", "reason") != reason => Err(format!("{object:#}")),
            _ => Ok(()),
        };
        match what {
            Network => {
                is(self.get(site, "Port").await, "NetworkNotFound")?;
                is(self.get(site, "Subnet").await, "NetworkNotFound")?;
                self.none_is(site, "DHCPServer", |server| server["spec"]["state"] == "Active").await
            }
            Subnet => self.none_is(site, "IPAllocation", |held| held["spec"]["released"].is_null()).await,
            Port => {
                let holds = |held: &Value| {
                    held["spec"]["holder"]["type"] == "Port" && held["spec"]["released"].is_null()
                };
                self.none_is(site, "IPAllocation", holds).await
            }
            Physical => is(self.get(site, "Network").await, "PhysicalNetworkNotFound"),
            Namespace => match self.get(site, "Namespace").await {
                Some(namespace) => Err(format!("{namespace:#}")),
                None => Ok(()),
            },
        }
    }

    async fn none_is(&self, site: &Site, kind: &str, like: impl Fn(&Value) -> bool) -> Result<(), String> {
        for object in self.api(site, kind).list(&ListParams::default()).await.unwrap() {
            let name = object.name_any();
            let object = serde_json::to_value(object).unwrap();
            if like(&object) {
                return Err(format!("{kind} {name}: {object:#}"));
            }
        }
        Ok(())
    }
}

async fn until_nothing_is_left(site: &Site, cases: &[Case]) {
    let look = async || {
        for kind in ["DHCPServer", "IPAllocation", "Network", "Subnet", "Port"] {
            for case in cases {
                let left = case.none_is(site, kind, |_| true).await;
                left.map_err(|why| format!("{} {:?}: {why}", case.namespace(), case.order))?;
            }
        }
        match site.get("DHCPAgent", "n3").await {
            Some(agent) => Err(format!("{agent:#}")),
            None => nodes_are_empty(site),
        }
    };
    site.eventually(LONG * 2, look).await;
}

/// Neither processes nor namespaces, devices or files; of bridges only the one that was there before.
fn nodes_are_empty(site: &Site) -> Result<(), String> {
    for node in &site.nodes {
        let bridges = node.lab.run("ip -o link show type bridge");
        let files = std::fs::read_dir(node.state().join("networks")).into_iter().flatten().count();
        let (servers, namespaces) = (node.servers(), node.lab.netns_names());
        let is_empty = servers.is_empty() && namespaces.is_empty() && files == 0;
        if !is_empty || bridges.lines().count() != 1 {
            return Err(format!("{}: {servers:?} {namespaces:?} {files} files\n{bridges}", node.name));
        }
    }
    Ok(())
}
