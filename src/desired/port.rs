//! Which ports of a network are served, how and under which names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr};

use super::claimed::{claimed, claimed_by_default, default_of, identifier, known_by};
use super::subnet::{Served, formed, key};
use super::{Inputs, PortView};
use crate::allocate::{AllocateError, Claim, Given, Holder, Ledger, Wish};
use crate::api::{Conditioned, Port, PortAddress, PortDhcp};
use crate::dhcp_options::{crowded, options};
use crate::dnsmasq::Client;
use crate::metadata;
use crate::node::Family;
use crate::reason::{Problem, Reason};
use crate::service::{Addressing, Offer, OptionList, Reservation};
use crate::types::{DomainName, HostName, Identity, MacAddr};
use crate::validate::{self, parsed};

/// A port that is accepted.
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) claim: Claim,
    pub(super) given: Given,
    mac: Option<MacAddr>,
    /// By what it is known in one protocol instead of its MAC address.
    identifier: Option<Identity>,
    /// DHCP was asked for, and there is somebody to answer.
    dhcp: bool,
    hostname: Option<HostName>,
    dns_names: Vec<DomainName>,
    /// A name or an address that it does not get; everything else it does.
    lacks: Option<Problem>,
    options: OptionList,
    uid: String,
    key: String,
    /// How sure it is that nobody else is known by the same; the lowest goes first.
    doubt: u8,
}

/// What became of a network's ports.
pub(super) struct Ports {
    /// Those that are accepted.
    pub(super) guests: Vec<Guest>,
    /// What is to be said of the others.
    pub(super) views: BTreeMap<String, PortView>,
    /// The others keep what they have: it may be another's change that is in their way.
    pub(super) holding: Vec<Claim>,
}

/// Those that hold addresses go first, then by name: a new one that is known by the same harms no old one.
pub(super) fn admit(inputs: &Inputs, domain: Option<&DomainName>, ledger: &Ledger) -> Ports {
    let mut ports = Ports { guests: Vec::new(), views: BTreeMap::new(), holding: Vec::new() };
    let formed = formed(inputs);
    for port in &inputs.ports {
        let name = port.metadata.name.clone().unwrap_or_default();
        match Guest::new(&name, port, domain, &formed) {
            Ok(guest) => ports.guests.push(guest),
            Err(problem) => ports.reject(name, problem, ledger),
        }
    }
    ports.sort(ledger);
    ports.one_for_each_identity(ledger);
    ports
}

impl Ports {
    fn reject(&mut self, name: String, problem: Problem, ledger: &Ledger) {
        let holding = ledger.holding(Holder::port(&name));
        let held = ledger.iter().filter(|(ip, _)| holding.wishes.contains(&Wish::Exactly(**ip)));
        let addresses = held.map(|(ip, held)| (*ip, held.subnet_name.clone())).collect();
        self.holding.push(holding);
        self.views.insert(name, PortView { problem: Some(problem), addresses, ..PortView::default() });
    }

    /// Guests with a MAC address of the network's server or of who asks it.
    pub(super) fn refuse(&mut self, own: &[MacAddr], ledger: &Ledger) {
        let own: Vec<_> = own.iter().flat_map(|mac| claimed_by_default(*mac)).collect();
        for guest in std::mem::take(&mut self.guests) {
            let Some(claim) = guest.claims(false).find(|claim| own.contains(claim)) else {
                self.guests.push(guest);
                continue;
            };
            let (reason, field) = match claim {
                Identity::Mac(_) => (Reason::DuplicateMAC, "spec.macAddress"),
                Identity::ClientId(_) | Identity::Duid(_) => (Reason::DuplicateIdentity, "spec.identity"),
            };
            let message = format!("{field}: it is one of the Network's own server");
            self.reject(guest.name, Problem::new(reason, message), ledger);
        }
    }

    fn sort(&mut self, ledger: &Ledger) {
        let held = ledger.iter().filter(|(_, held)| held.released.is_none());
        let holders: BTreeSet<_> = held.map(|(_, held)| &held.holder).collect();
        let new = |guest: &Guest| !holders.contains(&guest.claim.holder);
        self.guests.sort_by_cached_key(|guest| (guest.doubt, new(guest), guest.name.clone()));
    }

