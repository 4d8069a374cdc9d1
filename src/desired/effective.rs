//! What the guest of one Port is told, and which object says so.
//!
//! Called by `kube-dhcp status --port`. Pure. It goes the way that the answers themselves go, and keeps what
//! each step adds.

use std::net::IpAddr;

use ipnet::IpNet;

use super::adverts::advertisement;
use super::network::{Admitted, admit_anywhere};
use super::port::Guest;
use super::subnet::Served;
use super::{Inputs, NodeConfig, Settled, metadata, settle};
use crate::allocate::Ledger;
use crate::node::Family;
use crate::reason::{Problem, Reason};
use crate::service::{Code, Kinds, Offer, OptionList, Options};
use crate::types::{DomainName, Identity, MacAddr};

/// One Port's part of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective {
    /// Its device.
    pub mac: Option<MacAddr>,
    /// All addresses, with their Subnets' names and their DNS names, the one of the reverse look-up first.
    pub addresses: Vec<(IpAddr, String, Vec<DomainName>)>,
    /// What DHCP says in each protocol that it answers in.
    pub families: Vec<EffectiveFamily>,
    /// What router advertisements of the network's servers say, to whoever hears them, and of which object.
    pub advertised: Vec<(Advertised, String)>,
}

/// A part of a router advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertised {
    /// And whether guests make themselves addresses of it (RFC 4861 §4.6.2).
    Prefix(IpNet, bool),
    /// RFC 4861 §4.6.4.
    Mtu(u16),
    /// A list that is an option of DHCPv6 as well (RFC 8106 §5).
    List(Code, Vec<u8>),
}

/// In one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveFamily {
    /// Which.
    pub family: Family,
    /// By what the guest is known.
    pub known_by: Identity,
    /// Offered, the first one, or had for the asking; none: the guest makes itself its addresses.
    pub offered: Vec<IpAddr>,
    /// The address of this node's server.
    pub server: IpAddr,
    /// In the order of their codes; those for some guests before what is for the others.
    pub options: Vec<EffectiveOption>,
}

/// An option that it may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveOption {
    /// Its number.
    pub code: Code,
    /// Its bytes; none: it is not sent.
    pub value: Vec<u8>,
    /// The object and the field that it is of.
    pub from: String,
    /// For which of the guest's requests; `None`: for those for which nothing else is.
    pub kinds: Option<Kinds>,
}

/// What the Port of this name is told on such a node. `ledger` is that of the network, where no controller
/// decides.
pub fn effective(
    node: &NodeConfig,
    inputs: &Inputs,
    name: &str,
    mut ledger: Ledger,
) -> Result<Effective, Problem> {
    let admitted = admit_anywhere(inputs)?;
    let Settled { mut subnets, ports, .. } = settle(inputs, &admitted, &[], &mut ledger);
    metadata::offer(node, inputs, &mut subnets, &ports.guests);
    let Some(guest) = ports.guests.iter().find(|guest| guest.name() == name) else {
        let waits = || Problem::new(Reason::Progressing, "it has no addresses yet".to_owned());
        return Err(ports.views.get(name).and_then(|view| view.problem.clone()).unwrap_or_else(waits));
    };
    let names = guest.names();
    let addresses = guest.addresses().iter().zip(names);
    let of = |family| answers(inputs, &admitted, &subnets, guest, family);
    Ok(Effective {
        mac: guest.device(),
        addresses: addresses.map(|((ip, subnet), (_, names))| (*ip, subnet.clone(), names)).collect(),
        families: Family::ALL.into_iter().filter_map(of).collect(),
        advertised: advertised(inputs, &admitted, &subnets),
    })
}

fn advertised(inputs: &Inputs, admitted: &Admitted, subnets: &[Served]) -> Vec<(Advertised, String)> {
    let scopes: Vec<_> = subnets.iter().filter_map(|subnet| subnet.scope(admitted, subnets)).collect();
    let Some(said) = advertisement(admitted, &scopes) else { return Vec::new() };
    let all = || subnets.iter().filter(|subnet| subnet.advertised && subnet.server.is_some());
    let prefix = |subnet: &Served| {
        let part = Advertised::Prefix(subnet.pool.cidr, subnet.pool.formed);
        (part, format!("Subnet {} spec.cidr", subnet.pool.subnet_name))
    };
    let mtu = said.mtu.map(|mtu| (Advertised::Mtu(mtu), mtu_of(inputs)));
    let names: Vec<_> = all().map(|subnet| format!("Subnet {}", subnet.pool.subnet_name)).collect();
    let lists = said.options.into_iter().filter(|(_, list)| !list.is_empty());
    let lists = lists.map(|(code, list)| (Advertised::List(code, list), names.join(", ")));
    all().map(prefix).chain(mtu).chain(lists).collect()
}

fn name_of(inputs: &Inputs) -> &str {
    inputs.network.metadata.name.as_deref().unwrap_or_default()
}

fn mtu_of(inputs: &Inputs) -> String {
    format!("Network {} spec.mtu, or its PhysicalNetwork's", name_of(inputs))
}

