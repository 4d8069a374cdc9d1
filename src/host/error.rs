//! What can go wrong on a node: one variant for each verb, with the name of what it acted on.

use std::io;
use std::path::{Path, PathBuf};

/// Why the node could not be observed or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// A file or directory.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
    /// A file or directory.
    #[error("cannot remove {0}")]
    Remove(PathBuf, #[source] io::Error),
    /// dnsmasq drops its privileges and must still reach its files.
    #[error(
        "{0} is closed to other users, and dnsmasq's user must reach the state directory below it: chmod o+x {0}"
    )]
    NotTraversable(PathBuf),
    /// One agent for a machine.
    #[error("another agent runs on this machine, with pid {pid} (it holds {})", lock.display())]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// What the lock file says.
        pid: String,
    },
    /// One agent for a state directory.
    #[error("another agent serves from this state directory (it holds {0})")]
    StateInUse(PathBuf),
    /// More dnsmasq processes than the kernel has inotify instances for.
    #[error(
        "fs.inotify.max_user_instances is {limit} and cannot be raised to {wanted}: raise it, each network needs one"
    )]
    InotifyLimit {
        /// What it is.
        limit: usize,
        /// What is needed.
        wanted: usize,
        /// Why it could not be set.
        source: io::Error,
    },
    /// A thread, a socket or another thing that every machine has.
    #[error("cannot open {0}")]
    Open(&'static str, #[source] io::Error),
    /// A task or thread of ours ended without an answer.
    #[error("{0} ended early")]
    Interrupted(&'static str),
    /// By its name.
    #[error("cannot create network namespace {0}")]
    CreateNamespace(String, #[source] io::Error),
    /// By its name.
    #[error("cannot join network namespace {0}")]
    JoinNamespace(String, #[source] io::Error),
    /// By its name.
    #[error("cannot delete network namespace {0}")]
    DeleteNamespace(String, #[source] io::Error),
    /// By its name.
    #[error("network namespace {0} does not exist")]
    NoNamespace(String),
    /// Setting below `/proc/sys`.
    #[error("cannot set {0}")]
    SetSysctl(String, #[source] io::Error),
    /// All interfaces, addresses, routes or neighbours.
    #[error("cannot list {0}")]
    List(&'static str, #[source] rtnetlink::Error),
    /// An interface, by name.
    #[error("cannot look up interface {0}")]
    GetLink(String, #[source] rtnetlink::Error),
    /// An interface, by name.
    #[error("cannot create interface {0}")]
    CreateLink(String, #[source] rtnetlink::Error),
    /// An interface, by name.
    #[error("cannot change interface {0}")]
    ChangeLink(String, #[source] rtnetlink::Error),
    /// An interface, by name.
    #[error("cannot delete interface {0}")]
    DeleteLink(String, #[source] rtnetlink::Error),
    /// An interface, by name.
    #[error("there is no interface {0}")]
    NoLink(String),
    /// Somebody else's to make.
    #[error("there is no bridge {0} on this node: create it, or let the agent do so with --create-bridges")]
    BridgeMissing(String),
    /// Somebody else's to set up.
    #[error("bridge {0} is down: set it up (ip link set {0} up)")]
    BridgeDown(String),
    /// By its name.
    #[error("interface {0} is not a bridge")]
    NotABridge(String),
    /// By its name.
    #[error(
        "bridge {0} does not filter VLANs: turn that on (ip link set {0} type bridge vlan_filtering 1), or map the physical network to a bridge for each VLAN, like bridge:br-{{vlan}}"
    )]
    NoVlans(String),
    /// Ports that are said nothing of have it.
    #[error(
        "VLAN {vlan} is the default of bridge {bridge}, which its untagged ports are in: give it another one (ip link set {bridge} type bridge vlan_default_pvid 0)"
    )]
    DefaultVlan {
        /// By its name.
        bridge: String,
        /// Which.
        vlan: u16,
    },
    /// Of a port of a bridge, by its name.
    #[error("cannot read the VLANs of {0}")]
    ReadVlans(String, #[source] io::Error),
    /// The parent of a macvlan, somebody else's to make.
    #[error("there is no interface {0} on this node")]
    ParentMissing(String),
    /// The parent of a macvlan, and why it is none.
    #[error("interface {0} cannot have macvlans: it is {1}")]
    NotAParent(String, &'static str),
    /// The parent of a macvlan, and what of the node's it carries.
    #[error("interface {0} carries {1}: use one without, or run the agent with --macvlan-on-node-interfaces")]
    ParentInUse(String, String),
    /// A macvlan cannot have more than its parent.
    #[error("mtu {mtu} is more than interface {parent} carries: {most}")]
    MtuTooLarge {
        /// Wanted.
        mtu: u32,
        /// Interface name.
        parent: String,
        /// The parent's.
        most: u32,
    },
    /// By its socket.
    #[error("cannot speak to Open vSwitch at {0}")]
    OvsAway(PathBuf, #[source] io::Error),
    /// Somebody else's to make.
    #[error("Open vSwitch has no bridge {0}: create it (ovs-vsctl add-br {0})")]
    OvsBridgeMissing(String),
    /// By its name.
    #[error("Open vSwitch does not take port {port}: {message}")]
    OvsRefused {
        /// The device.
        port: String,
        /// In its own words.
        message: String,
    },
    /// A device that a program reads.
    #[error("cannot turn the checksum offload of the DHCP device off")]
    Offload(#[source] io::Error),
    /// With its prefix.
    #[error("cannot change address {0}")]
    ChangeAddress(ipnet::IpNet, #[source] rtnetlink::Error),
    /// The default route.
    #[error("cannot change the default route")]
    ChangeRoute(#[source] rtnetlink::Error),
    /// The permanent entries of the DHCP device.
    #[error("cannot change the neighbour table")]
    ChangeNeighbours(#[source] io::Error),
    /// The table in front of the DHCPv6 server, or of the metadata service.
    #[error("cannot change an nftables table")]
    ChangeFilter(#[source] io::Error),
    /// A network with IPv6, metadata or very many ports cannot do without.
    #[error(
        "this kernel has no nftables, and DHCPv6, metadata and large networks need it: load the module nf_tables"
    )]
    NoNftables(#[source] io::Error),
    /// iptables or ip6tables, in its own words.
    #[error("{command} failed: {message}")]
    Firewall {
        /// Which of the two.
        command: &'static str,
        /// Exit code and stderr.
        message: String,
    },
    /// There is nobody to forward to.
    #[error("no metadata server was named: start the agent with --metadata-upstream")]
    NoMetadataServer,
    /// Of the family `ip` or `ip6`.
    #[error("cannot read the nftables rules of family {0}")]
    ListRules(&'static str, #[source] io::Error),
    /// No such program.
    #[error("there is no dnsmasq in PATH: install it (Debian: dnsmasq-base)")]
    NoDnsmasq,
    /// It did not start; in its own words.
    #[error("dnsmasq did not start: {message}")]
    Start {
        /// What it said, and what can be done about it.
        message: String,
    },
    /// It started and serves nobody; in its own words.
    #[error("dnsmasq cannot read what it is to serve: {0}")]
    Unread(String),
    /// By its pid.
    #[error("cannot watch process {0}")]
    Watch(i32, #[source] io::Error),
    /// By its pid.
    #[error("cannot signal process {0}")]
    Signal(i32, #[source] io::Error),
    /// By its pid: it is of another user.
    #[error("process {0} is another user's, and the agent may not end it: give it the capability KILL")]
    MayNotSignal(i32),
    /// By its pid: not even after SIGKILL.
    #[error("process {0} does not end")]
    Stuck(i32),
    /// It is not there to take a change.
    #[error("dnsmasq is not running")]
    NotRunning,
    /// It has no address that it could be asked at.
    #[error("the DHCP device has no address")]
    NoAddress,
    /// Whether it has read a change is not known.
    #[error("dnsmasq answered no DNS query for {0} s")]
    Deaf(u64),
    /// The kernel or a program does not come back: in seconds.
    #[error("took longer than {0} s")]
    TookTooLong(u64),
    /// Made by a [`DryRun`](super::DryRun).
    #[error("failed as ordered")]
    Ordered,
}

impl Error {
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read(path, source)
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write(path, source)
    }

    pub(super) fn remove(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Remove(path, source)
    }
}
