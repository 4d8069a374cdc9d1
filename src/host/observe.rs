//! One network as it is, put together from the kernel, the files and the processes.
//!
//! Writes no file, and starts no process but the legacy iptables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use rtnetlink::Handle;
use rtnetlink::packet_route::link::MacVlanMode;

use super::link::{self, Link};
use super::machine::find_dnsmasq;
use super::metadata::There;
use super::netns::{self, FileId, LOOPBACK, Named, Netns};
use super::ovs::Port;
use super::process::Process;
use super::vlan::{self, Vlans};
use super::{Error, files, firewall, kernel, machine, metadata, neighbour, nft, rooms, route};
use crate::dnsmasq::{self, Hosts, Layout, Names, Server, Share};
use crate::node::{Attached, Device, Family, INNER_DEVICE, Namespace, Sysctl};
use crate::types::{MacAddr, NetworkUid};

/// What is inside a namespace.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) namespace: Namespace,
    pub(super) device: Option<Link>,
    loopback_up: bool,
    addresses: BTreeSet<ipnet::IpNet>,
    gateways: BTreeMap<Family, IpAddr>,
    neighbours: BTreeMap<Ipv6Addr, MacAddr>,
    pub(super) metadata: Option<There>,
    /// What leads to rooms.
    pub(super) feeds: BTreeMap<Share, Link>,
}

/// One thread inside, one connection. `shared`: there is something of shares.
pub(super) async fn inside(netns: &Netns, looker: firewall::Looker, shared: bool) -> Result<Inside, Error> {
    let runtime = tokio::runtime::Handle::current();
    let look = move || -> Result<_, Error> {
        let handle = netns::connect(&runtime).map_err(|e| Error::Open("a netlink socket", e))?;
        let known = if machine::has_ipv6() { nft::known::look()? } else { None };
        let directed = if shared { nft::switch::look()? } else { None };
        Ok((looker.look()?, sysctls()?, (known, directed), handle))
    };
    let (rules, sysctls, (known, directed), handle) = netns.run(look).await??;
    let links = link::all(&handle).await?;
    let loopback_up = links.iter().any(|link| link.index == LOOPBACK && link.up);
    let device = links.iter().find(|link| link.name == INNER_DEVICE).cloned();
    let mut directed: BTreeMap<_, _> = directed.into_iter().map(|shares| (Family::V4, shares)).collect();
    let feeds = rooms::feeds(links);
    if let Some(devices) = device.as_ref().filter(|_| shared).map(|own| rooms::devices(own, &feeds)) {
        let found = netns.run(move || nft::feed::look(&devices)).await??;
        directed.extend(found.map(|shares| (Family::V6, shares)));
    }
    let namespace = Namespace { usable: true, sysctls, rules, known, directed };
    let mut inside = Inside { namespace, loopback_up, feeds, ..Inside::default() };
    let (addresses, services) =
        route::all_addresses(&handle, device.as_ref().map(|device| device.index)).await?;
    if !services.is_empty() {
        inside.metadata = Some(metadata::look(netns, services).await?);
    }
    if let Some(device) = &device {
        inside.addresses = addresses;
        let six = inside.addresses.iter().any(|net| net.addr().is_ipv6());
        inside.gateways = route::gateways(&handle, six).await?;
        // Most networks have none, and the plan leaves none behind: it asks for less.
        if six {
            inside.neighbours = neighbour::permanent(&handle, device.index).await?;
        }
    }
    Ok(Inside { device, ..inside })
}

/// On a thread in the namespace: the settings of `/proc/sys/net` are the calling thread's.
fn sysctls() -> Result<BTreeSet<Sysctl>, Error> {
    let mut set = BTreeSet::new();
    for sysctl in Sysctl::ALL {
        let path = kernel::path(sysctl.path());
        let value = machine::setting(&path).map_err(Error::read(&path))?;
        // A kernel without IPv6 does not have its settings, and needs none.
        if value.is_none_or(|value| value == sysctl.value()) {
            set.insert(sysctl);
        }
    }
    Ok(set)
}

/// What is there on the node of a device.
pub(super) struct Place<'a> {
    /// What the outer end is a port of, as the kernel says, and its VLANs there.
    pub(super) port_of: Option<(&'a Link, &'a Vlans)>,
    /// What the device is a macvlan of.
    pub(super) parent: Option<&'a Link>,
    /// The port in Open vSwitch, and where, if it is as it shall be.
    pub(super) port: Option<&'a Port>,
}

