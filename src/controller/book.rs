//! The allocations of one network: what they say, what they should say, and the steps in between.
//!
//! Called by `judge`. Pure. An address whose holder wants it no more is nobody's until every server has
//! forgotten that holder.

mod leaving;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::holder::{is_known_as, is_written};
use super::world::Snapshot;
use crate::allocate::{Claim, Holder, Ledger, Wish};
use crate::api::{
    AllocationHolder, Conditioned, DHCPServer, HolderType, IPAllocation, IPAllocationSpec, Port, ServerState,
};
use crate::desired::{self, record};
use crate::types::{Revision, is_same, spelled_out};

/// The network's label on its allocations.
pub(super) const NETWORK_LABEL: &str = "kube-dhcp.io/network";
/// A holder's UID, on its allocations.
pub(super) const HOLDER_LABEL: &str = "kube-dhcp.io/holder-uid";

/// The allocations of a network and who is there to hold them.
pub(super) struct Book<'a> {
    snapshot: &'a Snapshot,
    uid: &'a str,
    slots: u8,
    ports: BTreeMap<&'a str, &'a Arc<Port>>,
    by_ip: BTreeMap<IpAddr, &'a Arc<IPAllocation>>,
}

/// What is to become of allocations.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entries {
    /// New ones, each with the one of the same name that goes first.
    pub create: Vec<(IPAllocation, Option<Arc<IPAllocation>>)>,
    /// To be marked as released: from this revision of the Ports on nobody has it.
    pub release: Vec<(Arc<IPAllocation>, Revision)>,
    /// To be deleted: their addresses are free.
    pub free: Vec<Arc<IPAllocation>>,
    /// What servers are to report as soon as they have come so far.
    pub awaited: Option<Revision>,
    /// Released, and not confirmed by all.
    pub waiting: usize,
    /// Being released, by subnet.
    pub releasing: BTreeMap<String, u64>,
    /// Given to somebody although not all servers have confirmed that the old holder is forgotten.
    pub taken: Vec<Taken>,
}

/// An address that was given again early.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taken {
    /// The Port that has it now.
    pub port: String,
    /// For people.
    pub message: String,
}

impl<'a> Book<'a> {
    /// `uid` is the Network's; `slots` are its servers' places.
    pub(super) fn new(snapshot: &'a Snapshot, uid: &'a str, slots: u8) -> Self {
        let named = |port: &'a Arc<Port>| (port.metadata.name.as_deref().unwrap_or_default(), port);
        let parsed = |a: &'a Arc<IPAllocation>| Some((a.spec.ip.parse().ok()?, a));
        Self {
            snapshot,
            uid,
            slots,
            ports: snapshot.ports.iter().map(named).collect(),
            by_ip: snapshot.allocations.iter().filter_map(parsed).collect(),
        }
    }

    /// The ledger that the allocations make, and the claims of those that are leaving: of everybody who
    /// is gone, and of `unwanted` addresses.
    pub(super) fn ledger(&self, unwanted: &BTreeSet<IpAddr>) -> (Ledger, Vec<Claim<'static>>) {
        let (mut ledger, mut leaving) = (Ledger::default(), Vec::new());
        for (ip, allocation) in &self.by_ip {
            let holder = self.holder(allocation).filter(|_| !unwanted.contains(ip));
            let holder = holder.unwrap_or_else(|| {
                let holder = self.leaving(allocation);
                leaving.push((holder.clone(), Wish::Exactly(*ip)));
                holder
            });
            ledger.record(*ip, &allocation.spec.subnet_name, &holder, self.position(*ip, &holder));
        }
        self.unwritten(&mut ledger);
        for (ip, freed) in &self.snapshot.freed {
            ledger.remember(*ip, &freed.subnet_name, &freed.holder, freed.order);
        }
        (ledger, merged(leaving))
    }

    /// Who has an address that no allocation says: somebody deleted that. It is theirs all the same, for
    /// that is what agents serve.
    fn unwritten(&self, ledger: &mut Ledger) {
        // Of nearly all Ports there is nothing to take down.
        let lacks = |ip: &str| ip.parse().is_ok_and(|ip: IpAddr| !self.by_ip.contains_key(&ip));
        let unwritten = |port: &&Arc<Port>| {
            port.status.iter().flat_map(|status| &status.addresses).any(|address| lacks(&address.ip))
        };
        for port in self.snapshot.ports.iter().filter(unwritten) {
            record(ledger, port);
        }
        let ours = |s: &&Arc<DHCPServer>| {
            let spec = &s.spec;
            spec.network_ref.uid == self.uid && spec.slot < self.slots && spec.state == ServerState::Active
        };
        for (ip, subnet_name, holder) in self.snapshot.servers.iter().filter(ours).flat_map(|s| used_by(s)) {
            ledger.record(ip, subnet_name, &holder, 0);
        }
    }

