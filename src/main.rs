//! The `kube-dhcp` program.

fn main() {}
