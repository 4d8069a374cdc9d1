//! The DHCP devices: made, attached, changed, removed.
//!
//! Called by `linux`. What each shall be is decided elsewhere.

use std::path::PathBuf;

use rtnetlink::Handle;

use super::monitor::{Expected, Monitor};
use super::netns::{self, Named, Netns};
use super::ovs::Ovs;
use super::removal::Removals;
use super::{Error, NodeLink, ethtool, link, macvlan, observe, question, vlan};
use crate::node::{Attached, Bridge, INNER_DEVICE, outer_device};
use crate::types::{MacAddr, NetworkUid};

/// What the operator allows, and where Open vSwitch is.
#[derive(Debug, Clone)]
pub struct Attaching {
    /// Macvlans of an interface that carries the node's own address or a default route.
    pub macvlan_on_node_interfaces: bool,
    /// The socket of its database.
    pub ovs_socket: PathBuf,
}

/// All devices of a node.
pub(super) struct Devices {
    /// To the kernel, about the node's own namespace.
    pub(super) handle: Handle,
    pub(super) monitor: Monitor,
    pub(super) removals: Removals,
    pub(super) ovs: Ovs,
    pub(super) macvlan_on_node_interfaces: bool,
    pub(super) wires: question::Wires,
}

/// A device to be.
pub(super) struct Wanted<'a> {
    pub(super) uid: NetworkUid,
    pub(super) label: &'a str,
    pub(super) mac: MacAddr,
    pub(super) mtu: u32,
}

impl Devices {
    /// Where it is others' to make, the network hears when they do.
    pub(super) async fn require_bridge(&self, uid: NetworkUid, bridge: &Bridge) -> Result<(), Error> {
        if bridge.ours {
            // What happens to it until then is our doing.
            self.monitor.leave(uid);
            let made = link::ensure_bridge(&self.handle, &bridge.name).await;
            self.stand_on(uid, &bridge.name).await?;
            return made;
        }
        self.stand_on(uid, &bridge.name).await?;
        let found = self.bridge(&bridge.name, bridge.vlan).await;
        // One that filters no more lets the device hear the guests of all VLANs.
        if found.is_err() && bridge.vlan.is_some() {
            self.detach(uid).await?;
        }
        link::carries(&found?)
    }

    async fn detach(&self, uid: NetworkUid) -> Result<(), Error> {
        let outer = outer_device(uid);
        self.monitor.forget(&outer);
        link::detach(&self.handle, &outer).await
    }

    /// The bridge of this name, if it can have this VLAN for one network.
    async fn bridge(&self, name: &str, vlan: Option<u16>) -> Result<link::Link, Error> {
        let bridge = link::bridge(&self.handle, name).await?;
        vlan.map_or(Ok(()), |vlan| vlan::suits(&bridge, vlan))?;
        Ok(bridge)
    }

    /// The parent of a macvlan takes it along when it goes, in a namespace whose links nobody watches; and
    /// a bridge may go down, or cease to filter VLANs.
    pub(super) async fn stand(&self, uid: NetworkUid, wanted: Option<&Attached>) -> Result<(), Error> {
        if let Some(Attached::Macvlan(base) | Attached::Bridge { bridge: base, .. }) = wanted {
            return self.stand_on(uid, base).await;
        }
        self.monitor.leave(uid);
        Ok(())
    }

    async fn stand_on(&self, uid: NetworkUid, base: &str) -> Result<(), Error> {
        // Twice: what happens after the first look is heard of, or seen.
        for _ in 0..2 {
            let seen = link::get(&self.handle, base).await?;
            self.monitor.stand(base, uid, seen.as_ref().map(link::Link::base));
        }
        Ok(())
    }

    pub(super) async fn create(&self, wanted: Wanted<'_>, attached: &Attached) -> Result<(), Error> {
        let netns = netns::open(wanted.uid)?;
        match attached {
            Attached::Bridge { bridge, vlan } => self.create_pair(&netns, wanted, bridge, *vlan).await,
            Attached::Macvlan(parent) => self.create_macvlan(&netns, wanted, parent).await,
            Attached::Ovs { bridge, vlan } => self.create_plugged(&netns, wanted, bridge, *vlan).await,
        }
    }

