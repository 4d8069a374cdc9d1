//! A DHCPv6 message as it came off the wire, taken apart.

use std::net::Ipv6Addr;

use dhcproto::Decodable;
use dhcproto::v6::Message;

use super::wire::u16_at;
use super::wire6::{ip6_at, u32_at};
use super::{Body, Kind6, Mac, Packet6};

/// Status codes (RFC 8415, 21.13).
pub mod status {
    pub const SUCCESS: u16 = 0;
    pub const NO_ADDRS_AVAIL: u16 = 2;
    pub const NO_BINDING: u16 = 3;
    pub const NOT_ON_LINK: u16 = 4;
}

/// A DHCPv6 message as it came off the wire.
#[derive(Clone, Debug)]
pub struct Answer6 {
    bytes: Vec<u8>,
    /// Every option's bytes, in the order of the message, in no particular type.
    pub options: Vec<(u16, Vec<u8>)>,
    pub from_mac: Mac,
    pub from: Ipv6Addr,
    pub to_mac: Mac,
    pub to: Ipv6Addr,
}

/// An identity association in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub iaid: u32,
    pub t1: u32,
    pub t2: u32,
    pub addresses: Vec<Lifetimes>,
    pub status: Option<u16>,
}

/// An address and how long, in seconds, it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    pub address: Ipv6Addr,
    pub preferred: u32,
    pub valid: u32,
}

impl Answer6 {
    pub(super) fn parse(packet: &Packet6) -> Option<Self> {
        let Body::Udp { payload, .. } = &packet.body else { return None };
        Some(Self {
            options: options_in(payload.get(4..)?),
            bytes: payload.clone(),
            from_mac: packet.from_mac,
            from: packet.from,
            to_mac: packet.to_mac,
            to: packet.to,
        })
    }

    /// The whole message, typed.
    pub fn message(&self) -> Message {
        Message::from_bytes(&self.bytes).unwrap()
    }

    pub fn kind(&self) -> Kind6 {
        Kind6::from(self.bytes[0])
    }

    pub fn xid(&self) -> u32 {
        u32_at(&self.bytes, 0).unwrap() & 0x00ff_ffff
    }

    pub fn option(&self, code: u16) -> Option<&[u8]> {
        find(&self.options, code)
    }

    /// The addresses in an option that holds a list of them.
    pub fn list(&self, code: u16) -> Vec<Ipv6Addr> {
        let chunks = self.option(code).unwrap_or_default().chunks_exact(16);
        chunks.map(|chunk| ip6_at(chunk, 0).unwrap()).collect()
    }

    pub fn client(&self) -> Option<&[u8]> {
        self.option(1)
    }

    pub fn server(&self) -> Vec<u8> {
        self.option(2).expect("no server identifier").to_vec()
    }

    /// The status of the whole message; what none says counts as success.
    pub fn status(&self) -> Option<u16> {
        u16_at(self.option(13)?, 0)
    }

    /// The identity associations for ordinary addresses.
    pub fn given(&self) -> Vec<Given> {
        let associations = self.options.iter().filter(|(code, _)| *code == 3);
        associations.map(|(_, bytes)| given(bytes).expect("an IA that is too short")).collect()
    }

    /// All addresses in it, also those that shall no longer be used.
    pub fn addresses(&self) -> Vec<Ipv6Addr> {
        self.lifetimes().iter().map(|given| given.address).collect()
    }

    pub fn lifetimes(&self) -> Vec<Lifetimes> {
        self.given().into_iter().flat_map(|given| given.addresses).collect()
    }

    /// The status in the first identity association.
    pub fn ia_status(&self) -> Option<u16> {
        self.given().first()?.status
    }
}

fn given(bytes: &[u8]) -> Option<Given> {
    let options = options_in(bytes.get(12..)?);
    let addresses = options.iter().filter(|(code, _)| *code == 5);
    let lifetimes = |bytes: &[u8]| {
        Some(Lifetimes {
            address: ip6_at(bytes, 0)?,
            preferred: u32_at(bytes, 16)?,
            valid: u32_at(bytes, 20)?,
        })
    };
    Some(Given {
        iaid: u32_at(bytes, 0)?,
        t1: u32_at(bytes, 4)?,
        t2: u32_at(bytes, 8)?,
        addresses: addresses.filter_map(|(_, bytes)| lifetimes(bytes)).collect(),
        status: find(&options, 13).and_then(|bytes| u16_at(bytes, 0)),
    })
}

fn find(options: &[(u16, Vec<u8>)], code: u16) -> Option<&[u8]> {
    options.iter().find(|(c, _)| *c == code).map(|(_, bytes)| &**bytes)
}

fn options_in(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let (Some(code), Some(length)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let end = (4 + usize::from(length)).min(bytes.len());
        found.push((code, bytes[4..end].to_vec()));
        bytes = &bytes[end..];
    }
    found
}
