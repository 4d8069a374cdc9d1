//! Whether the agent runs whose reports are shown, and since when they may be old.
//!
//! Used by `status` and `explain`.

use std::path::Path;

use jiff::Timestamp;

use crate::host::StateLock;
use crate::report;

/// When the last agent reported, if it is known that none runs.
pub(super) fn ended(state: &Path) -> Option<Timestamp> {
    (StateLock::is_held(state) == Some(false)).then(|| report::reported_last(state)).flatten()
}

/// The line before a table.
pub(super) fn note(ended: Option<Timestamp>) -> String {
    ended.map_or_else(String::new, |reported| {
        format!("No agent runs: this is what the last one said, at {reported}.\n\n")
    })
}
