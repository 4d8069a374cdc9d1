//! What an import has to say: what of the other system has no counterpart here, by object and field.
//!
//! Written by the rest of `import`, printed by the command. Pure.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::plain::{cut, plain};

/// The longest piece of a value that is shown.
const SHOWN: usize = 120;

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// The object has no manifest.
    NotImported,
    /// It has one, and this version does not serve it.
    NotServed,
    /// It has no counterpart.
    Lost,
    /// It is there, but not as it was.
    Changed,
}

impl Effect {
    /// All, the worst first.
    pub const ALL: [Self; 4] = [Self::NotImported, Self::NotServed, Self::Lost, Self::Changed];

    /// As the report has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotImported => "NotImported",
            Self::NotServed => "NotServed",
            Self::Lost => "Lost",
            Self::Changed => "Changed",
        }
    }
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What is meant.
    #[serde(flatten)]
    pub subject: Subject,
    /// The field there.
    pub field: String,
    /// A piece of its value.
    pub value: String,
    /// What became of it.
    pub effect: Effect,
    /// Why, or what to do.
    pub message: String,
}

/// An object of the other system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// `network`, `subnet`, `port`, `segment`, `config`, or `input`.
    pub kind: &'static str,
    /// Its id; empty for what has none.
    pub id: String,
    /// Its name there, harmless and not longer than a line.
    pub name: String,
    /// Our name for it; unset where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

impl Subject {
    /// An object without a manifest so far.
    pub(super) fn new(kind: &'static str, id: &str, name: &str) -> Self {
        Self { kind, id: short(id), name: short(name), object: None }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [self.kind, &self.id].into_iter().filter(|word| !word.is_empty());
        f.write_str(&words.collect::<Vec<_>>().join(" "))?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " ({})", self.name) }
    }
}

/// What is said of one object.
#[derive(Debug)]
pub(super) struct Notes {
    subject: Subject,
    entries: Vec<Entry>,
}

impl Notes {
    pub(super) fn new(subject: Subject) -> Self {
        Self { subject, entries: Vec::new() }
    }

    /// Of an object that has the name `object` here.
    pub(super) fn of(kind: &'static str, id: &str, name: &str, object: &str) -> Self {
        let subject = Subject::new(kind, id, name);
        Self::new(Subject { object: Some(object.to_owned()), ..subject })
    }

    pub(super) fn add(&mut self, effect: Effect, field: &str, value: &Value, message: impl Into<String>) {
        let value = match value {
            Value::Null => String::new(),
            Value::String(text) => short(text),
            other => short(&other.to_string()),
        };
        let (subject, field, message) = (self.subject.clone(), short(field), message.into());
        self.entries.push(Entry { subject, field, value, effect, message: plain(&message).into_owned() });
    }

    pub(super) fn lost(&mut self, field: &str, value: &Value, message: impl Into<String>) {
        self.add(Effect::Lost, field, value, message);
    }

    pub(super) fn changed(&mut self, field: &str, value: &Value, message: impl Into<String>) {
        self.add(Effect::Changed, field, value, message);
    }

    /// It gets no manifest after all.
    pub(super) fn not_imported(&mut self, field: &str, value: &Value, message: impl Into<String>) {
        self.subject.object = None;
        self.add(Effect::NotImported, field, value, message);
    }

    pub(super) fn into_entries(mut self) -> Vec<Entry> {
        for entry in &mut self.entries {
            entry.subject.object.clone_from(&self.subject.object);
        }
        self.entries
    }
}

fn short(text: &str) -> String {
    let text = plain(text);
    let piece = cut(&text, SHOWN);
    if piece.len() < text.len() { format!("{piece}…") } else { piece.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_is_one_short_harmless_line() {
        let mut notes = Notes::new(Subject::new("port", "1\u{1b}", &"ä\n".repeat(500)));
        notes.lost("a\nb", &json!("x\u{202e}\n".repeat(500)), "no\nthing");
        let entry = notes.into_entries().remove(0);
        for text in [entry.subject.to_string(), entry.field, entry.value, entry.message] {
            assert!(!text.contains(crate::plain::is_active) && text.len() < 280, "{text}");
        }
    }

    #[test]
    fn an_object_that_is_not_imported_has_no_name_here() {
        let mut notes = Notes::of("port", "1", "", "a/b");
        notes.lost("x", &Value::Null, "y");
        notes.not_imported("z", &Value::Null, "y");
        assert!(notes.into_entries().iter().all(|entry| entry.subject.object.is_none()));
    }
}
