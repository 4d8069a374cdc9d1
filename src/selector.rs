//! Whether a label selector selects an object, as Kubernetes itself judges it.
//!
//! Called by whoever judges grants (`desired`) and places servers (`place`). Pure; it neither knows
//! nor fetches the objects that have the labels.

use std::collections::BTreeMap;

use crate::api::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};

/// Whether `selector` selects what has `labels`: all requirements hold. An empty selector selects all;
/// one with a requirement that Kubernetes refuses selects nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    // A broken NotIn would otherwise open what its author meant to close.
    selector.match_expressions.iter().all(is_valid)
        && selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|requirement| holds(requirement, labels))
}

/// The labels of a namespace that nobody labelled: the one with its name, which each has in a cluster.
pub fn labels_of_namespace(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())])
}

fn is_valid(requirement: &LabelSelectorRequirement) -> bool {
    match requirement.operator {
        LabelSelectorOperator::In | LabelSelectorOperator::NotIn => !requirement.values.is_empty(),
        LabelSelectorOperator::Exists | LabelSelectorOperator::DoesNotExist => requirement.values.is_empty(),
    }
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed = value.is_some_and(|value| requirement.values.contains(value));
    match requirement.operator {
        LabelSelectorOperator::In => listed,
        LabelSelectorOperator::NotIn => !listed,
        LabelSelectorOperator::Exists => value.is_some(),
        LabelSelectorOperator::DoesNotExist => value.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn selected(selector: Value) -> bool {
        let labels = [("rack", "r1"), ("gpu", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        selects(&serde_json::from_value(selector).unwrap(), &labels.into())
    }

    fn meets(key: &str, operator: &str, values: &[&str]) -> bool {
        selected(json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
    }

    #[test]
    fn all_labels_and_all_requirements_must_hold() {
        assert!(selected(json!({})));
        assert!(selected(json!({"matchLabels": {"rack": "r1", "gpu": ""}})));
        assert!(!selected(json!({"matchLabels": {"rack": "r1", "zone": "a"}})));
        assert!(!selected(json!({"matchLabels": {"rack": "r2"}})));
        let exists = json!([{"key": "gpu", "operator": "Exists"}]);
        assert!(selected(json!({"matchLabels": {"rack": "r1"}, "matchExpressions": exists})));
        assert!(!selected(json!({"matchLabels": {"rack": "r2"}, "matchExpressions": exists})));
    }

    #[test]
    fn each_operator_means_what_kubernetes_says() {
        for (key, operator, values, wanted) in [
            ("rack", "In", &["r0", "r1"][..], true),
            ("rack", "In", &["r0"], false),
            ("zone", "In", &["r1"], false),
            ("rack", "NotIn", &["r0"], true),
            ("rack", "NotIn", &["r1"], false),
            ("zone", "NotIn", &["r1"], true),
            ("gpu", "Exists", &[], true),
            ("zone", "Exists", &[], false),
            ("gpu", "DoesNotExist", &[], false),
            ("zone", "DoesNotExist", &[], true),
        ] {
            assert_eq!(meets(key, operator, values), wanted, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn what_kubernetes_refuses_selects_nothing() {
        for (key, operator, values) in [
            ("rack", "In", &[][..]),
            ("zone", "NotIn", &[]),
            ("gpu", "Exists", &[""]),
            ("zone", "DoesNotExist", &["x"]),
        ] {
            assert!(!meets(key, operator, values), "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn a_namespace_has_its_name_as_a_label() {
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "a"}});
        let selector = serde_json::from_value(selector).unwrap();
        assert!(selects(&selector, &labels_of_namespace("a")));
        assert!(!selects(&selector, &labels_of_namespace("b")));
    }
}
