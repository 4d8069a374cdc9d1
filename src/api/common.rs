//! Types that several kinds share: references, selectors, conditions, the DNS answer.
//!
//! Used by the kinds of this folder and by whoever reads them. No logic lives here; what a value
//! means is decided elsewhere.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// RFC 1123 label, as Kubernetes takes it: lower case.
pub(crate) const DNS_LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// RFC 1123 name: labels of at most 63 characters with dots between them.
pub(crate) const DNS_NAME: &str =
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";

/// The same with underscores, and with the root's dot or without.
pub(crate) const RECORD_NAME: &str =
    r"^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*\.?$";

/// The name of a Network in the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRef {
    /// Name of the Network.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
}

/// The name of a Subnet in the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SubnetRef {
    /// Name of the Subnet.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
}

/// The name of a PhysicalNetwork.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalNetworkRef {
    /// Name of the PhysicalNetwork, and of the agents' mapping of it.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
}

/// Selects objects by their labels. All requirements must hold; an empty selector selects all.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that an object must have, with exactly these values. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,

    /// Further requirements on labels. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement on a label.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// How the label's value is compared with `values`.
    pub operator: LabelSelectorOperator,

    /// The values: needed for In and NotIn, absent for Exists and DoesNotExist. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelSelectorOperator {
    /// The value is one of `values`.
    In,
    /// The label is absent or its value is none of `values`.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// Which DNS servers guests of a subnet are told.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = crate::api::rules::union("type", "Addresses", "addresses"))]
#[serde(rename_all = "camelCase")]
pub struct SubnetDns {
    /// Servers: the addresses of this network's DHCP servers, which answer for its ports' names.
    /// Addresses: those in `addresses`. None: no DNS server is announced.
    pub r#type: SubnetDnsType,

    /// IP addresses of DNS servers, in order of preference; at most 8. Only with type Addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 2, max = 39)))]
    #[x_kube(validation = crate::api::rules::ips())]
    pub addresses: Option<Vec<String>>,
}

/// Which DNS servers guests of a subnet are told.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubnetDnsType {
    /// This network's DHCP servers.
    #[default]
    Servers,
    /// Those that `addresses` names.
    Addresses,
    /// None at all.
    None,
}

/// The schema of `conditions`: a list map by type of bounded `metav1.Condition`s.
pub(crate) fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What is true of this object at present; one entry per type.",
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"description": "What the condition is about, in CamelCase.", "type": "string", "maxLength": 316},
                "status": {"description": "True, False or Unknown.", "type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"description": "The metadata.generation that the condition was set for.", "type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"description": "When status changed last.", "type": "string", "format": "date-time"},
                "reason": {"description": "Why, as one CamelCase word.", "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                "message": {"description": "Why, for humans.", "type": "string", "maxLength": 32768}
            }
        }
    })
}

/// The conditions of an object, as Kubernetes has them.
pub type Conditions = Vec<Condition>;

/// `observedGeneration` of an object that nothing has looked at yet.
pub(crate) const UNSEEN: i64 = -1;

/// For serde: the default of `observedGeneration`.
pub(crate) fn unseen() -> i64 {
    UNSEEN
}
