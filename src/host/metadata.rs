//! The metadata service inside a network's namespace: its addresses, the guard before them, the sockets.
//!
//! Called by `linux`. Who answers on the sockets is `proxy`'s business. The IPv4 address is the loopback's:
//! the kernel answers ARP for it on every device, announces it on none, and dnsmasq does not look there. An
//! IPv6 link-local address counts on its own device only; there it is deprecated, so that nothing is sent
//! from it but answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, SocketAddrV6, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtnetlink::Handle;
use socket2::{Domain, Socket, Type};

use super::netns::{FileId, LOOPBACK, Named, Netns};
use super::{Error, link, netns, nft, route};
use crate::metadata::{self, PORT, Service};
use crate::node::{Family, INNER_DEVICE};
use crate::proxy::{Proxy, Served};
use crate::types::NetworkUid;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Who listens on the networks of this node.
#[derive(Default)]
pub(super) struct Listeners {
    proxy: Option<Arc<Proxy>>,
    open: Mutex<BTreeMap<NetworkUid, Open>>,
}

struct Open {
    place: Place,
    served: Served,
}

/// What a socket is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    netns: FileId,
    device: u32,
    families: BTreeSet<Family>,
}

/// In which families something of the service is there, in a namespace.
#[derive(Debug, Default)]
pub(super) struct There {
    pub(super) addresses: BTreeSet<Family>,
    /// All of it, for these guests.
    pub(super) service: Service,
}

impl Listeners {
    pub(super) fn new(proxy: Option<Arc<Proxy>>) -> Self {
        Self { proxy, ..Self::default() }
    }

    /// Has it as it is wanted, whatever there is of it. The guard first, the sockets last.
    pub(super) async fn serve(&self, uid: NetworkUid, wanted: &Service) -> Result<(), Error> {
        let proxy = self.proxy.as_ref().ok_or(Error::NoMetadataServer)?;
        let netns = netns::open(uid)?;
        let handle = netns.connect().await?;
        let device = link::get(&handle, INNER_DEVICE).await?;
        let device = device.ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?.index;
        let guests = wanted.clone();
        let guard = move || guests.families.iter().try_for_each(|f| nft::guests::put(*f, &guests.guests));
        netns.run(guard).await??;
        for family in &wanted.families {
            route::add_metadata(&handle, place(*family, device), *family).await?;
        }
        let place = Place { netns: netns.id, device, families: wanted.families.clone() };
        if self.all().get(&uid).is_none_or(|open| open.place != place) {
            self.close(uid).await;
            let listeners = listen(&netns, &place).await?;
            let open = Open { place, served: proxy.serve(uid, listeners) };
            self.all().insert(uid, open);
        }
        let unwanted = Family::ALL.into_iter().filter(|family| !wanted.families.contains(family));
        remove(&netns, &handle, Some(device), unwanted.collect()).await
    }

    /// Leaves nothing of it, whatever there is.
    pub(super) async fn stop(&self, uid: NetworkUid) -> Result<(), Error> {
        self.close(uid).await;
        let Named::Namespace(netns) = netns::find(uid)? else { return Ok(()) };
        let handle = netns.connect().await?;
        let device = link::get(&handle, INNER_DEVICE).await?.map(|device| device.index);
        remove(&netns, &handle, device, Family::ALL.to_vec()).await
    }

    /// Closes the sockets: as long as one is open, so is its namespace.
    pub(super) async fn close(&self, uid: NetworkUid) {
        let open = self.all().remove(&uid);
        if let Some(open) = open {
            open.served.close().await;
        }
    }

    /// What is there of it, on a network where `there` was seen.
    pub(super) fn observed(&self, uid: NetworkUid, there: Option<There>) -> Option<Service> {
        let open = self.all().contains_key(&uid);
        let there = there.unwrap_or_default();
        (open || !there.addresses.is_empty()).then_some(there.service)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<NetworkUid, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The link that has the address.
fn place(family: Family, device: u32) -> u32 {
    match family {
        Family::V4 => LOOPBACK,
        Family::V6 => device,
    }
}

/// The guard last: where there is no address, nobody looks for it.
async fn remove(
    netns: &Netns,
    handle: &Handle,
    device: Option<u32>,
    families: Vec<Family>,
) -> Result<(), Error> {
    let guards = families.clone();
    netns.run(move || guards.into_iter().try_for_each(nft::guests::remove)).await??;
    for family in families {
        if let Some(device) = device.or((family == Family::V4).then_some(LOOPBACK)) {
            route::remove_metadata(handle, place(family, device), family).await?;
        }
    }
    Ok(())
}

async fn listen(netns: &Netns, place: &Place) -> Result<Vec<tokio::net::TcpListener>, Error> {
    let Place { families, device, .. } = place.clone();
    let open =
        move || families.iter().map(|family| listener(*family, device)).collect::<io::Result<Vec<_>>>();
    let failed = |e| Error::Open("the metadata service's socket", e);
    let listeners = netns.run(open).await?.map_err(failed)?;
    listeners.into_iter().map(|l| tokio::net::TcpListener::from_std(l).map_err(failed)).collect()
}

/// In the namespace of the calling thread.
fn listener(family: Family, device: u32) -> io::Result<TcpListener> {
    let (domain, address) = match family {
        Family::V4 => (Domain::IPV4, SocketAddr::from((metadata::V4, PORT))),
        Family::V6 => (Domain::IPV6, SocketAddrV6::new(metadata::V6, PORT, 0, device).into()),
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    // Connections of an earlier agent may still be ending.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// In which families somebody listens, in the namespace of the calling thread.
fn listening() -> io::Result<BTreeSet<Family>> {
    const LISTEN: &str = "0A";
    let mut families = BTreeSet::new();
    for (family, path) in [(Family::V4, "tcp"), (Family::V6, "tcp6")] {
        let table = match std::fs::read_to_string(format!("/proc/thread-self/net/{path}")) {
            // A kernel without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            table => table?,
        };
        let local = local(family);
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        if lines.any(|fields| fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&LISTEN)) {
            families.insert(family);
        }
    }
    Ok(families)
}

/// The service's address as `/proc/net/tcp` has it: words in the machine's order.
fn local(family: Family) -> String {
    let octets = match family {
        Family::V4 => metadata::V4.octets().to_vec(),
        Family::V6 => metadata::V6.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        format!("{word:08X}")
    });
    format!("{}:{PORT:04X}", words.collect::<String>())
}

/// What of the service is there in a namespace where its addresses are `addresses`.
pub(super) async fn look(netns: &Netns, addresses: BTreeSet<Family>) -> Result<There, Error> {
    let look = move || -> Result<There, Error> {
        let listening = listening().map_err(|e| Error::Open("the list of sockets", e))?;
        let mut service = Service::default();
        for family in addresses.intersection(&listening) {
            if let Some(guests) = nft::guests::look(*family)? {
                service.families.insert(*family);
                service.guests.extend(guests);
            }
        }
        Ok(There { addresses, service })
    };
    netns.run(look).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_list_of_sockets_is_understood() {
        assert_eq!(local(Family::V4), "FEA9FEA9:0050");
        assert_eq!(local(Family::V6), "000080FE0000000000000000FEA9FEA9:0050");
    }
}
