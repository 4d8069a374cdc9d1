//! Of addresses that are given up: from when on nobody has them, and when they are free.
//!
//! Part of the book. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{
    Book, Entries, PATIENCE, described, has, is_current, is_torn_down, reached, released_at, waited_for,
};
use crate::allocate::Holder;
use crate::api::{AllocationHolder, DHCPServer, HolderType, IPAllocation, IPAllocationSpec, ServerState};
use crate::controller::nodes::elapsed;
use crate::controller::world::revision;
use crate::types::{Revision, is_same};

impl Book<'_> {
    /// Who waits to be forgotten, and by whom. What only dead agents have not confirmed may be taken
    /// when nothing else is free.
    pub(super) fn leaving(&self, allocation: &IPAllocation) -> Holder {
        let name = described(&allocation.spec.holder);
        let Some(at) = released_at(allocation) else { return Holder::Leaving { name, since: None } };
        let silent = self.unconfirmed(allocation, at);
        let is_dead = |node: &&str| {
            let standing = self.snapshot.agents.get(*node);
            standing.is_none_or(|standing| standing.dead_for.is_some())
        };
        let since = silent.iter().all(is_dead).then_some(at.0);
        let name = if silent.is_empty() { name } else { format!("{name}; {}", waited_for(&silent)) };
        Holder::Leaving { name, since }
    }

    /// Nodes whose servers may still give the address to its old holder.
    pub(super) fn unconfirmed(&self, allocation: &IPAllocation, at: Revision) -> Vec<&str> {
        let servers = self.snapshot.servers.iter();
        let silent = servers.filter(|server| !self.has_forgotten(server, &allocation.spec, at));
        silent.map(|server| server.spec.node_name.as_str()).collect()
    }

    pub(super) fn leave(
        &self,
        allocation: &Arc<IPAllocation>,
        quarantine: Duration,
        now: Timestamp,
        entries: &mut Entries,
    ) {
        let spec = &allocation.spec;
        if spec.released.is_none() && self.is_unread(&spec.holder) {
            return;
        }
        *entries.releasing.entry(spec.subnet_name.clone()).or_default() += 1;
        let Some(released) = &spec.released else {
            if self.is_ahead(allocation) {
                entries.waiting += 1;
                return;
            }
            entries.release.extend(self.given_up(allocation).map(|at| (allocation.clone(), at)));
            return;
        };
        let at: Revision = released.ports_revision.parse().unwrap_or_default();
        let age = released.time.parse().map_or(Duration::ZERO, |time| elapsed(time, now));
        let forgotten = |server: &&Arc<DHCPServer>| self.has_forgotten(server, spec, at) || age >= quarantine;
        if self.snapshot.servers.iter().all(|server| forgotten(&server)) {
            entries.free.push(allocation.clone());
            return;
        }
        entries.waiting += 1;
        if age >= PATIENCE && spec.holder.r#type == HolderType::Port {
            entries.awaited = entries.awaited.max(Some(at));
        }
    }

    /// Whether its holder is there, and cannot be read.
    fn is_unread(&self, holder: &AllocationHolder) -> bool {
        holder.name.as_ref().is_some_and(|name| self.snapshot.unread_ports.contains(name))
    }

    /// Whether its holder is gone, or not known yet: another leader wrote it, and our Ports are older.
    fn is_ahead(&self, allocation: &IPAllocation) -> bool {
        let holder = &allocation.spec.holder;
        let (Some(name), Some(uid)) = (&holder.name, &holder.uid) else { return false };
        let is_known =
            self.ports.get(name.as_str()).is_some_and(|port| port.metadata.uid.as_ref() == Some(uid));
        let went = self.snapshot.deletions.contains_key(uid);
        !is_known && !went && revision(allocation) > self.snapshot.ports_revision
    }

    /// From which revision of the Ports on nobody has an address that its holder is not to have.
    fn given_up(&self, allocation: &IPAllocation) -> Option<Revision> {
        let holder = &allocation.spec.holder;
        let uid = holder.uid.as_deref().unwrap_or_default();
        let port = holder.name.as_deref().and_then(|name| self.ports.get(name));
        if let Some(port) = port.filter(|port| port.metadata.uid.as_deref() == Some(uid)) {
            // First its status must say that it has it no more: agents serve that.
            return (!has(port, &allocation.spec.ip)).then(|| revision(&***port));
        }
        let seen = self.snapshot.deletions.get(uid).copied();
        Some(seen.unwrap_or(self.snapshot.ports_revision))
    }

    /// Whether a server, or what is left of it, gives the address to nobody any more.
    fn has_forgotten(&self, server: &DHCPServer, spec: &IPAllocationSpec, at: Revision) -> bool {
        let standing = self.snapshot.agents.get(&server.spec.node_name);
        if is_torn_down(server) || standing.is_some_and(|standing| standing.fenced) {
            return true;
        }
        if spec.holder.r#type == HolderType::ServerSlot {
            let has = server.spec.addresses.iter().any(|address| is_same(&address.ip, &spec.ip));
            return !has && (server.spec.state == ServerState::Withdrawn || is_current(server));
        }
        reached(server).is_some_and(|reached| reached >= at)
    }
}
