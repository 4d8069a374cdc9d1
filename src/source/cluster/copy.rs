//! The copy of what the API server said last, for a start without it.
//!
//! Written after each change, read once at the start. It is of one cluster and one node.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::error;

use crate::durable;
use crate::source::{Kind, Object};

/// The format of the file.
const FORMAT: u32 = 1;

/// The file in the state directory.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("cluster.json")
}

/// What is written.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Copy {
    format: u32,
    cluster: String,
    node: String,
    objects: Vec<Copied>,
}

#[derive(Debug, Clone, Serialize)]
struct Copied {
    kind: Kind,
    value: Object,
}

impl Copy {
    /// All that `node` knows of the cluster with this UID.
    pub(super) fn new<'a>(cluster: &str, node: &str, objects: impl Iterator<Item = &'a Object>) -> Self {
        let copied = |object: &Object| Copied { kind: object.key().kind, value: object.clone() };
        let (cluster, node) = (cluster.to_owned(), node.to_owned());
        Self { format: FORMAT, cluster, node, objects: objects.map(copied).collect() }
    }
}

/// A copy that can be served from.
#[derive(Debug, PartialEq)]
pub(super) struct LastGood {
    /// UID of the cluster's `kube-system` namespace.
    pub(super) cluster: String,
    pub(super) objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Deserialize)]
struct Written {
    cluster: String,
    node: String,
    objects: Vec<WrittenObject>,
}

#[derive(Deserialize)]
struct WrittenObject {
    kind: Kind,
    value: Value,
}

/// Why a copy is not used.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is damaged")]
    Damaged(#[from] serde_json::Error),
    #[error("it has format {0}; this version reads format {FORMAT}")]
    Format(u32),
    #[error("it is of node {0}")]
    Node(String),
}

/// The copy that is there, if it is of use for `node`. One that is not is put aside, and that is said.
pub(super) fn load(path: &Path, node: &str) -> Result<Option<LastGood>, durable::Error> {
    let text = match fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|e| durable::Error::Read(path.to_owned(), e))?,
    };
    match parse(&text, node) {
        Ok(copy) => Ok(Some(copy)),
        Err(refused) => {
            refuse(path, &refused.to_string());
            Ok(None)
        }
    }
}

/// The objects of the copy that is there. Changes nothing.
pub(super) fn peek(path: &Path, node: &str) -> std::io::Result<Vec<Object>> {
    parse(&fs::read(path)?, node).map(|copy| copy.objects).map_err(std::io::Error::other)
}

/// Puts a copy aside and says why.
pub(super) fn refuse(path: &Path, why: &str) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".refused");
    error!(path = %path.display(), aside = ?aside, "the copy of the cluster's objects is not used: {why}");
    if let Err(e) = fs::rename(path, &aside) {
        error!(error = &e as &(dyn std::error::Error + 'static), "it cannot be put aside");
    }
}

fn parse(text: &[u8], node: &str) -> Result<LastGood, Refused> {
    let head: Head = serde_json::from_slice(text)?;
    if head.format != FORMAT {
        return Err(Refused::Format(head.format));
    }
    let written: Written = serde_json::from_slice(text)?;
    if written.node != node {
        return Err(Refused::Node(written.node));
    }
    let typed = |object: &WrittenObject| Object::from_value(object.kind, &object.value);
    let objects = written.objects.iter().map(typed).collect::<Result<_, _>>()?;
    Ok(LastGood { cluster: written.cluster, objects })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::Survives;
    use serde_json::json;

    fn port() -> Object {
        let value = json!({"apiVersion": crate::api::API_VERSION, "kind": "Port",
            "metadata": {"name": "a", "namespace": "b"}, "spec": {"networkRef": {"name": "n"}}});
        Object::from_value(Kind::Port, &value).unwrap()
    }

    #[test]
    fn a_copy_is_read_by_its_node_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        assert_eq!(load(&path, "n1").unwrap(), None);
        durable::write(&path, &Copy::new("c", "n1", [port()].iter()), Survives::Crash).unwrap();
        let copy = load(&path, "n1").unwrap().unwrap();
        assert_eq!((copy.cluster.as_str(), copy.objects), ("c", vec![port()]));
        assert_eq!(load(&path, "n2").unwrap(), None);
        assert!(!path.exists() && dir.path().join("cluster.json.refused").exists());
    }

    #[test]
    fn what_another_version_copied_is_read() {
        for text in crate::previous::texts("cluster.json") {
            let copy = parse(text.as_bytes(), "n1").unwrap();
            let names: Vec<_> = copy.objects.iter().map(|object| object.key().name).collect();
            assert_eq!(names, ["a.n1", "a", "p1", "a-v4"]);
        }
    }

    #[test]
    fn what_is_damaged_or_newer_is_put_aside() {
        let wrong = json!({"format": 1, "cluster": "c", "node": "n1",
            "objects": [{"kind": "Port", "value": {"spec": 1}}]});
        for text in ["{", r#"{"format": 2}"#, &wrong.to_string()] {
            let dir = tempfile::tempdir().unwrap();
            let path = path(dir.path());
            fs::write(&path, text).unwrap();
            assert_eq!(load(&path, "n1").unwrap(), None, "{text}");
            assert!(!path.exists());
        }
    }
}