    /// What a guest calls itself by default counts where any is known by what it calls itself.
    fn one_for_each_identity(&mut self, ledger: &Ledger) {
        let any = self.guests.iter().any(|guest| guest.identifier.is_some());
        let mut all: BTreeMap<Identity, String> = BTreeMap::new();
        for guest in std::mem::take(&mut self.guests) {
            let twice = guest.claims(any).find_map(|claim| Some((all.get(&claim)?.clone(), claim)));
            let Some((other, claim)) = twice else {
                all.extend(guest.claims(any).map(|claim| (claim, guest.name.clone())));
                self.guests.push(guest);
                continue;
            };
            self.reject(guest.name, duplicate(&claim, &other), ledger);
        }
    }
}

impl Guest {
    /// `formed` are the subnets in which guests make themselves addresses.
    fn new(
        name: &str,
        port: &Port,
        domain: Option<&DomainName>,
        formed: &BTreeMap<String, Ipv6Addr>,
    ) -> Result<Self, Problem> {
        if let Some(problem) = validate::port(port).into_iter().next() {
            return Err(problem);
        }
        let spec = &port.spec;
        let names = spec.dns_names.iter().enumerate();
        let names: Vec<_> =
            names.map(|(i, name)| dns_name(format_args!("spec.dnsNames[{i}]"), name, domain)).collect();
        let mac = spec.mac_address.as_deref().map(|mac| parsed("spec.macAddress", mac));
        let mac: Option<MacAddr> = mac.transpose()?;
        let identifier = identifier(&spec.identity)?;
        Ok(Self {
            name: name.to_owned(),
            claim: Claim {
                holder: Holder::Port {
                    name: name.to_owned(),
                    mac_address: mac,
                    identifier: identifier.clone(),
                },
                wishes: wishes(port, mac, formed)?,
            },
            given: Given::default(),
            mac,
            dhcp: spec.dhcp == PortDhcp::Enabled && (mac.is_some() || identifier.is_some()),
            identifier,
            hostname: spec.hostname.as_deref().map(|name| parsed("spec.hostname", name)).transpose()?,
            lacks: names.iter().find_map(|name| name.clone().err()).or_else(|| without_room(port, formed)),
            dns_names: names.into_iter().flatten().collect(),
            options: options(&spec.options, "spec.options", None).0,
            uid: port.metadata.uid.clone().unwrap_or_default(),
            key: key("p", port.metadata.uid.as_deref()),
            doubt: doubt(port),
        })
    }

    /// Its device, and as whom the metadata service knows it.
    pub(super) fn identity(&self) -> Option<(MacAddr, metadata::Guest)> {
        Some((self.mac?, metadata::Guest { port: self.name.clone(), port_uid: self.uid.clone() }))
    }

    fn hostname(&self, ip: IpAddr) -> HostName {
        self.hostname.clone().unwrap_or_else(|| HostName::of_address(ip))
    }

    /// The names of each of its addresses: the full one first, for reverse look-ups.
    pub(super) fn names(&self, domain: Option<&DomainName>) -> Vec<(IpAddr, Vec<DomainName>)> {
        let names = |ip: IpAddr| {
            let short = self.hostname(ip);
            let full = domain.and_then(|domain| domain.child(&short).ok());
            let names = full.into_iter().chain([DomainName::from(&short)]);
            names.chain(self.dns_names.iter().cloned()).collect()
        };
        self.given.addresses.iter().map(|(ip, _)| (*ip, names(*ip))).collect()
    }

    /// What it is told besides what its subnet's guests are.
    pub(super) fn options(&self) -> &OptionList {
        &self.options
    }

    /// Its device, if DHCP shall answer it.
    pub(super) fn device(&self) -> Option<MacAddr> {
        self.mac.filter(|_| self.dhcp)
    }

