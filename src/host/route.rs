//! Addresses and the default routes inside a network's namespace.
//!
//! Called with a connection to that namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{AddressMessageBuilder, Handle, RouteMessageBuilder};

use super::Error;
use super::link::is;
use super::netns::LOOPBACK;
use crate::metadata;
use crate::node::Family;

/// What the kernel gives an IPv6 route that has no priority of its own.
const PRIORITY_V6: u32 = 1024;

/// The addresses of one interface, but for link-local IPv6 ones, which the kernel makes.
pub(super) async fn addresses(handle: &Handle, index: u32) -> Result<BTreeSet<IpNet>, Error> {
    Ok(all_addresses(handle, Some(index)).await?.0)
}

/// The same; and in which families the metadata service's address is there.
pub(super) async fn all_addresses(
    handle: &Handle,
    index: Option<u32>,
) -> Result<(BTreeSet<IpNet>, BTreeSet<Family>), Error> {
    // Of both families and all interfaces, in one answer.
    let request = handle.address().get();
    let messages: Vec<_> = request.execute().try_collect().await.map_err(|e| Error::List("addresses", e))?;
    let (mut own, mut services) = (BTreeSet::new(), BTreeSet::new());
    for (at, net) in messages.iter().filter_map(|m| Some((m.header.index, address(m)?))) {
        let family = Family::of(net.addr());
        let on_it = Some(at) == index;
        if net.addr() == metadata::address(family) && (on_it || at == LOOPBACK) {
            services.insert(family);
        } else if on_it && !is_link_local(net.addr()) {
            own.insert(net);
        }
    }
    Ok((own, services))
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// An IPv4 address of its own is called local; an IPv6 one is, if it has a peer.
fn address(message: &AddressMessage) -> Option<IpNet> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let other = || {
        find(|attribute| match attribute {
            AddressAttribute::Address(ip @ IpAddr::V6(_)) => Some(*ip),
            _ => None,
        })
    };
    IpNet::new(local.or_else(other)?, message.header.prefix_len).ok()
}

/// Adds an address unless it is there.
pub(super) async fn add_address(handle: &Handle, index: u32, net: IpNet) -> Result<(), Error> {
    add(handle, index, net, None).await
}

/// `times`: how long an IPv6 address is good; an IPv4 address has none of them.
async fn add(handle: &Handle, index: u32, net: IpNet, times: Option<CacheInfo>) -> Result<(), Error> {
    let mut request = handle.address().add(index, net.addr(), net.prefix_len());
    if net.addr().is_ipv6() {
        // Nobody waits for a second before a server has its address; the controller gives each out once.
        let message = request.message_mut();
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        message.attributes.extend(times.map(AddressAttribute::CacheInfo));
    }
    match request.execute().await {
        Err(e) if !is(&e, Errno::EEXIST) => Err(Error::ChangeAddress(net, e)),
        _ => Ok(()),
    }
}

/// Adds the metadata service's address of this family to an interface, unless it is there. That of IPv6 is
/// deprecated from the beginning: it is not to be the one that anything else is sent from.
pub(super) async fn add_metadata(handle: &Handle, index: u32, family: Family) -> Result<(), Error> {
    let mut times = CacheInfo::default();
    (times.ifa_preferred, times.ifa_valid) = (0, u32::MAX);
    add(handle, index, metadata::address(family).into(), Some(times)).await
}

/// Removes it again.
pub(super) async fn remove_metadata(handle: &Handle, index: u32, family: Family) -> Result<(), Error> {
    remove_address(handle, index, metadata::address(family).into()).await
}

/// Removes an address unless it is gone.
pub(super) async fn remove_address(handle: &Handle, index: u32, net: IpNet) -> Result<(), Error> {
    let message = match net {
        IpNet::V4(net) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(net.addr(), net.prefix_len())
            .build(),
        IpNet::V6(net) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(net.addr(), net.prefix_len())
            .build(),
    };
    match handle.address().del(message).execute().await {
        Err(e) if !is(&e, Errno::EADDRNOTAVAIL) => Err(Error::ChangeAddress(net, e)),
        _ => Ok(()),
    }
}

