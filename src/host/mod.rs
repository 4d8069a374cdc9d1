//! The node itself: namespaces, links, firewall, dnsmasq's files and processes.
//!
//! Called by the agent's loop, `kube-dhcp plan` and tests. It observes and does what it is told; it
//! never decides what a node should hold. Every action may be repeated, and whatever it was in the
//! middle of when the agent died is seen by the next observation.

mod ask;
mod base;
mod device;
mod dnsmasq;
mod dry_run;
mod error;
mod ethtool;
mod files;
mod firewall;
mod gate;
mod inside;
mod kernel;
mod link;
mod linux;
mod machine;
mod macvlan;
mod metadata;
mod monitor;
mod neighbour;
mod netlink;
mod netns;
mod newcomers;
mod nft;
mod observe;
mod orphans;
mod overhear;
mod ovs;
mod packet;
mod probe;
mod process;
mod question;
mod release;
mod removal;
mod rooms;
mod route;
mod server_files;
mod server_log;
mod solicit;
mod state_lock;
mod survey;
mod vlan;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::dnsmasq::{Lease, Message, Share};
use crate::foreign::Heard;
use crate::node::{Action, Attached, Newcomer, Rule, Segment};
use crate::types::{Identifier, Identity, MacAddr, NetworkUid};

pub use device::Attaching;
pub use dry_run::DryRun;
pub use error::Error;
pub use files::read as read_text;
pub use linux::{LinuxHost, OVS_SOCKET};
pub use machine::{
    AgentLock, bridge_filter_active, dnsmasq_version, ensure_inotify_instances, has_ipv6, iptables_version,
    raise_descriptor_limit,
};
pub use question::{Asked, Reply, Whom};
pub use server_files::{kept_hosts, kept_networks, layouts};
pub use state_lock::StateLock;

/// What the loop needs of a node.
pub trait Host: Send + Sync + 'static {
    /// Every network of which anything is left on this node.
    fn networks(&self) -> impl Future<Output = Result<BTreeSet<NetworkUid>, Error>> + Send;

    /// What is there of one network. `wanted` is what it is to be attached to, if that is known.
    fn observe(
        &self,
        uid: NetworkUid,
        wanted: Option<&Attached>,
    ) -> impl Future<Output = Result<Segment, Error>> + Send;

    /// Whether rules of this kind can be had on this node.
    fn can_have(&self, rule: Rule) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Whether guests of DHCPv6 can be shared out among several servers on this node; where not, it says why.
    fn can_share_dhcpv6(&self) -> impl Future<Output = bool> + Send;

    /// Does one action. `label` is the network's name for people, such as `team-a/lan-a`.
    fn apply(
        &self,
        uid: NetworkUid,
        label: &str,
        action: &Action,
    ) -> impl Future<Output = Result<Applied, Error>> + Send;

    /// The node's link that devices can be attached to, if it is there; an error, if it may not be used.
    fn link(&self, attached: &Attached) -> impl Future<Output = Result<Option<NodeLink>, Error>> + Send;

    /// Told when a link changes that was asked for by [`link`](Self::link).
    fn links_changed(&self) -> Arc<Notify>;

    /// Tells everybody on a network's segment where its addresses are now.
    fn announce(&self, uid: NetworkUid) -> impl Future<Output = Result<(), Error>> + Send;

    /// Who else answers at these addresses on a network's segment.
    fn who_has(
        &self,
        uid: NetworkUid,
        addresses: &BTreeSet<IpAddr>,
    ) -> impl Future<Output = Result<BTreeMap<IpAddr, MacAddr>, Error>> + Send;

    /// The leases that a network's servers hold.
    fn leases(&self, uid: NetworkUid) -> impl Future<Output = Result<Leases, Error>> + Send;

    /// What a network's servers said of its guests after `from` in their logs; `None`: only where those end.
    fn said(&self, uid: NetworkUid, from: Option<&Ends>) -> impl Future<Output = Result<Said, Error>> + Send;

    /// Who with one of these client identifiers asks a network's server for an address, as far as they do
    /// so within some seconds.
    fn solicitors(
        &self,
        uid: NetworkUid,
        duids: &BTreeSet<String>,
    ) -> impl Future<Output = Result<Vec<Solicitor>, Error>> + Send;

    /// Guests with one of these identifiers that say anything to a network's server of DHCPv6 from now on,
    /// for as long as there is its device.
    fn newcomers(
        &self,
        uid: NetworkUid,
        duids: &BTreeSet<Identifier>,
    ) -> impl Future<Output = Result<mpsc::Receiver<Newcomer>, Error>> + Send;

    /// What a network's processes answer to a guest's questions, by their address.
    fn ask(
        &self,
        uid: NetworkUid,
        asked: &Asked,
    ) -> impl Future<Output = Result<BTreeMap<Whom, Reply>, Error>> + Send;

    /// What servers and routers say on a network's segment from now on, for as long as there is its device.
    fn overhear(&self, uid: NetworkUid) -> impl Future<Output = Result<mpsc::Receiver<Heard>, Error>> + Send;

    /// Removes the bridges that we made, that have no port and that are not in `wanted`.
    fn sweep_bridges(&self, wanted: &BTreeSet<String>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Networks to which something happened that we did not do. Whoever asks first gets them; for
    /// everybody else the channel is closed.
    fn events(&self) -> mpsc::Receiver<NetworkUid>;

    /// Networks whose server wrote down something: a lease, or what it thinks of a guest. Whoever asks
    /// first gets them.
    fn writes(&self) -> mpsc::Receiver<NetworkUid>;
}

/// A link of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLink {
    /// Whether it is set up.
    pub up: bool,
    /// In bytes, where it is one for all that are attached.
    pub mtu: Option<u32>,
    /// It is a Linux bridge that keeps VLANs apart.
    pub filters_vlans: bool,
}

/// What came of an action that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// What dnsmasq did not take of the lines it was given.
    pub refused: Vec<Refused>,
    /// dnsmasq keeps the lease that it was to give up.
    pub kept: bool,
}

/// What a server said of its guests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The identifiers of clients of DHCPv6 that got no address because all of theirs are leased.
    pub without_address: BTreeSet<String>,
    /// Addresses that their guests declined, and by which device, as far as that is told.
    pub declined: BTreeMap<IpAddr, Option<MacAddr>>,
    /// All of their words.
    pub messages: Vec<Message>,
    /// Where their logs end.
    pub ends: Ends,
}

/// Where logs end, by whose they are.
pub type Ends = BTreeMap<Option<Share>, u64>;

/// Leases, by whose guests they are.
pub type Leases = BTreeMap<Option<Share>, BTreeMap<IpAddr, Lease>>;

/// Who asks for an address by DHCPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solicitor {
    /// Whose frame it was.
    pub mac: MacAddr,
    /// Its client identifier, in hex with colons.
    pub duid: String,
    /// Its identity associations.
    pub iaids: BTreeSet<u32>,
}

/// A line that dnsmasq did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The port it was for; `None`: it was an option or a name.
    pub identity: Option<Identity>,
    /// dnsmasq's words, and the line where they do not name it.
    pub message: String,
}

/// Something happened to a network. Nobody may be listening, and nobody is waited for: the next pass
/// sees it, too.
fn tell(events: &mpsc::Sender<NetworkUid>, uid: NetworkUid) {
    if let Err(error) = events.try_send(uid) {
        tracing::debug!(network_uid = %uid, %error, "nobody takes this event");
    }
}
