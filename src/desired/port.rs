//! Which ports of a network are served, how and under which names.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::network::parsed;
use super::subnet::{Served, key};
use super::{Inputs, PortView};
use crate::allocate::{AllocateError, Claim, Given, Holder, Ledger, Wish};
use crate::api::{Port, PortDhcp};
use crate::dhcp_options::ipv4_options;
use crate::reason::{Problem, Reason};
use crate::service::{Options, Reservation};
use crate::types::{DomainName, HostName, MacAddr};
use crate::validate;

/// A port that is accepted.
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) claim: Claim,
    pub(super) given: Given,
    mac: Option<MacAddr>,
    /// DHCP was asked for, and there is somebody to answer.
    dhcp: bool,
    hostname: Option<HostName>,
    dns_names: Vec<DomainName>,
    options: Options,
    key: String,
}

/// Those that hold addresses go first, then by name: a new one with the same MAC harms no old one.
pub(super) fn admit(
    inputs: &Inputs,
    domain: Option<&DomainName>,
    ledger: &Ledger,
) -> (Vec<Guest>, BTreeMap<String, PortView>) {
    let holders: std::collections::BTreeSet<_> = ledger
        .iter()
        .filter(|(_, held)| held.released.is_none())
        .filter_map(|(_, held)| match &held.holder {
            Holder::Port { name, mac_address } => Some((name.as_str(), *mac_address)),
            Holder::ServerSlot { .. } => None,
        })
        .collect();
    let mut guests = Vec::new();
    let mut views = BTreeMap::new();
    for port in &inputs.ports {
        let name = port.metadata.name.clone().unwrap_or_default();
        match Guest::new(&name, port, domain) {
            Ok(guest) => guests.push(guest),
            Err(problem) => {
                views.insert(name, PortView { problem: Some(problem), ..PortView::default() });
            }
        }
    }
    guests.sort_by_cached_key(|guest| {
        (!holders.contains(&(guest.name.as_str(), guest.mac)), guest.name.clone())
    });
    let mut macs: BTreeMap<MacAddr, String> = BTreeMap::new();
    guests.retain(|guest| {
        let Some(mac) = guest.mac else { return true };
        let Some(other) = macs.get(&mac) else {
            macs.insert(mac, guest.name.clone());
            return true;
        };
        let problem = Problem::new(Reason::DuplicateMAC, format!("{mac} is the MAC address of Port {other}"));
        views.insert(guest.name.clone(), PortView { problem: Some(problem), ..PortView::default() });
        false
    });
    (guests, views)
}

impl Guest {
    fn new(name: &str, port: &Port, domain: Option<&DomainName>) -> Result<Self, Problem> {
        if let Some(problem) = validate::port(port).into_iter().next() {
            return Err(problem);
        }
        let spec = &port.spec;
        let mac: Option<MacAddr> = spec.mac_address.as_deref().map(parsed).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            claim: Claim {
                holder: Holder::Port { name: name.to_owned(), mac_address: mac },
                wishes: wishes(port)?,
            },
            given: Given::default(),
            mac,
            dhcp: spec.dhcp == PortDhcp::Enabled && mac.is_some(),
            hostname: spec.hostname.as_deref().map(parsed).transpose()?,
            dns_names: spec.dns_names.iter().map(|name| dns_name(name, domain)).collect::<Result<_, _>>()?,
            options: ipv4_options(&spec.options, "spec.options").0,
            key: key("p", port.metadata.uid.as_deref()),
        })
    }

    fn hostname(&self, ip: Ipv4Addr) -> HostName {
        self.hostname.clone().unwrap_or_else(|| HostName::of_address(ip))
    }

    /// The names of each of its addresses: the full one first, for reverse look-ups.
    pub(super) fn names(&self, domain: Option<&DomainName>) -> Vec<(Ipv4Addr, Vec<DomainName>)> {
        let names = |ip: Ipv4Addr| {
            let short = self.hostname(ip);
            let full = domain.and_then(|domain| domain.child(&short).ok());
            let names = full.into_iter().chain([DomainName::from(&short)]);
            names.chain(self.dns_names.iter().cloned()).collect()
        };
        self.given.addresses.iter().map(|(ip, _)| (*ip, names(*ip))).collect()
    }

    /// The address that DHCP offers: its first in a subnet with DHCP.
    fn offered(&self, subnets: &[Served]) -> Option<Ipv4Addr> {
        let served = |name: &str| subnets.iter().any(|s| s.pool.subnet_name == name && s.server.is_some());
        self.given.addresses.iter().find(|(_, subnet)| served(subnet)).map(|(ip, _)| *ip)
    }

    pub(super) fn reservation(&self, subnets: &[Served]) -> Option<Reservation> {
        let mac = self.mac.filter(|_| self.dhcp)?;
        let ip = self.offered(subnets)?;
        let (key, options) = (self.key.clone(), self.options.clone());
        Some(Reservation { key, mac, ip, hostname: self.hostname(ip), options })
    }

    pub(super) fn view(&self, subnets: &[Served]) -> PortView {
        let unallocated = self.given.errors.first().map(unallocated);
        let silent = self.dhcp && self.offered(subnets).is_none() && unallocated.is_none();
        let unserved = silent.then(|| {
            let message = match self.given.addresses.len() {
                0 => "the Port asks for DHCP and for no address",
                _ => "none of the Port's addresses is in a Subnet with DHCP",
            };
            Problem::new(Reason::NoSubnet, message)
        });
        PortView {
            mac: self.mac.filter(|_| self.dhcp),
            addresses: self.given.addresses.clone(),
            problem: None,
            unallocated,
            unserved,
        }
    }
}

fn unallocated(error: &AllocateError) -> Problem {
    let reason = match error {
        AllocateError::PoolExhausted(_) => Reason::PoolExhausted,
        AllocateError::NoSubnet => Reason::NoSubnet,
        AllocateError::SubnetNotFound(_) => Reason::SubnetNotFound,
        AllocateError::AddressInUse(..) => Reason::AddressInUse,
        AllocateError::AddressOutsideSubnet(_) => Reason::AddressOutsideSubnet,
        AllocateError::AddressReserved(_) => Reason::AddressReserved,
    };
    Problem::new(reason, error.to_string())
}

fn wishes(port: &Port) -> Result<Vec<Wish>, Problem> {
    let Some(addresses) = &port.spec.addresses else { return Ok(vec![Wish::Any]) };
    let wish = |address: &crate::api::PortAddress| match (&address.ip, &address.subnet_ref) {
        (Some(ip), _) => Ok(Wish::Exactly(parsed(ip)?)),
        (None, Some(subnet)) => Ok(Wish::In(subnet.name.clone())),
        (None, None) => Ok(Wish::Any),
    };
    addresses.iter().map(wish).collect()
}

/// Only names below the domain: for others the server would not be the last to ask.
fn dns_name(name: &str, domain: Option<&DomainName>) -> Result<DomainName, Problem> {
    let name: DomainName = parsed(name)?;
    if domain.is_some_and(|domain| name.is_within(domain)) {
        return Ok(name);
    }
    let message = match domain {
        Some(domain) => format!("spec.dnsNames: {name} is not below the Network's domain {domain}"),
        None => format!("spec.dnsNames: {name} needs a Network with dns.domain"),
    };
    Err(Problem::new(Reason::NameOutsideDomain, message))
}