    /// It goes up when it is in its VLAN.
    async fn create_pair(
        &self,
        netns: &Netns,
        wanted: Wanted<'_>,
        bridge: &str,
        vlan: Option<u16>,
    ) -> Result<(), Error> {
        let uid = wanted.uid;
        let bridge = self.bridge(bridge, vlan).await?;
        self.delete(uid).await?;
        self.pair(netns, wanted, Some(&bridge), Some(&bridge), vlan).await?;
        self.monitor.expect(&outer_device(uid), Expected { uid, bridge: Some(bridge.index), vlan });
        Ok(())
    }

    /// Both ends, up: outside in this bridge and its VLAN, if there is one.
    async fn pair(
        &self,
        netns: &Netns,
        wanted: Wanted<'_>,
        bridge: Option<&link::Link>,
        near: Option<&link::Link>,
        vlan: Option<u16>,
    ) -> Result<(), Error> {
        let Wanted { uid, label, mac, mtu } = wanted;
        let outer = outer_device(uid);
        link::create_pair(&self.handle, &outer, netns, mac, mtu, bridge, near).await?;
        self.put(&outer, vlan).await?;
        link::finish_outer(&self.handle, &outer, uid, label).await?;
        link::set_up(&netns.connect().await?, INNER_DEVICE).await
    }

    async fn put(&self, outer: &str, vlan: Option<u16>) -> Result<(), Error> {
        let Some(vlan) = vlan else { return Ok(()) };
        let port = link::get(&self.handle, outer).await?.ok_or_else(|| Error::NoLink(outer.to_owned()))?;
        vlan::put(&self.handle, &port, vlan).await
    }

    /// A port of Open vSwitch once it is whole.
    async fn create_plugged(
        &self,
        netns: &Netns,
        wanted: Wanted<'_>,
        bridge: &str,
        vlan: Option<u16>,
    ) -> Result<(), Error> {
        let Wanted { uid, mac, .. } = wanted;
        self.ovs.require(bridge).await?;
        self.delete(uid).await?;
        self.ovs.settle().await?;
        let local = link::get(&self.handle, bridge).await?;
        // Its VLAN is Open vSwitch's affair.
        self.pair(netns, wanted, None, local.as_ref(), None).await?;
        self.plug(netns, uid, mac, bridge, vlan).await
    }

    /// A switch in user space reads frames as they are: with checksums that a NIC was to finish.
    async fn plug(
        &self,
        netns: &Netns,
        uid: NetworkUid,
        mac: MacAddr,
        bridge: &str,
        vlan: Option<u16>,
    ) -> Result<(), Error> {
        netns.run(|| ethtool::checksums_in_software(INNER_DEVICE)).await?.map_err(Error::Offload)?;
        self.ovs.plug(uid, mac, bridge, vlan).await?;
        self.monitor.expect(&outer_device(uid), Expected { uid, bridge: None, vlan: None });
        Ok(())
    }

    async fn create_macvlan(&self, netns: &Netns, wanted: Wanted<'_>, parent: &str) -> Result<(), Error> {
        let Wanted { uid, mac, mtu, .. } = wanted;
        let parent = self.parent(parent).await?;
        macvlan::fits(mtu, &parent)?;
        self.delete(uid).await?;
        macvlan::create(&self.handle, netns, mac, mtu, &parent).await
    }

    async fn parent(&self, name: &str) -> Result<link::Link, Error> {
        macvlan::parent(&self.handle, name, self.macvlan_on_node_interfaces).await
    }

    /// Both ends, which need not belong together.
    pub(super) async fn delete(&self, uid: NetworkUid) -> Result<(), Error> {
        self.ovs.unplug(uid).await?;
        self.remove_outer(&outer_device(uid)).await?;
        match netns::find(uid)? {
            Named::Namespace(netns) => delete_inside(&netns.connect().await?).await,
            Named::Missing | Named::Unusable => Ok(()),
        }
    }

    /// Does not queue where there is nothing to remove.
    pub(super) async fn remove_outer(&self, outer: &str) -> Result<(), Error> {
        self.monitor.forget(outer);
        self.wires.forget(outer);
        match link::get(&self.handle, outer).await? {
            Some(_) => self.removals.remove(outer).await,
            None => Ok(()),
        }
    }

