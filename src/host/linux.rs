//! The real node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, RwLock, mpsc};

use super::device::{Attaching, Devices, Wanted};
use super::dnsmasq::Driver;
use super::firewall::Firewall;
use super::machine::blocking;
use super::metadata::Listeners;
use super::monitor::{Expected, Monitor};
use super::netns::{self, Named, Netns};
use super::ovs::{Ears, Ovs};
use super::process::Processes;
use super::removal::Removals;
use super::server_log;
use super::writes::Writes;
use super::{
    Applied, Asked, Ends, Error, Host, Leases, NodeLink, Reply, Said, Solicitor, Whom, files, inside, kernel,
    link, machine, neighbour, newcomers, nft, observe, overhear, probe, question, rooms, solicit, survey,
    vlan,
};
use crate::dnsmasq::{self as server, Layout, Shares};
use crate::foreign::Heard;
use crate::node::{
    Action, Attached, Bridge, Family, INNER_DEVICE, Namespace, Newcomer, Rule, Segment, Sysctl, outer_device,
};
use crate::proxy::Proxy;
use crate::types::{Identifier, MacAddr, NetworkUid};

/// More than one for each network that a node can have.
const EVENTS: usize = 65_536;

/// Open vSwitch's own default.
pub const OVS_SOCKET: &str = "/run/openvswitch/db.sock";

/// Have the kernel tell others of a device's addresses.
const NOTIFY: [&str; 2] = ["net/ipv4/conf/all/arp_notify", "net/ipv6/conf/all/ndisc_notify"];

/// The namespaces, links, rules, files and processes of the machine it runs on.
pub struct LinuxHost {
    state: PathBuf,
    firewall: Firewall,
    driver: Driver,
    devices: Devices,
    listeners: Listeners,
    events: Mutex<Option<mpsc::Receiver<NetworkUid>>>,
    writes: Option<Writes>,
    written: Mutex<Option<mpsc::Receiver<NetworkUid>>>,
    /// Somebody who only looks changes nothing, not even a long log.
    acts: bool,
}

