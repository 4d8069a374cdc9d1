//! The CEL rules of all definitions, by the place where they stand.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// A rule: the kind, the field it stands at (`spec.pools[].first`), and its message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    kind: String,
    field: String,
    message: String,
}

impl Rule {
    /// `field` may be that of an object, with the numbers of items.
    pub fn new(kind: &str, field: &str, message: &str) -> Self {
        let mut schema_field = String::new();
        for part in field.split_inclusive('[') {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            schema_field.push_str(if rest.starts_with(']') { rest } else { part });
        }
        // The one map there is: its keys are the user's.
        if let Some((map, _)) = schema_field.split_once(".matchLabels.") {
            schema_field = format!("{map}.matchLabels.*");
        }
        Self { kind: kind.into(), field: schema_field, message: message.into() }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "    {} {}: {}", self.kind, self.field, self.message)
    }
}

/// What a bound is called in the words of a refusal.
pub const BOUNDS: [(&str, &str); 10] = [
    ("maxLength", "Too long"),
    ("minLength", "chars long"),
    ("pattern", "should match"),
    ("maxItems", "Too many"),
    ("maxProperties", "Too many"),
    ("minItems", "should have at least"),
    ("minimum", "greater than or equal"),
    ("maximum", "less than or equal"),
    ("enum", "Unsupported value"),
    ("required", "Required value"),
];

/// The bounds that a cause may be the words of, as rules whose message is the bound's name.
pub fn bounds_in(kind: &str, field: &str, message: &str) -> impl Iterator<Item = Rule> {
    let said = BOUNDS.into_iter().filter(|(_, words)| message.contains(words));
    said.map(|(name, _)| Rule::new(kind, field, name))
}

/// All rules of all kinds.
pub fn all() -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for crd in kube_dhcp::api::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            collect(kind, "", &version["schema"]["openAPIV3Schema"], &mut rules);
        }
    }
    rules
}

fn collect(kind: &str, field: &str, schema: &Value, rules: &mut BTreeSet<Rule>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().expect("every rule has a message");
        let path = rule["fieldPath"].as_str().unwrap_or_default();
        rules.insert(Rule::new(kind, &format!("{field}{path}"), message));
    }
    let below = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        collect(kind, &below(name), property, rules);
    }
    for (nested, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[nested].is_object() {
            collect(kind, &format!("{field}{suffix}"), &schema[nested], rules);
        }
    }
}
