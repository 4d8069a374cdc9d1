//! A table of ours: described once, put there in one transaction, and found there again.
//!
//! Called by `known`, `guests`, `switch` and `feed`, which say what is in theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nix::libc;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::attribute::{Attribute, all_in, equal, find, number, read, text};
use super::{Level, SUBSYSTEM, about, attributes};
use crate::host::Error;
use crate::host::netlink::{ACK, DUMP, Exchange, message};

/// `NLM_F_CREATE`, `NLM_F_APPEND` of linux/netlink.h.
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` of linux/netfilter/nfnetlink.h.
pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;

/// `NFT_MSG_…` of `linux/netfilter/nf_tables.h`, as all below.
const NEW_TABLE: u8 = 0;
const GET_TABLE: u8 = 1;
const DELETE_TABLE: u8 = 2;
const NEW_CHAIN: u8 = 3;
const GET_CHAIN: u8 = 4;
const NEW_RULE: u8 = 6;
const NEW_SET: u8 = 9;
const GET_SET: u8 = 10;
const NEW_ELEMENTS: u8 = 12;
const GET_ELEMENTS: u8 = 13;
const DELETE_ELEMENTS: u8 = 14;

/// `NFTA_TABLE_NAME`, and `NFTA_…_TABLE` of all that is in one.
const TABLE: u16 = 1;
/// `NFTA_SET_NAME` and `NFTA_SET_ELEM_LIST_SET`, `NFTA_CHAIN_NAME`.
const SET: u16 = 2;
const CHAIN: u16 = 3;
/// `NFTA_RULE_CHAIN`, `NFTA_RULE_EXPRESSIONS`.
const RULE_CHAIN: u16 = 2;
const EXPRESSIONS: u16 = 4;
/// `NFTA_TABLE_FLAGS`, `NFTA_SET_FLAGS`, `NFTA_SET_ID`, `NFTA_SET_ELEM_LIST_ELEMENTS`.
const TABLE_FLAGS: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_ID: u16 = 10;
const ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`, `NFTA_SET_ELEM_KEY`, `NFTA_SET_ELEM_DATA`, `NFTA_DATA_VALUE`.
pub(super) const ELEMENT: u16 = 1;
const KEY: u16 = 1;
const DATA: u16 = 2;
pub(super) const VALUE: u16 = 1;

/// In one message: their list is an attribute, of at most 64 KiB.
const CHUNK: usize = 1_000;

/// Of one level.
pub(super) struct Table {
    pub level: Level,
    pub name: &'static str,
    pub sets: Vec<Set>,
    pub chains: Vec<Chain>,
}

/// `key_type`: the number that the `nft` program knows the type by; `key_length` in bytes. A map has the same
/// for what its keys lead to.
pub(super) struct Set {
    pub name: &'static str,
    pub key_type: u32,
    pub key_length: u32,
    pub data: Option<(u32, u32)>,
}

/// `type filter hook … priority …; policy accept`; `hook`: `NF_INET_…`, or `NF_NETDEV_…`, of linux/netfilter.h. Each rule is its
/// expressions.
pub(super) struct Chain {
    pub name: String,
    /// Whose packets it sees, on the level of devices.
    pub device: Option<String>,
    pub hook: u32,
    pub priority: Priority,
    pub rules: Vec<Vec<Attribute>>,
}

/// `NF_IP_PRI_…`: before all others, or where filters are.
#[derive(Clone, Copy)]
pub(super) enum Priority {
    Raw = -300,
    Filter = 0,
}

/// The keys in each set, by its name, each with what it leads to in a map.
pub(super) type Keys = BTreeMap<&'static str, BTreeSet<Element>>;

/// A key and, in a map, what it leads to.
pub(super) type Element = (Vec<u8>, Vec<u8>);

/// A kind of message, and what it says.
pub(super) type Change = (u8, Vec<Attribute>);

