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

use super::link::{self, Link};
use crate::types::NetworkUid;

type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// The devices by name, each with its network and the bridge it was seen in.
type Devices = Mutex<HashMap<String, (NetworkUid, u32)>>;

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
    task: JoinHandle<()>,
}

impl Monitor {
    /// Watches the links of the calling thread's namespace.
    pub(super) fn start(handle: Handle, events: mpsc::Sender<NetworkUid>) -> io::Result<Self> {
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])?;
        let devices = Arc::<Devices>::default();
        let others = Arc::<Others>::default();
        let watch = watch(messages, handle, Arc::clone(&devices), Arc::clone(&others), events);
        let task = tokio::spawn(async move {
            tokio::select! { () = connection => {} () = watch => {} }
        });
        Ok(Self { devices, others, task })
    }

    /// A change of the link of this name is to be heard of.
    pub(super) fn heed(&self, name: &str) {
        self.others.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Told when a link changes that is heeded.
    pub(super) fn links_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.others.changed)
    }

    /// From now on this device is to be up and in this bridge.
    pub(super) fn expect(&self, name: &str, uid: NetworkUid, bridge: u32) {
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

fn lock(devices: &Devices) -> MutexGuard<'_, HashMap<String, (NetworkUid, u32)>> {
    devices.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(
    mut messages: Messages,
    handle: Handle,
    devices: Arc<Devices>,
    others: Arc<Others>,
    events: mpsc::Sender<NetworkUid>,
) {
    while let Some((message, _)) = messages.next().await {
        others.note(&message);
        if matches!(message.payload, NetlinkPayload::Overrun(_)) {
            suspect_all(&devices, &events);
            continue;
        }
        let Some((name, uid)) = suspect(message, &devices) else { continue };
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

/// A device of ours that a message tells something bad of.
fn suspect(message: NetlinkMessage<RouteNetlinkMessage>, devices: &Devices) -> Option<(String, NetworkUid)> {
    let (link, deleted) = match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => (Link::from(message), false),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => (Link::from(message), true),
        _ => return None,
    };
    let (uid, bridge) = lock(devices).get(&link.name).copied()?;
    (deleted || !is_well(&link, bridge)).then_some((link.name, uid))
}

fn is_well(link: &Link, bridge: u32) -> bool {
    link.up && link.controller == Some(bridge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lost_messages_are_an_event_of_every_network() {
        let uid: NetworkUid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let handle = rtnetlink::new_connection().unwrap().1;
        let devices = Arc::new(Mutex::new(HashMap::from([("kd1".to_owned(), (uid, 1))])));
        let (sender, mut events) = mpsc::channel(1);
        let (lost, messages) = futures::channel::mpsc::unbounded();
        let payload = NetlinkPayload::Overrun(Vec::new());
        let message = NetlinkMessage::new(rtnetlink::packet_core::NetlinkHeader::default(), payload);
        lost.unbounded_send((message, SocketAddr::new(0, 0))).unwrap();
        drop(lost);
        watch(messages, handle, devices, Arc::default(), sender).await;
        assert_eq!(events.recv().await, Some(uid));
    }
}
