//! Permanent IPv6 neighbour entries of a network's device.
//!
//! Called by `linux` and `observe`. Entries that the kernel learnt itself are not ours to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;

use futures::TryStreamExt;
use nix::net::if_::if_nametoindex;
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::Error;
use super::netlink::Exchange;
use crate::node::INNER_DEVICE;
use crate::types::MacAddr;

/// So many requests go to the kernel together: an answer to each of them has room in the socket's buffer.
const TOGETHER: usize = 128;

/// The permanent entries of one interface.
pub(super) async fn permanent(handle: &Handle, index: u32) -> Result<BTreeMap<Ipv6Addr, MacAddr>, Error> {
    let request = handle.neighbours().get().set_address_family(AddressFamily::Inet6);
    let messages: Vec<_> = request.execute().try_collect().await.map_err(|e| Error::List("neighbours", e))?;
    let is_permanent = |message: &&NeighbourMessage| {
        message.header.ifindex == index && message.header.state == NeighbourState::Permanent
    };
    Ok(messages.iter().filter(is_permanent).filter_map(entry).collect())
}

fn entry(message: &NeighbourMessage) -> Option<(Ipv6Addr, MacAddr)> {
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => ip = Some(*address),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = bytes.as_slice().try_into().ok().and_then(MacAddr::new);
            }
            _ => {}
        }
    }
    Some((ip.filter(|ip| !ip.is_multicast())?, mac?))
}

/// Sets and removes entries of the DHCP device. On a thread in the namespace.
pub(super) fn change(add: &BTreeMap<Ipv6Addr, MacAddr>, remove: &BTreeSet<Ipv6Addr>) -> io::Result<()> {
    let index = if_nametoindex(INNER_DEVICE)?;
    let socket = Exchange::open(NETLINK_ROUTE)?;
    let removals: Vec<_> = remove.iter().map(|ip| removal(index, *ip)).collect();
    let additions: Vec<_> = add.iter().map(|(ip, mac)| addition(index, *ip, *mac)).collect();
    for requests in removals.chunks(TOGETHER) {
        socket.tell(&requests.concat(), requests.len(), |code| code == nix::libc::ENOENT)?;
    }
    for requests in additions.chunks(TOGETHER) {
        socket.tell(&requests.concat(), requests.len(), |_| false)?;
    }
    Ok(())
}

fn addition(index: u32, ip: Ipv6Addr, mac: MacAddr) -> Vec<u8> {
    let mut message = message(index, ip);
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
    request(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

fn removal(index: u32, ip: Ipv6Addr) -> Vec<u8> {
    request(RouteNetlinkMessage::DelNeighbour(message(index, ip)), 0)
}

fn message(index: u32, ip: Ipv6Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)));
    message
}

fn request(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}
