//! Pages of `docs/` that are made of the code: `make docs` writes them, their tests compare.
//!
//! Such a test has `in_the_docs` in its name.

use std::path::{Path, PathBuf};

/// Where a page is.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// Fails when the page says something else; writes it first where that is asked for.
#[track_caller]
pub(crate) fn assert_says(name: &str, wanted: &str) {
    if std::env::var_os("KUBE_DHCP_WRITE_DOCS").is_some() {
        std::fs::write(path(name), wanted).unwrap();
    }
    let found = std::fs::read_to_string(path(name)).unwrap_or_default();
    assert!(found == wanted, "docs/{name} is old: run make docs");
}
