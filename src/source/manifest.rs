//! The text of a manifest file as objects that passed validation, and what is wrong with the rest.
//!
//! Called by the directory source for each file that changed. Works document by document, and a
//! document whose text is known already is not looked at again. Knows nothing of what is served:
//! rules about changes are checked elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::packed::Packed;
use super::schema::{FieldError, Validator};
use super::yaml::{self, Data, Node};
use super::{Kind, ObjectKey, Problem};
use crate::api;

/// More mistakes in one object than anybody wants to read at once.
const MAX_FAULTS: usize = 20;

/// A manifest file.
#[derive(Debug, Default)]
pub struct Manifest {
    documents: Vec<Document>,
    unreadable: bool,
    /// Something is wrong with it; without this, nothing needs to be looked for.
    flawed: bool,
}

/// One document of a file. Lines in it count from 0, at the document's first line.
#[derive(Debug)]
struct Document {
    text: String,
    first_line: usize,
    content: Arc<Content>,
}

#[derive(Debug, Default)]
struct Content {
    objects: Vec<Arc<Candidate>>,
    faults: Vec<Fault>,
    /// It may mean objects that cannot be told.
    unreadable: bool,
}

/// An object as a file has it.
#[derive(Debug)]
pub struct Candidate {
    /// Which one it is.
    pub key: ObjectKey,
    /// The object with its defaults; `None` if it is not valid.
    pub value: Option<Packed>,
    /// The object as it was written, to know it again in a list.
    written: Option<String>,
    line: usize,
    faults: Vec<Fault>,
}

#[derive(Clone, Debug)]
struct Fault {
    line: usize,
    object: Option<ObjectKey>,
    field: String,
    message: String,
}

/// An object in its file.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The object.
    pub candidate: &'a Arc<Candidate>,
    document: &'a Document,
}

impl Manifest {
    /// Reads the text; what it has in common with `before` is taken from there.
    pub fn parse(text: &str, before: &Self, validator: &Validator) -> Self {
        let known: HashMap<&str, &Arc<Content>> =
            before.documents.iter().map(|d| (d.text.as_str(), &d.content)).collect();
        let mut reader = Reader { validator, before, items: None };
        let documents = split(text)
            .into_iter()
            .map(|(first_line, text)| Document {
                text: text.to_owned(),
                first_line,
                content: match known.get(text) {
                    Some(content) => Arc::clone(content),
                    None => Arc::new(reader.read(text)),
                },
            })
            .collect::<Vec<_>>();
        let unreadable = documents.iter().any(|d| d.content.unreadable);
        let flawed = documents.iter().any(|d| d.content.flawed());
        Self { documents, unreadable, flawed }
    }

    /// Its objects in their order, the invalid ones too.
    pub fn objects(&self) -> impl Iterator<Item = Placed<'_>> {
        self.documents.iter().flat_map(|document| {
            let objects = document.content.objects.iter();
            objects.map(move |candidate| Placed { candidate, document })
        })
    }

    /// Whether there is a document of which it cannot be said what objects it means.
    pub fn unreadable(&self) -> bool {
        self.unreadable
    }

    /// All that is wrong with it.
    pub fn problems<'a>(&'a self, file: &'a str) -> impl Iterator<Item = Problem> + 'a {
        let flawed = if self.flawed { &self.documents[..] } else { &[] };
        flawed.iter().flat_map(move |document| {
            let content = &document.content;
            let of_objects = content.objects.iter().flat_map(|o| &o.faults);
            let faults = content.faults.iter().chain(of_objects);
            faults.map(move |fault| fault.place(file, document.first_line))
        })
    }
}

impl Content {
    fn flawed(&self) -> bool {
        !self.faults.is_empty() || self.objects.iter().any(|o| !o.faults.is_empty())
    }
}

impl Fault {
    fn place(&self, file: &str, first_line: usize) -> Problem {
        Problem {
            file: file.to_owned(),
            line: Some(first_line + self.line),
            object: self.object.clone(),
            field: self.field.clone(),
            message: self.message.clone(),
        }
    }
}

