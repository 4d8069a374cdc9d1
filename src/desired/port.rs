//! Which ports of a network are served, how and under which names.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use super::claimed::{claimed, claimed_by_default, default_of, known_by};
use super::declared::Said;
use super::subnet::{Served, formed};
use super::{Inputs, PortView};
use crate::allocate::{AllocateError, Claim, Given, HeldLater, Holder, Ledger, Wish};
use crate::dnsmasq::Client;
use crate::metadata;
use crate::node::Family;
use crate::reason::{Problem, Reason};
use crate::service::{Addressing, Offer, OptionList, Reservation};
use crate::types::{DomainName, HostName, Identity, MacAddr};

/// A port that is accepted.
pub(super) struct Guest<'a> {
    said: &'a Said,
    /// The network's.
    domain: Option<&'a DomainName>,
    wishes: Cow<'a, [Wish]>,
    given: Given,
    /// Its name at each of the addresses that it was given.
    hostnames: Vec<HostName>,
    dns_names: Vec<DomainName>,
    /// A name or an address that it does not get; everything else it does.
    lacks: Option<Problem>,
}

/// What became of a network's ports.
pub(super) struct Ports<'a> {
    /// Those that are accepted.
    pub(super) guests: Vec<Guest<'a>>,
    /// What is to be said of the others.
    pub(super) views: BTreeMap<String, PortView>,
    /// The others keep what they have: it may be another's change that is in their way.
    pub(super) holding: Vec<Claim<'static>>,
}

/// Those that hold addresses go first, then by name: a new one that is known by the same harms no old one.
pub(super) fn admit<'a>(inputs: &'a Inputs, domain: Option<&'a DomainName>, ledger: &Ledger) -> Ports<'a> {
    let mut ports = Ports { guests: Vec::new(), views: BTreeMap::new(), holding: Vec::new() };
    // One look at the ledger for all that are rejected, however many.
    let held = HeldLater::new(ledger);
    let formed = formed(inputs);
    for port in &inputs.ports {
        match port.said() {
            Ok(said) => ports.guests.push(Guest::new(said, domain, &formed)),
            Err(problem) => ports.reject(port.metadata.name.clone().unwrap_or_default(), problem, &held),
        }
    }
    ports.sort(ledger);
    ports.one_for_each_identity(&held);
    ports
}

impl Ports<'_> {
    fn reject(&mut self, name: String, problem: Problem, held: &HeldLater<'_>) {
        let holder = Holder::port(&name);
        let held = held.get();
        let mut addresses = held.by(&holder);
        addresses.sort_unstable();
        self.holding.push(held.claim(&holder));
        self.views.insert(name, PortView { problem: Some(problem), addresses, ..PortView::default() });
    }

    /// Guests with a MAC address of the network's server or of who asks it.
    pub(super) fn refuse(&mut self, own: &[MacAddr], held: &HeldLater<'_>) {
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
            self.reject(guest.name().to_owned(), Problem::new(reason, message), held);
        }
    }

    /// They come by name.
    fn sort(&mut self, ledger: &Ledger) {
        let held = ledger.iter().filter(|(_, held)| held.released.is_none());
        let mut holders = HashSet::with_capacity(self.guests.len());
        holders.extend(held.map(|(_, held)| &held.holder));
        let new = |guest: &Guest| !holders.contains(&guest.said.holder);
        self.guests.sort_by_cached_key(|guest| (guest.said.doubt, new(guest)));
    }

    /// What a guest calls itself by default counts where any is known by what it calls itself.
    fn one_for_each_identity(&mut self, held: &HeldLater<'_>) {
        let any = self.guests.iter().any(|guest| guest.said.identifier.is_some());
        let mut all: HashMap<Identity, &str> = HashMap::with_capacity(self.guests.len());
        for guest in std::mem::take(&mut self.guests) {
            let twice = guest.claims(any).find_map(|claim| Some((*all.get(&claim)?, claim)));
            let Some((other, claim)) = twice else {
                all.extend(guest.claims(any).map(|claim| (claim, guest.name())));
                self.guests.push(guest);
                continue;
            };
            let problem = duplicate(&claim, other);
            self.reject(guest.name().to_owned(), problem, held);
        }
    }
}

