//! What the version before this one wrote into its state directory, for the tests of whatever reads it.
//!
//! Frozen in `tests/previous/state`. A version that is put back finds what a newer one wrote: there are
//! fields that it does not know.

use std::net::IpAddr;

use serde_json::{Value, json};

/// A file as it was, and with fields of a newer version in each of its objects.
pub(crate) fn texts(name: &str) -> [String; 2] {
    let path = format!("{}/tests/previous/state/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let newer = text.lines().map(|line| newer(serde_json::from_str(line).unwrap()).to_string() + "\n");
    let newer = newer.collect();
    [text, newer]
}

fn newer(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(newer).collect(),
        Value::Object(fields) => {
            let is_map = fields.keys().all(|key| key.parse::<IpAddr>().is_ok());
            let more = (!is_map).then(|| ("ofNewer".to_owned(), json!({"a": [1]})));
            // Metadata is Kubernetes' own.
            let field = |(key, value)| if key == "metadata" { (key, value) } else { (key, newer(value)) };
            Value::Object(fields.into_iter().map(field).chain(more).collect())
        }
        // Objects of a directory are kept as text.
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(object @ Value::Object(_)) => newer(object).to_string().into(),
            _ => text.into(),
        },
        other => other,
    }
}
