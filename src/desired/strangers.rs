//! Guests that are no Port: which addresses are for them, and who is none of them.
//!
//! Called by `desired`. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::claimed::{claimed, claimed_by_default, identifier_of, known_by};
use super::subnet::Served;
use super::{Inputs, port};
use crate::allocate::Ledger;
use crate::api::Port;
use crate::node::Family;
use crate::service::{Asker, Reservation};
use crate::types::{Identity, IpRange, is_reserved};

/// Pieces of a range: each is an argument of dnsmasq's.
const PIECES: usize = 64;

/// Leaves strangers what is nobody's. dnsmasq itself keeps them from what its hosts' lines give, and from its
/// own address, but knows of no router, no other server, and no Port that it does not answer.
pub(super) fn cut(inputs: &Inputs, subnets: &mut [Served], guests: &[port::Guest], ledger: &Ledger) {
    if subnets.iter().all(|subnet| subnet.dynamic.is_empty()) {
        return;
    }
    let lines: BTreeSet<_> = guests
        .iter()
        .flat_map(|guest| guest.reservations(subnets))
        .filter_map(|r| Some(r.offer?.ip))
        .collect();
    let held =
        ledger.iter().filter(|(ip, held)| held.released.is_none() && !lines.contains(ip)).map(|(ip, _)| *ip);
    let mut taken: BTreeSet<IpAddr> = held.chain(inputs.server_addresses()).collect();
    taken.extend(subnets.iter().flat_map(|subnet| [subnet.gateway, subnet.server]).flatten());
    taken.extend(subnets.iter().flat_map(Served::named));
    for subnet in subnets {
        let cidr = subnet.pool.cidr;
        taken.extend([cidr.network(), cidr.broadcast()].into_iter().filter(|ip| is_reserved(cidr, *ip)));
        subnet.dynamic = pieces(std::mem::take(&mut subnet.dynamic), &taken);
    }
}

/// The longest ones, if there are too many.
fn pieces(mut ranges: Vec<IpRange>, taken: &BTreeSet<IpAddr>) -> Vec<IpRange> {
    let within: Vec<_> = taken.iter().filter(|ip| ranges.iter().any(|range| range.contains(**ip))).collect();
    for ip in within {
        let one = IpRange { first: *ip, last: *ip };
        ranges = ranges.into_iter().flat_map(|range| range.without(&one)).collect();
    }
    ranges.sort_by_key(|range| std::cmp::Reverse(range.len()));
    ranges.truncate(PIECES);
    ranges.sort_by_key(|range| range.first);
    ranges
}

/// Ports to which DHCPv4 gives no address: they are nobody's strangers. What a guest calls itself that is
/// answered, or may do so by default, is not among them.
pub(super) fn silent(inputs: &Inputs, reservations: &[Reservation], asker: Asker) -> BTreeSet<Identity> {
    let v4 = reservations.iter().filter(|port| port.family == Family::V4).map(|port| &port.identity);
    let own = [asker.mac, asker.device].map(Identity::Mac);
    let answered: BTreeSet<_> = v4.chain(&own).flat_map(claims).collect();
    let all = inputs.ports.iter().filter_map(|port| identity(port));
    all.filter(|identity| !answered.contains(&claimed(identity))).collect()
}

fn claims(identity: &Identity) -> Vec<Identity> {
    match identity {
        Identity::Mac(mac) => claimed_by_default(*mac).collect(),
        identity => vec![claimed(identity)],
    }
}

/// By what DHCPv4 would know it.
fn identity(port: &Port) -> Option<Identity> {
    let mac = port.spec.mac_address.as_ref().and_then(|mac| mac.parse().ok());
    known_by(identifier_of(port).as_ref(), mac, Family::V4)
}
