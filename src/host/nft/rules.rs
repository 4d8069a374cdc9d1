//! What is not for a network's DHCPv6 server to hear, as rules of nftables.
//!
//! Called by `known`, and in parts by `guests`. Each router solicitation costs dnsmasq 2.90 an answer, whoever
//! sends it. It answers a stranger's CONFIRM, RENEW and REBIND, and is deaf to all while
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
/// `@th,64,8 > 11 drop`. And `iifname "dhcp0" icmpv6 type nd-router-solicit ether saddr != @known drop`.
/// What the namespace says to itself comes from `lo`, or without an Ethernet header.
pub(super) fn wanted_rules() -> [Vec<Attribute>; 4] {
    let kind = |operator, kind: u8| vec![load(TRANSPORT, 8, 1), compare(operator, vec![kind])];
    [
        [to_server(), of_stranger()],
        [to_server(), kind(EQUAL, REBIND)],
        [to_server(), kind(GREATER, INFORMATION_REQUEST)],
        [solicitation(), of_stranger()],
    ]
    .map(|which| [which.concat(), vec![drop_it()]].concat())
}

fn of_stranger() -> Vec<Attribute> {
    const ETHERNET: u16 = 1;
    vec![
        meta(DEVICE_TYPE),
        compare(EQUAL, ETHERNET.to_ne_bytes().to_vec()),
        load(LINK, 6, 6),
        // Not in the set: `NFT_LOOKUP_F_INV`.
        expression("lookup", vec![text(1, SET), number(2, REGISTER), number(5, 1)]),
    ]
}

fn to_server() -> Vec<Attribute> {
    const UDP: u8 = 17;
    const SERVER_PORT: u16 = 547;
    let port = [load(TRANSPORT, 2, 2), compare(EQUAL, SERVER_PORT.to_be_bytes().to_vec())];
    from_outside(UDP).into_iter().chain(port).collect()
}

/// RFC 4861 §4.1.
fn solicitation() -> Vec<Attribute> {
    const ICMPV6: u8 = 58;
    const ROUTER_SOLICITATION: u8 = 133;
    let kind = [load(TRANSPORT, 0, 1), compare(EQUAL, vec![ROUTER_SOLICITATION])];
    from_outside(ICMPV6).into_iter().chain(kind).collect()
}

fn from_outside(protocol: u8) -> Vec<Attribute> {
    let protocol = [meta(PROTOCOL), compare(EQUAL, vec![protocol])];
    from_device().into_iter().chain(protocol).collect()
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
