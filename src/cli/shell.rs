//! Flags of `kube-dhcp completions` and `kube-dhcp man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory for the pages; it is made.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
