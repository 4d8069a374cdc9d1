//! The switch before the servers of a large network: each guest's questions go to the process of its share,
//! and the answers come from where they always do.
//!
//! Called by `linux` and `observe` on a thread in the namespace. Who is in no share is heard by the one server
//! at port 67. A guest is told apart by the MAC address in its message, as dnsmasq does it. Each change is one
//! transaction.

use super::Level;
use super::attribute::Attribute;
use super::expression::{
    AT_LEAST, AT_MOST, DROP, EQUAL, TCP, TRANSPORT, UDP, bytes, compare, follow, from_device, load,
    of_protocol, to_device, verdict, write,
};
use super::table::{Chain, Element, Priority, Set, Table};
use crate::dnsmasq::{DHCP_PORTS, PRIVATE_PORTS, Share, Shares};
use crate::host::{Error, machine};
use crate::node::Family;
use crate::types::MacAddr;
use crate::wire::dhcpv4::SERVER_PORT;

const MAP: &str = "shares";

/// Who is heard by which; `None`: there is no switch, or not all of it.
pub(in crate::host) fn look() -> Result<Option<Shares>, Error> {
    for guard in guard() {
        if guard.look("of the shares")?.is_none() {
            return Ok(None);
        }
    }
    let share = |(mac, port): &Element| {
        let port = u16::from_be_bytes(port.as_slice().try_into().ok()?);
        Some((MacAddr::new(mac.as_slice().try_into().ok()?)?, Share::of_dhcp_port(port)?))
    };
    let found = switch().look("of the shares")?;
    Ok(found.map(|keys| keys.values().flatten().filter_map(share).collect()))
}

/// Changes who is heard by which; `whole`: puts the switch there, in the place of what there is.
pub(in crate::host) fn direct(whole: bool, add: &Shares, remove: &Shares) -> Result<(), Error> {
    let switch = switch();
    let mut changes = if whole { switch.put() } else { Vec::new() };
    // What is not there cannot be removed.
    changes.extend(switch.lead(MAP, elements(remove)));
    changes.extend(switch.remove(MAP, elements(remove).map(|(mac, _)| mac)));
    changes.extend(switch.lead(MAP, elements(add)));
    if whole {
        guard().try_for_each(|guard| guard.commit(&guard.put()))?;
    }
    switch.commit(&changes)
}

/// Removes the switch, if it is there.
pub(in crate::host) fn open() -> Result<(), Error> {
    guard().chain([switch()]).try_for_each(|table| table.commit(&table.gone()))
}

fn elements(shares: &Shares) -> impl Iterator<Item = Element> {
    shares.iter().map(|(mac, share)| (mac.octets().to_vec(), share.dhcp_port().to_be_bytes().to_vec()))
}

fn switch() -> Table {
    const ETHER: u32 = 9;
    const PORT: u32 = 13;
    const PRE_ROUTING: u32 = 0;
    const LOCAL_OUT: u32 = 3;
    let chain = |name, hook, rules| Chain::of_family(name, hook, Priority::Raw, rules);
    Table {
        level: Level::Ip(Family::V4),
        name: "kube-dhcp-shares",
        sets: vec![Set { name: MAP, key_type: ETHER, key_length: 6, data: Some((PORT, 2)) }],
        chains: vec![
            chain("input", PRE_ROUTING, vec![private(UDP), private(TCP), to_share(false), to_share(true)]),
            chain("output", LOCAL_OUT, vec![as_one()]),
        ],
    }
}

/// They listen at the addresses of IPv6, too.
fn guard() -> impl Iterator<Item = Table> {
    const PRE_ROUTING: u32 = 0;
    let rules = vec![private(UDP), private(TCP)];
    let chain = Chain::of_family("input", PRE_ROUTING, Priority::Raw, rules);
    let guard = Table {
        level: Level::Ip(Family::V6),
        name: "kube-dhcp-shares",
        sets: Vec::new(),
        chains: vec![chain],
    };
    machine::has_ipv6().then_some(guard).into_iter()
}

/// `iifname "dhcp0" meta l4proto … th dport 600-999 drop`
fn private(protocol: u8) -> Vec<Attribute> {
    let range = between(2, *PRIVATE_PORTS.start(), *PRIVATE_PORTS.end());
    [from_device(), of_protocol(protocol), range, vec![verdict(DROP)]].concat()
}

fn between(offset: u32, first: u16, last: u16) -> Vec<Attribute> {
    let at_least = compare(AT_LEAST, first.to_be_bytes().to_vec());
    vec![load(TRANSPORT, offset, 2), at_least, compare(AT_MOST, last.to_be_bytes().to_vec())]
}

/// `iifname "dhcp0" udp dport 67 udp dport set @th,288,48 map @shares`: by `chaddr` of RFC 2131 §2. Before it
/// the same for `udp checksum 0`, which says that there is none and stays.
fn to_share(has_checksum: bool) -> Vec<Attribute> {
    const CHECKSUM: u32 = 6;
    const CHADDR: u32 = 8 + 28;
    let port = vec![load(TRANSPORT, 2, 2), compare(EQUAL, SERVER_PORT.to_be_bytes().to_vec())];
    let none =
        if has_checksum { vec![] } else { vec![load(TRANSPORT, CHECKSUM, 2), compare(EQUAL, vec![0, 0])] };
    let mended = has_checksum.then_some(CHECKSUM);
    let share = vec![load(TRANSPORT, CHADDR, 6), follow(MAP), write(TRANSPORT, 2, 2, mended)];
    [from_device(), of_protocol(UDP), port, none, share].concat()
}

/// `oifname "dhcp0" udp sport 600-799 udp sport set 67`
fn as_one() -> Vec<Attribute> {
    let share = between(0, *DHCP_PORTS.start(), *DHCP_PORTS.end());
    let port = vec![bytes(&SERVER_PORT.to_be_bytes()), write(TRANSPORT, 0, 2, Some(6))];
    [to_device(), of_protocol(UDP), share, port].concat()
}
