//! Flags of `kube-dhcp leases`.

use std::path::PathBuf;

use clap::Args;

use super::{Output, STATE_DIR};

/// Flags of `leases`.
#[derive(Debug, Args)]
pub struct LeasesArgs {
    /// The agent's state directory.
    #[arg(long, value_name = "DIR", default_value = STATE_DIR, env = "KUBE_DHCP_STATE_DIR")]
    pub state_dir: PathBuf,

    /// Only those of networks in this Kubernetes namespace.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Only those of Networks of this name.
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,

    /// Only those of addresses of Ports of this name.
    #[arg(long, value_name = "NAME")]
    pub port: Option<String>,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
