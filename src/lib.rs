//! kube-dhcp: DHCP and DNS for layer-2 networks, declared as Kubernetes objects.
//!
//! Dependencies point down this list only; pure modules know nothing of effects, effects nothing of
//! the loop.
//!
//! | module | what | effects |
//! |---|---|---|
//! | [`api`] | the kinds | none |
//! | [`types`] | MAC addresses, names, ranges: parsed once, printed one way | none |
//! | [`plain`] | text of others made harmless | none |
//! | [`wire`] | what DHCP and IPv6 packets are made of | none |
//! | [`foreign`] | who else answers and routes on a segment | none |
//! | [`reason`] | why an object is not as its owner wants it | none |
//! | [`service`], [`dhcp_options`], [`txt`] | what the guests of a network shall get | none |
//! | [`dnsmasq`] | the same in dnsmasq's words, and what dnsmasq makes of them | none |
//! | [`metadata`] | which guest asks the metadata service, and what of its request is let through | none |
//! | [`node`] | what a node holds, and what each action does to it | none |
//! | [`fair`] | namespaces in turn | none |
//! | [`selector`] | which labels a selector selects | none |
//! | [`place`] | on which nodes a network is served | none |
//! | [`liveness`] | which agents are dead | none |
//! | [`validate`], [`allocate`], [`desired`] | objects → what this node shall hold, and what is wrong with them | none |
//! | [`plan`] | (desired, observed) → actions | none |
//! | [`conditions`], [`report`] | what is said of it | none |
//! | [`explain`] | why a guest is answered, or is not | none |
//! | [`backoff`] | when to try again | none |
//! | [`durable`] | files that survive | files |
//! | [`proxy`] | guests' requests for metadata, on to the operator's server | HTTP |
//! | [`host`] | observing and changing the node | kernel, dnsmasq |
//! | [`cluster`] | talking to an API server | HTTP |
//! | [`source`] | where objects come from | a directory, a cluster |
//! | [`members`] | objects by network | none |
//! | [`import`] | another system's objects → ours, and what has no counterpart | none |
//! | [`store`], [`agent`] | the loop: what changed → desired → plan → apply → report | all of these |
//! | [`controller`] | the loop of a cluster: what changed → judge → write | HTTP |
//! | [`metrics`], [`serve`], [`telemetry`] | being watched | HTTP, log |
//! | [`cli`], [`command`] | the program | all |

pub mod about;
pub mod agent;
pub mod allocate;
pub mod api;
pub mod backoff;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod conditions;
pub mod controller;
pub mod desired;
pub mod dhcp_options;
pub mod dnsmasq;
#[cfg(test)]
mod docs;
pub mod durable;
pub mod explain;
pub mod fair;
pub mod foreign;
pub mod host;
pub mod import;
pub mod liveness;
pub mod members;
pub mod metadata;
pub mod metrics;
pub mod node;
pub mod place;
pub mod plain;
pub mod plan;
#[cfg(test)]
mod previous;
pub mod proxy;
pub mod reason;
pub mod report;
pub mod selector;
pub mod serve;
pub mod service;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod txt;
pub mod types;
pub mod validate;
pub mod wire;