impl LinuxHost {
    /// Makes the state directory and finds the processes that run. In the context of a runtime.
    pub fn new(state: &Path) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        let writes = Writes::start(sender).inspect_err(|error| {
            tracing::warn!(%error, "cannot watch leases: they are looked at now and then only");
        });
        Ok(Self {
            acts: true,
            writes: writes.ok(),
            written: Mutex::new(Some(receiver)),
            ..Self::look(&machine::state_directory(state)?)?
        })
    }

    /// As [`new`](Self::new), for one who only observes: makes nothing, and the state directory need
    /// not be there.
    pub fn look(state: &Path) -> Result<Self, Error> {
        let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
        let (sender, receiver) = mpsc::channel(EVENTS);
        let failed = |e| Error::Open("a netlink socket", e);
        let handle = netns::connect(&tokio::runtime::Handle::current()).map_err(failed)?;
        let monitor = Monitor::start(handle.clone(), sender.clone()).map_err(failed)?;
        let processes = Processes::new(sender.clone())?;
        processes.take_in(survey::survey(&state)?)?;
        let removals = Removals::start(handle.clone());
        let driver = Driver { state: state.clone(), processes, starts: RwLock::default() };
        let events = Mutex::new(Some(receiver));
        let firewall = Firewall::default();
        let ovs = Ovs::new(OVS_SOCKET.as_ref(), Ears { events: sender, changed: monitor.links_changed() });
        let wires = question::Wires::default();
        let devices = Devices { handle, monitor, removals, ovs, macvlan_on_node_interfaces: false, wires };
        let listeners = Listeners::default();
        let (writes, written, acts) = (None, Mutex::default(), false);
        Ok(Self { state, firewall, driver, devices, listeners, events, writes, written, acts })
    }

    /// The same with other ways of attaching devices.
    #[must_use]
    pub fn attaching(mut self, attaching: &Attaching) -> Self {
        self.devices.macvlan_on_node_interfaces = attaching.macvlan_on_node_interfaces;
        self.devices.ovs = self.devices.ovs.at(&attaching.ovs_socket);
        self
    }

    /// The same, whose networks' metadata services are answered by `proxy`.
    #[must_use]
    pub fn with_proxy(self, proxy: Option<Arc<Proxy>>) -> Self {
        Self { listeners: Listeners::new(proxy), ..self }
    }

    /// The state directory, by its one name: it is part of command lines.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// What the network's servers write is to be heard of.
    fn heed(&self, uid: NetworkUid) {
        self.writes.iter().for_each(|writes| writes.heed_all(uid, &Layout::new(&self.state, uid)));
    }

    async fn observe_inside(&self, netns: Option<&Netns>, shared: bool) -> Result<observe::Inside, Error> {
        let Some(netns) = netns else { return Ok(observe::Inside::default()) };
        let looker = self.firewall.looker(netns).await?;
        let inside = observe::inside(netns, looker, shared).await?;
        self.firewall.found(netns, &inside.namespace.rules).await?;
        Ok(inside)
    }

    /// The bridge that is asked for, if it is there and up.
    async fn observe_bridge(
        &self,
        wanted: Option<&Attached>,
        port_of: Option<&link::Link>,
    ) -> Result<Option<Bridge>, Error> {
        let Some(Attached::Bridge { bridge: name, vlan }) = wanted else { return Ok(None) };
        let found = match port_of {
            Some(bridge) if bridge.name == *name => Some(bridge.clone()),
            _ => link::get(&self.devices.handle, name).await?,
        };
        let bridge = found.filter(|link| link.is_bridge && link.up);
        let vlan = |link: &link::Link| vlan.filter(|vlan| vlan::suits(link, *vlan).is_ok());
        Ok(bridge.map(|link| Bridge { vlan: vlan(&link), name: link.name, ours: link.ours }))
    }

    async fn set_sysctl(uid: NetworkUid, sysctl: Sysctl) -> Result<(), Error> {
        let write = move || {
            let written = kernel::set(sysctl.path(), sysctl.value()).or_else(files::absent_is_fine);
            written.map_err(|e| Error::SetSysctl(sysctl.path().to_owned(), e))
        };
        netns::open(uid)?.run(write).await?
    }

    /// With its outer device: its end inside would live on with a process that is still there.
    async fn delete_namespace(&self, uid: NetworkUid) -> Result<(), Error> {
        self.listeners.close(uid).await;
        self.devices.remove_outer(&outer_device(uid)).await?;
        if let Named::Namespace(netns) = netns::find(uid)? {
            self.firewall.forget(&netns);
        }
        blocking(move || netns::delete(uid)).await
    }
}

async fn direct(
    uid: NetworkUid,
    family: Family,
    whole: bool,
    add: &Shares,
    remove: &Shares,
) -> Result<(), Error> {
    if family == Family::V6 {
        return rooms::direct(uid, whole, add, remove).await;
    }
    let (add, remove) = (add.clone(), remove.clone());
    netns::open(uid)?.run(move || nft::switch::direct(whole, &add, &remove)).await?
}

impl Host for LinuxHost {
    async fn networks(&self) -> Result<BTreeSet<NetworkUid>, Error> {
        let state = self.state.clone();
        let mut networks: BTreeSet<_> = self.driver.processes.networks().into_iter().collect();
        networks.extend(link::all(&self.devices.handle).await?.iter().filter_map(link::Link::network));
        let named = blocking(move || {
            let mut named: Vec<_> = netns::all()?.into_iter().map(|(uid, _)| uid).collect();
            named.extend(super::kept_networks(&state)?);
            Ok(named)
        });
        networks.extend(named.await?);
        networks.extend(self.devices.ovs.networks().await);
        Ok(networks)
    }

