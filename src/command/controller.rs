//! `kube-dhcp controller`.

use anyhow::Result;
use tracing::info;

use super::stop_on_signal;
use crate::cli::ControllerArgs;
use crate::cluster::client::connect;
use crate::controller::{Config, Metrics, Settings, run};
use crate::serve::serve;

/// Runs until SIGTERM or SIGINT.
pub async fn controller(args: ControllerArgs) -> Result<()> {
    let stop = stop_on_signal()?;
    let metrics = Metrics::default();
    let connection = connect(args.cluster.kubeconfig.as_deref(), &metrics.api_failures).await?;
    if let Some(address) = args.listen.0 {
        let (synced, counted) = (metrics.clone(), metrics.clone());
        let ready = move || match synced.synced.get() {
            1 => Ok(()),
            _ => Err("the objects are not yet known".to_owned()),
        };
        // Its loop waits for the API server at times, and a new one would have to wait, too.
        let alive = async || true;
        tokio::spawn(serve(address, alive, ready, move || counted.text(), stop.clone()).await?);
        info!(%address, "serving /livez, /readyz and /metrics");
    }
    let config = Config {
        namespace: args.cluster.namespace.clone(),
        identity: args.identity(),
        settings: Settings { reschedule_after: args.reschedule_after(), quarantine: args.quarantine() },
        renew: crate::cluster::heartbeat::RENEW,
    };
    run(connection, config, metrics, stop).await?;
    Ok(())
}
