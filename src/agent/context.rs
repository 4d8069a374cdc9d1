//! What the loop and all workers share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::sync::Notify;
use tracing::warn;

use super::Error;
use super::ledger_file;
use super::outbox::Outbox;
use super::signal::Readiness;
use crate::api::{PhysicalNetwork, PhysicalNetworkStatus, Port, PortStatus, Subnet, SubnetStatus};
use crate::cluster::client::Connection;
use crate::conditions::{self, AllDone};
use crate::desired::{Inputs, NodeConfig, SegmentId, lost};
use crate::dnsmasq::Limit;
use crate::durable::{self, Survives};
use crate::fair::Gate;
use crate::host::{Host, bridge_filter_active};
use crate::metadata::Directory;
use crate::metrics::Metrics;
use crate::node::Rule;
use crate::proxy::Proxy;
use crate::report::{self, ManifestProblem, NodeReport, ObjectReport};
use crate::source::{self, Origin};
use crate::store::Store;
use crate::types::{NetworkUid, ObjectName};

/// What the agent is told at its start.
#[derive(Clone)]
pub struct Config {
    /// The node.
    pub node: NodeConfig,
    /// Its name.
    pub node_name: String,
    /// How often everything is looked at although nobody said anything.
    pub resync: Duration,
    /// How many networks a controller may place here.
    pub max_networks: u32,
    /// Where the node's own resolvers are named.
    pub resolv_conf: PathBuf,
    /// The API server, where a controller decides what is served here.
    pub cluster: Option<Connection>,
    /// Who answers requests for metadata; `None`: nobody.
    pub proxy: Option<Arc<Proxy>>,
}

pub(super) struct Context<H> {
    pub(super) host: H,
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    /// Networks that may be built at the same time.
    pub(super) heavy: Gate,
    /// Networks that may be looked at at the same time: each takes a thread and some descriptors.
    pub(super) looks: Gate,
    /// Networks that may write down who has which address at the same time.
    pub(super) pens: Gate,
    pub(super) outbox: Outbox,
    pub(super) beacon: Notify,
    store: Mutex<Store>,
    origin: Mutex<Origin>,
    /// Networks that have a worker: of all others nothing is on the node.
    at_work: Mutex<Option<BTreeSet<NetworkUid>>>,
    saved_segments: Mutex<BTreeMap<SegmentId, ObjectName>>,
    node_forwarders: Mutex<Vec<std::net::IpAddr>>,
    bridges: Mutex<BTreeMap<NetworkUid, String>>,
    problems: Mutex<Vec<ManifestProblem>>,
    taking_down: AtomicBool,
    several_servers: AtomicBool,
    shares_dhcpv6: AtomicBool,
}

impl<H: Host> Context<H> {
    /// Learns whether this node can be one of several that serve a network, and have several servers of DHCPv6
    /// for one.
    pub(super) async fn learn_rules(&self) -> Result<(), Error> {
        self.shares_dhcpv6.store(self.host.can_share_dhcpv6().await, Ordering::Release);
        if self.config.cluster.is_some() && !self.host.can_have(Rule::SelectedOther).await? {
            self.several_servers.store(false, Ordering::Release);
        }
        Ok(())
    }
}

impl<H> Context<H> {
    pub(super) fn new(host: H, config: Config, metrics: Metrics) -> Result<Self, Error> {
        let segments: Vec<(SegmentId, ObjectName)> =
            durable::read(&segments_path(&config.node.state))?.unwrap_or_default();
        let segments: BTreeMap<_, _> = segments.into_iter().collect();
        let store = match config.cluster {
            Some(_) => Store::of_cluster(),
            None => Store::with_segments(segments.clone()),
        };
        let context = Self {
            host,
            config,
            metrics,
            readiness: Readiness::default(),
            heavy: Gate::for_each(HEAVY),
            looks: Gate::for_each(LOOKS),
            pens: Gate::for_each(PENS),
            saved_segments: Mutex::new(segments),
            outbox: Outbox::default(),
            beacon: Notify::new(),
            store: Mutex::new(store),
            origin: Mutex::default(),
            at_work: Mutex::default(),
            node_forwarders: Mutex::default(),
            bridges: Mutex::default(),
            problems: Mutex::default(),
            taking_down: AtomicBool::new(false),
            several_servers: AtomicBool::new(true),
            shares_dhcpv6: AtomicBool::new(true),
        };
        context.refresh_node();
        Ok(context)
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn uid(&self, name: &ObjectName) -> Option<NetworkUid> {
        let store = self.store();
        let uid = store.network(name)?.metadata.uid.as_deref().unwrap_or_default();
        if !store.is_wanted(name, uid) {
            return None;
        }
        uid.parse().inspect_err(|e| warn!(network = %name, error = %e, "this Network has no usable UID")).ok()
    }

    /// The objects of the network of this name, if it is the one of this UID and is wanted.
    pub(super) fn inputs(&self, name: &ObjectName, uid: NetworkUid) -> Option<Inputs> {
        if self.taking_down.load(Ordering::Acquire) {
            return None;
        }
        let (store, uid) = (self.store(), uid.to_string());
        let inputs = store.inputs(name)?;
        let is_it = inputs.network.metadata.uid.as_deref() == Some(uid.as_str());
        (is_it && store.is_wanted(name, &uid)).then_some(inputs)
    }

    /// Who of a network may ask for metadata.
    pub(super) fn know_guests(&self, uid: NetworkUid, directory: Option<&Directory>) {
        if let Some(proxy) = &self.config.proxy {
            proxy.know(uid, directory.unwrap_or(&Directory::default()));
        }
    }

    /// Nobody of it: it is no more.
    pub(super) fn forget_guests(&self, uid: NetworkUid) {
        if let Some(proxy) = &self.config.proxy {
            proxy.forget(uid);
        }
    }

    /// Nothing of this network is on the node, and nobody is about to change that.
    pub(super) fn is_gone(&self, uid: NetworkUid) -> bool {
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.as_ref().is_some_and(|at_work| !at_work.contains(&uid))
    }

    pub(super) fn set_at_work(&self, networks: BTreeSet<NetworkUid>) {
        *self.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(networks);
    }

    pub(super) fn set_origin(&self, origin: Origin) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = origin;
        self.metrics.from_copy.set(i64::from(origin == Origin::LastGoodCopy));
    }

