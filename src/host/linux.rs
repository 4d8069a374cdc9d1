//! The real node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rtnetlink::Handle;
use tokio::sync::{Notify, RwLock, mpsc};

use super::dnsmasq::{self, Driver};
use super::firewall::Firewall;
use super::machine::blocking;
use super::monitor::Monitor;
use super::netns::{self, Named, Netns};
use super::process::Processes;
use super::removal::Removals;
use super::{
    Applied, Error, Host, NodeLink, Reply, files, link, machine, neighbour, nft, observe, overhear, probe,
    question, route, survey,
};
use crate::dnsmasq::Layout;
use crate::foreign::Heard;
use crate::node::{Action, Bridge, Family, INNER_DEVICE, Namespace, Rule, Segment, Sysctl, outer_device};
use crate::types::{MacAddr, NetworkUid};

/// More than one for each network that a node can have.
const EVENTS: usize = 65_536;

/// Have the kernel tell others of a device's addresses.
const NOTIFY: [&str; 2] =
    ["/proc/sys/net/ipv4/conf/all/arp_notify", "/proc/sys/net/ipv6/conf/all/ndisc_notify"];

/// The namespaces, links, rules, files and processes of the machine it runs on.
pub struct LinuxHost {
    state: PathBuf,
    /// To the kernel, about the node's own namespace.
    handle: Handle,
    firewall: Firewall,
    driver: Driver,
    monitor: Monitor,
    removals: Removals,
    wires: question::Wires,
    events: Mutex<Option<mpsc::Receiver<NetworkUid>>>,
    /// Somebody who only looks changes nothing, not even a long log.
    acts: bool,
}

impl LinuxHost {
    /// Makes the state directory and finds the processes that run. In the context of a runtime.
    pub fn new(state: &Path) -> Result<Self, Error> {
        Ok(Self { acts: true, ..Self::look(&machine::state_directory(state)?)? })
    }

    /// As [`new`](Self::new), for one who only observes: makes nothing, and the state directory need
    /// not be there.
    pub fn look(state: &Path) -> Result<Self, Error> {
        let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
        let (sender, receiver) = mpsc::channel(EVENTS);
        let failed = |e| Error::Open("a netlink socket", e);
        let handle = netns::connect(&tokio::runtime::Handle::current()).map_err(failed)?;
        let monitor = Monitor::start(handle.clone(), sender.clone()).map_err(failed)?;
        let processes = Processes::new(sender)?;
        processes.take_in(survey::survey(&state)?)?;
        let removals = Removals::start(handle.clone());
        let driver = Driver { state: state.clone(), processes, starts: RwLock::default() };
        let events = Mutex::new(Some(receiver));
        let (firewall, wires) = (Firewall::default(), question::Wires::default());
        Ok(Self { state, handle, firewall, driver, monitor, removals, wires, events, acts: false })
    }

