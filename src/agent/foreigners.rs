//! Listening for DHCP servers and routers on a network's segment that are none of ours.
//!
//! Used by the network's worker. Nothing is sent for it: it begins some time after the device is there, so
//! that it delays nobody's start.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::context::Context;
use super::ear::Ear;
use super::next::until;
use crate::api::{RouterAdvertisements, Subnet};
use crate::backoff::jittered;
use crate::desired::{Desired, Inputs, server_mac};
use crate::dnsmasq::server_duid;
use crate::foreign::{Foreign, Heard, Kind, Ours};
use crate::host::{Error, Host};
use crate::metrics::Metrics;
use crate::node::Segment;
use crate::reason::Problem;
use crate::types::NetworkUid;

/// After there is a device.
const SOON: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub(super) struct Foreigners {
    foreign: Foreign,
    ear: Ear<Heard>,
    there: Vec<(Kind, Problem)>,
    counted: [i64; 2],
}

impl Foreigners {
    /// Listens from now on, if there is a device, for all but `ours`.
    pub(super) fn listen(&mut self, segment: Option<&Segment>, ours: Option<Ours>) {
        let up = segment.and_then(|s| s.device.as_ref()).is_some_and(|device| device.up);
        match ours.filter(|_| up) {
            Some(ours) => {
                self.foreign.know(ours);
                self.ear.next = self.ear.next.or_else(|| Some(Instant::now() + jittered(SOON)));
            }
            // Another device may be on another segment.
            None => *self = Self { counted: self.counted, ..Self::default() },
        }
        let there = |kind| Some((kind, self.foreign.problem(kind)?));
        self.there = Kind::ALL.into_iter().filter_map(there).collect();
    }

    /// Who is there.
    pub(super) fn there(&self) -> &[(Kind, Problem)] {
        &self.there
    }

    /// Brings the sums over all networks up to date with this one's part.
    pub(super) fn count(&mut self, metrics: &Metrics) {
        let counts = Kind::ALL.map(|kind| i64::try_from(self.foreign.count(kind)).unwrap_or(i64::MAX));
        metrics.foreign_dhcp_servers.inc_by(counts[0] - self.counted[0]);
        metrics.foreign_routers.inc_by(counts[1] - self.counted[1]);
        self.counted = counts;
    }

    /// Returns when there is something else to say than before. Cancel-safe: what is heard waits.
    pub(super) async fn told<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        let failed = |e: &Error, _| {
            context.metrics.failed("overhear");
            warn!(error = e as &(dyn std::error::Error + 'static), "cannot listen at the segment");
        };
        loop {
            self.ear.open(SOON, || context.host.overhear(uid), failed).await;
            let forget = self.foreign.next().map(Instant::from_std);
            tokio::select! {
                heard = self.ear.heard(SOON) => if heard.is_some_and(|heard| self.hear(heard)) { return },
                () = until(forget) => if self.foreign.forget(Instant::now().into_std()) {
                    info!("a foreign server or router was not heard for long");
                    return;
                },
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> bool {
        let kind = heard.what.kind();
        let news = self.foreign.hear(heard, Instant::now().into_std());
        if news && let Some(problem) = self.foreign.problem(kind) {
            warn!("{}: {problem}", kind.condition());
        }
        news
    }
}

/// By what a network knows its own servers and routers, as far as this node is told.
pub(super) fn ours(uid: NetworkUid, inputs: &Inputs, desired: &Desired) -> Ours {
    let status = inputs.network.status.iter();
    let slots = || status.clone().flat_map(|status| &status.slots);
    let before = inputs.server.as_ref().and_then(|server| server.spec.predecessor.as_deref());
    let nodes = slots().filter_map(|slot| slot.node_name.as_deref()).chain(before);
    let device = desired.segment.as_ref().and_then(|segment| segment.device.as_ref());
    let in_slots = slots().flat_map(|slot| &slot.addresses).filter_map(|text| text.parse().ok());
    let given = inputs.server_addresses().chain(in_slots);
    let routed = inputs.subnets.iter().filter(|subnet| {
        let view = subnet.metadata.name.as_ref().and_then(|name| desired.subnets.get(name));
        view.is_some_and(|view| view.gateway.is_some_and(|ip| ip.is_ipv6()))
    });
    let advertised = inputs.subnets.iter().filter(|subnet| {
        subnet.spec.ipv6.is_some_and(|ipv6| ipv6.router_advertisements == RouterAdvertisements::Server)
    });
    let cidr = |subnet: &std::sync::Arc<Subnet>| subnet.spec.cidr.parse().ok();
    Ours {
        macs: nodes.map(|node| server_mac(node, uid)).chain(device.map(|device| device.mac)).collect(),
        addresses: given.chain(desired.server_addresses.iter().copied()).collect(),
        duid: server_duid(uid),
        routed: routed.filter_map(cidr).collect(),
        advertised: advertised.filter_map(cidr).collect(),
    }
}
