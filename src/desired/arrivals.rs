//! What Ports that come to a large network add to it while all else stays as it is.
//!
//! Called by the agent's workers: to go through all ports of a large network takes longer than a guest may wait.
//! What is said here of a Port is what [`desired`](super::desired()) says of it among all the others; where that
//! is not certain nothing is said, and it waits for that. Pure; as there, the ledger is what changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::port::{Guest, Ports};
use super::subnet::{Served, formed};
use super::{
    Declared, Desired, Inputs, NodeConfig, Settled, asker, network, recorded, segment, service, subnet,
};
use crate::allocate::{Added, Claim, Given, Ledger};
use crate::api::{DHCPServer, DHCPServerSpec, DhcpMode, Identity, MetadataServiceType};
use crate::dnsmasq::Spread;
use crate::node::Segment;
use crate::types::{MacAddr, NetworkUid};

/// More at a time are done with all the others.
const MOST: usize = 16;

/// A large network that was as it shall be, and what nobody who comes may have.
#[derive(Debug)]
pub struct Known {
    inputs: Arc<Inputs>,
    servers: Vec<IpAddr>,
    spread: Spread,
    taken: Taken,
}

/// What becomes of a network by those who came.
#[derive(Debug)]
pub struct Arrivals {
    /// The network as it is with them.
    pub known: Known,
    /// With them as its only guests; `None`: nobody came.
    pub segment: Option<Segment>,
    /// What they got; of what a controller allocated nothing.
    pub added: Option<Added>,
}

impl Known {
    /// `None`: it is not large, or somebody who comes may be another's business.
    pub fn new(inputs: Arc<Inputs>, desired: &Desired) -> Option<Self> {
        let spread = desired.spread.clone()?;
        let is_shared = desired.segment.as_ref().is_some_and(|segment| !segment.shares.is_empty());
        let strangers = inputs.subnets.iter().any(|subnet| subnet.spec.dhcp.mode == DhcpMode::Dynamic);
        let metadata = inputs.network.spec.metadata_service.r#type != MetadataServiceType::None;
        // By what a guest is known that is no MAC address, others may be known by default.
        let identifiers = inputs.ports.iter().any(|port| port.spec.identity != Identity::default());
        if !is_shared || strangers || metadata || identifiers {
            return None;
        }
        let taken = Taken::by(&inputs);
        Some(Self { servers: desired.server_addresses.clone(), spread, taken, inputs })
    }

    /// How the network's guests are shared out.
    pub fn spread(&self) -> &Spread {
        &self.spread
    }

    /// What the node shall hold besides, of `inputs`, which are the network's now. `None`: it is to be gone
    /// through all of it, and the ledger is as it was.
    pub fn arrivals(
        mut self,
        node: &NodeConfig,
        uid: NetworkUid,
        inputs: &Arc<Inputs>,
        ledger: &mut Ledger,
    ) -> Option<Arrivals> {
        let (new, waiting) = self.new_ports(inputs)?;
        for port in waiting {
            self.taken.expect(port);
        }
        let (mut segment, mut added) = (None, None);
        if !new.is_empty() {
            let with_them = self.segment(node, uid, inputs, new, ledger)?;
            (segment, added) = (Some(with_them.0), with_them.1);
        }
        self.inputs = inputs.clone();
        Some(Arrivals { known: self, segment, added })
    }

    fn segment(
        &mut self,
        node: &NodeConfig,
        uid: NetworkUid,
        inputs: &Inputs,
        new: Vec<New<'_>>,
        ledger: &mut Ledger,
    ) -> Option<(Segment, Option<Added>)> {
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
        let mut guests = Vec::new();
        for New { port, waited } in new {
            let said = port.said().ok()?;
            let mac = said.mac.filter(|_| said.identifier.is_none())?;
            let mut guest = Guest::new(said, admitted.domain.as_ref(), &formed);
            if shared {
                let addresses: Vec<_> = recorded_ips(port).collect();
                let is_served = |own| recorded::is_served(&subnets, own);
                if !addresses.iter().all(is_served) {
                    return None;
                }
                guest.give(Given { addresses, errors: Vec::new() });
            }
            if [asker.mac, asker.device].contains(&mac) || !self.taken.take(mac, waited, guest.addresses()) {
                return None;
            }
            guests.push(guest);
        }
        let is_a_guests = |ip| guests.iter().flat_map(Guest::addresses).any(|(own, _)| *own == ip);
        if inputs.server_addresses().any(is_a_guests) {
            return None;
        }
        let mut changed = None;
        if !shared {
            let pools: Vec<_> = subnets.iter().map(|subnet| subnet.pool.clone()).collect();
            let claims: Vec<Claim> = guests.iter().map(Guest::claim).collect();
            let (given, added) = ledger.add(&pools, &claims)?;
            guests.iter_mut().zip(given).for_each(|(guest, given)| guest.give(given));
            changed = Some(added);
        }
        let ports = Ports { guests, views: BTreeMap::new(), holding: Vec::new() };
        let settled = Settled { subnets, subnet_views, ports };
        let service = service(uid, asker, inputs, &admitted, &settled);
        Some((segment::segment(node, uid, (asker, shared), &admitted, &settled, service), changed))
    }

