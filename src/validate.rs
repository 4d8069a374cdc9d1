//! What is wrong with one object alone: fields that this version does not act on, options that cannot be
//! sent, values that are none. Also what schema and CEL say already, where something would be made of it:
//! an object may have been let in by an older schema.
//!
//! Called by the sources before an object is let in, and by `desired`. Pure.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::Ipv4Net;

use crate::api::{
    DhcpMode, DhcpOption, GatewayType, HostRoute, IdentityType, MetadataServiceType, Network, Port,
    SegmentationType, Subnet,
};
use crate::dhcp_options::{ipv4_options, route_length};
use crate::dnsmasq::render_option;
use crate::reason::{Problem, Reason};
use crate::types::DomainName;

/// A Network's own faults; each message begins with the field.
pub fn network(network: &Network) -> Vec<Problem> {
    let spec = &network.spec;
    let mut problems = Vec::new();
    if spec.metadata_service.r#type != MetadataServiceType::None {
        problems.push(not_supported("spec.metadataService.type", "only None is supported yet"));
    }
    problems.extend(bounds(network));
    problems.extend(dns(network));
    problems.extend(options(&spec.options, "spec.options"));
    problems
}

/// Numbers that become devices, names and servers.
fn bounds(network: &Network) -> Vec<Problem> {
    let (spec, mut problems) = (&network.spec, Vec::new());
    let segmentation = &spec.segmentation;
    if (segmentation.r#type == SegmentationType::Vlan) != segmentation.vlan.is_some() {
        problems.push(invalid("spec.segmentation.vlan", "must be set if and only if type is VLAN"));
    }
    if let Some(vlan) = segmentation.vlan.filter(|vlan| !(1..=4_094).contains(&vlan.id)) {
        problems.push(invalid("spec.segmentation.vlan.id", format!("{} is not 1 to 4094", vlan.id)));
    }
    if let Some(mtu) = spec.mtu.filter(|mtu| *mtu < 576) {
        problems.push(invalid("spec.mtu", format!("{mtu} is less than 576")));
    }
    if !(1..=8).contains(&spec.dhcp.servers) {
        problems.push(invalid("spec.dhcp.servers", format!("{} is not 1 to 8", spec.dhcp.servers)));
    }
    problems
}

fn dns(network: &Network) -> Vec<Problem> {
    let dns = &network.spec.dns;
    let domain = dns.domain.iter().filter_map(|text| unparsed::<DomainName>("spec.dns.domain", text));
    let forwarders = dns.forwarding.addresses.iter().flatten().enumerate();
    let forwarder = |(i, text): (usize, &String)| {
        unparsed::<IpAddr>(format_args!("spec.dns.forwarding.addresses[{i}]"), text)
    };
    domain.chain(forwarders.filter_map(forwarder)).collect()
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
    match spec.cidr.parse::<Ipv4Net>() {
        Ok(cidr) if !is_canonical(cidr, &spec.cidr) => problems.push(invalid("spec.cidr", NOT_CANONICAL)),
        Ok(cidr) => {
            problems.extend(nobodys(cidr));
            problems.extend(pools(subnet, cidr));
        }
        Err(_) => problems.extend(unparsed::<Ipv4Net>("spec.cidr", &spec.cidr)),
    }
    problems.extend(gateway(subnet));
    problems.extend(times(subnet));
    problems.extend(routes(&spec.host_routes));
    problems.extend(resolvers(spec.dns.addresses.as_deref().unwrap_or_default()));
    problems.extend(options(&spec.options, "spec.options"));
    problems
}

/// Addresses that no guest can have. With all that there are dnsmasq would not even start.
fn nobodys(cidr: Ipv4Net) -> Option<Problem> {
    let reserved = [([0, 0, 0, 0], 8), ([127, 0, 0, 0], 8), ([224, 0, 0, 0], 4), ([255; 4], 32)];
    let nets = reserved.iter().filter_map(|(ip, length)| Ipv4Net::new((*ip).into(), *length).ok());
    let shared = nets.into_iter().find(|net| cidr.contains(&net.network()) || net.contains(&cidr.network()));
    shared.map(|net| invalid("spec.cidr", format!("no guest can have an address of {net}")))
}