/// The default routes that the kernel takes; with that of IPv6, if it is asked for.
pub(super) async fn gateways(handle: &Handle, six: bool) -> Result<BTreeMap<Family, IpAddr>, Error> {
    let family = if six { AddressFamily::Unspec } else { AddressFamily::Inet };
    let routes = routes(handle, family).await?;
    let of = |family: Family| {
        let defaults = routes.iter().filter(|route| is_default(route) && family_of(route) == Some(family));
        Some((family, defaults.min_by_key(|route| priority(route)).and_then(via)?))
    };
    Ok(Family::ALL.into_iter().filter_map(of).collect())
}

/// Whether a default route of either family leads through this interface.
pub(super) async fn leads_out(handle: &Handle, index: u32) -> Result<bool, Error> {
    let through = |route: &RouteMessage| route.attributes.contains(&RouteAttribute::Oif(index));
    let routes = routes(handle, AddressFamily::Unspec).await?;
    Ok(routes.iter().any(|route| is_default(route) && through(route)))
}

/// Has this default route and no other of its family; its gateway on-link if it is in none of `subnets`.
pub(super) async fn set_gateway(
    handle: &Handle,
    index: u32,
    subnets: &BTreeSet<IpNet>,
    family: Family,
    gateway: Option<IpAddr>,
) -> Result<(), Error> {
    let is_near = |ip: &IpAddr| match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => true,
        ip => subnets.iter().any(|net| net.contains(ip)),
    };
    let off_link = gateway.filter(|ip| !is_near(ip));
    if let Some(ip) = off_link {
        replace(handle, host_route(ip, index)).await?;
    }
    if let Some(ip) = gateway {
        replace(handle, default_route(ip, index)).await?;
    }
    let family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let unwanted = routes(handle, family).await?.into_iter().filter(|r| !is_wanted(r, gateway, off_link));
    for route in unwanted {
        match handle.route().del(route).execute().await {
            Err(e) if !is(&e, Errno::ESRCH) => return Err(Error::ChangeRoute(e)),
            _ => {}
        }
    }
    Ok(())
}

fn host_route(ip: IpAddr, index: u32) -> RouteMessage {
    match ip {
        IpAddr::V4(ip) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, 32);
            route.output_interface(index).scope(RouteScope::Link).build()
        }
        IpAddr::V6(ip) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(ip, 128);
            route.output_interface(index).build()
        }
    }
}

fn default_route(gateway: IpAddr, index: u32) -> RouteMessage {
    match gateway {
        IpAddr::V4(ip) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(ip).output_interface(index).build(),
        IpAddr::V6(ip) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(ip).output_interface(index).build(),
    }
}

/// Of default routes and routes to single hosts, which only we make here; all others stay.
fn is_wanted(route: &RouteMessage, gateway: Option<IpAddr>, off_link: Option<IpAddr>) -> bool {
    let (single, usual) = match family_of(route) {
        Some(Family::V4) => (32, 0),
        Some(Family::V6) => (128, PRIORITY_V6),
        None => return true,
    };
    let length = route.header.destination_prefix_length;
    if is_default(route) {
        return priority(route) == usual && via(route).is_some() && via(route) == gateway;
    }
    // The kernel's own are those to its addresses.
    let is_ours = length == single && route.header.protocol != RouteProtocol::Kernel;
    !is_ours || (off_link.is_some() && destination(route) == off_link)
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0 && route.header.protocol != RouteProtocol::Kernel
}

fn family_of(route: &RouteMessage) -> Option<Family> {
    match route.header.address_family {
        AddressFamily::Inet => Some(Family::V4),
        AddressFamily::Inet6 => Some(Family::V6),
        _ => None,
    }
}

async fn replace(handle: &Handle, route: RouteMessage) -> Result<(), Error> {
    handle.route().add(route).replace().execute().await.map_err(Error::ChangeRoute)
}

/// Those of the main table.
async fn routes(handle: &Handle, family: AddressFamily) -> Result<Vec<RouteMessage>, Error> {
    let mut message = RouteMessageBuilder::<Ipv4Addr>::new().build();
    message.header.address_family = family;
    let request = handle.route().get(message);
    let routes: Vec<_> = request.execute().try_collect().await.map_err(|e| Error::List("routes", e))?;
    let is_main = |route: &RouteMessage| route.header.table == RouteHeader::RT_TABLE_MAIN;
    Ok(routes.into_iter().filter(is_main).collect())
}

fn priority(route: &RouteMessage) -> u32 {
    let priority = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    priority.unwrap_or_default()
}

fn via(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        _ => None,
    })
}

fn destination(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
