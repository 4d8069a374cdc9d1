//! What happens to a node without our doing.

use std::net::{IpAddr, Ipv6Addr};

use kube_dhcp::dnsmasq::{Client, Host, Lease, Server};
use kube_dhcp::node::{Action, Device, Family, Rule, Segment, Sysctl};
use kube_dhcp::types::{HostName, MacAddr};
use proptest::prelude::*;

/// One thing.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    Rule,
    Sysctl,
    Down,
    Unplugged,
    Address,
    ExtraAddress,
    Route,
    RouteV6,
    Neighbours,
    Filter,
    Guests,
    Mtu,
    Device,
    Namespace,
    UnusableName,
    Bridge,
    Process,
    OldBinary,
    Hosts,
    Options,
    Names,
    ForeignLease,
    Leases,
    NamelessLeases,
    Directory,
    Share,
    Switch,
    SwitchV6,
    Room,
    RoomLess,
    RoomNeighbours,
}

pub fn damage() -> impl Strategy<Value = Damage> {
    use Damage as D;
    prop::sample::select(vec![
        D::Rule,
        D::Sysctl,
        D::Down,
        D::Unplugged,
        D::Address,
        D::ExtraAddress,
        D::Route,
        D::RouteV6,
        D::Neighbours,
        D::Filter,
        D::Guests,
        D::Mtu,
        D::Device,
        D::Namespace,
        D::UnusableName,
        D::Bridge,
        D::Process,
        D::OldBinary,
        D::Hosts,
        D::Options,
        D::Names,
        D::ForeignLease,
        D::Leases,
        D::NamelessLeases,
        D::Directory,
        D::Share,
        D::Switch,
        D::SwitchV6,
        D::Room,
        D::RoomLess,
        D::RoomNeighbours,
    ])
}

pub fn suffer(segment: &mut Segment, damage: Damage) {
    match damage {
        Damage::Namespace => {
            segment.record(&Action::DeleteNamespace);
            outdate(segment);
        }
        Damage::UnusableName => {
            segment.record(&Action::DeleteNamespace);
            segment.namespace = Some(kube_dhcp::node::Namespace::default());
            outdate(segment);
        }
        Damage::Device => segment.device = None,
        Damage::Bridge => {
            segment.bridge = None;
            if let Some(device) = &mut segment.device {
                device.attached = None;
            }
        }
        Damage::Directory if segment.servers().all(|(_, server)| server.process.is_none()) => {
            segment.server = None;
            segment.shares.clear();
        }
        Damage::Share => {
            segment.shares.values_mut().take(1).for_each(|server| server.process = None);
        }
        Damage::Switch => segment.record(&Action::DirectNobody(Family::V4)),
        Damage::SwitchV6 => segment.record(&Action::DirectNobody(Family::V6)),
        Damage::Room => segment.rooms.values_mut().take(1).for_each(|room| *room = Device::half()),
        Damage::RoomLess => drop(segment.rooms.pop_first()),
        Damage::RoomNeighbours => segment.rooms.values_mut().for_each(|room| {
            room.addresses.insert("2001:db8:ffff::1/64".parse().unwrap());
            room.neighbours.pop_first();
        }),
        Damage::Rule | Damage::Sysctl => {
            if let Some(namespace) = &mut segment.namespace {
                namespace.rules.remove(&Rule::Checksum(Family::V4));
                namespace.sysctls.remove(&Sysctl::NonlocalBind);
            }
        }
        Damage::Filter => segment.record(&Action::OpenDhcpv6),
        Damage::Guests => {
            let known = segment.namespace.as_mut().and_then(|namespace| namespace.known.as_mut());
            if let Some(known) = known {
                known.pop_first();
                known.insert(MacAddr::local([8; 5]));
            }
        }
        other => {
            suffer_device(segment, other);
            segment.servers_mut().for_each(|(_, server)| suffer_server(server, other));
        }
    }
}

/// Its processes are in a namespace that is no longer the network's.
fn outdate(segment: &mut Segment) {
    let processes = segment.servers_mut().filter_map(|(_, server)| server.process.as_mut());
    processes.for_each(|process| process.current = false);
}

fn suffer_device(segment: &mut Segment, damage: Damage) {
    let Some(device) = &mut segment.device else { return };
    match damage {
        Damage::Down => device.up = false,
        Damage::Unplugged => device.attached = None,
        Damage::Address => device.addresses.clear(),
        Damage::ExtraAddress => {
            device.addresses.insert("10.9.9.9/24".parse().unwrap());
        }
        Damage::Route => drop(device.gateways.insert(Family::V4, [10, 9, 9, 9].into())),
        Damage::RouteV6 => {
            let stranger = "fe80::99".parse().unwrap();
            device.gateways.entry(Family::V6).and_modify(|ip| *ip = stranger).or_insert(stranger);
        }
        Damage::Neighbours => {
            device.neighbours.pop_first();
            device.neighbours.insert("fe80::99".parse().unwrap(), MacAddr::local([8; 5]));
        }
        Damage::Mtu => device.mtu = 0,
        _ => {}
    }
}

fn suffer_server(server: &mut Server, damage: Damage) {
    match damage {
        Damage::Process => server.process = None,
        Damage::OldBinary => server.process.iter_mut().for_each(|process| process.current = false),
        Damage::Hosts => server.hosts.foreign = true,
        Damage::Options => server.options.foreign = true,
        Damage::Names => server.names.clear(),
        Damage::ForeignLease => {
            let stranger = MacAddr::local([9; 5]);
            server.leases.insert([10, 0, 0, 99].into(), Lease::V4 { mac: stranger, client_id: None });
            server.leases.insert(Ipv6Addr::LOCALHOST.into(), lease6(stranger, None));
        }
        Damage::Leases => {
            let hosts = server.hosts.entries.iter();
            server.leases = hosts.flat_map(|(client, host)| leases(client, host)).collect();
        }
        Damage::NamelessLeases => {
            let leases = server.leases.values_mut();
            leases.for_each(|lease| match lease {
                Lease::V6 { name, .. } => *name = None,
                Lease::V4 { .. } => {}
            });
        }
        _ => {}
    }
}

/// All that a host's line gives.
fn leases((identity, family): &Client, host: &Host) -> Vec<(IpAddr, Lease)> {
    let (Some(offer), Some(mac)) = (&host.offer, identity.mac()) else { return Vec::new() };
    let lease = |ip| match family {
        Family::V4 => (ip, Lease::V4 { mac, client_id: None }),
        Family::V6 => (ip, lease6(mac, Some(&offer.name))),
    };
    offer.ips().map(lease).collect()
}

fn lease6(mac: MacAddr, name: Option<&HostName>) -> Lease {
    Lease::V6 { duid: format!("00:03:00:01:{mac}"), iaid: 1, name: name.cloned() }
}