    async fn observe(&self, uid: NetworkUid, wanted: Option<&Attached>) -> Result<Segment, Error> {
        let (netns, namespace) = match netns::find(uid)? {
            Named::Missing => (None, None),
            Named::Unusable => (None, Some(Namespace::default())),
            Named::Namespace(netns) => (Some(netns), None),
        };
        let (layout, processes) = (Layout::new(&self.state, uid), self.driver.processes.of(uid));
        let acts = self.acts;
        // Before the look: what is written after it is told.
        self.heed(uid);
        let several = processes.iter().any(|process| process.share.is_some()) || layout.shares().exists();
        let servers = blocking(move || {
            if acts {
                for layout in super::layouts(&layout)?.values() {
                    server_log::trim_log(&layout.log());
                }
            }
            observe::servers(uid, &layout, &processes)
        });
        let outer = outer_device(uid);
        self.devices.stand(uid, wanted).await?;
        let outside = observe::outside(&self.devices.handle, &outer);
        let inside = self.observe_inside(netns.as_ref(), several);
        let (mut servers, (outer_end, port_of), mut inside) = tokio::try_join!(servers, outside, inside)?;
        let metadata = self.listeners.observed(uid, inside.metadata.take());
        let parent = observe::parent(&self.devices.handle, inside.device.as_ref()).await?;
        // A port of Open vSwitch's has a master that is none.
        let port_of = port_of.filter(|link| link.is_bridge);
        let port = self.devices.ovs.look(uid, wanted, outer_end.is_some()).await;
        let vlans = observe::vlans(outer_end.as_ref(), port_of.as_ref()).await?;
        let in_bridge = port_of.as_ref().map(|bridge| (bridge, &vlans));
        let place = observe::Place { port_of: in_bridge, parent: parent.as_ref(), port: port.as_ref() };
        let device = observe::device(&inside, outer_end.as_ref(), &place);
        if device.as_ref().is_some_and(|device| device.up) && (port_of.is_some() || port.is_some()) {
            let vlan = match device.as_ref().and_then(|device| device.attached.as_ref()) {
                Some(Attached::Bridge { vlan, .. }) => *vlan,
                _ => None,
            };
            let bridge = port_of.as_ref().map(|bridge| bridge.index);
            self.devices.monitor.expect(&outer, Expected { uid, bridge, vlan });
        }
        let bridge = self.observe_bridge(wanted, port_of.as_ref()).await?;
        let namespace = namespace.or(netns.map(|_| std::mem::take(&mut inside.namespace)));
        let server = servers.remove(&None);
        let shares: BTreeMap<_, _> =
            servers.into_iter().filter_map(|(share, server)| Some((share?, server))).collect();
        let left = if namespace.is_some() { Vec::new() } else { rooms::left(uid)? };
        let rooms = rooms::look(uid, shares.keys().copied().chain(left), &inside.feeds).await?;
        Ok(Segment { namespace, bridge, device, server, shares, rooms, metadata })
    }

    async fn can_have(&self, rule: Rule) -> Result<bool, Error> {
        self.firewall.try_out(rule).await
    }

    async fn can_share_dhcpv6(&self) -> bool {
        rooms::can_be().await
    }

    async fn apply(&self, uid: NetworkUid, label: &str, action: &Action) -> Result<Applied, Error> {
        match action {
            Action::CreateNamespace => netns::create(uid).await?,
            Action::SetSysctl(sysctl) => Self::set_sysctl(uid, *sysctl).await?,
            Action::AddRule(rule) => self.firewall.add(&netns::open(uid)?, *rule).await?,
            Action::RequireBridge(bridge) => self.devices.require_bridge(uid, bridge).await?,
            Action::CreateDevice { mac, mtu, attached } => {
                let wanted = Wanted { uid, label, mac: *mac, mtu: *mtu };
                self.devices.create(wanted, attached).await?;
            }
            Action::AttachDevice(attached) => self.devices.attach(uid, attached).await?,
            Action::SetMtu(mtu) => self.devices.set_mtu(uid, *mtu).await?,
            Action::SetUp => self.devices.set_up(uid).await?,
            Action::AddAddress(_)
            | Action::RemoveAddress(_)
            | Action::SetGateway(..)
            | Action::ChangeNeighbours { .. } => inside::change(&netns::open(uid)?, action).await?,
            Action::CreateRoom(share, device) => {
                rooms::create(uid, &Layout::new(&self.state, uid), *share, device).await?;
            }
            Action::InRoom(share, action) => inside::change(&netns::open((uid, *share))?, action).await?,
            Action::DeleteRoom(share) => rooms::delete(uid, *share).await?,
            Action::AdmitToDhcpv6 { whole, add, remove } => {
                let (whole, add, remove) = (*whole, add.clone(), remove.clone());
                netns::open(uid)?.run(move || nft::known::admit(whole, &add, &remove)).await??;
            }
            Action::OpenDhcpv6 => netns::open(uid)?.run(nft::known::open).await??,
            Action::Direct { family, whole, add, remove } => {
                direct(uid, *family, *whole, add, remove).await?;
                if *whole {
                    self.driver.catch_up(uid).await;
                }
            }
            Action::DirectNobody(family) => {
                // The answers that are still due need their way out.
                direct(uid, *family, true, &Shares::new(), &Shares::new()).await?;
                self.driver.catch_up(uid).await;
                let open = if *family == Family::V4 { nft::switch::open } else { nft::feed::open };
                netns::open(uid)?.run(open).await??;
            }
            Action::DeleteDevice => self.devices.delete(uid).await?,
            Action::Server(_) | Action::Share(..) => {
                let Some((share, action)) = action.of_server() else { return Ok(Applied::default()) };
                let applied = self.driver.apply(uid, share, action).await?;
                if matches!(action, server::Action::Start(_)) {
                    self.heed(uid);
                }
                return Ok(applied);
            }
            Action::ServeMetadata(service) => self.listeners.serve(uid, service).await?,
            Action::StopMetadata => self.listeners.stop(uid).await?,
            Action::DeleteNamespace => self.delete_namespace(uid).await?,
        }
        Ok(Applied::default())
    }

