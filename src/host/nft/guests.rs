//! The guard before a network's metadata service: from the address of a guest only packets of that guest's
//! device come in, so that none asks in the name of another.
//!
//! Called by `metadata` on a thread in the namespace. What strangers send comes in: they are told that they
//! are strangers. In IPv6 the guard also takes from what the node says of the service's address that it
//! overrides what a guest knows (RFC 4861 §7.2.5): several servers of a network have that address, and a
//! guest stays with the first that it heard. Each change is one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::attribute::{Attribute, all_in, find, number, read, text};
use super::known::{
    self, Change, DELETE_TABLE, ELEMENT, ELEMENTS, EXPRESSIONS, GET_CHAIN, GET_ELEMENTS, GET_SET, GET_TABLE,
    KEY, NEW_CHAIN, NEW_ELEMENTS, NEW_RULE, NEW_SET, NEW_TABLE, TABLE_FLAGS, VALUE, is,
};
use super::rules::{
    DEVICE_TYPE, EQUAL, LINK, PROTOCOL, REGISTER, TRANSPORT, compare, expression, from_device, load, meta,
};
use super::{about, attributes};
use crate::host::Error;
use crate::host::netlink::{ACK, DUMP, Exchange};
use crate::metadata;
use crate::node::Family;
use crate::types::MacAddr;

const TABLE: &str = "kube-dhcp-metadata";
const INPUT: &str = "input";
const OUTPUT: &str = "output";
/// Device and address.
const PAIRS: &str = "guests";
const ADDRESSES: &str = "addresses";

/// `NF_INET_LOCAL_IN`, `NF_INET_LOCAL_OUT` of linux/netfilter.h.
const LOCAL_IN: u32 = 1;
const LOCAL_OUT: u32 = 3;
/// `NFT_REG32_02`: the MAC address before it takes two registers.
const AFTER_MAC: u32 = 10;
/// `NF_DROP`, `NF_ACCEPT`.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER`.
const NETWORK: u32 = 1;
/// In one message: their list is an attribute, of at most 64 KiB.
const CHUNK: usize = 1_000;

type Guests = BTreeMap<IpAddr, MacAddr>;

/// Whose packets are let in; `None`: there is no guard, or not all of it.
pub(in crate::host) fn look(family: Family) -> Result<Option<Guests>, Error> {
    match read_table(family) {
        Err(e) if known::is_nothing(&e) => Ok(None),
        guests => guests.map_err(|e| Error::ListRules("of the metadata service", e)),
    }
}

/// Puts the guard there, in the place of what there is.
pub(in crate::host) fn put(family: Family, guests: &Guests) -> Result<(), Error> {
    let of_family = guests.iter().filter(|(ip, _)| Family::of(**ip) == family);
    let of_family: Vec<_> = of_family.map(|(ip, mac)| (*ip, *mac)).collect();
    let mut changes = vec![
        // One that is not there cannot be removed.
        (NEW_TABLE, table()),
        (DELETE_TABLE, vec![text(1, TABLE)]),
        (NEW_TABLE, table()),
        (NEW_SET, [named(PAIRS, 2), key(family, true), vec![number(10, 1)]].concat()),
        (NEW_SET, [named(ADDRESSES, 2), key(family, false), vec![number(10, 2)]].concat()),
    ];
    for (chain, hook, rules) in chains(family) {
        changes.push((NEW_CHAIN, [named(chain, 3), at(hook)].concat()));
        let rule =
            |expressions| vec![text(1, TABLE), text(2, chain), Attribute::Nest(EXPRESSIONS, expressions)];
        changes.extend(rules.into_iter().map(|expressions| (NEW_RULE, rule(expressions))));
    }
    changes.extend(elements(PAIRS, of_family.iter().map(|(ip, mac)| pair(*ip, *mac))));
    changes.extend(elements(ADDRESSES, of_family.iter().map(|(ip, _)| octets(*ip))));
    known::commit(family, &changes)
}

/// Removes it, if it is there.
pub(in crate::host) fn remove(family: Family) -> Result<(), Error> {
    let changes = [(NEW_TABLE, table()), (DELETE_TABLE, vec![text(1, TABLE)])];
    match known::commit(family, &changes) {
        // Nothing is there where nothing can be.
        Err(Error::NoNftables(_)) => Ok(()),
        removed => removed,
    }
}

