//! What people should know of a server that is ready.
//!
//! Called by `statuses`. Pure.

use crate::api::{DHCPServer, find};
use crate::reason::{Problem, Reason};

/// Where guests of a server have no metadata service although it was asked for.
pub(super) fn without_metadata(server: &DHCPServer) -> Option<Problem> {
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
