//! The fields of a foreign object: whatever nobody takes is left over, to be reported.
//!
//! Used by the rest of `import`. Pure.

use serde_json::{Map, Value};

use super::report::Notes;

/// An object, as far as it was not taken yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(map: Map<String, Value>) -> Self {
        Self(map)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A look at a text that is not taken.
    pub(super) fn peek(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The value; null where there is none.
    pub(super) fn take(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or_default()
    }

    /// A text or a number; empty where there is none. What is neither stays.
    pub(super) fn text(&mut self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::String(_) | Value::Number(_)) => {}
            _ => return String::new(),
        }
        match self.take(name) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// The items; none where there is no list. What is no list stays.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        if !self.0.get(name)?.is_array() {
            return None;
        }
        match self.take(name) {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// A truth; unset where there is none. What is none stays.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let flag = match self.0.get(name)? {
            Value::Bool(flag) => *flag,
            Value::String(text) if text == "UP" => true,
            Value::String(text) if text == "DOWN" => false,
            _ => return None,
        };
        self.take(name);
        Some(flag)
    }

    /// A number; unset where there is none. What is none stays.
    pub(super) fn number(&mut self, name: &str) -> Option<i64> {
        let number = self.0.get(name)?.as_i64()?;
        self.take(name);
        Some(number)
    }

    /// Says of each field that is left, and says something, that it is lost.
    pub(super) fn report_rest(self, notes: &mut Notes) {
        for (name, value) in self.0 {
            if !is_silent(&name, &value) {
                notes.lost(&name, &value, reason(&name));
            }
        }
    }
}

/// What Neutron keeps for itself, and what says nothing or what is so anyway.
fn is_silent(name: &str, value: &Value) -> bool {
    const RECORDS: [&str; 7] = [
        "created_at",
        "updated_at",
        "revision_number",
        "status",
        "tenant_id",
        "availability_zones",
        "location",
    ];
    let nothing = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let usual = matches!(
        (name, value.as_str()),
        ("binding:vnic_type", Some("normal"))
            | ("ip_allocation", Some("immediate"))
            | ("router:external", Some("Internal"))
            | ("binding:vif_type", Some("unbound"))
    );
    nothing || usual || RECORDS.contains(&name) || (name == "l2_adjacency" && value == &Value::Bool(true))
}

/// Why a field has no counterpart.
fn reason(name: &str) -> &'static str {
    match name {
        "security_groups" | "security_group_ids" => {
            "nothing here filters packets; see NetworkPolicy or nftables"
        }
        "port_security_enabled" => "nothing here keeps a guest from using another address",
        "allowed_address_pairs" => {
            "nothing here keeps a guest from using another address, so none is allowed either"
        }
        "qos_policy_id" | "qos_network_policy_id" => "nothing here limits bandwidth",
        "shared" => "a Network is used by its own namespace only",
        "router:external" => "there are no routers here; it is a network like any other",
        "dns_domain" => "names are not given to a DNS service outside",
        "subnetpool_id" => "the CIDR is what counts; there are no subnet pools",
        "service_types" => "all Ports of the Network may have its addresses",
        "ipv4_address_scope" | "ipv6_address_scope" => "there are no address scopes",
        "availability_zone_hints" => "say it with the Network's dhcp.nodeSelector",
        "vlan_transparent" => "it is not asked for",
        "description" | "tags" => "add it as a label or an annotation, if it is of use",
        "trunk_details" => "there are no trunks; subports are Ports of their own Networks",
        name if name.starts_with("binding") => "where a guest runs is not known here",
        _ => "has no counterpart",
    }
}
