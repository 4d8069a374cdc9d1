//! What is wrong with one object alone: fields that this version does not act on, options that cannot be
//! sent, values that are none. Also what schema and CEL say already, where something would be made of it:
//! an object may have been let in by an older schema.
//!
//! Called by the sources before an object is let in, and by `desired`. Pure.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::api::{
    AddressMode, AddressRange, DhcpMode, DhcpOption, GatewayType, HostRoute, Network, Port,
    RouterAdvertisements, SegmentationType, Subnet,
};
use crate::dhcp_options::{self, route_length};
use crate::dnsmasq::render_option;
use crate::node::Family;
use crate::reason::{Problem, Reason};
use crate::service::Code;
use crate::txt;
use crate::types::{DomainName, IpRange, is_reserved};

/// A Network's own faults; each message begins with the field.
pub fn network(network: &Network) -> Vec<Problem> {
    let spec = &network.spec;
    let mut problems = Vec::new();
    problems.extend(bounds(network));
    problems.extend(dns(network));
    problems.extend(options(&spec.options, "spec.options", None));
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
    domain.chain(forwarders.filter_map(forwarder)).chain(txt::records(dns).1).collect()
}

/// A Subnet's own faults; each message begins with the field.
pub fn subnet(subnet: &Subnet) -> Vec<Problem> {
    let spec = &subnet.spec;
    let mut problems = Vec::new();
    let Ok(cidr) = spec.cidr.parse::<IpNet>() else {
        problems.extend(unparsed::<IpNet>("spec.cidr", &spec.cidr));
        return problems;
    };
    if !is_canonical(cidr, &spec.cidr) {
        problems.push(invalid("spec.cidr", NOT_CANONICAL));
        return problems;
    }
    let family = Family::of(cidr.addr());
    problems.extend(size(cidr));
    problems.extend(nobodys(cidr));
    problems.extend(pools(subnet, cidr));
    problems.extend(dynamic(subnet, cidr));
    problems.extend(gateway(subnet, cidr));
    problems.extend(times(subnet));
    problems.extend(routes(&spec.host_routes, family));
    problems.extend(two_default_routes(subnet));
    problems.extend(resolvers(spec.dns.addresses.as_deref().unwrap_or_default(), family));
    problems.extend(options(&spec.options, "spec.options", Some(family)));
    match (family, &spec.ipv6) {
        (Family::V6, _) => problems.extend(ipv6(subnet, cidr)),
        (Family::V4, Some(_)) => problems.push(invalid("spec.ipv6", FOR_IPV6)),
        (Family::V4, None) => {}
    }
    problems
}

fn size(cidr: IpNet) -> Option<Problem> {
    let message = format!("a /{} has no room for guests", cidr.prefix_len());
    (cidr.prefix_len() == cidr.max_prefix_len()).then(|| not_supported("spec.cidr", &message))
}

const FOR_IPV6: &str = "must be set if and only if cidr is an IPv6 one";

/// What is an IPv6 subnet's alone.
fn ipv6(subnet: &Subnet, cidr: IpNet) -> Vec<Problem> {
    let (spec, mut problems) = (&subnet.spec, Vec::new());
    let Some(ipv6) = &spec.ipv6 else {
        return vec![invalid("spec.ipv6", FOR_IPV6)];
    };
    if ipv6.address_mode != AddressMode::Dhcpv6Stateful && cidr.prefix_len() != 64 {
        problems.push(invalid("spec.cidr", "guests make themselves addresses only in a /64"));
    }
    if ipv6.address_mode == AddressMode::Slaac {
        problems.extend(unasked(&spec.options, ipv6.router_advertisements));
    }
    if cidr.prefix_len() < 64 && spec.dhcp.mode != DhcpMode::Disabled {
        problems.push(not_supported("spec.cidr", "dnsmasq serves DHCPv6 with prefix lengths from 64"));
    }
    let times =
        [("renewalSeconds", spec.dhcp.renewal_seconds), ("rebindingSeconds", spec.dhcp.rebinding_seconds)];
    for (field, _) in times.iter().filter(|(_, seconds)| seconds.is_some()) {
        let message = "dnsmasq has times of its own in DHCPv6: half and seven eighths of the lease";
        problems.push(not_supported(&format!("spec.dhcp.{field}"), message));
    }
    if !spec.host_routes.is_empty() {
        problems.push(not_supported("spec.hostRoutes", "DHCPv6 has no routes: a router advertises them"));
    }
    problems
}

