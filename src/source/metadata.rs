//! `metadata` of a manifest: checked and reduced to what a user may say.
//!
//! Called by the validation before the schema, which says nothing about metadata. What an API
//! server adds (as seen in `kubectl get -o yaml`) is dropped, so that its output can be used as is.

use serde_json::{Map, Value};

use super::Kind;
use super::schema::FieldError;
use super::structure::shown;

/// What the server owns.
const SERVER_FIELDS: [&str; 11] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
    "finalizers",
    "generateName",
];

/// The keys and values of all annotations together, in bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The longest name in a key, and the longest value of a label.
const MAX_NAME: usize = 63;

/// Reduces the object to what a user may say, sets the default namespace, and checks the rest.
pub(crate) fn normalise(kind: Kind, object: &mut Map<String, Value>) -> Vec<FieldError> {
    object.remove("status");
    object.retain(|key, value| key != "metadata" || !value.is_null());
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        return vec![FieldError::new("metadata", "Invalid value: must be an object")];
    };
    metadata.retain(|key, value| !value.is_null() && !SERVER_FIELDS.contains(&key.as_str()));
    let mut errors = Vec::from_iter(check_namespace(kind, metadata));
    errors.extend(check_name("name", metadata.get("name"), 253, true));
    errors.extend(check_texts("labels", metadata.get("labels")));
    errors.extend(check_texts("annotations", metadata.get("annotations")));
    errors.extend(check_annotations(metadata.get("annotations")));
    let known = ["name", "namespace", "labels", "annotations"];
    let unknown = metadata.keys().filter(|k| !known.contains(&k.as_str()));
    errors.extend(unknown.map(|k| FieldError::new(format!("metadata.{k}"), "unknown field")));
    errors
}

fn check_namespace(kind: Kind, metadata: &mut Map<String, Value>) -> Option<FieldError> {
    if !kind.namespaced() {
        let message = format!("Forbidden: {kind} is not a namespaced kind");
        return metadata.contains_key("namespace").then(|| FieldError::new("metadata.namespace", message));
    }
    let namespace = metadata.entry("namespace").or_insert_with(|| "default".into());
    check_name("namespace", Some(namespace), 63, false)
}

fn check_name(field: &str, value: Option<&Value>, max: usize, dots: bool) -> Option<FieldError> {
    let field = format!("metadata.{field}");
    let Some(value) = value else {
        return Some(FieldError::new(field, "Required value"));
    };
    let Some(name) = value.as_str() else {
        let message = format!("Invalid value: {value}: must be of type string; put it into quotes");
        return Some(FieldError::new(field, message));
    };
    let kind = if dots { "subdomain" } else { "label" };
    (!is_dns_name(name, max, dots)).then(|| {
        let message = format!(
            "Invalid value: {value}: must be an RFC 1123 {kind}: lower case letters, digits, '-'{}, \
             at most {max} characters",
            if dots { " and '.'" } else { "" }
        );
        FieldError::new(field, message)
    })
}

/// Whether it is an RFC 1123 name of at most `max` characters: with `dots` a subdomain, else a label.
pub(crate) fn is_dns_name(name: &str, max: usize, dots: bool) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
            && bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
    };
    name.len() <= max && name.split('.').all(label) && (dots || !name.contains('.'))
}

fn check_texts(field: &str, texts: Option<&Value>) -> Vec<FieldError> {
    let Some(texts) = texts else { return vec![] };
    let Some(texts) = texts.as_object() else {
        return vec![FieldError::new(format!("metadata.{field}"), "Invalid value: must be an object")];
    };
    texts.iter().filter_map(|(key, value)| check_text(field, key, value)).collect()
}

fn check_text(field: &str, key: &str, value: &Value) -> Option<FieldError> {
    let Some(text) = value.as_str() else {
        let message = format!("Invalid value: {}: must be of type string; put it into quotes", shown(value));
        return Some(FieldError::new(format!("metadata.{field}.{key}"), message));
    };
    // An API server lets the keys of annotations be in upper case, before the slash as well.
    let lower = key.to_ascii_lowercase();
    let wrong = if !is_qualified(if field == "annotations" { &lower } else { key }) {
        format!(
            "Invalid value: {}: the key must be a name of at most {MAX_NAME} letters, digits, '-', '_' and \
             '.' that begins and ends with a letter or digit, with or without a DNS subdomain and '/' before it",
            shown(&key.into())
        )
    } else if field == "labels" && !text.is_empty() && !is_name(text) {
        format!(
            "Invalid value: {}: must be empty or at most {MAX_NAME} letters, digits, '-', '_' and '.' that \
             begin and end with a letter or digit",
            shown(value)
        )
    } else {
        return None;
    };
    Some(FieldError::new(format!("metadata.{field}.{key}"), wrong))
}

