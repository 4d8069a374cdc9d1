//! The validation that an API server does, in process and from the same definition.
//!
//! Called for each object of a directory. The generated `CustomResourceDefinition`s say all: types
//! and bounds ([`super::structure`]), defaults, and the CEL rules with those about changes. What
//! needs other objects is not known here.

use std::fmt;

use kube::core::cel::{self, CompiledSchema};
use serde_json::{Map, Value};

use super::structure::{apply_defaults, describe, strict};
use super::{Kind, metadata};
use crate::api;

/// Something about a field that an API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// The field, such as `spec.pools[0].first`; empty for the whole object.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Our own definitions are of no use: a mistake in the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no schema for the kind.
    #[error("no schema for kind {0}")]
    NoSchema(Kind),
    /// The schema cannot be written as JSON.
    #[error("schema of kind {kind}")]
    Encode {
        /// The kind.
        kind: Kind,
        /// Why.
        source: serde_json::Error,
    },
    /// The schema is not valid.
    #[error("schema of kind {kind}")]
    Compile {
        /// The kind.
        kind: Kind,
        /// Why.
        source: Box<jsonschema::ValidationError<'static>>,
    },
}

/// The compiled schemas and rules of all kinds.
#[derive(Debug)]
pub struct Validator {
    kinds: Vec<(Kind, Compiled)>,
    cel: cel::Validator,
}

struct Compiled {
    schema: Value,
    structure: jsonschema::Validator,
    rules: CompiledSchema,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").finish_non_exhaustive()
    }
}

impl Validator {
    /// Compiles the schemas and rules of all kinds, once.
    pub fn new() -> Result<Self, Error> {
        let kinds = Kind::ALL
            .into_iter()
            .map(|kind| Ok((kind, Compiled::new(kind)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { kinds, cel: cel::Validator::new() })
    }

    /// Checks an object as an API server would when it is created or, with `old`, changed.
    ///
    /// Afterwards it has its defaults, and neither status nor what a server writes to metadata.
    pub fn validate(
        &self,
        kind: Kind,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Vec<FieldError>> {
        let Some((_, compiled)) = self.kinds.iter().find(|(k, _)| *k == kind) else {
            return Err(vec![FieldError::new("kind", "no such kind")]);
        };
        let Some(map) = object.as_object_mut() else {
            return Err(vec![FieldError::new("", "Invalid value: must be an object")]);
        };
        let mut errors = metadata::normalise(kind, map);
        require_spec(map);
        apply_defaults(&compiled.schema, object);
        errors.extend(compiled.structure.iter_errors(object).flat_map(|e| describe(&e)));
        if errors.is_empty() {
            errors = self.broken_rules(compiled, object, old);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Sets the defaults of the schema.
    pub(crate) fn set_defaults(&self, kind: Kind, object: &mut Value) {
        if let Some((_, compiled)) = self.kinds.iter().find(|(k, _)| *k == kind) {
            apply_defaults(&compiled.schema, object);
        }
    }

    fn broken_rules(&self, compiled: &Compiled, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        match self.cel.validate_compiled(&compiled.rules, object, old) {
            Ok(()) => vec![],
            Err(errors) => errors.into_iter().map(|e| FieldError::from_rule(&e)).collect(),
        }
    }
}

/// `spec:` with nothing in it is a spec without fields: what is missing in it says more.
fn require_spec(object: &mut Map<String, Value>) {
    if object.get("spec").is_some_and(Value::is_null) {
        object.insert("spec".into(), Value::Object(Map::new()));
    }
}

impl FieldError {
    fn from_rule(error: &cel::ValidationError) -> Self {
        let message = error.message.strip_prefix("metadata.name ");
        match message {
            Some(rest) if error.field_path.is_empty() => {
                Self::new("metadata.name", format!("Invalid value: {rest}"))
            }
            _ => Self::new(&*error.field_path, format!("Invalid value: {}", error.message)),
        }
    }
}

impl Compiled {
    fn new(kind: Kind) -> Result<Self, Error> {
        let crds = api::crds();
        let schema = crds
            .iter()
            .find(|crd| crd.spec.names.kind == kind.as_str())
            .and_then(|crd| crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref())
            .ok_or(Error::NoSchema(kind))?;
        let schema = serde_json::to_value(schema).map_err(|source| Error::Encode { kind, source })?;
        let structure = jsonschema::draft202012::new(&strict(&schema)).map_err(|source| {
            let source = Box::new(source);
            Error::Compile { kind, source }
        })?;
        let rules = cel::compile_schema(&schema);
        Ok(Self { schema, structure, rules })
    }
}

#[cfg(test)]
mod tests;
