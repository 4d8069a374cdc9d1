//! What the controller counts, in Prometheus' terms.
//!
//! Written by its loop and tasks, read by `serve`.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// All metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Turns of networks, in seconds.
    pub passes: Histogram,
    /// Of those what it took to decide, in seconds.
    pub decisions: Histogram,
    /// Turns that failed.
    pub failures: Counter,
    /// 1 while this process leads.
    pub leading: Gauge,
    /// 1 when all objects are known.
    pub synced: Gauge,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            passes: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            decisions: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            failures: Counter::default(),
            leading: Gauge::default(),
            synced: Gauge::default(),
            registry: Arc::default(),
        };
        let mut all = Registry::with_prefix("kube_dhcp");
        crate::metrics::register_build(&mut all);
        let registry = all.sub_registry_with_prefix("controller");
        registry.register("pass_seconds", "Turns of networks", metrics.passes.clone());
        let decisions = "What it took to decide, without the writes";
        registry.register("decision_seconds", decisions, metrics.decisions.clone());
        registry.register("failures", "Turns that failed", metrics.failures.clone());
        registry.register("leading", "1 while this process leads", metrics.leading.clone());
        registry.register("synced", "1 when all objects are known", metrics.synced.clone());
        metrics.registry = Arc::new(all);
        metrics
    }
}

impl Metrics {
    /// All of it in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