impl Placed<'_> {
    /// The line of the object.
    pub fn line(&self) -> usize {
        self.document.first_line + self.candidate.line
    }

    /// The problem of this object with a field; its document is parsed again for the line.
    pub fn problem(&self, file: &str, error: FieldError) -> Problem {
        let root = yaml::parse(&self.document.text).ok().flatten();
        let node = root.as_ref().and_then(|root| self.find(root));
        let line = node.map_or(self.candidate.line, |n| n.line_of(&error.field).saturating_sub(1));
        Problem {
            file: file.to_owned(),
            line: Some(self.document.first_line + line),
            object: Some(self.candidate.key.clone()),
            field: error.field,
            message: error.message,
        }
    }

    fn find<'n>(&self, root: &'n Node) -> Option<&'n Node> {
        let objects = &self.document.content.objects;
        let items = objects_of(root);
        let mut same =
            items.iter().filter(|n| identify(n).ok().is_some_and(|(k, _)| k == self.candidate.key));
        let earlier = objects
            .iter()
            .take_while(|o| !Arc::ptr_eq(o, self.candidate))
            .filter(|o| o.key == self.candidate.key);
        same.nth(earlier.count()).copied()
    }
}

/// The documents of a text with their first lines, from 1. As `kubectl` does, it is cut at lines
/// that begin with `---`, so that a broken document does not take the others with it.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut begun) = (0, 1, false);
    let (mut at, mut line) = (0, 1);
    for text_line in text.split_inclusive('\n') {
        let (starts, ends) = (is_marker(text_line, "---"), is_marker(text_line, "..."));
        if starts && begun {
            documents.push((first_line, &text[start..at]));
            (start, first_line) = (at, line);
        }
        begun = !ends && (begun || starts || is_content(text_line));
        at += text_line.len();
        line += 1;
        if ends {
            documents.push((first_line, &text[start..at]));
            (start, first_line) = (at, line);
        }
    }
    documents.push((first_line, &text[start..]));
    documents.retain(|(_, text)| text.lines().any(|l| is_content(l) || l.len() > 3));
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Directives and comments may stand before the `---` of their document.
fn is_content(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}');
    !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with('%')
}

struct Reader<'a> {
    validator: &'a Validator,
    before: &'a Manifest,
    /// The valid items of lists that were there before, by what was written.
    items: Option<HashMap<String, &'a Arc<Candidate>>>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, text: &str) -> Content {
        let mut content = Content::default();
        match yaml::parse(text) {
            Err(fault) => {
                content.unreadable = true;
                content.faults.push(Fault {
                    line: fault.line.saturating_sub(1),
                    object: None,
                    field: fault.field,
                    message: fault.message,
                });
            }
            Ok(None) => {}
            Ok(Some(root)) => self.read_root(&root, &mut content),
        }
        content
    }

    fn read_root(&mut self, root: &Node, content: &mut Content) {
        let listed = is_list(root);
        for node in objects_of(root) {
            match identify(node) {
                Ok((key, problems)) => {
                    content.objects.push(self.candidate(node, key, problems, listed));
                }
                Err(refusal) => {
                    content.unreadable |= refusal.may_be_ours;
                    content.faults.push(Fault {
                        line: node.line_of(&refusal.error.field).saturating_sub(1),
                        object: None,
                        field: refusal.error.field,
                        message: refusal.error.message,
                    });
                }
            }
        }
    }

    fn candidate(
        &mut self,
        node: &Node,
        key: ObjectKey,
        faults: Vec<FieldError>,
        listed: bool,
    ) -> Arc<Candidate> {
        let value = node.to_value();
        let line = node.line.saturating_sub(1);
        if let Some(known) = listed.then(|| self.known_item(&value)).flatten()
            && known.line == line
        {
            return Arc::clone(known);
        }
        let written = listed.then(|| value.to_string());
        let (value, errors) = self.check(key.kind, value, faults);
        let faults = errors
            .into_iter()
            .take(MAX_FAULTS)
            .map(|error| Fault {
                line: node.line_of(&error.field).saturating_sub(1),
                object: Some(key.clone()),
                field: error.field,
                message: error.message,
            })
            .collect();
        Arc::new(Candidate { key, value, written, line, faults })
    }

    fn check(
        &self,
        kind: Kind,
        mut value: Value,
        mut errors: Vec<FieldError>,
    ) -> (Option<Packed>, Vec<FieldError>) {
        if let Err(more) = self.validator.validate(kind, &mut value, None) {
            errors.extend(more);
        }
        (errors.is_empty().then(|| Packed::from(&value)), errors)
    }

    fn known_item(&mut self, value: &Value) -> Option<&'a Arc<Candidate>> {
        let before = self.before;
        let items = self.items.get_or_insert_with(|| {
            let valid = before.objects().filter(|o| o.candidate.value.is_some());
            valid.filter_map(|o| Some((o.candidate.written.clone()?, o.candidate))).collect()
        });
        items.get(&value.to_string()).copied()
    }
}

