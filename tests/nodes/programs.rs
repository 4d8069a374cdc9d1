//! Where the programs of a node and the images are; `hack/nodes.sh` and `hack/node-images.sh` make them.

use std::path::{Path, PathBuf};

/// A directory of `make nodes`. Panics with what to do when it is not there.
fn made(variable: &str, default: &str) -> PathBuf {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(default));
    assert!(directory.exists(), "{} is missing: run make test-cluster", directory.display());
    directory
}

/// kubelet, kube-scheduler, containerd, its shim and ctr.
pub fn programs() -> PathBuf {
    made("KUBE_DHCP_NODES", "target/nodes/bin")
}

/// The archives that nodes import.
pub fn images() -> Vec<PathBuf> {
    let directory = made("KUBE_DHCP_IMAGES", "target/nodes/images");
    ["kube-dhcp.tar", "sandbox.tar"].map(|name| directory.join(name)).to_vec()
}
