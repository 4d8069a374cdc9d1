//! Sockets for whole Ethernet frames.
//!
//! Called by whoever asks, or hears, what the kernel would not.

use std::io;
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Every protocol there is: `ETH_P_ALL` of `linux/if_ether.h`.
pub(super) const ALL: u16 = 3;
/// None: a socket that only sends.
pub(super) const NONE: u16 = 0;

/// One for frames of a protocol that `filter` lets through, at a device of the calling thread's namespace.
pub(super) fn open(device: &str, ethertype: u16, filter: &[SockFilter]) -> io::Result<Socket> {
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
