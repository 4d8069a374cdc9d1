//! The rooms of shares: a namespace for each process that serves a share of the guests of DHCPv6, with a device like
//! the network's own, and what leads there in the network's namespace (see `nft::feed`).
//!
//! Called by `linux` and `observe`. What each shall be is decided elsewhere. A room that was begun has a directory
//! among the files of the shares, so that it is found again.

use std::collections::BTreeMap;

use super::link::{self, Link};
use super::machine::blocking;
use super::netns::{self, LOOPBACK, Named, Netns};
use super::{Error, ethtool, files, inside, kernel, neighbour, nft, route};
use crate::dnsmasq::{Layout, Share, Shares};
use crate::node::{Action, Device, INNER_DEVICE, Sysctl};
use crate::types::NetworkUid;

/// Makes a room with this device, in the place of whatever there is of it.
pub(super) async fn create(
    uid: NetworkUid,
    all: &Layout,
    share: Share,
    device: &Device,
) -> Result<(), Error> {
    let netns = netns::open(uid)?;
    delete(uid, share).await?;
    let layout = [all.dir().to_owned(), all.shares(), all.of(Some(share)).dir().to_owned()];
    blocking(move || layout.iter().try_for_each(|directory| files::directory(directory))).await?;
    netns::create((uid, share)).await?;
    let room = netns::open((uid, share))?;
    room.run(settings).await??;
    let (outside, feed) = (netns.connect().await?, share.feed());
    link::create_pair(&outside, &feed, &room, device.mac, device.mtu, None, None).await?;
    // The kernel has nothing to say there of its own.
    let mute = format!("net/ipv6/conf/{feed}/disable_ipv6");
    netns.run(move || kernel::set(&mute, "1").map_err(|e| Error::SetSysctl(mute, e))).await??;
    // The rule that finishes checksums is in the network's namespace, behind what the answers pass by.
    room.run(|| ethtool::checksums_in_software(INNER_DEVICE)).await?.map_err(Error::Offload)?;
    let inner = room.connect().await?;
    link::set_up(&inner, INNER_DEVICE).await?;
    link::set_up(&outside, &feed).await?;
    let neighbours = device.neighbours.clone();
    let addresses = device.addresses.iter().map(|net| Action::AddAddress(*net));
    let remove = std::collections::BTreeSet::new();
    for action in addresses.chain([Action::ChangeNeighbours { add: neighbours, remove }]) {
        inside::change(&room, &action).await?;
    }
    Ok(())
}

/// Before there is a device: it takes them over.
fn settings() -> Result<(), Error> {
    for sysctl in [Sysctl::NoRouterAdvertisements, Sysctl::NoDuplicateAddressDetection] {
        kernel::set(sysctl.path(), sysctl.value())
            .map_err(|e| Error::SetSysctl(sysctl.path().to_owned(), e))?;
    }
    Ok(())
}

/// Whether the kernel can lead guests to rooms; where it has no IPv6, nobody is.
pub(super) async fn can_be() -> bool {
    if !super::machine::has_ipv6() {
        return false;
    }
    let try_out = || {
        ethtool::checksums_in_software("lo").map_err(Error::Offload)?;
        nft::feed::try_out()
    };
    let tried = netns::scratch(try_out).await.and_then(|tried| tried);
    if let Err(error) = &tried {
        let error = error as &(dyn std::error::Error + 'static);
        tracing::warn!(
            error,
            "this kernel cannot lead DHCPv6 to several servers: however many its guests, a network has one"
        );
    }
    tried.is_ok()
}

/// What leads to it goes last: by that it is found.
pub(super) async fn delete(uid: NetworkUid, share: Share) -> Result<(), Error> {
    blocking(move || netns::delete((uid, share))).await?;
    match netns::find(uid)? {
        Named::Namespace(netns) => link::delete(&netns.connect().await?, &share.feed()).await,
        Named::Missing | Named::Unusable => Ok(()),
    }
}

/// What leads to rooms, of the links of a network's namespace.
pub(super) fn feeds(links: Vec<Link>) -> BTreeMap<Share, Link> {
    links.into_iter().filter_map(|link| Some((Share::of_feed(&link.name)?, link))).collect()
}

/// What is between these.
pub(super) fn devices(own: &Link, feeds: &BTreeMap<Share, Link>) -> nft::feed::Devices {
    let feeds = feeds.iter().map(|(share, link)| (*share, link.index)).collect();
    nft::feed::Devices { own: own.index, feeds }
}

/// Changes which guests are heard in which room.
pub(super) async fn direct(uid: NetworkUid, whole: bool, add: &Shares, remove: &Shares) -> Result<(), Error> {
    let netns = netns::open(uid)?;
    let links = link::all(&netns.connect().await?).await?;
    let own = links.iter().find(|link| link.name == INNER_DEVICE);
    let own = own.cloned().ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?;
    let devices = devices(&own, &feeds(links));
    let (add, remove) = (add.clone(), remove.clone());
    netns.run(move || nft::feed::direct(&devices, whole, &add, &remove)).await?
}

/// By name all that a network has: where its namespace is gone, nothing leads to them any more.
pub(super) fn left(uid: NetworkUid) -> Result<Vec<Share>, Error> {
    let own = |(of, share): (NetworkUid, Option<Share>)| share.filter(|_| of == uid);
    Ok(netns::all()?.into_iter().filter_map(own).collect())
}

/// The rooms of these shares, and those to which a feed leads.
pub(super) async fn look(
    uid: NetworkUid,
    shares: impl Iterator<Item = Share>,
    feeds: &BTreeMap<Share, Link>,
) -> Result<BTreeMap<Share, Device>, Error> {
    let mut rooms = BTreeMap::new();
    for share in shares.filter(|share| share.has_room()).chain(feeds.keys().copied()) {
        if rooms.contains_key(&share) {
            continue;
        }
        let room = match (netns::find((uid, share))?, feeds.get(&share)) {
            (Named::Missing, None) => continue,
            (Named::Namespace(room), Some(feed)) => look_into(&room, feed).await?,
            _ => None,
        };
        rooms.insert(share, room.unwrap_or_else(Device::half));
    }
    Ok(rooms)
}

async fn look_into(room: &Netns, feed: &Link) -> Result<Option<Device>, Error> {
    let handle = room.connect().await?;
    let links = link::all(&handle).await?;
    let loopback_up = links.iter().any(|link| link.index == LOOPBACK && link.up);
    let is_other_end = |link: &&Link| link.name == INNER_DEVICE && link.peer == Some(feed.index);
    let Some(inner) = links.iter().find(is_other_end) else { return Ok(None) };
    let Some(mac) = inner.mac else { return Ok(None) };
    Ok(Some(Device {
        up: inner.up && feed.up && loopback_up,
        addresses: route::addresses(&handle, inner.index).await?,
        neighbours: neighbour::permanent(&handle, inner.index).await?,
        ..Device::bare(mac, inner.mtu)
    }))
}
