//! One request to the metadata server, on a connection of its own: guests share none.

use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Proxy;
use crate::metadata::Upstream;

const CONNECT: Duration = Duration::from_secs(3);
/// Until the answer begins.
const ANSWER: Duration = Duration::from_secs(10);
const HEADERS_LENGTH: usize = 64 * 1024;

/// Why the server gave no answer that a guest can have.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("cannot connect to the metadata server {0}: {1}")]
    Connect(String, #[source] io::Error),
    #[error("the metadata server {0} does not answer in time")]
    Slow(String),
    #[error("the metadata server {0} does not speak HTTP as expected: {1}")]
    Http(String, #[source] hyper::Error),
    #[error("the metadata server {0} wants to speak another protocol")]
    Upgrade(String),
}

impl Failed {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Connect(..) | Self::Http(..) | Self::Upgrade(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

/// The server's answer, of which the body may still be on its way, for at most `life`.
pub(super) async fn send(
    Proxy { upstream, names, .. }: &Proxy,
    request: Request<Full<Bytes>>,
    life: Duration,
) -> Result<Response<Incoming>, Failed> {
    let slow = |_| Failed::Slow(upstream.to_string());
    let failed = |e| Failed::Connect(upstream.to_string(), e);
    let answer = match (upstream, names) {
        (Upstream::Unix(path), _) => {
            let stream = timeout(CONNECT, UnixStream::connect(path)).await;
            exchange(stream.map_err(slow)?.map_err(failed)?, upstream, request, life).await?
        }
        (Upstream::Http(..), names) => {
            let addresses = match names {
                Some(names) => names.addresses(CONNECT).await.map_err(failed)?,
                None => Vec::new(),
            };
            let stream = timeout(CONNECT, TcpStream::connect(&addresses[..])).await;
            exchange(stream.map_err(slow)?.map_err(failed)?, upstream, request, life).await?
        }
    };
    if answer.status().is_informational() {
        return Err(Failed::Upgrade(upstream.to_string()));
    }
    Ok(answer)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    upstream: &Upstream,
    request: Request<Full<Bytes>>,
    life: Duration,
) -> Result<Response<Incoming>, Failed> {
    let failed = |e| Failed::Http(upstream.to_string(), e);
    let mut client = http1::Builder::new();
    client.max_buf_size(HEADERS_LENGTH);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the answer's body, or when nobody wants it any more.
    tokio::spawn(timeout(life, connection));
    let answer = timeout(ANSWER, sender.send_request(request)).await;
    answer.map_err(|_| Failed::Slow(upstream.to_string()))?.map_err(failed)
}
