//! The guard before a network's metadata service: from the address of a guest only packets of that guest's
//! device come in, so that none asks in the name of another.
//!
//! Called by `metadata` on a thread in the namespace. What strangers send comes in: they are told that they
//! are strangers. In IPv6 the guard also takes from what the node says of the service's address that it
//! overrides what a guest knows (RFC 4861 §7.2.5): several servers of a network have that address, and a
//! guest stays with the first that it heard. Each change is one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Level;
use super::attribute::{Attribute, number};
use super::expression::{
    ACCEPT, AFTER_MAC, DROP, EQUAL, ICMPV6, NETWORK, REGISTER, TRANSPORT, compare, ethernet_source,
    expression, from_device, is_in, load, load_into, of_protocol, verdict, write,
};
use super::table::{Chain, Priority, Set, Table, VALUE};
use crate::host::Error;
use crate::metadata;
use crate::node::Family;
use crate::types::MacAddr;

/// Device and address.
const PAIRS: &str = "guests";
const ADDRESSES: &str = "addresses";

type Guests = BTreeMap<IpAddr, MacAddr>;

/// Whose packets are let in; `None`: there is no guard, or not all of it.
pub(in crate::host) fn look(family: Family) -> Result<Option<Guests>, Error> {
    let Some(mut keys) = guard(family).look("of the metadata service")? else { return Ok(None) };
    let pairs = keys.remove(PAIRS).unwrap_or_default();
    let guests: Guests = pairs.iter().filter_map(|(key, _)| unpaired(family, key)).collect();
    let addresses: BTreeSet<_> = guests.keys().map(|ip| (octets(*ip), Vec::new())).collect();
    Ok((keys.remove(ADDRESSES).unwrap_or_default() == addresses).then_some(guests))
}

/// Puts the guard there, in the place of what there is.
pub(in crate::host) fn put(family: Family, guests: &Guests) -> Result<(), Error> {
    let guard = guard(family);
    let of_family = || guests.iter().filter(|(ip, _)| Family::of(**ip) == family);
    let mut changes = guard.put();
    changes.extend(guard.add(PAIRS, of_family().map(|(ip, mac)| pair(*ip, *mac))));
    changes.extend(guard.add(ADDRESSES, of_family().map(|(ip, _)| octets(*ip))));
    guard.commit(&changes)
}

/// Removes it, if it is there.
pub(in crate::host) fn remove(family: Family) -> Result<(), Error> {
    let guard = guard(family);
    match guard.commit(&guard.gone()) {
        // Nothing is there where nothing can be.
        Err(Error::NoNftables(_)) => Ok(()),
        removed => removed,
    }
}

fn guard(family: Family) -> Table {
    const ETHER: u32 = 9;
    const LOCAL_IN: u32 = 1;
    const LOCAL_OUT: u32 = 3;
    let (address, length) = match family {
        Family::V4 => (7, 4),
        Family::V6 => (8, 16),
    };
    let chain = |name, hook, rules| Chain::of_family(name, hook, Priority::Filter, rules);
    let input = chain("input", LOCAL_IN, vec![friend(family), spoofed(family)]);
    let output = chain("output", LOCAL_OUT, vec![meekly()]);
    Table {
        level: Level::Ip(family),
        name: "kube-dhcp-metadata",
        sets: vec![
            Set { name: PAIRS, key_type: ETHER << 6 | address, key_length: 8 + length, data: None },
            Set { name: ADDRESSES, key_type: address, key_length: length, data: None },
        ],
        chains: match family {
            Family::V4 => vec![input],
            Family::V6 => vec![input, output],
        },
    }
}

/// `iifname "dhcp0" ip daddr 169.254.169.254 ether saddr . ip saddr @guests accept`
fn friend(family: Family) -> Vec<Attribute> {
    let (source, length) = source(family);
    let address = vec![load_into(AFTER_MAC, NETWORK, source, length)];
    let accepted = vec![is_in(PAIRS), verdict(ACCEPT)];
    [to_service(family), ethernet_source(), address, accepted].concat()
}

/// `iifname "dhcp0" ip daddr 169.254.169.254 ip saddr @addresses drop`
fn spoofed(family: Family) -> Vec<Attribute> {
    let (source, length) = source(family);
    let dropped = vec![load(NETWORK, source, length), is_in(ADDRESSES), verdict(DROP)];
    [to_service(family), dropped].concat()
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
    [from_device(), vec![load(NETWORK, source + length, length), compare(EQUAL, address)]].concat()
}

/// `icmpv6 type nd-neighbor-advert icmpv6 taddr fe80::a9fe:a9fe`, and the flag Override is cleared.
fn meekly() -> Vec<Attribute> {
    const ADVERTISEMENT: u8 = 136;
    const ALL_BUT_OVERRIDE: [u8; 2] = [0xdf, 0xff];
    let data = |kind, bytes: &[u8]| Attribute::Nest(kind, vec![Attribute::Plain(VALUE, bytes.to_vec())]);
    let cleared = vec![
        number(1, REGISTER),
        number(2, REGISTER),
        number(3, 2),
        data(4, &ALL_BUT_OVERRIDE),
        data(5, &[0, 0]),
    ];
    let rest = vec![
        load(TRANSPORT, 0, 1),
        compare(EQUAL, vec![ADVERTISEMENT]),
        load(TRANSPORT, 8, 16),
        compare(EQUAL, octets(metadata::address(Family::V6))),
        load(TRANSPORT, 4, 2),
        expression("bitwise", cleared),
        write(TRANSPORT, 4, 2, Some(2)),
    ];
    [of_protocol(ICMPV6), rest].concat()
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
