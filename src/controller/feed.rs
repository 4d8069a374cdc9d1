//! The controller's watches, and how what they see gets into the world.
//!
//! Part of the controller's loop. One watch for each kind, all namespaces.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::Shared;
use super::nodes::NodeFacts;
use super::world::{Kind, Object, World};
use crate::api::{DHCPAgent, DHCPServer, IPAllocation, Network, PhysicalNetwork, Port, Subnet};
use crate::cluster::client::Connection;
use crate::cluster::watch::{Pace, Seen, Selection, Unreadable, Watched, follow};
use crate::cluster::write::{self, limited};
use crate::liveness::Liveness;
use crate::types::{ObjectName, Revision};

/// What the watches say.
pub(super) enum Feed {
    /// All objects of a kind.
    Listed(Kind, Vec<Object>, Vec<Unread>, Revision),
    Applied(Kind, Object, Revision),
    Deleted(Kind, ObjectName, Option<String>, Revision),
    /// One is new or changed, and cannot be read.
    Unreadable(Kind, Unread),
    Reached(Kind, Revision),
    Broken(Kind, String),
    /// All Leases are known.
    LeasesListed,
    Lease {
        name: String,
        revision: String,
        valid_for: Duration,
    },
    LeasesBroken,
}

/// An object that cannot be read, and its network, if that can be.
type Unread = (ObjectName, Option<String>);

/// One that is not renewed within this time by anybody, not even by us, is not seen to be.
const SILENCE: Duration = Duration::from_secs(6);
const QUEUE: usize = 4_096;
const AGENT: &str = "agent-";

/// A reading of the clock that all verdicts use.
pub(super) fn now() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// All watches.
pub(super) struct Feeds {
    tasks: Vec<AbortHandle>,
    known: Known,
    last_lease: Duration,
    broken: BTreeSet<Kind>,
}

impl Feeds {
    pub(super) fn open(connection: &Connection, namespace: &str) -> (Self, mpsc::Receiver<Feed>) {
        let (tell, feed) = mpsc::channel(QUEUE);
        let pace = Pace::new(connection.pulse.clone());
        let open = Opener { client: connection.client.clone(), tell, pace };
        let tasks = vec![
            open.kind::<Network>(Kind::Network, |o| Object::Network(Arc::new(o))),
            open.kind::<Subnet>(Kind::Subnet, |o| Object::Subnet(Arc::new(o))),
            open.kind::<Port>(Kind::Port, |o| Object::Port(Arc::new(o))),
            open.kind::<DHCPServer>(Kind::Server, |o| Object::Server(Arc::new(o))),
            open.kind::<IPAllocation>(Kind::Allocation, |o| Object::Allocation(Arc::new(o))),
            open.kind::<PhysicalNetwork>(Kind::Physical, |o| Object::Physical(Arc::new(o))),
            open.kind::<DHCPAgent>(Kind::Agent, |o| Object::Agent(Arc::new(o))),
            open.kind::<Node>(Kind::Node, |o| Object::Node(o.name_any(), Arc::new(NodeFacts::new(&o)))),
            open.kind::<Namespace>(Kind::Namespace, |o| {
                Object::Namespace(o.name_any(), Arc::new(o.labels().clone()))
            }),
            open.leases(namespace),
        ];
        (Self { tasks, known: Known::default(), last_lease: now(), broken: BTreeSet::new() }, feed)
    }

    /// Whether all objects are known.
    pub(super) fn are_synced(&self) -> bool {
        self.known.is_all()
    }

    /// Whether renewals would not be seen.
    pub(super) fn is_silent(&self, now: Duration) -> bool {
        now.saturating_sub(self.last_lease) > SILENCE
    }