fn pools(subnet: &Subnet, cidr: Ipv4Net) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, pool) in subnet.spec.pools.iter().flatten().enumerate() {
        let range: (Result<Ipv4Addr, _>, Result<Ipv4Addr, _>) = (pool.first.parse(), pool.last.parse());
        let (Ok(first), Ok(last)) = range else { continue };
        let field = format!("spec.pools[{i}]");
        if first > last {
            problems.push(invalid(&field, format!("{first} is after {last}")));
        } else if !cidr.contains(&first) || !cidr.contains(&last) {
            problems.push(invalid(&field, format!("it is not inside {cidr}")));
        }
    }
    problems
}

/// Times that are in no order a guest ignores, and takes its own.
fn times(subnet: &Subnet) -> Option<Problem> {
    let dhcp = &subnet.spec.dhcp;
    let (t1, t2, lease) = (dhcp.renewal_seconds, dhcp.rebinding_seconds, dhcp.lease_duration_seconds);
    if lease < 120 {
        return Some(invalid("spec.dhcp.leaseDurationSeconds", format!("{lease} is less than 120")));
    }
    let after =
        |seconds: Option<u32>, end: u32| seconds.is_some_and(|seconds| seconds == 0 || seconds >= end);
    if after(t1, t2.unwrap_or(lease)) {
        return Some(invalid(
            "spec.dhcp.renewalSeconds",
            "it is not before rebindingSeconds and the lease's end",
        ));
    }
    after(t2, lease).then(|| invalid("spec.dhcp.rebindingSeconds", "it is not before the lease's end"))
}

const NOT_CANONICAL: &str = "it must be in canonical form without host bits, such as 10.0.0.0/24";

/// One spelling for each prefix, so that equal ones are seen as such.
fn is_canonical(net: Ipv4Net, text: &str) -> bool {
    net == net.trunc() && net.to_string() == text
}

/// DNS servers that guests can be told.
fn resolvers(addresses: &[String]) -> Vec<Problem> {
    const FIELD: &str = "spec.dns.addresses";
    let mut problems = Vec::new();
    if addresses.len() > 8 {
        problems.push(invalid(FIELD, format!("{} are more than 8", addresses.len())));
    }
    for (i, address) in addresses.iter().enumerate() {
        let field = format!("{FIELD}[{i}]");
        if address.contains(':') {
            let message = "an IPv4 subnet can only tell its guests IPv4 addresses";
            problems.push(not_supported(&field, message));
        } else if address == "0.0.0.0" {
            problems.push(invalid(&field, "0.0.0.0 is nobody's address"));
        }
    }
    problems
}

/// All routes stand in one option, the default one and that to its gateway with them.
fn routes(routes: &[HostRoute]) -> Option<Problem> {
    const MOST: usize = 255 - 9 - 5;
    let other = |route: &HostRoute| {
        route.destination.parse().is_ok_and(|net: Ipv4Net| !is_canonical(net, &route.destination))
    };
    if let Some(i) = routes.iter().position(other) {
        return Some(invalid(format_args!("spec.hostRoutes[{i}].destination"), NOT_CANONICAL));
    }
    let length = |route: &HostRoute| route.destination.parse().map_or(0, |net: Ipv4Net| route_length(net));
    let bytes: usize = routes.iter().map(length).sum();
    let message =
        format!("they take {bytes} bytes, and an option has room for {MOST}; use fewer, or wider ones");
    (bytes > MOST).then(|| invalid("spec.hostRoutes", message))
}

/// A gateway that no packet can be sent to.
fn gateway(subnet: &Subnet) -> Option<Problem> {
    let Some(address) = &subnet.spec.gateway.address else {
        let missing = subnet.spec.gateway.r#type == GatewayType::Address;
        return missing.then(|| invalid("spec.gateway.address", "must be set if type is Address"));
    };
    let gateway: Ipv4Addr = address.parse().ok()?;
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

/// The value that `field` says. The field is put into words only where it is wrong: there are thousands of
/// values.
pub fn parsed<T: FromStr<Err: Display>>(field: impl Display, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| invalid(field, error))
}

/// What is wrong with a text that is to be a value.
fn unparsed<T: FromStr<Err: Display>>(field: impl Display, text: &str) -> Option<Problem> {
    parsed::<T>(field, text).err()
}

fn invalid(field: impl Display, message: impl Display) -> Problem {
    Problem::new(Reason::InvalidValue, format!("{field}: {message}"))
}

fn not_supported(field: &str, message: &str) -> Problem {
    Problem::new(Reason::NotSupported, format!("{field}: {message}"))
}
