//! The forms in which Neutron's objects come: its REST API's, the `openstack` client's.
//!
//! Finds the objects in a JSON text and gives their fields the names of the REST API. Pure.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::report::{Effect, Entry, Notes, Subject};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) networks: Vec<Fields>,
    pub(super) subnets: Vec<Fields>,
    pub(super) ports: Vec<Fields>,
    pub(super) segments: Vec<Fields>,
    pub(super) config: Fields,
    /// What is none of these.
    pub(super) entries: Vec<Entry>,
}

/// All objects of these texts.
pub(super) fn find(inputs: Vec<Value>) -> Found {
    let (mut found, mut config) = (Found::default(), Map::new());
    let mut notes = Notes::new(Subject { kind: "input", ..Subject::default() });
    for input in inputs {
        match input {
            Value::Array(items) => items.into_iter().for_each(|item| found.object(item, &mut notes)),
            Value::Object(map) if map.contains_key("id") || map.contains_key("ID") => {
                found.object(Value::Object(map), &mut notes);
            }
            Value::Object(map) => {
                for (key, value) in map {
                    found.part(&key, value, &mut config, &mut notes);
                }
            }
            other => notes.not_imported("", &other, "is not Neutron's JSON"),
        }
    }
    found.config = Fields::new(config);
    found.entries = notes.into_entries();
    found
}

impl Found {
    /// A list of the REST API, or one object of it.
    fn part(&mut self, key: &str, value: Value, config: &mut Map<String, Value>, notes: &mut Notes) {
        let list = match key {
            "networks" | "network" => &mut self.networks,
            "subnets" | "subnet" => &mut self.subnets,
            "ports" | "port" => &mut self.ports,
            "segments" | "segment" => &mut self.segments,
            "config" => match value {
                Value::Object(map) => return config.extend(map),
                other => return notes.not_imported("config", &other, "is not an object"),
            },
            // Where the next page is says nothing here: whoever asked has asked for it.
            "networks_links" | "subnets_links" | "ports_links" => {
                return notes.add(Effect::Lost, key, &value, "there are more pages; give all of them");
            }
            _ => return notes.not_imported(key, &value, "is not a list of networks, subnets or ports"),
        };
        let items = if let Value::Array(items) = value { items } else { vec![value] };
        for item in items {
            match item {
                Value::Object(map) => list.push(Fields::new(renamed(map))),
                other => notes.not_imported(key, &other, "is not an object"),
            }
        }
    }

    /// An object of which only its fields tell what it is.
    fn object(&mut self, item: Value, notes: &mut Notes) {
        let Value::Object(map) = item else {
            return notes.not_imported("", &item, "is not an object");
        };
        let fields = Fields::new(renamed(map));
        if fields.has("mac_address") {
            self.ports.push(fields);
        } else if fields.has("cidr") {
            self.subnets.push(fields);
        } else if fields.has("subnets") || fields.has("provider:network_type") {
            self.networks.push(fields);
        } else {
            let id = fields.peek("id").into();
            notes.not_imported("id", &id, "has not the fields of a network, a subnet or a port");
        }
    }
}

/// With the names that the REST API has for the client's columns.
fn renamed(map: Map<String, Value>) -> Map<String, Value> {
    let name = |column: String| match COLUMNS.iter().find(|(theirs, _)| *theirs == column) {
        Some((_, name)) => (*name).to_owned(),
        None => column,
    };
    map.into_iter().map(|(key, value)| (name(key), value)).collect()
}

const COLUMNS: [(&str, &str); 31] = [
    ("ID", "id"),
    ("Name", "name"),
    ("Project", "project_id"),
    ("Status", "status"),
    ("State", "admin_state_up"),
    ("Tags", "tags"),
    ("Shared", "shared"),
    ("Subnets", "subnets"),
    ("Network Type", "provider:network_type"),
    ("Router Type", "router:external"),
    ("Availability Zones", "availability_zones"),
    ("provider_network_type", "provider:network_type"),
    ("provider_physical_network", "provider:physical_network"),
    ("provider_segmentation_id", "provider:segmentation_id"),
    ("Network", "network_id"),
    ("Network ID", "network_id"),
    ("Subnet", "cidr"),
    ("DHCP", "enable_dhcp"),
    ("Name Servers", "dns_nameservers"),
    ("Allocation Pools", "allocation_pools"),
    ("Host Routes", "host_routes"),
    ("IP Version", "ip_version"),
    ("Gateway", "gateway_ip"),
    ("Service Types", "service_types"),
    ("Segment", "segment_id"),
    ("MAC Address", "mac_address"),
    ("Fixed IP Addresses", "fixed_ips"),
    ("Security Groups", "security_groups"),
    ("Device Owner", "device_owner"),
    ("Device ID", "device_id"),
    ("is_router_external", "router:external"),
];
