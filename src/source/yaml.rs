//! YAML (and so JSON) text as a tree of values that know their lines.
//!
//! Called by [`super::manifest`] for one document at a time. Plain scalars get the types that
//! `kubectl` gives them, so that a manifest means here what it means to an API server. Duplicate
//! keys are errors, and aliases cannot grow a document without limit.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use serde_json::Value;

use super::scalar;

/// Deeper nesting than any object of ours has by far.
const MAX_DEPTH: usize = 64;

/// Nodes that anchors keep and aliases add to a document; see [`size`].
const MAX_ALIASED_NODES: usize = 10_000;

/// Nodes of a document. Its size as a tree of values is many times that of a dense text.
const MAX_NODES: usize = 1_000_000;

/// A value and the line on which it starts.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A member of a mapping; `line` is that of its key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Node,
}

/// Where and why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) field: String,
    pub(crate) message: String,
}

/// Parses the text of one document; `None` if there is nothing but comments in it.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, Fault> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| unreadable(&error))?;
        builder
            .event(event, span.start.line())
            .map_err(|message| builder.fault(span.start.line(), message))?;
    }
    Ok(builder.root.filter(|root| !root.is_null()))
}

fn unreadable(error: &ScanError) -> Fault {
    Fault {
        line: error.marker().line(),
        field: String::new(),
        message: format!("not valid YAML: {}", error.info()),
    }
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Value::Null))
    }

    /// The member of this name.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Data::Map(entries) = &self.data else {
            return None;
        };
        entries.iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// The value without its lines.
    pub(crate) fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(items) => items.iter().map(Self::to_value).collect(),
            Data::Map(entries) => entries.iter().map(|e| (e.key.clone(), e.value.to_value())).collect(),
        }
    }

    /// The line of a field such as `spec.pools[0].first`, or of what is nearest above it.
    pub(crate) fn line_of(&self, field: &str) -> usize {
        let (mut node, mut line, mut rest) = (self, self.line, field);
        while let Some((deeper_line, deeper, deeper_rest)) = node.step(rest) {
            (node, line, rest) = (deeper, deeper_line, deeper_rest);
        }
        line
    }

    /// One step down the path: the line there, the node, and the rest of the path. Keys may hold
    /// dots, so the path is compared with the keys and not split.
    fn step<'p>(&self, field: &'p str) -> Option<(usize, &Self, &'p str)> {
        let field = field.strip_prefix('.').unwrap_or(field);
        match &self.data {
            Data::Scalar(_) => None,
            Data::List(items) => {
                let (index, rest) = field.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item.line, item, rest))
            }
            Data::Map(entries) => entries.iter().find_map(|entry| {
                let rest = field.strip_prefix(entry.key.as_str())?;
                let whole = rest.is_empty() || rest.starts_with(['.', '[']);
                whole.then_some((entry.line, &entry.value, rest))
            }),
        }
    }
}

