//! That definitions only grow: what is stored, and what the version before writes, stays valid.

use serde_json::Value;

use super::crds;

/// Larger is wider, and smaller is.
const UPPER: [&str; 5] = ["maxLength", "maxItems", "maximum", "maxProperties", "exclusiveMaximum"];
const LOWER: [&str; 5] = ["minLength", "minItems", "minimum", "minProperties", "exclusiveMinimum"];
/// What means another thing if it changes.
const SAME: [&str; 6] = [
    "type",
    "pattern",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-int-or-string",
];

/// What the old schema allows and the new one does not, by path.
fn narrower(path: &str, old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut claim = |holds: bool, what: &str| (!holds).then(|| found.push(format!("{path}: {what}")));
    for what in SAME {
        claim(old.get(what) == new.get(what), what);
    }
    for (what, is_upper) in UPPER.map(|w| (w, true)).into_iter().chain(LOWER.map(|w| (w, false))) {
        let bound = |schema: &Value| schema.get(what).and_then(Value::as_f64);
        let wide = match (bound(old), bound(new)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(old), Some(new)) => {
                if is_upper {
                    new >= old
                } else {
                    new <= old
                }
            }
        };
        claim(wide, what);
    }
    let list = |schema: &Value, what: &str| schema.get(what).and_then(Value::as_array).cloned();
    if let Some(values) = list(new, "enum") {
        claim(list(old, "enum").is_some_and(|old| old.iter().all(|value| values.contains(value))), "enum");
    }
    let was_required = list(old, "required").unwrap_or_default();
    for field in list(new, "required").unwrap_or_default() {
        claim(was_required.contains(&field), &format!("{field} is required"));
    }
    for (name, old) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(new) => found.extend(narrower(&format!("{path}.{name}"), old, new)),
            None => found.push(format!("{path}.{name}: it is gone")),
        }
    }
    for inner in ["items", "additionalProperties"] {
        if old.get(inner).is_some_and(Value::is_object) {
            found.extend(narrower(&format!("{path}.{inner}"), &old[inner], &new[inner]));
        }
    }
    found
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

#[test]
fn all_that_the_version_before_allowed_is_allowed() {
    for new in crds() {
        let name = new.spec.names.plural.clone();
        let path = format!("{}/tests/previous/crds/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let old: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let new = serde_json::to_value(&new).unwrap();
        let narrower = narrower(&name, schema(&old), schema(&new));
        assert!(narrower.is_empty(), "{narrower:#?}");
        let fields = |definition: &Value| definition["spec"]["versions"][0]["selectableFields"].clone();
        assert_eq!((fields(&old), &old["spec"]["names"]), (fields(&new), &new["spec"]["names"]), "{name}");
    }
}

#[test]
fn a_narrower_schema_is_found() {
    let schema = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let old = schema(
        r#"{"type": "object", "properties": {"a": {"type": "string", "maxLength": 9, "enum": ["x", "y"]},
            "b": {"type": "array", "items": {"type": "integer", "minimum": 1}}, "c": {"type": "string"}}}"#,
    );
    let new = schema(
        r#"{"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "maxLength": 8,
            "enum": ["y"]}, "b": {"type": "array", "maxItems": 3, "items": {"type": "string", "minimum": 2}}}}"#,
    );
    let found = narrower("", &old, &new);
    let wanted = [
        ": \"a\" is required",
        ".a: maxLength",
        ".a: enum",
        ".b: maxItems",
        ".b.items: type",
        ".b.items: minimum",
        ".c: it is gone",
    ];
    assert_eq!(found, wanted);
    assert_eq!(narrower("", &old, &old), [""; 0]);
}
