//! The DHCP device as a macvlan of one of the node's interfaces.
//!
//! Called by `device`. It looks at the parent and never changes it.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::link::MacVlanMode;
use rtnetlink::{Handle, LinkMacVlan};

use super::link::{self, Link};
use super::netns::{LOOPBACK, Netns};
use super::{Error, route};
use crate::node::INNER_DEVICE;
use crate::types::MacAddr;

/// The interface of this name, if it may have macvlans.
pub(super) async fn parent(handle: &Handle, name: &str, may_be_the_nodes: bool) -> Result<Link, Error> {
    let link = link::get(handle, name).await?.ok_or_else(|| Error::ParentMissing(name.to_owned()))?;
    suits(&link)?;
    if may_be_the_nodes {
        return Ok(link);
    }
    let own = match route::addresses(handle, link.index).await?.first() {
        Some(address) => Some(carried(*address)),
        None if route::leads_out(handle, link.index).await? => Some("a default route".to_owned()),
        None => None,
    };
    own.map_or(Ok(link), |what| Err(Error::ParentInUse(name.to_owned(), what)))
}

fn carried(address: IpNet) -> String {
    let ip: IpAddr = address.addr();
    format!("the node's address {ip}")
}

/// Whether the kernel would make just what it is asked for.
fn suits(link: &Link) -> Result<(), Error> {
    let fault = match link {
        _ if link.index == LOOPBACK => "the loopback",
        // It would make one of that one's parent.
        _ if link.macvlan.is_some() => "a macvlan itself",
        _ if link.controller.is_some() => "a port of a bridge or a bond",
        _ => return Ok(()),
    };
    Err(Error::NotAParent(link.name.clone(), fault))
}

/// A macvlan has at most its parent's MTU.
pub(super) fn fits(mtu: u32, parent: &Link) -> Result<(), Error> {
    if mtu <= parent.mtu {
        return Ok(());
    }
    Err(Error::MtuTooLarge { mtu, parent: parent.name.clone(), most: parent.mtu })
}

/// In `netns` from its first moment, and up.
pub(super) async fn create(
    handle: &Handle,
    netns: &Netns,
    mac: MacAddr,
    mtu: u32,
    parent: &Link,
) -> Result<(), Error> {
    let device = LinkMacVlan::new(INNER_DEVICE, parent.index, MacVlanMode::Bridge)
        .address(mac.octets().to_vec())
        .mtu(mtu)
        .setns_by_fd(netns.raw_fd())
        .up();
    link::create(handle, &format!("{INNER_DEVICE}, a macvlan of {}", parent.name), device.build()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_neither_loopback_nor_macvlan_nor_port() {
        let link = |index, macvlan, controller| Link {
            index,
            name: "eth1".into(),
            macvlan,
            controller,
            ..Link::default()
        };
        suits(&link(2, None, None)).unwrap();
        for bad in [link(1, None, None), link(2, Some(MacVlanMode::Vepa), None), link(2, None, Some(3))] {
            suits(&bad).unwrap_err();
        }
    }

    #[test]
    fn no_packet_is_larger_than_the_parents() {
        let parent = Link { name: "eth1".into(), mtu: 1500, ..Link::default() };
        fits(1500, &parent).unwrap();
        assert_eq!(
            fits(1501, &parent).unwrap_err().to_string(),
            "mtu 1501 is more than interface eth1 carries: 1500"
        );
    }
}