    /// A veth; a macvlan is where it is from its first moment.
    pub(super) async fn attach(&self, uid: NetworkUid, attached: &Attached) -> Result<(), Error> {
        self.monitor.forget(&outer_device(uid));
        match attached {
            Attached::Bridge { bridge, vlan } => self.attach_to_bridge(uid, bridge, *vlan).await,
            Attached::Macvlan(_) => Ok(()),
            Attached::Ovs { bridge, vlan } => self.attach_to_ovs(uid, bridge, *vlan).await,
        }
    }

    async fn attach_to_bridge(&self, uid: NetworkUid, bridge: &str, vlan: Option<u16>) -> Result<(), Error> {
        let bridge = self.bridge(bridge, vlan).await?;
        let outer = outer_device(uid);
        self.ovs.unplug(uid).await?;
        if vlan.is_some() {
            // Not for a moment in another one.
            link::set_down(&self.handle, &outer).await?;
            link::attach(&self.handle, &outer, &bridge).await?;
            self.put(&outer, vlan).await?;
            link::set_up(&self.handle, &outer).await?;
        } else {
            // It gets what ports have by default when it comes.
            if bridge.default_vlan.is_some() {
                link::detach(&self.handle, &outer).await?;
            }
            link::attach(&self.handle, &outer, &bridge).await?;
        }
        self.monitor.expect(&outer, Expected { uid, bridge: Some(bridge.index), vlan });
        Ok(())
    }

    async fn attach_to_ovs(&self, uid: NetworkUid, bridge: &str, vlan: Option<u16>) -> Result<(), Error> {
        let netns = netns::open(uid)?;
        let device = link::get(&netns.connect().await?, INNER_DEVICE).await?;
        let mac = device.and_then(|device| device.mac).ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?;
        self.plug(&netns, uid, mac, bridge, vlan).await
    }

    pub(super) async fn set_mtu(&self, uid: NetworkUid, mtu: u32) -> Result<(), Error> {
        let inside = netns::open(uid)?.connect().await?;
        let outer = outer_device(uid);
        let (outer_end, bridge) = observe::outside(&self.handle, &outer).await?;
        if outer_end.is_none()
            && let Some(parent) = self.parent_of(&inside).await?
        {
            macvlan::fits(mtu, &parent)?;
        }
        link::set_mtu(&inside, INNER_DEVICE, mtu).await?;
        if outer_end.is_none() {
            return Ok(());
        }
        let mtu = bridge.map_or(mtu, |bridge| link::outer_mtu(mtu, &bridge));
        link::set_mtu(&self.handle, &outer, mtu).await
    }

    async fn parent_of(&self, inside: &Handle) -> Result<Option<link::Link>, Error> {
        let device = link::get(inside, INNER_DEVICE).await?;
        observe::parent(&self.handle, device.as_ref()).await
    }

    /// With the loopback, through which we speak to dnsmasq.
    pub(super) async fn set_up(&self, uid: NetworkUid) -> Result<(), Error> {
        let inside = netns::open(uid)?.connect().await?;
        link::set_up(&inside, "lo").await?;
        link::set_up(&inside, INNER_DEVICE).await?;
        match link::get(&self.handle, &outer_device(uid)).await? {
            Some(outer) => link::set_up(&self.handle, &outer.name).await,
            None => Ok(()),
        }
    }

    pub(super) async fn node_link(&self, attached: &Attached) -> Result<Option<NodeLink>, Error> {
        let found = match attached {
            Attached::Bridge { bridge, .. } => {
                self.monitor.heed(bridge);
                match link::bridge(&self.handle, bridge).await {
                    Err(Error::BridgeMissing(_)) => return Ok(None),
                    found => found?,
                }
            }
            Attached::Macvlan(parent) => {
                self.monitor.heed(parent);
                self.parent(parent).await?
            }
            Attached::Ovs { bridge, .. } => {
                self.ovs.has(bridge).await?;
                return Ok(Some(NodeLink { up: true, mtu: None, filters_vlans: false }));
            }
        };
        let filters_vlans = found.default_vlan.is_some();
        Ok(Some(NodeLink { up: found.up, mtu: Some(found.mtu), filters_vlans }))
    }
}

/// The device, and a macvlan under whatever name: its parent has each MAC address once.
async fn delete_inside(inside: &Handle) -> Result<(), Error> {
    for device in link::all(inside).await? {
        if device.macvlan.is_some() || device.name == INNER_DEVICE {
            link::delete(inside, &device.name).await?;
        }
    }
    Ok(())
}
