//! A Neutron subnet as a Subnet. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::config::Config;
use super::fields::Fields;
use super::report::{Effect, Notes};
use super::routers::Routers;
use super::target::Target;
use crate::api::{
    AddressMode, AddressRange, DhcpMode, Gateway, GatewayType, HostRoute, MetadataServiceType, NetworkRef,
    RouterAdvertisements, Subnet, SubnetDhcp, SubnetDns, SubnetDnsType, SubnetIpv6, SubnetSpec,
};

/// The most that our API has of pools and routes, and of DNS servers.
const MOST: usize = 64;
const SERVERS: usize = 8;

/// The network that a subnet is on.
#[derive(Debug, Clone, Default)]
pub(super) struct On {
    /// Our name for it.
    pub(super) network: String,
    /// Neutron serves nothing there.
    pub(super) down: bool,
    /// Of routed networks the segments that are this Network; all where none is told from another.
    pub(super) segments: Option<BTreeSet<String>>,
}

/// The Subnet and its CIDR; `None` where it has none.
pub(super) fn subnet(
    fields: &mut Fields,
    target: &Target,
    on: &On,
    config: &Config,
    leading: &Routers,
    notes: &mut Notes,
) -> Option<(Subnet, IpNet)> {
    let text = fields.text("cidr");
    let Ok(given) = text.parse::<IpNet>() else {
        notes.not_imported("cidr", &text.into(), "is not a CIDR");
        return None;
    };
    let cidr = given.trunc();
    if cidr != given {
        notes.changed("cidr", &text.into(), format!("it is {cidr}, without host bits"));
    }
    let v6 = cidr.addr().is_ipv6();
    if fields.number("ip_version").is_some_and(|version| (version == 6) != v6) {
        notes.changed("ip_version", &Value::Null, "it is that of the CIDR");
    }
    let mut routes = routes(fields, v6, notes);
    let first_hop = parsed(fields.peek("gateway_ip"));
    let gateway = gateway(fields, &mut routes, notes);
    if !v6 {
        let forced = config.metadata.r#type == MetadataServiceType::Always;
        add(&mut routes, leading.route(&target.id, first_hop, forced), notes);
    }
    let ipv6 = v6.then(|| ipv6(fields, notes));
    if v6 {
        for route in std::mem::take(&mut routes) {
            let value = format!("{} via {}", route.destination, route.next_hop);
            notes.lost("host_routes", &value.into(), "DHCPv6 has no routes: a router advertises them");
        }
    }
    let silent = ipv6.is_some_and(|(_, silent)| silent) || !is_here(fields, on, notes);
    let spec = SubnetSpec {
        network_ref: NetworkRef { name: on.network.clone() },
        cidr: cidr.to_string(),
        gateway,
        pools: pools(fields, cidr, notes),
        dhcp: SubnetDhcp { mode: mode(fields, silent || on.down), ..times(config, v6) },
        dns: dns(fields, v6, notes),
        host_routes: routes,
        options: Vec::new(),
        ipv6: ipv6.map(|(ipv6, _)| ipv6),
    };
    let mut subnet = Subnet::new(&target.name, spec);
    subnet.metadata = target.metadata(fields, &[("project-id", "project_id")], notes);
    Some((subnet, cidr))
}

/// In DHCPv6 Neutron's times for renewal are dnsmasq's own, too.
fn times(config: &Config, v6: bool) -> SubnetDhcp {
    let times = config.times.clone();
    if v6 { SubnetDhcp { renewal_seconds: None, rebinding_seconds: None, ..times } } else { times }
}

/// Unless there is one to the same place.
fn add(routes: &mut Vec<HostRoute>, route: Option<HostRoute>, notes: &mut Notes) {
    let Some(route) = route else { return };
    if routes.len() < MOST && routes.iter().all(|other| other.destination != route.destination) {
        let value = format!("{} via {}", route.destination, route.next_hop);
        notes.changed(
            "host_routes",
            &value.into(),
            "it is there too: Neutron tells guests this route itself",
        );
        routes.push(route);
    }
}

fn mode(fields: &mut Fields, silent: bool) -> DhcpMode {
    let enabled = fields.flag("enable_dhcp").unwrap_or(true);
    if enabled && !silent { DhcpMode::Reserved } else { DhcpMode::Disabled }
}

/// Whether its segment, if it names one, is the one that the Network is.
fn is_here(fields: &mut Fields, on: &On, notes: &mut Notes) -> bool {
    let segment = fields.text("segment_id");
    if segment.is_empty() {
        return true;
    }
    let here = on.segments.as_ref().is_none_or(|segments| segments.contains(&segment));
    if here {
        notes.lost("segment_id", &segment.into(), "a Network is one segment, and this is taken to be it");
    } else {
        let message = "it is on another segment than its Network: names only, no DHCP";
        notes.add(Effect::NotServed, "segment_id", &segment.into(), message);
    }
    here
}

