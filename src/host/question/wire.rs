//! Sockets from which a frame to a network's device arrives at the device, and nowhere else.
//!
//! Used by `linux`. At the outer end of a veth each is opened once. A macvlan's parent returns what the macvlan
//! sends to its own address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;

use crate::host::netns::Netns;
use crate::host::{Error, packet};
use crate::node::{Attached, INNER_DEVICE, outer_device};
use crate::types::NetworkUid;

/// See the module.
#[derive(Default)]
pub(in crate::host) struct Wires(Mutex<HashMap<String, Arc<UdpSocket>>>);

impl Wires {
    /// The socket for this network's device.
    pub(in crate::host) async fn to(
        &self,
        netns: &Netns,
        uid: NetworkUid,
        attached: &Attached,
    ) -> Result<Arc<UdpSocket>, Error> {
        match attached {
            Attached::Bridge { .. } | Attached::Ovs { .. } => self.at(&outer_device(uid)).await,
            Attached::Macvlan(_) => Ok(Arc::new(packet::sender(netns, INNER_DEVICE.to_owned()).await?)),
        }
    }

    async fn at(&self, device: &str) -> Result<Arc<UdpSocket>, Error> {
        if let Some(known) = self.all().get(device) {
            return Ok(Arc::clone(known));
        }
        let socket = Arc::new(packet::outside(device).await?);
        self.all().insert(device.to_owned(), Arc::clone(&socket));
        Ok(socket)
    }

    /// The device is gone, or does not work; there may be another one of this name.
    pub(in crate::host) fn forget(&self, device: &str) {
        self.all().remove(device);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<UdpSocket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