    /// Whom DHCP answers for it, if it shall.
    pub(super) fn clients(&self) -> impl Iterator<Item = Client> + '_ {
        Family::ALL.into_iter().filter_map(|family| Some((self.known_by(family)?, family)))
    }

    /// By what DHCP knows it in one protocol, if it shall answer it there.
    pub(super) fn known_by(&self, family: Family) -> Option<Identity> {
        known_by(self.identifier.as_ref(), self.mac, family).filter(|_| self.dhcp)
    }

    /// What no other guest may be known by; `all`: what it calls itself by default as well.
    fn claims(&self, all: bool) -> impl Iterator<Item = Identity> + '_ {
        let device = self.mac.map(Identity::Mac);
        let own = Family::ALL.into_iter().filter_map(move |family| {
            let by_default = self.identifier.as_ref().is_none_or(|own| own.family() != Some(family));
            self.mac.filter(|_| all && by_default).map(|mac| default_of(mac, family))
        });
        device.into_iter().chain(self.identifier.iter().map(claimed)).chain(own)
    }

    /// Its addresses in subnets with a server that knows it, and those.
    fn served<'a>(&'a self, subnets: &'a [Served]) -> impl Iterator<Item = (IpAddr, &'a Served)> {
        let subnet = |name: &str| subnets.iter().find(|s| s.pool.subnet_name == name && s.server.is_some());
        let is_known = |ip| known_by(self.identifier.as_ref(), self.mac, Family::of(ip)).is_some();
        let known = self.given.addresses.iter().filter(move |(ip, _)| is_known(*ip));
        known.filter_map(move |(ip, name)| Some((*ip, subnet(name)?)))
    }

    /// One for each family that it is answered in.
    pub(super) fn reservations(&self, subnets: &[Served]) -> Vec<Reservation> {
        let of = |family| {
            let identity = self.known_by(family)?;
            let (offer, scope) = self.offer(subnets, family)?;
            let (key, scope) = (self.key.clone(), scope.key.clone());
            let options = self.options.clone().of(family);
            Some(Reservation { key, identity, device: self.mac, family, offer, scope, options })
        };
        Family::ALL.into_iter().filter_map(of).collect()
    }

    /// What DHCP gives it, and the subnet whose options go with that: of the first address, or, where it
    /// makes itself all it has, of the first subnet with options.
    pub(super) fn offer<'a>(
        &'a self,
        subnets: &'a [Served],
        family: Family,
    ) -> Option<(Option<Offer>, &'a Served)> {
        let of = |addressing| {
            let all = self.served(subnets).filter(move |(ip, _)| Family::of(*ip) == family);
            all.filter(move |(_, subnet)| subnet.addressing == addressing)
        };
        let Some((ip, subnet)) = of(Addressing::Dhcp).next() else {
            return of(Addressing::Stateless).next().map(|(_, subnet)| (None, subnet));
        };
        // A DHCPv4 client has but one.
        let others = of(Addressing::Dhcp).skip(1).filter(|_| family == Family::V6);
        let more = others.map(|(ip, _)| ip).collect();
        Some((Some(Offer { ip, more, name: self.hostname(ip) }), subnet))
    }

    pub(super) fn view(&self, subnets: &[Served], domain: Option<&DomainName>) -> PortView {
        let unserved = self.silent(subnets).or_else(|| self.lacks.clone());
        PortView {
            clients: self.clients().collect(),
            addresses: self.given.addresses.clone(),
            problem: None,
            unallocated: self.given.errors.first().map(unallocated),
            unserved: unserved.or_else(|| self.too_long(domain)),
            crowded: crowded(&self.options),
        }
    }

    /// Why DHCP does not answer although it was asked to.
    fn silent(&self, subnets: &[Served]) -> Option<Problem> {
        if !self.dhcp || self.served(subnets).next().is_some() {
            return None;
        }
        let has =
            |subnet: &&Served| self.given.addresses.iter().any(|(_, name)| *name == subnet.pool.subnet_name);
        let waits = |subnet: &&Served| subnet.scope && subnet.server.is_none();
        if let Some(subnet) = subnets.iter().filter(waits).find(has) {
            return Some(subnet.no_server());
        }
        let message = match self.given.addresses.len() {
            0 => "the Port asks for DHCP and for no address",
            _ if self.mac.is_none() => {
                "none of the Port's addresses is of the protocol in which it is known, in a Subnet with DHCP"
            }
            _ => "none of the Port's addresses is in a Subnet with DHCP",
        };
        Some(Problem::new(Reason::NoSubnet, message))
    }

    fn too_long(&self, domain: Option<&DomainName>) -> Option<Problem> {
        let full = |ip: &IpAddr| domain?.child(&self.hostname(*ip)).err();
        let error = self.given.addresses.iter().find_map(|(ip, _)| full(ip))?;
        Some(Problem::new(Reason::InvalidValue, format!("spec.hostname, with the Network's domain: {error}")))
    }
}

