//! An object on its way through the manifest reader: YAML, schema, CEL rules, and our own.

use kube_dhcp::report::ManifestProblem;
use kube_dhcp::source::manifest::Manifest;
use kube_dhcp::source::schema::Validator;
use kube_dhcp::source::{Object, Problem};
use kube_dhcp::validate;
use serde_json::Value;

use crate::court::plain;

/// Who was let in, and what was said of those who were not.
pub struct Door {
    validator: Validator,
}

/// What became of a text.
pub struct Passed {
    /// The objects that were let in.
    pub objects: Vec<Value>,
    /// One word for each that was not.
    pub refused: Vec<String>,
}

impl Door {
    pub fn new() -> Self {
        Self { validator: Validator::new().unwrap() }
    }

    /// One manifest.
    pub fn pass(&self, text: &str) -> Result<Passed, String> {
        let manifest = Manifest::parse(text, &Manifest::default(), &self.validator);
        let mut passed = Passed { objects: Vec::new(), refused: Vec::new() };
        for problem in manifest.problems("a.yaml") {
            sound(&problem)?;
            let object = problem.object.as_ref().map_or("?", |key| key.kind.as_str());
            passed.refused.push(format!("{object} at the door {}", without_texts(&problem.field)));
        }
        let mut left_out = 0;
        for placed in manifest.objects() {
            let candidate = placed.candidate;
            let Some(value) = &candidate.value else {
                left_out += 1;
                continue;
            };
            let object = Object::from_value(candidate.key.kind, &value.unpack())
                .map_err(|e| format!("what passed the schema is no {}: {e}", candidate.key.kind))?;
            match own_faults(&object) {
                Some(fault) => passed.refused.push(fault),
                None => passed.objects.push(value.unpack()),
            }
        }
        if left_out > passed.refused.len() {
            return Err("an object is refused without a word".to_owned());
        }
        Ok(passed)
    }
}

fn own_faults(object: &Object) -> Option<String> {
    let problems = match object {
        Object::Network(network) => validate::network(network),
        Object::Subnet(subnet) => validate::subnet(subnet),
        Object::Port(port) => validate::port(port),
        Object::PhysicalNetwork(_) | Object::Server(_) => Vec::new(),
    };
    let problem = problems.into_iter().next()?;
    Some(format!("{} {}", object.key().kind, problem.reason.as_str()))
}

/// What is said of a mistake names its place, and is one line of plain text.
fn sound(problem: &Problem) -> Result<(), String> {
    let said = ManifestProblem::from(problem);
    for text in [&said.message, &said.place, &problem.to_string()] {
        plain(text)?;
    }
    if said.message.len() > 32_768 || said.message.is_empty() {
        return Err(format!("no good message: {said:?}"));
    }
    let known = |field: &str| ["metadata", "spec", "apiVersion", "kind"].iter().any(|f| field.starts_with(f));
    if problem.object.is_some() && problem.field.is_empty() {
        return Err(format!("no field is named: {problem:?}"));
    }
    // Unknown fields at the top have whatever name they have.
    if !known(&problem.field) && problem.object.is_some() && !problem.message.contains("unknown field") {
        return Err(format!("another field is named: {problem:?}"));
    }
    Ok(())
}

/// Texts of the input and places in lists make no new outcome.
fn without_texts(field: &str) -> String {
    let known = |c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '[' | ']');
    let field: String = field.chars().filter(|c| known(*c)).take(40).collect();
    match field.strip_prefix("metadata.labels").or(field.strip_prefix("metadata.annotations")) {
        Some(_) => "metadata texts".to_owned(),
        None => field,
    }
}
