//! `/livez`, `/readyz` and `/metrics`.
//!
//! Started by `kube-dhcp agent` and `kube-dhcp controller`. Reads only; serves nobody a way to change
//! anything.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {0}")]
pub struct ListenError(SocketAddr, #[source] std::io::Error);

/// Takes the address; requests are answered from when the returned future runs until `stop`. `alive` is
/// false when only a new process would help, `ready` says why not yet, `metrics` is in the `OpenMetrics`
/// text format.
pub async fn serve<Alive: Future<Output = bool> + Send + 'static>(
    address: SocketAddr,
    alive: impl Fn() -> Alive + Clone + Send + Sync + 'static,
    ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()>, ListenError> {
    let listener = TcpListener::bind(address).await.map_err(|e| ListenError(address, e))?;
    let alive = async move || {
        if alive().await {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the loop does not answer\n")
        }
    };
    let ready = async move || match ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let router = Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(async move || ([(header::CONTENT_TYPE, open_metrics)], metrics())));
    Ok(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(e) = serving.await {
            tracing::error!(error = &e as &(dyn std::error::Error + 'static), "no longer serving metrics");
        }
    })
}
