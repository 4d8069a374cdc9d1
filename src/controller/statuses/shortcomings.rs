//! What people should know of a server, or a network, that is ready.
//!
//! Called by `statuses`. Pure.

use std::sync::Arc;

use super::super::lacking::{self, Lacking};
use crate::api::{DHCPServer, Network, find};
use crate::reason::{Problem, Reason};

/// Why there is no second server.
const ALONE: &str = "no node that is mapped to the physical network has iptables' string match (xt_string), \
    without which several servers contradict each other";

/// The first of what is to be said of a network of which `ready` of `wanted` servers are.
pub(super) fn shortcoming(
    network: &Network,
    active: &[&Arc<DHCPServer>],
    lacking: &Lacking,
    (ready, wanted): (u32, u32),
) -> Option<Problem> {
    let of = |server: &&Arc<DHCPServer>| {
        let Problem { reason, message } = displaced(server).or_else(|| without_metadata(server))?;
        Some(Problem::new(reason, format!("node {}: {message}", server.spec.node_name)))
    };
    let lacks = |server: &&Arc<DHCPServer>| lacking::anything(lacking, &server.spec.node_name);
    let fewer = || {
        let message = format!("{ready} of {wanted} servers are ready");
        (ready < wanted).then(|| Problem::new(Reason::FewerServers, message))
    };
    let single = || {
        let message = match network.spec.dhcp.servers {
            0 | 1 => "dhcp.servers is 1: nobody answers while the server is replaced".to_owned(),
            asked => format!("1 of {asked} servers: {ALONE}"),
        };
        (wanted == 1).then(|| Problem::new(Reason::SingleServer, message))
    };
    let servers = || active.iter();
    servers().find_map(of).or_else(|| servers().find_map(lacks)).or_else(fewer).or_else(single)
}

/// Where guests of a server have no metadata service although it was asked for.
fn without_metadata(server: &DHCPServer) -> Option<Problem> {
    let condition = find(&server.status.as_ref()?.conditions, "MetadataServed")?;
    let fails = condition.status == "False" && condition.reason == Reason::MetadataNotServed.as_str();
    fails.then(|| Problem::new(Reason::MetadataNotServed, condition.message.clone()))
}

/// That somebody who cannot be told to give them up has the server's addresses.
pub(super) fn displaced(server: &DHCPServer) -> Option<Problem> {
    let (predecessor, status) = (server.spec.predecessor.as_ref()?, server.status.as_ref()?);
    if status.held_addresses.is_empty() {
        return None;
    }
    let addresses = status.held_addresses.iter().map(|held| format!("{} ({})", held.ip, held.mac_address));
    let addresses = addresses.collect::<Vec<_>>().join(", ");
    let message = format!(
        "node {predecessor} cannot be told that it is to serve no more, and still answers at {addresses}"
    );
    Some(Problem::new(Reason::AddressHeldByPredecessor, message))
}
