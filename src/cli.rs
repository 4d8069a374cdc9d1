//! Flags and environment → typed configuration. What each subcommand does is in `command`.

mod drain;
mod explain;
mod import;
mod leases;
mod look;
mod physical_network;
mod shell;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::desired::NodeConfig;
use crate::dnsmasq::Limits;
use crate::host::{Attaching, OVS_SOCKET};
use crate::metadata::Upstream;
use crate::types::ObjectName;

pub use drain::{DrainArgs, UncordonArgs};
pub use explain::{ExplainArgs, Explained, PortArgs};
pub use import::{ImportArgs, ImportFrom, NeutronArgs, SegmentArg};
pub use leases::LeasesArgs;
pub use look::{Look, LookArgs, PLUGIN, is_plugin};
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

/// Where things are, for every subcommand that looks at a node.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Directory for everything that must survive a restart.
    #[arg(long, value_name = "DIR", default_value = STATE_DIR, env = "KUBE_DHCP_STATE_DIR")]
    pub state_dir: PathBuf,

    /// What a physical network is on this machine: bridge:BRIDGE, macvlan:INTERFACE, or
    /// ovs:BRIDGE of Open vSwitch; may be repeated.
    /// {vlan} in a name stands for a VLAN's number; a bridge that filters VLANs has all of them.
    #[arg(long = "physical-network", value_name = "NAME=KIND:INTERFACE")]
    pub physical_networks: Vec<PhysicalNetworkArg>,

    /// Create bridges that do not exist.
    #[arg(long)]
    pub create_bridges: bool,

    /// Allow macvlan: of an interface that carries the node's own address or a default route. The node
    /// itself does not hear macvlans of its interfaces.
    #[arg(long)]
    pub macvlan_on_node_interfaces: bool,

    /// Socket of Open vSwitch's database, for ovs:.
    #[arg(long, value_name = "PATH", default_value = OVS_SOCKET)]
    pub ovs_socket: PathBuf,

    /// DNS server for questions about other names; may be repeated. None: they are refused.
    #[arg(long = "dns-forwarder", value_name = "IP")]
    pub dns_forwarders: Vec<IpAddr>,

    /// Where guests' requests for metadata go; a Network asks for it by metadataService. None: nowhere.
    #[arg(long, value_name = "http://HOST:PORT|unix:/PATH")]
    pub metadata_upstream: Option<Upstream>,

    /// The node's name, in a cluster that of its Node [default: the host name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
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

/// A flag that contradicts another one.
#[derive(Debug, thiserror::Error)]
#[error("--physical-network {0} is given twice")]
pub struct GivenTwice(String);

impl NodeArgs {
    /// What the pure core is told of the node.
    pub fn config(&self) -> Result<NodeConfig, GivenTwice> {
        let mut attachments = BTreeMap::new();
        for PhysicalNetworkArg { name, attachment } in &self.physical_networks {
            if attachments.insert(name.clone(), attachment.clone()).is_some() {
                return Err(GivenTwice(name.clone()));
            }
        }
        Ok(NodeConfig {
            name: self.name(),
            attachments,
            create_bridges: self.create_bridges,
            agent_forwarders: self.dns_forwarders.clone(),
            node_forwarders: Vec::new(),
            state: self.state_dir.clone(),
            several_servers: true,
            metadata: self.metadata_upstream.is_some(),
            limits: Limits::default(),
        })
    }

    /// How devices are attached.
    pub fn attaching(&self) -> Attaching {
        Attaching {
            macvlan_on_node_interfaces: self.macvlan_on_node_interfaces,
            ovs_socket: self.ovs_socket.clone(),
        }
    }

    /// The node's name.
    pub fn name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.node_name.clone().unwrap_or_else(host)
    }
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

    #[test]
    fn a_physical_network_is_given_once() {
        let cli = Cli::try_parse_from([
            "kube-dhcp",
            "agent",
            "--manifests",
            "/m",
            "--physical-network",
            "a=bridge:b",
            "--physical-network",
            "a=bridge:c",
        ]);
        let Command::Agent(agent) = cli.unwrap().command else { panic!("not the agent") };
        assert_eq!(agent.node.config().unwrap_err().to_string(), "--physical-network a is given twice");
    }
}
