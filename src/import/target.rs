//! What an object is called, and what is kept of whose it was. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::fields::Fields;
use super::report::Notes;
use crate::plain::cut;

/// An object that is being imported.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: String,
    pub(super) neutron_name: String,
    pub(super) name: String,
    pub(super) namespace: String,
}

/// The longest annotation.
const ANNOTATION: usize = 1_024;

impl Target {
    /// Its name, its id as a label, and as annotations what is of use to whoever asks whose it is.
    pub(super) fn metadata(
        &self,
        fields: &mut Fields,
        kept: &[(&str, &str)],
        notes: &mut Notes,
    ) -> ObjectMeta {
        let mut annotations = BTreeMap::new();
        let mut keep = |key: &str, field: &str, text: &str, notes: &mut Notes| {
            if text.len() > ANNOTATION {
                notes.changed(
                    field,
                    &text.into(),
                    format!("the annotation has its first {ANNOTATION} bytes"),
                );
            }
            if !text.is_empty() {
                annotations.insert(format!("{PREFIX}/{key}"), cut(text, ANNOTATION).to_owned());
            }
        };
        if self.neutron_name != self.name {
            keep("name", "name", &self.neutron_name, notes);
        }
        for (key, field) in kept {
            keep(key, field, &fields.text(field), notes);
        }
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            labels: Some(BTreeMap::from([(format!("{PREFIX}/id"), self.id.clone())])),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }
    }
}

/// Of our labels and annotations that are about Neutron.
const PREFIX: &str = "neutron.kube-dhcp.io";
