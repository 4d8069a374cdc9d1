//! A conversation with ovsdb-server: JSON-RPC over its socket (RFC 7047 §4).
//!
//! Knows nothing of what is asked.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const DATABASE: &str = "Open_vSwitch";

/// More than any answer of a node's: the server is trusted, a bug of it is not.
const LONGEST: usize = 64 << 20;

/// One connection.
pub(super) struct Session {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Session {
    pub(super) async fn open(socket: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(socket).await?, buffer: Vec::new() })
    }

    /// Does all of it, or none; gives what came of each operation.
    pub(super) async fn transact(&mut self, operations: Vec<Value>) -> io::Result<Vec<Value>> {
        let mut parameters = vec![json!(DATABASE)];
        parameters.extend(operations);
        let results = self.call("transact", parameters.into()).await?;
        let Value::Array(results) = results else { return Err(strange("no list of results")) };
        match results.iter().find(|result| result["error"].is_string()) {
            Some(failed) => {
                Err(strange(&format!("{} ({})", words(&failed["error"]), words(&failed["details"]))))
            }
            None => Ok(results),
        }
    }

    /// What there is now of these columns; later changes come by [`update`](Self::update).
    pub(super) async fn monitor(&mut self, tables: &Value) -> io::Result<Value> {
        self.call("monitor", json!([DATABASE, "kube-dhcp", tables])).await
    }

    /// The next change of what is monitored.
    pub(super) async fn update(&mut self) -> io::Result<Value> {
        loop {
            let mut message = self.message().await?;
            if message["method"] == "update" {
                return Ok(message["params"][1].take());
            }
        }
    }

    async fn call(&mut self, method: &str, parameters: Value) -> io::Result<Value> {
        self.send(&json!({"id": method, "method": method, "params": parameters})).await?;
        loop {
            let mut message = self.message().await?;
            if message["id"] != method || message["method"].is_string() {
                continue;
            }
            return match &message["error"] {
                Value::Null => Ok(message["result"].take()),
                error => Err(strange(&error.to_string())),
            };
        }
    }

    /// The next message that is not a question whether we are there.
    async fn message(&mut self) -> io::Result<Value> {
        loop {
            let message = self.any_message().await?;
            if message["method"] != "echo" {
                return Ok(message);
            }
            self.send(&json!({"id": message["id"], "result": message["params"], "error": null})).await?;
        }
    }

    async fn any_message(&mut self) -> io::Result<Value> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(message);
            }
            if self.buffer.len() > LONGEST {
                return Err(strange("a message without end"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Nothing but the end of a value says that it is whole.
    fn buffered(&mut self) -> io::Result<Option<Value>> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter();
        match values.next() {
            Some(Ok(message)) => {
                let end = values.byte_offset();
                self.buffer.drain(..end);
                Ok(Some(message))
            }
            Some(Err(e)) if !e.is_eof() => Err(e.into()),
            _ => Ok(None),
        }
    }

    async fn send(&mut self, message: &Value) -> io::Result<()> {
        self.stream.write_all(message.to_string().as_bytes()).await
    }
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("no details")
}

fn strange(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
