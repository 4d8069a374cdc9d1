//! Which subnets of a network are served, and what their guests are told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::network::{Admitted, all_parsed};
use super::{Inputs, SubnetView};
use crate::allocate::{Ledger, Pool};
use crate::api::{AddressRange, DhcpMode, GatewayType, HostRoute, Subnet, SubnetDnsType};
use crate::dhcp_options::{crowded, ipv4_options, route};
use crate::reason::{Problem, Reason};
use crate::service::{Options, Scope};
use crate::types::Ipv4Range;
use crate::validate::{self, parsed};

/// A subnet that is served, or at least allocated from.
pub(super) struct Served {
    pub(super) pool: Pool,
    pub(super) gateway: Option<Ipv4Addr>,
    /// Whether it has DHCP.
    pub(super) scope: bool,
    /// The address of the DHCP server in it.
    pub(super) server: Option<Ipv4Addr>,
    /// The addresses of all of the network's servers in it; empty: there is only this one.
    pub(super) resolvers: Vec<Ipv4Addr>,
    /// Stands for it in the server's files.
    pub(super) key: String,
    subnet: std::sync::Arc<Subnet>,
    routes: Vec<(Ipv4Net, Ipv4Addr)>,
    dns: Option<Vec<Ipv4Addr>>,
    /// What the user wrote.
    options: Options,
}

