//! What only a real API server can show. Needs root and the programs of `make controlplane`; each
//! test runs in a machine of its own with a control plane of its own.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, also their helpers")]

#[path = "../../src/source/schema/tests/cases/mod.rs"]
mod cases;
mod control_plane;
#[path = "../inside/mod.rs"]
mod inside;
#[path = "../lab/mod.rs"]
mod lab;
#[path = "../largest/mod.rs"]
mod largest;
#[path = "../random/mod.rs"]
mod random;

use std::path::PathBuf;

use control_plane::{ControlPlane, Settings};

mod chaos;
mod chart;
mod crds;
mod dynamic;
mod explain;
mod failover;
mod failures;
mod foreign;
mod gitops;
mod harness;
mod identity;
mod kstatus;
mod kubelet;
mod leaders;
mod leases;
mod load;
mod many;
mod metadata;
mod observed;
mod observer;
mod orders;
mod outage;
mod policy;
mod rbac;
mod refused;
mod release;
mod serve;
mod single;
mod site;
mod six;
mod sizes;
mod skew;
mod traffic;
mod uninstall;
mod watches;

/// A control plane in the test's own `/run`: memory that goes with it.
async fn plane() -> ControlPlane {
    let settings = Settings { parent: PathBuf::from("/run"), ..Settings::default() };
    ControlPlane::start_with(settings).await
}

/// The same with our definitions and rights.
async fn installed() -> ControlPlane {
    let plane = plane().await;
    plane.install().await;
    plane
}
