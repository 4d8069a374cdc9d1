//! A network's part of the sums over all networks.
//!
//! Used by its worker.

use crate::api::{ServedLeases, is_true};
use crate::metrics::Metrics;
use crate::node::Family;
use crate::report::NetworkReport;

/// Networks that are ready, Ports, those that are ready, leases of IPv4, of IPv6.
#[derive(Debug, Default)]
pub(super) struct Sums([i64; 5]);

/// A network's part.
pub(super) fn of(report: &NetworkReport, leases: ServedLeases) -> [i64; 5] {
    let ports = report.status.ports.unwrap_or_default();
    let ready = is_true(&report.status.conditions, "Ready");
    [ready.into(), ports.total.into(), ports.ready.into(), leases.ipv4.into(), leases.ipv6.into()]
}

impl Sums {
    /// Brings the sums up to date with what is so now.
    pub(super) fn count(&mut self, metrics: &Metrics, now: [i64; 5]) {
        let [v4, v6] = Family::ALL.map(|family| metrics.leases.get_or_create_owned(&family.into()));
        let sums = [&metrics.networks_ready, &metrics.ports, &metrics.ports_ready, &v4, &v6];
        for ((sum, now), before) in sums.into_iter().zip(now).zip(self.0) {
            sum.inc_by(now - before);
        }
        self.0 = now;
    }
}
