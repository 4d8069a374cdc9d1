//! Watches the node's links: a device of ours that is deleted, goes down or leaves its bridge is an
//! event at once, not at the next pass.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::base::{Bases, State};
use super::link::{self, Link};
use crate::types::NetworkUid;

type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// The devices by name, each with its network and the bridge it was seen in, if its kind is in one.
type Devices = Mutex<HashMap<String, (NetworkUid, Option<u32>)>>;

/// Links of others that somebody wants to hear of.
#[derive(Default)]
struct Others {
    names: Mutex<HashSet<String>>,
    changed: Arc<Notify>,
}

impl Others {
    fn note(&self, message: &NetlinkMessage<RouteNetlinkMessage>) {
        let name = match &message.payload {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
            ) => Link::from(link.clone()).name,
            NetlinkPayload::Overrun(_) => return self.changed.notify_one(),
            _ => return,
        };
        if self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(&name) {
            self.changed.notify_one();
        }
    }
}

/// Ends when it is dropped.
pub(super) struct Monitor {
    devices: Arc<Devices>,
    others: Arc<Others>,
    bases: Arc<Bases>,
    task: JoinHandle<()>,
}

impl Monitor {
    /// Watches the links of the calling thread's namespace.
    pub(super) fn start(handle: Handle, events: mpsc::Sender<NetworkUid>) -> io::Result<Self> {
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])?;
        let devices = Arc::<Devices>::default();
        let (others, bases) = (Arc::<Others>::default(), Arc::<Bases>::default());
        let watched =
            Watched { devices: Arc::clone(&devices), others: Arc::clone(&others), bases: Arc::clone(&bases) };
        let watch = watch(messages, handle, watched, events);
        let task = tokio::spawn(async move {
            tokio::select! { () = connection => {} () = watch => {} }
        });
        Ok(Self { devices, others, bases, task })
    }

    /// A change of the link of this name is to be heard of.
    pub(super) fn heed(&self, name: &str) {
        self.others.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Told when a link changes that is heeded.
    pub(super) fn links_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.others.changed)
    }

    /// The network is to hear, once, when the link of this name is otherwise than it was seen.
    pub(super) fn stand(&self, name: &str, uid: NetworkUid, seen: State) {
        self.bases.stand(name, uid, seen);
    }

    /// No link of others matters to it.
    pub(super) fn leave(&self, uid: NetworkUid) {
        self.bases.leave(uid);
    }

    /// From now on this device is to be up, and in this bridge.
    pub(super) fn expect(&self, name: &str, uid: NetworkUid, bridge: Option<u32>) {
        lock(&self.devices).insert(name.to_owned(), (uid, bridge));
    }

    /// What happens to it from now on is our doing.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.devices).remove(name);
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(devices: &Devices) -> MutexGuard<'_, HashMap<String, (NetworkUid, Option<u32>)>> {
    devices.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What there is to hear of.
#[derive(Default)]
struct Watched {
    devices: Arc<Devices>,
    others: Arc<Others>,
    bases: Arc<Bases>,
}

async fn watch(mut messages: Messages, handle: Handle, watched: Watched, events: mpsc::Sender<NetworkUid>) {
    let Watched { devices, others, bases } = watched;
    while let Some((message, _)) = messages.next().await {
        others.note(&message);
        if matches!(message.payload, NetlinkPayload::Overrun(_)) {
            suspect_all(&devices, &events);
            bases.all().into_iter().for_each(|uid| super::tell(&events, uid));
            continue;
        }
        let Some((link, deleted)) = told(message) else { continue };
        let state = (!deleted).then_some((link.index, link.mtu));
        bases.differs(&link.name, state).into_iter().for_each(|uid| super::tell(&events, uid));
        let Some((name, uid)) = suspect(link, deleted, &devices) else { continue };
        // Messages of our own doing may come late: what counts is how it is now.
        let now = link::get(&handle, &name).await.ok().flatten();
        let expected = lock(&devices).get(&name).copied();
        if expected.is_some_and(|(_, bridge)| !now.is_some_and(|link| is_well(&link, bridge))) {
            lock(&devices).remove(&name);
            super::tell(&events, uid);
        }
    }
}

/// The kernel had more to say than there was room for: what was lost may be of any device.
fn suspect_all(devices: &Devices, events: &mpsc::Sender<NetworkUid>) {
    for (uid, _) in lock(devices).values() {
        super::tell(events, *uid);
    }
}

/// What a message tells of a link, and whether it is its end.
fn told(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<(Link, bool)> {
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Some((Link::from(link), false)),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => Some((Link::from(link), true)),
        _ => None,
    }
}

/// A device of ours of which something bad is told.
fn suspect(link: Link, deleted: bool, devices: &Devices) -> Option<(String, NetworkUid)> {
    let (uid, bridge) = lock(devices).get(&link.name).copied()?;
    (deleted || !is_well(&link, bridge)).then_some((link.name, uid))
}

fn is_well(link: &Link, bridge: Option<u32>) -> bool {
    link.up && (bridge.is_none() || link.controller == bridge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lost_messages_are_an_event_of_every_network() {
        let uid: NetworkUid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let handle = rtnetlink::new_connection().unwrap().1;
        let devices = Arc::new(Mutex::new(HashMap::from([("kd1".to_owned(), (uid, Some(1)))])));
        let (sender, mut events) = mpsc::channel(1);
        let (lost, messages) = futures::channel::mpsc::unbounded();
        let payload = NetlinkPayload::Overrun(Vec::new());
        let message = NetlinkMessage::new(rtnetlink::packet_core::NetlinkHeader::default(), payload);
        lost.unbounded_send((message, SocketAddr::new(0, 0))).unwrap();
        drop(lost);
        watch(messages, handle, Watched { devices, ..Watched::default() }, sender).await;
        assert_eq!(events.recv().await, Some(uid));
    }
}
