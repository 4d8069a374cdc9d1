//! Interfaces: bridges and the veth pair of each network.
//!
//! Called with a connection to the node's or to a network's namespace. Knows links by name; what
//! they are for is decided elsewhere.

use futures::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoMacVlan, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode,
};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::Error;
use super::base::Base;
use super::netns::Netns;
use crate::node::INNER_DEVICE;
use crate::types::{MacAddr, NetworkUid};

/// Marks a bridge as made by us from its first moment: an alias can be set only on a link that is there.
const GROUP: u32 = 0x6b64;

const BRIDGE_ALIAS: &str = "kube-dhcp bridge";

/// How much of a network's name goes into an alias, of at most 255 bytes.
const LABEL_LENGTH: usize = 180;

/// What matters of an interface.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: u32,
    pub(super) up: bool,
    /// The index of the bridge it is in.
    pub(super) controller: Option<u32>,
    /// Of a veth: the index of its other end, in that one's namespace; of a macvlan: of its parent.
    pub(super) peer: Option<u32>,
    pub(super) alias: String,
    pub(super) is_bridge: bool,
    /// Of a bridge that filters VLANs: the one that ports have by default, 0 for none.
    pub(super) default_vlan: Option<u16>,
    /// Of a macvlan: whom of its parent's it speaks to.
    pub(super) macvlan: Option<MacVlanMode>,
    /// A bridge made by us.
    pub(super) ours: bool,
    pub(super) group: u32,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let up = message.header.flags.contains(LinkFlags::Up);
        let mut link = Self { index: message.header.index, up, ..Self::default() };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(mac) => link.mac = mac.try_into().ok().and_then(MacAddr::new),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::Link(index) => link.peer = Some(index),
                LinkAttribute::IfAlias(alias) => link.alias = alias,
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::LinkInfo(info) => link.learn(&info),
                _ => {}
            }
        }
        link.ours = link.is_bridge && link.group == GROUP;
        link
    }
}

impl Link {
    fn learn(&mut self, info: &[LinkInfo]) {
        self.is_bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge));
        let is_macvlan = info.contains(&LinkInfo::Kind(InfoKind::MacVlan));
        let mode = info.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::MacVlan(data)) => data.iter().find_map(|data| match data {
                InfoMacVlan::Mode(mode) => Some(*mode),
                _ => None,
            }),
            _ => None,
        });
        self.macvlan = mode.filter(|_| is_macvlan);
        let bridge = info.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Bridge(data)) => Some(data),
            _ => None,
        });
        self.default_vlan =
            bridge.filter(|data| data.contains(&InfoBridge::VlanFiltering(true))).map(|data| {
                let default = data.iter().find_map(|data| match data {
                    InfoBridge::VlanDefaultPvid(vlan) => Some(*vlan),
                    _ => None,
                });
                default.unwrap_or(0)
            });
    }

    /// It was about to be removed: with the next that are, it is.
    pub(super) fn is_doomed(&self) -> bool {
        self.group == super::removal::GROUP
    }

    /// What whoever stands on it looks at.
    pub(super) fn base(&self) -> Base {
        Base { index: self.index, mtu: self.mtu, up: self.up, default_vlan: self.default_vlan }
    }

    /// The network whose outer device this is.
    pub(super) fn network(&self) -> Option<NetworkUid> {
        let uid = self.alias.strip_prefix("kube-dhcp ")?.rsplit(' ').next()?.parse().ok()?;
        (crate::node::outer_device(uid) == self.name).then_some(uid)
    }
}

/// The alias of a network's outer device: for people, and for [`Link::network`].
fn alias(label: &str, uid: NetworkUid) -> String {
    let label: String = label.chars().filter(|c| !c.is_control()).take(LABEL_LENGTH).collect();
    format!("kube-dhcp {label} {uid}")
}

/// The link of this name, if there is one.
pub(super) async fn get(handle: &Handle, name: &str) -> Result<Option<Link>, Error> {
    one(handle.link().get().match_name(name), name).await
}

