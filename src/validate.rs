//! What neither schema nor CEL can say of one object alone: fields that this version does not act on,
//! options that cannot be sent, ranges that are none.
//!
//! Called by the sources before an object is let in, and by `desired`. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::api::{DhcpMode, DhcpOption, IdentityType, MetadataServiceType, Network, Port, Subnet};
use crate::dhcp_options::ipv4_options;
use crate::dnsmasq::render_option;
use crate::reason::{Problem, Reason};

/// A Network's own faults; each message begins with the field.
pub fn network(network: &Network) -> Vec<Problem> {
    let spec = &network.spec;
    let mut problems = Vec::new();
    if spec.metadata_service.r#type != MetadataServiceType::None {
        problems.push(not_supported("spec.metadataService.type", "only None is supported yet"));
    }
    problems.extend(options(&spec.options, "spec.options"));
    problems
}

/// A Subnet's own faults; each message begins with the field.
pub fn subnet(subnet: &Subnet) -> Vec<Problem> {
    let spec = &subnet.spec;
    let mut problems = Vec::new();
    if spec.ipv6.is_some() || spec.cidr.contains(':') {
        problems.push(not_supported("spec.cidr", "IPv6 subnets are not served yet"));
        return problems;
    }
    if spec.dhcp.mode == DhcpMode::Dynamic {
        problems.push(not_supported(
            "spec.dhcp.mode",
            "Dynamic is not supported yet; use Reserved, with a Port for each guest",
        ));
    }
    if spec.cidr.ends_with("/32") {
        problems.push(not_supported("spec.cidr", "a /32 has no room for guests"));
    }
    problems.extend(gateway(subnet));
    let servers = spec.dns.addresses.iter().flatten().enumerate();
    for (i, _) in servers.filter(|(_, address)| address.contains(':')) {
        problems.push(not_supported(
            &format!("spec.dns.addresses[{i}]"),
            "an IPv4 subnet can only tell its guests IPv4 addresses",
        ));
    }
    for (i, pool) in spec.pools.iter().flatten().enumerate() {
        let range: (Result<Ipv4Addr, _>, Result<Ipv4Addr, _>) = (pool.first.parse(), pool.last.parse());
        if let (Ok(first), Ok(last)) = range
            && first > last
        {
            problems.push(Problem::new(
                Reason::InvalidValue,
                format!("spec.pools[{i}]: {first} is after {last}"),
            ));
        }
    }
    problems.extend(options(&spec.options, "spec.options"));
    problems
}

/// A gateway that no packet can be sent to.
fn gateway(subnet: &Subnet) -> Option<Problem> {
    let gateway: Ipv4Addr = subnet.spec.gateway.address.as_ref()?.parse().ok()?;
    let cidr: Ipv4Net = subnet.spec.cidr.parse().ok()?;
    let edge = (gateway == cidr.network() || gateway == cidr.broadcast()) && cidr.prefix_len() < 31;
    let nobody = gateway.is_unspecified() || gateway.is_broadcast() || gateway.is_multicast();
    let message = format!("spec.gateway.address: {gateway} cannot be a router's address");
    (edge || nobody || gateway.is_loopback()).then(|| Problem::new(Reason::InvalidValue, message))
}

/// A Port's own faults; each message begins with the field.
pub fn port(port: &Port) -> Vec<Problem> {
    let spec = &port.spec;
    let mut problems = Vec::new();
    if spec.identity.r#type != IdentityType::MacAddress {
        problems.push(not_supported("spec.identity.type", "only MACAddress is supported yet"));
    }
    for (i, address) in spec.addresses.iter().flatten().enumerate() {
        if address.ip.as_deref().is_some_and(|ip| ip.contains(':')) {
            problems.push(not_supported(&format!("spec.addresses[{i}].ip"), "IPv6 is not served yet"));
        }
    }
    problems.extend(options(&spec.options, "spec.options"));
    problems
}

fn options(list: &[DhcpOption], field: &str) -> Vec<Problem> {
    let (options, mut problems) = ipv4_options(list, field);
    for (code, bytes) in options {
        if let Err(error) = render_option(code, &bytes) {
            problems.push(Problem::new(Reason::InvalidOption, format!("{field}: {error}")));
        }
    }
    problems
}

fn not_supported(field: &str, message: &str) -> Problem {
    Problem::new(Reason::NotSupported, format!("{field}: {message}"))
}
