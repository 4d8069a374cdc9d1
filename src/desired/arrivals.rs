//! What Ports that come to a large network add to it while all else stays as it is.
//!
//! Called by the agent's workers: to go through all ports of a large network takes longer than a guest may wait.
//! What is said here of a Port is what [`desired`](super::desired()) says of it among all the others; where that
//! is not certain nothing is said, and it waits for that. Pure; as there, the ledger is what changes.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::port::{Guest, Ports};
use super::subnet::{Served, formed};
use super::{
    Declared, Desired, Inputs, NodeConfig, Settled, asker, is_same_decision, network, recorded, segment,
    service, subnet,
};
use crate::allocate::{Claim, Given, Ledger};
use crate::api::{DHCPServer, DhcpMode, Identity, MetadataServiceType};
use crate::dnsmasq::Spread;
use crate::node::Segment;
use crate::types::{MacAddr, NetworkUid};

/// More at a time are done with all the others.
const MOST: usize = 16;

/// A large network that was as it shall be, and what nobody who comes may have.
#[derive(Debug)]
pub struct Known {
    inputs: Inputs,
    servers: Vec<IpAddr>,
    spread: Spread,
}

impl Known {
    /// `None`: it is not large, or somebody who comes may be another's business.
    pub fn new(inputs: Inputs, desired: &Desired) -> Option<Self> {
        let spread = desired.spread.clone()?;
        let is_shared = desired.segment.as_ref().is_some_and(|segment| !segment.shares.is_empty());
        let strangers = inputs.subnets.iter().any(|subnet| subnet.spec.dhcp.mode == DhcpMode::Dynamic);
        let metadata = inputs.network.spec.metadata_service.r#type != MetadataServiceType::None;
        // By what a guest is known that is no MAC address, others may be known by default.
        let identifiers = inputs.ports.iter().any(|port| port.spec.identity != Identity::default());
        if !is_shared || strangers || metadata || identifiers {
            return None;
        }
        Some(Self { servers: desired.server_addresses.clone(), spread, inputs })
    }

    /// How the network's guests are shared out.
    pub fn spread(&self) -> &Spread {
        &self.spread
    }

    /// What the node shall hold besides, of `inputs`, which are the network's now: a segment with those who came
    /// as its only guests. `None`: it is to be gone through all of it, and of no use what is in the ledger.
    pub fn arrivals(
        &self,
        node: &NodeConfig,
        uid: NetworkUid,
        inputs: &Inputs,
        ledger: &mut Ledger,
    ) -> Option<Segment> {
        let new = self.new_ports(inputs)?;
        let shared = inputs.server.is_some();
        let asker = asker(node, uid, shared);
        let admitted = network::admit(node, inputs).ok()?;
        let (mut subnets, subnet_views) = subnet::admit(inputs, admitted.mtu, ledger);
        if subnet_views.values().any(|view| view.problem.is_some()) {
            return None;
        }
        match &inputs.server {
            Some(server) => recorded::give_server(server, &mut subnets),
            None => self.give_server(&mut subnets),
        }
        let formed = formed(inputs);
        let mut taken = Taken::default();
        let (mut names, mut guests) = (HashSet::new(), Vec::new());
        for port in new {
            let said = port.said().ok()?;
            let mac = said.mac.filter(|_| said.identifier.is_none())?;
            let mut guest = Guest::new(said, admitted.domain.as_ref(), &formed);
            if shared {
                let addresses: Vec<_> = recorded_ips(port).collect();
                let is_served = |own| recorded::is_served(&subnets, own);
                if addresses.is_empty() || !addresses.iter().all(is_served) {
                    return None;
                }
                guest.give(Given { addresses, errors: Vec::new() });
            }
            if [asker.mac, asker.device].contains(&mac) || !taken.take(mac, guest.addresses()) {
                return None;
            }
            names.insert(guest.name());
            guests.push(guest);
        }
        let mut others = self.inputs.ports.iter().filter(|port| !names.contains(name_of(port)));
        if others.any(|port| taken.by(port)) || inputs.server_addresses().any(|ip| taken.has(ip)) {
            return None;
        }
        if !shared {
            let pools: Vec<_> = subnets.iter().map(|subnet| subnet.pool.clone()).collect();
            let claims: Vec<Claim> = guests.iter().map(Guest::claim).collect();
            let given = ledger.add(&pools, &claims)?;
            guests.iter_mut().zip(given).for_each(|(guest, given)| guest.give(given));
        }
        let ports = Ports { guests, views: BTreeMap::new(), holding: Vec::new() };
        let settled = Settled { subnets, subnet_views, ports };
        let service = service(uid, asker, inputs, &admitted, &settled);
        Some(segment::segment(node, uid, (asker, shared), &admitted, &settled, service))
    }

