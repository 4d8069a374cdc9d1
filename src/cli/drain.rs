//! Flags of `kube-dhcp drain` and `kube-dhcp uncordon`.

use std::path::PathBuf;

use clap::Args;

use super::Output;

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

    /// Form of the output; for programs it is how it ended, and how far it is goes to standard error.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `uncordon`.
#[derive(Debug, Args)]
pub struct UncordonArgs {
    /// The node.
    pub node: String,

    /// How to reach the API server [default: $KUBECONFIG or ~/.kube/config, else the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
