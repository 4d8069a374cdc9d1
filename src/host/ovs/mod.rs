//! Ports in Open vSwitch, by its database.
//!
//! Called by `device`. It keeps what it saw last of each network's port: while the database does not answer,
//! as during its upgrade, what is plugged stays plugged.

mod client;
mod rows;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::Error;
use crate::backoff::Backoff;
use crate::node::{Attached, outer_device};
use crate::types::{MacAddr, NetworkUid};
use client::Session;
use rows::{Found, Plug};

/// A database that answers does so at once.
const ANSWER: Duration = Duration::from_secs(2);
/// One that did not is not asked for so long: many networks would wait for it one after the other.
const REST: Duration = Duration::from_secs(3);
/// How long ovs-vswitchd may take to see a new port.
const TAKEN: Duration = Duration::from_secs(5);
const RETRY: Backoff = Backoff { first: Duration::from_millis(200), last: Duration::from_secs(5) };

/// Where a network's port was seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    NotAsked,
    Nowhere,
    /// There is one.
    Somewhere,
    At(Attached),
}

/// Of the networks that may have ports.
type Known = Arc<Mutex<HashMap<NetworkUid, Seen>>>;

/// The switch of a node.
pub(super) struct Ovs {
    socket: PathBuf,
    known: Known,
    ears: Ears,
    listens: AtomicBool,
    /// Bridges that were there when they were asked for last.
    bridges: Mutex<BTreeSet<String>>,
    /// When it may be asked again after it did not answer.
    rests_until: Mutex<Option<Instant>>,
}

/// A port as it is.
pub(super) struct Port {
    /// Where; `None`: not as we make them.
    pub(super) attached: Option<Attached>,
}

/// Who is to hear of what others do to ports and bridges.
#[derive(Clone)]
pub(super) struct Ears {
    pub(super) events: mpsc::Sender<NetworkUid>,
    pub(super) changed: Arc<Notify>,
}

impl Ovs {
    pub(super) fn new(socket: &Path, ears: Ears) -> Self {
        let (known, listens) = (Known::default(), AtomicBool::new(false));
        let (bridges, rests_until) = (Mutex::default(), Mutex::default());
        Self { socket: socket.to_owned(), known, ears, listens, bridges, rests_until }
    }

    /// Another one at this socket.
    pub(super) fn at(&self, socket: &Path) -> Self {
        Self::new(socket, self.ears.clone())
    }

    /// The networks that have ports. Where there is no switch, none has.
    pub(super) async fn networks(&self) -> BTreeSet<NetworkUid> {
        let asked = self.ask(vec![rows::select_owned()]).await;
        let Ok(results) = asked else { return BTreeSet::new() };
        let found: BTreeSet<_> = rows::rows(&results[0]).iter().filter_map(rows::owner).collect();
        let mut known = lock(&self.known);
        for uid in &found {
            let seen = known.entry(*uid).or_default();
            if matches!(seen, Seen::NotAsked | Seen::Nowhere) {
                *seen = Seen::Somewhere;
            }
        }
        found
    }

    /// A network's port, if it has one. While the database is away a port that nobody ever saw is taken for
    /// the one that is `wanted` if the device that would be it `is_there`.
    pub(super) async fn look(
        &self,
        uid: NetworkUid,
        wanted: Option<&Attached>,
        is_there: bool,
    ) -> Option<Port> {
        let wanted = wanted.filter(|attached| matches!(attached, Attached::Ovs { .. }));
        if wanted.is_some() {
            self.listen();
            lock(&self.known).entry(uid).or_default();
        }
        if !lock(&self.known).contains_key(&uid) {
            return None;
        }
        match self.find(uid).await {
            Ok(None) => {
                lock(&self.known).insert(uid, Seen::Nowhere);
                None
            }
            Ok(Some((found, bridge))) => {
                let bridge = bridge.filter(|_| found.is_well);
                let attached = bridge.map(|bridge| Attached::Ovs { bridge, vlan: found.vlan });
                lock(&self.known).insert(uid, attached.clone().map_or(Seen::Somewhere, Seen::At));
                Some(Port { attached })
            }
            Err(error) => {
                tracing::debug!(%error, "Open vSwitch is away; its port is taken for what it was");
                let attached = match lock(&self.known).get(&uid).cloned()? {
                    Seen::Nowhere => None,
                    Seen::At(attached) => Some(attached),
                    Seen::NotAsked | Seen::Somewhere => wanted.filter(|_| is_there).cloned(),
                };
                attached.map(|attached| Port { attached: Some(attached) })
            }
        }
    }

