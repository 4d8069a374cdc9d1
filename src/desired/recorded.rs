//! What a controller allocated, as its objects say: a node gives nothing away by itself.
//!
//! Called by `desired` where there is a controller.

use std::net::IpAddr;
use std::sync::Arc;

use super::Declared;
use super::claimed::identifier_of;
use super::port::Guest;
use super::subnet::Served;
use crate::allocate::{Given, Holder, Ledger};
use crate::api::{DHCPServer, Port};

/// The addresses of the server and of the ports. An address that two of them have is the first one's.
pub(super) fn ledger(server: &DHCPServer, ports: &[Arc<Declared>]) -> Ledger {
    let mut ledger = Ledger::default();
    let slot = Holder::ServerSlot { slot: server.spec.slot };
    for (position, address) in server.spec.addresses.iter().enumerate() {
        if let Ok(ip) = address.ip.parse() {
            ledger.record(ip, &address.subnet_name, &slot, position);
        }
    }
    for port in ports {
        record(&mut ledger, port);
    }
    ledger
}

/// A Port as it is now.
pub fn holder(port: &Port) -> Holder {
    Holder::Port {
        name: port.metadata.name.clone().unwrap_or_default(),
        mac_address: port.spec.mac_address.as_deref().and_then(|mac| mac.parse().ok()),
        identifier: identifier_of(port),
    }
}

/// Takes down what a Port has, as its status says, unless somebody has it already.
pub fn record(ledger: &mut Ledger, port: &Port) {
    let holder = holder(port);
    for (position, ip, subnet_name) in addresses(port) {
        ledger.record(ip, subnet_name, &holder, position);
    }
}

/// What a Port has, as its status says: the place among all, the address, the Subnet's name.
pub(super) fn addresses(port: &Port) -> impl Iterator<Item = (usize, IpAddr, &str)> {
    let addresses = port.status.iter().flat_map(|status| &status.addresses).enumerate();
    addresses.filter_map(|(at, address)| Some((at, address.ip.parse().ok()?, &*address.subnet_name)))
}

/// Nothing changed but what is said of it.
pub fn is_same_decision(old: &DHCPServer, new: &DHCPServer) -> bool {
    old.metadata.uid == new.metadata.uid
        && old.metadata.generation == new.metadata.generation
        && old.spec == new.spec
}

/// Gives the server and the guests what they have, as far as their subnets are served.
pub(super) fn give(server: &DHCPServer, ledger: &Ledger, subnets: &mut [Served], guests: &mut [Guest<'_>]) {
    give_server(server, subnets);
    let all = ledger.held();
    for guest in guests {
        let held = all.by(guest.holder()).into_iter();
        let addresses = held.filter(|own| is_served(subnets, own)).collect();
        guest.give(Given { addresses, errors: Vec::new() });
    }
}

/// Whether it is an address of that subnet.
pub(super) fn is_served(subnets: &[Served], (ip, name): &(IpAddr, String)) -> bool {
    subnets.iter().any(|s| s.pool.subnet_name == *name && s.pool.cidr.contains(ip))
}

/// Gives the server what it has, as far as its subnets are served.
pub(super) fn give_server(server: &DHCPServer, subnets: &mut [Served]) {
    for subnet in subnets.iter_mut().filter(|subnet| subnet.scope) {
        let name = &subnet.pool.subnet_name;
        let own = server.spec.addresses.iter().find(|address| address.subnet_name == *name);
        let inside = |ip: &IpAddr| subnet.pool.cidr.contains(ip);
        subnet.server = own.and_then(|address| address.ip.parse().ok()).filter(inside);
        let resolvers = own.into_iter().flat_map(|address| &address.resolvers);
        subnet.resolvers = resolvers.filter_map(|ip| ip.parse().ok()).collect();
    }
}
