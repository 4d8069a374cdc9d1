//! From what the guests of a network shall get to what this node holds for it.
//!
//! Called by `desired`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use super::network::Admitted;
use super::port::Guest;
use super::subnet::Served;
use super::{NodeConfig, Settled};
use crate::dnsmasq::{self, Layout, Share, Shares};
use crate::node::{Attached, Bridge, Device, Family, Namespace, Rule, Segment, Sysctl};
use crate::service::{Asker, Scope, Service};
use crate::types::{MacAddr, NetworkUid};

/// `service` and all that it needs. `shared`: there is a controller.
pub(super) fn segment(
    node: &NodeConfig,
    uid: NetworkUid,
    (asker, shared): (Asker, bool),
    admitted: &Admitted,
    settled: &Settled<'_>,
    service: Service,
) -> Segment {
    let subnets = &settled.subnets;
    let guests = heard(&service, &settled.ports.guests);
    let known = guests.as_ref().map(|guests| guests.iter().copied().chain([asker.mac]).collect());
    let (server, _) = dnsmasq::server(service, &Layout::new(&node.state, uid));
    let mac = asker.device;
    let device = Device {
        attached: admitted.attached.clone(),
        addresses: subnets.iter().filter_map(Served::device_address).collect(),
        gateways: subnets.iter().rev().filter_map(Served::route).collect(),
        neighbours: neighbours(mac, subnets, guests.iter().flatten()),
        ..Device::bare(mac, u32::from(admitted.mtu.unwrap_or(1500)))
    };
    Segment {
        namespace: Some(Namespace {
            usable: true,
            sysctls: BTreeSet::from(Sysctl::ALL),
            rules: rules(shared && node.several_servers),
            known,
            directed: BTreeMap::new(),
        }),
        bridge: admitted.attached.as_ref().and_then(|attached| bridge(node, attached)),
        device: Some(device),
        server: Some(server),
        shares: BTreeMap::new(),
        rooms: BTreeMap::new(),
        metadata: None,
    }
}

/// What must be there before the device is.
fn bridge(node: &NodeConfig, attached: &Attached) -> Option<Bridge> {
    match attached {
        Attached::Bridge { bridge, vlan } => {
            // One that we made would filter nothing, and nothing on the node would be in its VLANs.
            let ours = node.create_bridges && vlan.is_none();
            Some(Bridge { name: bridge.clone(), ours, vlan: *vlan })
        }
        Attached::Macvlan(_) | Attached::Ovs { .. } => None,
    }
}

/// Whom DHCPv6 hears, and who may ask for router advertisements: others would have it wait for their
/// neighbour entries, keep it busy, and get answers that dnsmasq does not keep from strangers.
fn heard(service: &Service, guests: &[Guest]) -> Option<BTreeSet<MacAddr>> {
    let of_dhcp = service.reservations.iter().filter(|port| port.family == Family::V6);
    let of_dhcp = of_dhcp.filter_map(|port| port.identity.mac().or(port.device));
    let advertises = service.advertisement.is_some();
    let soliciting = guests.iter().filter_map(Guest::device).filter(|_| advertises);
    let served = advertises || service.scopes.iter().any(Scope::has_dhcpv6);
    served.then(|| of_dhcp.chain(soliciting).collect())
}

/// Those whom dnsmasq need not wait for: guests at the addresses that they have by default, and ourselves,
/// who release leases.
fn neighbours<'a>(
    own: MacAddr,
    subnets: &[Served],
    guests: impl Iterator<Item = &'a MacAddr>,
) -> BTreeMap<Ipv6Addr, MacAddr> {
    let servers = subnets.iter().filter_map(|subnet| match subnet.server {
        Some(IpAddr::V6(ip)) => Some((ip, own)),
        _ => None,
    });
    guests.map(|mac| (mac.link_local(), *mac)).chain(servers).collect()
}

/// A device like the network's own for each share of DHCPv6, beside which are its guests; they are the device's
/// neighbours no more.
pub(super) fn give_rooms(segment: &mut Segment, shares: Option<&Shares>) {
    let Some((device, shares)) = segment.device.as_mut().zip(shares) else { return };
    let mut theirs: BTreeMap<Share, Vec<_>> = BTreeMap::new();
    let mut own = Vec::new();
    for (ip, mac) in std::mem::take(&mut device.neighbours) {
        let whose = shares.get(&mac).map_or(&mut own, |share| theirs.entry(*share).or_default());
        whose.push((ip, mac));
    }
    device.neighbours = own.into_iter().collect();
    let servers = device.neighbours.iter().filter(|(_, mac)| **mac == device.mac);
    let servers: Vec<_> = servers.map(|(ip, mac)| (*ip, *mac)).collect();
    let six = device.addresses.iter().filter(|net| net.addr().is_ipv6()).copied();
    let like = Device { addresses: six.collect(), ..Device::bare(device.mac, device.mtu) };
    let room = |share: &Share| {
        let guests = theirs.remove(share).unwrap_or_default();
        (
            *share,
            Device {
                neighbours: guests.into_iter().chain(servers.iter().copied()).collect(),
                ..like.clone()
            },
        )
    };
    segment.rooms = segment.shares.keys().filter(|share| share.has_room()).map(room).collect();
}

fn rules(shared: bool) -> BTreeSet<Rule> {
    let checksums = Family::ALL.map(Rule::Checksum);
    checksums.into_iter().chain(shared.then_some(Rule::SelectedOther)).collect()
}
