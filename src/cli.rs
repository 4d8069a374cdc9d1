//! Flags and environment → typed configuration. What each subcommand does is in `command`.

mod cleanup;
mod complete;
mod drain;
mod explain;
mod import;
mod leases;
mod look;
mod node;
mod physical_network;
mod shell;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::types::ObjectName;

pub use cleanup::CleanupArgs;
pub use complete::{COMPLETER, Candidates, Line, Names, complete};
pub use drain::{DrainArgs, UncordonArgs};
pub use explain::{ExplainArgs, Explained, PortArgs};
pub use import::{ImportArgs, ImportFrom, NeutronArgs, SegmentArg};
pub use leases::LeasesArgs;
pub use look::{Look, LookArgs, PLUGIN, is_called};
pub use node::{GivenTwice, NodeArgs};
pub use physical_network::PhysicalNetworkArg;
pub use shell::{CompletionsArgs, ManArgs};

/// DHCP and DNS for layer-2 networks, declared as Kubernetes objects.
#[derive(Debug, Parser)]
#[command(version = crate::about::line(), about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve networks on this machine: those that a cluster's controller gives it, or a directory's.
    Agent(AgentArgs),
    /// Allocate addresses and choose nodes for all networks of a cluster; one of several leads.
    Controller(ControllerArgs),
    /// Show what the agent would do now, on what, and why; changes nothing.
    Plan(PlanArgs),
    /// Show what is served, and why the rest is not: by the agent of this machine, or in a cluster.
    Status(StatusArgs),
    /// Show each step from an object to the answer that its guest gets, and the first that is not right.
    Explain(ExplainArgs),
    /// Show who holds which address of the networks of this machine, which needs no agent that runs, or of
    /// a cluster. The exit code is 3 where a part could not be read.
    Leases(LeasesArgs),
    /// Take down everything that an agent left serving on this machine; addresses stay allocated.
    Cleanup(CleanupArgs),
    /// Move all servers of a node elsewhere, and wait until that is done; it stays empty until `uncordon`.
    Drain(DrainArgs),
    /// Let a node that was drained have servers again.
    Uncordon(UncordonArgs),
    /// Print the custom resource definitions.
    Crds(CrdsArgs),
    /// Make manifests of what another system has.
    Import(ImportArgs),
    /// Print what makes a shell complete this program's subcommands and flags.
    Completions(CompletionsArgs),
    /// Write manual pages, one for each subcommand.
    Man(ManArgs),
    /// Print the version of this program, and of those that it runs.
    Version(VersionArgs),
}

/// Flags of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,

    /// Directory of manifests to serve without a cluster: *.yaml, *.yml and *.json, watched.
    #[arg(long, value_name = "DIR", conflicts_with = "kubeconfig")]
    pub manifests: Option<PathBuf>,

    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Address of /livez, /readyz and /metrics; "off": none.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9467")]
    pub listen: Listen,

    /// At the end take down what is served, instead of leaving it to serve on.
    #[arg(long)]
    pub stop_serving_on_exit: bool,

    /// How often everything is looked at although nothing was heard, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..))]
    pub resync_seconds: u64,

    /// How many networks a controller may place here.
    #[arg(long, value_name = "COUNT", default_value = "1000", conflicts_with = "manifests")]
    pub max_networks: u32,

    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The cluster that is spoken to.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// How to reach the API server [default: $KUBECONFIG or ~/.kube/config, else the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of kube-dhcp itself: the Leases of agents and controllers are in it.
    #[arg(long, value_name = "NAME", default_value = "kube-dhcp-system", env = "POD_NAMESPACE")]
    pub namespace: String,
}

/// Flags of `controller`.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Address of /livez, /readyz and /metrics; "off": none.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9468")]
    pub listen: Listen,

    /// How long a network waits for a silent agent while another server answers, in seconds. It gets a
    /// replacement then; one that nobody answers gets it at once.
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub reschedule_after: u64,

    /// How long an address that was given back waits for a server of which nothing is heard, in hours.
    /// Deleting the Node, or tainting it out-of-service, ends the wait.
    #[arg(long, value_name = "HOURS", default_value = "24", value_parser = clap::value_parser!(u64).range(1..))]
    pub quarantine: u64,

    /// This process' name among the candidates for leadership [default: the host name and a number]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,

    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl ControllerArgs {
    /// See `--reschedule-after`.
    pub fn reschedule_after(&self) -> Duration {
        Duration::from_secs(self.reschedule_after)
    }

    /// See `--quarantine`.
    pub fn quarantine(&self) -> Duration {
        Duration::from_secs(self.quarantine.saturating_mul(3_600))
    }

    /// Never that of another process, not even of an earlier one of the same pod.
    pub fn identity(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let number = uuid::Uuid::new_v4().simple();
        format!("{}_{number}", self.identity.clone().unwrap_or_else(host))
    }
}

/// Flags of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,

    /// Directory of manifests: *.yaml, *.yml and *.json.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where to look.
    #[command(flatten)]
    pub look: LookArgs,

    /// Only what is in this Kubernetes namespace.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Show what the guest of this Port is told instead: addresses, names, DHCP options, and where each
    /// comes from. Of this machine's agent only.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with_all = ["cluster", "kubeconfig", "namespace"])]
    pub port: Option<ObjectName>,

    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `crds`.
#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// Write one file for each kind into this directory instead.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

const STATE_DIR: &str = "/var/lib/kube-dhcp";

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|e: std::net::AddrParseError| e.to_string()),
        }
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// Form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For machines.
    Json,
    /// For machines and people.
    Yaml,
}

impl AgentArgs {
    /// See `--resync-seconds`.
    pub fn resync(&self) -> Duration {
        Duration::from_secs(self.resync_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn all_subcommands_are_in_the_docs() {
        use clap::CommandFactory;
        let docs = include_str!("../docs/commands.md");
        for command in Cli::command().get_subcommands() {
            assert!(docs.contains(&format!("`kube-dhcp {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn a_directory_is_served_in_a_pod_too() {
        // What the downward API says of the pod; `env` counts as given.
        let with = |more: &[&str]| {
            let all = ["kube-dhcp", "agent", "--manifests", "/m"].iter().chain(more);
            Cli::try_parse_from(all).is_ok()
        };
        assert!(with(&["--namespace", "edge"]));
        assert!(!with(&["--kubeconfig", "/k"]));
    }
}
