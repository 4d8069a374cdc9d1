//! Many Ports through a real API server. Needs root, dnsmasq and the programs of `make controlplane`.
//!
//! `make bench-cluster`; the size is in the environment, see [`load::Load`]. It is a report: a budget that
//! is not met is no failure, an address that two Ports have is one. All programs share this machine.

#![allow(missing_docs, unreachable_pub, reason = "a program")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what is broken here must fail loudly")]

#[path = "../tests/cluster/control_plane/mod.rs"]
mod control_plane;
#[path = "../tests/inside/mod.rs"]
mod inside;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/cluster/load/mod.rs"]
mod load;
#[allow(dead_code, reason = "it is the tests', and we use a part")]
#[path = "../tests/cluster/site/mod.rs"]
mod site;

fn main() {
    inside::inside("cluster", async {
        load::run(&load::Load::from_environment()).await;
    });
}