fn read_table(family: Family) -> io::Result<Option<Guests>> {
    let exchange = Exchange::open(NETLINK_NETFILTER)?;
    let one = |kind, attributes: &[Attribute]| {
        let answers = exchange.ask(&about(kind, ACK, family, attributes))?;
        Ok::<_, io::Error>(answers.into_iter().next().unwrap_or_default())
    };
    let mut whole = all_in(&[number(TABLE_FLAGS, 0)], attributes(&one(GET_TABLE, &[text(1, TABLE)])?));
    for (chain, hook, wanted) in chains(family) {
        let there = super::rules(&exchange, family, TABLE, chain)?;
        whole &= all_in(&at(hook), attributes(&one(GET_CHAIN, &named(chain, 3))?));
        whole &=
            there.len() == wanted.len() && there.iter().zip(&wanted).all(|(rule, wanted)| is(rule, wanted));
    }
    for (set, paired) in [(PAIRS, true), (ADDRESSES, false)] {
        whole &= all_in(&key(family, paired), attributes(&one(GET_SET, &named(set, 2))?));
    }
    let keys = |set| -> io::Result<BTreeSet<Vec<u8>>> {
        let answers = exchange.ask(&about(GET_ELEMENTS, DUMP, family, &named(set, 2)))?;
        Ok(answers.iter().flat_map(|body| values(attributes(body))).collect())
    };
    let guests: Guests = keys(PAIRS)?.iter().filter_map(|key| unpaired(family, key)).collect();
    whole &= keys(ADDRESSES)? == guests.keys().map(|ip| octets(*ip)).collect();
    Ok(whole.then_some(guests))
}

fn values(body: &[u8]) -> Vec<Vec<u8>> {
    let elements = read(find(body, ELEMENTS).unwrap_or_default());
    elements.filter_map(|(_, element)| Some(find(find(element, KEY)?, VALUE)?.to_vec())).collect()
}

/// The chains of a family, their hooks and rules.
fn chains(family: Family) -> Vec<(&'static str, u32, Vec<Vec<Attribute>>)> {
    let input = (INPUT, LOCAL_IN, vec![friend(family), spoofed(family)]);
    match family {
        Family::V4 => vec![input],
        Family::V6 => vec![input, (OUTPUT, LOCAL_OUT, vec![meekly()])],
    }
}

/// `iifname "dhcp0" ip daddr 169.254.169.254 ether saddr . ip saddr @guests accept`
fn friend(family: Family) -> Vec<Attribute> {
    const ETHERNET: u16 = 1;
    let (source, length) = source(family);
    let looked_up = expression("lookup", vec![text(1, PAIRS), number(2, REGISTER)]);
    let mut rule = to_service(family);
    rule.extend([
        meta(DEVICE_TYPE),
        compare(EQUAL, ETHERNET.to_ne_bytes().to_vec()),
        load(LINK, 6, 6),
        into(AFTER_MAC, NETWORK, source, length),
        looked_up,
        verdict(ACCEPT),
    ]);
    rule
}

/// `iifname "dhcp0" ip daddr 169.254.169.254 ip saddr @addresses drop`
fn spoofed(family: Family) -> Vec<Attribute> {
    let (source, length) = source(family);
    let looked_up = expression("lookup", vec![text(1, ADDRESSES), number(2, REGISTER)]);
    let mut rule = to_service(family);
    rule.extend([load(NETWORK, source, length), looked_up, verdict(DROP)]);
    rule
}

/// Where a packet's source address is.
fn source(family: Family) -> (u32, u32) {
    match family {
        Family::V4 => (12, 4),
        Family::V6 => (8, 16),
    }
}

fn to_service(family: Family) -> Vec<Attribute> {
    let (source, length) = source(family);
    let address = octets(metadata::address(family));
    let mut rule = from_device();
    rule.extend([load(NETWORK, source + length, length), compare(EQUAL, address)]);
    rule
}

