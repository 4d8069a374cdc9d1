//! The real `kube-dhcp agent` with the real dnsmasq, kernel and clients: whole exchanges on the wire.
//!
//! Each test has a machine of its own ([`site::Site`]), so they run beside each other. Needs root.

#![allow(unreachable_pub, reason = "the modules are a library to each other")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken test must fail loudly")]

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../largest/mod.rs"]
mod largest;
#[path = "../switch/mod.rs"]
mod switch;

mod agent;
mod manifests;
mod shared_out;
mod site;

mod adoption;
mod answers;
mod attachments;
mod changes;
mod clients;
mod crash;
mod declined;
mod dynamic;
mod endings;
mod examples;
mod foreign;
mod hostile;
mod identity;
mod large;
mod leases;
mod leftovers;
mod many;
mod mending;
mod metadata;
mod mistakes;
mod names;
mod neutron;
mod observed;
mod reasons;
mod selfcheck;
mod six;
mod sizes;
mod tenants;
mod told;
mod txt;
mod vlans;
mod vm;
