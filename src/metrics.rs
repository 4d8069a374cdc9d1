//! What the agent counts, in Prometheus' terms.
//!
//! Written by the agent's loop and workers, read by `serve`. Labels are few and bounded: no object's
//! name is one. What is registered here is the list of the agent's metrics; docs/metrics.md is made of it.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::cluster::failures::Failures;
use crate::{about, node};

/// All metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Passes over one network, in seconds.
    pub passes: Histogram,
    /// Actions that succeeded.
    pub actions: Family<KindLabel, Counter>,
    /// Actions, observations and writes that failed.
    pub failures: Family<KindLabel, Counter>,
    /// What came of asking our own servers.
    pub replies: Family<ReplyLabel, Counter>,
    /// From telling dnsmasq to its having read it, in seconds.
    pub reloads: Histogram,
    /// dnsmasq processes that ended without being told to.
    pub exits: Counter,
    /// Starts of dnsmasq.
    pub starts: Counter,
    /// Networks known.
    pub networks: Gauge,
    /// Networks that are ready.
    pub networks_ready: Gauge,
    /// Ports of known networks.
    pub ports: Gauge,
    /// Ports that are ready.
    pub ports_ready: Gauge,
    /// Leases of known networks.
    pub leases: Family<FamilyLabel, Gauge>,
    /// DHCP servers on networks' segments that are not ours.
    pub foreign_dhcp_servers: Gauge,
    /// Routers there that nobody declared.
    pub foreign_routers: Gauge,
    /// Mistakes in manifests, and what is wrong with the API server.
    pub manifest_problems: Gauge,
    /// 1 while serving from the copy of what the API server said last.
    pub from_copy: Gauge,
    /// Guests' requests for metadata.
    pub metadata_requests: Family<ResultLabel, Counter>,
    /// Requests to the API server that failed.
    pub api_failures: Failures,
    /// 1 for each program that is run.
    pub programs: Family<ProgramLabel, Gauge>,
    registry: Arc<Registry>,
}

/// Which program.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ProgramLabel {
    /// By its name.
    pub program: &'static str,
    /// As it says itself.
    pub version: String,
}

/// Says which build this is: `build_info`, always 1.
pub fn register_build(registry: &mut Registry) {
    let build = Info::new([("version", about::VERSION), ("commit", about::COMMIT)]);
    registry.register("build", "Which build this is", build);
}

/// Which kind of action or failure.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindLabel {
    /// As in `Action::kind`.
    pub kind: &'static str,
}

/// What came of asking a server of ours.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReplyLabel {
    /// As in `Reply::kind`.
    pub result: &'static str,
}

/// What became of a request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResultLabel {
    /// As in [`MetadataResult`].
    pub result: MetadataResult,
}

/// What became of a guest's request for metadata.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum MetadataResult {
    /// The metadata server answered, whatever.
    Answered,
    /// No Port has the address that it came from.
    Stranger,
    /// It is none that goes on.
    Refused,
    /// More than a guest, or a network, may have.
    TooMany,
    /// The metadata server did not answer.
    UpstreamFailed,
}

#[cfg(test)]
impl MetadataResult {
    const ALL: [Self; 5] =
        [Self::Answered, Self::Stranger, Self::Refused, Self::TooMany, Self::UpstreamFailed];
}

/// Which IP version.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FamilyLabel {
    /// `IPv4` or `IPv6`.
    pub family: String,
}

impl From<node::Family> for FamilyLabel {
    fn from(family: node::Family) -> Self {
        Self { family: family.to_string() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let mut metrics = Self {
            passes: seconds(),
            actions: Family::default(),
            failures: Family::default(),
            replies: Family::default(),
            reloads: seconds(),
            exits: Counter::default(),
            starts: Counter::default(),
            networks: Gauge::default(),
            networks_ready: Gauge::default(),
            ports: Gauge::default(),
            ports_ready: Gauge::default(),
            leases: Family::default(),
            foreign_dhcp_servers: Gauge::default(),
            foreign_routers: Gauge::default(),
            manifest_problems: Gauge::default(),
            from_copy: Gauge::default(),
            metadata_requests: Family::default(),
            api_failures: Failures::default(),
            programs: Family::default(),
            registry: Arc::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }
}

impl Metrics {
    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("kube_dhcp_agent");
        register_build(&mut registry);
        registry.register("program_info", "The programs that are run", self.programs.clone());
        registry.register("networks", "Networks that this node is to serve", self.networks.clone());
        registry.register(
            "networks_ready",
            "Networks whose guests this node answers",
            self.networks_ready.clone(),
        );
        registry.register("ports", "Ports of known networks", self.ports.clone());
        registry.register("ports_ready", "Ports that dnsmasq has accepted", self.ports_ready.clone());
        registry.register(
            "leases",
            "Leases that this node's servers hold; at most ten seconds old",
            self.leases.clone(),
        );
        registry.register(
            "last_good_copy",
            "1 while serving from the copy of what the API server said last",
            self.from_copy.clone(),
        );
        registry.register(
            "api_failures",
            "Requests to the API server that failed",
            self.api_failures.0.clone(),
        );
        registry.register("dnsmasq_starts", "Starts of dnsmasq", self.starts.clone());
        registry.register("dnsmasq_exits", "Ends of dnsmasq that nobody asked for", self.exits.clone());
        registry.register(
            "foreign_dhcp_servers",
            "DHCP servers on networks' segments that are not ours",
            self.foreign_dhcp_servers.clone(),
        );
        registry.register(
            "foreign_routers",
            "Routers on networks' segments that nobody declared",
            self.foreign_routers.clone(),
        );
        registry.register(
            "replies",
            "What came of asking our own servers what a guest would ask",
            self.replies.clone(),
        );
        registry.register(
            "metadata_requests",
            "Guests' requests for metadata, by what became of them",
            self.metadata_requests.clone(),
        );
        registry.register(
            "manifest_problems",
            "Mistakes in manifests, and what is wrong with the API server",
            self.manifest_problems.clone(),
        );
        registry.register("actions", "Changes on the node that succeeded", self.actions.clone());
        registry.register(
            "failures",
            "Changes on the node, looks at it and reports that failed, and are tried again",
            self.failures.clone(),
        );
        registry.register("pass_duration_seconds", "Passes over one network", self.passes.clone());
        registry.register(
            "reload_duration_seconds",
            "From telling dnsmasq of a change to its having read it",
            self.reloads.clone(),
        );
        registry
    }

    /// Says which version of a program is run.
    pub fn runs(&self, program: &'static str, version: String) {
        self.programs.get_or_create(&ProgramLabel { program, version }).set(1);
    }

    /// Counts a success.
    pub fn acted(&self, kind: &'static str) {
        self.actions.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a failure.
    pub fn failed(&self, kind: &'static str) {
        self.failures.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a guest's request for metadata.
    pub fn metadata(&self, result: MetadataResult) {
        self.metadata_requests.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts what came of asking a server of ours.
    pub fn replied(&self, result: &'static str) {
        self.replies.get_or_create(&ReplyLabel { result }).inc();
    }

    /// All of it in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests;