impl<'a> Guest<'a> {
    /// `formed` are the subnets in which guests make themselves addresses.
    pub(super) fn new(
        said: &'a Said,
        domain: Option<&'a DomainName>,
        formed: &BTreeMap<String, Ipv6Addr>,
    ) -> Self {
        let (mut dns_names, mut lacks) = (Vec::new(), None);
        for (i, name) in said.dns_names.iter().enumerate() {
            match name.clone().and_then(|name| below(i, name, domain)) {
                Ok(name) => dns_names.push(name),
                Err(problem) => lacks = lacks.or(Some(problem)),
            }
        }
        Self {
            said,
            domain,
            wishes: said.wishes(formed, MOST_FORMED),
            given: Given::default(),
            hostnames: Vec::new(),
            dns_names,
            lacks: lacks.or_else(|| without_room(said, formed)),
        }
    }

    /// Of its Port.
    pub(super) fn name(&self) -> &'a str {
        &self.said.name
    }

    /// Who it is to those who allocate.
    pub(super) fn holder(&self) -> &'a Holder {
        &self.said.holder
    }

    /// What it asks for.
    pub(super) fn claim(&self) -> Claim<'_> {
        Claim { holder: Cow::Borrowed(&self.said.holder), wishes: Cow::Borrowed(&self.wishes) }
    }

    /// Gives it what it got.
    pub(super) fn give(&mut self, given: Given) {
        let name = |ip| self.said.hostname.clone().unwrap_or_else(|| HostName::of_address(ip));
        self.hostnames = given.addresses.iter().map(|(ip, _)| name(*ip)).collect();
        self.given = given;
    }

    /// Its addresses, with their Subnets' names.
    pub(super) fn addresses(&self) -> &[(IpAddr, String)] {
        &self.given.addresses
    }

    /// Its device, and as whom the metadata service knows it.
    pub(super) fn identity(&self) -> Option<(MacAddr, metadata::Guest)> {
        let (port, port_uid) = (self.said.name.clone(), self.said.uid.clone());
        Some((self.said.mac?, metadata::Guest { port, port_uid }))
    }

    /// The names of each of its addresses: the full one first, for reverse look-ups.
    pub(super) fn names(&self) -> impl Iterator<Item = (IpAddr, Vec<DomainName>)> + '_ {
        let names = |short: &HostName| {
            let full = self.domain.and_then(|domain| domain.child(short).ok());
            let names = full.into_iter().chain([DomainName::from(short)]);
            names.chain(self.dns_names.iter().cloned()).collect()
        };
        let all = self.given.addresses.iter().zip(&self.hostnames);
        all.map(move |((ip, _), short)| (*ip, names(short)))
    }

    /// What it is told besides what its subnet's guests are.
    pub(super) fn options(&self) -> &OptionList {
        &self.said.options
    }

    /// Its device, if DHCP shall answer it.
    pub(super) fn device(&self) -> Option<MacAddr> {
        self.said.mac.filter(|_| self.said.dhcp)
    }

    /// Whom DHCP answers for it, if it shall.
    pub(super) fn clients(&self) -> impl Iterator<Item = Client> + '_ {
        Family::ALL.into_iter().filter_map(|family| Some((self.known_by(family)?, family)))
    }

    /// By what DHCP knows it in one protocol, if it shall answer it there.
    pub(super) fn known_by(&self, family: Family) -> Option<Identity> {
        known_by(self.said.identifier.as_ref(), self.said.mac, family).filter(|_| self.said.dhcp)
    }

    /// What no other guest may be known by; `all`: what it calls itself by default as well.
    fn claims(&self, all: bool) -> impl Iterator<Item = Identity> + '_ {
        let device = self.said.mac.map(Identity::Mac);
        let own = Family::ALL.into_iter().filter_map(move |family| {
            let by_default = self.said.identifier.as_ref().is_none_or(|own| own.family() != Some(family));
            self.said.mac.filter(|_| all && by_default).map(|mac| default_of(mac, family))
        });
        device.into_iter().chain(self.said.identifier.iter().map(claimed)).chain(own)
    }

    /// Its addresses in subnets with a server that knows it, its name at each, and those.
    fn served<'s>(
        &'s self,
        subnets: &'s [Served],
    ) -> impl Iterator<Item = (IpAddr, &'s HostName, &'s Served)> {
        let subnet = |name: &str| subnets.iter().find(|s| s.pool.subnet_name == name && s.server.is_some());
        let in_family = |family| known_by(self.said.identifier.as_ref(), self.said.mac, family).is_some();
        let known = self.given.addresses.iter().zip(&self.hostnames);
        let known = known.filter(move |((ip, _), _)| in_family(Family::of(*ip)));
        known.filter_map(move |((ip, name), hostname)| Some((*ip, hostname, subnet(name)?)))
    }

    /// One for each family that it is answered in.
    pub(super) fn reservations<'s>(
        &'s self,
        subnets: &'s [Served],
    ) -> impl Iterator<Item = Reservation> + 's {
        Family::ALL.into_iter().filter_map(move |family| {
            let identity = self.known_by(family)?;
            let (offer, scope) = self.offer(subnets, family)?;
            let (key, scope) = (self.said.key.clone(), scope.key.clone());
            let options = self.said.options.clone().of(family);
            Some(Reservation { key, identity, device: self.said.mac, family, offer, scope, options })
        })
    }

    /// What DHCP gives it, and the subnet whose options go with that: of the first address, or, where it
    /// makes itself all it has, of the first subnet with options.
    pub(super) fn offer<'s>(
        &'s self,
        subnets: &'s [Served],
        family: Family,
    ) -> Option<(Option<Offer>, &'s Served)> {
        let of = |addressing| {
            let all = self.served(subnets).filter(move |(ip, ..)| Family::of(*ip) == family);
            all.filter(move |(.., subnet)| subnet.addressing == addressing)
        };
        let mut leased = of(Addressing::Dhcp);
        let Some((ip, name, subnet)) = leased.next() else {
            return of(Addressing::Stateless).next().map(|(.., subnet)| (None, subnet));
        };
        // A DHCPv4 client has but one.
        let more = leased.filter(|_| family == Family::V6).map(|(ip, ..)| ip).collect();
        Some((Some(Offer { ip, more, name: name.clone() }), subnet))
    }

    pub(super) fn view(&self, subnets: &[Served]) -> PortView {
        let unserved = self.silent(subnets).or_else(|| self.lacks.clone());
        PortView {
            clients: self.clients().collect(),
            addresses: self.given.addresses.clone(),
            problem: None,
            unallocated: self.given.errors.first().map(unallocated),
            unserved: unserved.or_else(|| self.too_long()),
            crowded: self.said.crowded.clone(),
        }
    }

    /// Why DHCP does not answer although it was asked to.
    fn silent(&self, subnets: &[Served]) -> Option<Problem> {
        if !self.said.dhcp || self.served(subnets).next().is_some() {
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
            _ if self.said.mac.is_none() => {
                "none of the Port's addresses is of the protocol in which it is known, in a Subnet with DHCP"
            }
            _ => "none of the Port's addresses is in a Subnet with DHCP",
        };
        Some(Problem::new(Reason::NoSubnet, message))
    }

    fn too_long(&self) -> Option<Problem> {
        let domain = self.domain?;
        let error = self.hostnames.iter().find_map(|name| domain.child(name).err())?;
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

fn unallocated(error: &AllocateError) -> Problem {
    let reason = match error {
        AllocateError::PoolExhausted(_) => Reason::PoolExhausted,
        AllocateError::NoSubnet => Reason::NoSubnet,
        AllocateError::SubnetNotFound(_) => Reason::SubnetNotFound,
        AllocateError::AddressInUse(..) => Reason::AddressInUse,
        AllocateError::AddressReleasing(..) => Reason::AddressReleasing,
        AllocateError::AddressOutsideSubnet(_) | AllocateError::NotInSubnet(..) => {
            Reason::AddressOutsideSubnet
        }
        AllocateError::AddressReserved(_) => Reason::AddressReserved,
    };
    Problem::new(reason, error.to_string())
}

/// Of those that a guest makes itself: a Port's status has room for 32 addresses.
const MOST_FORMED: usize = 32 - Family::ALL.len();

fn without_room(said: &Said, formed: &BTreeMap<String, Ipv6Addr>) -> Option<Problem> {
    let message = || {
        let count = formed.len();
        format!(
            "{count} Subnets let guests make themselves addresses; the Port has those of {MOST_FORMED}, list others in spec.addresses"
        )
    };
    let has_room = !said.wants_all || formed.len() <= MOST_FORMED;
    (!has_room).then(|| Problem::new(Reason::TooManySubnets, message()))
}

/// Only names below the domain: for others the server would not be the last to ask.
fn below(i: usize, name: DomainName, domain: Option<&DomainName>) -> Result<DomainName, Problem> {
    if domain.is_some_and(|domain| name.is_within(domain)) {
        return Ok(name);
    }
    let field = format_args!("spec.dnsNames[{i}]");
    let message = match domain {
        Some(domain) => format!("{field}: {name} is not below the Network's domain {domain}"),
        None => format!("{field}: {name} needs a Network with dns.domain"),
    };
    Err(Problem::new(Reason::NameOutsideDomain, message))
}