impl Table {
    /// Who is in its sets; `None`: there is no such table, or not all of it. `of` is for an error's text.
    pub(super) fn look(&self, of: &'static str) -> Result<Option<Keys>, Error> {
        match self.read() {
            Err(e) if is_nothing(&e) => Ok(None),
            keys => keys.map_err(|e| Error::ListRules(of, e)),
        }
    }

    fn read(&self) -> io::Result<Option<Keys>> {
        let exchange = Exchange::open(NETLINK_NETFILTER)?;
        if !self.is_whole(&exchange)? {
            return Ok(None);
        }
        let keys = |set: &Set| {
            let answers = exchange.ask(&about(GET_ELEMENTS, DUMP, self.level, &self.thing(SET, set.name)))?;
            Ok((set.name, answers.iter().flat_map(|body| keys(attributes(body))).collect()))
        };
        self.sets.iter().map(keys).collect::<io::Result<Keys>>().map(Some)
    }

    /// All but the elements.
    fn is_whole(&self, exchange: &Exchange) -> io::Result<bool> {
        let one = |kind, attributes: &[Attribute]| {
            let answers = exchange.ask(&about(kind, ACK, self.level, attributes))?;
            Ok::<_, io::Error>(answers.into_iter().next().unwrap_or_default())
        };
        let mut whole = all_in(&[number(TABLE_FLAGS, 0)], attributes(&one(GET_TABLE, &self.own())?));
        for chain in &self.chains {
            let rules = super::rules(exchange, self.level, self.name, &chain.name)?;
            whole &= all_in(&chain.hook(), attributes(&one(GET_CHAIN, &self.thing(CHAIN, &chain.name))?));
            whole &= rules.len() == chain.rules.len();
            whole &= rules.iter().zip(&chain.rules).all(|(rule, wanted)| is(rule, wanted));
        }
        for set in &self.sets {
            let answer = one(GET_SET, &self.thing(SET, set.name))?;
            whole &= all_in(&set.key(), attributes(&answer));
            let flags = find(attributes(&answer), SET_FLAGS);
            whole &=
                flags.map_or(0, |flags| flags.iter().fold(0, |n, b| n << 8 | u32::from(*b))) == set.flags();
        }
        Ok(whole)
    }

    /// All but the elements, in the place of what there is.
    pub(super) fn put(&self) -> Vec<Change> {
        let mut changes = self.gone();
        changes.push((NEW_TABLE, self.empty()));
        // In a transaction each set must have a number, whether or not anybody calls it by that.
        for (set, id) in self.sets.iter().zip(1..) {
            let flags = (set.flags() > 0).then(|| number(SET_FLAGS, set.flags()));
            let parts =
                [self.thing(SET, set.name), set.key(), vec![number(SET_ID, id)], Vec::from_iter(flags)];
            changes.push((NEW_SET, parts.concat()));
        }
        for chain in &self.chains {
            changes.push((NEW_CHAIN, [self.thing(CHAIN, &chain.name), chain.hook()].concat()));
            let of_chain = [text(TABLE, self.name), text(RULE_CHAIN, &chain.name)];
            let rule = |expressions: &Vec<_>| {
                [&of_chain[..], &[Attribute::Nest(EXPRESSIONS, expressions.clone())]].concat()
            };
            changes.extend(chain.rules.iter().map(|expressions| (NEW_RULE, rule(expressions))));
        }
        changes
    }

    /// Its removal, whether or not it is there: one that is not cannot be removed.
    pub(super) fn gone(&self) -> Vec<Change> {
        vec![(NEW_TABLE, self.empty()), (DELETE_TABLE, self.own())]
    }

    /// Elements for a set; one may be there.
    pub(super) fn add(&self, set: &str, keys: impl Iterator<Item = Vec<u8>>) -> Vec<Change> {
        self.elements(NEW_ELEMENTS, set, keys.map(alone))
    }

    /// The removal of elements; each has to be there.
    pub(super) fn remove(&self, set: &str, keys: impl Iterator<Item = Vec<u8>>) -> Vec<Change> {
        self.elements(DELETE_ELEMENTS, set, keys.map(alone))
    }