    /// Those who came, and those who wait for a controller to give them addresses; `None` where that is not all that
    /// changed.
    fn new_ports<'a>(&self, inputs: &'a Inputs) -> Option<(Vec<New<'a>>, Vec<&'a Declared>)> {
        let old = &self.inputs;
        let same = Arc::ptr_eq(&old.network, &inputs.network)
            && old.segment_holder == inputs.segment_holder
            && are_same(old.physical_network.as_slice(), inputs.physical_network.as_slice())
            && are_same(&old.subnets, &inputs.subnets)
            && is_same_server(old.server.as_deref(), inputs.server.as_deref());
        if !same {
            return None;
        }
        let (mut before, mut new, mut waiting) = (old.ports.iter().peekable(), Vec::new(), Vec::new());
        for port in &inputs.ports {
            // Nearly all, and nothing else of them is read.
            if before.next_if(|old| Arc::ptr_eq(old, port)).is_some() {
                continue;
            }
            // Somebody before it is gone.
            if before.peek().is_some_and(|old| old.metadata.name < port.metadata.name) {
                return None;
            }
            let old = before.next_if(|old| old.metadata.name == port.metadata.name);
            match old.map(|old| changed(old, port)) {
                Some(Changed::Nothing) => {}
                None if inputs.server.is_some() && recorded_ips(port).next().is_none() => {
                    // What it is known by by default may be another's.
                    (port.spec.identity == Identity::default()).then_some(())?;
                    waiting.push(&**port);
                }
                None => new.push(New { port, waited: false }),
                Some(Changed::HasAddresses) => new.push(New { port, waited: true }),
                Some(Changed::Otherwise) => return None,
            }
        }
        (before.next().is_none() && new.len() <= MOST).then_some((new, waiting))
    }

    fn give_server(&self, subnets: &mut [Served]) {
        for subnet in subnets.iter_mut().filter(|subnet| subnet.scope) {
            subnet.server = self.servers.iter().copied().find(|ip| subnet.pool.cidr.contains(ip));
        }
    }
}

/// One who came.
struct New<'a> {
    port: &'a Declared,
    /// It was there, without an address.
    waited: bool,
}

/// What is to be nobody else's.
#[derive(Debug, Default)]
struct Taken {
    /// With the number of those who say it is theirs.
    macs: HashMap<MacAddr, usize>,
    /// Of what a controller allocated; without one the ledger knows.
    ips: HashSet<IpAddr>,
}

impl Taken {
    fn by(inputs: &Inputs) -> Self {
        let mut taken = Self::default();
        for port in &inputs.ports {
            taken.expect(port);
            if inputs.server.is_some() {
                taken.ips.extend(recorded::addresses(port).map(|(_, ip, _)| ip));
            }
        }
        taken
    }

    /// It says what is its MAC address.
    fn expect(&mut self, port: &Declared) {
        if let Some(mac) = port.spec.mac_address.as_deref().and_then(|mac| mac.parse().ok()) {
            *self.macs.entry(mac).or_default() += 1;
        }
    }

    /// Whether all of that was nobody else's so far.
    fn take(&mut self, mac: MacAddr, waited: bool, addresses: &[(IpAddr, String)]) -> bool {
        let claims = self.macs.entry(mac).or_default();
        *claims += usize::from(!waited);
        *claims == 1 && addresses.iter().all(|(ip, _)| self.ips.insert(*ip))
    }
}

fn recorded_ips(port: &Declared) -> impl Iterator<Item = (IpAddr, String)> + '_ {
    recorded::addresses(port).map(|(_, ip, subnet_name)| (ip, subnet_name.to_owned()))
}

fn are_same<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
}

/// Nothing of it changed that makes a difference to guests.
fn is_same_server(old: Option<&DHCPServer>, new: Option<&DHCPServer>) -> bool {
    // It is asked to say how far it has come whenever a Port gets its addresses.
    let decided = |server: &DHCPServer| {
        let spec = DHCPServerSpec { awaited_revision: None, ..server.spec.clone() };
        (server.metadata.uid.clone(), spec)
    };
    old.map(decided) == new.map(decided)
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