    /// The state directory, by its one name: it is part of command lines.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    async fn observe_inside(&self, netns: Option<&Netns>) -> Result<observe::Inside, Error> {
        let Some(netns) = netns else { return Ok(observe::Inside::default()) };
        let looker = self.firewall.looker(netns).await?;
        let inside = observe::inside(netns, looker).await?;
        self.firewall.found(netns, &inside.namespace.rules).await?;
        Ok(inside)
    }

    /// The bridge that is asked for, if it is there.
    async fn observe_bridge(
        &self,
        name: Option<&str>,
        port_of: Option<&link::Link>,
    ) -> Result<Option<Bridge>, Error> {
        let Some(name) = name else { return Ok(None) };
        let found = match port_of {
            Some(bridge) if bridge.name == name => Some(bridge.clone()),
            _ => link::get(&self.handle, name).await?,
        };
        let bridge = found.filter(|link| link.is_bridge);
        Ok(bridge.map(|link| Bridge { name: link.name, ours: link.ours }))
    }

    async fn set_sysctl(uid: NetworkUid, sysctl: Sysctl) -> Result<(), Error> {
        let write = move || {
            let path = observe::sysctl_path(sysctl);
            let written = std::fs::write(&path, sysctl.value()).or_else(files::absent_is_fine);
            written.map_err(|e| Error::SetSysctl(path, e))
        };
        netns::open(uid)?.run(write).await?
    }

    async fn require_bridge(&self, bridge: &Bridge) -> Result<(), Error> {
        if bridge.ours {
            return link::ensure_bridge(&self.handle, &bridge.name).await;
        }
        link::bridge(&self.handle, &bridge.name).await.map(drop)
    }

    async fn create_device(
        &self,
        uid: NetworkUid,
        label: &str,
        mac: MacAddr,
        mtu: u32,
        bridge: &str,
    ) -> Result<(), Error> {
        let (netns, outer) = (netns::open(uid)?, outer_device(uid));
        let bridge = link::bridge(&self.handle, bridge).await?;
        self.delete_device(uid).await?;
        link::create_pair(&self.handle, &outer, &netns, mac, mtu, &bridge).await?;
        link::finish_outer(&self.handle, &outer, uid, label).await?;
        link::set_up(&netns.connect().await?, INNER_DEVICE).await?;
        self.monitor.expect(&outer, uid, bridge.index);
        Ok(())
    }

    /// Both ends, which need not belong together.
    async fn delete_device(&self, uid: NetworkUid) -> Result<(), Error> {
        self.remove_outer(&outer_device(uid)).await?;
        match netns::find(uid)? {
            Named::Namespace(netns) => link::delete(&netns.connect().await?, INNER_DEVICE).await,
            Named::Missing | Named::Unusable => Ok(()),
        }
    }

    /// Does not queue where there is nothing to remove.
    async fn remove_outer(&self, outer: &str) -> Result<(), Error> {
        self.monitor.forget(outer);
        self.wires.forget(outer);
        match link::get(&self.handle, outer).await? {
            Some(_) => self.removals.remove(outer).await,
            None => Ok(()),
        }
    }

    async fn attach_device(&self, uid: NetworkUid, bridge: &str) -> Result<(), Error> {
        let bridge = link::bridge(&self.handle, bridge).await?;
        let outer = outer_device(uid);
        self.monitor.forget(&outer);
        link::attach(&self.handle, &outer, &bridge).await?;
        self.monitor.expect(&outer, uid, bridge.index);
        Ok(())
    }

    async fn set_mtu(&self, uid: NetworkUid, mtu: u32) -> Result<(), Error> {
        link::set_mtu(&netns::open(uid)?.connect().await?, INNER_DEVICE, mtu).await?;
        let outer = outer_device(uid);
        let (_, bridge) = observe::outside(&self.handle, &outer).await?;
        let mtu = bridge.map_or(mtu, |bridge| link::outer_mtu(mtu, &bridge));
        link::set_mtu(&self.handle, &outer, mtu).await
    }

    /// With the loopback, through which we speak to dnsmasq.
    async fn set_up(&self, uid: NetworkUid) -> Result<(), Error> {
        let inside = netns::open(uid)?.connect().await?;
        link::set_up(&inside, "lo").await?;
        link::set_up(&inside, INNER_DEVICE).await?;
        link::set_up(&self.handle, &outer_device(uid)).await
    }

    async fn in_device(uid: NetworkUid) -> Result<(Handle, u32), Error> {
        let handle = netns::open(uid)?.connect().await?;
        let device = link::get(&handle, INNER_DEVICE).await?;
        let index = device.ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?.index;
        Ok((handle, index))
    }

    async fn change_address(uid: NetworkUid, net: ipnet::IpNet, add: bool) -> Result<(), Error> {
        let (handle, index) = Self::in_device(uid).await?;
        if add {
            return route::add_address(&handle, index, net).await;
        }
        route::remove_address(&handle, index, net).await
    }

    async fn set_gateway(uid: NetworkUid, family: Family, gateway: Option<IpAddr>) -> Result<(), Error> {
        let (handle, index) = Self::in_device(uid).await?;
        let subnets = route::addresses(&handle, index).await?;
        route::set_gateway(&handle, index, &subnets, family, gateway).await
    }

    async fn change_neighbours(
        uid: NetworkUid,
        add: BTreeMap<Ipv6Addr, MacAddr>,
        remove: BTreeSet<Ipv6Addr>,
    ) -> Result<(), Error> {
        let change = move || neighbour::change(&add, &remove).map_err(Error::ChangeNeighbours);
        netns::open(uid)?.run(change).await?
    }

    async fn admit_to_dhcpv6(
        uid: NetworkUid,
        whole: bool,
        add: BTreeSet<MacAddr>,
        remove: BTreeSet<MacAddr>,
    ) -> Result<(), Error> {
        netns::open(uid)?.run(move || nft::known::admit(whole, &add, &remove)).await?
    }

    /// With its outer device: its end inside would live on with a process that is still there.
    async fn delete_namespace(&self, uid: NetworkUid) -> Result<(), Error> {
        self.remove_outer(&outer_device(uid)).await?;
        if let Named::Namespace(netns) = netns::find(uid)? {
            self.firewall.forget(&netns);
        }
        blocking(move || netns::delete(uid)).await
    }
}