/// `icmpv6 type nd-neighbor-advert icmpv6 taddr fe80::a9fe:a9fe`, and the flag Override is cleared.
fn meekly() -> Vec<Attribute> {
    const ICMPV6: u8 = 58;
    const ADVERTISEMENT: u8 = 136;
    const ALL_BUT_OVERRIDE: [u8; 2] = [0xdf, 0xff];
    // The Internet's checksum, at this place.
    const CHECKSUM: u32 = 1;
    const PLACE: u32 = 2;
    let data = |kind, bytes: &[u8]| Attribute::Nest(kind, vec![Attribute::Plain(VALUE, bytes.to_vec())]);
    let cleared = vec![
        number(1, REGISTER),
        number(2, REGISTER),
        number(3, 2),
        data(4, &ALL_BUT_OVERRIDE),
        data(5, &[0, 0]),
    ];
    let written = vec![
        number(5, REGISTER),
        number(2, TRANSPORT),
        number(3, 4),
        number(4, 2),
        number(6, CHECKSUM),
        number(7, PLACE),
    ];
    vec![
        meta(PROTOCOL),
        compare(EQUAL, vec![ICMPV6]),
        load(TRANSPORT, 0, 1),
        compare(EQUAL, vec![ADVERTISEMENT]),
        load(TRANSPORT, 8, 16),
        compare(EQUAL, octets(metadata::address(Family::V6))),
        load(TRANSPORT, 4, 2),
        expression("bitwise", cleared),
        expression("payload", written),
    ]
}

fn into(register: u32, base: u32, offset: u32, length: u32) -> Attribute {
    expression("payload", vec![number(1, register), number(2, base), number(3, offset), number(4, length)])
}

fn verdict(verdict: u32) -> Attribute {
    let data = Attribute::Nest(2, vec![Attribute::Nest(2, vec![number(1, verdict)])]);
    expression("immediate", vec![number(1, 0), data])
}

fn table() -> Vec<Attribute> {
    vec![text(1, TABLE), number(TABLE_FLAGS, 0)]
}

fn named(name: &str, kind: u16) -> Vec<Attribute> {
    vec![text(1, TABLE), text(kind, name)]
}

/// Of a chain: `type filter hook … priority filter; policy accept`.
fn at(hook: u32) -> Vec<Attribute> {
    vec![Attribute::Nest(4, vec![number(1, hook), number(2, 0)]), number(5, ACCEPT), text(7, "filter")]
}

/// Of a set: type and length, by the numbers that the `nft` program knows types by.
fn key(family: Family, paired: bool) -> Vec<Attribute> {
    const ETHER: u32 = 9;
    let (kind, length) = match family {
        Family::V4 => (7, 4),
        Family::V6 => (8, 16),
    };
    if paired {
        return vec![number(4, ETHER << 6 | kind), number(5, 8 + length)];
    }
    vec![number(4, kind), number(5, length)]
}

fn elements(set: &str, keys: impl Iterator<Item = Vec<u8>>) -> Vec<Change> {
    let element =
        |key| Attribute::Nest(ELEMENT, vec![Attribute::Nest(KEY, vec![Attribute::Plain(VALUE, key)])]);
    let all: Vec<_> = keys.map(element).collect();
    let change = |some: &[_]| [named(set, 2), vec![Attribute::Nest(ELEMENTS, some.to_vec())]].concat();
    all.chunks(CHUNK).map(|some| (NEW_ELEMENTS, change(some))).collect()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Each part fills whole registers.
fn pair(ip: IpAddr, mac: MacAddr) -> Vec<u8> {
    [&mac.octets()[..], &[0, 0], &octets(ip)].concat()
}

fn unpaired(family: Family, key: &[u8]) -> Option<(IpAddr, MacAddr)> {
    let (mac, ip) = (MacAddr::new(key.get(..6)?.try_into().ok()?)?, key.get(8..)?);
    let ip = match family {
        Family::V4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        Family::V6 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    Some((ip, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_read_as_it_was_written() {
        let mac = MacAddr::local([1, 2, 3, 4, 5]);
        for (ip, length) in [("10.0.0.5", 12), ("fe80::1", 24)] {
            let ip: IpAddr = ip.parse().unwrap();
            let key = pair(ip, mac);
            assert_eq!((key.len(), unpaired(Family::of(ip), &key)), (length, Some((ip, mac))));
        }
    }
}