fn answers(
    inputs: &Inputs,
    admitted: &Admitted,
    subnets: &[Served],
    guest: &Guest,
    family: Family,
) -> Option<EffectiveFamily> {
    let known_by = guest.known_by(family)?;
    let (offer, subnet) = guest.offer(subnets, family)?;
    let made = match &offer {
        Some(offer) => made(subnet, offer)?,
        None => refreshed(subnets),
    };
    let layers = [
        Layer::of(Origin::Made, made),
        Layer::of(Origin::Fields, subnet.fields(admitted, subnets)?),
        Layer::written(format!("Network {}", name_of(inputs)), admitted.options.clone().of(family)),
        Layer::written(format!("Subnet {}", subnet.pool.subnet_name), subnet.options().clone()),
        Layer::written(format!("Port {}", guest.name()), guest.options().clone().of(family)),
    ];
    let options = resolved(&layers, &subnet.pool.subnet_name, inputs);
    let offered = offer.iter().flat_map(Offer::ips).collect();
    Some(EffectiveFamily { family, known_by, server: subnet.server?, offered, options })
}

/// What the protocol itself says of a lease.
fn made(subnet: &Served, offer: &Offer) -> Option<Options> {
    let (IpAddr::V4(server), ipnet::IpNet::V4(net)) = (subnet.server?, subnet.pool.cidr) else {
        return Some(Options::new());
    };
    let lease = subnet.subnet.spec.dhcp.lease_duration_seconds;
    let mut made = Options::from([
        (Code::V4(1), net.netmask().octets().to_vec()),
        (Code::V4(12), offer.name.to_string().into_bytes()),
        (Code::V4(28), net.broadcast().octets().to_vec()),
        (Code::V4(51), lease.to_be_bytes().to_vec()),
        (Code::V4(54), server.octets().to_vec()),
    ]);
    if lease < u32::MAX {
        made.insert(Code::V4(58), (lease / 2).to_be_bytes().to_vec());
        made.insert(Code::V4(59), (lease - lease.div_ceil(8)).to_be_bytes().to_vec());
    }
    Some(made)
}

/// When a guest that has options alone shall ask again: dnsmasq tells the shortest lease of all IPv6 subnets
/// with a range, and no less than there may be (RFC 8415 §21.23).
fn refreshed(subnets: &[Served]) -> Options {
    const LEAST: u32 = 600;
    let ranges = subnets.iter().filter(|subnet| subnet.family() == Family::V6 && subnet.has_range());
    let shortest = ranges.map(|subnet| subnet.subnet.spec.dhcp.lease_duration_seconds).min();
    shortest.map(|seconds| (Code::V6(32), seconds.max(LEAST).to_be_bytes().to_vec())).into_iter().collect()
}

/// What one object says, or one part of it.
struct Layer {
    origin: Origin,
    options: OptionList,
}

/// The protocol itself, fields of the network's objects, or the `spec.options` of one.
enum Origin {
    Made,
    Fields,
    Written(String),
}

impl Layer {
    fn of(origin: Origin, plain: Options) -> Self {
        Self { origin, options: OptionList { plain, special: Vec::new() } }
    }

    fn written(object: String, options: OptionList) -> Self {
        Self { origin: Origin::Written(object), options }
    }

    fn has(&self, code: Code, kinds: Option<Kinds>) -> bool {
        let OptionList { plain, special } = &self.options;
        let special =
            |kinds: Kinds| special.iter().any(|s| s.code == code && kinds.without(s.kinds).is_empty());
        kinds.map_or_else(|| plain.contains_key(&code), special)
    }
}

impl Origin {
    fn field(&self, code: Code, subnet: &str, inputs: &Inputs) -> String {
        match self {
            Self::Written(object) => format!("{object} spec.options"),
            Self::Made if matches!(code, Code::V4(51 | 58 | 59)) => {
                format!("Subnet {subnet} spec.dhcp.leaseDurationSeconds")
            }
            Self::Made if code == Code::V6(32) => {
                "Subnets spec.dhcp.leaseDurationSeconds, the shortest".to_owned()
            }
            Self::Made | Self::Fields => match code {
                Code::V4(1 | 28) => format!("Subnet {subnet} spec.cidr"),
                Code::V4(3) => format!("Subnet {subnet} spec.gateway"),
                Code::V4(6) | Code::V6(23) => format!("Subnet {subnet} spec.dns"),
                Code::V4(12) => "Port spec.hostname, else its address".to_owned(),
                Code::V4(15) | Code::V6(24) => format!("Network {} spec.dns.domain", name_of(inputs)),
                Code::V4(26) => mtu_of(inputs),
                Code::V4(58) => format!("Subnet {subnet} spec.dhcp.renewalSeconds"),
                Code::V4(59) => format!("Subnet {subnet} spec.dhcp.rebindingSeconds"),
                Code::V4(121 | 249) => {
                    format!("Subnet {subnet} spec.hostRoutes, spec.gateway; other Subnets")
                }
                _ => "the server".to_owned(),
            },
        }
    }
}

/// The nearest object wins; in it what is for some guests.
fn resolved(layers: &[Layer], subnet: &str, inputs: &Inputs) -> Vec<EffectiveOption> {
    let mut all = OptionList::default();
    for layer in layers {
        all.extend(layer.options.clone());
    }
    let from = |code, kinds| {
        let layer = layers.iter().rfind(|layer| layer.has(code, kinds));
        layer.map(|layer| layer.origin.field(code, subnet, inputs)).unwrap_or_default()
    };
    let option = |code, value: &Vec<u8>, kinds| EffectiveOption {
        code,
        value: value.clone(),
        from: from(code, kinds),
        kinds,
    };
    let special = all.special.iter().map(|s| option(s.code, &s.value, Some(s.kinds)));
    let plain = all.plain.iter().map(|(code, value)| option(*code, value, None));
    let mut options: Vec<_> = special.chain(plain).collect();
    options.sort_by_key(|option| option.code);
    options
}
