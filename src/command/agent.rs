//! `kube-dhcp agent`.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::agent::{Agent, Config, Exit};
use crate::cli::AgentArgs;
use crate::host::{AgentLock, LinuxHost, raise_descriptor_limit};
use crate::metrics::Metrics;
use crate::serve::serve;
use crate::source::directory::Directory;

/// Serves until SIGTERM or SIGINT.
pub async fn agent(args: AgentArgs) -> Result<()> {
    let stop = stop_on_signal()?;
    let mut node = args.node.config()?;
    let _lock = AgentLock::take()?;
    raise_descriptor_limit();
    let host = LinuxHost::new(&node.state)?;
    // As everything on the node names it, whatever the flag said.
    node.state = host.state_dir().to_owned();
    let source = Directory::open(&args.node.manifests, &node.state)?;
    let config = Config {
        node,
        node_name: args.node.name(),
        resync: args.resync(),
        resolv_conf: "/etc/resolv.conf".into(),
    };
    let metrics = Metrics::default();
    let agent = Agent::new(host, config, metrics.clone())?;
    if let Some(address) = args.listen.0 {
        tokio::spawn(serve(address, agent.readiness(), metrics, stop.clone()).await?);
        info!(%address, "serving /livez, /readyz and /metrics");
    }
    let exit = if args.stop_serving_on_exit { Exit::TakeDown } else { Exit::Leave };
    agent.run(source, stop, exit).await?;
    Ok(())
}

fn stop_on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}
