//! The real node: kernel, iptables and dnsmasq. Needs root; each test runs in a machine of its own.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, also their helpers")]

mod agent;
mod costs;
mod fixture;
#[path = "../inside/mod.rs"]
mod inside;
mod ipv6;
mod macvlan;
mod network;
mod ovs;
mod server;
#[path = "../switch/mod.rs"]
mod switch;
