//! What the controller counts, in Prometheus' terms.
//!
//! Written by its loop and tasks, read by `serve`. What is registered here and by `overview` is the list of
//! the controller's metrics; docs/metrics.md is made of it.

use std::sync::{Arc, OnceLock, Weak};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::Shared;
use super::overview::Overview;
use crate::cluster::failures::Failures;

const PREFIX: &str = "kube_dhcp_controller";

/// All metrics; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Turns of networks, in seconds.
    pub passes: Histogram,
    /// Of those what it took to decide, in seconds.
    pub decisions: Histogram,
    /// Turns that failed.
    pub failures: Counter,
    /// Requests to the API server that failed.
    pub api_failures: Failures,
    /// 1 while this process leads.
    pub leading: Gauge,
    /// 1 when all objects are known.
    pub synced: Gauge,
    shared: Arc<OnceLock<Weak<Shared>>>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            passes: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            decisions: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            failures: Counter::default(),
            api_failures: Failures::default(),
            leading: Gauge::default(),
            synced: Gauge::default(),
            shared: Arc::default(),
            registry: Arc::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }
}

impl Metrics {
    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        crate::metrics::register_build(&mut registry);
        registry.register("leading", "1 for the controller that leads", self.leading.clone());
        registry.register("synced", "1 when all objects are known", self.synced.clone());
        registry.register(
            "api_failures",
            "Requests to the API server that failed",
            self.api_failures.0.clone(),
        );
        let failures = "Turns of networks that failed, and are tried again";
        registry.register("failures", failures, self.failures.clone());
        registry.register("pass_duration_seconds", "Turns of networks", self.passes.clone());
        let decisions = "Of those what it took to decide, without the writes";
        registry.register("decision_duration_seconds", decisions, self.decisions.clone());
        registry
    }

    /// From here on the objects are counted, too.
    pub(super) fn look_at(&self, shared: &Arc<Shared>) {
        // A process has one controller.
        let _ = self.shared.set(Arc::downgrade(shared));
    }

    /// All of it in the `OpenMetrics` text format. Of the objects only the leader tells: all know the same,
    /// and sums would count them twice.
    pub fn text(&self) -> String {
        let shared = self.shared.get().and_then(Weak::upgrade).filter(|_| self.leading.get() == 1);
        self.text_with(shared.map(|shared| Overview::new(&shared.world())))
    }

    /// The same with these objects.
    pub(super) fn text_with(&self, overview: Option<Overview>) -> String {
        let mut objects = Registry::with_prefix(PREFIX);
        if let Some(overview) = overview {
            overview.register(&mut objects);
        }
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &objects);
        let _ = encode_eof(&mut text);
        text
    }
}

#[cfg(test)]
impl Metrics {
    /// With all that there can be in it.
    pub(crate) fn example() -> String {
        let metrics = Self::default();
        for failure in crate::cluster::failures::Failure::ALL {
            metrics.api_failures.count(failure);
        }
        metrics.text_with(Some(Overview::example()))
    }
}