    /// Those who came; `None` where that is not all that changed.
    fn new_ports<'a>(&self, inputs: &'a Inputs) -> Option<Vec<&'a Declared>> {
        let old = &self.inputs;
        let same = Arc::ptr_eq(&old.network, &inputs.network)
            && old.segment_holder == inputs.segment_holder
            && are_same(old.physical_network.as_slice(), inputs.physical_network.as_slice())
            && are_same(&old.subnets, &inputs.subnets)
            && is_same_server(old.server.as_deref(), inputs.server.as_deref());
        if !same {
            return None;
        }
        let (mut before, mut new) = (old.ports.iter().peekable(), Vec::new());
        for port in &inputs.ports {
            // Somebody before it is gone.
            if before.peek().is_some_and(|old| old.metadata.name < port.metadata.name) {
                return None;
            }
            let old = before.next_if(|old| old.metadata.name == port.metadata.name);
            if old.is_some_and(|old| Arc::ptr_eq(old, port)) {
                continue;
            }
            match old.map(|old| changed(old, port)) {
                Some(Changed::Nothing) => {}
                None | Some(Changed::HasAddresses) => new.push(&**port),
                Some(Changed::Otherwise) => return None,
            }
        }
        (before.next().is_none() && (1..=MOST).contains(&new.len())).then_some(new)
    }

    fn give_server(&self, subnets: &mut [Served]) {
        for subnet in subnets.iter_mut().filter(|subnet| subnet.scope) {
            subnet.server = self.servers.iter().copied().find(|ip| subnet.pool.cidr.contains(ip));
        }
    }
}

/// What is to be nobody else's.
#[derive(Default)]
struct Taken {
    macs: HashSet<MacAddr>,
    /// Of what a controller allocated; without one the ledger knows.
    ips: HashSet<IpAddr>,
}

impl Taken {
    /// Whether all of that was nobody's so far.
    fn take(&mut self, mac: MacAddr, addresses: &[(IpAddr, String)]) -> bool {
        self.macs.insert(mac) && addresses.iter().all(|(ip, _)| self.ips.insert(*ip))
    }

    fn has(&self, ip: IpAddr) -> bool {
        self.ips.contains(&ip)
    }

    /// Whether a Port has any of it.
    fn by(&self, port: &Declared) -> bool {
        let mac: Option<MacAddr> = port.spec.mac_address.as_deref().and_then(|mac| mac.parse().ok());
        mac.is_some_and(|mac| self.macs.contains(&mac))
            || (!self.ips.is_empty() && recorded::addresses(port).any(|(_, ip, _)| self.has(ip)))
    }
}

fn name_of(port: &Declared) -> &str {
    port.metadata.name.as_deref().unwrap_or_default()
}

fn recorded_ips(port: &Declared) -> impl Iterator<Item = (IpAddr, String)> + '_ {
    recorded::addresses(port).map(|(_, ip, subnet_name)| (ip, subnet_name.to_owned()))
}

fn are_same<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
}

fn is_same_server(old: Option<&DHCPServer>, new: Option<&DHCPServer>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => is_same_decision(old, new),
        (old, new) => old.is_none() && new.is_none(),
    }
}

enum Changed {
    /// But what is said of it.
    Nothing,
    /// A controller gave it what it waited for.
    HasAddresses,
    Otherwise,
}

fn changed(old: &Declared, new: &Declared) -> Changed {
    let addresses = |port: &Declared| recorded_ips(port).collect::<Vec<_>>();
    let (had, has) = (addresses(old), addresses(new));
    match old.metadata.uid == new.metadata.uid && old.spec == new.spec {
        true if had == has => Changed::Nothing,
        true if had.is_empty() => Changed::HasAddresses,
        _ => Changed::Otherwise,
    }
}
