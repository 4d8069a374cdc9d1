//! What a physical network is on a node, as the agent's flag says it, and what a Network on it is
//! attached to.

use std::fmt;
use std::str::FromStr;

use crate::node::Attached;
use crate::reason::{Problem, Reason};

/// What a physical network is on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// A Linux bridge.
    Bridge(Interface),
    /// The parent of macvlans.
    Macvlan(Interface),
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

    /// `bridge:br0`, `bridge:br-{vlan}`, `macvlan:eth1`, `macvlan:eth1.{vlan}`
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("bridge", name)) => name.parse().map(Self::Bridge),
            Some(("macvlan", name)) => name.parse().map(Self::Macvlan),
            _ => Err(format!("{text:?} is neither bridge:NAME nor macvlan:NAME")),
        }
    }
}

/// As in the flag.
impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(Interface(name)) => write!(f, "bridge:{name}"),
            Self::Macvlan(Interface(name)) => write!(f, "macvlan:{name}"),
        }
    }
}

impl Attachment {
    /// It is one interface for each VLAN, and none for untagged Networks.
    pub fn carries_vlans(&self) -> bool {
        match self {
            Self::Bridge(name) | Self::Macvlan(name) => name.is_template(),
        }
    }

    /// What there is of it without a Network; `None` where each has its own.
    pub fn common(&self) -> Option<Attached> {
        match self {
            _ if self.carries_vlans() => None,
            Self::Bridge(Interface(name)) => Some(Attached::Bridge(name.clone())),
            Self::Macvlan(Interface(name)) => Some(Attached::Macvlan(name.clone())),
        }
    }

    /// What a Network of this VLAN is attached to. `physical` is for the message.
    pub(super) fn carry(&self, physical: &str, vlan: Option<u16>) -> Result<Attached, Problem> {
        match (vlan, self) {
            (Some(vlan), _) if !self.carries_vlans() => Err(self.refuses_vlan(physical, vlan)),
            (Some(vlan), Self::Bridge(name)) => Ok(Attached::Bridge(name.of(vlan))),
            (Some(vlan), Self::Macvlan(name)) => Ok(Attached::Macvlan(name.of(vlan))),
            (None, _) => self.common().ok_or_else(|| self.refuses_untagged(physical)),
        }
    }

    fn refuses_vlan(&self, physical: &str, vlan: u16) -> Problem {
        let message = match self {
            Self::Bridge(Interface(name)) => format!(
                "spec.segmentation: bridge {name} carries no VLANs; map {physical} to a bridge for each, like bridge:br-{VLAN}, to use VLAN {vlan}"
            ),
            Self::Macvlan(Interface(name)) => format!(
                "spec.segmentation: a macvlan of {name} carries no VLANs; map {physical} to an interface for each, like macvlan:{name}.{VLAN}, to use VLAN {vlan}"
            ),
        };
        Problem::new(Reason::NotSupported, message)
    }

    fn refuses_untagged(&self, physical: &str) -> Problem {
        let message = format!(
            "spec.segmentation: {physical} is mapped to an interface for each VLAN ({self}); an untagged Network has none"
        );
        Problem::new(Reason::NotSupported, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(text: &str, vlan: Option<u16>) -> Result<String, String> {
        let attachment: Attachment = text.parse().unwrap();
        assert_eq!(attachment.to_string(), text);
        let attached = attachment.carry("lan", vlan);
        attached.map(|attached| attached.to_string()).map_err(|problem| problem.message)
    }

    #[test]
    fn a_network_has_the_interface_of_its_vlan() {
        assert_eq!(carried("bridge:br0", None).unwrap(), "bridge:br0");
        assert_eq!(carried("bridge:br-{vlan}", Some(7)).unwrap(), "bridge:br-7");
        assert_eq!(carried("macvlan:eth1", None).unwrap(), "macvlan:eth1");
        assert_eq!(carried("macvlan:eth1.{vlan}", Some(7)).unwrap(), "macvlan:eth1.7");
    }

    #[test]
    fn an_attachment_that_has_none_for_it_says_what_would() {
        for (text, vlan, part) in [
            ("bridge:br0", Some(7), "bridge:br-{vlan}"),
            ("bridge:br-{vlan}", None, "an interface for each VLAN (bridge:br-{vlan})"),
            ("macvlan:eth1", Some(7), "macvlan:eth1.{vlan}"),
            ("macvlan:eth1.{vlan}", None, "an untagged Network has none"),
        ] {
            let message = carried(text, vlan).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