    async fn find(&self, uid: NetworkUid) -> Result<Option<(Found, Option<String>)>, Error> {
        let name = outer_device(uid);
        let results = self.ask(vec![rows::select_port(&name), rows::select_interface(&name)]).await?;
        let Some(mut found) = rows::rows(&results[0]).first().and_then(|row| rows::found(row, uid)) else {
            return Ok(None);
        };
        found.is_well &= rows::is_open(rows::rows(&results[1]));
        let results = self.ask(vec![rows::select_bridge_of(&found.uuid)]).await?;
        let bridge = rows::rows(&results[0]).first().and_then(|row| row["name"].as_str());
        Ok(Some((found, bridge.map(str::to_owned))))
    }

    /// The bridge must be there.
    pub(super) async fn require(&self, bridge: &str) -> Result<(), Error> {
        self.listen();
        let results = self.ask(vec![rows::select_bridge(bridge)]).await?;
        let mut bridges = lock(&self.bridges);
        if rows::rows(&results[0]).is_empty() {
            bridges.remove(bridge);
            return Err(Error::OvsBridgeMissing(bridge.to_owned()));
        }
        bridges.insert(bridge.to_owned());
        Ok(())
    }

    /// Whether it is there, or was before the database went away: the switch works on without that.
    pub(super) async fn has(&self, bridge: &str) -> Result<(), Error> {
        let was_there = lock(&self.bridges).contains(bridge);
        match self.require(bridge).await {
            Err(Error::OvsAway(..)) if was_there => Ok(()),
            asked => asked,
        }
    }

    /// Makes a network's outer device a port, in the place of whatever port has its name.
    pub(super) async fn plug(
        &self,
        uid: NetworkUid,
        mac: MacAddr,
        bridge: &str,
        vlan: Option<u16>,
    ) -> Result<(), Error> {
        self.require(bridge).await?;
        let name = outer_device(uid);
        let before = self.find(uid).await?;
        let mut operations: Vec<_> = before.iter().map(|(found, _)| rows::remove(&found.uuid)).collect();
        operations.extend(rows::add(&Plug { name: &name, bridge, vlan, uid, mac }));
        // Before it is: what is begun is looked for.
        lock(&self.known).insert(uid, Seen::At(Attached::Ovs { bridge: bridge.to_owned(), vlan }));
        let results = self.ask(operations).await?;
        if results.last().is_none_or(|result| result["count"] != 1) {
            return Err(Error::OvsBridgeMissing(bridge.to_owned()));
        }
        self.taken(&name).await
    }

    /// Waits until ovs-vswitchd has opened the device.
    async fn taken(&self, name: &str) -> Result<(), Error> {
        let refused = |message: String| Error::OvsRefused { port: name.to_owned(), message };
        let silent = |_| refused(format!("ovs-vswitchd does not act within {} s", TAKEN.as_secs()));
        self.ask(vec![rows::wait_for(name, TAKEN)]).await.map_err(silent)?;
        let results = self.ask(vec![rows::select_interface(name)]).await?;
        match rows::rows(&results[0]).first().and_then(|row| row["error"].as_str()) {
            Some(fault) => Err(refused(fault.chars().take(200).collect())),
            None => Ok(()),
        }
    }

