//! The chart: what it renders, what it refuses, and what helm does with it in a real API server.

mod lifecycle;
mod observability;
mod rendered;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::control_plane::binaries::find;
use crate::lab::output;
use crate::site::SYSTEM;

/// A file or directory of ours.
fn ours(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join(path).to_str().unwrap().to_owned()
}

fn chart() -> String {
    ours("deploy/helm/kube-dhcp")
}

/// helm, which knows nothing of whoever runs the tests.
fn helm(home: &std::path::Path) -> Command {
    let mut command = Command::new(find().join("helm"));
    command.env("HOME", home).env_remove("KUBECONFIG");
    command
}

/// What it prints; or why not.
fn run(command: &mut Command) -> Result<String, String> {
    let done = output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// The manifests that the chart makes of these values (`--set` and the like).
fn rendered(values: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let mut helm = helm(home.path());
    helm.args(["template", "kube-dhcp", &chart(), "--namespace", SYSTEM]);
    run(helm.args(values))
}

/// What the manifests of deploy/ are rendered with.
const PLAIN: [&str; 2] = ["--set", "namespace.create=true,crds.keep=false"];

type Objects = BTreeMap<(String, String, String), Value>;

/// Objects by kind, namespace and name; none may be there twice.
fn objects(yaml: &str) -> Objects {
    let mut objects = Objects::new();
    for object in serde_saphyr::from_multiple::<Value>(yaml).unwrap() {
        let part = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (part("/kind"), part("/metadata/namespace"), part("/metadata/name"));
        assert!(objects.insert(key.clone(), object).is_none(), "{key:?} is there twice");
    }
    objects
}

/// The one of this name in our namespace.
fn of<'a>(objects: &'a Objects, kind: &str, name: &str) -> &'a Value {
    &objects[&(kind.to_owned(), SYSTEM.to_owned(), name.to_owned())]
}
