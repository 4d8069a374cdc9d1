//! A Neutron network as a Network. Pure.

use std::str::FromStr;

use serde_json::{Value, json};

use super::Options;
use super::config::Config;
use super::fields::Fields;
use super::names::{is_label, physical_network};
use super::report::Notes;
use super::target::Target;
use crate::api::{
    MetadataServiceType, Network, NetworkDns, NetworkSpec, PhysicalNetworkRef, Segmentation,
    SegmentationType, Vlan,
};

/// A physical network, and a VLAN of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The `PhysicalNetwork`'s name.
    pub physical: String,
    /// Unset: untagged.
    pub vlan: Option<u16>,
}

impl FromStr for Segment {
    type Err = String;

    /// `PHYSICAL` or `PHYSICAL:VLAN`
    fn from_str(text: &str) -> Result<Self, String> {
        let (physical, vlan) = match text.split_once(':') {
            None => (text, None),
            Some((physical, vlan)) => {
                (physical, Some(number(vlan).ok_or_else(|| format!("{vlan:?} is not a VLAN, 1 to 4094"))?))
            }
        };
        if !is_label(physical) {
            return Err(format!("{physical:?} cannot be a PhysicalNetwork's name: 1 to 63 of a-z, 0-9, '-'"));
        }
        Ok(Self { physical: physical.to_owned(), vlan })
    }
}

/// The Network; `None` where nobody can say on which segment it is.
pub(super) fn network(
    fields: &mut Fields,
    target: &Target,
    options: &Options,
    config: &Config,
    notes: &mut Notes,
) -> Option<Network> {
    let segment = match segment(fields, target, options, notes) {
        Ok(segment) => segment,
        Err((value, message)) => {
            notes.not_imported("provider:network_type", &value, message);
            return None;
        }
    };
    let segmentation = match segment.vlan {
        Some(id) => Segmentation { r#type: SegmentationType::Vlan, vlan: Some(Vlan { id }) },
        None => Segmentation::default(),
    };
    let domain = config.domain.as_ref().map(ToString::to_string);
    let spec = NetworkSpec {
        physical_network_ref: PhysicalNetworkRef { name: segment.physical },
        segmentation,
        mtu: mtu(fields, notes),
        dns: NetworkDns { domain, forwarding: config.forwarding.clone(), ..NetworkDns::default() },
        ..NetworkSpec::default()
    };
    // Subnets say which network they are on.
    fields.take("subnets");
    let mut network = Network::new(&target.name, spec);
    network.metadata = target.metadata(fields, &[("project-id", "project_id")], notes);
    network.spec.metadata_service = config.metadata.clone();
    Some(network)
}

/// To Neutron a subnet is isolated, too, whose gateway is no router of its own. Guests that a router leads
/// to its metadata service have a host route there, which comes before ours.
pub(super) fn offer_to_all(network: &mut Network) {
    let service = &mut network.spec.metadata_service;
    if service.r#type == MetadataServiceType::IsolatedSubnets {
        service.r#type = MetadataServiceType::Always;
    }
}

/// Where it is; or the value that does not tell, and why not.
fn segment(
    fields: &mut Fields,
    target: &Target,
    options: &Options,
    notes: &mut Notes,
) -> Result<Segment, (Value, String)> {
    let kind = fields.text("provider:network_type");
    let physical = fields.text("provider:physical_network");
    let vlan = fields.text("provider:segmentation_id");
    let (id, name) = (target.id.as_str(), target.neutron_name.as_str());
    let told = options.segments.iter().find(|(network, _)| network == id || network == name);
    if let Some((_, segment)) = told {
        fields.take("segments");
        let was = json!([kind, physical, vlan]);
        if was != json!(["", "", ""]) {
            notes.changed("provider:network_type", &was, "it is where --segment says");
        }
        return Ok(segment.clone());
    }
    let several = fields.list("segments").filter(|segments| !segments.is_empty());
    if let Some(segments) = several {
        let message = "it has several segments, and a Network has one; say which with --segment";
        return Err((segments.into(), message.to_owned()));
    }
    let named = mapped(&physical, notes).or_else(|| options.physical_network.clone());
    match (kind.as_str(), named, number(&vlan)) {
        ("" | "flat", Some(physical), _) => Ok(Segment { physical, vlan: None }),
        ("vlan", Some(physical), Some(vlan)) => Ok(Segment { physical, vlan: Some(vlan) }),
        ("vlan", _, None) => {
            Err((vlan.into(), "its VLAN is not in the input; say it with --segment".to_owned()))
        }
        ("" | "flat" | "vlan", None, _) => {
            let message =
                "its physical network is not in the input; say it with --physical-network or --segment";
            Err((physical.into(), message.to_owned()))
        }
        _ => {
            let message =
                "only flat and vlan networks have a counterpart; say with --segment where it shall be";
            Err((kind.into(), message.to_owned()))
        }
    }
}

/// Of a VLAN.
fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|id| (1..=4_094).contains(id))
}

fn mapped(physical: &str, notes: &mut Notes) -> Option<String> {
    if physical.is_empty() {
        return None;
    }
    let name = physical_network(physical);
    if name != physical {
        let message = format!("it is called {name}: a PhysicalNetwork's name is 1 to 63 of a-z, 0-9, '-'");
        notes.changed("provider:physical_network", &physical.into(), message);
    }
    Some(name)
}

/// Neutron's 0 stands for none.
fn mtu(fields: &mut Fields, notes: &mut Notes) -> Option<u16> {
    let number = fields.number("mtu").filter(|number| *number != 0)?;
    let mtu = u16::try_from(number).ok().filter(|mtu| *mtu >= 576);
    if mtu.is_none() {
        notes.lost("mtu", &number.into(), "is not 576 to 65535");
    }
    mtu
}
