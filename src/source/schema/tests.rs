//! The validation against the examples in `cases`, and what they do not say.

use serde_json::{Value, json};

use super::*;
use cases::{V4, base};

mod cases;

fn first_error(validator: &Validator, kind: Kind, object: &mut Value, old: Option<&Value>) -> String {
    let errors = validator.validate(kind, object, old).err();
    let texts: Vec<String> = errors.iter().flatten().map(ToString::to_string).collect();
    texts.join("; ")
}

#[test]
fn what_is_good_passes_and_what_is_bad_is_refused() {
    let validator = Validator::new().unwrap();
    for case in cases::all() {
        // Not every kind is one that a directory may have.
        let Some(kind) = Kind::from_name(case.kind) else { continue };
        let (field, message) = (case.field, case.message);
        let mut good = case.good();
        assert_eq!(first_error(&validator, kind, &mut good, None), "", "{kind} {field} {good}");
        let mut bad = case.bad();
        let error = first_error(&validator, kind, &mut bad, None);
        assert!(error.starts_with(message), "{kind} {field} {bad}: {error:?}");
    }
}

#[test]
fn unknown_fields_are_refused() {
    let validator = Validator::new().unwrap();
    let mut object = base("Port", V4);
    object["spec"]["mac"] = json!(null);
    object["data"] = json!({});
    let error = first_error(&validator, Kind::Port, &mut object, None);
    assert_eq!(error, "spec.mac: unknown field; data: unknown field");
}

#[test]
fn names_of_networks_are_short_and_have_no_dot() {
    let validator = Validator::new().unwrap();
    for kind in Kind::ALL {
        for (name, short) in [("a".repeat(63), true), ("a".repeat(64), false), ("a.b".into(), false)] {
            let mut object = base(kind.as_str(), V4);
            object["metadata"]["name"] = json!(name);
            let error = first_error(&validator, kind, &mut object, None);
            let limited = matches!(kind, Kind::Network | Kind::PhysicalNetwork);
            let expected = "metadata.name: Invalid value: must have at most 63 characters and no dot";
            assert_eq!(error, if limited && !short { expected } else { "" }, "{kind} {name}");
        }
    }
}

#[test]
fn defaults_are_applied_and_status_is_that_of_an_unseen_object() {
    let validator = Validator::new().unwrap();
    let mut object = base("Subnet", V4);
    object["status"] = json!({"gateway": "10.0.0.9"});
    assert_eq!(first_error(&validator, Kind::Subnet, &mut object, None), "");
    assert_eq!(
        object,
        json!({
            "apiVersion": api::API_VERSION, "kind": "Subnet",
            "metadata": {"name": "x", "namespace": "default"},
            "spec": {
                "networkRef": {"name": "n"}, "cidr": V4, "gateway": {"type": "Auto"},
                "dhcp": {"mode": "Reserved", "leaseDurationSeconds": 86400}, "dns": {"type": "Servers"},
            },
            "status": {"observedGeneration": -1},
        })
    );
}

#[test]
fn changes_of_what_is_immutable_are_refused() {
    let validator = Validator::new().unwrap();
    for change in cases::changes() {
        let Some(kind) = Kind::from_name(change.kind) else { continue };
        let (field, message) = (change.field, change.message);
        let (mut before, mut after) = (change.before(), change.after());
        assert_eq!(first_error(&validator, kind, &mut before, None), "");
        let error = first_error(&validator, kind, &mut after, Some(&before));
        assert!(error.starts_with(message) && error.is_empty() == message.is_empty(), "{field}: {error:?}");
    }
}

#[test]
fn what_passes_can_be_read_as_its_type() {
    let validator = Validator::new().unwrap();
    for kind in Kind::ALL {
        let mut object = base(kind.as_str(), V4);
        validator.validate(kind, &mut object, None).unwrap();
        let typed = crate::source::Object::from_value(kind, &object).unwrap();
        assert_eq!(typed.key().kind, kind);
        assert_eq!(typed.key().name, "x");
    }
}
