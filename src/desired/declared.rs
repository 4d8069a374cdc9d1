//! A Port with what its spec says: read once, however often its network is looked at.
//!
//! Held by whoever knows objects; `port` reads it. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::claimed::identifier;
use super::subnet::key;
use crate::allocate::{Holder, Wish};
use crate::api::{Conditioned, Port, PortAddress, PortDhcp, SubnetRef};
use crate::dhcp_options::{crowded, options};
use crate::node::Family;
use crate::reason::Problem;
use crate::service::OptionList;
use crate::types::{DomainName, HostName, Identity, MacAddr};
use crate::validate::{self, parsed};

/// A Port as it was declared.
#[derive(Debug)]
pub struct Declared {
    port: Arc<Port>,
    said: OnceLock<Result<Said, Problem>>,
}

impl From<Arc<Port>> for Declared {
    fn from(port: Arc<Port>) -> Self {
        Self { port, said: OnceLock::new() }
    }
}

impl PartialEq for Declared {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port
    }
}

impl Deref for Declared {
    type Target = Port;

    fn deref(&self) -> &Port {
        &self.port
    }
}

impl Declared {
    /// The object.
    pub fn object(&self) -> &Arc<Port> {
        &self.port
    }

    /// What it says, or the first thing that is wrong with it.
    pub(super) fn said(&self) -> Result<&Said, Problem> {
        self.said.get_or_init(|| Said::read(&self.port)).as_ref().map_err(Clone::clone)
    }
}

/// What a Port without a fault says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) holder: Holder,
    pub(super) mac: Option<MacAddr>,
    /// By what it is known in one protocol instead of its MAC address.
    pub(super) identifier: Option<Identity>,
    /// DHCP is asked for, and there is somebody to answer.
    pub(super) dhcp: bool,
    pub(super) hostname: Option<HostName>,
    pub(super) dns_names: Vec<Result<DomainName, Problem>>,
    pub(super) options: OptionList,
    /// Why it cannot get all of its options.
    pub(super) crowded: Option<Problem>,
    /// Whether it leaves open which addresses it gets.
    pub(super) wants_all: bool,
    /// But for those that its guest makes itself.
    wishes: Vec<Wish>,
    pub(super) uid: String,
    pub(super) key: String,
    /// How sure it is that nobody else is known by the same; the lowest goes first.
    pub(super) doubt: u8,
}

impl Said {
    fn read(port: &Port) -> Result<Self, Problem> {
        if let Some(problem) = validate::port(port).into_iter().next() {
            return Err(problem);
        }
        let (spec, name) = (&port.spec, port.metadata.name.clone().unwrap_or_default());
        let mac = spec.mac_address.as_deref().map(|mac| parsed("spec.macAddress", mac)).transpose()?;
        let identifier = identifier(&spec.identity)?;
        let names = spec.dns_names.iter().enumerate();
        let options = options(&spec.options, "spec.options", None).0;
        Ok(Self {
            holder: Holder::Port { name: name.clone(), mac_address: mac, identifier: identifier.clone() },
            name,
            mac,
            dhcp: spec.dhcp == PortDhcp::Enabled && (mac.is_some() || identifier.is_some()),
            identifier,
            hostname: spec.hostname.as_deref().map(|name| parsed("spec.hostname", name)).transpose()?,
            dns_names: names.map(|(i, name)| parsed(format_args!("spec.dnsNames[{i}]"), name)).collect(),
            crowded: crowded(&options),
            options,
            wants_all: mac.is_some() && spec.addresses.is_none(),
            wishes: wishes(spec.addresses.as_deref())?,
            uid: port.metadata.uid.clone().unwrap_or_default(),
            key: key("p", port.metadata.uid.as_deref()),
            doubt: doubt(port),
        })
    }

    /// In a subnet in which guests make themselves addresses, a Port with a MAC address has none but that which
    /// is made of it, unless it names another; of those that it does not name, at most `most`.
    pub(super) fn wishes(&self, formed: &BTreeMap<String, Ipv6Addr>, most: usize) -> Cow<'_, [Wish]> {
        let Some(mac) = self.mac.filter(|_| !formed.is_empty()) else { return Cow::Borrowed(&self.wishes) };
        let made =
            |(name, prefix): (&String, &Ipv6Addr)| Wish::Formed(mac.address_in(*prefix).into(), name.clone());
        let own = |wish: &Wish| match wish {
            Wish::In(subnet) => formed.get_key_value(subnet).map_or_else(|| wish.clone(), made),
            wish => wish.clone(),
        };
        let others = formed.iter().map(made).take(if self.wants_all { most } else { 0 });
        self.wishes.iter().map(own).chain(others).collect()
    }
}

fn wishes(addresses: Option<&[PortAddress]>) -> Result<Vec<Wish>, Problem> {
    let Some(addresses) = addresses else { return Ok(Family::ALL.map(Wish::Any).into()) };
    let wish = |(i, address): (usize, &PortAddress)| match (&address.ip, &address.subnet_ref) {
        (Some(ip), subnet) => {
            let ip = parsed(format_args!("spec.addresses[{i}].ip"), ip)?;
            let within = |subnet: &SubnetRef| Wish::Within(ip, subnet.name.clone());
            Ok(subnet.as_ref().map_or(Wish::Exactly(ip), within))
        }
        (None, Some(subnet)) => Ok(Wish::In(subnet.name.clone())),
        (None, None) => Ok(Wish::Any(Family::V4)),
    };
    addresses.iter().enumerate().map(wish).collect()
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
