//! A table of ours: described once, put there in one transaction, and found there again.
//!
//! Called by `known` and `guests`, which say what is in theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nix::libc;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::attribute::{Attribute, all_in, equal, find, number, read, text};
use super::{SUBSYSTEM, about, attributes};
use crate::host::Error;
use crate::host::netlink::{ACK, DUMP, Exchange, message};
use crate::node::Family;

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
/// `NFTA_LIST_ELEM`, `NFTA_SET_ELEM_KEY`, `NFTA_DATA_VALUE`.
pub(super) const ELEMENT: u16 = 1;
const KEY: u16 = 1;
pub(super) const VALUE: u16 = 1;

/// In one message: their list is an attribute, of at most 64 KiB.
const CHUNK: usize = 1_000;

/// Of one family.
pub(super) struct Table {
    pub family: Family,
    pub name: &'static str,
    pub sets: Vec<Set>,
    pub chains: Vec<Chain>,
}

/// `key_type`: the number that the `nft` program knows the type by; `key_length` in bytes.
pub(super) struct Set {
    pub name: &'static str,
    pub key_type: u32,
    pub key_length: u32,
}

/// `type filter hook … priority filter; policy accept`; `hook`: `NF_INET_…` of linux/netfilter.h. Each rule
/// is its expressions.
pub(super) struct Chain {
    pub name: &'static str,
    pub hook: u32,
    pub rules: Vec<Vec<Attribute>>,
}

/// The keys in each set, by its name.
pub(super) type Keys = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

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
            let answers =
                exchange.ask(&about(GET_ELEMENTS, DUMP, self.family, &self.thing(SET, set.name)))?;
            Ok((set.name, answers.iter().flat_map(|body| keys(attributes(body))).collect()))
        };
        self.sets.iter().map(keys).collect::<io::Result<Keys>>().map(Some)
    }

    /// All but the elements.
    fn is_whole(&self, exchange: &Exchange) -> io::Result<bool> {
        let one = |kind, attributes: &[Attribute]| {
            let answers = exchange.ask(&about(kind, ACK, self.family, attributes))?;
            Ok::<_, io::Error>(answers.into_iter().next().unwrap_or_default())
        };
        let mut whole = all_in(&[number(TABLE_FLAGS, 0)], attributes(&one(GET_TABLE, &self.own())?));
        for chain in &self.chains {
            let rules = super::rules(exchange, self.family, self.name, chain.name)?;
            whole &= all_in(&chain.hook(), attributes(&one(GET_CHAIN, &self.thing(CHAIN, chain.name))?));
            whole &= rules.len() == chain.rules.len();
            whole &= rules.iter().zip(&chain.rules).all(|(rule, wanted)| is(rule, wanted));
        }
        for set in &self.sets {
            let answer = one(GET_SET, &self.thing(SET, set.name))?;
            whole &= all_in(&set.key(), attributes(&answer));
            whole &= find(attributes(&answer), SET_FLAGS).is_none_or(|flags| flags == [0; 4]);
        }
        Ok(whole)
    }

    /// All but the elements, in the place of what there is.
    pub(super) fn put(&self) -> Vec<Change> {
        let mut changes = self.gone();
        changes.push((NEW_TABLE, self.empty()));
        // In a transaction each set must have a number, whether or not anybody calls it by that.
        for (set, id) in self.sets.iter().zip(1..) {
            let parts = [self.thing(SET, set.name), set.key(), vec![number(SET_ID, id)]];
            changes.push((NEW_SET, parts.concat()));
        }
        for chain in &self.chains {
            changes.push((NEW_CHAIN, [self.thing(CHAIN, chain.name), chain.hook()].concat()));
            let of_chain = [text(TABLE, self.name), text(RULE_CHAIN, chain.name)];
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
        self.elements(NEW_ELEMENTS, set, keys)
    }

    /// The removal of elements; each has to be there.
    pub(super) fn remove(&self, set: &str, keys: impl Iterator<Item = Vec<u8>>) -> Vec<Change> {
        self.elements(DELETE_ELEMENTS, set, keys)
    }

    /// In as many messages as it takes.
    fn elements(&self, kind: u8, set: &str, keys: impl Iterator<Item = Vec<u8>>) -> Vec<Change> {
        let element =
            |key| Attribute::Nest(ELEMENT, vec![Attribute::Nest(KEY, vec![Attribute::Plain(VALUE, key)])]);
        let all: Vec<_> = keys.map(element).collect();
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
            batch.extend(about(*kind, flags | ack, self.family, attributes));
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
        vec![number(4, self.key_type), number(5, self.key_length)]
    }
}

impl Chain {
    fn hook(&self) -> Vec<Attribute> {
        const ACCEPT: u32 = 1;
        let hook = Attribute::Nest(4, vec![number(1, self.hook), number(2, 0)]);
        vec![hook, number(5, ACCEPT), text(7, "filter")]
    }
}

fn is(rule: &[u8], wanted: &[Attribute]) -> bool {
    find(attributes(rule), EXPRESSIONS).is_some_and(|expressions| equal(wanted, expressions))
}

/// The keys of the elements in an answer.
pub(super) fn keys(body: &[u8]) -> Vec<Vec<u8>> {
    let elements = read(find(body, ELEMENTS).unwrap_or_default());
    elements.filter_map(|(_, element)| Some(find(find(element, KEY)?, VALUE)?.to_vec())).collect()
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
