//! The texts of reasons: a row of the table in the docs for each.
//!
//! Read by `reason` only. Pure.

use super::Reason;

impl Reason {
    /// Name, condition while true, kinds, cure.
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    pub(super) fn row(self) -> (&'static str, &'static str, &'static str, &'static str) {
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
            Self::NoSubnet => (
                "NoSubnet",
                "Reconciling",
                "Network, Port",
                "create a Subnet of the Network, with DHCP; a Port that asks for DHCP asks for an address of one",
            ),
            Self::PhysicalNetworkNotFound => (
                "PhysicalNetworkNotFound",
                "Reconciling",
                "PhysicalNetwork, Network, DHCPAgent",
                "create the PhysicalNetwork, or map the physical network with the agent's --physical-network, as the message says",
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
            Self::DuplicateIdentity => (
                "DuplicateIdentity",
                "Reconciling",
                "Port",
                "correct the identity, or the MAC address, here or at the Port that the message names",
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
            Self::RefusedByAPIServer => (
                "RefusedByAPIServer",
                "Reconciling",
                "Network, Port",
                "see to what the message says: a quota of the namespace or an admission policy may refuse IPAllocations and DHCPServers",
            ),
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
                "use an interface that nothing else uses, allow this one, set the bridge up, or have it filter VLANs, as the message says",
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
            Self::AgentLacksFeature => (
                "AgentLacksFeature",
                "Reconciling",
                "Network, Subnet, Port",
                "have the agent of the node that the message names upgraded, or another node reach the physical network; all else is served",
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
