//! Watches the node's links: a device of ours that is deleted, goes down or leaves its bridge is an
//! event at once, not at the next pass.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::base::{Bases, State};
use super::link::{self, Link};
use super::vlan::{self, Vlans};
use crate::types::NetworkUid;

type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// By name.
type Devices = Mutex<HashMap<String, Expected>>;

/// How a device is to be: up, and this.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) uid: NetworkUid,
    /// The bridge it was seen in, if its kind is in one.
    pub(super) bridge: Option<u32>,
    /// Its VLAN there, if it has one of its own.
    pub(super) vlan: Option<u16>,
}

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

    /// From now on this device is to be so.
    pub(super) fn expect(&self, name: &str, expected: Expected) {
        lock(&self.devices).insert(name.to_owned(), expected);
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

fn lock(devices: &Devices) -> MutexGuard<'_, HashMap<String, Expected>> {
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
        let Some(told) = told(message) else { continue };
        // What a bridge tells of its ports is not all there is of them.
        if !told.by_bridge {
            let (name, mut state) = (&told.link.name, (!told.deleted).then(|| told.link.base()));
            // As below.
            if bases.is_news(name, state)
                && let Ok(now) = link::get(&handle, name).await
            {
                state = now.as_ref().map(Link::base);
            }
            bases.differs(name, state).into_iter().for_each(|uid| super::tell(&events, uid));
        }
        let Some((name, uid)) = suspect(told, &devices) else { continue };
        // Messages of our own doing may come late: what counts is how it is now.
        let expected = lock(&devices).get(&name).copied();
        if let Some(expected) = expected
            && !is_well_now(&handle, &name, expected).await
        {
            lock(&devices).remove(&name);
            super::tell(&events, uid);
        }
    }
}

/// The kernel had more to say than there was room for: what was lost may be of any device.
fn suspect_all(devices: &Devices, events: &mpsc::Sender<NetworkUid>) {
    for expected in lock(devices).values() {
        super::tell(events, expected.uid);
    }
}

/// What a message tells of a link.
struct Told {
    message: LinkMessage,
    link: Link,
    deleted: bool,
    /// It is of the link as a port.
    by_bridge: bool,
}

fn told(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Told> {
    let (message, deleted) = match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => (message, false),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => (message, true),
        _ => return None,
    };
    let by_bridge = message.header.interface_family == AddressFamily::Bridge;
    Some(Told { link: Link::from(message.clone()), message, deleted, by_bridge })
}

/// A device of ours of which something bad is told.
fn suspect(told: Told, devices: &Devices) -> Option<(String, NetworkUid)> {
    let Expected { uid, bridge, vlan } = lock(devices).get(&told.link.name).copied()?;
    let moved = |vlan| told.by_bridge && !vlan::tells_only(&told.message, vlan);
    let bad = told.deleted || !is_well(&told.link, bridge) || vlan.is_some_and(moved);
    bad.then_some((told.link.name, uid))
}

fn is_well(link: &Link, bridge: Option<u32>) -> bool {
    link.up && (bridge.is_none() || link.controller == bridge)
}

async fn is_well_now(handle: &Handle, name: &str, expected: Expected) -> bool {
    let Ok(Some(link)) = link::get(handle, name).await else { return false };
    let in_vlan = match expected.vlan {
        Some(vlan) => vlan::of(&link).await.is_ok_and(|vlans| vlans == Vlans::from([(vlan, true)])),
        None => true,
    };
    in_vlan && is_well(&link, expected.bridge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lost_messages_are_an_event_of_every_network() {
        let uid: NetworkUid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let handle = rtnetlink::new_connection().unwrap().1;
        let devices = Arc::new(Mutex::new(HashMap::from([(
            "kd1".to_owned(),
            Expected { uid, bridge: Some(1), vlan: None },
        )])));
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