/// Options that nobody sends: guests do not ask DHCPv6 for any, and an advertisement has room for two,
/// for all guests alike.
fn unasked(list: &[DhcpOption], advertisements: RouterAdvertisements) -> Option<Problem> {
    let (options, _) = dhcp_options::options(list, "spec.options", Some(Family::V6));
    let advertised =
        |code: Code| advertisements == RouterAdvertisements::Server && matches!(code, Code::V6(23 | 24));
    let plain = options.plain.keys().copied().filter(|code| !advertised(*code));
    let code = plain.chain(options.special.iter().map(|special| special.code)).next()?;
    let message = format!("with SLAAC nobody sends option {code}; use DHCPv6Stateless");
    Some(not_supported("spec.options", &message))
}

/// Addresses that no guest can have. With all that there are dnsmasq would not even start.
fn nobodys(cidr: IpNet) -> Option<Problem> {
    const RESERVED: [&str; 8] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    ];
    let nets = RESERVED.iter().filter_map(|net| net.parse::<IpNet>().ok());
    let shared = nets.into_iter().find(|net| cidr.contains(&net.network()) || net.contains(&cidr.network()));
    shared.map(|net| invalid("spec.cidr", format!("no guest can have an address of {net}")))
}

fn pools(subnet: &Subnet, cidr: IpNet) -> impl Iterator<Item = Problem> {
    let pools = subnet.spec.pools.iter().flatten().enumerate();
    pools.filter_map(move |(i, pool)| range(&format!("spec.pools[{i}]"), pool, cidr))
}

fn range(field: &str, range: &AddressRange, cidr: IpNet) -> Option<Problem> {
    let (first, last): (IpAddr, IpAddr) = (range.first.parse().ok()?, range.last.parse().ok()?);
    if first > last {
        return Some(invalid(field, format!("{first} is after {last}")));
    }
    let inside = cidr.contains(&first) && cidr.contains(&last);
    (!inside).then(|| invalid(field, format!("it is not inside {cidr}")))
}

/// Of a Network's Subnets together. dnsmasq writes all leases anew with each one that is given, and looks for
/// a free address among all.
pub const MOST_DYNAMIC: u128 = 1_024;

