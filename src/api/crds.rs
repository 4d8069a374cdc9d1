//! The `CustomResourceDefinition`s, as objects and as the text of the files in `crds/`.
//!
//! Called by the `crds` subcommand and by the in-process validation. Adds to what the derives give
//! only what they cannot say, above all the default of `status`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::common::UNSEEN;
use super::{DHCPAgent, DHCPServer, IPAllocation, Network, PhysicalNetwork, Port, Subnet};

/// The definitions of all kinds, in the order of their file names.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        DHCPAgent::crd(),
        DHCPServer::crd(),
        IPAllocation::crd(),
        Network::crd(),
        PhysicalNetwork::crd(),
        Port::crd(),
        Subnet::crd(),
    ];
    for schema in crds.iter_mut().flat_map(root_schemas) {
        default_status(schema);
        simplify(schema);
    }
    crds
}

/// The files of `crds/`: name and text.
pub fn crds_yaml() -> Result<Vec<(String, String)>, serde_saphyr::ser_error::Error> {
    crds()
        .iter()
        .map(|crd| {
            let name = format!("{}.yaml", crd.spec.names.plural);
            Ok((name, serde_saphyr::to_string(crd)?))
        })
        .collect()
}

fn root_schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// An object that nothing has looked at yet says so from its creation on.
fn default_status(root: &mut JSONSchemaProps) {
    if let Some(status) = root.properties.as_mut().and_then(|p| p.get_mut("status")) {
        status.default = Some(JSON(json!({"observedGeneration": UNSEEN})));
    }
}

/// Drops what only costs: `default: []` puts an empty list into each stored object, and
/// `nullable` keeps a null that would else count as "not said".
fn simplify(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    let empty = |d: &JSON| d.0.as_array().is_some_and(Vec::is_empty) || d.0 == json!({});
    if schema.default.as_ref().is_some_and(empty) {
        schema.default = None;
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        simplify(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        simplify(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        simplify(values);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn files_are_what_the_types_say() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        for (name, text) in crds_yaml().unwrap() {
            let file = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
            assert!(file == text, "crds/{name} is out of date; run: make crds");
        }
    }

    #[test]
    fn every_string_and_list_is_bounded() {
        let mut unbounded = Vec::new();
        for crd in &mut crds() {
            let kind = crd.spec.names.kind.clone();
            root_schemas(crd).for_each(|root| find_unbounded(root, &kind, &mut unbounded));
        }
        assert_eq!(unbounded, Vec::<String>::new());
    }

    fn find_unbounded(schema: &JSONSchemaProps, path: &str, found: &mut Vec<String>) {
        let bounded = match schema.type_.as_deref() {
            Some("string") => {
                schema.max_length.is_some() || schema.enum_.is_some() || schema.format.is_some()
            }
            Some("array") => schema.max_items.is_some(),
            Some("integer") => schema.minimum.is_some() || path.ends_with("observedGeneration"),
            Some("object") => schema.additional_properties.is_none() || schema.max_properties.is_some(),
            _ => true,
        };
        if !bounded {
            found.push(path.to_owned());
        }
        for (name, property) in schema.properties.iter().flatten() {
            let top = path.contains('.') || !["apiVersion", "kind"].contains(&name.as_str());
            if top {
                find_unbounded(property, &format!("{path}.{name}"), found);
            }
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            find_unbounded(items, &format!("{path}[]"), found);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            find_unbounded(values, &format!("{path}{{}}"), found);
        }
    }

    #[test]
    fn no_format_is_foreign_to_kubernetes() {
        for (name, text) in crds_yaml().unwrap() {
            for line in text.lines().filter(|l| l.trim().starts_with("format:")) {
                let known = ["int32", "int64", "date-time"];
                assert!(known.iter().any(|k| line.contains(k)), "{name}: {line}");
            }
        }
    }
}
