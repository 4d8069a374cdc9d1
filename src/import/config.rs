//! The options of Neutron's DHCP agent, as far as guests see them.
//!
//! Read once for each import; what there is of it goes into Networks and Subnets. Pure.

use std::net::IpAddr;

use serde_json::Value;

use super::fields::Fields;
use super::report::{Entry, Notes, Subject};
use crate::api::{Forwarding, ForwardingType, MetadataService, MetadataServiceType, SubnetDhcp};
use crate::types::{DomainName, TxtRecord};

/// Neutron's own default.
const DOMAIN: &str = "openstacklocal";

/// The most that our API has of them.
const FORWARDERS: usize = 8;

/// What holds for all networks.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) domain: Option<DomainName>,
    pub(super) forwarding: Forwarding,
    pub(super) metadata: MetadataService,
    /// The lease times; nothing else.
    pub(super) times: SubnetDhcp,
}

/// Reads the options.
pub(super) fn read(mut fields: Fields) -> (Config, Vec<Entry>) {
    let mut notes = Notes::new(Subject { kind: "config", ..Subject::default() });
    // It tells Neutron's own DHCP port from those of others; all are left out.
    fields.take("host");
    let config = Config {
        domain: domain(&mut fields, &mut notes),
        forwarding: forwarding(&mut fields, &mut notes),
        metadata: metadata(&mut fields),
        times: times(&mut fields, &mut notes),
    };
    txt_record(&mut fields, &mut notes);
    fields.report_rest(&mut notes);
    (config, notes.into_entries())
}

fn domain(fields: &mut Fields, notes: &mut Notes) -> Option<DomainName> {
    let text = if fields.has("dns_domain") { fields.text("dns_domain") } else { DOMAIN.to_owned() };
    let text = text.trim_end_matches('.');
    if text.is_empty() {
        return None;
    }
    let domain = text.parse();
    domain.map_err(|e: crate::types::ParseError| notes.lost("dns_domain", &text.into(), e.to_string())).ok()
}

