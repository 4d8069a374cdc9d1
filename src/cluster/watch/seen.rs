//! What is watched, and what a watch sees of it.
//!
//! Told by a watch to its listener. Pure.

use kube::ResourceExt;
use kube::core::DynamicObject;

use super::Watched;
use crate::types::Revision;

/// What a watch saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen<K> {
    /// All that is selected, as of this revision. What is not among it is gone.
    Listed(Vec<K>, Vec<Unreadable>, Revision),
    /// An object is new or changed.
    Applied(K, Revision),
    /// An object is gone.
    Deleted(Gone, Revision),
    /// Everything up to this revision was seen.
    Reached(Revision),
    /// An object is new or changed, and not readable.
    Unreadable(Unreadable),
    /// What follows comes from an API server that may be another one.
    Reconnected,
    /// Nothing is seen at present, for this cause.
    Broken(String),
}

impl<K: Watched> Seen<K> {
    pub(super) fn listed(objects: Vec<DynamicObject>, revision: Revision) -> Self {
        let (mut readable, mut unreadable) = (Vec::with_capacity(objects.len()), Vec::new());
        for object in objects {
            match typed(object) {
                Ok(object) => readable.push(object),
                Err(e) => unreadable.push(e),
            }
        }
        Self::Listed(readable, unreadable, revision)
    }

    pub(super) fn applied(object: DynamicObject, revision: Revision) -> Self {
        typed(object).map_or_else(Self::Unreadable, |object| Self::Applied(object, revision))
    }

    pub(super) fn deleted(object: &DynamicObject, revision: Revision) -> Self {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        Self::Deleted(Gone { namespace, name, uid: object.uid() }, revision)
    }
}

/// An object that is gone. What it was need not be readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its namespace; empty where it had none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
}

/// An object that this version cannot read. It is there all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Network that it says to belong to.
    pub network: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

/// What is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// `None`: in all namespaces, or the kind has none.
    pub namespace: Option<String>,
    /// Field selector, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
}

fn typed<K: Watched>(mut object: DynamicObject) -> Result<K, Unreadable> {
    // Nobody here asks who wrote which field, and it is half of an object.
    object.metadata.managed_fields = None;
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let network = object.data.pointer("/spec/networkRef/name").and_then(|name| name.as_str());
    let network = network.map(str::to_owned);
    object.try_parse().map_err(|e| Unreadable { namespace, name, network, why: e.to_string() })
}
