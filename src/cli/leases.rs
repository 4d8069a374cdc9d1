//! Flags of `kube-dhcp leases`.

use std::time::Duration;

use clap::Args;

use super::{LookArgs, Output};

/// Flags of `leases`.
#[derive(Debug, Args)]
pub struct LeasesArgs {
    /// Where to look; in a cluster they are asked for in the agents' pods, with your own rights.
    #[command(flatten)]
    pub look: LookArgs,

    /// Only those of networks in this Kubernetes namespace.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Only those of Networks of this name.
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,

    /// Only those of addresses of Ports of this name.
    #[arg(long, value_name = "NAME")]
    pub port: Option<String>,

    /// With --cluster: only those that this node's server gave.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// With --cluster: how long each node may take to answer, in seconds [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,

    /// With --cluster: Kubernetes namespace of the agents' pods [default: kube-dhcp-system]
    #[arg(long, value_name = "NAME")]
    pub system_namespace: Option<String>,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

impl LeasesArgs {
    /// The first flag that only a cluster has a use for.
    pub fn of_cluster_only(&self) -> Option<&'static str> {
        let flags = [
            (self.node.is_some(), "--node"),
            (self.timeout.is_some(), "--timeout"),
            (self.system_namespace.is_some(), "--system-namespace"),
        ];
        flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }

    /// See `--system-namespace`.
    pub fn system_namespace(&self) -> &str {
        self.system_namespace.as_deref().unwrap_or("kube-dhcp-system")
    }

    /// See `--timeout`.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.unwrap_or(10))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command, Look};

    #[test]
    fn what_only_a_cluster_has_is_not_asked_of_one_node() {
        let takes = |flags: &[&str], plugin: bool| {
            let line = ["kube-dhcp", "leases"].iter().chain(flags);
            let Command::Leases(args) = Cli::parse_from(line).command else { panic!() };
            matches!(args.look.place(plugin), Look::Cluster(_)) || args.of_cluster_only().is_none()
        };
        for flags in [["--node", "n1"], ["--timeout", "3"], ["--system-namespace", "x"]] {
            assert!(!takes(&flags, false), "{flags:?}");
            assert!(takes(&flags, true), "{flags:?}");
            assert!(takes(&[&flags[..], &["--cluster"]].concat(), false), "{flags:?}");
            assert!(takes(&[&flags[..], &["--kubeconfig", "k"]].concat(), false), "{flags:?}");
        }
        assert!(takes(&["-n", "a", "--state-dir", "s"], true));
    }
}
