//! What DHCP and IPv6 packets are made of, read and written.
//!
//! Called by `foreign` and by those of `host` that ask, hear or release in a guest's place. Pure; believes
//! nothing of what it reads. What only one of them needs is not here.

use std::net::Ipv6Addr;

pub mod dhcpv4;
pub mod dhcpv6;

/// Octets of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Octets of an IPv6 header.
pub const IPV6: usize = 40;
/// Octets of a UDP header.
pub const UDP: usize = 8;

/// `ETH_P_IP` of `linux/if_ether.h`.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `ETH_P_IPV6`.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// `IPPROTO_UDP` of `linux/in.h`.
pub const PROTOCOL_UDP: u8 = 17;
/// `IPPROTO_ICMPV6`.
pub const PROTOCOL_ICMPV6: u8 = 58;

/// The Internet checksum (RFC 1071) of the parts one after the other; a last odd octet of a part counts as
/// the first of two.
pub fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let words = parts.into_iter().flat_map(|part| part.chunks(2));
    let word = |octets: &[u8]| u32::from(octets[0]) << 8 | octets.get(1).copied().map_or(0, u32::from);
    let sum: u32 = words.map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}

/// That of what an IPv6 packet carries, with the pseudo-header (RFC 8200 §8.1); zeros where it will be.
pub fn ipv6_checksum(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, payload: &[u8]) -> u16 {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    checksum([&from.octets()[..], &to.octets(), &length, &[0, 0, 0, protocol], payload])
}

/// A packet without extension headers (RFC 8200 §3).
pub fn ipv6_packet(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let header = [0x60, 0, 0, 0, high, low, protocol, hop_limit];
    [&header[..], &from.octets(), &to.octets(), payload].concat()
}
