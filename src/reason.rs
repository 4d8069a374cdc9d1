//! Why an object is not as its owner wants it: the reasons of conditions, and a problem with its words.
//!
//! Used by whoever judges objects (`validate`, `desired`, the agent) and by `conditions`. Pure.

mod problem;
mod texts;

pub use problem::Problem;

/// The reason of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// All is well.
    Ready,
    /// Work is under way.
    Progressing,
    /// A Port whose addresses and names are reserved, but that asked for no DHCP.
    Reserved,
    /// A field asks for what this version does not do.
    NotSupported,
    /// A value that no schema can refuse.
    InvalidValue,
    /// A DHCP option that cannot be sent.
    InvalidOption,
    /// Options that do not all fit into one answer.
    OptionsTooLong,
    /// The referenced Network does not exist.
    NetworkNotFound,
    /// The referenced Network is not served.
    NetworkNotServed,
    /// A referenced Subnet does not exist in the Network.
    SubnetNotFound,
    /// The Network has no Subnet with DHCP.
    NoSubnet,
    /// There is no such PhysicalNetwork in the cluster, or this node does not reach it.
    PhysicalNetworkNotFound,
    /// The physical network may not be used from this namespace, or not this VLAN of it.
    NotGranted,
    /// Another Network was given the segment first.
    SegmentInUse,
    /// The physical network does not carry so large packets.
    MTUTooLarge,
    /// Packets of the Network are too small for IPv6.
    MTUTooSmall,
    /// Another Subnet of the Network has some of the addresses.
    SubnetsOverlap,
    /// The Network has as many Subnets as it can have, or more than a Port has addresses.
    TooManySubnets,
    /// Another Port of the Network has the MAC address.
    DuplicateMAC,
    /// The guest of another Port of the Network is known by the same.
    DuplicateIdentity,
    /// Somebody else holds the address.
    AddressInUse,
    /// No Subnet of the Network has the address.
    AddressOutsideSubnet,
    /// The address is the network's or the broadcast one.
    AddressReserved,
    /// No address is free.
    PoolExhausted,
    /// The API server does not take an object that is needed.
    RefusedByAPIServer,
    /// A name that is not below the Network's domain.
    NameOutsideDomain,
    /// The bridge is not there.
    BridgeNotFound,
    /// The parent of the macvlan is not there.
    InterfaceNotFound,
    /// The parent of the macvlan may not be one, or the bridge is down or filters no VLANs.
    InterfaceUnusable,
    /// Open vSwitch does not answer, or does not act.
    OpenVSwitchAway,
    /// dnsmasq did not take the Port's line.
    RefusedByServer,
    /// The node did not do what it was told; tried again.
    HostFailed,
    /// dnsmasq runs and leaves questions unanswered.
    NotAnswering,
    /// A DHCP server that is not ours answers on the segment.
    ForeignDHCPServer,
    /// A router that nobody declared advertises itself on the segment.
    ForeignRouter,
    /// What was allocated cannot be read.
    StateUnreadable,
    /// Somebody had the address until lately.
    AddressReleasing,
    /// Fewer servers serve than are wanted; guests are answered.
    FewerServers,
    /// One server is all that was asked for, or that can be had.
    SingleServer,
    /// A server that nobody can tell to give its addresses up has them still; guests are answered.
    AddressHeldByPredecessor,
    /// The agent of a server's node does not know to do all that is asked for.
    AgentLacksFeature,
    /// No node can be found for a server.
    NoAgent,
    /// Of all servers none is ready.
    NoServerReady,
    /// The metadata service was asked for and is not offered; all else is.
    MetadataNotServed,
    /// The agent does not renew its Lease.
    LeaseExpired,
    /// So many agents are silent at once that none of them is called dead.
    MassLeaseExpiry,
    /// The server was withdrawn.
    Withdrawn,
    /// Somebody else holds the lease of a Port's address.
    LeaseHeldByOther,
    /// The guest declined a Port's address.
    AddressDeclined,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 49] = [
        Self::Ready,
        Self::Progressing,
        Self::Reserved,
        Self::NotSupported,
        Self::InvalidValue,
        Self::InvalidOption,
        Self::OptionsTooLong,
        Self::NetworkNotFound,
        Self::NetworkNotServed,
        Self::SubnetNotFound,
        Self::NoSubnet,
        Self::PhysicalNetworkNotFound,
        Self::NotGranted,
        Self::SegmentInUse,
        Self::MTUTooLarge,
        Self::MTUTooSmall,
        Self::SubnetsOverlap,
        Self::TooManySubnets,
        Self::DuplicateMAC,
        Self::DuplicateIdentity,
        Self::AddressInUse,
        Self::AddressOutsideSubnet,
        Self::AddressReserved,
        Self::PoolExhausted,
        Self::RefusedByAPIServer,
        Self::NameOutsideDomain,
        Self::BridgeNotFound,
        Self::InterfaceNotFound,
        Self::InterfaceUnusable,
        Self::OpenVSwitchAway,
        Self::RefusedByServer,
        Self::HostFailed,
        Self::NotAnswering,
        Self::ForeignDHCPServer,
        Self::ForeignRouter,
        Self::StateUnreadable,
        Self::AddressReleasing,
        Self::FewerServers,
        Self::SingleServer,
        Self::AddressHeldByPredecessor,
        Self::AgentLacksFeature,
        Self::NoAgent,
        Self::NoServerReady,
        Self::MetadataNotServed,
        Self::LeaseExpired,
        Self::MassLeaseExpiry,
        Self::Withdrawn,
        Self::LeaseHeldByOther,
        Self::AddressDeclined,
    ];

    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The one that stands in a condition.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Only a change of the object itself helps: `Stalled`; else something else may: `Reconciling`.
    pub fn is_stalled(self) -> bool {
        self.row().1 == "Stalled"
    }

    /// What to do about it.
    pub fn cure(self) -> &'static str {
        self.row().3
    }
}

#[cfg(test)]
mod tests;
