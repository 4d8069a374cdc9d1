//! `metadata` of a manifest: checked and reduced to what a user may say.
//!
//! Called by the validation before the schema, which says nothing about metadata. What an API
//! server adds (as seen in `kubectl get -o yaml`) is dropped, so that its output can be used as is.

use serde_json::{Map, Value};

use super::Kind;
use super::schema::FieldError;

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

fn is_dns_name(name: &str, max: usize, dots: bool) -> bool {
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
    let wrong = texts.iter().filter(|(_, value)| !value.is_string());
    wrong
        .map(|(key, value)| {
            let message = format!("Invalid value: {value}: must be of type string; put it into quotes");
            FieldError::new(format!("metadata.{field}.{key}"), message)
        })
        .collect()
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
}