/// The link of this index, if there is one.
pub(super) async fn by_index(handle: &Handle, index: u32) -> Result<Option<Link>, Error> {
    one(handle.link().get().match_index(index), &format!("number {index}")).await
}

async fn one(mut request: rtnetlink::LinkGetRequest, name: &str) -> Result<Option<Link>, Error> {
    skip_statistics(&mut request);
    match request.execute().try_next().await {
        Ok(message) => Ok(message.map(Link::from)),
        Err(e) if is(&e, Errno::ENODEV) => Ok(None),
        Err(e) => Err(Error::GetLink(name.to_owned(), e)),
    }
}

/// All links of the namespace.
pub(super) async fn all(handle: &Handle) -> Result<Vec<Link>, Error> {
    let mut request = handle.link().get();
    skip_statistics(&mut request);
    let links = request.execute().map_ok(Link::from).try_collect().await;
    links.map_err(|e| Error::List("interfaces", e))
}

/// They are most of an answer's bytes.
fn skip_statistics(request: &mut rtnetlink::LinkGetRequest) {
    let skip = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
    request.message_mut().attributes.push(skip);
}

/// The bridge of this name.
pub(super) async fn bridge(handle: &Handle, name: &str) -> Result<Link, Error> {
    let link = get(handle, name).await?.ok_or_else(|| Error::BridgeMissing(name.to_owned()))?;
    if link.is_bridge { Ok(link) } else { Err(Error::NotABridge(name.to_owned())) }
}

/// Whether packets pass a bridge: one that is down takes none.
pub(super) fn carries(bridge: &Link) -> Result<(), Error> {
    if bridge.up { Ok(()) } else { Err(Error::BridgeDown(bridge.name.clone())) }
}

/// Makes the bridge unless it is there, and finishes one that we made and did not finish. Its MTU
/// follows its ports, its STP is off: both are the kernel's defaults.
pub(super) async fn ensure_bridge(handle: &Handle, name: &str) -> Result<(), Error> {
    if get(handle, name).await?.is_none() {
        let message = LinkMessageBuilder::<LinkBridge>::new(name).link_group(GROUP).build();
        create(handle, name, message).await?;
    }
    let link = bridge(handle, name).await?;
    if link.ours && !(link.up && link.alias == BRIDGE_ALIAS) {
        super::machine::disable_ipv6(name).await?;
        let message = LinkUnspec::new_with_index(link.index);
        return change(handle, name, message.alias(BRIDGE_ALIAS).up().build()).await;
    }
    carries(&link)
}

/// The pair: the inner end in `netns`, the outer one here, a port of the bridge if there is one, with at
/// least the MTU of what it is `among`. Not up: the kernel refuses that for an end whose other end is only
/// being made.
pub(super) async fn create_pair(
    handle: &Handle,
    outer: &str,
    netns: &Netns,
    mac: MacAddr,
    mtu: u32,
    bridge: Option<&Link>,
    among: Option<&Link>,
) -> Result<(), Error> {
    let inner = LinkUnspec::new_with_name(INNER_DEVICE)
        .address(mac.octets().to_vec())
        .mtu(mtu)
        .setns_by_fd(netns.raw_fd());
    let pair = LinkMessageBuilder::<LinkVeth>::new(outer, INNER_DEVICE)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inner.build())))
        .mtu(among.map_or(mtu, |among| outer_mtu(mtu, among)));
    let pair = match bridge {
        Some(bridge) => pair.controller(bridge.index),
        None => pair,
    };
    create(handle, outer, pair.build()).await
}

/// IPv6 off before it goes up, or the node would have an address on the tenant's network.
pub(super) async fn finish_outer(
    handle: &Handle,
    name: &str,
    uid: NetworkUid,
    label: &str,
) -> Result<(), Error> {
    super::machine::disable_ipv6(name).await?;
    let message = LinkUnspec::new_with_name(name);
    change(handle, name, message.alias(alias(label, uid)).up().build()).await
}

/// What an outer end has where the inner one has `mtu`: a bridge takes on the smallest MTU of its ports,
/// and its other ports are not ours to slow down.
pub(super) fn outer_mtu(mtu: u32, bridge: &Link) -> u32 {
    mtu.max(bridge.mtu)
}

