//! Whether all is as it is wanted, and nothing else is left anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};

use super::lans::{LANS, Lan, PORTS, STEADY, restless};
use super::stage::Stage;
use crate::lab::{Ask, Mac, MessageType, SILENCE, output};
use crate::observer::addresses;
use crate::site::{Node, condition};
use crate::traffic::GUESTS;

/// What the API server has.
struct Objects {
    networks: Vec<Value>,
    ports: Vec<Value>,
    servers: Vec<Value>,
    allocations: Vec<Value>,
    agents: Vec<Value>,
}

impl Stage {
    /// What is missing yet.
    pub async fn settled(&mut self) -> Result<(), String> {
        let list = async |kind: &str| self.users.list(kind).await.ok_or("the API server does not answer");
        let objects = Objects {
            networks: list("Network").await?,
            ports: list("Port").await?,
            servers: list("DHCPServer").await?,
            allocations: list("IPAllocation").await?,
            agents: list("DHCPAgent").await?,
        };
        self.give_way(&objects).await;
        if self.observer.seen().ports.revision() < objects.revision() {
            return Err("the observer is behind".into());
        }
        objects.complete()?;
        objects.ports_ready()?;
        objects.servers_right()?;
        objects.allocations_right()?;
        for node in &self.site.nodes {
            objects.host_right(node)?;
        }
        LANS.iter().try_for_each(|lan| self.served(lan, &objects))
    }

    /// Who asks for an address that another one has would wait for ever.
    async fn give_way(&mut self, objects: &Objects) {
        for lan in restless() {
            for port in 0..PORTS {
                let found = objects.ports.iter().find(|p| named(p) == (lan.namespace, &lan.port_name(port)));
                if found.is_some_and(|port| condition(port, "Ready", "reason") == "AddressInUse") {
                    self.users.give_way(lan, port).await;
                }
            }
        }
    }

    /// Every server of the network answers each of its Ports with its address, and nobody else.
    fn served(&self, lan: &Lan, objects: &Objects) -> Result<(), String> {
        let wanted: BTreeMap<_, _> = objects.on(lan).map(|port| (mac_of(port), addresses(port))).collect();
        let offers = self.offers(lan, wanted.keys().copied());
        let stranger = offers.iter().find(|((mac, _), _)| !wanted.contains_key(mac));
        if let Some(((mac, _), ips)) = stranger {
            return Err(format!("{}: {mac}, which is nobody's, is offered {ips:?}", lan.network));
        }
        for (mac, ips) in &wanted {
            let of: BTreeMap<_, _> = offers.iter().filter(|((to, _), _)| to == mac).collect();
            if of.len() != usize::from(lan.servers) || of.values().any(|offered| !offered.iter().eq(ips)) {
                return Err(format!("{}: {mac} is to be offered {ips:?}: {of:?}", lan.network));
            }
        }
        Ok(())
    }

