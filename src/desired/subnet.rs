//! Which subnets of a network are served, and what their guests are told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::network::{Admitted, all_parsed};
use super::options4::MTU;
use super::{Inputs, SubnetView, options4, options6};
use crate::allocate::{Ledger, Pool};
use crate::api::{
    AddressMode, AddressRange, DhcpMode, GatewayType, HostRoute, RouterAdvertisements, Subnet, SubnetDnsType,
};
use crate::dhcp_options::{crowded, options};
use crate::node::Family;
use crate::reason::{Problem, Reason};
use crate::service::{Addressing, OptionList, Options, Scope};
use crate::types::{IpRange, is_reserved, next_address};
use crate::validate::{self, MOST_DYNAMIC, parsed};

/// A subnet that is served, or at least allocated from.
pub(super) struct Served {
    pub(super) pool: Pool,
    pub(super) gateway: Option<IpAddr>,
    /// Whether it has a server.
    pub(super) scope: bool,
    /// How its guests get addresses.
    pub(super) addressing: Addressing,
    /// Addresses for guests that are no Port; empty: this server has none for them.
    pub(super) dynamic: Vec<IpRange>,
    /// Whether its servers send router advertisements.
    pub(super) advertised: bool,
    /// The address of the DHCP server in it.
    pub(super) server: Option<IpAddr>,
    /// The addresses of all of the network's servers in it; empty: there is only this one.
    pub(super) resolvers: Vec<IpAddr>,
    /// Stands for it in the server's files.
    pub(super) key: String,
    pub(super) subnet: std::sync::Arc<Subnet>,
    pub(super) routes: Vec<(IpNet, IpAddr)>,
    /// Whether its guests are offered the metadata service.
    pub(super) metadata: bool,
    /// `None`: the network's servers.
    dns: Option<Vec<IpAddr>>,
    /// What the user wrote.
    options: OptionList,
}

/// Those in which somebody has an address go first, then by name: a new one that overlaps harms no old
/// one.
pub(super) fn admit(
    inputs: &Inputs,
    mtu: Option<u16>,
    ledger: &Ledger,
) -> (Vec<Served>, BTreeMap<String, SubnetView>) {
    let known = |name: &str, subnet: &Subnet| {
        subnet.spec.cidr.parse().is_ok_and(|cidr| ledger.within(cidr).any(|held| held.subnet_name == name))
    };
    let mut order: Vec<_> = inputs.subnets.iter().map(|subnet| (name_of(subnet), subnet)).collect();
    order.sort_by_cached_key(|(name, subnet)| (!known(name, subnet), name.clone()));
    let (mut served, mut views) = (Vec::<Served>::new(), BTreeMap::new());
    for (name, subnet) in order {
        let admitted = Served::new(&name, subnet)
            .and_then(|new| new.beside(&served))
            .and_then(|new| new.within(mtu))
            .and_then(|new| if served.len() < MOST { Ok(new) } else { Err(too_many()) });
        let problem = match admitted {
            Ok(new) => {
                served.push(new);
                None
            }
            Err(problem) => Some(problem),
        };
        views.insert(name, SubnetView { problem, ..SubnetView::default() });
    }
    served.sort_by(|a, b| a.pool.subnet_name.cmp(&b.pool.subnet_name));
    (served, views)
}

const IPV6_MTU: u16 = 1_280;

/// A server has an address in each, and a DHCPServer has room for so many.
const MOST: usize = 64;

fn too_many() -> Problem {
    Problem::new(
        Reason::TooManySubnets,
        format!("the Network has {MOST} other Subnets, and no room for more"),
    )
}

fn name_of(subnet: &Subnet) -> String {
    subnet.metadata.name.clone().unwrap_or_default()
}

