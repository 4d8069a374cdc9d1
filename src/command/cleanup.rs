//! `kube-dhcp cleanup`: after an agent that is not coming back. What it left serving on the machine ends.
//!
//! It serves nothing and reads no objects. Where an agent runs it refuses: that one would build all again.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::agent::{Agent, Config};
use crate::cli::CleanupArgs;
use crate::desired::NodeConfig;
use crate::host::{AgentLock, LinuxHost, StateLock, raise_descriptor_limit};
use crate::metrics::Metrics;

/// Fails when something is left.
pub async fn cleanup(args: CleanupArgs) -> Result<()> {
    let _lock = AgentLock::take()?;
    raise_descriptor_limit();
    let host = LinuxHost::new(&args.state_dir)?.attaching(&args.attaching());
    let _state = StateLock::take(host.state_dir())?;
    let node = NodeConfig { state: host.state_dir().to_owned(), ..NodeConfig::default() };
    let config = Config {
        node,
        node_name: String::new(),
        resync: Duration::MAX,
        max_networks: 0,
        resolv_conf: "/etc/resolv.conf".into(),
        cluster: None,
        proxy: None,
    };
    if Agent::new(host, config, Metrics::default())?.take_down().await? {
        return Ok(());
    }
    bail!("something is left: see the messages above, and try again")
}
