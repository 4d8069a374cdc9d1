//! Flags of `kube-dhcp leases`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::{Output, STATE_DIR};

/// Flags of `leases`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("far").args(["cluster", "kubeconfig"]).multiple(true))]
pub struct LeasesArgs {
    /// The agent's state directory; with --cluster in its container, and by default the one that it is
    /// told there [default: /var/lib/kube-dhcp]
    #[arg(long, value_name = "DIR", env = "KUBE_DHCP_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Only those of networks in this Kubernetes namespace.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Only those of Networks of this name.
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,

    /// Only those of addresses of Ports of this name.
    #[arg(long, value_name = "NAME")]
    pub port: Option<String>,

    /// Those of all nodes of a cluster, instead of this machine's: it is asked for in the agents' pods, with
    /// your own rights.
    #[arg(long)]
    pub cluster: bool,

    /// How to reach the API server; implies --cluster [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// With --cluster: only those that this node's server gave.
    #[arg(long, value_name = "NAME", requires = "far")]
    pub node: Option<String>,

    /// With --cluster: how long each node may take to answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", requires = "far")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,

    /// With --cluster: Kubernetes namespace of the agents' pods.
    #[arg(long, value_name = "NAME", default_value = "kube-dhcp-system", requires = "far")]
    pub system_namespace: String,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

impl LeasesArgs {
    /// Whether the cluster's are meant.
    pub fn of_cluster(&self) -> bool {
        self.cluster || self.kubeconfig.is_some()
    }

    /// See `--state-dir`.
    pub fn state_dir(&self) -> &Path {
        self.state_dir.as_deref().unwrap_or(Path::new(STATE_DIR))
    }

    /// See `--timeout`.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[test]
    fn what_only_a_cluster_has_is_not_asked_of_one_node() {
        let takes = |flags: &[&str]| {
            crate::cli::Cli::try_parse_from(["kube-dhcp", "leases"].iter().chain(flags)).is_ok()
        };
        for flags in [["--node", "n1"], ["--timeout", "3"], ["--system-namespace", "x"]] {
            assert!(!takes(&flags), "{flags:?}");
            assert!(takes(&[&flags[..], &["--cluster"]].concat()), "{flags:?}");
            assert!(takes(&[&flags[..], &["--kubeconfig", "k"]].concat()), "{flags:?}");
        }
        assert!(takes(&["-n", "a", "--state-dir", "s"]));
    }
}
