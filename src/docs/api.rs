//! `docs/api.md`: what the custom resource definitions say, as tables.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::api::{self, API_VERSION};

const HEAD: &str = "# API reference

Made of the custom resource definitions. `kubectl explain dnet.spec` says the same of a cluster's. What is refused is
refused by the API server, and by an agent that reads a directory; what needs other objects to be
known is told in [conditions](reasons.md).

";

/// Those that users write come first.
const KINDS: [&str; 7] =
    ["PhysicalNetwork", "Network", "Subnet", "Port", "DHCPServer", "DHCPAgent", "IPAllocation"];

/// Lists that several kinds have: the field, and the heading under which their items are told once.
const SHARED: [(&str, &str); 2] = [("options", "DHCP option"), ("conditions", "Condition")];

/// More values than anybody reads in a table; they have one of their own.
const MANY: usize = 16;

fn page() -> String {
    let crds = api::crds();
    let mut page = HEAD.to_owned();
    for kind in KINDS {
        let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        section(&mut page, crd);
    }
    for (field, heading) in SHARED {
        let items = shared(&crds, field);
        let text = sentence(items).unwrap_or_else(|| "What is true of an object at present.".to_owned());
        write!(page, "## {heading}\n\nAn item of `{field}`. {text}\n\n{}{TABLE}", rules_of(items)).unwrap();
        rows(&mut page, items, "");
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

fn section(page: &mut String, crd: &CustomResourceDefinition) {
    let (names, root) = (&crd.spec.names, root(crd));
    let short = names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let where_ = if crd.spec.scope == "Namespaced" { "in a namespace" } else { "of the whole cluster" };
    writeln!(page, "## {}\n\n{}\n", names.kind, sentence(root).unwrap_or_default()).unwrap();
    writeln!(page, "`apiVersion: {API_VERSION}`, short name {}, {where_}.", short.join(", ")).unwrap();
    let rules = rules_of(root);
    if !rules.is_empty() {
        write!(page, "\n{}\n", rules.trim_end()).unwrap();
    }
    for part in ["spec", "status"] {
        let Some(schema) = root.properties.as_ref().and_then(|fields| fields.get(part)) else { continue };
        write!(page, "\n### {} {part}\n\n{}{TABLE}", names.kind, rules_of(schema)).unwrap();
        rows(page, schema, "");
    }
    page.push('\n');
}

const TABLE: &str = "| field | type | value | |\n|---|---|---|---|\n";

/// A row for each field, those of objects and of lists of objects below it.
fn rows(page: &mut String, schema: &JSONSchemaProps, prefix: &str) {
    for (name, field) in schema.properties.iter().flatten() {
        let required = schema.required.iter().flatten().any(|r| r == name);
        let (r#type, below) = r#type(name, field);
        let path = format!("{prefix}{name}");
        let (notes, text) = (notes(field, required), sentence(field).unwrap_or_default());
        writeln!(page, "| `{path}` | {type} | {notes} | {text} |").unwrap();
        if let Some((below, between)) = below {
            rows(page, below, &format!("{path}{between}."));
        }
    }
}

/// What a field is, and what else there is to say below it.
fn r#type<'a>(
    name: &str,
    field: &'a JSONSchemaProps,
) -> (String, Option<(&'a JSONSchemaProps, &'static str)>) {
    if let Some(items) = items(field) {
        if let Some((_, heading)) = SHARED.iter().find(|(shared, _)| *shared == name) {
            let anchor = heading.to_lowercase().replace(' ', "-");
            return (format!("list of [{heading}](#{anchor})"), None);
        }
        let (inner, below) = r#type("", items);
        return (format!("list of {inner}"), below.map(|(below, _)| (below, "[]")));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &field.additional_properties {
        return (format!("map to {}", r#type("", values).0), None);
    }
    let simple = field.type_.as_deref().unwrap_or("any");
    match (field.format.as_deref(), &field.properties) {
        (Some("date-time"), _) => ("time".to_owned(), None),
        (_, Some(_)) => (simple.to_owned(), Some((field, ""))),
        _ => (simple.to_owned(), None),
    }
}

fn items(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

/// What a value must be, and what it is when it is not there.
fn notes(field: &JSONSchemaProps, required: bool) -> String {
    let mut notes = Vec::new();
    notes.extend(required.then(|| "required".to_owned()));
    notes.extend(field.default.as_ref().map(|default| format!("default `{}`", default.0)));
    notes.extend(constraints(field));
    if let Some(items) = items(field) {
        let each = constraints(items).into_iter().chain(messages(items));
        notes.extend(each.map(|note| format!("each: {note}")));
    }
    notes.extend(messages(field));
    notes.join("; ")
}

/// What its fields must be together.
fn messages(schema: &JSONSchemaProps) -> impl Iterator<Item = String> {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    rules.filter_map(|rule| rule.message.as_deref()).map(cell)
}

fn rules_of(schema: &JSONSchemaProps) -> String {
    let rules: Vec<_> = messages(schema).map(|message| format!("- {message}\n")).collect();
    if rules.is_empty() { String::new() } else { format!("{}\n", rules.concat()) }
}

fn constraints(field: &JSONSchemaProps) -> Vec<String> {
    let values = field.enum_.iter().flatten().map(|value| format!("`{}`", text(&value.0)));
    let values: Vec<_> = values.collect();
    let mut notes = match values.len() {
        0 => vec![],
        1..=MANY => vec![values.join(", ")],
        _ => vec!["a [name](options.md#names)".to_owned()],
    };
    notes.extend(range(field.minimum.map(number), field.maximum.map(number), ""));
    notes.extend(range(field.min_length, field.max_length, " characters"));
    notes.extend(range(field.min_items, field.max_items, " items"));
    notes.extend(range(field.min_properties, field.max_properties, " entries"));
    notes.extend(field.pattern.as_ref().map(|pattern| format!("`{}`", pattern.replace('|', "\\|"))));
    notes
}

fn range<T: std::fmt::Display>(from: Option<T>, to: Option<T>, of: &str) -> Option<String> {
    match (from, to) {
        (Some(from), Some(to)) => Some(format!("{from} to {to}{of}")),
        (Some(from), None) => Some(format!("at least {from}{of}")),
        (None, Some(to)) => Some(format!("at most {to}{of}")),
        (None, None) => None,
    }
}

/// Bounds of integers are floating-point numbers in a schema.
fn number(bound: f64) -> String {
    format!("{bound:.0}")
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn sentence(schema: &JSONSchemaProps) -> Option<String> {
    schema.description.as_deref().map(cell)
}

/// In one line, and harmless in a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}

fn root(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
    let version = crd.spec.versions.first().unwrap();
    version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()
}

/// What the items of a list are that several kinds have; they are the same in all.
fn shared<'a>(crds: &'a [CustomResourceDefinition], field: &str) -> &'a JSONSchemaProps {
    let parts = crds.iter().flat_map(|crd| root(crd).properties.iter().flatten());
    let lists = parts.filter_map(|(_, part)| items(part.properties.as_ref()?.get(field)?));
    let lists: Vec<_> = lists.collect();
    assert!(lists.len() > 1 && lists.iter().all(|list| *list == lists[0]), "{field} differ");
    lists[0]
}

#[test]
fn the_api_reference_in_the_docs_is_current() {
    crate::docs::assert_says("api.md", &page());
}

#[test]
fn the_api_reference_has_every_kind_and_field() {
    let page = page();
    let kinds: Vec<_> = api::crds().iter().map(|crd| crd.spec.names.kind.clone()).collect();
    assert!(kinds.len() == KINDS.len() && kinds.iter().all(|kind| page.contains(&format!("\n## {kind}\n"))));
    for row in [
        "| `cidr` | string | required; 4 to 49 characters;",
        "| `dhcp.dynamic.first` | string | required;",
        "| `addresses[].subnetRef.name` | string | required;",
        "| `dhcp.leaseDurationSeconds` | integer | default `86400`; 120 to 4294967295 |",
        "| `options` | list of [DHCP option](#dhcp-option) |",
        "| `when.architectures` | list of string | 1 to 12 items; each: `X86BIOS`,",
    ] {
        assert!(page.contains(row), "{row}");
    }
}