    pub(super) fn origin(&self) -> Origin {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_down(&self) {
        self.taking_down.store(true, Ordering::Release);
    }

    /// Whether everything is taken down although it is wanted: then what was allocated stays.
    pub(super) fn is_taking_down(&self) -> bool {
        self.taking_down.load(Ordering::Acquire)
    }

    pub(super) fn node(&self) -> NodeConfig {
        let node_forwarders = self.node_forwarders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut limits = self.config.node.limits;
        if !self.shares_dhcpv6.load(Ordering::Acquire) {
            limits.six = Limit::NEVER;
        }
        NodeConfig {
            node_forwarders,
            several_servers: self.can_serve_with_others(),
            limits,
            ..self.config.node.clone()
        }
    }

    /// Whether a network may have a server here and others elsewhere.
    pub(super) fn can_serve_with_others(&self) -> bool {
        self.several_servers.load(Ordering::Acquire)
    }

    /// Reads the node's own resolvers anew. A file that is empty or cannot be read is being written, or
    /// broken: what was known stays.
    pub(super) fn refresh_node(&self) {
        let text = std::fs::read_to_string(&self.config.resolv_conf).unwrap_or_default();
        let found = forwarders(&text);
        if !found.is_empty() {
            *self.node_forwarders.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }

    /// Writes down who has which segment, if that is not what is written; tried again at each resync.
    pub(super) fn save_segments(&self) {
        if self.config.cluster.is_some() {
            return;
        }
        let segments = self.store().segments().clone();
        let mut saved = self.saved_segments.lock().unwrap_or_else(PoisonError::into_inner);
        if *saved == segments {
            return;
        }
        let list: Vec<_> = segments.iter().collect();
        match durable::write(&segments_path(&self.config.node.state), &list, Survives::PowerFailure) {
            Ok(()) => *saved = segments,
            Err(e) => {
                let error = &e as &(dyn std::error::Error + 'static);
                warn!(error, "cannot write down who has which segment");
            }
        }
    }

    /// The networks that our own files speak of: one may be gone but for these.
    pub(super) fn remembered(&self) -> BTreeSet<NetworkUid> {
        let state = &self.config.node.state;
        let in_use = |uid: &NetworkUid| match ledger_file::read(state, *uid) {
            Ok(ledger) => ledger.is_some_and(|ledger| ledger.iter().any(|(_, held)| held.released.is_none())),
            Err(_) => true,
        };
        let ledgers = ledger_file::all(state).into_iter().map(|(uid, _)| uid).filter(in_use);
        report::networks(state).into_iter().flatten().chain(ledgers).collect()
    }

    /// Forgets who had which address of networks that are gone for long.
    pub(super) fn expire_ledgers(&self) {
        let known: BTreeSet<_> = self.store().uids().map(str::to_owned).collect();
        let expired = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age > REMEMBERED);
        for (uid, modified) in ledger_file::all(&self.config.node.state) {
            if !known.contains(&uid.to_string())
                && expired(modified)
                && let Err(e) = ledger_file::remove(&self.config.node.state, uid)
            {
                warn!(error = &e as &(dyn std::error::Error + 'static), "cannot forget a network");
            }
        }
    }

    pub(super) fn set_bridge(&self, uid: NetworkUid, bridge: Option<&str>) {
        let mut bridges = self.bridges.lock().unwrap_or_else(PoisonError::into_inner);
        match bridge {
            Some(bridge) => bridges.insert(uid, bridge.to_owned()),
            None => bridges.remove(&uid),
        };
    }

    pub(super) fn bridges(&self) -> BTreeSet<String> {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn set_problems(&self, problems: &[source::Problem]) {
        let listed: Vec<_> = problems.iter().map(ManifestProblem::from).collect();
        self.metrics.manifest_problems.set(listed.len().try_into().unwrap_or(i64::MAX));
        let mut before = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        for problem in listed.iter().filter(|problem| !before.contains(problem)) {
            warn!(place = problem.place, object = problem.object, "{}", problem.message);
        }
        *before = listed;
    }

    /// What belongs to no network. `before` keeps the times of what did not change.
    pub(super) fn node_report(&self, before: &NodeReport) -> NodeReport {
        let (mut subnets, mut ports) = self.store().orphans();
        subnets.sort_by_cached_key(|subnet| names(&subnet.metadata));
        ports.sort_by_cached_key(|port| names(&port.metadata));
        let now = Timestamp::now();
        NodeReport {
            node: self.config.node_name.clone(),
            version: crate::about::VERSION.to_owned(),
            source: self.origin(),
            bridge_filter_active: bridge_filter_active(),
            metadata: self.config.node.metadata,
            problems: self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            physical_networks: self.physical_reports(before, now),
            subnets: subnets.iter().map(|subnet| lost_subnet(subnet, before, now)).collect(),
            ports: ports.iter().map(|port| lost_port(port, before, now)).collect(),
        }
    }

    fn physical_reports(
        &self,
        before: &NodeReport,
        now: Timestamp,
    ) -> Vec<ObjectReport<PhysicalNetworkStatus>> {
        let store = self.store();
        let report = |(physical, networks): (&Arc<PhysicalNetwork>, usize)| {
            let (namespace, name) = names(&physical.metadata);
            let old = conditions_of(&before.physical_networks, &namespace, &name, |s| &s.conditions);
            let mapped = self.config.node.attachments.contains_key(&name);
            let generation = physical.metadata.generation.unwrap_or(0);
            let status = conditions::physical_network(&name, networks, mapped, generation, now, old);
            ObjectReport::new(namespace, name, status)
        };
        store.physical_networks().map(report).collect()
    }
}

fn lost_subnet(subnet: &Subnet, before: &NodeReport, now: Timestamp) -> ObjectReport<SubnetStatus> {
    let (namespace, name) = names(&subnet.metadata);
    let (view, _) = lost(&subnet.spec.network_ref.name);
    let old = conditions_of(&before.subnets, &namespace, &name, |s| &s.conditions);
    let generation = subnet.metadata.generation.unwrap_or(0);
    let status = conditions::subnet(&name, &view, &AllDone, generation, now, old);
    ObjectReport::new(namespace, name, status)
}

fn lost_port(port: &Port, before: &NodeReport, now: Timestamp) -> ObjectReport<PortStatus> {
    let (namespace, name) = names(&port.metadata);
    let (_, view) = lost(&port.spec.network_ref.name);
    let old = conditions_of(&before.ports, &namespace, &name, |s| &s.conditions);
    let generation = port.metadata.generation.unwrap_or(0);
    let status = conditions::port(&name, &view, &AllDone, generation, now, old);
    let network = Some(port.spec.network_ref.name.clone());
    ObjectReport { network, ..ObjectReport::of_port(namespace, name, port, status) }
}

/// Namespace and name of an object.
pub(super) fn names(metadata: &kube::core::ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

const LOOKS: usize = 32;
const PENS: usize = 8;

/// How long a network that is gone may come back and find everybody at their addresses.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// Enough to overlap the kernel's waits, few enough that a start does not starve what runs.
const HEAVY: usize = 8;

/// Who has which segment.
pub(crate) fn segments_path(state: &Path) -> PathBuf {
    state.join("segments.json")
}

/// The conditions that were reported for an object.
pub(super) fn conditions_of<'a, S>(
    reports: &'a [ObjectReport<S>],
    namespace: &str,
    name: &str,
    conditions: impl Fn(&'a S) -> &'a Vec<Condition>,
) -> &'a [Condition] {
    // Reports are in the order of names.
    let at = reports.binary_search_by(|r| (r.namespace.as_str(), r.name.as_str()).cmp(&(namespace, name)));
    at.map_or(&[], |at| conditions(&reports[at].status))
}

/// The name servers of resolv.conf(5) that can be reached from a network's namespace: not the node's
/// loopback.
fn forwarders(text: &str) -> Vec<std::net::IpAddr> {
    let server = |line: &str| line.strip_prefix("nameserver")?.trim().parse().ok();
    text.lines().filter_map(server).filter(|ip: &std::net::IpAddr| !ip.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_resolvers_are_those_that_others_can_reach() {
        let text = "# c\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch a\nnameserver 2001:db8::1\n";
        assert_eq!(
            forwarders(text),
            ["192.0.2.1".parse::<std::net::IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]
        );
    }
}
