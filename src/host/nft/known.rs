//! The filter before a network's DHCPv6 server, which also advertises: a table with the set of those who may speak to it, and
//! the rules (see `rules`) that drop what others say.
//!
//! Called by `linux` and `observe`. Each change is one transaction: guests that stay are never without
//! an answer.

use std::collections::BTreeSet;
use std::io;

use nix::libc;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::attribute::{Attribute, all_in, equal, find, number, read, text};
use super::rules::wanted_rules;
use super::{SUBSYSTEM, about, attributes};
use crate::host::Error;
use crate::host::netlink::{ACK, DUMP, Exchange, message};
use crate::node::Family;
use crate::types::MacAddr;

const TABLE: &str = "kube-dhcp";
const CHAIN: &str = "input";
pub(super) const SET: &str = "known";

/// `NLM_F_CREATE`, `NLM_F_APPEND` of linux/netlink.h.
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` of linux/netfilter/nfnetlink.h.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `NFT_MSG_…` of `linux/netfilter/nf_tables.h`, as all below.
pub(super) const NEW_TABLE: u8 = 0;
pub(super) const GET_TABLE: u8 = 1;
pub(super) const DELETE_TABLE: u8 = 2;
pub(super) const NEW_CHAIN: u8 = 3;
pub(super) const GET_CHAIN: u8 = 4;
pub(super) const NEW_RULE: u8 = 6;
pub(super) const NEW_SET: u8 = 9;
pub(super) const GET_SET: u8 = 10;
pub(super) const NEW_ELEMENTS: u8 = 12;
pub(super) const GET_ELEMENTS: u8 = 13;
const DELETE_ELEMENTS: u8 = 14;

/// `NFTA_TABLE_FLAGS`, `NFTA_SET_FLAGS`, `NFTA_RULE_EXPRESSIONS`, `NFTA_SET_ELEM_LIST_ELEMENTS`.
pub(super) const TABLE_FLAGS: u16 = 2;
const SET_FLAGS: u16 = 3;
pub(super) const EXPRESSIONS: u16 = 4;
pub(super) const ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`, `NFTA_SET_ELEM_KEY`, `NFTA_DATA_VALUE`.
pub(super) const ELEMENT: u16 = 1;
pub(super) const KEY: u16 = 1;
pub(super) const VALUE: u16 = 1;

/// In one message: their list is an attribute, of at most 64 KiB.
const CHUNK: usize = 2_000;

/// Who may speak to the server; `None`: there is no filter, or not all of it.
pub(in crate::host) fn look() -> Result<Option<BTreeSet<MacAddr>>, Error> {
    match read_table() {
        Err(e) if is_nothing(&e) => Ok(None),
        known => known.map_err(|e| Error::ListRules("ip6", e)),
    }
}

/// Said where there is no such table.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(libc::ENOENT) => true,
        // Of a kernel without nf_tables.
        code => code == Some(libc::EINVAL) || is_unsupported(code),
    }
}

/// Of a kernel without nftables.
fn is_unsupported(code: Option<i32>) -> bool {
    matches!(code, Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT))
}

fn read_table() -> io::Result<Option<BTreeSet<MacAddr>>> {
    let exchange = Exchange::open(NETLINK_NETFILTER)?;
    let one = |kind, attributes: &[Attribute]| {
        let answers = exchange.ask(&about(kind, ACK, Family::V6, attributes))?;
        Ok::<_, io::Error>(answers.into_iter().next().unwrap_or_default())
    };
    let table = one(GET_TABLE, &[text(1, TABLE)])?;
    let chain = one(GET_CHAIN, &named(CHAIN, 3))?;
    let set = one(GET_SET, &named(SET, 2))?;
    let rules = super::rules(&exchange, Family::V6, TABLE, CHAIN)?;
    let is_whole = all_in(&[number(TABLE_FLAGS, 0)], attributes(&table))
        && all_in(&hook(), attributes(&chain))
        && all_in(&key(), attributes(&set))
        && find(attributes(&set), SET_FLAGS).is_none_or(|flags| flags == [0; 4])
        && rules.len() == wanted_rules().len()
        && rules.iter().zip(wanted_rules()).all(|(rule, wanted)| is(rule, &wanted));
    if !is_whole {
        return Ok(None);
    }
    let elements = exchange.ask(&about(GET_ELEMENTS, DUMP, Family::V6, &named(SET, 2)))?;
    Ok(Some(elements.iter().flat_map(|body| macs(attributes(body))).collect()))
}

pub(super) fn is(rule: &[u8], wanted: &[Attribute]) -> bool {
    find(attributes(rule), EXPRESSIONS).is_some_and(|expressions| equal(wanted, expressions))
}

/// The elements in an answer. One that no guest can have keeps nobody in or out.
fn macs(body: &[u8]) -> Vec<MacAddr> {
    let elements = read(find(body, ELEMENTS).unwrap_or_default());
    let mac = |(_, element)| {
        let value = find(find(element, KEY)?, VALUE)?;
        MacAddr::new(value.try_into().ok()?)
    };
    elements.filter_map(mac).collect()
}

/// Changes who may speak to the server; `whole`: puts the filter there, in the place of what there is.
pub(in crate::host) fn admit(
    whole: bool,
    add: &BTreeSet<MacAddr>,
    remove: &BTreeSet<MacAddr>,
) -> Result<(), Error> {
    let mut changes = if whole { filter() } else { Vec::new() };
    changes.extend(elements(NEW_ELEMENTS, add));
    // What is not there cannot be removed, and nobody is in between.
    changes.extend(elements(NEW_ELEMENTS, remove));
    changes.extend(elements(DELETE_ELEMENTS, remove));
    commit(Family::V6, &changes)
}

