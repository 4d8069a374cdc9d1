//! A cluster as a source of objects: what this node's agent needs of it, and no more.
//!
//! The agent opens it and awaits its batches. One watch is on the servers of the node; what they
//! name decides which other ones there are. Without the API server the first batch is the copy of what
//! it said last.

mod copy;
mod identity;
mod loss;
mod mirror;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::last_good::{Delay, Keeper};
use super::{Batch, Event, Kind, Object, ObjectKey, Origin, PortsOf, Problem, Source};
use crate::api::{DHCPServer, Network, Port, Subnet};
use crate::cluster::client::Connection;
use crate::cluster::watch::{Pace, Seen, Selection, Watched, follow};
use crate::durable;
use copy::{Copy, LastGood};
use identity::{Guard, Identity, identify};
use mirror::{Mirror, News, WatchKey};

/// The objects that this node's agent had last, in its state directory. Changes nothing.
pub fn kept(state: &Path, node: &str) -> io::Result<Vec<Object>> {
    copy::peek(&copy::path(state), node)
}

/// How long the API server may take to say everything before the copy is served from.
const PATIENCE: Duration = Duration::from_secs(5);
/// The copy is written this long after the one before, at the earliest; at once where it was not: what is
/// taken back waits for it.
const DELAY: Delay = Delay { every: Duration::from_secs(1), after: Duration::ZERO };
const QUEUE: usize = 1_024;
/// Changes that are told together at most.
const GATHER: usize = 4_096;

