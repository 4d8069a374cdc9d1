//! Flags of `kube-dhcp drain` and `kube-dhcp uncordon`.

use std::path::PathBuf;

use clap::Args;

/// Flags of `drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node.
    pub node: String,

    /// How to reach the API server [default: $KUBECONFIG or ~/.kube/config, else the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// How long to wait until the node is empty, in seconds; 0: as long as it takes. Then the exit code
    /// is 1, and the node goes on being drained.
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub timeout: u64,
}

/// Flags of `uncordon`.
#[derive(Debug, Args)]
pub struct UncordonArgs {
    /// The node.
    pub node: String,

    /// How to reach the API server [default: $KUBECONFIG or ~/.kube/config, else the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}
