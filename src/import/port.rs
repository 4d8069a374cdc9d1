//! A Neutron port as a Port. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::fields::Fields;
use super::options;
use super::report::Notes;
use super::target::Target;
use crate::api::{NetworkRef, Port, PortAddress, PortDhcp, PortSpec};
use crate::types::{DomainName, HostName, MacAddr};
use crate::validate;

/// The most that our API has.
const ADDRESSES: usize = 16;
const NAMES: usize = 16;

/// The imported subnets.
pub(super) type Subnets = BTreeMap<String, IpNet>;

/// Whether it is Neutron's DHCP server itself, whose place ours take.
pub(super) fn is_dhcp_server(fields: &Fields) -> bool {
    fields.peek("device_owner") == "network:dhcp"
}

/// The Port.
pub(super) fn port(
    fields: &mut Fields,
    target: &Target,
    network: &str,
    subnets: &Subnets,
    domain: Option<&DomainName>,
    notes: &mut Notes,
) -> Port {
    let ips = addresses(fields, subnets, notes);
    let mac_address = mac(fields, notes).map(|mac| mac.to_string());
    let owner = fields.peek("device_owner").to_owned();
    owned(&owner, notes);
    if fields.flag("admin_state_up") == Some(false) {
        notes.lost("admin_state_up", &false.into(), "DHCP answers it all the same, as Neutron's does");
    }
    let (hostname, dns_names) = names(fields, &ips, domain, notes);
    let options = options::options(fields.list("extra_dhcp_opts").unwrap_or_default(), notes);
    let asked = mac_address.is_some() && !ips.is_empty() && !WITHOUT_DHCP.contains(&owner.as_str());
    let spec = PortSpec {
        network_ref: NetworkRef { name: network.to_owned() },
        mac_address,
        addresses: Some(ips.iter().map(|ip| at(*ip)).collect()),
        hostname,
        dns_names,
        dhcp: if asked { PortDhcp::Enabled } else { PortDhcp::Disabled },
        options,
        ..PortSpec::default()
    };
    let mut port = Port::new(&target.name, spec);
    let kept = [("project-id", "project_id"), ("device-id", "device_id"), ("device-owner", "device_owner")];
    port.metadata = target.metadata(fields, &kept, notes);
    port
}

fn at(ip: IpAddr) -> PortAddress {
    PortAddress { ip: Some(ip.to_string()), subnet_ref: None }
}

/// Owners whose ports Neutron's DHCP does not answer.
const WITHOUT_DHCP: [&str; 3] = ["network:router_ha_interface", "network:floatingip", "network:distributed"];

/// What owners do besides having an address.
fn owned(owner: &str, notes: &mut Notes) {
    let message = match owner {
        "network:floatingip" => "floating IPs are not translated here; its address is reserved",
        "network:distributed" => "nothing of its kind is here; its address is reserved",
        owner if owner.starts_with("network:") => "nothing routes here; its address and name are kept for it",
        _ => return,
    };
    notes.lost("device_owner", &owner.into(), message);
}

/// The addresses that can be had here. Of several of a family Neutron's dnsmasq offers the last, we offer
/// the first.
fn addresses(fields: &mut Fields, subnets: &Subnets, notes: &mut Notes) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for item in fields.list("fixed_ips").unwrap_or_default().into_iter().rev() {
        match address(&item, subnets) {
            Ok(ip) if ips.contains(&ip) => {}
            Ok(_) if ips.len() == ADDRESSES => {
                notes.lost("fixed_ips", &item, format!("the most is {ADDRESSES}"));
            }
            Ok(ip) => ips.push(ip),
            Err(message) => notes.lost("fixed_ips", &item, message),
        }
    }
    let mut families = ips.iter().map(IpAddr::is_ipv6).collect::<Vec<_>>();
    families.sort_unstable();
    if families.windows(2).any(|pair| pair[0] == pair[1]) {
        let all = ips.iter().map(ToString::to_string).collect::<Vec<_>>();
        notes.changed(
            "fixed_ips",
            &all.into(),
            "in this order: the first of a family is the one that is offered",
        );
    }
    ips
}

