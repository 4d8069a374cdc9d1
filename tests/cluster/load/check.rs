//! Whether what came of it is right, by the objects, by dnsmasq's files and by guests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Load;
use crate::lab::Lab;
use crate::site::{Node, Site};

/// Guests that ask.
const GUESTS: usize = 20;

/// Panics when two have one address, or one is told another than its own.
pub async fn everything(site: &Site, load: &Load) {
    let ports = site.list("Port").await;
    let addresses = addresses(&ports);
    assert_eq!(addresses.len(), load.total(), "Ports with an address");
    no_address_twice(&addresses);
    allocations_agree(&site.list("IPAllocation").await, &ports);
    let lines = files_agree(site, &site.list("DHCPServer").await, &addresses);
    let asked = guests_agree(site, load, &addresses);
    println!(
        "checked: {} Ports, {lines} lines of dnsmasq, {asked} guests: no address twice",
        addresses.len()
    );
}

/// Network and address by MAC.
type Addresses = BTreeMap<String, (String, String)>;

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn addresses(ports: &[Value]) -> Addresses {
    let of = |port: &Value| {
        let ip = text(port, "/status/addresses/0/ip");
        let of = (text(port, "/spec/networkRef/name").to_owned(), ip.to_owned());
        (!ip.is_empty()).then(|| (text(port, "/spec/macAddress").to_owned(), of))
    };
    ports.iter().filter_map(of).collect()
}

fn no_address_twice(addresses: &Addresses) {
    let distinct: BTreeSet<_> = addresses.values().collect();
    assert_eq!(distinct.len(), addresses.len(), "two Ports have one address");
}

/// Each address is held by its Port and nobody else, and nothing is held for nobody.
fn allocations_agree(allocations: &[Value], ports: &[Value]) {
    let held = |allocation: &Value| {
        let key = (text(allocation, "/spec/networkName").to_owned(), text(allocation, "/spec/ip").to_owned());
        (key, text(allocation, "/spec/holder/uid").to_owned())
    };
    let by_address: BTreeMap<_, _> = allocations.iter().map(held).collect();
    assert_eq!(by_address.len(), allocations.len(), "two IPAllocations of one address");
    for port in ports {
        let key =
            (text(port, "/spec/networkRef/name").to_owned(), text(port, "/status/addresses/0/ip").to_owned());
        assert_eq!(by_address[&key], text(port, "/metadata/uid"), "{key:?}");
    }
    let held = by_address.values().filter(|uid| !uid.is_empty()).count();
    assert_eq!(held, ports.len(), "addresses that are held by Ports");
}

/// Every server has every Port of its network, and each address once.
fn files_agree(site: &Site, servers: &[Value], addresses: &Addresses) -> usize {
    let mut lines = 0;
    for server in servers {
        let (network, node) = (text(server, "/spec/networkRef/name"), text(server, "/spec/nodeName"));
        let node = site.nodes.iter().find(|n| n.name == node).unwrap();
        let told = hosts(node, text(server, "/spec/networkRef/uid"));
        let wanted: BTreeSet<_> = addresses
            .iter()
            .filter(|(_, (of, _))| of == network)
            .map(|(mac, (_, ip))| (mac.clone(), ip.clone()))
            .collect();
        assert_eq!(told, wanted, "what dnsmasq of {network} on {} reads", node.name);
        lines += told.len();
    }
    lines
}

/// MAC and address of each line; no address may be in two.
fn hosts(node: &Node, network: &str) -> BTreeSet<(String, String)> {
    let directory = node.state().join("networks").join(network).join("hosts");
    let mut told = BTreeMap::new();
    for file in std::fs::read_dir(directory).unwrap().flatten() {
        for line in std::fs::read_to_string(file.path()).unwrap().lines() {
            let fields: Vec<_> = line.split(',').collect();
            let ip = fields.iter().find(|field| field.parse::<std::net::Ipv4Addr>().is_ok());
            if let Some(ip) = ip {
                let other = told.insert((*ip).to_owned(), fields[0].to_owned());
                assert!(other.is_none_or(|mac| mac == fields[0]), "{ip} is given to two");
            }
        }
    }
    told.into_iter().map(|(ip, mac)| (mac, ip)).collect()
}

/// A sample of guests, each asking a server of its network on a node that has one.
fn guests_agree(site: &Site, load: &Load, addresses: &Addresses) -> usize {
    let guests = GUESTS.min(load.total());
    for number in 0..guests {
        let (network, port) = (number % load.networks, (number * 37) % load.ports);
        let mac = Load::mac(network, port);
        let bridge = format!("br-{}", Load::vlan(network));
        let has = |lab: &&Lab| lab.exists(&format!("/sys/class/net/{bridge}"));
        let lab = site.nodes.iter().map(|node| &node.lab).find(has).expect("a node with the bridge");
        let ip = lab.guest(&bridge, mac).dora().yiaddr().to_string();
        assert_eq!(ip, addresses[&mac.to_string()].1, "what {mac} is told");
    }
    guests
}
