//! The leases of a network's servers: how many, which are held by somebody else than their Port, and which
//! their guests did not want.
//!
//! Called by its worker after each pass. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::declined::Declined;
use crate::api::{DeclinedAddress, ForeignLease, MOST_LISTED, ServedLeases};
use crate::conditions::count;
use crate::desired::{Desired, PortView};
use crate::dnsmasq::{Lease, Server};
use crate::host;
use crate::node::Segment;

/// In hex with colons: 130 octets are the most (RFC 8415 §11.1).
const LONGEST_DUID: usize = 130 * 3 - 1;

type Leases = BTreeMap<IpAddr, Lease>;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Leased {
    pub(super) counts: ServedLeases,
    pub(super) foreign: Vec<ForeignLease>,
    pub(super) declined: Vec<DeclinedAddress>,
}

impl Leased {
    /// Those that are known of. `withheld` are those that the server did not give up: nobody tries it again
    /// before they are read anew.
    pub(super) fn of(
        segment: Option<&Segment>,
        withheld: &host::Leases,
        declined: &Declined,
        desired: &Desired,
    ) -> Self {
        let Some(segment) = segment.filter(|segment| segment.server.is_some()) else {
            return Self::default();
        };
        let nothing = Leases::new();
        let (mut v4, mut v6, mut others) = (0, 0, Vec::new());
        for (share, server) in segment.servers() {
            let all = || server.leases.iter().chain(withheld.get(&share).unwrap_or(&nothing));
            let four = all().filter(|(ip, _)| ip.is_ipv4()).count();
            (v4, v6) = (v4 + four, v6 + all().count() - four);
            others.extend(foreign(server, all(), desired));
        }
        others.truncate(MOST_LISTED);
        let counts = ServedLeases { ipv4: count(v4), ipv6: count(v6) };
        Self { counts, foreign: others, declined: declined.list(desired) }
    }
}

/// Those of a Port's address that are not the Port's.
fn foreign<'a>(
    server: &Server,
    leases: impl Iterator<Item = (&'a IpAddr, &'a Lease)>,
    desired: &Desired,
) -> Vec<ForeignLease> {
    let rights = server.rights();
    let others: Vec<_> = leases.filter(|(ip, lease)| !rights.has(**ip, lease)).collect();
    if others.is_empty() {
        return Vec::new();
    }
    let addresses = |(name, view): (&String, &PortView)| -> Vec<(IpAddr, String)> {
        view.addresses.iter().map(|(ip, _)| (*ip, name.clone())).collect()
    };
    let ports: BTreeMap<IpAddr, String> = desired.ports.iter().flat_map(addresses).collect();
    let of = |(ip, lease): (&IpAddr, &Lease)| {
        Some(ForeignLease {
            ip: ip.to_string(),
            port_name: ports.get(ip)?.clone(),
            mac_address: rights.holder(*ip, lease).map(|mac| mac.to_string()),
            duid: match lease {
                Lease::V4 { .. } => None,
                Lease::V6 { duid, .. } => Some(duid.chars().take(LONGEST_DUID).collect()),
            },
        })
    };
    others.into_iter().filter_map(of).take(MOST_LISTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnsmasq::{Host, Hosts};
    use crate::node::Family;
    use crate::service::Offer;
    use crate::types::MacAddr;

    #[test]
    fn anothers_lease_of_a_ports_address_is_named_and_counted() {
        let mac = |n| MacAddr::local([0, 0, 0, 0, n]);
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let six: IpAddr = "2001:db8::5".parse().unwrap();
        let host = |ip, name: &str| {
            let offer = Offer { ip, more: vec![], name: name.parse().unwrap() };
            Host { offer: Some(offer), tag: "p".into() }
        };
        let hosts = BTreeMap::from([
            ((mac(1).into(), Family::V4), host(ip(1), "a")),
            ((mac(1).into(), Family::V6), host(six, "a")),
            ((mac(2).into(), Family::V6), host("2001:db8::6".parse().unwrap(), "b")),
        ]);
        let thief = Lease::V6 { duid: "00:04:01".into(), iaid: 1, name: "b".parse().ok() };
        let held = BTreeMap::from([
            (ip(1), Lease::V4 { mac: mac(1), client_id: None }),
            (ip(9), Lease::V4 { mac: mac(9), client_id: None }),
            (six, thief),
        ]);
        let server = Server { hosts: Hosts::fresh(hosts), leases: held, ..Server::default() };
        let segment = Segment { server: Some(server.clone()), ..Segment::default() };
        let view =
            PortView { addresses: vec![(ip(1), "s".into()), (six, "t".into())], ..PortView::default() };
        let desired = Desired { ports: BTreeMap::from([("vm1".to_owned(), view)]), ..Desired::default() };
        let leased = Leased::of(Some(&segment), &host::Leases::new(), &Declined::default(), &desired);
        assert_eq!(leased.counts, ServedLeases { ipv4: 2, ipv6: 1 });
        let foreign = ForeignLease {
            ip: "2001:db8::5".into(),
            port_name: "vm1".into(),
            mac_address: Some(mac(2).to_string()),
            duid: Some("00:04:01".into()),
        };
        assert_eq!(leased.foreign, [foreign], "nobody's address is nobody's to complain of");
        let withheld = Leases::from([(ip(1), Lease::V4 { mac: mac(7), client_id: None })]);
        let withheld = host::Leases::from([(None, withheld)]);
        let segment = Segment { server: Some(Server { leases: Leases::new(), ..server }), ..segment };
        let leased = Leased::of(Some(&segment), &withheld, &Declined::default(), &desired);
        assert_eq!((leased.counts.ipv4, leased.foreign.len()), (1, 1));
        assert_eq!(Leased::of(None, &withheld, &Declined::default(), &desired), Leased::default());
    }
}