fn is_list(root: &Node) -> bool {
    text_of(root, "kind") == Some("List") && text_of(root, "apiVersion") == Some("v1")
}

fn objects_of(root: &Node) -> Vec<&Node> {
    match root.get("items") {
        Some(items) if is_list(root) => match &items.data {
            Data::List(items) => items.iter().collect(),
            _ => vec![root],
        },
        None if is_list(root) => vec![],
        _ => vec![root],
    }
}

fn text_of<'n>(node: &'n Node, field: &str) -> Option<&'n str> {
    match &node.get(field)?.data {
        Data::Scalar(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Why it cannot be said which object is meant.
struct Refusal {
    error: FieldError,
    may_be_ours: bool,
}

impl Refusal {
    fn new(field: &str, message: impl Into<String>, may_be_ours: bool) -> Self {
        Self { error: FieldError::new(field, message), may_be_ours }
    }
}

/// Which object a node means, and what is wrong with how it says so.
fn identify(node: &Node) -> Result<(ObjectKey, Vec<FieldError>), Refusal> {
    if !matches!(node.data, Data::Map(_)) {
        return Err(Refusal::new("", "not an object", true));
    }
    let required =
        |field: &str| text_of(node, field).ok_or_else(|| Refusal::new(field, "Required value", true));
    let (api_version, kind) = (required("apiVersion")?, required("kind")?);
    if api_version.split('/').next() != Some(api::GROUP) {
        let message = format!("{api_version} {kind} is not a {} kind", api::GROUP);
        return Err(Refusal::new("apiVersion", message, false));
    }
    let Some(kind) = Kind::from_name(kind) else {
        let message = format!("{} has no kind {kind} that can be given in a file", api::GROUP);
        return Err(Refusal::new("kind", message, true));
    };
    let mut errors = Vec::new();
    if api_version != api::API_VERSION {
        let message = format!("Unsupported value: {api_version:?}: supported values: {:?}", api::API_VERSION);
        errors.push(FieldError::new("apiVersion", message));
    }
    let metadata = node.get("metadata");
    let name = metadata.and_then(|m| text_of(m, "name"));
    let Some(name) = name else {
        return Err(refuse_name(kind, node));
    };
    let namespace = metadata.and_then(|m| text_of(m, "namespace")).unwrap_or("default");
    let key = ObjectKey {
        kind,
        namespace: if kind.namespaced() { namespace.to_owned() } else { String::new() },
        name: name.to_owned(),
    };
    Ok((key, errors))
}

fn refuse_name(kind: Kind, node: &Node) -> Refusal {
    let metadata = node.get("metadata").map_or(Value::Null, Node::to_value);
    let mut object = Map::from_iter([("metadata".to_owned(), metadata)]);
    let mut errors = super::metadata::normalise(kind, &mut object).into_iter();
    let error = errors.find(|e| e.field.starts_with("metadata"));
    let error = error.unwrap_or_else(|| FieldError::new("metadata.name", "Required value"));
    Refusal { error, may_be_ours: true }
}

#[cfg(test)]
mod tests;
