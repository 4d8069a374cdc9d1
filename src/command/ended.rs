//! Whether the agent runs whose reports are shown, and since when they may be old.
//!
//! Used by `status` and `explain`.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::host::StateLock;
use crate::report;

/// What is known of the agent of a state directory.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Presence {
    /// Unset where that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_running: Option<bool>,
    /// When the last one reported, if it is known that none runs.
    #[serde(skip)]
    pub(super) ended: Option<Timestamp>,
}

impl Presence {
    /// Looks, and is in nobody's way.
    pub(super) fn of(state: &Path) -> Self {
        let agent_running = StateLock::is_held(state);
        let ended = (agent_running == Some(false)).then(|| report::reported_last(state)).flatten();
        Self { agent_running, ended }
    }

    /// The line before a table.
    pub(super) fn note(&self) -> String {
        self.ended.map_or_else(String::new, |reported| {
            format!("No agent runs: this is what the last one said, at {reported}.\n\n")
        })
    }
}
