//! Which build this is.
//!
//! Told by `kube-dhcp version`, `--version`, the metrics and the objects of agents. The commit is known to
//! whoever builds, who says it in the environment: `KUBE_DHCP_COMMIT`. Pure.

use std::sync::LazyLock;

/// As in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it was built from; `unknown` where nobody said it.
pub const COMMIT: &str = match option_env!("KUBE_DHCP_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "unknown",
};

/// Both.
pub fn line() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (commit {COMMIT})"));
    &LINE
}
