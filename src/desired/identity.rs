//! By which MAC addresses the servers of a network, and those who ask them, are known.
//!
//! Called by `desired`, and by the agent to tell its own from others'. Pure.

use super::NodeConfig;
use crate::service::Asker;
use crate::types::{MacAddr, NetworkUid};

/// On a segment with other nodes' servers each has a MAC address of its own.
fn device_mac(node: &NodeConfig, uid: NetworkUid, shared: bool) -> MacAddr {
    if shared { server_mac(&node.name, uid) } else { local(uid.bytes()) }
}

/// That of the server on the node of this name, where there is a controller.
pub fn server_mac(node: &str, uid: NetworkUid) -> MacAddr {
    local(uid.derive(node))
}

fn local(bytes: [u8; 16]) -> MacAddr {
    MacAddr::local([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]])
}

/// What the agent of a node asks its server by: seen by nobody, and not to be guessed without the UID.
/// `shared`: there is a controller.
pub(super) fn asker(node: &NodeConfig, uid: NetworkUid, shared: bool) -> Asker {
    let mac = local(uid.derive(&format!("the agent of {}", node.name)));
    Asker { mac, device: device_mac(node, uid, shared) }
}
