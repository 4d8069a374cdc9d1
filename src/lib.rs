//! kube-dhcp: DHCP and DNS for layer-2 networks, declared as Kubernetes objects.
//!
//! Dependencies point down this list only:
//!
//! | module | what | effects |
//! |---|---|---|
//! | [`types`] | MAC addresses, names, ranges: parsed once, printed one way | none |
//! | [`service`] | what the guests of a network shall get | none |
//! | [`dnsmasq`] | the same in dnsmasq's words, and what dnsmasq makes of them | none |
//! | [`node`] | what a node holds, and what each action does to it | none |
//! | [`plan`] | (desired, observed) → actions | none |
//! | [`host`] | observes the node and does the actions | the kernel, processes, files |

pub mod allocate;
pub mod api;
pub mod desired;
pub mod dhcp_options;
pub mod dnsmasq;
pub mod host;
pub mod node;
pub mod plan;
pub mod reason;
pub mod service;
pub mod source;
pub mod types;
pub mod validate;
