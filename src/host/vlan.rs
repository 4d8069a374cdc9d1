//! The VLANs of a port of a bridge that filters them.
//!
//! Called by `device`, `observe` and `monitor`. A port of ours is in one VLAN, and frames on it have no tag.

use std::collections::BTreeMap;

use nix::libc::AF_BRIDGE;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkMessage,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::Error;
use super::link::Link;
use super::machine::blocking;
use super::netlink::{DUMP, Exchange, message};
use super::nft::attribute::{find, read};
use crate::node::Attached;

/// Each VLAN of a port; whether frames without a tag are its, both ways.
pub(super) type Vlans = BTreeMap<u16, bool>;

/// `RTM_GETVLAN` of linux/rtnetlink.h, as all below of `linux/if_bridge.h`. It is there since Linux 5.6; what
/// all kernels have lists the ports of all bridges.
const GET: u16 = 114;
/// `BRIDGE_VLANDB_ENTRY`, `BRIDGE_VLANDB_ENTRY_INFO`, `BRIDGE_VLANDB_ENTRY_RANGE`.
const ENTRY: u16 = 1;
const ENTRY_INFO: u16 = 1;
const ENTRY_RANGE: u16 = 2;
/// Of `struct br_vlan_msg`: family, reserved, interface.
const HEADER: usize = 8;

fn own() -> BridgeVlanInfoFlags {
    BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged
}

/// Whether ports can have this VLAN for themselves.
pub(super) fn suits(bridge: &Link, vlan: u16) -> Result<(), Error> {
    match bridge.default_vlan {
        None => Err(Error::NoVlans(bridge.name.clone())),
        // It would share the segment with all that are untagged.
        Some(default) if default == vlan => Err(Error::DefaultVlan { bridge: bridge.name.clone(), vlan }),
        Some(_) => Ok(()),
    }
}

/// Where a port is, by the VLANs that it has; `None`: nowhere that we would put it.
pub(super) fn attached(bridge: &Link, vlans: &Vlans) -> Option<Attached> {
    let within = |vlan| Some(Attached::Bridge { bridge: bridge.name.clone(), vlan });
    let Some(default) = bridge.default_vlan else { return within(None) };
    let untouched: Vlans = (default != 0).then_some((default, true)).into_iter().collect();
    if *vlans == untouched {
        return within(None);
    }
    let mut all = vlans.iter();
    match (all.next(), all.next()) {
        (Some((vlan, true)), None) => within(Some(*vlan)),
        _ => None,
    }
}

/// Those of a port.
pub(super) async fn of(port: &Link) -> Result<Vlans, Error> {
    let (index, name) = (port.index, port.name.clone());
    let ask = move || {
        let mut header = vec![0; HEADER];
        header[0] = u8::try_from(AF_BRIDGE).unwrap_or_default();
        header[4..].copy_from_slice(&index.to_ne_bytes());
        let answers = Exchange::open(NETLINK_ROUTE)?.ask(&message(GET, DUMP, &header))?;
        Ok(answers.iter().flat_map(|answer| told(answer)).collect())
    };
    blocking(move || ask().map_err(|e| Error::ReadVlans(name, e))).await
}

/// What an answer says, ranges written out.
fn told(answer: &[u8]) -> Vlans {
    let entries = read(answer.get(HEADER..).unwrap_or_default());
    let vlans = entries.filter(|(kind, _)| *kind == ENTRY).filter_map(|(_, entry)| {
        let info = BridgeVlanInfo::try_from(find(entry, ENTRY_INFO)?).ok()?;
        let last = find(entry, ENTRY_RANGE).and_then(|last| last.try_into().ok()).map(u16::from_ne_bytes);
        let untagged = info.flags.contains(own());
        Some((info.vid..=last.unwrap_or(info.vid)).map(move |vlan| (vlan, untagged)))
    });
    vlans.flatten().collect()
}

/// Has a port in this VLAN and no other.
pub(super) async fn put(handle: &Handle, port: &Link, vlan: u16) -> Result<(), Error> {
    let failed = |e| Error::ChangeLink(port.name.clone(), e);
    let own = BridgeVlanInfo { flags: own(), vid: vlan };
    handle.link().set(about(port, vec![own])).execute().await.map_err(failed)?;
    let others = of(port).await?.into_keys().filter(|other| *other != vlan);
    let others: Vec<_> =
        others.map(|vid| BridgeVlanInfo { flags: BridgeVlanInfoFlags::empty(), vid }).collect();
    // The kernel stops at none that it does not have.
    for some in others.chunks(TOGETHER).map(<[_]>::to_vec) {
        handle.link().del_with_message(about(port, some)).execute().await.map_err(failed)?;
    }
    Ok(())
}