/// A collection that is not closed yet.
struct Frame {
    line: usize,
    anchor: usize,
    data: Data,
    key: Option<(String, usize)>,
    /// The lines of the keys so far.
    keys: HashMap<String, usize>,
    merged: Vec<Entry>,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Rc<(Node, usize)>>,
    aliased: usize,
    nodes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), line)
            }
            Event::SequenceStart(_, anchor, _) => self.open(Data::List(Vec::new()), anchor, line),
            Event::MappingStart(_, anchor, _) => self.open(Data::Map(Vec::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, line),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), String> {
        if self.expects_key() {
            return self.key(text, line);
        }
        let string = style != ScalarStyle::Plain || tag.is_some_and(|t| t.core_suffix() == Some("str"));
        let value = if string { Value::String(text.to_owned()) } else { scalar::resolve(text)? };
        let data = Data::Scalar(value);
        self.add(Node { line, data }, anchor)
    }

    fn expects_key(&self) -> bool {
        let top = self.stack.last();
        top.is_some_and(|f| matches!(f.data, Data::Map(_)) && f.key.is_none())
    }

    fn key(&mut self, key: &str, line: usize) -> Result<(), String> {
        let Some(frame) = self.stack.last_mut() else {
            return Ok(());
        };
        frame.key = Some((key.to_owned(), line));
        match frame.keys.insert(key.to_owned(), line) {
            Some(first) => Err(format!("{key:?} is there twice, for the first time on line {first}")),
            None => Ok(()),
        }
    }

    fn open(&mut self, data: Data, anchor: usize, line: usize) -> Result<(), String> {
        if self.expects_key() {
            return Err("a mapping's key must be a scalar".to_owned());
        }
        self.stack.push(Frame { line, anchor, data, key: None, keys: HashMap::new(), merged: Vec::new() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(mut frame) = self.stack.pop() else {
            return Ok(());
        };
        if let Data::Map(entries) = &mut frame.data {
            frame.merged.retain(|entry| !frame.keys.contains_key(&entry.key));
            entries.append(&mut frame.merged);
        }
        let node = Node { line: frame.line, data: frame.data };
        self.add(node, frame.anchor)
    }

    /// Aliases are copied: their number of nodes is counted before, not after.
    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), String> {
        let Some(anchored) = self.anchors.get(&anchor).cloned() else {
            return Err("an alias inside of what it stands for".to_owned());
        };
        let (node, size) = &*anchored;
        self.count_aliased(*size)?;
        match &node.data {
            Data::Scalar(value) if self.expects_key() => {
                let key = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                self.key(&key, line)
            }
            _ if self.expects_key() => Err("a mapping's key must be a scalar".to_owned()),
            _ => self.add(node.clone(), 0),
        }
    }

    fn count_aliased(&mut self, size: usize) -> Result<(), String> {
        self.aliased += size;
        if self.aliased > MAX_ALIASED_NODES {
            return Err(format!("aliases stand for more than {MAX_ALIASED_NODES} values"));
        }
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} values in one document"));
        }
        if anchor != 0 {
            let size = size(&node);
            self.count_aliased(size)?;
            self.anchors.insert(anchor, Rc::new((node.clone(), size)));
        }
        let Some(frame) = self.stack.last_mut() else {
            if self.root.is_some() {
                return Err("more than one document between two \"---\"".to_owned());
            }
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match frame.key.take() {
                Some((key, _)) if key == "<<" => return merge(&mut frame.merged, node),
                Some((key, line)) => entries.push(Entry { key, line, value: node }),
                None => return Err("a value without key".to_owned()),
            },
            Data::Scalar(_) => {}
        }
        Ok(())
    }

    fn fault(&self, line: usize, message: String) -> Fault {
        let mut field = String::new();
        for frame in &self.stack {
            match (&frame.data, &frame.key) {
                (Data::List(items), _) => field = format!("{field}[{}]", items.len()),
                (_, Some((key, _))) if field.is_empty() => field.clone_from(key),
                (_, Some((key, _))) => field = format!("{field}.{key}"),
                _ => {}
            }
        }
        Fault { line, field, message }
    }
}

/// `<<: *base`, or a list of such: what is said first wins.
fn merge(merged: &mut Vec<Entry>, node: Node) -> Result<(), String> {
    match node.data {
        Data::Map(entries) => {
            for entry in entries {
                if !merged.iter().any(|e| e.key == entry.key) {
                    merged.push(entry);
                }
            }
            Ok(())
        }
        Data::List(nodes) => nodes.into_iter().try_for_each(|node| merge(merged, node)),
        Data::Scalar(_) => Err("\"<<\" takes a mapping".to_owned()),
    }
}

/// What a copy costs, in nodes of the usual length.
fn size(node: &Node) -> usize {
    const USUAL: usize = 100;
    1 + match &node.data {
        Data::Scalar(Value::String(text)) => text.len() / USUAL,
        Data::Scalar(_) => 0,
        Data::List(items) => items.iter().map(size).sum(),
        Data::Map(entries) => entries.iter().map(|e| e.key.len() / USUAL + size(&e.value)).sum(),
    }
}

#[cfg(test)]
mod tests;
