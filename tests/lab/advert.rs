//! A router advertisement (RFC 4861), taken apart.

use std::net::Ipv6Addr;

use super::wire::u16_at;
use super::wire6::{ip6_at, u32_at};
use super::{Body, Packet6};

const ADVERTISEMENT: u8 = 134;

/// What a router says of itself and its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    pub from: Ipv6Addr,
    pub to: Ipv6Addr,
    /// M: addresses come from DHCPv6.
    pub managed: bool,
    /// O: other configuration comes from DHCPv6.
    pub other: bool,
    /// How long, in seconds, it may be the default router; 0: not at all.
    pub lifetime: u16,
    pub prefixes: Vec<Prefix>,
    pub mtu: Option<u32>,
    pub dns_servers: Vec<Ipv6Addr>,
    pub search: Vec<String>,
}

/// A prefix of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub address: Ipv6Addr,
    pub length: u8,
    /// L
    pub on_link: bool,
    /// A
    pub autonomous: bool,
    pub valid: u32,
    pub preferred: u32,
}

impl Advert {
    pub(super) fn parse(packet: &Packet6) -> Option<Self> {
        let Body::Icmp { kind: ADVERTISEMENT, rest } = &packet.body else { return None };
        let flags = *rest.get(1)?;
        let mut advert = Self {
            from: packet.from,
            to: packet.to,
            managed: flags & 0x80 != 0,
            other: flags & 0x40 != 0,
            lifetime: u16_at(rest, 2)?,
            prefixes: Vec::new(),
            mtu: None,
            dns_servers: Vec::new(),
            search: Vec::new(),
        };
        let mut options = rest.get(12..)?;
        while let [kind, words, ..] = options {
            let option = options.get(..8 * usize::from(*words)).filter(|option| !option.is_empty())?;
            advert.add(*kind, option)?;
            options = &options[option.len()..];
        }
        Some(advert)
    }

    fn add(&mut self, kind: u8, option: &[u8]) -> Option<()> {
        match kind {
            3 => self.prefixes.push(Prefix {
                address: ip6_at(option, 16)?,
                length: option[2],
                on_link: option[3] & 0x80 != 0,
                autonomous: option[3] & 0x40 != 0,
                valid: u32_at(option, 4)?,
                preferred: u32_at(option, 8)?,
            }),
            5 => self.mtu = Some(u32_at(option, 4)?),
            25 => self.dns_servers.extend(option[8..].chunks_exact(16).filter_map(|c| ip6_at(c, 0))),
            31 => self.search.extend(names(&option[8..])),
            _ => {}
        }
        Some(())
    }
}

/// Names without compression, padded with zeros.
fn names(mut bytes: &[u8]) -> Vec<String> {
    let (mut names, mut labels) = (Vec::new(), Vec::new());
    while let [length, rest @ ..] = bytes {
        let (label, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        match label {
            [] if labels.is_empty() => break,
            [] => names.push(std::mem::take(&mut labels).join(".")),
            _ => labels.push(String::from_utf8_lossy(label).into_owned()),
        }
        bytes = rest;
    }
    names
}