fn address(item: &Value, subnets: &Subnets) -> Result<IpAddr, String> {
    let ip: IpAddr =
        item["ip_address"].as_str().unwrap_or_default().parse().map_err(|_| "is not an IP address")?;
    let subnet = item["subnet_id"].as_str().and_then(|id| subnets.get(id));
    let cidr = subnet.ok_or("its subnet is not imported: nothing is served for it")?;
    if !cidr.contains(&ip) {
        return Err(format!("is not in {cidr}"));
    }
    if let IpNet::V4(net) = cidr
        && net.prefix_len() < 31
        && (ip == net.network() || ip == net.broadcast())
    {
        return Err(format!("is the first or last of {cidr}, which no guest can have"));
    }
    let alone = Port::new("", PortSpec { addresses: Some(vec![at(ip)]), ..PortSpec::default() });
    let refused = validate::port(&alone).into_iter().next();
    refused.map_or(Ok(ip), |problem| Err(problem.message.replace("spec.addresses[0].ip: ", "")))
}

fn mac(fields: &mut Fields, notes: &mut Notes) -> Option<MacAddr> {
    let text = fields.text("mac_address");
    if text.is_empty() {
        return None;
    }
    let mac = text.parse();
    let lost = |error: crate::types::ParseError| {
        notes.lost(
            "mac_address",
            &text.as_str().into(),
            format!("{error}; the Port only reserves its addresses"),
        );
    };
    mac.map_err(lost).ok()
}

/// The host name, unless it is the one that is made of the address, and further names.
fn names(
    fields: &mut Fields,
    ips: &[IpAddr],
    domain: Option<&DomainName>,
    notes: &mut Notes,
) -> (Option<String>, Vec<String>) {
    let assigned: Vec<Assigned> = fields
        .list("dns_assignment")
        .unwrap_or_default()
        .iter()
        .filter_map(|item| Assigned::new(item, ips))
        .collect();
    let own = fields.text("dns_name").to_ascii_lowercase();
    let first = ips.first().and_then(|ip| assigned.iter().find(|name| name.ip == *ip));
    let wish = first.map_or(own.clone(), |name| name.host.clone());
    let hostname = match wish.parse::<HostName>() {
        _ if wish.is_empty() => None,
        Ok(name) => {
            Some(name).filter(|name| first.is_none_or(|first| *name.to_string() != made_of(first.ip)))
        }
        Err(error) => {
            notes.lost("dns_name", &wish.as_str().into(), error.to_string());
            None
        }
    };
    let hostname = hostname.map(|name| name.to_string());
    if !own.is_empty() && own != wish {
        notes.lost("dns_name", &own.into(), format!("Neutron serves it as {wish}"));
    }
    let mut more = Vec::new();
    for name in &assigned {
        let host = hostname.clone().unwrap_or_else(|| made_of(name.ip));
        let full = domain.map_or(host.clone(), |domain| format!("{host}.{domain}"));
        if name.full == full || name.full.is_empty() || more.contains(&name.full) {
            continue;
        }
        match name.full.parse::<DomainName>() {
            Ok(found) if domain.is_some_and(|domain| found.is_within(domain)) && more.len() < NAMES => {
                more.push(name.full.clone());
            }
            _ => {
                let message = match domain {
                    Some(domain) => format!("is not one of at most {NAMES} names below {domain}"),
                    None => "there is no domain that it could be in".to_owned(),
                };
                notes.lost("dns_assignment", &name.full.as_str().into(), message);
            }
        }
    }
    (hostname, more)
}

/// The names of an address, in lower case.
struct Assigned {
    ip: IpAddr,
    host: String,
    full: String,
}

impl Assigned {
    /// Unless the Port has not the address.
    fn new(item: &Value, ips: &[IpAddr]) -> Option<Self> {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_ascii_lowercase();
        let ip = text("ip_address").parse().ok().filter(|ip| ips.contains(ip))?;
        // Made of the address as it was written, it is made of the address.
        let host = Some(text("hostname")).filter(|host| *host != made_of_text(&text("ip_address")));
        Some(Self {
            ip,
            host: host.unwrap_or_else(|| made_of(ip)),
            full: text("fqdn").trim_end_matches('.').to_owned(),
        })
    }
}

/// Neutron's name for an address, and ours.
fn made_of(ip: IpAddr) -> String {
    made_of_text(&ip.to_string())
}

fn made_of_text(ip: &str) -> String {
    format!("host-{}", ip.replace(['.', ':'], "-"))
}
