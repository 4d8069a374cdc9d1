//! nftables, asked and told without a process being started for it.
//!
//! Called by `firewall`, `observe`, `metadata` and `linux` on a thread in the namespace in question. The
//! rules of iptables (1.8 with its nftables backend keeps its tables under their old names, and the comment
//! of a rule as text in the rule) are only read; the tables before the DHCPv6 server (`known`), the
//! metadata service (`guests`) and the servers of a large network (`switch`, `feed`) are ours.

pub(super) mod attribute;
mod expression;
pub(super) mod feed;
pub(super) mod guests;
pub(super) mod known;
mod rules;
pub(super) mod switch;
mod table;

use std::io;

use nix::libc;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use self::attribute::{Attribute, text};
use super::firewall::COMMENT;
use super::netlink::{DUMP, Exchange, message};
use crate::node::Family;

/// `NFNL_SUBSYS_NFTABLES` of linux/netfilter/nfnetlink.h.
const SUBSYSTEM: u8 = 10;

/// `NFT_MSG_GETRULE` of `linux/netfilter/nf_tables.h`, as all below.
const GET_RULE: u8 = 7;
/// `NFTA_RULE_TABLE`, `NFTA_RULE_CHAIN`.
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;

/// What packets a table sees: those of a family, or all that come in by a device, before anything else does.
#[derive(Clone, Copy)]
enum Level {
    Ip(Family),
    Device,
}

/// Whether this chain of this family has a rule of ours.
pub(super) fn has_rule(family: Family, table: &str, chain: &str) -> io::Result<bool> {
    let rules = rules(&Exchange::open(NETLINK_NETFILTER)?, Level::Ip(family), table, chain)?;
    let is_ours = |rule: &Vec<u8>| rule.windows(COMMENT.len()).any(|bytes| bytes == COMMENT.as_bytes());
    Ok(rules.iter().any(is_ours))
}

/// The rules of a chain; none if there is no such table or chain.
fn rules(exchange: &Exchange, level: Level, table: &str, chain: &str) -> io::Result<Vec<Vec<u8>>> {
    let chain = [text(RULE_TABLE, table), text(RULE_CHAIN, chain)];
    let rules = exchange.ask(&about(GET_RULE, DUMP, level, &chain));
    rules.or_else(|e| if e.raw_os_error() == Some(libc::ENOENT) { Ok(Vec::new()) } else { Err(e) })
}

/// A message to nftables about something of this level.
fn about(kind: u8, flags: u16, level: Level, attributes: &[Attribute]) -> Vec<u8> {
    /// `NFPROTO_NETDEV` of linux/netfilter.h.
    const DEVICE: i32 = 5;
    let family = match level {
        Level::Ip(Family::V4) => libc::AF_INET,
        Level::Ip(Family::V6) => libc::AF_INET6,
        Level::Device => DEVICE,
    };
    // struct nfgenmsg: family, version, resource id.
    let mut body = vec![u8::try_from(family).unwrap_or_default(), 0, 0, 0];
    for attribute in attributes {
        attribute.write(&mut body);
    }
    message(u16::from_be_bytes([SUBSYSTEM, kind]), flags, &body)
}

/// What follows the `struct nfgenmsg` of an answer.
fn attributes(body: &[u8]) -> &[u8] {
    body.get(4..).unwrap_or_default()
}
