//! Many Ports at a steady rate: how long until each is `Ready`, what it costs whom, and whether what came
//! of it is right.
//!
//! A test runs it small, `benches/cluster.rs` as large as is asked for.
#![allow(dead_code, reason = "each user has its part")]

mod check;
mod costs;
mod observer;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::lab::Mac;
use crate::site::{LAN, Site};
use costs::Costs;
use observer::{Observer, percentiles};

/// Applies that wait for the API server at the same time.
const AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(300);

/// The size of a run: `KUBE_DHCP_LOAD_NETWORKS`, `…_PORTS` (in each network), `…_RATE` (Ports a
/// second), `…_NODES`, `…_GROUPED` (1: one network after the other, else one Port in each by turns).
pub struct Load {
    pub networks: usize,
    pub ports: usize,
    pub rate: usize,
    pub nodes: usize,
    pub grouped: bool,
}

/// When each Port was sent, and how long the API server took to answer.
pub struct Applied {
    pub sent: BTreeMap<String, (Instant, Duration)>,
    took: Duration,
}

/// All of it, from an empty cluster on. Gives how often the status of a Port was written at most.
pub async fn run(load: &Load) -> u32 {
    println!("{load}");
    let mut site = load.start().await;
    let began = Instant::now();
    load.apply_networks(&site).await;
    load.until_served(&site).await;
    println!("networks served by {} nodes each after {:.1?}", load.servers(), began.elapsed());
    settle().await;
    let observer = Observer::start(&site).await;
    let before = Costs::now(&mut site).await;
    let applied = load.apply_ports(&site).await;
    let late = observer.until_ready(load.total()).await;
    let costs = Costs::now(&mut site).await.since(&before);
    println!("applied at {:.0} Ports a second", applied.rate());
    let most = observer.print(&applied);
    costs.print(load.total());
    assert_eq!(late, 0, "Ports are not ready\n{}", site.logs());
    settle().await;
    check::everything(&site, load).await;
    load.one_more(&site, &observer).await;
    most
}

/// What is written every few seconds is written.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

impl Load {
    pub fn from_environment() -> Self {
        let number = |name: &str, default: usize| {
            let value = std::env::var(format!("KUBE_DHCP_LOAD_{name}")).ok();
            value.map_or(default, |value| value.parse().expect("a number"))
        };
        Self {
            networks: number("NETWORKS", 100),
            ports: number("PORTS", 100),
            rate: number("RATE", 200),
            nodes: number("NODES", 3),
            grouped: number("GROUPED", 0) == 1,
        }
    }

    pub fn total(&self) -> usize {
        self.networks * self.ports
    }

    pub fn servers(&self) -> usize {
        self.nodes.min(2)
    }

    /// Its VLAN makes the network's bridge `br-<vlan>` on its nodes.
    pub fn vlan(network: usize) -> usize {
        1_000 + network
    }

    pub fn mac(network: usize, port: usize) -> Mac {
        let number = u32::try_from(network * 65_536 + port).unwrap().to_be_bytes();
        Mac([2, 0, number[0], number[1], number[2], number[3]])
    }

    async fn start(&self) -> Site {
        let mut site = Site::new(self.nodes).await;
        site.apply(LAN).await;
        site.start_controller(&[&format!("--listen={}", costs::CONTROLLER)]);
        for number in 1..=self.nodes {
            site.start_agent(number, &["--physical-network", "lan=bridge:br-{vlan}", "--create-bridges"]);
        }
        site
    }

    /// Two objects for each network, sixteen at a time.
    async fn apply_networks(&self, site: &Site) {
        let objects = (0..self.networks).flat_map(|number| [network(number, self.servers()), subnet(number)]);
        stream::iter(objects).for_each_concurrent(16, async |object| site.apply_object(&object).await).await;
    }

    async fn until_served(&self, site: &Site) {
        let ready = |network: &Value| {
            network.pointer("/status/servers/ready").and_then(Value::as_u64)
                == u64::try_from(self.servers()).ok()
        };
        let all = async || {
            let served = site.list("Network").await.iter().filter(|network| ready(network)).count();
            if served == self.networks { Ok(()) } else { Err(format!("{served} networks are served")) }
        };
        site.eventually(PATIENCE, all).await;
    }

    /// Each at its time, whatever became of those before, as long as the API server keeps up.
    async fn apply_ports(&self, site: &Site) -> Applied {
        let (began, api) = (Instant::now(), site.api("Port"));
        let apply = async |place: usize| {
            let due = began
                + Duration::from_secs(1) * u32::try_from(place).unwrap() / u32::try_from(self.rate).unwrap();
            tokio::time::sleep_until(due.into()).await;
            let (network, port) = self.place(place);
            self.apply_port(&api, network, port).await
        };
        let applies = stream::iter((0..self.total()).map(apply)).buffer_unordered(AT_ONCE);
        let sent = applies.collect().await;
        Applied { sent, took: began.elapsed() }
    }

    fn place(&self, place: usize) -> (usize, usize) {
        if self.grouped {
            (place / self.ports, place % self.ports)
        } else {
            (place % self.networks, place / self.networks)
        }
    }

    /// As `kubectl apply --server-side` does.
    async fn apply_port(
        &self,
        api: &Api<DynamicObject>,
        network: usize,
        number: usize,
    ) -> (String, (Instant, Duration)) {
        let (sent, port) = (Instant::now(), port(network, number));
        let name = port["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &PatchParams::apply("load").force(), &Patch::Apply(&port)).await.unwrap();
        (name, (sent, sent.elapsed()))
    }

    /// One Port more in the first network, when nothing else happens; twenty times.
    async fn one_more(&self, site: &Site, observer: &Observer) {
        let api = site.api("Port");
        let mut times = Vec::new();
        for extra in 0..20 {
            let (name, (sent, _)) = self.apply_port(&api, 0, self.ports + extra).await;
            times.push(observer.until_one_ready(&name).await - sent);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        println!("one more Port in a network of {}, applied → Ready: {}", self.ports, percentiles(times));
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.grouped { "one network after the other" } else { "one in each network by turns" };
        let Self { networks, ports, rate, nodes, .. } = self;
        write!(f, "{networks} networks × {ports} Ports, {rate} a second, {order}; {nodes} nodes")
    }
}

impl Applied {
    pub fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.sent.len()).unwrap()) / self.took.as_secs_f64()
    }
}

fn network(number: usize, servers: usize) -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Network",
        "metadata": {"name": format!("n{number}"), "namespace": "default"},
        "spec": {
            "physicalNetworkRef": {"name": "lan"},
            "segmentation": {"type": "VLAN", "vlan": {"id": Load::vlan(number)}},
            "dhcp": {"servers": servers},
        },
    })
}

/// As large as one can be: its size is to cost nothing.
fn subnet(number: usize) -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Subnet",
        "metadata": {"name": format!("n{number}-v4"), "namespace": "default"},
        "spec": {"networkRef": {"name": format!("n{number}")}, "cidr": format!("{}/8", Ipv4Addr::new(10, 0, 0, 0))},
    })
}

fn port(network: usize, number: usize) -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port",
        "metadata": {"name": format!("n{network}-{number}"), "namespace": "default"},
        "spec": {"networkRef": {"name": format!("n{network}")}, "macAddress": Load::mac(network, number).to_string()},
    })
}
