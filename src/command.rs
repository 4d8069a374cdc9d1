//! What each subcommand does: puts the parts together, and prints.
//!
//! Called by `main` only.

mod agent;
mod cleanup;
mod complete;
mod controller;
mod crds;
mod drain;
mod ended;
mod explain;
mod import;
mod leases;
mod overview;
mod plan;
mod port;
mod read;
mod running;
mod shell;
mod status;
mod table;
mod version;

pub use agent::agent;
pub use cleanup::cleanup;
pub use complete::complete;
pub use controller::controller;
pub use crds::crds;
pub use drain::{drain, uncordon};
pub use explain::explain;
pub use import::import;
pub use leases::{INCOMPLETE, Incomplete, leases};
pub use plan::plan;
pub use shell::{completions, man};
pub use status::status;
pub use version::version;

use std::io::Write;

use anyhow::Context;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Output;

/// `value` in this form.
fn text<T: Serialize>(output: Output, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<String> {
    Ok(match output {
        Output::Table => table(value),
        Output::Json => serde_json::to_string_pretty(value)? + "\n",
        Output::Yaml => serde_saphyr::to_string(value)?,
    })
}

/// Writes to standard output, colours only to a terminal; says so if that fails, instead of panicking.
fn print(text: &str) -> anyhow::Result<()> {
    anstream::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Cancelled at SIGTERM or SIGINT.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}
