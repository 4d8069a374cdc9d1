//! The log: to standard error, as text or JSON, errors with their causes.
//!
//! Set up once, by `main`. What is logged at which level is said where it happens; `RUST_LOG` narrows
//! or widens it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// A library that logs each failed request would say twice what we say once.
const QUIET: &str = "info,kube_client=off";

/// Sets the log up for the rest of the process' life.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIET));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
