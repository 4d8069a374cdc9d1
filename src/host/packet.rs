//! Sockets for whole Ethernet frames.
//!
//! Called by whoever asks, or hears, what the kernel would not.

use std::io;
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;

use super::Error;
use super::machine::blocking;
use super::netns::Netns;
use crate::node::INNER_DEVICE;

/// Every protocol there is: `ETH_P_ALL` of `linux/if_ether.h`.
pub(super) const ALL: u16 = 3;
/// None: a socket that only sends.
pub(super) const NONE: u16 = 0;

/// One for frames of a protocol that `filter` lets through (empty: all), at a network's device.
pub(super) async fn inside(
    netns: &Netns,
    ethertype: u16,
    filter: impl AsRef<[SockFilter]> + Send + 'static,
) -> Result<UdpSocket, Error> {
    let socket = netns.run(move || open(INNER_DEVICE, ethertype, filter.as_ref())).await?;
    socket.and_then(with_runtime).map_err(failed)
}

/// One that only sends, at a device of the node's own namespace.
pub(super) async fn outside(device: &str) -> Result<UdpSocket, Error> {
    let name = device.to_owned();
    let socket = blocking(move || Ok(open(&name, NONE, &[]))).await?;
    socket.and_then(with_runtime).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::NoLink(device.to_owned()),
        _ => failed(e),
    })
}

/// What goes wrong with one.
pub(super) fn failed(error: io::Error) -> Error {
    Error::Open("a packet socket", error)
}

/// tokio's type for sockets with datagrams; of whatever family these are.
fn with_runtime(socket: Socket) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket.into())
}

/// At a device of the calling thread's namespace.
fn open(device: &str, ethertype: u16, filter: &[SockFilter]) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(ethertype.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
    if !filter.is_empty() {
        socket.attach_filter(filter)?;
    }
    // The safe way to a link-layer address: the system's own list has them ready-made.
    let mut links = getifaddrs()?.filter(|link| link.interface_name == device);
    let link = links.find_map(|link| link.address?.as_link_addr().copied());
    nix::sys::socket::bind(socket.as_raw_fd(), &link.ok_or(io::ErrorKind::NotFound)?)?;
    Ok(socket)
}