/// The pair, if both ends are where they belong. A half of one has a MAC that nobody wants, so that
/// it is replaced, or removed.
pub(super) fn device(inside: &Inside, outer: Option<&Link>, place: &Place<'_>) -> Option<Device> {
    let Place { port_of, parent, port } = *place;
    if outer.is_some_and(Link::is_doomed) {
        return Some(Device::half());
    }
    let inner = match (&inside.device, outer, parent) {
        (None, None, _) if port.is_none() => return None,
        (Some(inner), Some(outer), None) if inner.peer == Some(outer.index) => inner,
        (Some(inner), None, Some(_)) if inner.macvlan == Some(MacVlanMode::Bridge) && port.is_none() => inner,
        _ => return Some(Device::half()),
    };
    let Some(mac) = inner.mac else { return Some(Device::half()) };
    let attached = match (parent, port) {
        (Some(parent), _) => Some(Attached::Macvlan(parent.name.clone())),
        (None, Some(port)) => port.attached.clone(),
        (None, None) => port_of.and_then(|(bridge, vlans)| vlan::attached(bridge, vlans)),
    };
    Some(Device {
        mac,
        // One that nobody wants, if the outer end lets less through. It may let through more.
        mtu: if outer.is_none_or(|outer| inner.mtu <= outer.mtu) { inner.mtu } else { 0 },
        attached,
        up: inner.up && outer.is_none_or(|outer| outer.up) && inside.loopback_up,
        addresses: inside.addresses.clone(),
        gateways: inside.gateways.clone(),
        neighbours: inside.neighbours.clone(),
    })
}

/// The outer end and the bridge it is in.
pub(super) async fn outside(handle: &Handle, name: &str) -> Result<(Option<Link>, Option<Link>), Error> {
    let outer = link::get(handle, name).await?;
    let bridge = match outer.as_ref().and_then(|outer| outer.controller) {
        Some(index) => link::by_index(handle, index).await?,
        None => None,
    };
    Ok((outer, bridge))
}

/// What a bridge that filters VLANs has of a port.
pub(super) async fn vlans(port: Option<&Link>, bridge: Option<&Link>) -> Result<Vlans, Error> {
    match (port, bridge.and_then(|bridge| bridge.default_vlan)) {
        (Some(port), Some(_)) => vlan::of(port).await,
        _ => Ok(Vlans::new()),
    }
}

/// The node's interface that an inner device is a macvlan of.
pub(super) async fn parent(handle: &Handle, inner: Option<&Link>) -> Result<Option<Link>, Error> {
    match inner.filter(|inner| inner.macvlan.is_some()).and_then(|inner| inner.peer) {
        Some(index) => link::by_index(handle, index).await,
        None => Ok(None),
    }
}

/// The server, and those of the shares: of whatever there is a process or a directory.
pub(super) fn servers(
    uid: NetworkUid,
    all: &Layout,
    processes: &[Arc<Process>],
) -> Result<BTreeMap<Option<Share>, Server>, Error> {
    let mut layouts = super::layouts(all)?;
    layouts.extend(processes.iter().map(|process| (process.share, all.of(process.share))));
    let mut servers = BTreeMap::new();
    for (share, layout) in layouts {
        let processes: Vec<_> = processes.iter().filter(|process| process.share == share).cloned().collect();
        let netns = match netns::find((uid, share))? {
            Named::Namespace(netns) => Some(netns.id),
            Named::Missing | Named::Unusable => None,
        };
        servers.extend(server(&layout, &processes, netns)?.map(|server| (share, server)));
    }
    Ok(servers)
}

/// What the files and the processes of a network's dnsmasq say.
fn server(
    layout: &Layout,
    processes: &[Arc<Process>],
    netns: Option<FileId>,
) -> Result<Option<Server>, Error> {
    let directory = layout.dir();
    if processes.is_empty() && !directory.try_exists().map_err(Error::read(directory))? {
        return Ok(None);
    }
    let (hosts, options, names) = memory(layout)?;
    let leases = dnsmasq::leases(&files::read(&layout.leases())?);
    let process = match processes {
        [] => None,
        [process] => Some(dnsmasq::Process {
            argv: process.argv.clone(),
            current: netns.is_some() && process.netns == netns && is_current(process)?,
        }),
        // One too many: none of them can be relied on.
        [process, ..] => Some(dnsmasq::Process { argv: process.argv.clone(), current: false }),
    };
    Ok(Some(Server { process, hosts, options, names, leases }))
}

fn is_current(process: &Process) -> Result<bool, Error> {
    Ok(process.binary == Some(find_dnsmasq()?.1))
}

type Memory = (Hosts, dnsmasq::OptionSet, Names);

/// What the watched directories hold. One that is missing is watched no more, even if it comes back.
fn memory(layout: &Layout) -> Result<Memory, Error> {
    let read = |path: &Path| files::read_directory(path);
    let (mut hosts, _) = dnsmasq::read_hosts(&read(&layout.hosts())?.unwrap_or_default());
    let (options, _) = dnsmasq::read_options(&read(&layout.options())?.unwrap_or_default());
    let names = read(&layout.names())?;
    hosts.foreign |= names.is_none();
    Ok((hosts, options, names_in(&names.unwrap_or_default())))
}

/// The names in a directory; if it is not as it was written, something that nobody wants, so that they are
/// written anew.
fn names_in(files: &BTreeMap<String, String>) -> Names {
    let nobody_wants = || BTreeMap::from([(Ipv4Addr::UNSPECIFIED.into(), Vec::new())]);
    dnsmasq::read_names(files).unwrap_or_else(nobody_wants)
}