    /// By client and server, what is offered.
    fn offers(&self, lan: &Lan, wanted: impl Iterator<Item = Mac>) -> BTreeMap<(Mac, Mac), BTreeSet<String>> {
        let all: BTreeSet<_> = wanted.chain(lan.macs()).collect();
        let first = self.site.street.guest(&lan.bridge(), Mac([2, 0, 0, 9, 0, 0]));
        let capture = self.site.street.capture(&lan.bridge());
        for mac in &all {
            self.site.street.twin(&first, *mac).send(&Ask::new(MessageType::Discover));
        }
        let (mut offers, asked) = (BTreeMap::<_, BTreeSet<_>>::new(), Instant::now());
        while asked.elapsed() < SILENCE {
            for answer in capture.take().into_iter().map(|seen| seen.answer) {
                if answer.kind() == MessageType::Offer {
                    let pair = (answer.client(), answer.from_mac);
                    offers.entry(pair).or_default().insert(answer.yiaddr().to_string());
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self.site.street.run(&format!("ip netns del {}", first.netns()));
        offers
    }
}

impl Objects {
    fn on<'a>(&'a self, lan: &'a Lan) -> impl Iterator<Item = &'a Value> {
        self.ports.iter().filter(|port| {
            port["spec"]["networkRef"]["name"] == lan.network && named(port).0 == lan.namespace
        })
    }

    /// The resource version of the last change of a Port.
    fn revision(&self) -> u64 {
        let revision = |port: &Value| port["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        self.ports.iter().map(revision).max().unwrap_or_default()
    }

    /// All networks and agents are there, ready, with all servers.
    fn complete(&self) -> Result<(), String> {
        for lan in &LANS {
            let network = self.networks.iter().find(|n| named(n) == (lan.namespace, lan.network));
            let network = network.ok_or_else(|| format!("there is no {}", lan.network))?;
            let all = network.pointer("/status/servers")
                == Some(&json!({"desired": lan.servers, "ready": lan.servers}));
            if !all || condition(network, "Ready", "status") != "True" {
                return Err(format!("{}: {}", lan.network, network["status"]));
            }
        }
        let late = self.agents.iter().find(|agent| condition(agent, "Ready", "status") != "True");
        late.map_or(Ok(()), |agent| Err(format!("agent {agent}")))
    }

    fn ports_ready(&self) -> Result<(), String> {
        let mut has = BTreeMap::new();
        for port in &self.ports {
            let (name, ips) = (named(port), addresses(port));
            if condition(port, "Ready", "status") != "True" || ips.len() != 1 {
                return Err(format!("Port {name:?}: {}", port["status"]));
            }
            if let Some(other) = has.insert((name.0, port["spec"]["networkRef"].to_string(), ips), name) {
                return Err(format!("Ports {name:?} and {other:?} have the same address"));
            }
        }
        let steady = LANS[..STEADY].iter().map(|lan| self.on(lan).count());
        if steady.clone().all(|count| count == usize::from(GUESTS)) {
            Ok(())
        } else {
            Err("Ports lack".into())
        }
    }

    /// Each slot has one server, and there are no others.
    fn servers_right(&self) -> Result<(), String> {
        let mut slots = BTreeSet::new();
        for server in &self.servers {
            let (network, slot) =
                (self.network(&server["spec"]["networkRef"]["uid"]), &server["spec"]["slot"]);
            let Some(lan) = network else { return Err(format!("a server of no network: {server}")) };
            let fits = slot.as_u64().is_some_and(|slot| slot < u64::from(lan.servers));
            let fresh = slots.insert((lan.number, slot.to_string()));
            if server["spec"]["state"] != "Active" || !fits || !fresh {
                return Err(format!("a server too many: {server}"));
            }
        }
        let all: usize = LANS.iter().map(|lan| usize::from(lan.servers)).sum();
        if slots.len() == all { Ok(()) } else { Err(format!("servers: {slots:?}")) }
    }

    /// Each is held by somebody who has that address, and nobody lacks one.
    fn allocations_right(&self) -> Result<(), String> {
        let mut held: BTreeSet<(String, String)> = BTreeSet::new();
        for port in &self.ports {
            let uid = port["metadata"]["uid"].to_string();
            held.extend(addresses(port).into_iter().map(|ip| (uid.clone(), ip)));
        }
        for server in &self.servers {
            let addresses = server["spec"]["addresses"].as_array().unwrap();
            let holder = format!("{}{}", server["spec"]["networkRef"]["uid"], server["spec"]["slot"]);
            held.extend(addresses.iter().map(|a| (holder.clone(), a["ip"].as_str().unwrap().to_owned())));
        }
        for allocation in &self.allocations {
            let spec = &allocation["spec"];
            let slot = || format!("{}{}", spec["networkUID"], spec["holder"]["slot"]);
            let holder = spec["holder"].get("uid").map_or_else(slot, ToString::to_string);
            let ip = spec["ip"].as_str().unwrap().to_owned();
            if spec.get("released").is_some() || !held.remove(&(holder, ip)) {
                return Err(format!("an allocation too many: {spec}"));
            }
        }
        if held.is_empty() { Ok(()) } else { Err(format!("without an allocation: {held:?}")) }
    }

    /// On a host is what is to be served there, and nothing else.
    fn host_right(&self, node: &Node) -> Result<(), String> {
        let here: Vec<_> =
            self.servers.iter().filter(|s| s["spec"]["nodeName"] == node.name.as_str()).collect();
        let uid = |server: &&Value| server["spec"]["networkRef"]["uid"].as_str().unwrap().to_owned();
        let uids: BTreeSet<_> = here.iter().map(uid).collect();
        let said =
            |what: &str, is: &dyn std::fmt::Debug| Err(format!("{}: {what} {is:?}, of {uids:?}", node.name));
        let spaces = node.lab.netns_names();
        if !spaces.iter().cloned().eq(uids.iter().map(|uid| format!("kdhcp-{uid}"))) {
            return said("namespaces", &spaces);
        }
        let kept = std::fs::read_dir(node.state().join("networks")).into_iter().flatten().flatten();
        let kept: BTreeSet<_> = kept.map(|entry| entry.file_name().into_string().unwrap()).collect();
        if kept != uids {
            return said("directories", &kept);
        }
        let servers = node.servers();
        if servers.len() != uids.len() {
            return said("processes", &servers);
        }
        for netns in &spaces {
            let rules =
                node.lab.command_in(netns, "iptables").args(["-w", "-t", "mangle", "-S"]).output().unwrap();
            let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
            if !rules.contains("--checksum-fill") {
                return said("rules", &rules);
            }
        }
        LANS.iter().try_for_each(|lan| {
            let here = here.iter().filter(|s| {
                self.network(&s["spec"]["networkRef"]["uid"]).is_some_and(|l| l.number == lan.number)
            });
            let members = members(node, lan);
            if members.len() == 1 + here.count() { Ok(()) } else { said(&lan.bridge(), &members) }
        })
    }

    fn network(&self, uid: &Value) -> Option<&'static Lan> {
        let network = self.networks.iter().find(|network| network["metadata"]["uid"] == *uid)?;
        LANS.iter().find(|lan| named(network) == (lan.namespace, lan.network))
    }
}

/// The devices in a node's bridge.
fn members(node: &Node, lan: &Lan) -> Vec<String> {
    let mut command = node.lab.command("ip");
    let done = output(command.args(["-br", "link", "show", "master", &lan.bridge()]));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn named(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

fn mac_of(port: &Value) -> Mac {
    let text = port["spec"]["macAddress"].as_str().unwrap();
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    Mac(std::array::from_fn(|_| bytes.next().unwrap()))
}
