//! What each subcommand does: puts the parts together, and prints.
//!
//! Called by `main` only.

mod agent;
mod crds;
mod plan;
mod status;
mod table;

pub use agent::agent;
pub use crds::crds;
pub use plan::plan;
pub use status::status;

use std::io::Write;

/// Writes to standard output; says so if that fails, instead of panicking.
fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