impl Host for LinuxHost {
    async fn networks(&self) -> Result<BTreeSet<NetworkUid>, Error> {
        let directory = Layout::all(&self.state);
        let mut networks: BTreeSet<_> = self.driver.processes.networks().into_iter().collect();
        networks.extend(link::all(&self.handle).await?.iter().filter_map(link::Link::network));
        let named = blocking(move || {
            let mut named = netns::all()?;
            named.extend(files::names(&directory)?.iter().filter_map(|name| name.parse::<NetworkUid>().ok()));
            Ok(named)
        });
        networks.extend(named.await?);
        Ok(networks)
    }

    async fn observe(&self, uid: NetworkUid, bridge: Option<&str>) -> Result<Segment, Error> {
        let (netns, namespace) = match netns::find(uid)? {
            Named::Missing => (None, None),
            Named::Unusable => (None, Some(Namespace::default())),
            Named::Namespace(netns) => (Some(netns), None),
        };
        let (layout, processes, inner) =
            (Layout::new(&self.state, uid), self.driver.processes.of(uid), netns.clone());
        let acts = self.acts;
        let server = blocking(move || {
            if acts {
                dnsmasq::trim_log(&layout.log());
            }
            observe::server(&layout, &processes, inner.as_ref())
        });
        let outer = outer_device(uid);
        let outside = observe::outside(&self.handle, &outer);
        let inside = self.observe_inside(netns.as_ref());
        let (server, (outer_end, port_of), inside) = tokio::try_join!(server, outside, inside)?;
        let device = observe::device(&inside, outer_end.as_ref(), port_of.as_ref());
        if let (Some(true), Some(port_of)) = (device.as_ref().map(|device| device.up), &port_of) {
            self.monitor.expect(&outer, uid, port_of.index);
        }
        let bridge = self.observe_bridge(bridge, port_of.as_ref()).await?;
        let namespace = namespace.or(netns.map(|_| inside.namespace));
        Ok(Segment { namespace, bridge, device, server })
    }

    async fn can_have(&self, rule: Rule) -> Result<bool, Error> {
        self.firewall.try_out(rule).await
    }

