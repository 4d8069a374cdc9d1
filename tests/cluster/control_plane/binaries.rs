//! Where the programs of the control plane are; `hack/controlplane.sh` builds them.

use std::path::{Path, PathBuf};

/// The directory with the programs, as `hack/controlplane.sh` would print it.
///
/// Panics with what to do about it when they are not there.
pub fn find() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = variable("KUBEBUILDER_ASSETS")
        .or_else(|| variable("KUBE_DHCP_CONTROLPLANE"))
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/controlplane/bin"));
    for name in ["etcd", "kube-apiserver", "kubectl"] {
        let path = directory.join(name);
        assert!(path.exists(), "{} is missing: run make controlplane", path.display());
    }
    directory
}
