//! What is kept: texts and objects to begin with, and whatever was found. JSON, one value a line.

use serde_json::Value;

/// Texts that are put where a user may write one.
pub fn texts() -> Vec<String> {
    let lines = lines(include_str!("corpus/texts.txt"));
    lines.map(|text| text.as_str().unwrap_or_else(|| panic!("{text} is no text")).to_owned()).collect()
}

/// Objects that mutants are made of.
pub fn objects() -> Vec<Value> {
    lines(include_str!("corpus/objects.txt")).collect()
}

/// Objects that something was wrong with, or might be.
pub fn found() -> Vec<Value> {
    lines(include_str!("corpus/found.txt")).collect()
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    let lines = text.lines().filter(|line| !line.starts_with("# ") && !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
}
