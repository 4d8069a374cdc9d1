//! The pages of `docs/`: those that are made of the code, and what of all of them can be checked.
//!
//! `make docs` writes what is made, and the tests of it, with `in_the_docs` in their names, compare. The
//! others hold for every page of [`markdown::pages`]: nothing here builds the book, and nothing needs to.

use std::path::{Path, PathBuf};

mod api;
mod commands;
mod links;
mod markdown;
mod yaml;

/// Where a page is.
pub(crate) fn path(name: &str) -> PathBuf {
    root().join("docs").join(name)
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

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with all of them, a line each.
#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
