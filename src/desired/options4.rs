//! What the guests of an IPv4 subnet are told: its fields, and its network's, as options (RFC 2132).
//!
//! Called by `subnet`. What a user wrote as an option goes before all of it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::network::Admitted;
use super::subnet::Served;
use crate::dhcp_options::route;
use crate::metadata;
use crate::service::{Code, Options};

const ROUTER: Code = Code::V4(3);
const DNS_SERVERS: Code = Code::V4(6);
const DOMAIN: Code = Code::V4(15);
/// The link's MTU.
pub(super) const MTU: Code = Code::V4(26);
const T1: Code = Code::V4(58);
const T2: Code = Code::V4(59);
const CLASSLESS_ROUTES: Code = Code::V4(121);
const MS_CLASSLESS_ROUTES: Code = Code::V4(249);

/// The bytes that an option has room for.
const OPTION: usize = 255;

/// All but the routes, where `server` is the subnet's.
pub(super) fn fields(subnet: &Served, network: &Admitted, server: IpAddr) -> Options {
    let dhcp = &subnet.subnet.spec.dhcp;
    let mut options = Options::from([
        (ROUTER, subnet.gateway.and_then(v4).map(|ip| ip.octets().to_vec()).unwrap_or_default()),
        (
            DNS_SERVERS,
            subnet.resolvers(server).into_iter().filter_map(v4).flat_map(|ip| ip.octets()).collect(),
        ),
    ]);
    options.extend(network.mtu.map(|mtu| (MTU, mtu.to_be_bytes().to_vec())));
    options.extend(network.domain.as_ref().map(|domain| (DOMAIN, domain.to_string().into_bytes())));
    options.extend(dhcp.renewal_seconds.map(|t1| (T1, t1.to_be_bytes().to_vec())));
    options.extend(dhcp.rebinding_seconds.map(|t2| (T2, t2.to_be_bytes().to_vec())));
    options
}

/// Routes (RFC 3442), also under Microsoft's number: those to the network's other subnets, the user's,
/// and, because who takes this option ignores the router option, the default one. Neutron:
/// `_generate_opts_per_subnet`; unlike there, a gateway outside the subnet gets a route of its own.
pub(super) fn routes(subnet: &Served, all: &[Served]) -> Options {
    let on_link = |net| route((net, Ipv4Addr::UNSPECIFIED));
    let others = all.iter().filter(|other| other.pool.cidr != subnet.pool.cidr);
    let others = others.filter_map(|other| v4_net(other.pool.cidr)).map(on_link);
    let own = subnet.routes.iter().filter_map(|(net, next_hop)| Some((v4_net(*net)?, v4(*next_hop)?)));
    let gateway = subnet.gateway.and_then(v4);
    let mut own: Vec<u8> = own.flat_map(route).collect();
    // The user's own routes and the gateway's leave it the room that they leave, and it goes before others.
    let short_cuts: Vec<_> = metadata_route(subnet).map(on_link).into_iter().chain(others).collect();
    if let Some(gateway) = gateway {
        if !subnet.pool.cidr.contains(&IpAddr::V4(gateway)) {
            own.extend(on_link(gateway.into()));
        }
        if !short_cuts.is_empty() || !own.is_empty() {
            own.extend(route((Ipv4Net::default(), gateway)));
        }
    }
    if short_cuts.is_empty() && own.is_empty() {
        return Options::new();
    }
    let bytes = filled(short_cuts, own);
    Options::from([(CLASSLESS_ROUTES, bytes.clone()), (MS_CLASSLESS_ROUTES, bytes)])
}

/// On-link, and not by way of one of the servers: the guest asks the segment who has the address, and asks
/// again when that server is gone. One that the user leads elsewhere is led there.
fn metadata_route(subnet: &Served) -> Option<Ipv4Net> {
    let net = Ipv4Net::from(metadata::V4);
    let led = subnet.routes.iter().any(|(other, _)| *other == IpNet::V4(net));
    (subnet.metadata && !led).then_some(net)
}

/// Short cuts as far as there is room; beyond, the gateway is the way.
fn filled(short_cuts: Vec<Vec<u8>>, own: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for route in short_cuts {
        if bytes.len() + route.len() + own.len() <= OPTION {
            bytes.extend(route);
        }
    }
    bytes.extend(own);
    bytes
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn v4_net(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}