/// Makes it a port of a bridge.
pub(super) async fn attach(handle: &Handle, name: &str, bridge: &Link) -> Result<(), Error> {
    let port = get(handle, name).await?.ok_or_else(|| Error::NoLink(name.to_owned()))?;
    if port.mtu < bridge.mtu {
        set_mtu(handle, name, bridge.mtu).await?;
    }
    let message = LinkUnspec::new_with_name(name).controller(bridge.index);
    change(handle, name, message.build()).await
}

/// Takes it out of its bridge, if it is there.
pub(super) async fn detach(handle: &Handle, name: &str) -> Result<(), Error> {
    match get(handle, name).await? {
        Some(port) if port.controller.is_some() => {
            change(handle, name, LinkUnspec::new_with_name(name).nocontroller().build()).await
        }
        _ => Ok(()),
    }
}

/// Sets it down.
pub(super) async fn set_down(handle: &Handle, name: &str) -> Result<(), Error> {
    change(handle, name, LinkUnspec::new_with_name(name).down().build()).await
}

/// Sets the MTU.
pub(super) async fn set_mtu(handle: &Handle, name: &str, mtu: u32) -> Result<(), Error> {
    change(handle, name, LinkUnspec::new_with_name(name).mtu(mtu).build()).await
}

/// Sets its MAC address.
pub(super) async fn set_mac(handle: &Handle, name: &str, mac: MacAddr) -> Result<(), Error> {
    let message = LinkUnspec::new_with_name(name).address(mac.octets().to_vec());
    change(handle, name, message.build()).await
}

/// Sets it up.
pub(super) async fn set_up(handle: &Handle, name: &str) -> Result<(), Error> {
    change(handle, name, LinkUnspec::new_with_name(name).up().build()).await
}

/// Removes it, a veth with its other end, unless it is gone.
pub(super) async fn delete(handle: &Handle, name: &str) -> Result<(), Error> {
    let message = LinkUnspec::new_with_name(name).build();
    match handle.link().del_with_message(message).execute().await {
        Err(e) if !is(&e, Errno::ENODEV) => Err(Error::DeleteLink(name.to_owned(), e)),
        _ => Ok(()),
    }
}

/// Puts it into a group of links.
pub(super) async fn set_group(handle: &Handle, name: &str, group: u32) -> Result<(), Error> {
    change(handle, name, LinkUnspec::new_with_name(name).link_group(group).build()).await
}

/// Removes all links of a group.
pub(super) async fn delete_group(handle: &Handle, group: u32) -> Result<(), Error> {
    let message = LinkMessageBuilder::<LinkUnspec>::new().link_group(group).build();
    let deleted = handle.link().del_with_message(message).execute().await;
    deleted.map_err(|e| Error::DeleteLink(format!("group {group}"), e))
}

/// Two networks may want the same bridge at once.
pub(super) async fn create(handle: &Handle, name: &str, message: LinkMessage) -> Result<(), Error> {
    match handle.link().add(message).execute().await {
        Err(e) if !is(&e, Errno::EEXIST) => Err(Error::CreateLink(name.to_owned(), e)),
        _ => Ok(()),
    }
}

async fn change(handle: &Handle, name: &str, message: LinkMessage) -> Result<(), Error> {
    let changed = handle.link().change(message).execute().await;
    changed.map_err(|e| Error::ChangeLink(name.to_owned(), e))
}

/// Whether the kernel said this.
pub(super) fn is(error: &rtnetlink::Error, errno: Errno) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -(errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_leads_back_to_its_network() {
        let uid: NetworkUid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        for label in ["team-a/lan-a", "", &"x".repeat(400)] {
            let alias = alias(label, uid);
            assert!(alias.len() < 256);
            let link = Link { name: crate::node::outer_device(uid), alias, ..Link::default() };
            assert_eq!(link.network(), Some(uid));
        }
        assert_eq!(Link { alias: "kube-dhcp x y".into(), ..Link::default() }.network(), None);
    }
}