fn check_annotations(annotations: Option<&Value>) -> Option<FieldError> {
    let annotations = annotations?.as_object()?;
    let size: usize = annotations.iter().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    (size > MAX_ANNOTATIONS).then(|| {
        let message = format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes");
        FieldError::new("metadata.annotations", message)
    })
}

/// `name` or `sub.domain/name`.
fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix, 253, true) && is_name(name),
        None => is_name(key),
    }
}

/// Whether a label can have this value, or this name.
pub(crate) fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    name.len() <= MAX_NAME
        && ends.iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn normalised(kind: Kind, metadata: Value) -> Result<Value, String> {
        let mut object = Map::from_iter([("metadata".to_owned(), metadata)]);
        object.insert("status".into(), json!({"x": 1}));
        let errors = normalise(kind, &mut object);
        match errors.first() {
            Some(error) => Err(error.to_string()),
            None => Ok(Value::Object(object)),
        }
    }

    #[test]
    fn namespace_defaults_and_server_fields_are_dropped() {
        let metadata = json!({"name": "a", "uid": "u", "resourceVersion": "1", "managedFields": [],
            "generation": 4, "creationTimestamp": null, "labels": {"x": "y"}});
        assert_eq!(
            normalised(Kind::Port, metadata),
            Ok(json!({"metadata": {"name": "a", "namespace": "default", "labels": {"x": "y"}}}))
        );
        assert_eq!(
            normalised(Kind::PhysicalNetwork, json!({"name": "a"})),
            Ok(json!({"metadata": {"name": "a"}}))
        );
    }

    #[test]
    fn wrong_metadata_is_refused() {
        for (kind, metadata, message) in [
            (Kind::Port, json!({}), "metadata.name: Required value"),
            (Kind::Port, json!({"name": 7}), "metadata.name: Invalid value: 7: must be of type string"),
            (
                Kind::Port,
                json!({"name": "A"}),
                "metadata.name: Invalid value: \"A\": must be an RFC 1123 subdomain",
            ),
            (Kind::Port, json!({"name": "a..b"}), "metadata.name: Invalid value"),
            (Kind::Port, json!({"name": "a", "namespace": "a.b"}), "metadata.namespace: Invalid value"),
            (Kind::Port, json!({"name": "a", "label": {}}), "metadata.label: unknown field"),
            (
                Kind::Port,
                json!({"name": "a", "labels": {"x": true}}),
                "metadata.labels.x: Invalid value: true",
            ),
            (Kind::PhysicalNetwork, json!({"name": "a", "namespace": "b"}), "metadata.namespace: Forbidden"),
        ] {
            let error = normalised(kind, metadata).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn labels_and_annotations_are_checked_as_by_an_api_server() {
        let long = "x".repeat(64);
        let (prefix, huge) = (format!("{}/x", "a.".repeat(126) + "ab"), "x".repeat(256 << 10));
        for (field, key, value, valid) in [
            ("labels", "a.b-c/Name_1.x", "V_1.x-2", true),
            ("labels", "x", "", true),
            ("labels", &long[1..], &long[1..], true),
            ("labels", "", "y", false),
            ("labels", "a b", "y", false),
            ("labels", "-a", "y", false),
            ("labels", "a_", "y", false),
            ("labels", &long, "y", false),
            ("labels", "/x", "y", false),
            ("labels", "A.b/x", "y", false),
            ("labels", "a/b/c", "y", false),
            ("labels", "a/", "y", false),
            ("labels", &prefix, "y", false),
            ("labels", "x", "a b", false),
            ("labels", "x", "-a", false),
            ("labels", "x", "ä", false),
            ("labels", "x", &long, false),
            ("annotations", "A.b/x", "any text\n", true),
            ("annotations", "x", &huge[1..], true),
            ("annotations", "x", &huge, false),
            ("annotations", "a b", "y", false),
        ] {
            let mut metadata = json!({"name": "a"});
            metadata[field] = json!({key: value});
            let result = normalised(Kind::Port, metadata);
            assert_eq!(result.is_ok(), valid, "{field} {key:.70}: {value:.70}: {:?}", result.err());
        }
    }
}
