//! What a DHCP device is attached to on its node.

use std::fmt;

/// The one thing of a network's that is outside of its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    /// A veth whose outer end is a port of this Linux bridge.
    Bridge {
        /// By its name.
        bridge: String,
        /// Of a bridge that filters VLANs: the one that the port is in, untagged.
        vlan: Option<u16>,
    },
    /// A macvlan of this interface.
    Macvlan(String),
    /// A veth whose outer end is an access port of this bridge of Open vSwitch.
    Ovs {
        /// By its name.
        bridge: String,
        /// `None`: untagged.
        vlan: Option<u16>,
    },
}

impl Attached {
    /// Whether a veth that is attached to nothing can be attached to this as it is.
    pub fn takes_a_veth(&self) -> bool {
        match self {
            Self::Bridge { .. } | Self::Ovs { .. } => true,
            Self::Macvlan(_) => false,
        }
    }

    /// Whether a device that is attached to `other` can be attached to this as it is.
    pub fn can_follow(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ovs { .. }, Self::Ovs { .. }) => true,
            _ => self == other || (self.bridge().is_some() && other.bridge().is_some()),
        }
    }

    /// The Linux bridge.
    pub fn bridge(&self) -> Option<&str> {
        match self {
            Self::Bridge { bridge, .. } => Some(bridge),
            Self::Macvlan(_) | Self::Ovs { .. } => None,
        }
    }

    /// Where a device of it is, in words.
    pub fn place(&self) -> String {
        match self {
            Self::Bridge { bridge, vlan: None } => format!("in bridge {bridge}"),
            Self::Bridge { bridge, vlan: Some(vlan) } => format!("in bridge {bridge}, VLAN {vlan}"),
            Self::Macvlan(parent) => format!("as a macvlan of {parent}"),
            Self::Ovs { bridge, vlan: None } => format!("in bridge {bridge} of Open vSwitch, untagged"),
            Self::Ovs { bridge, vlan: Some(vlan) } => {
                format!("in bridge {bridge} of Open vSwitch, VLAN {vlan}")
            }
        }
    }
}

/// As in the flag.
impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge { bridge, .. } => write!(f, "bridge:{bridge}"),
            Self::Macvlan(parent) => write!(f, "macvlan:{parent}"),
            Self::Ovs { bridge, .. } => write!(f, "ovs:{bridge}"),
        }
    }
}
