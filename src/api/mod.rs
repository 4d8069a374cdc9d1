//! The kinds of the group `kube-dhcp.io`, version `v1alpha1`, and their `CustomResourceDefinition`s.
//!
//! The types are the one definition of the API: schema, bounds and CEL rules are generated from
//! them, for an API server and for the in-process validation alike. No logic lives here, and values
//! such as addresses stay the strings that users wrote.

// These comments are read in `kubectl explain`, where backticks are noise.
#![allow(clippy::doc_markdown)]
// The schema derive repeats each struct inside a function, `pub` included.
#![allow(unreachable_pub)]
// Each printer column is an attribute of its own; clippy takes their equal parts for repetition.
#![allow(clippy::duplicated_attributes)]

mod common;
mod conditioned;
mod crds;
mod dhcp_agent;
mod dhcp_server;
#[cfg(test)]
mod growth;
mod ip_allocation;
mod network;
mod options;
mod physical_network;
mod port;
pub(crate) mod rules;
mod subnet;

pub use common::*;
pub use conditioned::{Conditioned, find, is_true};
pub use crds::{crds, crds_yaml};
pub use dhcp_agent::*;
pub use dhcp_server::*;
pub use ip_allocation::*;
pub use network::*;
pub use options::*;
pub use physical_network::*;
pub use port::*;
pub use subnet::*;

/// The API group of all kinds.
pub const GROUP: &str = "kube-dhcp.io";

/// The version of the API.
pub const VERSION: &str = "v1alpha1";

/// `apiVersion` of all kinds.
pub const API_VERSION: &str = "kube-dhcp.io/v1alpha1";
