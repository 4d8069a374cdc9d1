//! Definitions in the cluster that are older than this program.
//!
//! Used by `write`, and by whoever compares what it would write with what is there. The API server refuses
//! whatever is applied with a field that its definition does not have, or with a value that it does not
//! know: all of it. So such fields are left out, and entries of lists with such values, and that is said.
//! After a while they are tried again: somebody may have upgraded the definitions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::core::Status;
use kube::core::response::StatusCause;
use serde_json::Value;
use tracing::warn;

/// How long something is left out.
const AGAIN: Duration = Duration::from_secs(30);
/// What the API server says behind a field's path.
const UNKNOWN: &str = ": field not declared in schema";
/// Its reason for refusing a value that is none of an enumeration's …
const UNSUPPORTED: &str = "FieldValueNotSupported";
/// … and what it says before that value.
const VALUE: &str = "Unsupported value: ";

/// What a definition does not have. Paths are as in `.status.leases`, without the keys of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Field(String),
    /// A value of this field.
    Value(String, String),
}

/// By kind, and until when it is left out; what is tried again stays, for it was said. All writers are of one
/// cluster.
static LEFT_OUT: Mutex<BTreeMap<(String, Lack), Instant>> = Mutex::new(BTreeMap::new());

fn left_out() -> MutexGuard<'static, BTreeMap<(String, Lack), Instant>> {
    LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What of an object the definition of its kind has, as far as is known.
pub(super) fn fitting(kind: &str, mut object: Value) -> Value {
    let now = Instant::now();
    for ((_, lack), _) in left_out().iter().filter(|((of, _), until)| of == kind && **until > now) {
        lack.take_out(&mut object);
    }
    object
}

/// The same of a status alone.
pub fn fitting_status(kind: &str, status: Value) -> Value {
    let object = Value::Object([("status".to_owned(), status)].into_iter().collect());
    fitting(kind, object)["status"].take()
}

/// When something that is left out is to be tried again, if there is any.
pub fn again_at() -> Option<Instant> {
    let now = Instant::now();
    left_out().values().filter(|until| **until > now).min().copied()
}

/// Learns from what the API server complained of; whether there is something to leave out that was not yet.
pub(super) fn learn(kind: &str, complaint: &Status, object: &Value) -> bool {
    let causes = complaint.details.iter().flat_map(|details| &details.causes);
    let fields = unknown(&complaint.message).into_iter().map(Lack::Field);
    let mut new = false;
    for lack in fields.chain(causes.filter_map(unsupported)) {
        if !lack.take_out(&mut object.clone()) {
            continue;
        }
        new = true;
        let until = Instant::now() + AGAIN;
        if left_out().insert((kind.to_owned(), lack.clone()), until).is_none() {
            let what = match lack {
                Lack::Field(path) => format!("has no {path}, which is left out"),
                Lack::Value(path, value) => format!("has no {value} in {path}: what says so is left out"),
            };
            warn!(
                "the definition of {kind} in the cluster is older than this program and {what}: apply the \
                 definitions of this version"
            );
        }
    }
    new
}

impl Lack {
    /// Whether it was there.
    fn take_out(&self, object: &mut Value) -> bool {
        match self {
            Self::Field(path) => remove(object, path),
            Self::Value(path, value) => remove_value(object, path, value),
        }
    }
}

/// Only in a status: whoever reads a spec without it would do something else.
fn unsupported(cause: &StatusCause) -> Option<Lack> {
    if cause.reason != UNSUPPORTED || !cause.field.starts_with("status.") {
        return None;
    }
    let said = cause.message.strip_prefix(VALUE)?;
    let value = serde_json::Deserializer::from_str(said).into_iter::<String>().next()?.ok()?;
    Some(Lack::Value(without_keys(&format!(".{}", cause.field)), value))
}

/// The paths that it names: `.status.leases`. What makes an object unique is none of them.
fn unknown(complaint: &str) -> Vec<String> {
    let path = |line: &str| {
        let path = line.split_once(UNKNOWN)?.0.rsplit(' ').next()?;
        let ours = path.starts_with(".status.") || path.starts_with(".spec.");
        ours.then(|| without_keys(path))
    };
    complaint.lines().filter_map(path).collect()
}

/// `.status.ports[name="a"].x` is `.status.ports.x`: no element of a list has it.
fn without_keys(path: &str) -> String {
    let mut depth = 0_usize;
    let keep = |c: &char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    path.chars().filter(keep).collect()
}

