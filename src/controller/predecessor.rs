//! Servers that nobody can tell to give up their slot: their nodes may be dead, or only out of reach.
//!
//! Called by `judge` and `statuses`. Pure. Whoever has the slot next asks the segment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::book::is_torn_down;
use super::judge::active;
use super::world::Snapshot;
use crate::api::{DHCPServer, ServerState};

/// By slot, the addresses at which a predecessor still answers, as the slot's server says.
pub(super) fn held(snapshot: &Snapshot, uid: &str) -> BTreeMap<u8, BTreeSet<IpAddr>> {
    let mut all: BTreeMap<u8, BTreeSet<IpAddr>> = BTreeMap::new();
    for server in active(snapshot, uid).filter(|server| predecessor_of(snapshot, server).is_some()) {
        let held = server.status.iter().flat_map(|status| &status.held_addresses);
        let held: BTreeSet<IpAddr> = held.filter_map(|held| held.ip.parse().ok()).collect();
        if !held.is_empty() {
            all.entry(server.spec.slot).or_default().extend(held);
        }
    }
    all
}

/// Of a server that is there.
pub(super) fn predecessor_of(snapshot: &Snapshot, server: &DHCPServer) -> Option<String> {
    let spec = &server.spec;
    let place = (spec.slot, spec.node_name.as_str());
    predecessor(snapshot, &spec.network_ref.uid, place, spec.predecessor.as_deref(), &BTreeSet::new())
}

/// The node of a server that had the slot of `place` before, and that nobody can tell to give it up. One
/// whose agent is alive will: only one that was `known` is waited for. `withdrawn` are about to be.
pub(super) fn predecessor(
    snapshot: &Snapshot,
    uid: &str,
    (slot, node): (u8, &str),
    known: Option<&str>,
    withdrawn: &BTreeSet<String>,
) -> Option<String> {
    let had_it = |server: &&Arc<DHCPServer>| {
        let spec = &server.spec;
        let leaves = spec.state == ServerState::Withdrawn || withdrawn.contains(&spec.node_name);
        let same = spec.slot == slot && spec.network_ref.uid == uid && spec.node_name != node;
        same && leaves && !is_torn_down(server)
    };
    let is_silent = |node: &&String| {
        let standing = snapshot.agents.get(*node);
        standing.is_some_and(|agent| !agent.fenced && (agent.dead_for.is_some() || known == Some(node)))
    };
    let nodes = snapshot.servers.iter().filter(had_it).map(|server| &server.spec.node_name);
    nodes.filter(is_silent).min_by_key(|node| (known != Some(node), *node)).cloned()
}
