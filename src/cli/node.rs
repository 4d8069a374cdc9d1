//! Flags of every subcommand that looks at a node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::{PhysicalNetworkArg, STATE_DIR};
use crate::desired::NodeConfig;
use crate::dnsmasq::Limits;
use crate::host::{Attaching, OVS_SOCKET};
use crate::metadata::Upstream;
use crate::types::TxtRecord;

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

    /// TXT record that guests of all networks are told, besides those of their Network; may be repeated. NAME is
    /// the whole name.
    #[arg(long = "dns-txt-record", value_name = "NAME,TEXT[,TEXT...]")]
    pub dns_txt_records: Vec<TxtRecord>,

    /// Where guests' requests for metadata go; a Network asks for it by metadataService. None: nowhere.
    #[arg(long, value_name = "http://HOST:PORT|unix:/PATH")]
    pub metadata_upstream: Option<Upstream>,

    /// The node's name, in a cluster that of its Node [default: the host name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
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
            txt_records: self.dns_txt_records.clone(),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn node(flags: &[&str]) -> Result<NodeArgs, clap::Error> {
        let all = ["kube-dhcp", "agent", "--manifests", "/m"].iter().chain(flags);
        let Command::Agent(agent) = Cli::try_parse_from(all)?.command else { panic!("not the agent") };
        Ok(agent.node)
    }

    #[test]
    fn a_txt_record_has_commas_between_its_parts_only() {
        let records = |values: &[&str]| {
            let flags: Vec<_> = values.iter().flat_map(|value| ["--dns-txt-record", value]).collect();
            Ok::<_, clap::Error>(node(&flags)?.config().unwrap().txt_records)
        };
        let texts = |record: &TxtRecord| record.texts().len();
        let given = records(&["a.example.org,b c,d", "a.example.org,-e"]).unwrap();
        assert_eq!(given.iter().map(texts).collect::<Vec<_>>(), [2, 1]);
        for bad in ["a.example.org", "a,", "a b,c", "a,\u{7}b"] {
            let error = records(&[bad]).unwrap_err().to_string();
            assert!(error.contains("--dns-txt-record"), "{error}");
        }
    }

    #[test]
    fn a_physical_network_is_given_once() {
        let twice = ["--physical-network", "a=bridge:b", "--physical-network", "a=bridge:c"];
        let error = node(&twice).unwrap().config().unwrap_err();
        assert_eq!(error.to_string(), "--physical-network a is given twice");
    }
}