/// Without a gateway a default route tells the router, as with Neutron.
fn gateway(fields: &mut Fields, routes: &mut Vec<HostRoute>, notes: &mut Notes) -> Gateway {
    let text = fields.text("gateway_ip");
    if let Some(ip) = parsed(&text) {
        for route in routes.extract_if(.., |route| route.destination.ends_with("/0")) {
            let message = "beside a gateway_ip Neutron does not tell guests a default route either";
            notes.lost("host_routes", &route.next_hop.into(), message);
        }
        return Gateway { r#type: GatewayType::Address, address: Some(ip.to_string()) };
    }
    if !text.is_empty() {
        notes.lost("gateway_ip", &text.into(), "is not an IP address");
    }
    let Some(i) = routes.iter().position(|route| route.destination.ends_with("/0")) else {
        return Gateway { r#type: GatewayType::None, address: None };
    };
    let hop = routes.remove(i).next_hop;
    notes.changed("host_routes", &hop.as_str().into(), "the default route's next hop is the gateway");
    Gateway { r#type: GatewayType::Address, address: Some(hop) }
}

fn parsed(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn pools(fields: &mut Fields, cidr: IpNet, notes: &mut Notes) -> Option<Vec<AddressRange>> {
    let mut pools = Vec::new();
    for item in fields.list("allocation_pools")? {
        let end = |name: &str| item[name].as_str().and_then(parsed).filter(|ip| cidr.contains(ip));
        match (end("start"), end("end")) {
            (Some(first), Some(last)) if first <= last && pools.len() < MOST => {
                pools.push(AddressRange { first: first.to_string(), last: last.to_string() });
            }
            (Some(first), Some(last)) if first <= last => {
                notes.lost("allocation_pools", &item, format!("the most is {MOST}"));
            }
            _ => notes.lost("allocation_pools", &item, format!("is not a range of addresses in {cidr}")),
        }
    }
    Some(pools)
}

fn dns(fields: &mut Fields, v6: bool, notes: &mut Notes) -> SubnetDns {
    let items = fields.list("dns_nameservers").unwrap_or_default();
    // Neutron's way to say that there is none.
    if let [only] = &items[..]
        && only.as_str().and_then(parsed).is_some_and(|ip| ip.is_unspecified())
    {
        return SubnetDns { r#type: SubnetDnsType::None, addresses: None };
    }
    let mut addresses = Vec::new();
    for item in items {
        match item.as_str().and_then(parsed).filter(|ip| ip.is_ipv6() == v6 && !ip.is_unspecified()) {
            Some(ip) if addresses.len() < SERVERS => addresses.push(ip.to_string()),
            Some(_) => notes.lost("dns_nameservers", &item, format!("the most is {SERVERS}")),
            None => notes.lost("dns_nameservers", &item, "is not an address of the subnet's family"),
        }
    }
    if addresses.is_empty() {
        return SubnetDns::default();
    }
    SubnetDns { r#type: SubnetDnsType::Addresses, addresses: Some(addresses) }
}

fn routes(fields: &mut Fields, v6: bool, notes: &mut Notes) -> Vec<HostRoute> {
    let mut routes = Vec::new();
    for item in fields.list("host_routes").unwrap_or_default() {
        let net = item["destination"].as_str().and_then(|text| text.parse::<IpNet>().ok());
        // The client has both spellings.
        let hop = item["nexthop"].as_str().or_else(|| item["next_hop"].as_str()).and_then(parsed);
        match (net.map(|net| net.trunc()), hop) {
            (Some(net), Some(hop)) if net.addr().is_ipv6() == v6 && hop.is_ipv6() == v6 => {
                if routes.len() < MOST {
                    routes.push(HostRoute { destination: net.to_string(), next_hop: hop.to_string() });
                } else {
                    notes.lost("host_routes", &item, format!("the most is {MOST}"));
                }
            }
            _ => notes.lost("host_routes", &item, "is not a route of the subnet's family"),
        }
    }
    routes
}

/// How guests get addresses, and whether Neutron's DHCP is silent about it. Its `ipv6_ra_mode` is about
/// a router: ours stays off.
fn ipv6(fields: &mut Fields, notes: &mut Notes) -> (SubnetIpv6, bool) {
    let (address_mode, ra_mode) = (fields.text("ipv6_address_mode"), fields.text("ipv6_ra_mode"));
    if !ra_mode.is_empty() {
        let message = "a router of the segment advertises; an import never has the DHCP servers do it";
        notes.lost("ipv6_ra_mode", &ra_mode.as_str().into(), message);
    }
    let silent = address_mode.is_empty() && !ra_mode.is_empty();
    let named = if silent { &ra_mode } else { &address_mode };
    let mode = match named.as_str() {
        "slaac" => AddressMode::Slaac,
        "dhcpv6-stateless" => AddressMode::Dhcpv6Stateless,
        "" | "dhcpv6-stateful" => AddressMode::Dhcpv6Stateful,
        _ => {
            notes.lost("ipv6_address_mode", &named.as_str().into(), "is not known; it is DHCPv6Stateful");
            AddressMode::Dhcpv6Stateful
        }
    };
    (SubnetIpv6 { address_mode: mode, router_advertisements: RouterAdvertisements::None }, silent)
}