/// Somebody may have given it all that there are.
const TOGETHER: usize = 512;

fn about(port: &Link, vlans: Vec<BridgeVlanInfo>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = port.index;
    let vlans = vlans.into_iter().map(AfSpecBridge::VlanInfo).collect();
    message.attributes.push(LinkAttribute::AfSpecBridge(vlans));
    message
}

/// Whether the bridge tells of a port that it is in this VLAN and no other.
pub(super) fn tells_only(message: &LinkMessage, vlan: u16) -> bool {
    let specs = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::AfSpecBridge(specs) => Some(specs),
        _ => None,
    });
    let infos = specs.flatten().filter_map(|spec| match spec {
        AfSpecBridge::VlanInfo(info) => Some(*info),
        _ => None,
    });
    infos.eq([BridgeVlanInfo { flags: own(), vid: vlan }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::nft::attribute::Attribute;

    fn bridge(default_vlan: Option<u16>) -> Link {
        Link { name: "br0".into(), is_bridge: true, default_vlan, ..Link::default() }
    }

    fn place(default: Option<u16>, vlans: &[(u16, bool)]) -> Option<String> {
        attached(&bridge(default), &vlans.iter().copied().collect()).map(|attached| attached.place())
    }

    #[test]
    fn a_port_is_where_its_one_vlan_is() {
        let in_bridge = Some("in bridge br0".to_owned());
        assert_eq!(place(None, &[(5, true)]), in_bridge, "nobody looks at it");
        assert_eq!(place(Some(1), &[(1, true)]), in_bridge);
        assert_eq!(place(Some(0), &[]), in_bridge);
        assert_eq!(place(Some(1), &[(5, true)]), Some("in bridge br0, VLAN 5".to_owned()));
        for wrong in
            [&[][..], &[(1, false)], &[(5, false)], &[(1, true), (5, false)], &[(1, false), (5, true)]]
        {
            assert_eq!(place(Some(1), wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_bridge_has_a_vlan_for_one_network_if_nobody_else_is_put_there() {
        suits(&bridge(Some(1)), 5).unwrap();
        suits(&bridge(Some(0)), 1).unwrap();
        assert!(suits(&bridge(None), 5).unwrap_err().to_string().contains("like bridge:br-{vlan}"));
        assert!(suits(&bridge(Some(5)), 5).unwrap_err().to_string().contains("vlan_default_pvid 0"));
    }

    #[test]
    fn what_the_kernel_tells_is_read() {
        let info = |flags: u16, vid: u16| [flags.to_ne_bytes(), vid.to_ne_bytes()].concat();
        let entry = |more: Vec<Attribute>| Attribute::Nest(ENTRY, more);
        let mut answer = vec![0; HEADER];
        entry(vec![Attribute::Plain(ENTRY_INFO, info(0b110, 5))]).write(&mut answer);
        let range = Attribute::Plain(ENTRY_RANGE, 9_u16.to_ne_bytes().to_vec());
        entry(vec![Attribute::Plain(ENTRY_INFO, info(0, 7)), range]).write(&mut answer);
        let vlans = Vlans::from([(5, true), (7, false), (8, false), (9, false)]);
        assert_eq!(told(&answer), vlans);
        for end in 0..answer.len() {
            assert!(told(&answer[..end]).len() < vlans.len());
        }
    }

    #[test]
    fn what_the_bridge_tells_of_a_port_is_compared() {
        let port = Link::default();
        let message = |vlans: &[(BridgeVlanInfoFlags, u16)]| {
            about(
                &port,
                vlans.iter().map(|(flags, vid)| BridgeVlanInfo { flags: *flags, vid: *vid }).collect(),
            )
        };
        assert!(tells_only(&message(&[(own(), 5)]), 5));
        for other in [&[][..], &[(own(), 6)], &[(own(), 5), (own(), 6)], &[(BridgeVlanInfoFlags::Pvid, 5)]] {
            assert!(!tells_only(&message(other), 5), "{other:?}");
        }
    }
}
