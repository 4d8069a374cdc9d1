//! Sockets for whole Ethernet frames.
//!
//! Called by whoever asks, or hears, what the kernel would not.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Error;
use super::machine::blocking;
use super::netns::Netns;
use crate::node::INNER_DEVICE;

/// Every protocol there is: `ETH_P_ALL` of `linux/if_ether.h`.
pub(super) const ALL: u16 = 3;
/// None: a socket that only sends.
const NONE: u16 = 0;
/// The longest frame of which all is of interest to those who hear.
pub(super) const LONGEST: u16 = 1_536;

/// Codes of a filter's instructions: numbers of `linux/bpf_common.h` and `linux/filter.h`.
pub(super) mod bpf {
    pub(in crate::host) const WORD: u16 = 0x20;
    pub(in crate::host) const HALF: u16 = 0x28;
    pub(in crate::host) const BYTE: u16 = 0x30;
    pub(in crate::host) const HALF_BEHIND: u16 = 0x48;
    pub(in crate::host) const BYTE_BEHIND: u16 = 0x50;
    pub(in crate::host) const HEADER_LENGTH: u16 = 0xb1;
    pub(in crate::host) const EQUAL: u16 = 0x15;
    pub(in crate::host) const ANY_BIT: u16 = 0x45;
    pub(in crate::host) const RETURN: u16 = 0x06;
}

/// A filter of instructions: code, how many to skip if so and if not, operand.
pub(super) fn filter<const N: usize>(instructions: [(u16, u8, u8, u32); N]) -> [SockFilter; N] {
    instructions.map(|(code, yes, no, value)| SockFilter::new(code, yes, no, value))
}

/// How much is heard of a flood.
pub(super) struct Pace {
    /// Between two looks.
    pub(super) rest: Duration,
    /// So many frames are looked at each time.
    pub(super) at_once: usize,
    /// Octets of those that come meanwhile; what has no room is lost.
    pub(super) room: usize,
}

/// What `read` finds, from now on, in frames that `filter` lets through. It ends when the device does, or
/// when nobody takes it.
pub(super) async fn hear<T: Send + 'static>(
    netns: &Netns,
    ethertype: u16,
    filter: impl AsRef<[SockFilter]> + Send + 'static,
    pace: Pace,
    read: impl Fn(&[u8]) -> Option<T> + Send + 'static,
) -> Result<mpsc::Receiver<T>, Error> {
    let socket = inside(netns, ethertype, filter).await?;
    SockRef::from(&socket).set_recv_buffer_size(pace.room).map_err(failed)?;
    let (sender, receiver) = mpsc::channel(pace.at_once);
    tokio::spawn(async move {
        tokio::select! {
            // Nobody waits for how it ended: the device is gone.
            _ = listen(&socket, &pace, read, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

async fn listen<T>(
    socket: &UdpSocket,
    pace: &Pace,
    read: impl Fn(&[u8]) -> Option<T>,
    sender: &mpsc::Sender<T>,
) -> io::Result<()> {
    let mut frame = [0; LONGEST as usize];
    loop {
        let mut length = socket.recv(&mut frame).await?;
        for _ in 0..pace.at_once {
            if let Some(heard) = read(&frame[..length])
                && sender.send(heard).await.is_err()
            {
                return Ok(());
            }
            match socket.try_recv(&mut frame) {
                Ok(more) => length = more,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        sleep(pace.rest).await;
    }
}

/// One for frames of a protocol that `filter` lets through (empty: all), at a network's device.
pub(super) async fn inside(
    netns: &Netns,
    ethertype: u16,
    filter: impl AsRef<[SockFilter]> + Send + 'static,
) -> Result<UdpSocket, Error> {
    let socket = netns.run(move || open(INNER_DEVICE, ethertype, filter.as_ref())).await?;
    socket.and_then(with_runtime).map_err(failed)
}

/// One that only sends, at a device of this namespace.
pub(super) async fn sender(netns: &Netns, device: String) -> Result<UdpSocket, Error> {
    netns.run(move || open(&device, NONE, &[])).await?.and_then(with_runtime).map_err(failed)
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
    let address = address(device)?;
    let protocol = Protocol::from(i32::from(ethertype.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
    if !filter.is_empty() {
        socket.attach_filter(filter)?;
    }
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

/// Of links by their index. `bind` looks at nothing else in them but the protocol (packet(7)), and that is 0, the
/// socket's own: each is right for whichever device has that index, in any namespace.
static ADDRESSES: Mutex<BTreeMap<usize, LinkAddr>> = Mutex::new(BTreeMap::new());
/// How many are kept.
const KEPT: usize = 1 << 14;

/// The safe way to a link-layer address is the system's list of them: of all links or of none, which takes
/// the kernel long where there are thousands.
fn address(device: &str) -> io::Result<LinkAddr> {
    let index = if_nametoindex(device).map_err(|e| match e {
        Errno::ENODEV => io::ErrorKind::NotFound.into(),
        e => io::Error::from(e),
    })?;
    let index = usize::try_from(index).map_err(io::Error::other)?;
    // Whoever waits here mostly finds its own in the list of the one before.
    let mut known = ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(address) = known.get(&index) {
        return Ok(*address);
    }
    if known.len() > KEPT {
        known.clear();
    }
    let all = getifaddrs()?.filter_map(|link| link.address?.as_link_addr().copied());
    known.extend(all.map(|address| (address.ifindex(), address)));
    known.get(&index).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
}
