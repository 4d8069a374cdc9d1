//! `/livez`, `/readyz` and `/metrics`.
//!
//! Started by `kube-dhcp agent`. Reads only; serves nobody a way to change anything.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::agent::Readiness;
use crate::metrics::Metrics;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {0}")]
pub struct ListenError(SocketAddr, #[source] std::io::Error);

/// Takes the address; requests are answered from when the returned future runs until `stop`.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()>, ListenError> {
    let listener = TcpListener::bind(address).await.map_err(|e| ListenError(address, e))?;
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state((readiness, metrics));
    Ok(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(e) = serving.await {
            tracing::error!(error = &e as &(dyn std::error::Error + 'static), "no longer serving metrics");
        }
    })
}

/// Whether each network of the start was attempted to its end; latched.
async fn ready(State((readiness, _)): State<(Readiness, Metrics)>) -> (StatusCode, String) {
    match readiness.left() {
        Some(0) => (StatusCode::OK, "ok\n".to_owned()),
        Some(left) => (StatusCode::SERVICE_UNAVAILABLE, format!("{left} networks were not yet set up\n")),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the objects are not yet known\n".to_owned()),
    }
}

async fn text(State((_, metrics)): State<(Readiness, Metrics)>) -> impl IntoResponse {
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, open_metrics)], metrics.text())
}