    /// That an address is given again before all servers have forgotten its old holder.
    fn taken(&self, old: &IPAllocation, holder: &Holder) -> Option<Taken> {
        let Holder::Port { name: port, .. } = holder else { return None };
        let at = released_at(old)?;
        let silent = self.unconfirmed(old, at);
        if silent.is_empty() || self.holder(old).is_some() {
            return None;
        }
        let (ip, before) = (&old.spec.ip, described(&old.spec.holder));
        let message = format!(
            "no other address is free: {ip} was {before}'s, which may still be given it; {}",
            waited_for(&silent)
        );
        Some(Taken { port: port.clone(), message })
    }

    /// Addresses that somebody has and, by this ledger, is not to have.
    pub(super) fn unwanted(&self, ledger: &Ledger) -> BTreeSet<IpAddr> {
        let held: BTreeMap<_, _> = ledger.iter().filter(|(_, a)| a.released.is_none()).collect();
        let lost = |(ip, allocation): (&IpAddr, &&Arc<IPAllocation>)| {
            let holder = self.holder(allocation)?;
            let stays = held.get(ip).is_some_and(|held| same(&held.holder, &holder));
            (!stays).then_some(*ip)
        };
        self.by_ip.iter().filter_map(lost).collect()
    }

    /// The steps from what is to what `ledger` says.
    pub(super) fn entries(&self, ledger: &Ledger, quarantine: Duration, now: Timestamp) -> Entries {
        let mut entries = Entries::default();
        let held = ledger.iter().filter(|(_, a)| a.released.is_none());
        let mut kept = BTreeSet::new();
        for (ip, held) in held.filter(|(_, a)| !matches!(a.holder, Holder::Leaving { .. })) {
            kept.insert(*ip);
            let there = self.by_ip.get(ip).copied();
            if there.is_none_or(|allocation| !self.is_current(allocation)) {
                entries.taken.extend(there.and_then(|old| self.taken(old, &held.holder)));
                let allocation = self.allocation(*ip, &held.subnet_name, &held.holder);
                entries.create.push((allocation, there.cloned()));
            }
        }
        for allocation in &self.snapshot.allocations {
            let ip: Option<IpAddr> = allocation.spec.ip.parse().ok();
            if !ip.is_some_and(|ip| kept.contains(&ip)) {
                self.leave(allocation, quarantine, now, &mut entries);
            }
        }
        entries
    }

    /// Who is to have it, by what the allocation and the objects say; `None`: nobody.
    fn holder(&self, allocation: &IPAllocation) -> Option<Holder> {
        let (spec, holder) = (&allocation.spec, &allocation.spec.holder);
        if spec.network_uid != self.uid {
            return None;
        }
        if holder.r#type == HolderType::ServerSlot {
            let slot = holder.slot.filter(|slot| *slot < self.slots && spec.released.is_none())?;
            let own = Holder::ServerSlot { slot };
            return Some(if holder.temporary { Holder::TemporaryServer { slot } } else { own });
        }
        let port = self.ports.get(holder.name.as_deref()?)?;
        let same = port.metadata.uid == holder.uid && spec.released.is_none();
        // One that comes back as it was finds its addresses.
        (same || is_known_as(port, holder)).then(|| desired::holder(port))
    }

    fn is_current(&self, allocation: &IPAllocation) -> bool {
        let holder = &allocation.spec.holder;
        let is_same = match holder.r#type {
            HolderType::ServerSlot => true,
            HolderType::Port => {
                let port = holder.name.as_deref().and_then(|name| self.ports.get(name));
                port.is_some_and(|port| port.metadata.uid == holder.uid && is_written(port, holder))
            }
        };
        is_same && allocation.spec.released.is_none() && allocation.spec.network_uid == self.uid
    }

    /// Its place among its holder's addresses, as the Port's status has them.
    fn position(&self, ip: IpAddr, holder: &Holder) -> usize {
        let Holder::Port { name, .. } = holder else { return 0 };
        let status = self.ports.get(name.as_str()).and_then(|port| port.status.as_ref());
        let place = status.and_then(|s| s.addresses.iter().position(|a| a.ip.parse() == Ok(ip)));
        place.unwrap_or(usize::MAX)
    }

    fn allocation(&self, ip: IpAddr, subnet_name: &str, holder: &Holder) -> IPAllocation {
        let network = &self.snapshot.name;
        let (ip, holder) = (spelled_out(ip), self.written(holder));
        let mut labels = BTreeMap::from([
            (NETWORK_LABEL.to_owned(), network.name.clone()),
            ("app.kubernetes.io/managed-by".to_owned(), "kube-dhcp".to_owned()),
        ]);
        labels.extend(holder.uid.clone().map(|uid| (HOLDER_LABEL.to_owned(), uid)));
        IPAllocation {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", network.name, ip.replace(':', "-"))),
                namespace: Some(network.namespace.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: IPAllocationSpec {
                network_name: network.name.clone(),
                network_uid: self.uid.to_owned(),
                subnet_name: subnet_name.to_owned(),
                ip,
                holder,
                released: None,
            },
        }
    }

    fn written(&self, holder: &Holder) -> AllocationHolder {
        match holder {
            Holder::ServerSlot { slot } | Holder::TemporaryServer { slot } => AllocationHolder {
                r#type: HolderType::ServerSlot,
                slot: Some(*slot),
                temporary: matches!(holder, Holder::TemporaryServer { .. }),
                ..AllocationHolder::default()
            },
            Holder::Port { name, .. } | Holder::Leaving { name, .. } => {
                let port = self.ports.get(name.as_str());
                AllocationHolder {
                    r#type: HolderType::Port,
                    namespace: Some(self.snapshot.name.namespace.clone()),
                    name: Some(name.clone()),
                    uid: port.and_then(|port| port.metadata.uid.clone()),
                    mac_address: port.and_then(|port| port.spec.mac_address.clone()),
                    client_id: port.and_then(|port| port.spec.identity.client_id.clone()),
                    duid: port.and_then(|port| port.spec.identity.duid.clone()),
                    ..AllocationHolder::default()
                }
            }
        }
    }
}