/// The addresses of guests that are no Port.
fn dynamic(subnet: &Subnet, cidr: IpNet) -> Option<Problem> {
    const FIELD: &str = "spec.dhcp.dynamic";
    let dhcp = &subnet.spec.dhcp;
    if (dhcp.mode == DhcpMode::Dynamic) != dhcp.dynamic.is_some() {
        return Some(invalid(FIELD, "must be set if and only if mode is Dynamic"));
    }
    let addresses = dhcp.dynamic.as_ref()?;
    if cidr.addr().is_ipv6() {
        let message = "Dynamic is for IPv4: IPv6 guests that are no Port make themselves addresses where a router, \
                       or ipv6.routerAdvertisements, tells them to";
        return Some(not_supported("spec.dhcp.mode", message));
    }
    let many = || {
        let (first, last) = (addresses.first.parse().ok()?, addresses.last.parse().ok()?);
        let count = IpRange { first, last }.len();
        (count > MOST_DYNAMIC)
            .then(|| not_supported(FIELD, &format!("{count} addresses are more than {MOST_DYNAMIC}")))
    };
    range(FIELD, addresses, cidr).or_else(many)
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
fn is_canonical(net: IpNet, text: &str) -> bool {
    net == net.trunc() && net.to_string() == text
}

/// DNS servers that guests can be told.
fn resolvers(addresses: &[String], family: Family) -> Vec<Problem> {
    const FIELD: &str = "spec.dns.addresses";
    let mut problems = Vec::new();
    if addresses.len() > 8 {
        problems.push(invalid(FIELD, format!("{} are more than 8", addresses.len())));
    }
    for (i, address) in addresses.iter().enumerate() {
        let field = format!("{FIELD}[{i}]");
        match address.parse::<IpAddr>() {
            Ok(ip) if Family::of(ip) != family => {
                let message = format!("an {family} subnet can only tell its guests {family} addresses");
                problems.push(not_supported(&field, &message));
            }
            Ok(ip) if ip.is_unspecified() => {
                problems.push(invalid(&field, format!("{ip} is nobody's address")));
            }
            Ok(ip) => {
                let (code, octets) = match ip {
                    IpAddr::V4(ip) => (Code::V4(6), ip.octets().to_vec()),
                    IpAddr::V6(ip) => (Code::V6(23), ip.octets().to_vec()),
                };
                problems.extend(render_option(code, &octets).err().map(|error| invalid(&field, error)));
            }
            Err(error) => problems.push(invalid(&field, error)),
        }
    }
    problems
}

/// All routes stand in one option, the default one and that to its gateway with them.
fn routes(routes: &[HostRoute], family: Family) -> Option<Problem> {
    const MOST: usize = 255 - 9 - 5;
    let other = |route: &HostRoute| {
        route.destination.parse().is_ok_and(|net: IpNet| !is_canonical(net, &route.destination))
    };
    if let Some(i) = routes.iter().position(other) {
        return Some(invalid(format_args!("spec.hostRoutes[{i}].destination"), NOT_CANONICAL));
    }
    let foreign = |route: &HostRoute| {
        let destination = route.destination.parse().ok().map(|net: IpNet| Family::of(net.addr()));
        let families = [destination, route.next_hop.parse().ok().map(Family::of)];
        families.into_iter().flatten().any(|of| of != family)
    };
    if let Some(i) = routes.iter().position(foreign) {
        return Some(invalid(format_args!("spec.hostRoutes[{i}]"), "it must be of the family of cidr"));
    }
    let length = |route: &HostRoute| route.destination.parse().map_or(0, |net: Ipv4Net| route_length(net));
    let bytes: usize = routes.iter().map(length).sum();
    let message =
        format!("they take {bytes} bytes, and an option has room for {MOST}; use fewer, or wider ones");
    (bytes > MOST).then(|| invalid("spec.hostRoutes", message))
}

/// Guests that take routes would follow one of them, others the other.
fn two_default_routes(subnet: &Subnet) -> Option<Problem> {
    let is_default =
        |route: &HostRoute| route.destination.parse().is_ok_and(|net: IpNet| net.prefix_len() == 0);
    let i = subnet.spec.host_routes.iter().position(is_default)?;
    let message = "a default route beside spec.gateway: only one of them can be told; with gateway {type: None} it is this one";
    (subnet.spec.gateway.r#type != GatewayType::None)
        .then(|| invalid(format_args!("spec.hostRoutes[{i}]"), message))
}

/// A gateway that no packet can be sent to.
fn gateway(subnet: &Subnet, cidr: IpNet) -> Option<Problem> {
    let Some(address) = &subnet.spec.gateway.address else {
        let missing = subnet.spec.gateway.r#type == GatewayType::Address;
        return missing.then(|| invalid("spec.gateway.address", "must be set if type is Address"));
    };
    let gateway: IpAddr = address.parse().ok()?;
    let broadcast = gateway == IpAddr::V4(Ipv4Addr::BROADCAST);
    let nobody = gateway.is_unspecified() || broadcast || gateway.is_multicast() || gateway.is_loopback();
    let foreign = Family::of(gateway) != Family::of(cidr.addr());
    let message = format!("spec.gateway.address: {gateway} cannot be a router's address");
    (nobody || foreign || is_reserved(cidr, gateway)).then(|| Problem::new(Reason::InvalidValue, message))
}

/// A Port's own faults; each message begins with the field.
pub fn port(port: &Port) -> Vec<Problem> {
    let spec = &port.spec;
    let mut problems = Vec::new();
    let (addresses, most) = (spec.addresses.as_ref().map_or(0, Vec::len), most_addresses(port));
    if addresses > most {
        problems.push(invalid("spec.addresses", format!("{addresses} are more than {most}")));
    }
    problems.extend(options(&spec.options, "spec.options", None));
    problems
}

/// Those of IPv6 stand in one line, with all that is said of the guest.
fn most_addresses(port: &Port) -> usize {
    const LINE: usize = 1_022;
    /// A tag for the protocol, one for the Port, and a host name.
    const OTHERS: usize = "id:,tag:dhcpv6,set:p01234567890123456789,.".len() + 63;
    const ADDRESS: usize = ",[1111:2222:3333:4444:5555:6666:7777:8888]".len();
    let duid = port.spec.identity.duid.as_ref().map_or(0, String::len);
    (LINE.saturating_sub(OTHERS + duid) / ADDRESS).min(16)
}

fn options(list: &[DhcpOption], field: &str, subnet: Option<Family>) -> Vec<Problem> {
    let (options, mut problems) = dhcp_options::options(list, field, subnet);
    for (code, bytes) in options.values() {
        if let Err(error) = render_option(code, bytes) {
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
