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
use tokio::time::{sleep, timeout};

use super::Error;
use crate::backoff::Backoff;
use crate::node::{Attached, outer_device};
use crate::types::{MacAddr, NetworkUid};
use client::Session;
use rows::{Found, Plug};

/// A database that answers does so at once.
const ANSWER: Duration = Duration::from_secs(5);
/// How long ovs-vswitchd may take to see a new port, in milliseconds.
const TAKEN: u32 = 5_000;
const RETRY: Backoff = Backoff { first: Duration::from_millis(200), last: Duration::from_secs(5) };

/// Where each network's port was seen last; `None`: nowhere.
type Known = Arc<Mutex<HashMap<NetworkUid, Option<Attached>>>>;

/// The switch of a node.
pub(super) struct Ovs {
    socket: PathBuf,
    known: Known,
    ears: Ears,
    listens: AtomicBool,
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
        Self { socket: socket.to_owned(), known, ears, listens }
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
            known.entry(*uid).or_default();
        }
        found
    }

    /// Whether a network's port is looked for: it shall have one, or may.
    pub(super) fn concerns(&self, uid: NetworkUid, wanted: Option<&Attached>) -> bool {
        let wants = matches!(wanted, Some(Attached::Ovs { .. }));
        if wants {
            self.listen();
            lock(&self.known).entry(uid).or_default();
        }
        wants || lock(&self.known).contains_key(&uid)
    }

    /// A network's port, if it has one.
    pub(super) async fn look(&self, uid: NetworkUid) -> Option<Port> {
        match self.find(uid).await {
            Ok(None) => {
                lock(&self.known).insert(uid, None);
                None
            }
            Ok(Some((found, bridge))) => {
                let bridge = bridge.filter(|_| found.is_well);
                let attached = bridge.map(|bridge| Attached::Ovs { bridge, vlan: found.vlan });
                lock(&self.known).insert(uid, attached.clone());
                Some(Port { attached })
            }
            Err(error) => {
                tracing::debug!(%error, "Open vSwitch is away; its port is taken for what it was");
                let attached = lock(&self.known).get(&uid).cloned().flatten()?;
                Some(Port { attached: Some(attached) })
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
        if rows::rows(&results[0]).is_empty() {
            return Err(Error::OvsBridgeMissing(bridge.to_owned()));
        }
        Ok(())
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
        lock(&self.known).insert(uid, Some(Attached::Ovs { bridge: bridge.to_owned(), vlan }));
        let results = self.ask(operations).await?;
        if results.last().is_none_or(|result| result["count"] != 1) {
            return Err(Error::OvsBridgeMissing(bridge.to_owned()));
        }
        self.taken(&name).await
    }

    /// Waits until ovs-vswitchd has opened the device.
    async fn taken(&self, name: &str) -> Result<(), Error> {
        let refused = |message: String| Error::OvsRefused { port: name.to_owned(), message };
        let silent = |_| refused(format!("ovs-vswitchd does not act within {} s", TAKEN / 1_000));
        self.ask(vec![rows::wait_for(name, TAKEN)]).await.map_err(silent)?;
        let results = self.ask(vec![rows::select_interface(name)]).await?;
        match rows::rows(&results[0]).first().and_then(|row| row["error"].as_str()) {
            Some(fault) => Err(refused(fault.chars().take(200).collect())),
            None => Ok(()),
        }
    }

    /// As [`unplug`](Self::unplug), and waits until ovs-vswitchd has let go of the device: one of the same
    /// name in its place would not be seen.
    pub(super) async fn unplug_for_another(&self, uid: NetworkUid) -> Result<(), Error> {
        if !lock(&self.known).contains_key(&uid) || self.find(uid).await?.is_none() {
            return Ok(());
        }
        self.unplug(uid).await?;
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
        timeout(Duration::from_millis(TAKEN.into()), caught_up).await.map_err(silent)?
    }

    /// Removes a network's port, if it has one.
    pub(super) async fn unplug(&self, uid: NetworkUid) -> Result<(), Error> {
        let may_have_one = match lock(&self.known).get(&uid) {
            None => return Ok(()),
            Some(seen) => seen.is_some(),
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
        let count = operations.len();
        let asked = timeout(ANSWER + Duration::from_millis(TAKEN.into()), async {
            Session::open(&self.socket).await?.transact(operations).await
        });
        let answer = asked.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let results = answer.map_err(|e| Error::OvsAway(self.socket.clone(), e))?;
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

fn lock(known: &Known) -> MutexGuard<'_, HashMap<NetworkUid, Option<Attached>>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

type WeakKnown = std::sync::Weak<Mutex<HashMap<NetworkUid, Option<Attached>>>>;

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
