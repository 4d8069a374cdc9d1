//! What is not for a network's DHCPv6 server to hear, as rules of nftables.
//!
//! Called by `known` and `feed`. Each router solicitation costs dnsmasq 2.90 an answer, whoever sends it. It answers a
//! stranger's CONFIRM, RENEW and REBIND, and is deaf to all while it waits for a stranger's neighbour entry;
//! it gives whoever sends REBIND any address of the subnet; and in a relayed message it believes the client's
//! MAC address that the message tells.

use super::attribute::Attribute;
use super::expression::{
    DROP, EQUAL, GREATER, ICMPV6, TRANSPORT, UDP, compare, ethernet_source, from_device, is_not_in, load,
    of_protocol, verdict,
};

/// RFC 8415 §7.3.
const REBIND: u8 = 6;
const INFORMATION_REQUEST: u8 = 11;

/// `iifname "dhcp0" udp dport 547`, and then `ether saddr != @known drop`; `@th,64,8 6 drop`;
/// `@th,64,8 > 11 drop`. And `iifname "dhcp0" icmpv6 type nd-router-solicit ether saddr != @known drop`.
/// What the namespace says to itself comes from `lo`, or without an Ethernet header.
pub(super) fn wanted_rules(known: &str) -> Vec<Vec<Attribute>> {
    let of_stranger = || [ethernet_source(), vec![is_not_in(known)]].concat();
    let dropped = |which: [Vec<Attribute>; 2]| [which.concat(), vec![verdict(DROP)]].concat();
    let [rebind, relayed] = never_heard();
    vec![dropped([to_server(), of_stranger()]), rebind, relayed, dropped([solicitation(), of_stranger()])]
}

/// Those of them that are about nobody in particular.
pub(super) fn never_heard() -> [Vec<Attribute>; 2] {
    let kind = |operator, kind: u8| vec![load(TRANSPORT, 8, 1), compare(operator, vec![kind])];
    let dropped = [kind(EQUAL, REBIND), kind(GREATER, INFORMATION_REQUEST)];
    dropped.map(|which| [to_server(), which, vec![verdict(DROP)]].concat())
}

/// `iifname "dhcp0" udp dport 547`
pub(super) fn to_server() -> Vec<Attribute> {
    const SERVER_PORT: u16 = 547;
    let port = vec![load(TRANSPORT, 2, 2), compare(EQUAL, SERVER_PORT.to_be_bytes().to_vec())];
    [from_device(), of_protocol(UDP), port].concat()
}

/// RFC 4861 §4.1.
fn solicitation() -> Vec<Attribute> {
    const ROUTER_SOLICITATION: u8 = 133;
    let kind = vec![load(TRANSPORT, 0, 1), compare(EQUAL, vec![ROUTER_SOLICITATION])];
    [from_device(), of_protocol(ICMPV6), kind].concat()
}