/// A server's addresses, and its slot's where it uses others in their place.
fn used_by(server: &DHCPServer) -> impl Iterator<Item = (IpAddr, &str, Holder)> {
    let slot = server.spec.slot;
    server.spec.addresses.iter().flat_map(move |address| {
        let own = address.in_place_of.as_ref().unwrap_or(&address.ip);
        let own = Some((own, Holder::ServerSlot { slot }));
        let temporary = address.in_place_of.as_ref();
        let temporary = temporary.map(|_| (&address.ip, Holder::TemporaryServer { slot }));
        let all = [own, temporary].into_iter().flatten();
        all.filter_map(|(ip, holder)| Some((ip.parse().ok()?, address.subnet_name.as_str(), holder)))
    })
}

/// How long servers may take before they are asked to report.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a Port's status has the address.
pub(super) fn has(port: &Port, ip: &str) -> bool {
    port.status.as_ref().is_some_and(|status| status.addresses.iter().any(|address| is_same(&address.ip, ip)))
}

fn same(a: &Holder, b: &Holder) -> bool {
    match (a, b) {
        (Holder::Port { name: a, .. }, Holder::Port { name: b, .. }) => a == b,
        (a, b) => a == b,
    }
}

/// One claim for each name.
fn merged(leaving: Vec<(Holder, Wish)>) -> Vec<Claim<'static>> {
    let mut merged: BTreeMap<Holder, Vec<Wish>> = BTreeMap::new();
    for (holder, wish) in leaving {
        merged.entry(holder).or_default().push(wish);
    }
    merged.into_iter().map(|(holder, wishes)| Claim::new(holder, wishes)).collect()
}

fn waited_for(nodes: &[&str]) -> String {
    format!("the server on node {} has not confirmed that it forgot it", nodes.join(", "))
}

/// From which revision of the Ports on it is nobody's.
fn released_at(allocation: &IPAllocation) -> Option<Revision> {
    allocation.spec.released.as_ref().map(|released| released.ports_revision.parse().unwrap_or_default())
}

fn described(holder: &AllocationHolder) -> String {
    match (&holder.name, holder.slot) {
        (Some(name), _) => format!("Port {name}"),
        (None, slot) => format!("the DHCP server of slot {}", slot.unwrap_or_default()),
    }
}

/// Up to which revision the agent has done what the Ports say.
pub(super) fn reached(server: &DHCPServer) -> Option<Revision> {
    Revision::read(server.status.as_ref()?.ports_revision.as_deref())
}

/// The agent has done what the server's spec says.
pub(super) fn is_current(server: &DHCPServer) -> bool {
    let programmed = server.condition("Programmed");
    programmed.is_some_and(|c| c.status == "True" && c.observed_generation >= server.metadata.generation)
}

/// The agent has taken the server down.
pub(super) fn is_torn_down(server: &DHCPServer) -> bool {
    server.is("TornDown")
}