impl Served {
    fn new(name: &str, subnet: &std::sync::Arc<Subnet>) -> Result<Self, Problem> {
        if let Some(problem) = validate::subnet(subnet).into_iter().next() {
            return Err(problem);
        }
        let spec = &subnet.spec;
        let cidr: IpNet = parsed("spec.cidr", &spec.cidr)?;
        let gateway = match (spec.gateway.r#type, &spec.gateway.address) {
            (GatewayType::Auto, _) => first_host(cidr),
            (GatewayType::Address, Some(address)) => Some(parsed("spec.gateway.address", address)?),
            _ => None,
        };
        let dns = match spec.dns.r#type {
            SubnetDnsType::Servers => None,
            SubnetDnsType::None => Some(Vec::new()),
            SubnetDnsType::Addresses => {
                Some(all_parsed("spec.dns.addresses", spec.dns.addresses.as_deref().unwrap_or_default())?)
            }
        };
        let scope = spec.dhcp.mode != DhcpMode::Disabled;
        let addressing = addressing(subnet);
        let automatic = scope && addressing == Addressing::Dhcp;
        let (subnet_name, dynamic) = (name.to_owned(), dynamic(subnet)?);
        let ranges = ranges(subnet, cidr, dynamic.as_ref())?;
        Ok(Self {
            pool: Pool {
                subnet_name,
                cidr,
                ranges,
                gateway,
                automatic,
                formed: addressing != Addressing::Dhcp,
            },
            gateway,
            scope,
            addressing,
            dynamic: dynamic.into_iter().collect(),
            advertised: scope && is_advertised(subnet),
            server: None,
            resolvers: Vec::new(),
            key: key("s", subnet.metadata.uid.as_deref()),
            subnet: subnet.clone(),
            routes: routes(subnet)?,
            metadata: false,
            options: options(&spec.options, "spec.options", Some(Family::of(cidr.addr()))).0,
            dns,
        })
    }

    fn beside(self, others: &[Self]) -> Result<Self, Problem> {
        let dynamic: u128 =
            others.iter().chain([&self]).flat_map(|subnet| &subnet.dynamic).map(IpRange::len).sum();
        if !self.dynamic.is_empty() && dynamic > MOST_DYNAMIC {
            let message = format!(
                "spec.dhcp.dynamic: with it the Network's Subnets have {dynamic} addresses for guests that are no Port, and {MOST_DYNAMIC} are the most"
            );
            return Err(Problem::new(Reason::NotSupported, message));
        }
        if let Some(other) = others.iter().find(|other| self.contradicts(other) || other.contradicts(&self)) {
            let message = format!(
                "spec.ipv6.routerAdvertisements: dnsmasq advertises either all subnets with DHCPv6 or no \
                 stateful one, and Subnet {} has another value; give both the same, or one of them another \
                 Network",
                other.pool.subnet_name
            );
            return Err(Problem::new(Reason::NotSupported, message));
        }
        let overlaps = |other: &&Self| {
            let (a, b) = (self.pool.cidr, other.pool.cidr);
            a.contains(&b.network()) || b.contains(&a.network())
        };
        match others.iter().find(overlaps) {
            None => Ok(self),
            Some(other) => {
                let Pool { subnet_name, cidr, .. } = &other.pool;
                let message = format!("{} overlaps {cidr} of Subnet {subnet_name}", self.pool.cidr);
                Err(Problem::new(Reason::SubnetsOverlap, message))
            }
        }
    }

    /// Whether its advertisements would be the other's as well.
    fn contradicts(&self, other: &Self) -> bool {
        let has_dhcpv6 = other.scope && other.family() == Family::V6 && other.addressing != Addressing::Slaac;
        self.advertised && self.addressing == Addressing::Dhcp && has_dhcpv6 && !other.advertised
    }

    /// A device with a smaller MTU has no IPv6 (RFC 8200 §5).
    fn within(self, mtu: Option<u16>) -> Result<Self, Problem> {
        match mtu.filter(|mtu| *mtu < IPV6_MTU && self.family() == Family::V6) {
            None => Ok(self),
            Some(mtu) => {
                let message = format!("IPv6 needs an MTU of {IPV6_MTU}, and the Network's is {mtu}");
                Err(Problem::new(Reason::MTUTooSmall, message))
            }
        }
    }

    /// Said where the pools have no room for the DHCP server.
    pub(super) fn no_server(&self) -> Problem {
        let message = format!("no address is left in Subnet {} for its DHCP server", self.pool.subnet_name);
        Problem::new(Reason::PoolExhausted, message)
    }

    /// Said where no guest can get all of its options at once.
    pub(super) fn crowded(&self) -> Option<Problem> {
        crowded(&self.options)
    }

    pub(super) fn device_address(&self) -> Option<IpNet> {
        IpNet::new(self.server?, self.pool.cidr.prefix_len()).ok()
    }

    /// The way out of the namespace, where the server is.
    pub(super) fn route(&self) -> Option<(Family, IpAddr)> {
        Some((self.family(), self.gateway.filter(|_| self.server.is_some())?))
    }

    pub(super) fn family(&self) -> Family {
        Family::of(self.pool.cidr.addr())
    }

    /// The DNS servers that its guests are told.
    pub(super) fn resolvers(&self, server: IpAddr) -> Vec<IpAddr> {
        let own = || if self.resolvers.is_empty() { vec![server] } else { self.resolvers.clone() };
        self.dns.clone().unwrap_or_else(own)
    }

    /// Routers and DNS servers that its guests are told.
    pub(super) fn named(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.routes.iter().map(|(_, hop)| *hop).chain(self.dns.iter().flatten().copied())
    }

    /// What its guests get, if it has DHCP. An option that a user wrote comes before one made of fields.
    pub(super) fn scope(&self, network: &Admitted, all: &[Self]) -> Option<Scope> {
        let plain = self.fields(network, all)?;
        let mut options = OptionList { plain, special: Vec::new() };
        options.extend(network.options.clone().of(self.family()));
        options.extend(self.options.clone());
        if options.plain.get(&MTU) == network.mtu.map(|mtu| mtu.to_be_bytes().to_vec()).as_ref() {
            // The whole network's is told to all, asked or not.
            options.plain.remove(&MTU);
        }
        let lease_seconds = self.subnet.spec.dhcp.lease_duration_seconds;
        Some(Scope {
            key: self.key.clone(),
            cidr: self.pool.cidr,
            addressing: self.addressing,
            advertised: self.advertised,
            dynamic: self.dynamic.clone(),
            lease_seconds,
            options,
        })
    }

    /// What fields say.
    pub(super) fn fields(&self, network: &Admitted, all: &[Self]) -> Option<Options> {
        let server = self.server?;
        Some(match self.family() {
            Family::V4 => {
                let mut fields = options4::fields(self, network, server);
                fields.extend(options4::routes(self, all));
                fields
            }
            Family::V6 => options6::fields(self, network, server),
        })
    }

    /// Whether its server knows it as a range of DHCP or of advertisements.
    pub(super) fn has_range(&self) -> bool {
        self.server.is_some() && (self.advertised || self.addressing != Addressing::Slaac)
    }

    /// What the user wrote.
    pub(super) fn options(&self) -> &OptionList {
        &self.options
    }
}