/// Removes the filter, if it is there.
pub(in crate::host) fn open() -> Result<(), Error> {
    commit(Family::V6, &[(NEW_TABLE, table()), (DELETE_TABLE, vec![text(1, TABLE)])])
}

pub(super) type Change = (u8, Vec<Attribute>);

/// All in one transaction.
pub(super) fn commit(family: Family, changes: &[Change]) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let told = Exchange::open(NETLINK_NETFILTER).and_then(|e| e.tell(&batch(family, changes), 1, |_| false));
    told.map_err(|e| {
        let make = if is_unsupported(e.raw_os_error()) { Error::NoNftables } else { Error::ChangeFilter };
        make(e)
    })
}

fn batch(family: Family, changes: &[Change]) -> Vec<u8> {
    let border = [0, 0, 0, SUBSYSTEM];
    let mut batch = message(BATCH_BEGIN, 0, &border);
    for (n, (kind, attributes)) in changes.iter().enumerate() {
        let flags = match *kind {
            DELETE_TABLE | DELETE_ELEMENTS => 0,
            // Without it each would stand before the one that came before.
            NEW_RULE => CREATE | APPEND,
            _ => CREATE,
        };
        // The answer to the last one comes when all is in force; an error comes in any case.
        let ack = if n + 1 == changes.len() { ACK } else { 0 };
        batch.extend(about(*kind, flags | ack, family, attributes));
    }
    batch.extend(message(BATCH_END, 0, &border));
    batch
}

/// An empty filter, in the place of what there is.
fn filter() -> Vec<Change> {
    let chain = [named(CHAIN, 3), hook()].concat();
    // In a transaction a set must have a number, whether or not anybody calls it by that.
    let set = [named(SET, 2), key(), vec![number(10, 1)]].concat();
    let things = [
        // One that is not there cannot be removed.
        (NEW_TABLE, table()),
        (DELETE_TABLE, vec![text(1, TABLE)]),
        (NEW_TABLE, table()),
        (NEW_CHAIN, chain),
        (NEW_SET, set),
    ];
    let rule = |expressions| vec![text(1, TABLE), text(2, CHAIN), Attribute::Nest(EXPRESSIONS, expressions)];
    let rules = wanted_rules().map(|expressions| (NEW_RULE, rule(expressions)));
    things.into_iter().chain(rules).collect()
}

fn table() -> Vec<Attribute> {
    vec![text(1, TABLE), number(TABLE_FLAGS, 0)]
}

/// A thing of our table, its name in the attribute `kind`.
fn named(name: &str, kind: u16) -> Vec<Attribute> {
    vec![text(1, TABLE), text(kind, name)]
}

/// Of the chain: `type filter hook input priority filter; policy accept`.
fn hook() -> Vec<Attribute> {
    const LOCAL_IN: u32 = 1;
    const ACCEPT: u32 = 1;
    vec![Attribute::Nest(4, vec![number(1, LOCAL_IN), number(2, 0)]), number(5, ACCEPT), text(7, "filter")]
}

/// Of the set: `type ether_addr`, by the number that the `nft` program knows it by.
fn key() -> Vec<Attribute> {
    vec![number(4, 9), number(5, 6)]
}

/// The set's elements, in as many messages as it takes.
fn elements(kind: u8, macs: &BTreeSet<MacAddr>) -> Vec<Change> {
    let value = |mac: &MacAddr| Attribute::Plain(VALUE, mac.octets().to_vec());
    let element = |mac| Attribute::Nest(ELEMENT, vec![Attribute::Nest(KEY, vec![value(mac)])]);
    let all: Vec<_> = macs.iter().map(element).collect();
    let change = |some: &[_]| [named(SET, 2), vec![Attribute::Nest(ELEMENTS, some.to_vec())]].concat();
    all.chunks(CHUNK).map(|some| (kind, change(some))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::messages;

    fn guests(count: u16) -> BTreeSet<MacAddr> {
        (0..count).map(|n| MacAddr::local([0, 0, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]])).collect()
    }

    #[test]
    fn however_many_come_no_message_is_too_long_and_none_of_them_is_lost() {
        let all = guests(10_000);
        let batch = batch(Family::V6, &elements(NEW_ELEMENTS, &all));
        let mut found = BTreeSet::new();
        for (_, body) in messages(&batch).filter(|(kind, _)| kind.to_be_bytes()[0] == SUBSYSTEM) {
            assert!(body.len() < usize::from(u16::MAX));
            found.extend(macs(attributes(body)));
        }
        assert_eq!(found, all);
    }

    #[test]
    fn a_batch_is_between_its_borders_and_one_answer_ends_it() {
        let batch = batch(Family::V6, &filter());
        let kinds: Vec<_> = messages(&batch).map(|(kind, _)| kind).collect();
        assert_eq!((kinds[0], *kinds.last().unwrap(), kinds.len()), (BATCH_BEGIN, BATCH_END, 11));
        let flags = |at: usize| u16::from_ne_bytes([batch[at + 6], batch[at + 7]]);
        let mut at = 0;
        let mut acks = 0;
        while at < batch.len() {
            acks += usize::from(flags(at) & ACK > 0);
            at += u32::from_ne_bytes(batch[at..at + 4].try_into().unwrap()) as usize;
        }
        assert_eq!(acks, 1);
    }
}
