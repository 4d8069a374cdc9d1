//! The structural part of validation: types, bounds, patterns, required and unknown fields.
//!
//! Called by [`super::schema`] only. Works on the schema of the `CustomResourceDefinition`, so that
//! it says what an API server says; the CEL rules in it are not its business.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::{Map, Value, json};

use super::schema::FieldError;

/// Turns the schema of a definition into one for the `jsonschema` crate: an unknown field is an
/// error, and what every object has is known.
pub(crate) fn strict(schema: &Value) -> Value {
    let mut schema = schema.clone();
    forbid_unknown(&mut schema);
    if let Some(properties) = schema["properties"].as_object_mut() {
        for name in ["apiVersion", "kind"] {
            properties.insert(name.into(), json!({"type": "string"}));
        }
        properties.insert("metadata".into(), json!({"type": "object"}));
    }
    schema
}

fn forbid_unknown(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    if schema.contains_key("properties") && !schema.contains_key("additionalProperties") {
        schema.insert("additionalProperties".into(), false.into());
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(forbid_unknown);
    }
    for nested in ["items", "additionalProperties"] {
        schema.get_mut(nested).into_iter().for_each(forbid_unknown);
    }
}

/// Sets the defaults of the schema; a null counts as "not said", as it does in an API server.
pub(crate) fn apply_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => default_properties(schema, object),
        Value::Array(items) => items.iter_mut().for_each(|item| apply_defaults(&schema["items"], item)),
        _ => {}
    }
}

fn default_properties(schema: &Value, object: &mut Map<String, Value>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if object.get(name).is_some_and(Value::is_null) {
            object.remove(name);
        }
        if let (None, Some(default)) = (object.get(name), schema.get("default")) {
            object.insert(name.clone(), default.clone());
        }
        if let Some(value) = object.get_mut(name) {
            apply_defaults(schema, value);
        }
    }
}

/// What an API server would say about this error: a field may get several messages.
pub(crate) fn describe(error: &ValidationError<'_>) -> Vec<FieldError> {
    let field = field_path(error.instance_path().as_str());
    let value = error.instance();
    let message = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            return unexpected
                .iter()
                .map(|name| FieldError::new(join(&field, name), "unknown field"))
                .collect();
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            return vec![FieldError::new(join(&field, name), "Required value")];
        }
        kind => explain(kind, value),
    };
    vec![FieldError::new(field, message)]
}

fn explain(kind: &ValidationErrorKind, value: &Value) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { kind } => format!(
            "Invalid value: {}: must be of type {}: {}",
            shown(value),
            type_names(kind),
            type_of(value)
        ),
        Kind::Enum { options } => {
            format!("Unsupported value: {}: supported values: {}", shown(value), listed(options))
        }
        Kind::Maximum { limit } => at_bound(value, "less", limit),
        Kind::Minimum { limit } => at_bound(value, "greater", limit),
        Kind::MaxLength { limit } => format!("Too long: may not be more than {limit} characters"),
        Kind::MinLength { limit } => {
            format!("Invalid value: {}: should be at least {limit} chars long", shown(value))
        }
        Kind::MaxItems { limit } => {
            let count = value.as_array().map_or(0, Vec::len);
            format!("Too many: {count}: must have at most {limit} items")
        }
        Kind::MaxProperties { limit } => {
            let count = value.as_object().map_or(0, Map::len);
            format!("Too many: {count}: must have at most {limit} items")
        }
        Kind::MinItems { limit } => {
            format!("Invalid value: should have at least {limit} items")
        }
        Kind::Pattern { pattern } => {
            format!("Invalid value: {}: should match '{pattern}'", shown(value))
        }
        _ => format!("Invalid value: {}", shown(value)),
    }
}

fn at_bound(value: &Value, than: &str, limit: &Value) -> String {
    let limit = limit.as_f64().unwrap_or_default();
    format!("Invalid value: {}: should be {than} than or equal to {limit}", shown(value))
}

fn listed(options: &Value) -> String {
    let options = options.as_array().into_iter().flatten();
    options.map(Value::to_string).collect::<Vec<_>>().join(", ")
}

/// A scalar as it was written; of anything larger only what it is.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 100;
    match value {
        Value::Object(_) | Value::Array(_) => format!("\"{}\"", type_of(value)),
        scalar => {
            let text = scalar.to_string();
            match text.char_indices().nth(LONGEST) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}

fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(json_type) => json_type.to_string(),
        TypeKind::Multiple(types) => {
            let names: Vec<String> = types.iter().map(|t| t.to_string()).collect();
            names.join(" or ")
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn join(field: &str, name: &str) -> String {
    if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") }
}

/// A JSON pointer as Kubernetes writes paths: `/spec/pools/0` is `spec.pools[0]`.
fn field_path(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if step.bytes().all(|b| b.is_ascii_digit()) && !step.is_empty() {
            path = format!("{path}[{step}]");
        } else {
            path = join(&path, &step);
        }
    }
    path
}
