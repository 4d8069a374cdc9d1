//! What stands in for a kubelet: it answers `exec` over a WebSocket, as the API server passes it on to nodes
//! that declare it, and nothing else. There is no container: the command runs with the environment that it
//! is told.

use std::process::{Output, Stdio};
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::site::BIN;

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const PROTOCOL: &str = "v5.channel.k8s.io";

/// How a node's kubelet answers.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Runs what it is asked for, with this state directory.
    Runs(String),
    /// Takes the question, and says nothing any more.
    Silent,
}

/// Answers on an address of the machine until the test ends; gives its port.
pub async fn start(manner: Manner) -> u16 {
    let listener = TcpListener::bind("10.99.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = TlsAcceptor::from(Arc::new(certificate()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(tls.clone(), stream, manner.clone()));
        }
    });
    port
}

/// API servers do not check that of a kubelet unless they are told to.
fn certificate() -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["kubelet".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    config.with_single_cert(vec![made.cert.der().clone()], key).unwrap()
}

async fn answer(tls: TlsAcceptor, stream: TcpStream, manner: Manner) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let mut asked = String::new();
    #[expect(clippy::result_large_err, reason = "the library wants it so")]
    let upgrade = |request: &Request, mut response: Response| {
        asked = request.uri().to_string();
        response.headers_mut().insert("Sec-WebSocket-Protocol", PROTOCOL.parse().unwrap());
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, upgrade).await.unwrap();
    let Manner::Runs(state) = manner else { return std::future::pending().await };
    let done = run(&asked, &state).await;
    for message in told(&done) {
        socket.send(Message::binary(message)).await.unwrap();
    }
    // Whoever asked closes.
    while let Some(Ok(_)) = socket.next().await {}
}

/// `/exec/NAMESPACE/POD/CONTAINER?command=…&command=…`
async fn run(asked: &str, state: &str) -> Output {
    let (path, query) = asked.split_once('?').unwrap();
    assert!(path.starts_with("/exec/kube-dhcp-system/") && path.ends_with("/agent"), "{asked}");
    let pairs = form_urlencoded::parse(query.as_bytes());
    let words: Vec<_> = pairs.filter(|(name, _)| name == "command").map(|(_, word)| word).collect();
    assert_eq!(words[0], "kube-dhcp", "{asked}");
    let mut command = Command::new(BIN);
    command.args(words[1..].iter().map(AsRef::as_ref)).env("KUBE_DHCP_STATE_DIR", state);
    command.stdin(Stdio::null()).output().await.unwrap()
}

fn told(done: &Output) -> Vec<Vec<u8>> {
    let status = match done.status.code().unwrap() {
        0 => json!({"metadata": {}, "status": "Success"}),
        code => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
    };
    let message = |channel: u8, text: &[u8]| [&[channel], text].concat();
    // In small pieces, as a pipe gives them.
    let mut all: Vec<_> = done.stdout.chunks(100).map(|piece| message(STDOUT, piece)).collect();
    all.push(message(STDERR, &done.stderr));
    all.push(message(STATUS, status.to_string().as_bytes()));
    all
}
