//! Guests' requests for metadata, on to the one server that the agent's operator named.
//!
//! `host` opens the listening sockets inside a network's namespace and hands them over; the network's
//! worker says who its guests are. Nothing here decides what a request may be: `metadata` does.

mod connection;
mod forward;
mod names;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::metadata::{Directory, Entry, Limits, Refused, Upstream};
use crate::metrics::{MetadataResult, Metrics};
use crate::types::NetworkUid;
use names::Names;

/// Connections of all networks together; each has a descriptor here and one to the server.
const CONNECTIONS: usize = 2_048;
/// The node has no descriptor left, or no memory: whoever has one may be done soon.
const SHORT: Duration = Duration::from_millis(200);
/// Of one network refusals are logged at most so often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The metadata services of all networks of this node.
#[derive(Debug)]
pub struct Proxy {
    upstream: Upstream,
    /// Of an upstream that is a host.
    names: Option<Names>,
    /// The header `Host` of all requests.
    host: HeaderValue,
    metrics: Metrics,
    everybody: Arc<Semaphore>,
    networks: Mutex<BTreeMap<NetworkUid, Arc<Network>>>,
}

/// One network's.
#[derive(Debug, Default)]
struct Network {
    directory: Mutex<Arc<Directory>>,
    limits: Mutex<Limits>,
    logged: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    at: Option<Instant>,
    since: u64,
}

/// Sockets that are being served. To be closed before their namespace is removed: they would keep it.
#[derive(Debug)]
pub struct Served {
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Served {
    /// Returns when all of its sockets are closed.
    pub async fn close(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Proxy {
    /// One that forwards to `upstream`.
    pub fn new(upstream: Upstream, metrics: Metrics) -> Self {
        let everybody = Arc::new(Semaphore::new(CONNECTIONS));
        let names = match &upstream {
            Upstream::Http(host, port) => Some(Names::new(host.clone(), *port)),
            Upstream::Unix(_) => None,
        };
        Self { host: upstream.host(), upstream, names, metrics, everybody, networks: Mutex::default() }
    }

    /// From now on these are the guests of a network.
    pub fn know(&self, uid: NetworkUid, directory: &Directory) {
        let network = self.network(uid);
        let mut known = lock(&network.directory);
        if **known != *directory {
            *known = Arc::new(directory.clone());
        }
    }

    /// A network is no more: nothing of it is served.
    pub fn forget(&self, uid: NetworkUid) {
        lock(&self.networks).remove(&uid);
    }

    fn network(&self, uid: NetworkUid) -> Arc<Network> {
        lock(&self.networks).entry(uid).or_default().clone()
    }

    /// Answers who connects. In the context of a runtime.
    pub fn serve(self: &Arc<Self>, uid: NetworkUid, listeners: Vec<TcpListener>) -> Served {
        let served = Served { cancel: CancellationToken::new(), tasks: TaskTracker::new() };
        for listener in listeners {
            let (proxy, network) = (self.clone(), self.network(uid));
            let (cancel, tasks) = (served.cancel.clone(), served.tasks.clone());
            served.tasks.spawn(async move {
                loop {
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        accepted = listener.accept() => match accepted {
                            Ok((stream, from)) => proxy.welcome(&network, stream, from.ip(), &cancel, &tasks),
                            Err(error) => proxy.not_accepted(&error).await,
                        },
                    }
                }
            });
        }
        served
    }

    /// A guest that went away before it was accepted is nobody's trouble.
    async fn not_accepted(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::ConnectionAborted {
            self.metrics.failed("accept-metadata");
            sleep(SHORT).await;
        }
    }

    fn welcome(
        self: &Arc<Self>,
        network: &Arc<Network>,
        stream: TcpStream,
        from: IpAddr,
        cancel: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let known = network.directory().guests.contains_key(&from);
        let place = self.everybody.clone().try_acquire_owned();
        let entry = lock(&network.limits).enter(known.then_some(from), Instant::now());
        let visit = entry.map(|entry| Visit { network: network.clone(), entry });
        let (Ok(place), Some(visit)) = (place, visit) else {
            self.refused(network, from, Refused::TooMany);
            return;
        };
        let connection = connection::Connection { proxy: self.clone(), visit, from };
        let cancel = cancel.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = connection.serve(stream) => {}
            }
            drop(place);
        });
    }

    fn refused(&self, network: &Network, from: IpAddr, why: Refused) {
        let result = match why {
            Refused::Stranger => MetadataResult::Stranger,
            Refused::TooMany => MetadataResult::TooMany,
            _ => MetadataResult::Refused,
        };
        self.metrics.metadata(result);
        network.log(from, &why);
    }
}

impl Network {
    fn directory(&self) -> Arc<Directory> {
        lock(&self.directory).clone()
    }

    /// Not for each request: a guest could fill the disk.
    fn log(&self, from: IpAddr, why: &dyn std::fmt::Display) {
        let mut logged = lock(&self.logged);
        logged.since += 1;
        if logged.at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            let Directory { namespace, network, .. } = &*self.directory();
            let count = logged.since;
            warn!(network = format!("{namespace}/{network}"), %from, count, "a request for metadata failed: {why}");
            *logged = Logged { at: Some(Instant::now()), since: 0 };
        }
    }
}

/// A connection that was let in; it leaves when it is dropped.
struct Visit {
    network: Arc<Network>,
    entry: Entry,
}

impl Drop for Visit {
    fn drop(&mut self) {
        lock(&self.network.limits).leave(self.entry, Instant::now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
