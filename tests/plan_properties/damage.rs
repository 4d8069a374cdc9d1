//! What happens to a node without our doing.

use std::net::Ipv4Addr;

use kube_dhcp::dnsmasq::Server;
use kube_dhcp::node::{Action, Family, Rule, Segment, Sysctl};
use kube_dhcp::types::MacAddr;
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
    Directory,
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
        D::Directory,
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
                device.bridge = None;
            }
        }
        Damage::Directory if segment.server.as_ref().is_some_and(|server| server.process.is_none()) => {
            segment.server = None;
        }
        Damage::Rule | Damage::Sysctl => {
            if let Some(namespace) = &mut segment.namespace {
                namespace.rules.remove(&Rule::Checksum(Family::V4));
                namespace.sysctls.remove(&Sysctl::NonlocalBind);
            }
        }
        other => {
            suffer_device(segment, other);
            suffer_server(segment.server.as_mut(), other);
        }
    }
}

/// Its process is in a namespace that is no longer the network's.
fn outdate(segment: &mut Segment) {
    if let Some(process) = segment.server.as_mut().and_then(|server| server.process.as_mut()) {
        process.current = false;
    }
}

fn suffer_device(segment: &mut Segment, damage: Damage) {
    let Some(device) = &mut segment.device else { return };
    match damage {
        Damage::Down => device.up = false,
        Damage::Unplugged => device.bridge = None,
        Damage::Address => device.addresses.clear(),
        Damage::ExtraAddress => {
            device.addresses.insert("10.9.9.9/24".parse().unwrap());
        }
        Damage::Route => device.gateway = Some(Ipv4Addr::new(10, 9, 9, 9)),
        Damage::Mtu => device.mtu = 0,
        _ => {}
    }
}

fn suffer_server(server: Option<&mut Server>, damage: Damage) {
    let Some(server) = server else { return };
    match damage {
        Damage::Process => server.process = None,
        Damage::OldBinary => server.process.iter_mut().for_each(|process| process.current = false),
        Damage::Hosts => server.hosts.foreign = true,
        Damage::Options => server.options.foreign = true,
        Damage::Names => server.names.clear(),
        Damage::ForeignLease => {
            server.leases.insert(Ipv4Addr::new(10, 0, 0, 99), MacAddr::local([9; 5]));
        }
        Damage::Leases => {
            let hosts = server.hosts.entries.iter();
            server.leases = hosts.map(|(mac, host)| (host.ip, *mac)).collect();
        }
        _ => {}
    }
}
