//! Flags of `kube-dhcp cleanup`.

use std::path::PathBuf;

use clap::Args;

use super::{LogFormat, STATE_DIR};
use crate::host::{Attaching, OVS_SOCKET};

/// Flags of `cleanup`.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// State directory of the agent that served.
    #[arg(long, value_name = "DIR", default_value = STATE_DIR, env = "KUBE_DHCP_STATE_DIR")]
    pub state_dir: PathBuf,

    /// Socket of Open vSwitch's database, for ports of its bridges.
    #[arg(long, value_name = "PATH", default_value = OVS_SOCKET)]
    pub ovs_socket: PathBuf,

    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl CleanupArgs {
    /// Nothing is attached: only the socket counts.
    pub fn attaching(&self) -> Attaching {
        Attaching { ovs_socket: self.ovs_socket.clone(), macvlan_on_node_interfaces: false }
    }
}
