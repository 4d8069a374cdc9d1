//! Why an object is not as its owner wants it: the reasons of conditions, and a problem with its words.
//!
//! Used by whoever judges objects (`validate`, `desired`, the agent) and by `conditions`. Pure.

mod problem;

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
    /// This node does not reach the physical network, or nobody granted it.
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
    /// Somebody else holds the address.
    AddressInUse,
    /// No Subnet of the Network has the address.
    AddressOutsideSubnet,
    /// The address is the network's or the broadcast one.
    AddressReserved,
    /// No address is free.
    PoolExhausted,
    /// A name that is not below the Network's domain.
    NameOutsideDomain,
    /// The bridge is not there.
    BridgeNotFound,
    /// The parent of the macvlan is not there.
    InterfaceNotFound,
    /// The parent of the macvlan may not be one.
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
    pub const ALL: [Self; 46] = [
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
        Self::AddressInUse,
        Self::AddressOutsideSubnet,
        Self::AddressReserved,
        Self::PoolExhausted,
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

    /// Only a change of the object itself helps: `Stalled`; else something else may: `Reconciling`.
    pub fn is_stalled(self) -> bool {
        self.row().1 == "Stalled"
    }

    /// What to do about it.
    pub fn cure(self) -> &'static str {
        self.row().3
    }

    /// Name, condition while true, kinds, cure.
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn row(self) -> (&'static str, &'static str, &'static str, &'static str) {
        const ALL: &str = "Network, Subnet, Port";
        match self {
            Self::Ready => ("Ready", "", ALL, "nothing to do"),
            Self::Progressing => ("Progressing", "Reconciling", ALL, "wait"),
            Self::Reserved => (
                "Reserved",
                "",
                "Port",
                "nothing to do: addresses and names are reserved, DHCP was not asked for",
            ),
            Self::NotSupported => ("NotSupported", "Stalled", ALL, "remove the field that the message names"),
            Self::InvalidValue => {
                ("InvalidValue", "Stalled", ALL, "correct the field that the message names")
            }
            Self::InvalidOption => {
                ("InvalidOption", "Stalled", ALL, "correct or remove the option that the message names")
            }
            Self::OptionsTooLong => (
                "OptionsTooLong",
                "",
                "Subnet, Port",
                "use fewer or shorter options; guests are answered, each with what it asks for first",
            ),
            Self::NetworkNotFound => ("NetworkNotFound", "Reconciling", "Subnet, Port", "create the Network"),
            Self::NetworkNotServed => {
                ("NetworkNotServed", "Reconciling", "Subnet, Port", "see the Network's conditions")
            }
            Self::SubnetNotFound => {
                ("SubnetNotFound", "Reconciling", "Port", "create the Subnet, or name another")
            }
            Self::NoSubnet => ("NoSubnet", "Reconciling", "Network, Port", "create a Subnet of the Network"),
            Self::PhysicalNetworkNotFound => (
                "PhysicalNetworkNotFound",
                "Reconciling",
                "PhysicalNetwork, Network",
                "map the physical network with the agent's --physical-network",
            ),
            Self::NotGranted => (
                "NotGranted",
                "Reconciling",
                "Network",
                "have an administrator grant the namespace or the VLAN in the PhysicalNetwork",
            ),
            Self::SegmentInUse => (
                "SegmentInUse",
                "Reconciling",
                "Network",
                "use another VLAN or physical network, or delete the Network that the message names",
            ),
            Self::MTUTooSmall => {
                ("MTUTooSmall", "Reconciling", "Subnet", "raise the Network's mtu, or remove the IPv6 Subnet")
            }
            Self::MTUTooLarge => (
                "MTUTooLarge",
                "Reconciling",
                "Network",
                "lower the Network's mtu, or have the PhysicalNetwork's or the interface's raised",
            ),
            Self::SubnetsOverlap => (
                "SubnetsOverlap",
                "Reconciling",
                "Subnet",
                "use another CIDR, or delete the Subnet that the message names",
            ),
            Self::TooManySubnets => (
                "TooManySubnets",
                "Reconciling",
                "Subnet, Port",
                "use another Network, or delete a Subnet of this one; for a Port, list the addresses that it needs",
            ),
            Self::DuplicateMAC => (
                "DuplicateMAC",
                "Reconciling",
                "Port",
                "correct the MAC address here or at the Port that the message names",
            ),
            Self::AddressInUse => (
                "AddressInUse",
                "Reconciling",
                "Port",
                "ask for another address, or have the holder release it",
            ),
            Self::AddressOutsideSubnet => (
                "AddressOutsideSubnet",
                "Reconciling",
                "Port",
                "ask for an address of one of the Network's Subnets",
            ),
            Self::AddressReserved => ("AddressReserved", "Stalled", "Port", "ask for another address"),
            Self::PoolExhausted => (
                "PoolExhausted",
                "Reconciling",
                "Subnet, Port",
                "widen the Subnet's pools, add a Subnet, or delete Ports",
            ),
            Self::NameOutsideDomain => {
                ("NameOutsideDomain", "Reconciling", "Port", "use a name below the Network's dns.domain")
            }
            Self::BridgeNotFound => (
                "BridgeNotFound",
                "Reconciling",
                "Network",
                "create the bridge, or run the agent with --create-bridges",
            ),
            Self::InterfaceNotFound => (
                "InterfaceNotFound",
                "Reconciling",
                "Network",
                "create the interface, or correct the agent's --physical-network",
            ),
            Self::InterfaceUnusable => (
                "InterfaceUnusable",
                "Reconciling",
                "Network",
                "use an interface that nothing else uses, or allow this one as the message says",
            ),
            Self::OpenVSwitchAway => (
                "OpenVSwitchAway",
                "Reconciling",
                "Network",
                "start ovsdb-server and ovs-vswitchd, or give the agent the right --ovs-socket",
            ),
            Self::RefusedByServer => (
                "RefusedByServer",
                "Reconciling",
                "Port",
                "see the message; the agent starts dnsmasq anew and tries again",
            ),
            Self::HostFailed => ("HostFailed", "Reconciling", ALL, "see the message; the agent tries again"),
            Self::NotAnswering => (
                "NotAnswering",
                "Reconciling",
                "Network, Subnet, Port, DHCPServer",
                "see dnsmasq's log and the rules in the network's namespace; the agent starts dnsmasq anew from time to time",
            ),
            Self::ForeignDHCPServer => (
                "ForeignDHCPServer",
                "",
                "Network, DHCPServer",
                "find who has the MAC address that the message names, and stop the DHCP server there: guests may take its answers",
            ),
            Self::ForeignRouter => (
                "ForeignRouter",
                "",
                "Network, DHCPServer",
                "find who has the MAC address that the message names, and stop its router advertisements; or declare its prefix as a Subnet with a gateway",
            ),
            Self::StateUnreadable => (
                "StateUnreadable",
                "Reconciling",
                ALL,
                "restore the file that the message names, or remove it to allocate anew",
            ),
            Self::AddressReleasing => (
                "AddressReleasing",
                "Reconciling",
                "Port",
                "wait until all servers have forgotten who had the address, or ask for another one",
            ),
            Self::FewerServers => (
                "FewerServers",
                "",
                "Network",
                "guests are answered; see the condition Scheduled and the DHCPServers for why not by all",
            ),
            Self::SingleServer => (
                "SingleServer",
                "",
                "Network",
                "nothing to do; or raise dhcp.servers, or give the nodes the kernel module that the message names",
            ),
            Self::AddressHeldByPredecessor => (
                "AddressHeldByPredecessor",
                "",
                "Network, DHCPServer",
                "connect the node that the message names to the API server again, or switch it off and delete its Node",
            ),
            Self::NoAgent => (
                "NoAgent",
                "Reconciling",
                "Network, PhysicalNetwork",
                "run an agent that reaches the physical network, or remove what the message names",
            ),
            Self::NoServerReady => (
                "NoServerReady",
                "Reconciling",
                "Network, Subnet, Port",
                "see the conditions of the Network's DHCPServers",
            ),
            Self::MetadataNotServed => (
                "MetadataNotServed",
                "",
                "Network, DHCPServer",
                "start the agents with --metadata-upstream, or see the message; all else is served",
            ),
            Self::LeaseExpired => (
                "LeaseExpired",
                "Reconciling",
                "DHCPAgent, DHCPServer",
                "see whether the node and its agent's pod run and reach the API server",
            ),
            Self::MassLeaseExpiry => (
                "MassLeaseExpiry",
                "Reconciling",
                "DHCPAgent",
                "see whether the nodes reach the API server; nothing is moved meanwhile",
            ),
            Self::Withdrawn => {
                ("Withdrawn", "Reconciling", "DHCPServer", "nothing to do: another one serves")
            }
            Self::AddressDeclined => (
                "AddressDeclined",
                "",
                "Port",
                "find who has the MAC address that the message names and give it another address: the guest is served as soon as nobody else answers there",
            ),
            Self::LeaseHeldByOther => (
                "LeaseHeldByOther",
                "",
                "Port",
                "see `kube-dhcp leases`; the agent takes it back by itself where dnsmasq lets it",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
