//! Neutron's networks, subnets and ports as our objects, and a report of what has no counterpart.
//!
//! Called by `kube-dhcp import`. Pure: JSON in, objects out. Each object's fields are taken one by one; what
//! nobody took is reported (`fields`), so nothing is lost without a word. Everything that leaves passes the
//! validation that a manifest passes.

mod config;
mod fields;
mod names;
mod network;
mod options;
mod port;
mod report;
mod routers;
mod shape;
mod subnet;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{NetworkSpec, PortSpec, SubnetSpec};
use crate::reason::Problem;
use crate::source::Kind;
use crate::source::metadata::is_name;
use crate::source::schema::Validator;
use crate::validate;
use config::Config;
use fields::Fields;
pub use network::Segment;
use report::Notes;
pub use report::{Effect, Entry, Subject};
use routers::Routers;
use shape::Found;
use subnet::On;
use target::Target;

/// What the input does not say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Namespace of all objects.
    pub namespace: String,
    /// For networks of which the input does not say on which physical network they are.
    pub physical_network: Option<String>,
    /// By a network's id or name, where it shall be.
    pub segments: Vec<(String, Segment)>,
}

/// What became of an input.
#[derive(Debug, Default, PartialEq)]
pub struct Imported {
    /// Networks, each with its Subnets and Ports, in the order of their names.
    pub networks: Vec<Group>,
    /// What has no counterpart.
    pub entries: Vec<Entry>,
}

/// A Network and what is on it.
#[derive(Debug, Default, PartialEq)]
pub struct Group {
    /// The Network's name.
    pub name: String,
    /// Manifests: the Network, its Subnets, its Ports.
    pub objects: Vec<Value>,
}

impl Group {
    /// Its manifests as YAML documents.
    pub fn yaml(&self) -> Result<String, serde_saphyr::ser_error::Error> {
        let mut text = String::new();
        for object in &self.objects {
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(object)?);
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(text)
    }
}

impl Imported {
    /// How many objects have no manifest.
    pub fn missing(&self) -> usize {
        self.entries.iter().filter(|entry| entry.effect == Effect::NotImported).count()
    }
}

/// The objects of these JSON texts.
pub fn import(inputs: Vec<Value>, options: &Options, validator: &Validator) -> Imported {
    let mut found = shape::find(inputs);
    let (config, entries) = config::read(std::mem::take(&mut found.config));
    let mut import = Import { options, validator, config, entries, made: BTreeMap::new() };
    import.entries.append(&mut found.entries);
    import.run(found);
    let networks = import.made.into_values().map(Made::into_group).collect();
    Imported { networks, entries: import.entries }
}

/// What is known of a network that has a manifest.
struct Made {
    on: On,
    network: Value,
    subnets: BTreeMap<String, Value>,
    ports: BTreeMap<String, Value>,
}

impl Made {
    fn into_group(self) -> Group {
        let below = self.subnets.into_values().chain(self.ports.into_values());
        Group { name: self.on.network, objects: std::iter::once(self.network).chain(below).collect() }
    }
}

struct Import<'a> {
    options: &'a Options,
    validator: &'a Validator,
    config: Config,
    entries: Vec<Entry>,
    /// By the Network's name.
    made: BTreeMap<String, Made>,
}

