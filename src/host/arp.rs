//! Asking a segment who has an address (RFC 5227 §2.1.1: a probe, with no address of our own).
//!
//! Called by `linux`, from inside a network's namespace. The kernel is not asked: it answers for itself,
//! and would first have to have an address there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Error;
use super::netns::Netns;
use crate::node::INNER_DEVICE;
use crate::types::MacAddr;

/// A question may be lost, and who is busy answers late.
const TRIES: u32 = 3;
/// How long an answer may take; all of them take less than the controller's patience by far.
const PATIENCE: Duration = Duration::from_millis(150);

const ETHERTYPE_ARP: u16 = 0x0806;
/// Of Ethernet header and ARP packet together.
const LENGTH: usize = 42;
/// Ethernet, IPv4, the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Who answers at each of `addresses` but we, whose address is `own`.
pub(super) async fn who_has(
    netns: &Netns,
    own: MacAddr,
    addresses: &BTreeSet<Ipv4Addr>,
) -> Result<BTreeMap<Ipv4Addr, MacAddr>, Error> {
    let failed = |e| Error::Open("a packet socket", e);
    let socket = netns.run(open).await?.map_err(failed)?;
    // tokio's type for sockets with datagrams; of whatever family these are.
    let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
    let mut found = BTreeMap::new();
    for _ in 0..TRIES {
        for ip in addresses.iter().filter(|ip| !found.contains_key(*ip)) {
            socket.send(&question(own, *ip)).await.map_err(failed)?;
        }
        match timeout(PATIENCE, listen(&socket, own, addresses, &mut found)).await {
            Ok(Ok(())) => break,
            Ok(Err(e)) => return Err(failed(e)),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn open() -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(ETHERTYPE_ARP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
    // The safe way to a link-layer address: the system's own list has them ready-made.
    let mut links = getifaddrs()?.filter(|link| link.interface_name == INNER_DEVICE);
    let link = links.find_map(|link| link.address?.as_link_addr().copied());
    nix::sys::socket::bind(socket.as_raw_fd(), &link.ok_or(io::ErrorKind::NotFound)?)?;
    Ok(socket)
}

/// Until all are found.
async fn listen(
    socket: &UdpSocket,
    own: MacAddr,
    addresses: &BTreeSet<Ipv4Addr>,
    found: &mut BTreeMap<Ipv4Addr, MacAddr>,
) -> io::Result<()> {
    let mut frame = [0; 128];
    while found.len() < addresses.len() {
        let length = socket.recv(&mut frame).await?;
        if let Some((ip, mac)) = sender(&frame[..length])
            && addresses.contains(&ip)
            && mac != own
        {
            found.insert(ip, mac);
        }
    }
    Ok(())
}

/// The frame that asks everybody.
fn question(own: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    const REQUEST: [u8; 2] = [0, 1];
    let mut frame = Vec::with_capacity(LENGTH);
    frame.extend([0xff; 6]);
    frame.extend(own.octets());
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    frame.extend(KIND);
    frame.extend(REQUEST);
    frame.extend(own.octets());
    frame.extend([0; 4 + 6]);
    frame.extend(ip.octets());
    frame
}

/// Who sent an ARP packet, and the address that it calls its own.
fn sender(frame: &[u8]) -> Option<(Ipv4Addr, MacAddr)> {
    let kind = frame.get(12..14)? == ETHERTYPE_ARP.to_be_bytes() && frame.get(14..20)? == KIND;
    let mac: [u8; 6] = frame.get(22..28)?.try_into().ok()?;
    let ip: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    Some((ip.into(), MacAddr::new(mac)?)).filter(|_| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_claims_no_address() {
        let own = MacAddr::local([1, 2, 3, 4, 5]);
        let frame = question(own, [10, 0, 0, 2].into());
        assert_eq!((frame.len(), &frame[38..]), (LENGTH, &[10, 0, 0, 2][..]));
        assert_eq!(sender(&frame), Some((Ipv4Addr::UNSPECIFIED, own)));
    }

    #[test]
    fn what_is_no_arp_packet_names_nobody() {
        let mut frame = question(MacAddr::local([1; 5]), [10, 0, 0, 2].into());
        assert_eq!(sender(&frame[..31]), None);
        frame[12] = 0x86;
        assert_eq!(sender(&frame), None);
    }
}