    /// Elements for a map; one may be there that leads to the same.
    pub(super) fn lead(&self, map: &str, elements: impl Iterator<Item = Element>) -> Vec<Change> {
        self.elements(NEW_ELEMENTS, map, elements)
    }

    /// In as many messages as it takes.
    fn elements(&self, kind: u8, set: &str, elements: impl Iterator<Item = Element>) -> Vec<Change> {
        let value = |kind, bytes| Attribute::Nest(kind, vec![Attribute::Plain(VALUE, bytes)]);
        let element = |(key, data): Element| {
            let data = (!data.is_empty()).then(|| value(DATA, data));
            Attribute::Nest(ELEMENT, std::iter::once(value(KEY, key)).chain(data).collect())
        };
        let all: Vec<_> = elements.map(element).collect();
        let change =
            |some: &[_]| [self.thing(SET, set), vec![Attribute::Nest(ELEMENTS, some.to_vec())]].concat();
        all.chunks(CHUNK).map(|some| (kind, change(some))).collect()
    }

    /// Makes all of these changes in one transaction.
    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let batch = self.batch(changes);
        let told = Exchange::open(NETLINK_NETFILTER).and_then(|e| e.tell(&batch, 1, |_| false));
        told.map_err(|e| {
            let make = if is_unsupported(e.raw_os_error()) { Error::NoNftables } else { Error::ChangeFilter };
            make(e)
        })
    }

    pub(super) fn batch(&self, changes: &[Change]) -> Vec<u8> {
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
            batch.extend(about(*kind, flags | ack, self.level, attributes));
        }
        batch.extend(message(BATCH_END, 0, &border));
        batch
    }

    fn own(&self) -> Vec<Attribute> {
        vec![text(TABLE, self.name)]
    }

    fn empty(&self) -> Vec<Attribute> {
        vec![text(TABLE, self.name), number(TABLE_FLAGS, 0)]
    }

    /// A set or a chain of it, its name in the attribute `kind`.
    fn thing(&self, kind: u16, name: &str) -> Vec<Attribute> {
        vec![text(TABLE, self.name), text(kind, name)]
    }
}

impl Set {
    fn key(&self) -> Vec<Attribute> {
        let data = self.data.iter().flat_map(|(kind, length)| [number(6, *kind), number(7, *length)]);
        [number(4, self.key_type), number(5, self.key_length)].into_iter().chain(data).collect()
    }

    /// `NFT_SET_MAP`.
    fn flags(&self) -> u32 {
        if self.data.is_some() { 8 } else { 0 }
    }
}

fn alone(key: Vec<u8>) -> Element {
    (key, Vec::new())
}

impl Chain {
    /// Of packets of a family.
    pub(super) fn of_family(name: &str, hook: u32, priority: Priority, rules: Vec<Vec<Attribute>>) -> Self {
        Self { name: name.to_owned(), device: None, hook, priority, rules }
    }

    fn hook(&self) -> Vec<Attribute> {
        const ACCEPT: u32 = 1;
        let priority = Attribute::Plain(2, (self.priority as i32).to_be_bytes().to_vec());
        let device = self.device.iter().map(|name| text(3, name));
        let hook = Attribute::Nest(4, [number(1, self.hook), priority].into_iter().chain(device).collect());
        vec![hook, number(5, ACCEPT), text(7, "filter")]
    }
}

fn is(rule: &[u8], wanted: &[Attribute]) -> bool {
    find(attributes(rule), EXPRESSIONS).is_some_and(|expressions| equal(wanted, expressions))
}

/// The elements in an answer.
pub(super) fn keys(body: &[u8]) -> Vec<Element> {
    let value = |of: &[u8], kind| Some(find(find(of, kind)?, VALUE)?.to_vec());
    let elements = read(find(body, ELEMENTS).unwrap_or_default());
    elements.filter_map(|(_, e)| Some((value(e, KEY)?, value(e, DATA).unwrap_or_default()))).collect()
}

/// Said where there is no such table.
fn is_nothing(error: &io::Error) -> bool {
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
