//! Frames on a raw packet socket: Ethernet, ARP, IPv4 and UDP built and taken apart by hand.

use std::fmt;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::bind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::Lab;

const ETH_P_ALL: u16 = 0x0003;
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const UDP: u8 = 17;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The `n`-th address of a test: 02:00:00 and the number.
    pub fn nth(n: u32) -> Self {
        let [_, a, b, c] = n.to_be_bytes();
        Self([2, 0, 0, a, b, c])
    }
}

/// With colons.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 UDP datagram in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub from_mac: Mac,
    pub to_mac: Mac,
    pub from: (Ipv4Addr, u16),
    pub to: (Ipv4Addr, u16),
    pub payload: Vec<u8>,
    /// Whether the UDP checksum is right. A wrong one is what dhclient and others throw away.
    pub checksum_ok: bool,
}

impl Datagram {
    /// The frame as it goes onto the wire, checksums right.
    pub fn frame(&self) -> Vec<u8> {
        let udp_len = u16::try_from(8 + self.payload.len()).unwrap();
        let mut udp = Vec::with_capacity(udp_len.into());
        udp.extend(self.from.1.to_be_bytes());
        udp.extend(self.to.1.to_be_bytes());
        udp.extend(udp_len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(&self.payload);
        let sum = udp_checksum(self.from.0, self.to.0, &udp);
        udp[6..8].copy_from_slice(&sum.to_be_bytes());

        let mut frame = ethernet(self.to_mac, self.from_mac, IPV4);
        frame.extend(ip_header(self.from.0, self.to.0, 20 + udp_len));
        frame.extend(udp);
        frame
    }

    /// Takes a frame apart; `None` unless it is a whole IPv4 UDP datagram.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (to_mac, from_mac) = (mac_at(frame, 0)?, mac_at(frame, 6)?);
        if frame.get(12..14)? != IPV4 {
            return None;
        }
        let ip = frame.get(14..)?;
        let header = usize::from(ip.first()? & 0x0f) * 4;
        let whole = usize::from(u16_at(ip, 2)?);
        if *ip.get(9)? != UDP {
            return None;
        }
        let (from, to) = (ip_at(ip, 12)?, ip_at(ip, 16)?);
        let udp = ip.get(header..whole)?;
        // Over the checksum field itself the sum must come to zero; 0 on the wire means "none".
        let checksum_ok = u16_at(udp, 6)? == 0 || udp_checksum(from, to, udp) == 0xffff;
        Some(Self {
            from_mac,
            to_mac,
            from: (from, u16_at(udp, 0)?),
            to: (to, u16_at(udp, 2)?),
            payload: udp.get(8..)?.to_vec(),
            checksum_ok,
        })
    }
}

/// A raw socket on one device.
pub struct Wire {
    socket: Socket,
}

impl Wire {
    /// Opens the device of a namespace (`None`: the lab's root namespace).
    pub fn open(lab: &Lab, netns: Option<&str>, device: &str) -> Self {
        lab.in_netns(netns, || Self::open_here(device))
    }

    fn open_here(device: &str) -> Self {
        let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        // The one safe way to a link-layer address: the system's own list has them ready-made.
        let mut interfaces = getifaddrs().unwrap().filter(|i| i.interface_name == device);
        let link = interfaces
            .find_map(|i| i.address.and_then(|a| a.as_link_addr().copied()))
            .unwrap_or_else(|| panic!("no device {device}"));
        bind(socket.as_raw_fd(), &link).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_recv_buffer_size(4 << 20).unwrap();
        // Until it was bound it took the frames of all devices.
        while (&socket).read(&mut [0; 64]).is_ok() {}
        Self { socket }
    }

    pub fn send(&self, frame: &[u8]) {
        (&self.socket).write_all(frame).unwrap();
    }

    /// The next frame, or `None` when none came before the deadline.
    pub fn receive(&self, deadline: Instant) -> Option<Vec<u8>> {
        let mut frame = vec![0; 65_536];
        loop {
            if let Ok(length) = (&self.socket).read(&mut frame) {
                frame.truncate(length);
                return Some(frame);
            }
            if !readable(&self.socket, deadline.saturating_duration_since(Instant::now())) {
                return None;
            }
        }
    }
}

/// Waits until a descriptor is readable (a pidfd: until its process has ended).
pub fn readable(fd: &impl AsFd, patience: Duration) -> bool {
    let timeout =
        Timespec { tv_sec: patience.as_secs().try_into().unwrap(), tv_nsec: patience.subsec_nanos().into() };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// An answer "`ip` is at `mac`" if the frame asks for one of these addresses.
pub fn arp_answer(frame: &[u8], mac: Mac, is_mine: impl Fn(Ipv4Addr) -> bool) -> Option<Vec<u8>> {
    let asks = frame.get(12..14)? == ARP && frame.get(20..22)? == [0, 1];
    let wanted = ip_at(frame, 38)?;
    if !asks || !is_mine(wanted) {
        return None;
    }
    let asker = mac_at(frame, 22)?;
    Some(arp(2, (mac, wanted), (asker, ip_at(frame, 28)?), asker))
}

/// A question "who has `wanted`?".
pub fn arp_question(mac: Mac, mine: Ipv4Addr, wanted: Ipv4Addr) -> Vec<u8> {
    arp(1, (mac, mine), (Mac([0; 6]), wanted), Mac::BROADCAST)
}

/// The MAC in an answer that says where `wanted` is.
pub fn arp_found(frame: &[u8], wanted: Ipv4Addr) -> Option<Mac> {
    let answers = frame.get(12..14)? == ARP && frame.get(20..22)? == [0, 2];
    (answers && ip_at(frame, 28)? == wanted).then(|| mac_at(frame, 22))?
}

fn arp(op: u8, from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr), dst: Mac) -> Vec<u8> {
    let mut frame = ethernet(dst, from.0, ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, op]);
    frame.extend(from.0.0);
    frame.extend(from.1.octets());
    frame.extend(to.0.0);
    frame.extend(to.1.octets());
    frame
}

pub(super) fn ethernet(to: Mac, from: Mac, kind: [u8; 2]) -> Vec<u8> {
    [to.0.as_slice(), &from.0, &kind].concat()
}

fn ip_header(from: Ipv4Addr, to: Ipv4Addr, length: u16) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[8] = 64;
    header[9] = UDP;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = !ones_sum(0, &header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// The checksum to write into a segment whose field is zero; `0xffff` over one that is right.
fn udp_checksum(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8]) -> u16 {
    let pseudo = u32::from(UDP) + u32::try_from(segment.len()).unwrap();
    let addresses = [from.octets(), to.octets()].concat();
    let sum = ones_sum(pseudo + u32::from(ones_sum(0, &addresses)), segment);
    // A sum that comes to zero is sent as ones: zero would mean "no checksum".
    if sum == 0xffff { 0xffff } else { !sum }
}

pub(super) fn ones_sum(start: u32, bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c.get(1).copied().unwrap_or(0)])));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

pub(super) fn mac_at(bytes: &[u8], at: usize) -> Option<Mac> {
    Some(Mac(bytes.get(at..at + 6)?.try_into().ok()?))
}

fn ip_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