impl Import<'_> {
    fn run(&mut self, found: Found) {
        let segments = self.segments(found.segments, &found.subnets);
        let routers = Routers::of(&found.ports);
        let networks = self.networks(found.networks, &segments, &routers.unled(&found.subnets));
        let (of_subnets, cidrs) = self.subnets(found.subnets, &networks, &routers);
        self.ports(found.ports, &networks, &of_subnets, &cidrs);
    }

    /// By a routed network's id, the segments that are served as the Network.
    fn segments(&mut self, segments: Vec<Fields>, subnets: &[Fields]) -> BTreeMap<String, BTreeSet<String>> {
        let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for mut fields in segments {
            let (id, network) = (fields.text("id"), fields.text("network_id"));
            let mut notes = Notes::new(Subject::new("segment", &id, fields.peek("name")));
            named.entry(network).or_default().insert(id);
            fields.report_rest(&mut notes);
            self.entries.extend(notes.into_entries());
        }
        // Where nobody says which one is meant, one is, and of several none.
        let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for subnet in subnets {
            let segment = subnet.clone().text("segment_id");
            used.entry(subnet.peek("network_id").to_owned())
                .or_default()
                .extend((!segment.is_empty()).then_some(segment));
        }
        for (network, segments) in used {
            let known = if segments.len() > 1 { BTreeSet::new() } else { segments };
            named.entry(network).or_insert(known);
        }
        named
    }

    fn networks(
        &mut self,
        found: Vec<Fields>,
        segments: &BTreeMap<String, BTreeSet<String>>,
        unled: &BTreeSet<String>,
    ) -> BTreeMap<String, String> {
        let (mut networks, mut holders) = (BTreeMap::new(), BTreeMap::new());
        for segment in &self.options.segments {
            let is = |fields: &Fields| [fields.peek("id"), fields.peek("name")].contains(&segment.0.as_str());
            if !found.iter().any(is) {
                let mut notes = Notes::new(Subject { kind: "input", ..Subject::default() });
                notes.not_imported("--segment", &segment.0.as_str().into(), "no network has this id or name");
                self.entries.extend(notes.into_entries());
            }
        }
        for (target, mut fields) in self.identified(found, "network") {
            let mut notes = self.notes("network", &target);
            let down = fields.flag("admin_state_up") == Some(false);
            if down {
                let message = "Neutron serves nothing there: its Subnets have dhcp.mode Disabled";
                notes.changed("admin_state_up", &false.into(), message);
            }
            let mut network = network::network(&mut fields, &target, self.options, &self.config, &mut notes);
            if let Some(network) = network.as_mut().filter(|_| unled.contains(&target.id)) {
                network::offer_to_all(network);
            }
            let problems = network.as_ref().map(validate::network).unwrap_or_default();
            let value = network.and_then(|network| {
                let segment = crate::desired::segment_id(&network);
                if let Some(holder) = holders.insert(segment, target.name.clone()) {
                    let message =
                        format!("Network {holder} is on the same segment; only one of them is served");
                    notes.add(Effect::NotServed, "provider:network_type", &Value::Null, message);
                }
                self.judged(Kind::Network, &network, &json!(NetworkSpec::default()), problems, &mut notes)
            });
            if let Some(value) = value {
                let segments = segments.get(&target.id).cloned();
                let on = On { network: target.name.clone(), down, segments };
                let made = Made { on, network: value, subnets: BTreeMap::new(), ports: BTreeMap::new() };
                self.made.insert(target.name.clone(), made);
                networks.insert(target.id, target.name);
            }
            fields.report_rest(&mut notes);
            self.entries.extend(notes.into_entries());
        }
        networks
    }

    /// By the subnets' ids, their networks' names, and their CIDRs.
    fn subnets(
        &mut self,
        found: Vec<Fields>,
        networks: &BTreeMap<String, String>,
        routers: &Routers,
    ) -> (BTreeMap<String, String>, port::Subnets) {
        let (mut of_subnets, mut cidrs) = (BTreeMap::new(), BTreeMap::new());
        for (target, mut fields) in self.identified(found, "subnet") {
            let mut notes = self.notes("subnet", &target);
            let id = fields.text("network_id");
            let on = networks.get(&id).and_then(|name| self.made.get(name)).map(|made| made.on.clone());
            let Some(on) = on else {
                notes.not_imported("network_id", &id.into(), "its network is not imported");
                self.entries.extend(notes.into_entries());
                continue;
            };
            if let Some((subnet, cidr)) =
                subnet::subnet(&mut fields, &target, &on, &self.config, routers, &mut notes)
            {
                let problems = validate::subnet(&subnet);
                let empty = json!(SubnetSpec::default());
                if let Some(value) = self.judged(Kind::Subnet, &subnet, &empty, problems, &mut notes) {
                    cidrs.insert(target.id.clone(), cidr);
                    of_subnets.insert(target.id, on.network.clone());
                    if let Some(made) = self.made.get_mut(&on.network) {
                        made.subnets.insert(target.name, value);
                    }
                }
            }
            fields.report_rest(&mut notes);
            self.entries.extend(notes.into_entries());
        }
        (of_subnets, cidrs)
    }

    fn ports(
        &mut self,
        found: Vec<Fields>,
        networks: &BTreeMap<String, String>,
        of_subnets: &BTreeMap<String, String>,
        cidrs: &port::Subnets,
    ) {
        for (target, mut fields) in self.identified(found, "port") {
            let mut notes = self.notes("port", &target);
            let network = network_of(&mut fields, networks, of_subnets);
            if port::is_dhcp_server(&fields) {
                let mut notes = Notes::new(Subject::new("port", &target.id, &target.neutron_name));
                let message = "not imported: the Network's own servers take its place";
                notes.lost("device_owner", &"network:dhcp".into(), message);
                self.entries.extend(notes.into_entries());
                continue;
            }
            let Ok(network) = network else {
                let id = network.err().unwrap_or_default();
                notes.not_imported("network_id", &id.into(), "its network is not imported");
                self.entries.extend(notes.into_entries());
                continue;
            };
            let domain = self.config.domain.as_ref();
            let port = port::port(&mut fields, &target, &network, cidrs, domain, &mut notes);
            let problems = validate::port(&port);
            if let Some(value) =
                self.judged(Kind::Port, &port, &json!(PortSpec::default()), problems, &mut notes)
                && let Some(made) = self.made.get_mut(&network)
            {
                made.ports.insert(target.name, value);
            }
            fields.report_rest(&mut notes);
            self.entries.extend(notes.into_entries());
        }
    }

    fn notes(&self, kind: &'static str, target: &Target) -> Notes {
        let object = format!("{}/{}", self.options.namespace, target.name);
        Notes::of(kind, &target.id, &target.neutron_name, &object)
    }

    /// Each with its id and our name for it, in the order of the ids.
    fn identified(&mut self, found: Vec<Fields>, kind: &'static str) -> Vec<(Target, Fields)> {
        let mut by_id: BTreeMap<String, (String, Fields)> = BTreeMap::new();
        for mut fields in found {
            let (id, name) = (fields.text("id"), fields.text("name"));
            let mut notes = Notes::new(Subject::new(kind, &id, &name));
            match by_id.get(&id) {
                _ if !is_name(&id) => notes.not_imported("id", &id.into(), "is no id"),
                None => {
                    by_id.insert(id, (name, fields));
                }
                Some(first) if *first == (name, fields) => {}
                Some(_) => notes.lost("id", &id.into(), "it is in the input twice; the first one counts"),
            }
            self.entries.extend(notes.into_entries());
        }
        let objects: Vec<_> = by_id.iter().map(|(id, (name, _))| (names::uuid(id), name.as_str())).collect();
        let names = names::names(&objects, kind);
        let target = |((id, (neutron_name, fields)), name): ((String, (String, Fields)), String)| {
            let namespace = self.options.namespace.clone();
            (Target { id, neutron_name, name, namespace }, fields)
        };
        by_id.into_iter().zip(names).map(target).collect()
    }

    /// The manifest, if an API server would take it. What this version does not serve is reported only.
    fn judged(
        &self,
        kind: Kind,
        object: &impl Serialize,
        empty: &Value,
        problems: Vec<Problem>,
        notes: &mut Notes,
    ) -> Option<Value> {
        let mut value = json!(object);
        let mut checked = value.clone();
        if let Err(errors) = self.validator.validate(kind, &mut checked, None) {
            for error in errors {
                notes.not_imported(&error.field, &Value::Null, error.message);
            }
            return None;
        }
        for problem in problems {
            let (field, message) = problem.message.split_once(": ").unwrap_or(("", &problem.message));
            notes.add(Effect::NotServed, field, &Value::Null, message);
        }
        if let (Some(spec), Some(empty)) = (value["spec"].as_object_mut(), empty.as_object()) {
            // Defaults need not be said.
            spec.retain(|name, value| empty.get(name) != Some(value));
        }
        Some(value)
    }
}

/// The name of its network here, or the id that says nothing. The client's lists do not have it: then
/// its addresses tell.
fn network_of(
    fields: &mut Fields,
    networks: &BTreeMap<String, String>,
    of_subnets: &BTreeMap<String, String>,
) -> Result<String, String> {
    if fields.has("network_id") {
        let id = fields.text("network_id");
        return networks.get(&id).cloned().ok_or(id);
    }
    let ips = fields.clone().list("fixed_ips").unwrap_or_default();
    let mut ids = ips.iter().filter_map(|ip| ip["subnet_id"].as_str());
    ids.find_map(|id| of_subnets.get(id).cloned()).ok_or_else(String::new)
}

#[cfg(test)]
mod tests;
