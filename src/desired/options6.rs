//! What the guests of an IPv6 subnet are told, by DHCPv6 or advertised: its fields, and its network's, as
//! options (RFC 3646).
//!
//! Called by `subnet`. Routes are a router's to advertise, the MTU is no option. What a user wrote as an option
//! goes before all of it.

use std::net::IpAddr;

use super::network::Admitted;
use super::subnet::Served;
use crate::dhcp_options::wire_name;
use crate::service::{Code, Options};

pub(super) const DNS_SERVERS: Code = Code::V6(23);
pub(super) const DOMAIN_SEARCH: Code = Code::V6(24);

/// Where `server` is the subnet's.
pub(super) fn fields(subnet: &Served, network: &Admitted, server: IpAddr) -> Options {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V6(ip) => ip.octets().to_vec(),
        IpAddr::V4(_) => Vec::new(),
    };
    let mut options =
        Options::from([(DNS_SERVERS, subnet.resolvers(server).into_iter().flat_map(octets).collect())]);
    options.extend(network.domain.as_ref().map(|domain| (DOMAIN_SEARCH, wire_name(domain))));
    options
}
