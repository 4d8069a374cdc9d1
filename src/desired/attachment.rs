//! What a physical network is on a node, as the agent's flag says it, and what a Network on it is
//! attached to.

use std::fmt;
use std::str::FromStr;

use crate::node::Attached;
use crate::reason::{Problem, Reason};

/// What a physical network is on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// A Linux bridge, with all VLANs if it filters them.
    Bridge(Interface),
    /// The parent of macvlans.
    Macvlan(Interface),
    /// A bridge of Open vSwitch, with all VLANs.
    Ovs(Interface),
}

/// The name of an interface; `{vlan}` in it stands for the VLAN's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(String);

const VLAN: &str = "{vlan}";

impl FromStr for Interface {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        // The longest VLAN number has as many digits as make the shortest placeholder.
        let longest = name.replace(VLAN, "4094");
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let whole = (1..=15).contains(&longest.len()) && longest.bytes().all(ok);
        if !whole || longest.bytes().all(|b| b == b'.') {
            return Err(format!(
                "{name:?} cannot be an interface name: 1 to 15 letters, digits, '-', '_', '.'"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

impl Interface {
    fn is_template(&self) -> bool {
        self.0.contains(VLAN)
    }

    fn of(&self, vlan: u16) -> String {
        self.0.replace(VLAN, &vlan.to_string())
    }
}

impl FromStr for Attachment {
    type Err = String;

    /// `bridge:br0`, `bridge:br-{vlan}`, `macvlan:eth1`, `macvlan:eth1.{vlan}`, `ovs:br-int`
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("bridge", name)) => name.parse().map(Self::Bridge),
            Some(("macvlan", name)) => name.parse().map(Self::Macvlan),
            Some(("ovs", name)) if name.contains(VLAN) => {
                Err(format!("{text:?} needs no {VLAN}: a bridge of Open vSwitch has all VLANs"))
            }
            Some(("ovs", name)) => name.parse().map(Self::Ovs),
            _ => Err(format!("{text:?} is none of bridge:NAME, macvlan:NAME, ovs:NAME")),
        }
    }
}

/// As in the flag.
impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(Interface(name)) => write!(f, "bridge:{name}"),
            Self::Macvlan(Interface(name)) => write!(f, "macvlan:{name}"),
            Self::Ovs(Interface(name)) => write!(f, "ovs:{name}"),
        }
    }
}

impl Attachment {
    /// It can carry Networks with a VLAN. `filters`: the bridge on the node keeps VLANs apart.
    pub fn carries_vlans(&self, filters: bool) -> bool {
        match self {
            Self::Bridge(name) => name.is_template() || filters,
            Self::Macvlan(name) => name.is_template(),
            Self::Ovs(_) => true,
        }
    }

    /// It can carry untagged Networks: it is not one interface for each VLAN.
    pub fn carries_untagged(&self) -> bool {
        self.common().is_some()
    }

    /// What there is of it without a Network; `None` where each has its own.
    pub fn common(&self) -> Option<Attached> {
        match self {
            Self::Bridge(name) | Self::Macvlan(name) if name.is_template() => None,
            Self::Bridge(Interface(name)) => Some(Attached::Bridge { bridge: name.clone(), vlan: None }),
            Self::Macvlan(Interface(name)) => Some(Attached::Macvlan(name.clone())),
            Self::Ovs(Interface(name)) => Some(Attached::Ovs { bridge: name.clone(), vlan: None }),
        }
    }

    /// What a Network of this VLAN is attached to. `physical` is for the message.
    pub(super) fn carry(&self, physical: &str, vlan: Option<u16>) -> Result<Attached, Problem> {
        match (vlan, self) {
            (Some(vlan), Self::Bridge(name)) if name.is_template() => {
                Ok(Attached::Bridge { bridge: name.of(vlan), vlan: None })
            }
            (Some(vlan), Self::Macvlan(name)) if name.is_template() => Ok(Attached::Macvlan(name.of(vlan))),
            // Whether it filters is the node's to say.
            (Some(vlan), Self::Bridge(Interface(name))) => {
                Ok(Attached::Bridge { bridge: name.clone(), vlan: Some(vlan) })
            }
            (Some(vlan), Self::Macvlan(Interface(name))) => Err(refuses(vlan, physical, name)),
            (vlan, Self::Ovs(Interface(name))) => Ok(Attached::Ovs { bridge: name.clone(), vlan }),
            (None, _) => self.common().ok_or_else(|| self.refuses_untagged(physical)),
        }
    }

    fn refuses_untagged(&self, physical: &str) -> Problem {
        let message = format!(
            "spec.segmentation: {physical} is mapped to an interface for each VLAN ({self}); an untagged Network has none"
        );
        Problem::new(Reason::NotSupported, message)
    }
}

fn refuses(vlan: u16, physical: &str, name: &str) -> Problem {
    let message = format!(
        "spec.segmentation: macvlan:{name} carries no VLANs; map {physical} to an interface for each, like macvlan:{name}.{VLAN}, to use VLAN {vlan}"
    );
    Problem::new(Reason::NotSupported, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(text: &str, vlan: Option<u16>) -> Result<String, String> {
        let attachment: Attachment = text.parse().unwrap();
        assert_eq!(attachment.to_string(), text);
        let attached = attachment.carry("lan", vlan);
        attached.map(|attached| attached.place()).map_err(|problem| problem.message)
    }

    #[test]
    fn a_network_has_the_interface_of_its_vlan() {
        for (text, vlan, place) in [
            ("bridge:br0", None, "in bridge br0"),
            ("bridge:br0", Some(7), "in bridge br0, VLAN 7"),
            ("bridge:br-{vlan}", Some(7), "in bridge br-7"),
            ("macvlan:eth1", None, "as a macvlan of eth1"),
            ("macvlan:eth1.{vlan}", Some(7), "as a macvlan of eth1.7"),
            ("ovs:br-int", None, "in bridge br-int of Open vSwitch, untagged"),
            ("ovs:br-int", Some(7), "in bridge br-int of Open vSwitch, VLAN 7"),
        ] {
            assert_eq!(carried(text, vlan).unwrap(), place);
        }
    }

    #[test]
    fn an_attachment_that_has_none_for_it_says_what_would() {
        for (text, vlan, part) in [
            ("bridge:br-{vlan}", None, "an interface for each VLAN (bridge:br-{vlan})"),
            ("macvlan:eth1", Some(7), "macvlan:eth1.{vlan}"),
            ("macvlan:eth1.{vlan}", None, "an untagged Network has none"),
        ] {
            let message = carried(text, vlan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