/// Neutron's dnsmasq asks nobody unless it was told whom.
fn forwarding(fields: &mut Fields, notes: &mut Notes) -> Forwarding {
    let mut addresses = Vec::new();
    for item in fields.list("dnsmasq_dns_servers").unwrap_or_default() {
        match item.as_str().and_then(|text| text.parse::<IpAddr>().ok()) {
            Some(ip) if addresses.len() < FORWARDERS => addresses.push(ip.to_string()),
            Some(_) => notes.lost("dnsmasq_dns_servers", &item, format!("the most is {FORWARDERS}")),
            None => notes.lost("dnsmasq_dns_servers", &item, "is not an IP address"),
        }
    }
    let node = fields.flag("dnsmasq_local_resolv").unwrap_or_default();
    match (addresses.is_empty(), node) {
        (false, _) => Forwarding { r#type: ForwardingType::Addresses, addresses: Some(addresses) },
        (true, true) => Forwarding { r#type: ForwardingType::Node, addresses: None },
        (true, false) => Forwarding { r#type: ForwardingType::None, addresses: None },
    }
}

/// It is of no network, so it stays the agents'.
fn txt_record(fields: &mut Fields, notes: &mut Notes) {
    const FIELD: &str = "dnsmasq_txt_record";
    let text = fields.text(FIELD);
    if text.is_empty() {
        return;
    }
    match text.parse::<TxtRecord>() {
        Ok(_) => {
            let message = format!("start the agents with --dns-txt-record '{}'", text.replace('\'', r"'\''"));
            notes.changed(FIELD, &text.into(), message);
        }
        Err(error) => notes.lost(FIELD, &text.into(), error.to_string()),
    }
}

fn metadata(fields: &mut Fields) -> MetadataService {
    let isolated = fields.flag("enable_isolated_metadata").unwrap_or_default();
    let always = fields.flag("force_metadata").unwrap_or_default();
    MetadataService {
        r#type: match (always, isolated) {
            (true, _) => MetadataServiceType::Always,
            (false, true) => MetadataServiceType::IsolatedSubnets,
            (false, false) => MetadataServiceType::None,
        },
    }
}

fn times(fields: &mut Fields, notes: &mut Notes) -> SubnetDhcp {
    let mut times = SubnetDhcp::default();
    match fields.number("dhcp_lease_duration") {
        None => {}
        Some(-1) => times.lease_duration_seconds = u32::MAX,
        Some(seconds) => {
            times.lease_duration_seconds =
                u32::try_from(seconds).unwrap_or(if seconds < 0 { 0 } else { u32::MAX }).max(120);
            if i64::from(times.lease_duration_seconds) != seconds {
                let message = format!("it is {} here", times.lease_duration_seconds);
                notes.changed("dhcp_lease_duration", &seconds.into(), message);
            }
        }
    }
    let mut before = |name: &str, end: u32| {
        let seconds = fields.number(name).filter(|seconds| *seconds != 0)?;
        let value = u32::try_from(seconds).ok().filter(|seconds| (1..end).contains(seconds));
        if value.is_none() {
            notes.lost(name, &Value::from(seconds), format!("is not from 1 to {}", end - 1));
        }
        value
    };
    times.rebinding_seconds = before("dhcp_rebinding_time", times.lease_duration_seconds);
    let end = times.rebinding_seconds.unwrap_or(times.lease_duration_seconds);
    times.renewal_seconds = before("dhcp_renewal_time", end);
    times
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::import::report::Effect;

    fn of(value: Value) -> (Config, Vec<Entry>) {
        let Value::Object(map) = value else { panic!("no object") };
        read(Fields::new(map))
    }

    #[test]
    fn without_options_it_is_as_neutron_without_options() {
        let (config, entries) = of(json!({"host": "node-1"}));
        assert_eq!(config.domain.unwrap().to_string(), "openstacklocal");
        assert_eq!(config.forwarding.r#type, ForwardingType::None);
        assert_eq!(config.times, SubnetDhcp::default());
        assert!(entries.is_empty());
    }

    #[test]
    fn options_are_taken_or_reported() {
        let (config, entries) = of(json!({
            "dns_domain": "", "dnsmasq_dns_servers": ["8.8.8.8", "x"], "dhcp_lease_duration": -1,
            "dhcp_renewal_time": 600, "dhcp_rebinding_time": 300, "dnsmasq_txt_record": "a,b",
            "force_metadata": true, "dhcp_broadcast_reply": false,
        }));
        assert_eq!(config.domain, None);
        assert_eq!(config.forwarding.addresses, Some(vec!["8.8.8.8".to_owned()]));
        assert_eq!(config.metadata.r#type, MetadataServiceType::Always);
        let times = config.times;
        assert_eq!((times.lease_duration_seconds, times.rebinding_seconds), (u32::MAX, Some(300)));
        assert_eq!(times.renewal_seconds, None);
        let fields: Vec<_> = entries.iter().map(|entry| entry.field.as_str()).collect();
        assert_eq!(fields, ["dnsmasq_dns_servers", "dhcp_renewal_time", "dnsmasq_txt_record"]);
    }

    #[test]
    fn a_txt_record_is_said_in_the_words_of_the_agents_flag() {
        let said = |text: &str| {
            let (_, entries) = of(json!({"dnsmasq_txt_record": text}));
            let [entry] = &entries[..] else { panic!("{text}: {entries:?}") };
            (entry.effect, entry.message.clone())
        };
        let (effect, message) = said("info.example.org,it's,$HOME");
        assert_eq!(effect, Effect::Changed);
        assert_eq!(message, r"start the agents with --dns-txt-record 'info.example.org,it'\''s,$HOME'");
        for bad in ["info.example.org", "info.example.org,a\nb", "a b,c"] {
            assert_eq!(said(bad).0, Effect::Lost, "{bad}");
        }
        assert!(of(json!({"dnsmasq_txt_record": ""})).1.is_empty());
    }
}