/// Why the source cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory does not give what was kept there.
    #[error(transparent)]
    Copy(#[from] durable::Error),
    /// No thread can be started.
    #[error("no thread for the copy of the cluster's objects")]
    Thread(#[source] io::Error),
}

/// The objects that one node needs.
pub struct Cluster {
    client: Client,
    node: String,
    pace: Pace,
    mirror: Mirror,
    watches: BTreeMap<WatchKey, (u64, AbortHandle)>,
    opened: u64,
    news: mpsc::Receiver<(u64, WatchKey, News)>,
    tell: mpsc::Sender<(u64, WatchKey, News)>,
    identity: Arc<watch::Sender<Identity>>,
    identified: watch::Receiver<Identity>,
    identify: AbortHandle,
    path: PathBuf,
    copy: Option<LastGood>,
    copy_at: Instant,
    keeper: Keeper<Copy>,
    origin: Option<Origin>,
    problems: Vec<Problem>,
}

impl Cluster {
    /// Starts to watch for `node`; `state` keeps the copy.
    pub fn open(connection: Connection, node: &str, state: &Path) -> Result<Self, Error> {
        let Connection { client, pulse } = connection;
        let path = copy::path(state);
        let (tell, news) = mpsc::channel(QUEUE);
        let (identity, identified) = watch::channel(Identity::Unknown(None));
        let identity = Arc::new(identity);
        let identifying = tokio::spawn(identify(client.clone(), identity.clone())).abort_handle();
        Ok(Self {
            client,
            node: node.to_owned(),
            pace: Pace::new(pulse),
            mirror: Mirror::default(),
            watches: BTreeMap::new(),
            opened: 0,
            news,
            tell,
            identity,
            identified,
            identify: identifying,
            copy: copy::load(&path, node)?,
            copy_at: Instant::now() + PATIENCE,
            keeper: Keeper::start(path.clone(), DELAY).map_err(Error::Thread)?,
            path,
            origin: None,
            problems: Vec::new(),
        })
    }

    /// Opens the watches that are needed, ends the others.
    fn rewatch(&mut self) {
        if !matches!(&*self.identity.borrow(), Identity::Known(_)) {
            return;
        }
        if self.watches.is_empty()
            && let Some(copy) =
                self.copy.as_ref().filter(|copy| Some(&copy.cluster) == self.cluster().as_ref())
        {
            self.mirror.remember(&copy.objects);
        }
        for key in self.mirror.needed() {
            if !self.watches.contains_key(&key) {
                self.opened += 1;
                self.mirror.open(key.clone());
                let watch = self.watch(key.clone());
                self.watches.insert(key, (self.opened, watch));
            }
        }
        for key in self.mirror.retire() {
            if let Some((_, watch)) = self.watches.remove(&key) {
                watch.abort();
            }
        }
    }

    fn watch(&self, key: WatchKey) -> AbortHandle {
        let namespace = key.namespace().map(str::to_owned);
        match &key {
            WatchKey::Servers => {
                let fields = Some(format!("spec.nodeName={}", self.node));
                self.follow::<DHCPServer>(key, Selection { namespace, fields }, Object::Server)
            }
            WatchKey::Networks(_) => {
                self.follow::<Network>(key, Selection { namespace, fields: None }, Object::Network)
            }
            WatchKey::Subnets(_) => {
                self.follow::<Subnet>(key, Selection { namespace, fields: None }, Object::Subnet)
            }
            WatchKey::Ports(PortsOf::Namespace(_)) => {
                self.follow::<Port>(key, Selection { namespace, fields: None }, Object::Port)
            }
            WatchKey::Ports(PortsOf::Network(network)) => {
                let fields = Some(format!("spec.networkRef.name={}", network.name));
                self.follow::<Port>(key, Selection { namespace, fields }, Object::Port)
            }
        }
    }

    fn follow<K: Watched>(
        &self,
        key: WatchKey,
        selection: Selection,
        object: fn(Arc<K>) -> Object,
    ) -> AbortHandle {
        let (tell, id) = (self.tell.clone(), self.opened);
        let guard = Guard { client: self.client.clone(), identity: self.identity.clone() };
        // Other watches follow from the servers: their first lists need no second look.
        let mut suspect = key == WatchKey::Servers;
        let listener = async move |seen: Seen<K>| {
            if matches!(seen, Seen::Listed(..) | Seen::Reconnected) {
                if suspect {
                    guard.same_cluster().await;
                }
                suspect = true;
            }
            match news(seen, object) {
                Some(news) => tell.send((id, key.clone(), news)).await.is_ok(),
                None => true,
            }
        };
        let (client, pace) = (self.client.clone(), self.pace.clone());
        tokio::spawn(follow(client, selection, pace, listener)).abort_handle()
    }

    fn take(&mut self, (id, key, news): (u64, WatchKey, News)) {
        if self.watches.get(&key).is_some_and(|(current, _)| *current == id) {
            self.mirror.take(&key, news);
        }
    }

    /// What is to be told now, if there is anything.
    fn batch(&mut self) -> Option<Batch> {
        self.rewatch();
        let problems = self.trouble();
        let (mut events, mut taken, before) = (Vec::new(), BTreeSet::new(), self.origin);
        if self.origin == Some(Origin::Cluster) || self.mirror.is_complete() && !self.watches.is_empty() {
            let arrives = self.origin != Some(Origin::Cluster);
            if arrives {
                self.arrived();
                // Nobody knows what the copy has that is there.
                taken = self.mirror.networks();
            }
            events = self.mirror.news();
            if arrives {
                self.mirror.forget();
            }
            taken.extend(self.mirror.taken());
            if arrives || events.iter().any(|event| !matches!(event, Event::PortsSeen(..))) {
                self.keep();
            }
        } else if self.origin.is_none() {
            return None;
        }
        // That there is nothing is news, too, the first time.
        if events.is_empty() && problems == self.problems && before == self.origin {
            return None;
        }
        self.problems.clone_from(&problems);
        let origin = self.origin.unwrap_or(Origin::LastGoodCopy);
        let partial = origin == Origin::LastGoodCopy;
        Some(Batch { events, problems, origin, taken, copy: self.keeper.last(), partial })
    }

    /// Everything is known from the API server, for the first time.
    fn arrived(&mut self) {
        if let Some((copy, cluster)) = self.copy.take().zip(self.cluster())
            && copy.cluster != cluster
        {
            copy::refuse(&self.path, &format!("it is of cluster {}, this one is {cluster}", copy.cluster));
        }
        if self.origin == Some(Origin::LastGoodCopy) {
            info!("the API server is back; serving what it says");
        }
        self.origin = Some(Origin::Cluster);
    }

    fn cluster(&self) -> Option<String> {
        match &*self.identity.borrow() {
            Identity::Known(uid) => Some(uid.clone()),
            _ => None,
        }
    }

    fn keep(&mut self) {
        if let Some(cluster) = self.cluster() {
            self.keeper.keep(Copy::new(&cluster, &self.node, self.mirror.told()));
        }
    }

    /// The API server takes too long: what it said last is told.
    fn copied(&mut self) -> Option<Batch> {
        self.copy_at = Instant::now() + PATIENCE;
        if self.origin.is_some() {
            return None;
        }
        let problems = self.trouble();
        for problem in &problems {
            warn!("{problem}");
        }
        let copy = self.copy.as_ref()?;
        if matches!(&*self.identity.borrow(), Identity::Known(uid) if *uid != copy.cluster) {
            return None;
        }
        warn!(
            cluster = copy.cluster,
            objects = copy.objects.len(),
            "the API server does not answer; serving from the copy of what it said last"
        );
        self.origin = Some(Origin::LastGoodCopy);
        self.problems.clone_from(&problems);
        let events = self.mirror.tell_first(copy.objects.clone());
        Some(Batch { events, problems, origin: Origin::LastGoodCopy, partial: true, ..Batch::default() })
    }

    fn trouble(&self) -> Vec<Problem> {
        let said = |message: String, object: Option<ObjectKey>| Problem {
            file: "API server".to_owned(),
            line: None,
            object,
            field: String::new(),
            message,
        };
        let unknown = match &*self.identity.borrow() {
            Identity::Unknown(why) => why.clone(),
            Identity::Known(_) => None,
            Identity::Changed(_) => Some(
                "it is another cluster's than before; what was known is served on. Start the agent again to serve the new one".to_owned(),
            ),
        };
        let broken = self.mirror.broken().into_iter().map(str::to_owned);
        let mut problems: Vec<_> = unknown.into_iter().chain(broken).map(|why| said(why, None)).collect();
        let unreadable = self.mirror.unreadable().map(|(key, why)| {
            said(
                format!("this version cannot read it, what was good before stays in force: {why}"),
                Some(key.clone()),
            )
        });
        problems.extend(unreadable);
        problems
    }
}

impl Source for Cluster {
    /// The first batch has everything that the node needs.
    async fn next(&mut self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.batch() {
                return Some(batch);
            }
            let waits = self.origin.is_none();
            // Each arm only waits or takes from a channel: nothing is lost when another one wins.
            tokio::select! {
                news = self.news.recv() => {
                    self.take(news?);
                    let mut room = GATHER;
                    while let Some(more) = (room > 0).then(|| self.news.try_recv().ok()).flatten() {
                        self.take(more);
                        room -= 1;
                    }
                }
                // Never closed: we have the sender, too.
                _ = self.identified.changed() => {}
                () = sleep_until(self.copy_at), if waits => if let Some(batch) = self.copied() {
                    return Some(batch);
                },
            }
        }
    }

    fn kept(&self) -> Option<watch::Receiver<u64>> {
        Some(self.keeper.written())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.identify.abort();
        self.watches.values().for_each(|(_, watch)| watch.abort());
    }
}

fn news<K: Watched>(seen: Seen<K>, object: fn(Arc<K>) -> Object) -> Option<News> {
    let kind = |namespace, name| ObjectKey { kind: kind_of::<K>(), namespace, name };
    Some(match seen {
        Seen::Reconnected => return None,
        Seen::Listed(objects, unreadable, revision) => {
            let unreadable = unreadable.into_iter().map(|u| (kind(u.namespace, u.name), u.why)).collect();
            News::Listed(objects.into_iter().map(|o| object(Arc::new(o))).collect(), unreadable, revision)
        }
        Seen::Applied(o, revision) => News::Applied(object(Arc::new(o)), revision),
        Seen::Deleted(gone, revision) => News::Deleted(kind(gone.namespace, gone.name), revision),
        Seen::Reached(revision) => News::Reached(revision),
        Seen::Unreadable(u) => News::Unreadable(kind(u.namespace, u.name), u.why),
        Seen::Broken(why) => News::Broken(why),
    })
}

fn kind_of<K: Watched>() -> Kind {
    Kind::from_name(&K::kind(&())).unwrap_or(Kind::DhcpServer)
}
