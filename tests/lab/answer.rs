//! A DHCPv4 message as it came off the wire, taken apart.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcproto::Decodable;
use dhcproto::v4::Message;

use super::{Datagram, Mac, MessageType};

const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// A DHCP message as it came off the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    /// Every option's bytes, repeated and overloaded ones joined, in no particular type.
    pub options: BTreeMap<u8, Vec<u8>>,
    pub from_mac: Mac,
    pub from: Ipv4Addr,
    pub to_mac: Mac,
    pub to: Ipv4Addr,
    pub checksum_ok: bool,
}

impl Answer {
    pub(super) fn parse(datagram: &Datagram) -> Option<Self> {
        let bytes = datagram.payload.clone();
        if bytes.get(236..240)? != MAGIC {
            return None;
        }
        Some(Self {
            options: all_options(&bytes),
            bytes,
            from_mac: datagram.from_mac,
            from: datagram.from.0,
            to_mac: datagram.to_mac,
            to: datagram.to.0,
            checksum_ok: datagram.checksum_ok,
        })
    }

    /// The whole message, typed.
    pub fn message(&self) -> Message {
        Message::from_bytes(&self.bytes).unwrap()
    }

    pub fn kind(&self) -> MessageType {
        MessageType::from(self.options.get(&53).map_or(0, |value| value[0]))
    }

    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(Vec::as_slice)
    }

    /// The addresses in an option that holds a list of them.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let chunks = self.option(code).unwrap_or_default().chunks_exact(4);
        chunks.map(|c| Ipv4Addr::new(c[0], c[1], c[2], c[3])).collect()
    }

    pub fn text(&self, code: u8) -> Option<String> {
        self.option(code).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// A lease time, T1, T2 …
    pub fn seconds(&self, code: u8) -> Option<u32> {
        self.option(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn yiaddr(&self) -> Ipv4Addr {
        self.address_at(16)
    }

    pub fn siaddr(&self) -> Ipv4Addr {
        self.address_at(20)
    }

    pub fn server(&self) -> Ipv4Addr {
        *self.addresses(54).first().expect("no server identifier")
    }

    /// What a NAK says, and where.
    pub fn reason(&self) -> String {
        self.text(56).unwrap_or_default()
    }

    pub fn ciaddr(&self) -> Ipv4Addr {
        self.address_at(12)
    }

    /// Whose message it is, or whom it answers.
    pub fn client(&self) -> Mac {
        Mac(self.bytes[28..34].try_into().unwrap())
    }

    pub fn xid(&self) -> u32 {
        u32::from_be_bytes(self.bytes[4..8].try_into().unwrap())
    }

    fn address_at(&self, at: usize) -> Ipv4Addr {
        let octets: [u8; 4] = self.bytes[at..at + 4].try_into().unwrap();
        octets.into()
    }
}

/// The options of a message, those in `file` and `sname` too if option 52 says so.
fn all_options(bytes: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut found = BTreeMap::new();
    collect_options(&bytes[240..], &mut found);
    let overload = found.get(&52).map_or(0, |value| value[0]);
    if overload & 1 != 0 {
        collect_options(&bytes[108..236], &mut found);
    }
    if overload & 2 != 0 {
        collect_options(&bytes[44..108], &mut found);
    }
    found
}

fn collect_options(mut bytes: &[u8], found: &mut BTreeMap<u8, Vec<u8>>) {
    while let [code, rest @ ..] = bytes {
        bytes = match (code, rest) {
            (0, _) => rest,
            (255, _) | (_, []) => return,
            (_, [length, rest @ ..]) => {
                let (value, rest) = rest.split_at(usize::from(*length).min(rest.len()));
                found.entry(*code).or_default().extend_from_slice(value);
                rest
            }
        };
    }
}
