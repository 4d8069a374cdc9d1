//! Who holds an address of a network. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{Identity, MacAddr};

/// Who holds an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Holder {
    /// A Port, in the network's namespace.
    Port {
        /// `metadata.name`.
        name: String,
        /// One of this name that is known by something else is another one once the address was released.
        mac_address: Option<MacAddr>,
        /// What it is known by in the place of that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identifier: Option<Identity>,
    },
    /// One that is no more, or wants it no more, and that not all servers have forgotten yet.
    Leaving {
        /// For people.
        name: String,
        /// Set where it may be taken when nothing else is free: the lowest goes first.
        since: Option<u64>,
    },
    /// One of the network's DHCP servers.
    ServerSlot {
        /// From 0.
        slot: u8,
    },
    /// The same, for as long as somebody else answers at the slot's own address.
    TemporaryServer {
        /// From 0.
        slot: u8,
    },
}

/// Beyond all slots.
const TEMPORARY: u8 = 0x40;

impl Holder {
    /// A Port that is known by nothing.
    pub fn port(name: &str) -> Self {
        Self::Port { name: name.to_owned(), mac_address: None, identifier: None }
    }

    /// Who it is, whatever its MAC is now.
    pub(super) fn identity(&self) -> (&str, u8) {
        match self {
            Self::Port { name, .. } => (name, 0),
            Self::ServerSlot { slot } => ("", *slot),
            Self::TemporaryServer { slot } => ("", slot | TEMPORARY),
            Self::Leaving { name, .. } => (name, u8::MAX),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { name, .. } => write!(f, "Port {name}"),
            Self::ServerSlot { slot } | Self::TemporaryServer { slot } => {
                write!(f, "the DHCP server of slot {slot}")
            }
            Self::Leaving { name, .. } => f.write_str(name),
        }
    }
}
