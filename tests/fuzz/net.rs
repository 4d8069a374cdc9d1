//! Addresses and prefixes, in arithmetic of our own.

use std::net::IpAddr;

/// A prefix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Net {
    pub ip: IpAddr,
    pub length: u32,
}

impl Net {
    /// The prefix that this text is in.
    pub fn new(cidr: &str) -> Self {
        let (ip, length) = cidr.split_once('/').unwrap();
        let (ip, length): (IpAddr, u32) = (ip.parse().unwrap(), length.parse().unwrap());
        let host = width(ip) - length;
        let bits = bits(ip).checked_shr(host).unwrap_or(0).checked_shl(host).unwrap_or(0);
        Self { ip: with_bits(ip, bits), length }
    }

    pub fn is_ipv6(self) -> bool {
        self.ip.is_ipv6()
    }

    pub fn contains(self, ip: IpAddr) -> bool {
        let differing = bits(self.ip) ^ bits(ip);
        let host = width(ip) - self.length.min(width(ip));
        self.is_ipv6() == ip.is_ipv6() && differing.checked_shr(host).unwrap_or(0) == 0
    }

    /// Of IPv4: the network's address, or that of all.
    pub fn is_reserved(self, ip: IpAddr) -> bool {
        let host = width(ip) - self.length;
        let part = bits(ip) & ((1_u128 << host) - 1);
        host > 1 && (part == 0 || part == (1_u128 << host) - 1)
    }

    /// The first address that may be a router's.
    pub fn first(self) -> IpAddr {
        let reserved = self.length + 1 < width(self.ip);
        with_bits(self.ip, bits(self.ip) + u128::from(reserved))
    }

    /// As dnsmasq's ranges have it.
    pub fn size(self) -> String {
        if self.is_ipv6() {
            return self.length.to_string();
        }
        let mask = u32::MAX.checked_shl(32 - self.length).unwrap_or(0);
        std::net::Ipv4Addr::from(mask).to_string()
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ip, self.length)
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv6() { 128 } else { 32 }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits).unwrap().into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

/// The bytes of an address on the wire.
pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