    /// Waits until ovs-vswitchd has let go of devices that were unplugged: one of the same name in the place
    /// of another would not be seen.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        let results = self.ask(rows::begin_round().into()).await?;
        let round = rows::round(&results[1], "next_cfg");
        let caught_up = async {
            loop {
                let now = rows::round(&self.ask(vec![rows::select_round()]).await?[0], "cur_cfg");
                if now >= round {
                    return Ok(());
                }
                self.ask(vec![rows::wait_for_round(now, TAKEN)]).await?;
            }
        };
        let silent = |_| Error::OvsAway(self.socket.clone(), io::ErrorKind::TimedOut.into());
        timeout(TAKEN, caught_up).await.map_err(silent)?
    }

    /// Removes a network's port, if it has one.
    pub(super) async fn unplug(&self, uid: NetworkUid) -> Result<(), Error> {
        let may_have_one = match lock(&self.known).get(&uid) {
            None => return Ok(()),
            Some(seen) => matches!(seen, Seen::Somewhere | Seen::At(_)),
        };
        match self.find(uid).await {
            Ok(Some((found, _))) => drop(self.ask(vec![rows::remove(&found.uuid)]).await?),
            Ok(None) => {}
            // If there is one after all, it is found when the switch is back.
            Err(_) if !may_have_one => {}
            Err(e) => return Err(e),
        }
        lock(&self.known).remove(&uid);
        Ok(())
    }

    async fn ask(&self, operations: Vec<Value>) -> Result<Vec<Value>, Error> {
        let away = |e| Error::OvsAway(self.socket.clone(), e);
        let rests_until = *lock(&self.rests_until);
        if rests_until.is_some_and(|until| Instant::now() < until) {
            return Err(away(io::ErrorKind::TimedOut.into()));
        }
        let count = operations.len();
        let waits = operations.iter().any(|operation| operation["op"] == "wait");
        let patience = ANSWER + if waits { TAKEN } else { Duration::ZERO };
        let asked =
            timeout(patience, async { Session::open(&self.socket).await?.transact(operations).await });
        let answer = asked.await.unwrap_or_else(|_| {
            *lock(&self.rests_until) = Some(Instant::now() + REST);
            Err(io::ErrorKind::TimedOut.into())
        });
        let results = answer.map_err(away)?;
        // Each operation has its result; what comes after them are errors.
        if results.len() < count {
            return Err(Error::OvsAway(self.socket.clone(), io::ErrorKind::InvalidData.into()));
        }
        Ok(results)
    }

    /// Once there is something to hear of.
    fn listen(&self) {
        if !self.listens.swap(true, Ordering::Relaxed) {
            tokio::spawn(listen(self.socket.clone(), Arc::downgrade(&self.known), self.ears.clone()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type WeakKnown = std::sync::Weak<Mutex<HashMap<NetworkUid, Seen>>>;

/// Ends when nobody is left who would hear.
async fn listen(socket: PathBuf, known: WeakKnown, ears: Ears) {
    let (mut failures, mut was_away) = (0, false);
    while known.strong_count() > 0 {
        let heard = hear(&socket, &known, &ears, was_away).await;
        failures = if heard { 0 } else { failures + 1 };
        was_away = true;
        if heard {
            ears.changed.notify_one();
        }
        sleep(RETRY.after(failures)).await;
    }
}

/// Tells of changes until the connection ends; returns whether there was one.
async fn hear(socket: &Path, known: &WeakKnown, ears: &Ears, was_away: bool) -> bool {
    let Ok(mut session) = Session::open(socket).await else { return false };
    if session.monitor(&rows::monitored()).await.is_err() {
        return false;
    }
    if was_away {
        tell(known, ears, |_| true);
    }
    ears.changed.notify_one();
    while let Ok(update) = session.update().await {
        let (ports, new_bridge) = rows::disturbed(&update);
        tell(known, ears, |uid| new_bridge || ports.contains(&outer_device(uid)));
        if new_bridge || update["Bridge"].is_object() {
            ears.changed.notify_one();
        }
    }
    true
}

fn tell(known: &WeakKnown, ears: &Ears, is_told: impl Fn(NetworkUid) -> bool) {
    let Some(known) = known.upgrade() else { return };
    let all: Vec<_> = lock(&known).keys().copied().collect();
    all.into_iter().filter(|uid| is_told(*uid)).for_each(|uid| super::tell(&ears.events, uid));
}
