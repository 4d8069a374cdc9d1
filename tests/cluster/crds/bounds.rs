//! For each bound in the definitions an object that is just beyond it.

use serde_json::{Map, Value, json};

use super::rules::{BOUNDS, Rule};
use crate::cases;

/// The object, and the bound that it breaks.
pub struct Beyond {
    pub object: Value,
    pub bound: Rule,
}

/// Those of all kinds, but for status.
pub fn beyond_all() -> Vec<Beyond> {
    let mut found = Vec::new();
    for crd in kube_dhcp::api::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let object = cases::everything(kind);
        let mut walk = Walk { kind, object, found: &mut found };
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        walk.schema(schema, "/spec", "spec");
    }
    found
}

struct Walk<'a> {
    kind: &'a str,
    object: Value,
    found: &'a mut Vec<Beyond>,
}

impl Walk<'_> {
    /// `at` is where the schema's value is in the object, `field` its name in a refusal.
    fn schema(&mut self, schema: &Value, at: &str, field: &str) {
        for (bound, _) in BOUNDS {
            if let Some(value) = beyond(bound, schema, self.object.pointer(at)) {
                self.push(at, value, Rule::new(self.kind, field, bound));
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            let bound = Rule::new(self.kind, &format!("{field}.{name}"), "required");
            self.push(&format!("{at}/{name}"), Value::Null, bound);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.schema(property, &format!("{at}/{name}"), &format!("{field}.{name}"));
        }
        if schema["items"].is_object() {
            self.schema(&schema["items"], &format!("{at}/0"), &format!("{field}[]"));
        }
        if schema["additionalProperties"].is_object() {
            self.schema(&schema["additionalProperties"], &format!("{at}/a"), &format!("{field}.*"));
        }
    }

    fn push(&mut self, at: &str, value: Value, bound: Rule) {
        let mut object = self.object.clone();
        let place = object.pointer_mut(at);
        *place.unwrap_or_else(|| panic!("cases::everything has no {} {at}", self.kind)) = value;
        self.found.push(Beyond { object, bound });
    }
}

/// A value that this bound refuses.
fn beyond(bound: &str, schema: &Value, present: Option<&Value>) -> Option<Value> {
    let limit = &schema[bound];
    let count = limit.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    let value = match (bound, limit) {
        (_, Value::Null) | ("required", _) => return None,
        ("maxLength", _) => json!("1".repeat(count + 1)),
        ("minLength", _) => json!("1".repeat(count - 1)),
        // Of no length that is refused before it.
        ("pattern", _) => {
            json!("\n".repeat(whole(&schema["minLength"]).unwrap_or(1).max(1).try_into().ok()?))
        }
        ("enum", _) => json!("NoSuchValue"),
        ("minItems", _) => json!([]),
        ("maxItems", _) => Value::Array(vec![present?[0].clone(); count + 1]),
        ("maxProperties", _) => {
            let value = present?.as_object()?.values().next()?;
            Value::Object((0..=count).map(|n| (format!("k{n}"), value.clone())).collect::<Map<_, _>>())
        }
        ("minimum", limit) => json!(whole(limit)? - 1),
        ("maximum", limit) => json!(whole(limit)? + 1),
        _ => return None,
    };
    Some(value)
}

/// Limits of integers are written as floating point numbers.
fn whole(limit: &Value) -> Option<i64> {
    format!("{:.0}", limit.as_f64()?).parse().ok()
}
