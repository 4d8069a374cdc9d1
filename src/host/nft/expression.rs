//! The expressions that rules of nftables are made of.
//!
//! Called by `rules` and `guests`. Their numbers are those of `linux/netfilter/nf_tables.h`.

use super::attribute::{Attribute, number, text};
use super::table::{ELEMENT, VALUE};
use crate::node::INNER_DEVICE;

/// `NFT_REG_1`, and `NFT_REG32_02`: a MAC address in the first takes two registers.
pub(super) const REGISTER: u32 = 1;
pub(super) const AFTER_MAC: u32 = 10;
/// `NFT_CMP_EQ`, `NFT_CMP_GT`.
pub(super) const EQUAL: u32 = 0;
pub(super) const GREATER: u32 = 4;
/// `NFT_META_…`.
const DEVICE: u32 = 6;
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

/// `iifname "dhcp0"`
pub(super) fn from_device() -> Vec<Attribute> {
    let mut device = INNER_DEVICE.as_bytes().to_vec();
    device.resize(16, 0);
    vec![meta(DEVICE), compare(EQUAL, device)]
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
