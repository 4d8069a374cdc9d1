//! Definitions in the cluster that are older than this program.
//!
//! Used by `write`, and by whoever compares what it would write with what is there. The API server refuses
//! whatever is applied with a field that its definition does not have: all of it. So such fields are left
//! out, and that is said. After a while they are tried again: somebody may have upgraded the definitions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::warn;

/// How long a field is left out.
const AGAIN: Duration = Duration::from_secs(30);
/// What the API server says behind a field's path.
const UNKNOWN: &str = ": field not declared in schema";

/// Fields by kind and path, and until when they are left out. All writers are of one cluster.
static LEFT_OUT: Mutex<BTreeMap<(String, String), Instant>> = Mutex::new(BTreeMap::new());

fn left_out() -> MutexGuard<'static, BTreeMap<(String, String), Instant>> {
    LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What of an object the definition of its kind has, as far as is known.
pub(super) fn fitting(kind: &str, mut object: Value) -> Value {
    let now = Instant::now();
    let mut left_out = left_out();
    left_out.retain(|_, until| *until > now);
    for (_, path) in left_out.keys().filter(|(of, _)| of == kind) {
        remove(&mut object, path);
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
pub(super) fn learn(kind: &str, complaint: &str, object: &Value) -> bool {
    let mut new = false;
    for path in unknown(complaint) {
        if remove(&mut object.clone(), &path) {
            warn!(
                "the definition of {kind} in the cluster is older than this program and has no {path}, which is \
                 left out: apply the definitions of this version"
            );
            left_out().insert((kind.to_owned(), path), Instant::now() + AGAIN);
            new = true;
        }
    }
    new
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
        assert!(learn("X", refused, &object));
        assert_eq!(fitting("X", object.clone()), fits);
        assert_eq!(fitting_status("X", object["status"].clone()), fits["status"]);
        assert!(!learn("X", refused, &fits), "it is not what was sent");
        assert!(!learn("X", "the server is away", &object));
        assert_eq!(fitting("Y", object.clone()), object, "of another kind");
    }
}
