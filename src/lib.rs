//! kube-dhcp.
