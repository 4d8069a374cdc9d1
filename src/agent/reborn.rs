//! Guests that come again under another identity in DHCPv6: installed anew, or first by their firmware and
//! then by their system. dnsmasq has no address for them as long as the old identity holds the leases.
//!
//! Used by a network's worker. Pure: it says which leases are to be given back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::dnsmasq::{Host, Lease, Server};
use crate::host::Solicitor;
use crate::node::Family;
use crate::service::Offer;
use crate::types::Identity;

/// A guest may change its identity so often. It harms only itself; but each change is work.
const EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reborn {
    /// When a guest had leases given back last.
    done: BTreeMap<Identity, Instant>,
}

impl Reborn {
    /// The leases that are in the way of those who asked.
    pub(super) fn in_the_way(
        &mut self,
        asked: &[Solicitor],
        server: &Server,
        now: Instant,
    ) -> Vec<(IpAddr, Lease)> {
        self.done.retain(|_, done| now.saturating_duration_since(*done) < EVERY);
        let mut all = Vec::new();
        for solicitor in asked {
            let Some((guest, host)) = line_of(solicitor, server) else { continue };
            if self.done.contains_key(&guest) {
                continue;
            }
            let leases = in_the_way(solicitor, host, &server.leases);
            if !leases.is_empty() {
                self.done.insert(guest, now);
                all.extend(leases);
            }
        }
        all
    }
}

/// All that other identities of the same guest hold. A client that has all its addresses, and asks for one
/// more by a new association, gets the last one: of two it may have lost the first one, too.
fn in_the_way(solicitor: &Solicitor, host: &Host, leases: &BTreeMap<IpAddr, Lease>) -> Vec<(IpAddr, Lease)> {
    let addresses = host.offer.iter().flat_map(Offer::ips);
    let held: Option<Vec<_>> = addresses.map(|ip| leases.get(&ip).map(|lease| (ip, lease.clone()))).collect();
    // There is one left: that is not why it got none.
    let Some(held) = held else { return Vec::new() };
    let (own, others): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|(_, lease)| duid(lease) == solicitor.duid);
    if !others.is_empty() {
        return others;
    }
    let asked_by = |lease: &Lease| matches!(lease, Lease::V6 { iaid, .. } if solicitor.iaids.contains(iaid));
    if solicitor.iaids.is_empty() || own.iter().any(|(_, lease)| asked_by(lease)) {
        return Vec::new();
    }
    own.into_iter().next_back().into_iter().collect()
}

/// By what the guest is known, and its line: as dnsmasq looks for it.
fn line_of<'a>(solicitor: &Solicitor, server: &'a Server) -> Option<(Identity, &'a Host)> {
    let own = solicitor.duid.parse().ok().map(Identity::Duid);
    let all = own.into_iter().chain([Identity::Mac(solicitor.mac)]);
    all.map(|guest| (guest, Family::V6)).find_map(|client| {
        let host = server.hosts.entries.get(&client)?;
        Some((client.0, host))
    })
}

fn duid(lease: &Lease) -> &str {
    match lease {
        Lease::V4 { .. } => "",
        Lease::V6 { duid, .. } => duid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnsmasq::Hosts;
    use crate::types::MacAddr;

    const OLD: &str = "00:04:01";
    const NEW: &str = "00:04:02";

    fn ip(n: u16) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])
    }

    /// One guest with these addresses, some of them leased.
    fn server(addresses: &[u16], leases: &[(u16, &str, u32)]) -> Server {
        let mut ips = addresses.iter().map(|n| ip(*n));
        let host = Host {
            offer: Some(Offer { ip: ips.next().unwrap(), more: ips.collect(), name: "vm1".parse().unwrap() }),
            tag: "p".into(),
        };
        let hosts = BTreeMap::from([((MacAddr::local([1; 5]).into(), Family::V6), host)]);
        let lease = |(n, duid, iaid): &(u16, &str, u32)| {
            (ip(*n), Lease::V6 { duid: (*duid).to_owned(), iaid: *iaid, name: None })
        };
        let leases = leases.iter().map(lease).collect();
        Server { hosts: Hosts::fresh(hosts), leases, ..Server::default() }
    }

    fn asks(duid: &str, iaids: &[u32]) -> Solicitor {
        let iaids = iaids.iter().copied().collect();
        Solicitor { mac: MacAddr::local([1; 5]), duid: duid.to_owned(), iaids }
    }

    fn given_back(server: &Server, solicitor: Solicitor) -> Vec<IpAddr> {
        let leases = Reborn::default().in_the_way(&[solicitor], server, Instant::now());
        leases.into_iter().map(|(ip, _)| ip).collect()
    }

    #[test]
    fn what_the_old_identity_holds_is_given_back() {
        let one = server(&[1], &[(1, OLD, 1)]);
        assert_eq!(given_back(&one, asks(NEW, &[1])), [ip(1)]);
        assert_eq!(given_back(&one, asks(NEW, &[])), [ip(1)], "known by the log alone");
        assert_eq!(given_back(&one, asks(OLD, &[2])), [ip(1)], "another association");
        assert_eq!(given_back(&one, asks(OLD, &[1])), [] as [IpAddr; 0], "it has it");
        let other = Solicitor { mac: MacAddr::local([9; 5]), ..asks(NEW, &[1]) };
        assert_eq!(given_back(&one, other), [] as [IpAddr; 0], "nobody's business");
    }

    #[test]
    fn several_addresses_and_associations_go_on_working() {
        let free = server(&[1, 2], &[(1, OLD, 1)]);
        assert_eq!(given_back(&free, asks(OLD, &[2])), [] as [IpAddr; 0], "one is left");
        let full = server(&[1, 2], &[(1, OLD, 1), (2, OLD, 2)]);
        assert_eq!(given_back(&full, asks(NEW, &[1])), [ip(1), ip(2)]);
        assert_eq!(given_back(&full, asks(OLD, &[3])), [ip(2)]);
        assert_eq!(given_back(&full, asks(OLD, &[2, 3])), [] as [IpAddr; 0]);
        let mixed = server(&[1, 2], &[(1, OLD, 1), (2, NEW, 1)]);
        assert_eq!(given_back(&mixed, asks(NEW, &[2])), [ip(1)]);
    }

    #[test]
    fn a_guest_with_many_identities_makes_no_work() {
        let (server, mut reborn) = (server(&[1], &[(1, OLD, 1)]), Reborn::default());
        let mut count = |duid: &str, now| reborn.in_the_way(&[asks(duid, &[1])], &server, now).len();
        let now = Instant::now();
        assert_eq!(count(NEW, now), 1);
        for n in 0..100 {
            assert_eq!(count(&format!("00:04:{n:02}:03"), now + EVERY / 2), 0);
        }
        assert_eq!(count(NEW, now + EVERY), 1);
    }

    #[test]
    fn many_devices_of_one_duid_are_one_guest() {
        let (mut server, mut reborn) = (server(&[1], &[(1, OLD, 1)]), Reborn::default());
        let (_, host) = server.hosts.entries.pop_first().unwrap();
        server.hosts.entries.insert((Identity::duid(OLD).unwrap(), Family::V6), host);
        let mut count = |n: u8, now| {
            let device = Solicitor { mac: MacAddr::local([n; 5]), ..asks(OLD, &[n.into()]) };
            reborn.in_the_way(&[device], &server, now).len()
        };
        let now = Instant::now();
        assert_eq!(count(2, now), 1);
        for n in 3..100 {
            assert_eq!(count(n, now + EVERY / 2), 0);
        }
        assert_eq!(count(2, now + EVERY), 1);
    }
}