/// Whether it was there.
fn remove(value: &mut Value, path: &str) -> bool {
    if let Value::Array(elements) = value {
        let removed = elements.iter_mut().filter_map(|element| remove(element, path).then_some(()));
        return removed.count() > 0;
    }
    let Some(fields) = value.as_object_mut() else { return false };
    let path = path.trim_start_matches('.');
    match path.split_once('.') {
        Some((field, rest)) => fields.get_mut(field).is_some_and(|value| remove(value, rest)),
        None => fields.remove(path).is_some(),
    }
}

/// The entries of a list with this value at the path, or else the field of the status: an entry without it
/// may be none. Whether it was there.
fn remove_value(object: &mut Value, path: &str, value: &str) -> bool {
    let Some((field, rest)) =
        path.strip_prefix(".status.").map(|path| path.split_once('.').unwrap_or((path, "")))
    else {
        return false;
    };
    let Some(status) = object["status"].as_object_mut() else { return false };
    if let Some(Value::Array(entries)) = status.get_mut(field) {
        let before = entries.len();
        entries.retain(|entry| !says(entry, rest, value));
        let left = entries.len();
        if left == 0 {
            // As it is written where there is nothing to say.
            status.remove(field);
        }
        return left < before;
    }
    let there = status.get(field).is_some_and(|inner| says(inner, rest, value));
    there && status.remove(field).is_some()
}

/// Whether this value is somewhere at the path.
fn says(there: &Value, path: &str, value: &str) -> bool {
    match there {
        Value::Array(entries) => entries.iter().any(|entry| says(entry, path, value)),
        Value::Object(fields) => {
            let (field, rest) = path.split_once('.').unwrap_or((path, ""));
            fields.get(field).is_some_and(|inner| says(inner, rest, value))
        }
        there => path.is_empty() && there == value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_names_is_left_out_everywhere() {
        let refused = "failed to create typed patch object (default/a.n1; kube-dhcp.io/v1alpha1, Kind=X): errors:\n  \
            .status.leases: field not declared in schema\n  .status.held[ip=\"10.0.0.1\"].who: field not declared in schema\n  \
            .metadata.name: field not declared in schema\n  .status.no: expected map, got 1";
        assert_eq!(unknown(refused), [".status.leases", ".status.held.who"]);
        let one = "failed to create typed patch object (a/b; c, Kind=X): .spec.dynamic: field not declared in schema";
        assert_eq!(unknown(one), [".spec.dynamic"]);
        let object = json!({"metadata": {"name": "a"}, "status": {"leases": {"ipv4": 1}, "ports": 2,
            "held": [{"ip": "10.0.0.1", "who": "x"}, {"ip": "10.0.0.2", "who": "y"}]}});
        let fits = json!({"metadata": {"name": "a"}, "status": {"ports": 2,
            "held": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}});
        let refused = Status::failure(refused, "");
        assert!(learn("X", &refused, &object));
        assert_eq!(fitting("X", object.clone()), fits);
        assert_eq!(fitting_status("X", object["status"].clone()), fits["status"]);
        assert!(!learn("X", &refused, &fits), "it is not what was sent");
        assert!(!learn("X", &Status::failure("the server is away", ""), &object));
        assert_eq!(fitting("Y", object.clone()), object, "of another kind");
    }
    #[test]
    fn of_a_list_what_has_a_refused_value_is_left_out() {
        // As the API server says it; the numbers are those of its own list.
        let refused = |field: &str, value: &str| {
            let message = format!("Unsupported value: \"{value}\": supported values: \"A\", \"B\"");
            let causes = json!([{"reason": "FieldValueNotSupported", "field": field, "message": message}]);
            let status = json!({"code": 422, "reason": "Invalid", "message": "it is invalid", "details": {"causes": causes}});
            serde_json::from_value::<Status>(status).unwrap()
        };
        let object = json!({"spec": {"state": "C"}, "status": {"source": "C", "n": 1,
            "networks": [{"name": "a", "vlan": "A"}, {"name": "c", "vlan": "C"}, {"name": "C", "vlan": "B"}]}});
        assert!(learn("Z", &refused("status.networks[7].vlan", "C"), &object));
        let fits = json!([{"name": "a", "vlan": "A"}, {"name": "C", "vlan": "B"}]);
        assert_eq!(fitting("Z", object.clone())["status"], json!({"source": "C", "n": 1, "networks": fits}));
        assert!(learn("Z", &refused("status.source", "C"), &object));
        assert_eq!(fitting("Z", object.clone())["status"], json!({"n": 1, "networks": fits}));
        assert!(!learn("Z", &refused("status.source", "D"), &object), "it is not what was sent");
        assert!(!learn("Z", &refused("spec.state", "C"), &object), "that would be another wish");
    }
}
