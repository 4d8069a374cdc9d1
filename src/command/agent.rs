//! `kube-dhcp agent`.

use std::sync::Arc;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::stop_on_signal;
use crate::agent::{Agent, Config, Exit};
use crate::cli::AgentArgs;
use crate::cluster::client::{Error, connect};
use crate::cluster::heartbeat::{Heartbeat, RENEW, VALID};
use crate::host::{
    AgentLock, LinuxHost, StateLock, dnsmasq_version, iptables_version, raise_descriptor_limit,
};
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::serve::serve;
use crate::source::Source;
use crate::source::cluster::Cluster;
use crate::source::directory::Directory;

/// Serves until SIGTERM or SIGINT.
pub async fn agent(args: AgentArgs) -> Result<()> {
    let stop = stop_on_signal()?;
    let mut node = args.node.config()?;
    let _lock = AgentLock::take()?;
    raise_descriptor_limit();
    let metrics = Metrics::default();
    tokio::task::spawn_blocking({
        let metrics = metrics.clone();
        move || name_programs(&metrics)
    });
    let proxy = args.node.metadata_upstream.clone().map(|to| Arc::new(Proxy::new(to, metrics.clone())));
    let attaching = args.node.attaching();
    let host = LinuxHost::new(&node.state)?.attaching(&attaching).with_proxy(proxy.clone());
    let _state = StateLock::take(host.state_dir())?;
    // As everything on the node names it, whatever the flag said.
    node.state = host.state_dir().to_owned();
    let connection = match args.manifests {
        Some(_) => None,
        None => {
            Some(connect(args.cluster.kubeconfig.as_deref(), &metrics.api_failures).await.map_err(instead)?)
        }
    };
    let (state, name) = (node.state.clone(), node.name.clone());
    let config = Config {
        node,
        node_name: name.clone(),
        resync: args.resync(),
        max_networks: args.max_networks,
        resolv_conf: "/etc/resolv.conf".into(),
        cluster: connection.clone(),
        proxy,
    };
    let agent = Agent::new(host, config, metrics.clone())?;
    if let Some(address) = args.listen.0 {
        let readiness = agent.readiness();
        let ready = move || match readiness.left() {
            Some(0) => Ok(()),
            Some(left) => Err(format!("{left} networks were not yet set up")),
            None => Err("the objects are not yet known".to_owned()),
        };
        let turning = agent.turning();
        let alive = move || turning.clone().answers();
        tokio::spawn(serve(address, alive, ready, move || metrics.text(), stop.clone()).await?);
        info!(%address, "serving /livez, /readyz and /metrics");
    }
    let exit = if args.stop_serving_on_exit { Exit::TakeDown } else { Exit::Leave };
    if let Some(connection) = connection {
        let heartbeat =
            Heartbeat { namespace: args.cluster.namespace, node: name.clone(), renew: RENEW, valid: VALID };
        tokio::spawn(heartbeat.run(connection.client.clone(), stop.clone()));
        run(agent, Cluster::open(connection, &name, &state)?, stop, exit).await
    } else {
        let manifests = args.manifests.unwrap_or_default();
        run(agent, Directory::open(&manifests, &state)?, stop, exit).await
    }
}

fn name_programs(metrics: &Metrics) {
    let found = [("dnsmasq", dnsmasq_version()), ("iptables", iptables_version())];
    for (program, version) in found.into_iter().filter_map(|(program, version)| Some((program, version?))) {
        metrics.runs(program, version);
    }
}

async fn run(
    agent: Agent<LinuxHost>,
    source: impl Source,
    stop: CancellationToken,
    exit: Exit,
) -> Result<()> {
    agent.run(source, stop, exit).await?;
    Ok(())
}

fn instead(error: Error) -> anyhow::Error {
    match error {
        Error::NoCluster(_) => anyhow::Error::new(error).context("neither --manifests nor a cluster"),
        error => error.into(),
    }
}
