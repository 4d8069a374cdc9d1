//! kube-dhcp.

pub mod api;
pub mod source;
