//! IPv4 addresses and the default route inside a network's namespace.
//!
//! Called with a connection to that namespace.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope};
use rtnetlink::{AddressMessageBuilder, Handle, RouteMessageBuilder};

use super::Error;
use super::link::is;

/// The addresses of one interface.
pub(super) async fn addresses(handle: &Handle, index: u32) -> Result<BTreeSet<Ipv4Net>, Error> {
    let mut request = handle.address().get().set_link_index_filter(index);
    request.message_mut().header.family = AddressFamily::Inet;
    let messages: Vec<_> = request.execute().try_collect().await.map_err(|e| Error::List("addresses", e))?;
    let on_it = messages.iter().filter(|message| message.header.index == index);
    Ok(on_it.filter_map(address).collect())
}

fn address(message: &AddressMessage) -> Option<Ipv4Net> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
        _ => None,
    })?;
    Ipv4Net::new(local, message.header.prefix_len).ok()
}

/// Adds an address unless it is there.
pub(super) async fn add_address(handle: &Handle, index: u32, net: Ipv4Net) -> Result<(), Error> {
    match handle.address().add(index, net.addr().into(), net.prefix_len()).execute().await {
        Err(e) if !is(&e, Errno::EEXIST) => Err(Error::ChangeAddress(net, e)),
        _ => Ok(()),
    }
}

/// Removes an address unless it is gone.
pub(super) async fn remove_address(handle: &Handle, index: u32, net: Ipv4Net) -> Result<(), Error> {
    let message = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(net.addr(), net.prefix_len());
    match handle.address().del(message.build()).execute().await {
        Err(e) if !is(&e, Errno::EADDRNOTAVAIL) => Err(Error::ChangeAddress(net, e)),
        _ => Ok(()),
    }
}

/// The default route that the kernel takes.
pub(super) async fn gateway(handle: &Handle) -> Result<Option<Ipv4Addr>, Error> {
    let routes = main_table(handle).await?;
    let defaults = routes.iter().filter(|route| route.header.destination_prefix_length == 0);
    Ok(defaults.min_by_key(|route| priority(route)).and_then(via))
}

/// Has this default route and no other; its gateway on-link if it is in none of `subnets`.
pub(super) async fn set_gateway(
    handle: &Handle,
    index: u32,
    subnets: &BTreeSet<Ipv4Net>,
    gateway: Option<Ipv4Addr>,
) -> Result<(), Error> {
    let off_link = gateway.filter(|ip| !subnets.iter().any(|net| net.contains(ip)));
    if let Some(ip) = off_link {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, 32);
        replace(handle, route.output_interface(index).scope(RouteScope::Link).build()).await?;
    }
    if let Some(ip) = gateway {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(ip).output_interface(index);
        replace(handle, route.build()).await?;
    }
    for route in main_table(handle).await?.into_iter().filter(|route| !is_wanted(route, gateway, off_link)) {
        match handle.route().del(route).execute().await {
            Err(e) if !is(&e, Errno::ESRCH) => return Err(Error::ChangeRoute(e)),
            _ => {}
        }
    }
    Ok(())
}

/// Of default routes and routes to single hosts, which only we make here; all others stay.
fn is_wanted(route: &RouteMessage, gateway: Option<Ipv4Addr>, off_link: Option<Ipv4Addr>) -> bool {
    match route.header.destination_prefix_length {
        0 => priority(route) == 0 && via(route).is_some() && via(route) == gateway,
        32 => off_link.is_some() && destination(route) == off_link,
        _ => true,
    }
}

async fn replace(handle: &Handle, route: RouteMessage) -> Result<(), Error> {
    handle.route().add(route).replace().execute().await.map_err(Error::ChangeRoute)
}

async fn main_table(handle: &Handle) -> Result<Vec<RouteMessage>, Error> {
    let request = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build());
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

fn via(route: &RouteMessage) -> Option<Ipv4Addr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(*ip),
        _ => None,
    })
}

fn destination(route: &RouteMessage) -> Option<Ipv4Addr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(*ip),
        _ => None,
    })
}
