//! IPv6 in frames built and taken apart by hand: UDP datagrams, and ICMP for neighbours.

use std::net::Ipv6Addr;

use super::Mac;
use super::wire::{ethernet, mac_at, ones_sum, u16_at};

const IPV6: [u8; 2] = [0x86, 0xdd];
const UDP: u8 = 17;
const ICMP: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// All servers and relays of DHCPv6.
pub const ALL_DHCP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

impl Mac {
    /// The link-local address that a host makes of it (RFC 4291: EUI-64).
    pub fn link_local(self) -> Ipv6Addr {
        let [first, b, c, vendor @ ..] = self.0;
        let host = [&[first ^ 2, b, c, 0xff, 0xfe], &vendor[..]].concat();
        let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        octets[8..].copy_from_slice(&host);
        octets.into()
    }

    /// Where frames to a multicast address go.
    fn of_group(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

/// An IPv6 packet in its frame, without extension headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet6 {
    pub from_mac: Mac,
    pub to_mac: Mac,
    pub from: Ipv6Addr,
    pub to: Ipv6Addr,
    pub hop_limit: u8,
    pub body: Body,
}

/// What it carries. Checksums are written, and not looked at: those of a veth may not be there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Udp {
        from: u16,
        to: u16,
        payload: Vec<u8>,
    },
    /// Type, code and the rest behind the checksum.
    Icmp {
        kind: u8,
        rest: Vec<u8>,
    },
}

impl Packet6 {
    /// To a multicast address.
    pub fn to_group(from_mac: Mac, from: Ipv6Addr, group: Ipv6Addr, body: Body) -> Self {
        Self { from_mac, to_mac: Mac::of_group(group), from, to: group, hop_limit: 255, body }
    }

    /// The frame as it goes onto the wire, checksums right.
    pub fn frame(&self) -> Vec<u8> {
        let (next, sum_at, mut segment) = self.body.segment();
        let length = u16::try_from(segment.len()).unwrap();
        let pseudo = [&self.from.octets()[..], &self.to.octets(), &[0, 0, 0, next]].concat();
        let sum = !ones_sum(u32::from(length) + u32::from(ones_sum(0, &pseudo)), &segment);
        // For UDP zero means "none".
        let sum = if sum == 0 && next == UDP { 0xffff } else { sum };
        segment[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());

        let mut frame = ethernet(self.to_mac, self.from_mac, IPV6);
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([next, self.hop_limit]);
        frame.extend(self.from.octets());
        frame.extend(self.to.octets());
        frame.extend(segment);
        frame
    }

    /// Takes a frame apart; `None` unless it holds UDP or ICMP at once behind the header.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (to_mac, from_mac) = (mac_at(frame, 0)?, mac_at(frame, 6)?);
        if frame.get(12..14)? != IPV6 {
            return None;
        }
        let ip = frame.get(14..)?;
        let segment = ip.get(40..40 + usize::from(u16_at(ip, 4)?))?;
        let body = match *ip.get(6)? {
            UDP => Body::Udp {
                from: u16_at(segment, 0)?,
                to: u16_at(segment, 2)?,
                payload: segment.get(8..)?.to_vec(),
            },
            ICMP => Body::Icmp { kind: *segment.first()?, rest: segment.get(4..)?.to_vec() },
            _ => return None,
        };
        let (from, to) = (ip6_at(ip, 8)?, ip6_at(ip, 24)?);
        Some(Self { from_mac, to_mac, from, to, hop_limit: *ip.get(7)?, body })
    }

    /// Whether this frame's own checksum is right; `None` for what [`Self::parse`] cannot read.
    pub fn checksum_is_right(frame: &[u8]) -> Option<bool> {
        let packet = Self::parse(frame)?;
        let at = 54 + packet.body.segment().1;
        Some(packet.frame().get(at..at + 2) == frame.get(at..at + 2))
    }

    /// An answer "`target` is at `mac`" if this asks for one of these addresses.
    pub fn neighbour_answer(&self, mac: Mac, is_mine: impl Fn(Ipv6Addr) -> bool) -> Option<Self> {
        let Body::Icmp { kind: SOLICITATION, rest } = &self.body else { return None };
        let target = ip6_at(rest, 4).filter(|target| is_mine(*target))?;
        // Solicited, override, and the address of the link layer as an option.
        let rest = [&[0x60, 0, 0, 0], &target.octets()[..], &[2, 1], &mac.0].concat();
        let body = Body::Icmp { kind: ADVERTISEMENT, rest };
        Some(Self { from_mac: mac, to_mac: self.from_mac, from: target, to: self.from, hop_limit: 255, body })
    }
}

impl Body {
    /// The next header's number, where its checksum belongs, and its bytes with that zero.
    fn segment(&self) -> (u8, usize, Vec<u8>) {
        match self {
            Self::Udp { from, to, payload } => {
                let length = u16::try_from(8 + payload.len()).unwrap();
                let header = [*from, *to, length, 0].map(u16::to_be_bytes).concat();
                (UDP, 6, [header, payload.clone()].concat())
            }
            Self::Icmp { kind, rest } => (ICMP, 2, [&[*kind, 0, 0, 0], &rest[..]].concat()),
        }
    }
}

pub(super) fn ip6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
