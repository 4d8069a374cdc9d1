//! As much of an API server as Leases need: one Lease, with optimistic locking, that can be silent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use kube::Client;
use serde_json::{Value, json};

/// What the server holds and how it behaves.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) lease: Option<Value>,
    pub(super) version: u64,
    /// Answers nothing.
    pub(super) silent: bool,
    /// Answers with an error.
    pub(super) broken: bool,
    pub(super) writes: usize,
}

/// The server; clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Server(Arc<Mutex<Content>>);

type Answer = (StatusCode, String);

impl Server {
    pub(super) fn client(&self) -> Client {
        let leases = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
        let named = get(read).put(replace).patch(apply);
        let router = Router::new().route(leases, post(create)).route(&format!("{leases}/{{name}}"), named);
        Client::new(router.with_state(self.clone()), "ns")
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Content) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    pub(super) fn spec(&self, field: &str) -> Value {
        self.with(|content| content.lease.as_ref().map_or(Value::Null, |lease| lease["spec"][field].clone()))
    }

    async fn answer(&self, f: impl FnOnce(&mut Content) -> Answer) -> Answer {
        while self.with(|content| content.silent) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.with(|content| if content.broken { status(500, "InternalError") } else { f(content) })
    }
}

impl Content {
    pub(super) fn store(&mut self, mut lease: Value) -> Answer {
        self.version += 1;
        self.writes += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let text = lease.to_string();
        self.lease = Some(lease);
        (StatusCode::OK, text)
    }
}

fn status(code: u16, reason: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": "", "code": code});
    (StatusCode::from_u16(code).unwrap(), body.to_string())
}

async fn read(State(server): State<Server>) -> Answer {
    let found = |lease: &Value| (StatusCode::OK, lease.to_string());
    server.answer(|content| content.lease.as_ref().map_or_else(|| status(404, "NotFound"), found)).await
}

async fn create(State(server): State<Server>, body: String) -> Answer {
    let store = |content: &mut Content| match content.lease {
        Some(_) => status(409, "AlreadyExists"),
        None => content.store(serde_json::from_str(&body).unwrap()),
    };
    server.answer(store).await
}

async fn replace(State(server): State<Server>, body: String) -> Answer {
    let lease: Value = serde_json::from_str(&body).unwrap();
    let store = |content: &mut Content| {
        let current = content.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        if current.as_ref() == Some(&lease["metadata"]["resourceVersion"]) {
            content.store(lease)
        } else {
            status(409, "Conflict")
        }
    };
    server.answer(store).await
}

async fn apply(State(server): State<Server>, body: String) -> Answer {
    server.answer(|content| content.store(serde_json::from_str(&body).unwrap())).await
}
