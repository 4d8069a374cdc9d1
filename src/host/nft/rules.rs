//! What is not for a network's DHCPv6 server to hear, as rules of nftables.
//!
//! Called by `known`, and in parts by `guests`. dnsmasq 2.90 answers a stranger's CONFIRM, RENEW and REBIND, and is deaf to all while
//! it waits for a stranger's neighbour entry; it gives whoever sends REBIND any address of the subnet; and
//! in a relayed message it believes the client's MAC address that the message tells.

use super::attribute::{Attribute, number, text};
use super::known::{ELEMENT, SET, VALUE};
use crate::node::INNER_DEVICE;

pub(super) const REGISTER: u32 = 1;
/// `NFT_CMP_EQ`, `NFT_CMP_GT`.
pub(super) const EQUAL: u32 = 0;
const GREATER: u32 = 4;
/// `NFT_META_…`.
const DEVICE: u32 = 6;
pub(super) const PROTOCOL: u32 = 16;
pub(super) const DEVICE_TYPE: u32 = 8;
/// `NFT_PAYLOAD_…`.
pub(super) const LINK: u32 = 0;
pub(super) const TRANSPORT: u32 = 2;

/// RFC 8415 §7.3.
const REBIND: u8 = 6;
const INFORMATION_REQUEST: u8 = 11;

/// `iifname "dhcp0" udp dport 547`, and then `ether saddr != @known drop`; `@th,64,8 6 drop`;
/// `@th,64,8 > 11 drop`. What the namespace says to itself comes from `lo`, or without an Ethernet header.
pub(super) fn wanted_rules() -> [Vec<Attribute>; 3] {
    const ETHERNET: u16 = 1;
    let stranger = vec![
        meta(DEVICE_TYPE),
        compare(EQUAL, ETHERNET.to_ne_bytes().to_vec()),
        load(LINK, 6, 6),
        // Not in the set: `NFT_LOOKUP_F_INV`.
        expression("lookup", vec![text(1, SET), number(2, REGISTER), number(5, 1)]),
    ];
    let kind = |operator, kind: u8| vec![load(TRANSPORT, 8, 1), compare(operator, vec![kind])];
    [stranger, kind(EQUAL, REBIND), kind(GREATER, INFORMATION_REQUEST)]
        .map(|which| [to_server(), which, vec![drop_it()]].concat())
}

fn to_server() -> Vec<Attribute> {
    const UDP: u8 = 17;
    const SERVER_PORT: u16 = 547;
    let mut rule = from_device();
    rule.extend([
        meta(PROTOCOL),
        compare(EQUAL, vec![UDP]),
        load(TRANSPORT, 2, 2),
        compare(EQUAL, SERVER_PORT.to_be_bytes().to_vec()),
    ]);
    rule
}

/// `iifname "dhcp0"`
pub(super) fn from_device() -> Vec<Attribute> {
    let mut device = INNER_DEVICE.as_bytes().to_vec();
    device.resize(16, 0);
    vec![meta(DEVICE), compare(EQUAL, device)]
}

pub(super) fn meta(key: u32) -> Attribute {
    expression("meta", vec![number(2, key), number(1, REGISTER)])
}

pub(super) fn compare(operator: u32, value: Vec<u8>) -> Attribute {
    let data = Attribute::Nest(3, vec![Attribute::Plain(VALUE, value)]);
    expression("cmp", vec![number(1, REGISTER), number(2, operator), data])
}

pub(super) fn load(base: u32, offset: u32, length: u32) -> Attribute {
    let place = vec![number(1, REGISTER), number(2, base), number(3, offset), number(4, length)];
    expression("payload", place)
}

fn drop_it() -> Attribute {
    const DROP: u32 = 0;
    let verdict = Attribute::Nest(2, vec![Attribute::Nest(2, vec![number(1, DROP)])]);
    expression("immediate", vec![number(1, 0), verdict])
}

pub(super) fn expression(name: &str, data: Vec<Attribute>) -> Attribute {
    Attribute::Nest(ELEMENT, vec![text(1, name), Attribute::Nest(2, data)])
}