/// Why a network has no server although it should have one.
pub(super) fn nothing_to_serve(inputs: &Inputs, subnets: &[Served]) -> Option<Problem> {
    if subnets.is_empty() {
        return Some(Problem::new(Reason::NoSubnet, no_subnet(inputs)));
    }
    subnets.iter().find(|subnet| subnet.scope).map(Served::no_server)
}

fn no_subnet(inputs: &Inputs) -> String {
    match inputs.subnets.len() {
        0 => "the Network has no Subnet yet".to_owned(),
        n => format!("none of the Network's {n} Subnets can be served; see their conditions"),
    }
}

fn addressing(subnet: &Subnet) -> Addressing {
    match subnet.spec.ipv6.map(|ipv6| ipv6.address_mode) {
        Some(AddressMode::Slaac) => Addressing::Slaac,
        Some(AddressMode::Dhcpv6Stateless) => Addressing::Stateless,
        Some(AddressMode::Dhcpv6Stateful) | None => Addressing::Dhcp,
    }
}

fn is_advertised(subnet: &Subnet) -> bool {
    subnet.spec.ipv6.is_some_and(|ipv6| ipv6.router_advertisements == RouterAdvertisements::Server)
}

/// The subnets in which guests make themselves addresses, served or not, and their prefixes.
pub(super) fn formed(inputs: &Inputs) -> BTreeMap<String, Ipv6Addr> {
    let prefix = |subnet: &std::sync::Arc<Subnet>| match subnet.spec.cidr.parse() {
        Ok(IpNet::V6(net)) if addressing(subnet) != Addressing::Dhcp && net.prefix_len() == 64 => {
            Some((name_of(subnet), net.network()))
        }
        _ => None,
    };
    inputs.subnets.iter().filter_map(prefix).collect()
}

/// Where a router is found that nobody named.
fn first_host(net: IpNet) -> Option<IpAddr> {
    let first = net.network();
    if is_reserved(net, first) { next_address(first) } else { Some(first) }
}

fn routes(subnet: &Subnet) -> Result<Vec<(IpNet, IpAddr)>, Problem> {
    let route = |(i, route): (usize, &HostRoute)| {
        let field = |name: &str| format!("spec.hostRoutes[{i}].{name}");
        Ok((parsed(field("destination"), &route.destination)?, parsed(field("nextHop"), &route.next_hop)?))
    };
    subnet.spec.host_routes.iter().enumerate().map(route).collect()
}

/// What Ports and servers get addresses of that ask for none: never one that is for other guests.
fn ranges(subnet: &Subnet, cidr: IpNet, dynamic: Option<&IpRange>) -> Result<Vec<IpRange>, Problem> {
    let pools: Vec<_> = match &subnet.spec.pools {
        None => vec![IpRange::of(cidr)],
        Some(pools) => {
            let named = |(i, pool)| range(&format!("spec.pools[{i}]"), pool);
            pools.iter().enumerate().map(named).collect::<Result<_, _>>()?
        }
    };
    Ok(match dynamic {
        None => pools,
        Some(dynamic) => pools.into_iter().flat_map(|pool| pool.without(dynamic)).collect(),
    })
}

fn dynamic(subnet: &Subnet) -> Result<Option<IpRange>, Problem> {
    subnet.spec.dhcp.dynamic.as_ref().map(|addresses| range("spec.dhcp.dynamic", addresses)).transpose()
}

fn range(field: &str, range: &AddressRange) -> Result<IpRange, Problem> {
    Ok(IpRange {
        first: parsed(format!("{field}.first"), &range.first)?,
        last: parsed(format!("{field}.last"), &range.last)?,
    })
}

/// A tag for dnsmasq's files: of the UID, so that no name of a tenant's ever is one.
pub(super) fn key(prefix: &str, uid: Option<&str>) -> String {
    let digits = uid.unwrap_or_default().chars().filter(char::is_ascii_hexdigit);
    prefix.chars().chain(digits.take(20)).collect()
}
