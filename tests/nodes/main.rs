//! What only real nodes can show: the image, and the pods of `deploy/`, run by kubelets
//! and containerd. `make test-cluster` builds what it needs; root. A cluster is a machine of its own with
//! processes, network and mounts that end with the test, however it ends.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, also their helpers")]

#[path = "../cluster/control_plane/mod.rs"]
mod control_plane;
#[path = "../inside/mod.rs"]
mod inside;
#[path = "../lab/mod.rs"]
mod lab;
#[allow(dead_code, unused_imports, reason = "each user has its part")]
#[path = "../cluster/traffic/mod.rs"]
mod traffic;

mod capabilities;
mod cgroups;
mod life;
mod machine;
mod programs;
mod release;
mod site;