    pub(super) fn take(&mut self, seen: Feed, shared: &Shared, liveness: &mut Liveness) {
        match seen {
            Feed::Listed(kind, objects, unreadable, revision) => {
                self.mend(kind);
                let touched = list(&mut shared.world(), kind, objects, unreadable, revision);
                shared.touch(touched);
                tell(self.known.all_of(kind), shared);
            }
            Feed::Applied(kind, object, revision) => {
                self.mend(kind);
                let mut world = shared.world();
                reached(&mut world, kind, revision);
                let touched = world.apply(object);
                drop(world);
                shared.touch(touched);
            }
            Feed::Deleted(kind, name, uid, revision) => {
                self.mend(kind);
                let mut world = shared.world();
                reached(&mut world, kind, revision);
                let touched = world.deleted(kind, &name, uid.as_deref(), revision);
                drop(world);
                shared.touch(touched);
            }
            Feed::Unreadable(kind, unread) => {
                self.mend(kind);
                shared.world().unreadable(kind, [unread]);
            }
            Feed::Reached(kind, revision) => {
                self.mend(kind);
                reached(&mut shared.world(), kind, revision);
            }
            Feed::Broken(kind, why) => {
                if self.broken.insert(kind) {
                    warn!("{why}");
                }
            }
            Feed::LeasesListed => {
                tell(self.known.all_leases(), shared);
                self.seen(liveness, now());
            }
            lease => self.lease(lease, liveness),
        }
    }

    fn mend(&mut self, kind: Kind) {
        if self.broken.remove(&kind) {
            info!(?kind, "watching again");
        }
    }

    fn lease(&mut self, seen: Feed, liveness: &mut Liveness) {
        let now = now();
        match seen {
            Feed::Lease { name, revision, valid_for } => {
                if let Some(node) = name.strip_prefix(AGENT) {
                    liveness.observe(node, &revision, valid_for, now);
                }
                if self.known.leases {
                    self.seen(liveness, now);
                }
            }
            _ => liveness.blind(now),
        }
    }