/// Those in which somebody has an address go first, then by name: a new one that overlaps harms no old
/// one.
pub(super) fn admit(inputs: &Inputs, ledger: &Ledger) -> (Vec<Served>, BTreeMap<String, SubnetView>) {
    let known = |name: &str, subnet: &Subnet| {
        let cidr: Option<Ipv4Net> = subnet.spec.cidr.parse().ok();
        let inside = |ip: &Ipv4Addr| cidr.is_some_and(|cidr| cidr.contains(ip));
        let mut held = ledger.iter().filter(|(_, held)| held.released.is_none());
        held.any(|(ip, held)| held.subnet_name == name && inside(ip))
    };
    let mut order: Vec<_> = inputs.subnets.iter().map(|subnet| (name_of(subnet), subnet)).collect();
    order.sort_by_cached_key(|(name, subnet)| (!known(name, subnet), name.clone()));
    let (mut served, mut views) = (Vec::<Served>::new(), BTreeMap::new());
    for (name, subnet) in order {
        let admitted = Served::new(&name, subnet)
            .and_then(|new| new.beside(&served))
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
        let cidr: Ipv4Net = parsed("spec.cidr", &spec.cidr)?;
        let gateway = match (spec.gateway.r#type, &spec.gateway.address) {
            (GatewayType::Auto, _) => cidr.hosts().next(),
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
        let (subnet_name, ranges) = (name.to_owned(), ranges(subnet, cidr)?);
        Ok(Self {
            pool: Pool { subnet_name, cidr, ranges, gateway, automatic: scope },
            gateway,
            scope,
            server: None,
            resolvers: Vec::new(),
            key: key("s", subnet.metadata.uid.as_deref()),
            subnet: subnet.clone(),
            routes: routes(subnet)?,
            options: ipv4_options(&spec.options, "spec.options").0,
            dns,
        })
    }

    fn beside(self, others: &[Self]) -> Result<Self, Problem> {
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

    /// Said where the pools have no room for the DHCP server.
    pub(super) fn no_server(&self) -> Problem {
        let message = format!("no address is left in Subnet {} for its DHCP server", self.pool.subnet_name);
        Problem::new(Reason::PoolExhausted, message)
    }

    /// Said where no guest can get all of its options at once.
    pub(super) fn crowded(&self) -> Option<Problem> {
        crowded(&self.options)
    }

    pub(super) fn device_address(&self) -> Option<Ipv4Net> {
        Ipv4Net::new(self.server?, self.pool.cidr.prefix_len()).ok()
    }

    /// What its guests get, if it has DHCP. An option that a user wrote comes before one made of fields.
    pub(super) fn scope(&self, network: &Admitted, all: &[Self]) -> Option<Scope> {
        let server = self.server?;
        let mut options = self.basic_options(network, server);
        options.extend(self.route_options(all));
        options.extend(network.options.clone());
        options.extend(self.options.clone());
        let lease_seconds = self.subnet.spec.dhcp.lease_duration_seconds;
        Some(Scope { key: self.key.clone(), cidr: self.pool.cidr, lease_seconds, options })
    }

    fn basic_options(&self, network: &Admitted, server: Ipv4Addr) -> Options {
        let dhcp = &self.subnet.spec.dhcp;
        let own = || if self.resolvers.is_empty() { vec![server] } else { self.resolvers.clone() };
        let dns = self.dns.clone().unwrap_or_else(own);
        let mut options = Options::from([
            (ROUTER, self.gateway.map(|ip| ip.octets().to_vec()).unwrap_or_default()),
            (DNS_SERVERS, dns.iter().flat_map(Ipv4Addr::octets).collect()),
        ]);
        options.extend(network.mtu.map(|mtu| (MTU, mtu.to_be_bytes().to_vec())));
        options.extend(network.domain.as_ref().map(|domain| (DOMAIN, domain.to_string().into_bytes())));
        options.extend(dhcp.renewal_seconds.map(|t1| (T1, t1.to_be_bytes().to_vec())));
        options.extend(dhcp.rebinding_seconds.map(|t2| (T2, t2.to_be_bytes().to_vec())));
        options
    }

    /// Routes (RFC 3442), also under Microsoft's number: those to the network's other subnets, the
    /// user's, and, because who takes this option ignores the router option, the default one. Neutron:
    /// `_generate_opts_per_subnet`; unlike there, a gateway outside the subnet gets a route of its own.
    fn route_options(&self, all: &[Self]) -> Options {
        let on_link = |net| route((net, Ipv4Addr::UNSPECIFIED));
        let others = all.iter().filter(|other| other.pool.cidr != self.pool.cidr);
        let others: Vec<_> = others.map(|other| on_link(other.pool.cidr)).collect();
        // A default route among the user's is in force only where there is no gateway.
        let own = self.routes.iter().filter(|(net, _)| net.prefix_len() > 0 || self.gateway.is_none());
        let mut own: Vec<u8> = own.copied().flat_map(route).collect();
        if let Some(gateway) = self.gateway {
            if !self.pool.cidr.contains(&gateway) {
                own.extend(on_link(gateway.into()));
            }
            if !others.is_empty() || !own.is_empty() {
                own.extend(route((Ipv4Net::default(), gateway)));
            }
        }
        if others.is_empty() && own.is_empty() {
            return Options::new();
        }
        let bytes = filled(others, own);
        Options::from([(CLASSLESS_ROUTES, bytes.clone()), (MS_CLASSLESS_ROUTES, bytes)])
    }
}

const ROUTER: u8 = 3;
const DNS_SERVERS: u8 = 6;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const T1: u8 = 58;
const T2: u8 = 59;
const CLASSLESS_ROUTES: u8 = 121;
const MS_CLASSLESS_ROUTES: u8 = 249;

/// The bytes that an option has room for.
const OPTION: usize = 255;

/// Short cuts to the other subnets as far as there is room; beyond, the gateway is the way.
fn filled(short_cuts: Vec<Vec<u8>>, own: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for route in short_cuts {
        if bytes.len() + route.len() + own.len() <= OPTION {
            bytes.extend(route);
        }
    }
    bytes.extend(own);
    bytes
}

fn routes(subnet: &Subnet) -> Result<Vec<(Ipv4Net, Ipv4Addr)>, Problem> {
    let route = |(i, route): (usize, &HostRoute)| {
        let field = |name: &str| format!("spec.hostRoutes[{i}].{name}");
        Ok((parsed(field("destination"), &route.destination)?, parsed(field("nextHop"), &route.next_hop)?))
    };
    subnet.spec.host_routes.iter().enumerate().map(route).collect()
}

fn ranges(subnet: &Subnet, cidr: Ipv4Net) -> Result<Vec<Ipv4Range>, Problem> {
    match &subnet.spec.pools {
        None => Ok(vec![Ipv4Range { first: cidr.network(), last: cidr.broadcast() }]),
        Some(pools) => {
            let range = |(i, pool): (usize, &AddressRange)| {
                let field = |name: &str| format!("spec.pools[{i}].{name}");
                Ok(Ipv4Range {
                    first: parsed(field("first"), &pool.first)?,
                    last: parsed(field("last"), &pool.last)?,
                })
            };
            pools.iter().enumerate().map(range).collect()
        }
    }
}

/// A tag for dnsmasq's files: of the UID, so that no name of a tenant's ever is one.
pub(super) fn key(prefix: &str, uid: Option<&str>) -> String {
    let digits = uid.unwrap_or_default().chars().filter(char::is_ascii_hexdigit);
    prefix.chars().chain(digits.take(20)).collect()
}
