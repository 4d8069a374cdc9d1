//! Flags of `kube-dhcp explain`.

use clap::{Args, Subcommand};

use super::{LookArgs, Output};

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// What to explain.
    #[command(subcommand)]
    pub what: Explained,
}

/// What can be explained.
#[derive(Debug, Subcommand)]
pub enum Explained {
    /// Why the guest of a Port is answered, or is not. Exit code 3: something is not right.
    Port(PortArgs),
}

/// Flags of `explain port`.
#[derive(Debug, Args)]
pub struct PortArgs {
    /// The Port.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Its Kubernetes namespace [default: that of the kubeconfig's context, else default]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Where to look.
    #[command(flatten)]
    pub look: LookArgs,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