    async fn apply(&self, uid: NetworkUid, label: &str, action: &Action) -> Result<Applied, Error> {
        match action {
            Action::CreateNamespace => netns::create(uid).await?,
            Action::SetSysctl(sysctl) => Self::set_sysctl(uid, *sysctl).await?,
            Action::AddRule(rule) => self.firewall.add(&netns::open(uid)?, *rule).await?,
            Action::RequireBridge(bridge) => self.require_bridge(bridge).await?,
            Action::CreateDevice { mac, mtu, bridge } => {
                self.create_device(uid, label, *mac, *mtu, bridge).await?;
            }
            Action::AttachDevice(bridge) => self.attach_device(uid, bridge).await?,
            Action::SetMtu(mtu) => self.set_mtu(uid, *mtu).await?,
            Action::SetUp => self.set_up(uid).await?,
            Action::AddAddress(net) => Self::change_address(uid, *net, true).await?,
            Action::RemoveAddress(net) => Self::change_address(uid, *net, false).await?,
            Action::SetGateway(family, gateway) => Self::set_gateway(uid, *family, *gateway).await?,
            Action::ChangeNeighbours { add, remove } => {
                Self::change_neighbours(uid, add.clone(), remove.clone()).await?;
            }
            Action::AdmitToDhcpv6 { whole, add, remove } => {
                Self::admit_to_dhcpv6(uid, *whole, add.clone(), remove.clone()).await?;
            }
            Action::OpenDhcpv6 => netns::open(uid)?.run(nft::known::open).await??,
            Action::DeleteDevice => self.delete_device(uid).await?,
            Action::Server(action) => return self.driver.apply(uid, action).await,
            Action::DeleteNamespace => self.delete_namespace(uid).await?,
        }
        Ok(Applied::default())
    }

    async fn link(&self, name: &str) -> Result<Option<NodeLink>, Error> {
        self.monitor.heed(name);
        let link = link::get(&self.handle, name).await?;
        Ok(link.map(|link| NodeLink { is_bridge: link.is_bridge, up: link.up, mtu: link.mtu }))
    }

    fn links_changed(&self) -> Arc<Notify> {
        self.monitor.links_changed()
    }

    /// The kernel does it for a device whose MAC address is set, also to what it was; then it forgets the
    /// device's neighbours.
    async fn announce(&self, uid: NetworkUid) -> Result<(), Error> {
        let Named::Namespace(netns) = netns::find(uid)? else { return Ok(()) };
        let wish = |path| std::fs::write(path, "1").or_else(files::absent_is_fine).map_err(|e| (path, e));
        let wished = netns.run(move || NOTIFY.into_iter().try_for_each(wish)).await?;
        wished.map_err(|(path, e)| Error::SetSysctl(path.to_owned(), e))?;
        let handle = netns.connect().await?;
        let device = link::get(&handle, INNER_DEVICE).await?;
        let Some((device, mac)) = device.and_then(|device| Some((device.index, device.mac?))) else {
            return Ok(());
        };
        let neighbours = neighbour::permanent(&handle, device).await?;
        link::set_mac(&handle, INNER_DEVICE, mac).await?;
        if neighbours.is_empty() {
            return Ok(());
        }
        Self::change_neighbours(uid, neighbours, BTreeSet::new()).await
    }

    async fn who_has(
        &self,
        uid: NetworkUid,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, MacAddr>, Error> {
        let netns = netns::open(uid)?;
        let device = link::get(&netns.connect().await?, INNER_DEVICE).await?;
        let own = device.and_then(|device| device.mac).ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?;
        probe::who_has(&netns, own, addresses).await
    }

    async fn ask(
        &self,
        uid: NetworkUid,
        asker: MacAddr,
        servers: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, Reply>, Error> {
        let (netns, outer) = (netns::open(uid)?, outer_device(uid));
        let wire = self.wires.at(&outer).await?;
        let replies = question::ask(&netns, &wire, uid, asker, servers).await;
        // It may be that of a device that was replaced.
        replies.inspect_err(|_| self.wires.forget(&outer))
    }

    async fn overhear(&self, uid: NetworkUid) -> Result<mpsc::Receiver<Heard>, Error> {
        overhear::overhear(&netns::open(uid)?).await
    }

    async fn sweep_bridges(&self, wanted: &BTreeSet<String>) -> Result<(), Error> {
        let links = link::all(&self.handle).await?;
        let used: BTreeSet<_> = links.iter().filter_map(|link| link.controller).collect();
        let ours = links.iter().filter(|link| link.ours && !used.contains(&link.index));
        for bridge in ours.filter(|link| !wanted.contains(&link.name)) {
            link::delete(&self.handle, &bridge.name).await?;
        }
        Ok(())
    }

    fn events(&self) -> mpsc::Receiver<NetworkUid> {
        let taken = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }
}
