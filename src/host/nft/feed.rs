//! What leads guests of DHCPv6 to the rooms of their shares, and the answers back: all servers have one port, so
//! that each that has a share of the guests is in a namespace of its own.
//!
//! Called by `linux`, `rooms` and `observe` on a thread in the network's namespace. Who is in no share is heard by
//! the one server. A guest is told apart by the MAC address that its frame is from, as everywhere in DHCPv6. Where a
//! share's server looks for a guest's MAC address, the guest's word reaches both. Each change is one transaction.

use std::collections::BTreeMap;

use super::Level;
use super::attribute::Attribute;
use super::expression::{
    DROP, EQUAL, ICMPV6, TRANSPORT, UDP, bytes, compare, duplicate, ethernet_source, follow, forward, load,
    of_protocol, verdict,
};
use super::rules::{never_heard, to_server};
use super::table::{Chain, Element, Priority, Set, Table};
use crate::dnsmasq::{Share, Shares};
use crate::host::Error;
use crate::node::INNER_DEVICE;
use crate::types::MacAddr;
use crate::wire::dhcpv6::SERVER_PORT;

const MAP: &str = "shares";

/// The devices between which it leads, by their indices, as they are now.
pub(in crate::host) struct Devices {
    /// The network's own.
    pub(in crate::host) own: u32,
    /// Those that lead to rooms.
    pub(in crate::host) feeds: BTreeMap<Share, u32>,
}

/// Who is heard by which; `None`: nobody is led, or not all of it is there, or it leads to what is gone.
pub(in crate::host) fn look(devices: &Devices) -> Result<Option<Shares>, Error> {
    let shares: BTreeMap<_, _> = devices.feeds.iter().map(|(share, index)| (*index, *share)).collect();
    let share = |(mac, index): &Element| {
        let index = u32::from_ne_bytes(index.as_slice().try_into().ok()?);
        Some((MacAddr::new(mac.as_slice().try_into().ok()?)?, *shares.get(&index)?))
    };
    let found = table(devices, INNER_DEVICE, Share::feed).look("of the shares")?;
    Ok(found.and_then(|keys| keys.values().flatten().map(share).collect()))
}

/// Changes who is heard by which; `whole`: puts all of it there, in the place of what there is.
pub(in crate::host) fn direct(
    devices: &Devices,
    whole: bool,
    add: &Shares,
    remove: &Shares,
) -> Result<(), Error> {
    let table = table(devices, INNER_DEVICE, Share::feed);
    let element = |(mac, share): (&MacAddr, &Share)| {
        let index = devices.feeds.get(share).ok_or_else(|| Error::NoLink(share.feed()))?;
        Ok((mac.octets().to_vec(), index.to_ne_bytes().to_vec()))
    };
    let elements = |shares: &Shares| shares.iter().map(element).collect::<Result<Vec<Element>, Error>>();
    let (add, remove) = (elements(add)?, elements(remove)?);
    let mut changes = if whole { table.put() } else { Vec::new() };
    // What is not there cannot be removed.
    changes.extend(table.lead(MAP, remove.iter().cloned()));
    changes.extend(table.remove(MAP, remove.into_iter().map(|(mac, _)| mac)));
    changes.extend(table.lead(MAP, add.into_iter()));
    table.commit(&changes)
}

/// Removes it, if it is there.
pub(in crate::host) fn open() -> Result<(), Error> {
    let table = table(&Devices { own: 0, feeds: BTreeMap::new() }, INNER_DEVICE, Share::feed);
    table.commit(&table.gone())
}

/// Whether the kernel can do that: in a namespace that is for this only.
pub(in crate::host) fn try_out() -> Result<(), Error> {
    const LOOPBACK: u32 = 1;
    let lo = |_| "lo".to_owned();
    let feeds = Share::new(crate::node::Family::V6, 1).map(|share| (share, LOOPBACK)).into_iter().collect();
    let table = table(&Devices { own: LOOPBACK, feeds }, "lo", lo);
    table.commit(&table.put())
}

fn table(devices: &Devices, own: &str, feed: impl Fn(Share) -> String) -> Table {
    const ETHER: u32 = 9;
    const DEVICE: u32 = 20;
    const INGRESS: u32 = 0;
    let chain = |name: String, device: String, rules| {
        let (device, priority) = (Some(device), Priority::Filter);
        Chain { name, device, hook: INGRESS, priority, rules }
    };
    let [rebind, relayed] = never_heard();
    let of_guests = vec![word_of_guest(), rebind, relayed, question_of_guest()];
    let mut chains = vec![chain("guests".to_owned(), own.to_owned(), of_guests)];
    chains.extend(devices.feeds.keys().map(|share| {
        let out = |what: [Vec<Attribute>; 2]| {
            [what.concat(), vec![bytes(&devices.own.to_ne_bytes()), forward()]].concat()
        };
        chain(share.to_string(), feed(*share), vec![out(answer()), out(search()), vec![verdict(DROP)]])
    }));
    let sets = vec![Set { name: MAP, key_type: ETHER, key_length: 6, data: Some((DEVICE, 4)) }];
    Table { level: Level::Device, name: "kube-dhcp-shares", sets, chains }
}

/// `icmpv6 type nd-neighbor-advert dup to ether saddr map @shares`
fn word_of_guest() -> Vec<Attribute> {
    const ADVERTISEMENT: u8 = 136;
    [neighbours(ADVERTISEMENT).concat(), ethernet_source(), vec![follow(MAP), duplicate()]].concat()
}

/// `udp dport 547 fwd to ether saddr map @shares`
fn question_of_guest() -> Vec<Attribute> {
    [to_server(), ethernet_source(), vec![follow(MAP), forward()]].concat()
}

/// `udp sport 547`
fn answer() -> [Vec<Attribute>; 2] {
    let port = vec![load(TRANSPORT, 0, 2), compare(EQUAL, SERVER_PORT.to_be_bytes().to_vec())];
    [of_protocol(UDP), port]
}

/// `icmpv6 type nd-neighbor-solicit`
fn search() -> [Vec<Attribute>; 2] {
    const SOLICITATION: u8 = 135;
    neighbours(SOLICITATION)
}

/// RFC 4861 §4.3, §4.4.
fn neighbours(kind: u8) -> [Vec<Attribute>; 2] {
    [of_protocol(ICMPV6), vec![load(TRANSPORT, 0, 1), compare(EQUAL, vec![kind])]]
}