    async fn link(&self, attached: &Attached) -> Result<Option<NodeLink>, Error> {
        self.devices.node_link(attached).await
    }

    fn links_changed(&self) -> Arc<Notify> {
        self.devices.monitor.links_changed()
    }

    /// The kernel does it for a device whose MAC address is set, also to what it was; then it forgets the
    /// device's neighbours.
    async fn announce(&self, uid: NetworkUid) -> Result<(), Error> {
        let Named::Namespace(netns) = netns::find(uid)? else { return Ok(()) };
        let wish = |path| kernel::set(path, "1").or_else(files::absent_is_fine).map_err(|e| (path, e));
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
        let again = Action::ChangeNeighbours { add: neighbours, remove: BTreeSet::new() };
        inside::change(&netns, &again).await
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

    async fn leases(&self, uid: NetworkUid) -> Result<Leases, Error> {
        let all = Layout::new(&self.state, uid);
        blocking(move || super::server_files::leases(&all)).await
    }

    async fn said(&self, uid: NetworkUid, from: Option<&Ends>) -> Result<Said, Error> {
        let (all, from) = (Layout::new(&self.state, uid), from.cloned());
        blocking(move || server_log::said(&all, from.as_ref())).await
    }

    async fn ask(&self, uid: NetworkUid, asked: &Asked) -> Result<BTreeMap<Whom, Reply>, Error> {
        let (netns, wires) = (netns::open(uid)?, &self.devices.wires);
        let wire = wires.to(&netns, uid, &asked.attached).await?;
        let replies = question::ask(&netns, &wire, uid, asked).await;
        // It may be that of a device that was replaced.
        replies.inspect_err(|_| wires.forget(&outer_device(uid)))
    }

    async fn overhear(&self, uid: NetworkUid) -> Result<mpsc::Receiver<Heard>, Error> {
        overhear::overhear(&netns::open(uid)?).await
    }

    async fn solicitors(&self, uid: NetworkUid, duids: &BTreeSet<String>) -> Result<Vec<Solicitor>, Error> {
        solicit::listen(&netns::open(uid)?, duids).await
    }

    async fn newcomers(
        &self,
        uid: NetworkUid,
        duids: &BTreeSet<Identifier>,
    ) -> Result<mpsc::Receiver<Newcomer>, Error> {
        newcomers::listen(&netns::open(uid)?, duids).await
    }

    async fn sweep_bridges(&self, wanted: &BTreeSet<String>) -> Result<(), Error> {
        let links = link::all(&self.devices.handle).await?;
        let used: BTreeSet<_> = links.iter().filter_map(|link| link.controller).collect();
        let ours = links.iter().filter(|link| link.ours && !used.contains(&link.index));
        for bridge in ours.filter(|link| !wanted.contains(&link.name)) {
            link::delete(&self.devices.handle, &bridge.name).await?;
        }
        Ok(())
    }

    fn events(&self) -> mpsc::Receiver<NetworkUid> {
        let taken = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn writes(&self) -> mpsc::Receiver<NetworkUid> {
        let taken = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }
}
