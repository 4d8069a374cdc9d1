//! The expressions that rules of nftables are made of.
//!
//! Called by `rules`, `guests`, `switch` and `feed`. Their numbers are those of `linux/netfilter/nf_tables.h`.

use super::attribute::{Attribute, number, text};
use super::table::{ELEMENT, VALUE};
use crate::node::INNER_DEVICE;

/// `NFT_REG_1`, and `NFT_REG32_02`: a MAC address in the first takes two registers.
pub(super) const REGISTER: u32 = 1;
pub(super) const AFTER_MAC: u32 = 10;
/// `NFT_CMP_EQ`, `NFT_CMP_LTE`, `NFT_CMP_GT`, `NFT_CMP_GTE`.
pub(super) const EQUAL: u32 = 0;
pub(super) const AT_MOST: u32 = 3;
pub(super) const AT_LEAST: u32 = 5;
pub(super) const GREATER: u32 = 4;
/// `NFT_META_…`.
const DEVICE: u32 = 6;
const OUT_DEVICE: u32 = 7;
const DEVICE_TYPE: u32 = 8;
const PROTOCOL: u32 = 16;
/// `NFT_PAYLOAD_…`.
const LINK: u32 = 0;
pub(super) const NETWORK: u32 = 1;
pub(super) const TRANSPORT: u32 = 2;
/// `NF_DROP`, `NF_ACCEPT` of linux/netfilter.h.
pub(super) const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;

pub(super) const ICMPV6: u8 = 58;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// `iifname "dhcp0"`
pub(super) fn from_device() -> Vec<Attribute> {
    vec![meta(DEVICE), compare(EQUAL, device())]
}

/// `oifname "dhcp0"`
pub(super) fn to_device() -> Vec<Attribute> {
    vec![meta(OUT_DEVICE), compare(EQUAL, device())]
}

fn device() -> Vec<u8> {
    let mut device = INNER_DEVICE.as_bytes().to_vec();
    device.resize(16, 0);
    device
}

/// `meta l4proto …`
pub(super) fn of_protocol(protocol: u8) -> Vec<Attribute> {
    vec![meta(PROTOCOL), compare(EQUAL, vec![protocol])]
}

/// `ether saddr`, loaded. What has no Ethernet header passes by.
pub(super) fn ethernet_source() -> Vec<Attribute> {
    const ETHERNET: u16 = 1;
    vec![meta(DEVICE_TYPE), compare(EQUAL, ETHERNET.to_ne_bytes().to_vec()), load(LINK, 6, 6)]
}

/// What was loaded is in the set.
pub(super) fn is_in(set: &str) -> Attribute {
    expression("lookup", looked_up(set))
}

/// What was loaded is not in the set.
pub(super) fn is_not_in(set: &str) -> Attribute {
    const INVERTED: u32 = 1;
    expression("lookup", [looked_up(set), vec![number(5, INVERTED)]].concat())
}

/// What was loaded becomes what it leads to; who leads to nothing passes by.
pub(super) fn follow(map: &str) -> Attribute {
    expression("lookup", [looked_up(map), vec![number(3, REGISTER)]].concat())
}

/// Loads these bytes.
pub(super) fn bytes(bytes: &[u8]) -> Attribute {
    let data = Attribute::Nest(2, vec![Attribute::Plain(VALUE, bytes.to_vec())]);
    expression("immediate", vec![number(1, REGISTER), data])
}

/// Sends the packet out by the device whose index was loaded, and no further here.
pub(super) fn forward() -> Attribute {
    expression("fwd", vec![number(1, REGISTER)])
}

/// Sends a copy of it out by that device.
pub(super) fn duplicate() -> Attribute {
    expression("dup", vec![number(2, REGISTER)])
}

/// Writes what was loaded over `length` bytes at `offset` in the header `base`, whose Internet checksum at
/// `checksum` is mended.
pub(super) fn write(base: u32, offset: u32, length: u32, checksum: Option<u32>) -> Attribute {
    const INTERNET: u32 = 1;
    let place = [number(5, REGISTER), number(2, base), number(3, offset), number(4, length)];
    let mended = checksum.into_iter().flat_map(|at| [number(6, INTERNET), number(7, at)]);
    expression("payload", place.into_iter().chain(mended).collect())
}

fn looked_up(set: &str) -> Vec<Attribute> {
    vec![text(1, set), number(2, REGISTER)]
}

fn meta(key: u32) -> Attribute {
    expression("meta", vec![number(2, key), number(1, REGISTER)])
}

/// What was loaded compares to `value`.
pub(super) fn compare(operator: u32, value: Vec<u8>) -> Attribute {
    let data = Attribute::Nest(3, vec![Attribute::Plain(VALUE, value)]);
    expression("cmp", vec![number(1, REGISTER), number(2, operator), data])
}

/// `length` bytes of the packet, from `offset` in the header `base`.
pub(super) fn load(base: u32, offset: u32, length: u32) -> Attribute {
    load_into(REGISTER, base, offset, length)
}

pub(super) fn load_into(register: u32, base: u32, offset: u32, length: u32) -> Attribute {
    expression("payload", vec![number(1, register), number(2, base), number(3, offset), number(4, length)])
}

pub(super) fn verdict(verdict: u32) -> Attribute {
    let data = Attribute::Nest(2, vec![Attribute::Nest(2, vec![number(1, verdict)])]);
    expression("immediate", vec![number(1, 0), data])
}

pub(super) fn expression(name: &str, data: Vec<Attribute>) -> Attribute {
    Attribute::Nest(ELEMENT, vec![text(1, name), Attribute::Nest(2, data)])
}