/// That another guest is known by the same, or was accepted first.
fn duplicate(claim: &Identity, other: &str) -> Problem {
    match claim {
        Identity::Mac(mac) => {
            Problem::new(Reason::DuplicateMAC, format!("{mac} is the MAC address of Port {other}"))
        }
        claim => {
            let message =
                format!("the guest of Port {other} is known by {claim}, or calls itself so by default");
            Problem::new(Reason::DuplicateIdentity, message)
        }
    }
}

/// Whoever was accepted as it is now goes before one that changed since, that before one that was
/// refused: so that all nodes and the controller prefer the same one of two that are known by the same.
fn doubt(port: &Port) -> u8 {
    let Some(accepted) = port.condition("Accepted") else { return 1 };
    match (accepted.status.as_str(), accepted.observed_generation == port.metadata.generation) {
        ("True", true) => 0,
        ("False", _) => 2,
        _ => 1,
    }
}

fn unallocated(error: &AllocateError) -> Problem {
    let reason = match error {
        AllocateError::PoolExhausted(_) => Reason::PoolExhausted,
        AllocateError::NoSubnet => Reason::NoSubnet,
        AllocateError::SubnetNotFound(_) => Reason::SubnetNotFound,
        AllocateError::AddressInUse(..) => Reason::AddressInUse,
        AllocateError::AddressReleasing(..) => Reason::AddressReleasing,
        AllocateError::AddressOutsideSubnet(_) => Reason::AddressOutsideSubnet,
        AllocateError::AddressReserved(_) => Reason::AddressReserved,
    };
    Problem::new(reason, error.to_string())
}

/// Of those that a guest makes itself: a Port's status has room for 32 addresses.
const MOST_FORMED: usize = 32 - Family::ALL.len();

fn without_room(port: &Port, formed: &BTreeMap<String, Ipv6Addr>) -> Option<Problem> {
    let wants_all = port.spec.mac_address.is_some() && port.spec.addresses.is_none();
    let message = || {
        let count = formed.len();
        format!(
            "{count} Subnets let guests make themselves addresses; the Port has those of {MOST_FORMED}, list others in spec.addresses"
        )
    };
    (wants_all && formed.len() > MOST_FORMED).then(|| Problem::new(Reason::TooManySubnets, message()))
}

/// In a subnet in which guests make themselves addresses, a Port with a MAC address has none but that which
/// is made of it, unless it names another.
fn wishes(
    port: &Port,
    mac: Option<MacAddr>,
    formed: &BTreeMap<String, Ipv6Addr>,
) -> Result<Vec<Wish>, Problem> {
    let own = |name: &String| Some(Wish::Formed(mac?.address_in(*formed.get(name)?).into(), name.clone()));
    let Some(addresses) = &port.spec.addresses else {
        let made = formed.keys().filter_map(own).take(MOST_FORMED);
        return Ok(Family::ALL.map(Wish::Any).into_iter().chain(made).collect());
    };
    let wish = |(i, address): (usize, &PortAddress)| match (&address.ip, &address.subnet_ref) {
        (Some(ip), _) => Ok(Wish::Exactly(parsed(format_args!("spec.addresses[{i}].ip"), ip)?)),
        (None, Some(subnet)) => Ok(own(&subnet.name).unwrap_or_else(|| Wish::In(subnet.name.clone()))),
        (None, None) => Ok(Wish::Any(Family::V4)),
    };
    addresses.iter().enumerate().map(wish).collect()
}

/// Only names below the domain: for others the server would not be the last to ask.
fn dns_name(
    field: impl Display + Copy,
    name: &str,
    domain: Option<&DomainName>,
) -> Result<DomainName, Problem> {
    let name: DomainName = parsed(field, name)?;
    if domain.is_some_and(|domain| name.is_within(domain)) {
        return Ok(name);
    }
    let message = match domain {
        Some(domain) => format!("{field}: {name} is not below the Network's domain {domain}"),
        None => format!("{field}: {name} needs a Network with dns.domain"),
    };
    Err(Problem::new(Reason::NameOutsideDomain, message))
}
