//! Talking to an API server: watches, writes, Leases.
//!
//! Used by the cluster source, by the loops of agent and controller. Knows the API's machinery (resource
//! versions, server-side apply, errors) and nothing of networks or of the host.

pub mod client;
pub mod exec;
pub mod failures;
#[cfg(test)]
mod fake;
pub mod heartbeat;
pub mod leader;
pub mod older;
pub mod pulse;
pub mod watch;
pub mod write;