    fn seen(&mut self, liveness: &mut Liveness, now: Duration) {
        self.last_lease = now;
        liveness.sighted(now);
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// What was listed at least once.
#[derive(Default)]
struct Known {
    kinds: BTreeSet<Kind>,
    leases: bool,
}

impl Known {
    fn is_all(&self) -> bool {
        self.leases && self.kinds.len() == KINDS.len()
    }

    /// Whether all is known now that was not before.
    fn all_of(&mut self, kind: Kind) -> bool {
        self.kinds.insert(kind) && self.is_all()
    }

    /// Likewise.
    fn all_leases(&mut self) -> bool {
        !std::mem::replace(&mut self.leases, true) && self.is_all()
    }
}

fn tell(all: bool, shared: &Shared) {
    if all {
        info!("all objects are known");
        shared.metrics.synced.set(1);
    }
}

const KINDS: [Kind; 9] = [
    Kind::Network,
    Kind::Subnet,
    Kind::Port,
    Kind::Server,
    Kind::Allocation,
    Kind::Physical,
    Kind::Agent,
    Kind::Node,
    Kind::Namespace,
];

fn list(
    world: &mut World,
    kind: Kind,
    objects: Vec<Object>,
    unreadable: Vec<Unread>,
    revision: Revision,
) -> super::world::Dirty {
    let mut gone = world.names(kind);
    for (name, _) in &unreadable {
        gone.remove(name);
    }
    let mut touched = super::world::Dirty::new();
    for object in objects {
        gone.remove(&object.name());
        touched.extend(world.replace(object));
    }
    for name in gone {
        touched.extend(world.remove(kind, &name, revision));
    }
    world.unreadable(kind, unreadable);
    reached(world, kind, revision);
    touched
}

fn reached(world: &mut World, kind: Kind, revision: Revision) {
    if kind == Kind::Port {
        world.ports_revision = revision;
    }
}

/// Learns all allocations from the API server itself: another leader may have made some of which our
/// watch has not told yet.
pub(super) async fn refresh(shared: &Shared) -> Result<(), write::Error> {
    let api: Api<IPAllocation> = Api::all(shared.client.clone());
    let mut params = ListParams::default().limit(500);
    loop {
        let page = limited(api.list(&params)).await?;
        for allocation in page.items {
            let touched = shared.world().apply(Object::Allocation(Arc::new(allocation)));
            shared.touch(touched);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

struct Opener {
    client: Client,
    tell: mpsc::Sender<Feed>,
    pace: Pace,
}

impl Opener {
    fn kind<K: Watched>(&self, kind: Kind, object: fn(K) -> Object) -> AbortHandle {
        let tell = self.tell.clone();
        let listener = async move |seen: Seen<K>| {
            let feed = match seen {
                Seen::Listed(objects, unreadable, at) => {
                    unreadable.iter().for_each(warn_of::<K>);
                    let names = unreadable.into_iter().map(unread).collect();
                    Feed::Listed(kind, objects.into_iter().map(object).collect(), names, at)
                }
                Seen::Applied(o, at) => Feed::Applied(kind, object(o), at),
                Seen::Deleted(gone, at) => {
                    Feed::Deleted(kind, ObjectName::new(gone.namespace, gone.name), gone.uid, at)
                }
                Seen::Reached(at) => Feed::Reached(kind, at),
                Seen::Broken(why) => Feed::Broken(kind, why),
                Seen::Reconnected => return true,
                Seen::Unreadable(unreadable) => {
                    warn_of::<K>(&unreadable);
                    Feed::Unreadable(kind, unread(unreadable))
                }
            };
            tell.send(feed).await.is_ok()
        };
        let (client, pace) = (self.client.clone(), self.pace.clone());
        tokio::spawn(follow(client, Selection::default(), pace, listener)).abort_handle()
    }

    fn leases(&self, namespace: &str) -> AbortHandle {
        let tell = self.tell.clone();
        let listener = async move |seen: Seen<Lease>| {
            let feeds = match seen {
                Seen::Listed(leases, ..) => leases.iter().map(lease).chain([Feed::LeasesListed]).collect(),
                Seen::Applied(o, _) => vec![lease(&o)],
                Seen::Broken(_) => vec![Feed::LeasesBroken],
                // A Lease that is deleted is one that is not renewed.
                Seen::Deleted(..) | Seen::Reached(_) | Seen::Unreadable(..) | Seen::Reconnected => Vec::new(),
            };
            for feed in feeds {
                if tell.send(feed).await.is_err() {
                    return false;
                }
            }
            true
        };
        let selection = Selection { namespace: Some(namespace.to_owned()), fields: None };
        let (client, pace) = (self.client.clone(), self.pace.clone());
        tokio::spawn(follow(client, selection, pace, listener)).abort_handle()
    }
}

fn unread(unreadable: Unreadable) -> Unread {
    (ObjectName::new(unreadable.namespace, unreadable.name), unreadable.network)
}

fn warn_of<K: Watched>(unreadable: &Unreadable) {
    let (what, Unreadable { namespace, name, why, .. }) = (K::kind(&()), unreadable);
    warn!("{what} {namespace}/{name} cannot be read by this version, what was known stays: {why}");
}

fn lease(lease: &Lease) -> Feed {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(15);
    Feed::Lease {
        name: lease.name_any(),
        revision: lease.meta().resource_version.clone().unwrap_or_default(),
        valid_for: Duration::from_secs(u64::try_from(seconds).unwrap_or(15)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_known_once_whatever_comes_last() {
        let mut known = Known::default();
        assert!(!known.all_leases());
        let told = KINDS.map(|kind| known.all_of(kind));
        assert_eq!(told.iter().filter(|all| **all).count(), 1);
        assert!(told[8] && !known.all_of(KINDS[0]) && !known.all_leases());
        let mut known = Known::default();
        assert!(KINDS.into_iter().all(|kind| !known.all_of(kind) && !known.is_all()));
        assert!(known.all_leases() && known.is_all());
    }
}
