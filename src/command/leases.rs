//! `kube-dhcp leases`: who holds which address of this node's networks, printed.
//!
//! It reads the lease files that dnsmasq writes, and what the agent reported of the networks. `-o json` is
//! for whoever gathers the leases of several nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::running::{Running, running};
use super::status::age;
use super::table::Table;
use crate::api::PortStatus;
use crate::cli::LeasesArgs;
use crate::dnsmasq::{self, Layout, Record, Rights};
use crate::durable;
use crate::host;
use crate::node::Family;
use crate::report::{self, NetworkReport, NodeReport, ObjectReport};
use crate::types::{Identifier, Identity, MacAddr, NetworkUid};

/// What `-o json` and `-o yaml` give.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Leases {
    node: String,
    leases: Vec<Lease>,
}

/// One lease. What is not known is not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lease {
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    network: String,
    #[serde(rename = "networkUID")]
    network_uid: NetworkUid,
    ip: String,
    family: &'static str,
    /// The Port that has the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<PortName>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_address: Option<MacAddr>,
    /// Whether that is not the Port's guest.
    held_by_other: bool,
    #[serde(rename = "clientID", skip_serializing_if = "Option::is_none")]
    client_id: Option<Identifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iaid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    /// When the guest last got or renewed it, reckoned from the lease time; one that asks for a shorter
    /// time did so later.
    #[serde(skip_serializing_if = "Option::is_none")]
    renewed: Option<Timestamp>,
    expires: Expiry,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PortName {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_address: Option<String>,
    /// By what it is known in the place of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Expiry {
    Never(Never),
    At(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Never {
    Never,
}

/// Prints who holds what.
pub fn leases(args: &LeasesArgs) -> Result<()> {
    let mut all = read(&args.state_dir)?;
    all.leases.retain(|lease| is_asked_for(lease, args));
    let table = |all: &Leases| table(&all.leases, Timestamp::now());
    super::print(&super::text(args.output, &all, table)?)
}

fn is_asked_for(lease: &Lease, args: &LeasesArgs) -> bool {
    let is = |asked: &Option<String>, name: &str| asked.as_ref().is_none_or(|asked| asked == name);
    let port = lease.port.as_ref().map_or("", |port| &port.name);
    is(&args.namespace, &lease.namespace) && is(&args.network, &lease.network) && is(&args.port, port)
}

fn read(state: &Path) -> Result<Leases> {
    let directory = report::directory(state);
    anyhow::ensure!(
        directory.is_dir() || Layout::all(state).is_dir(),
        "no agent has served anything in {}, or --state-dir is not the agent's",
        state.display()
    );
    let mut leases = Vec::new();
    for uid in host::kept_networks(state)? {
        match of_network(state, uid) {
            Ok(found) => leases.extend(found),
            // The others are all the more worth seeing.
            Err(error) => eprintln!("kube-dhcp: network {uid}: {error:#}"),
        }
    }
    let address = |lease: &Lease| lease.ip.parse::<IpAddr>().ok();
    leases.sort_by_cached_key(|lease| (lease.namespace.clone(), lease.network.clone(), address(lease)));
    let node: NodeReport = durable::read(&report::node_path(state)).unwrap_or_default().unwrap_or_default();
    Ok(Leases { node: node.node, leases })
}

fn of_network(state: &Path, uid: NetworkUid) -> Result<Vec<Lease>> {
    let layout = Layout::new(state, uid);
    let text = host::read_text(&layout.leases())?;
    let hosts = host::kept_hosts(&layout)?.entries;
    // Leases are leases, whatever the agent says of the network.
    let report = durable::read(&report::network_path(state, uid)).unwrap_or_default();
    let running = running(state, uid);
    let dynamic = running.as_ref().map(|running| dnsmasq::dynamic_ranges(&running.argv)).unwrap_or_default();
    let network = Network { uid, report, rights: Rights::new(&hosts, dynamic), running };
    let ports = network.ports();
    Ok(dnsmasq::records(&text).map(|record| network.lease(record, &ports, SystemTime::now())).collect())
}

/// What is known of a network.
struct Network<'a> {
    uid: NetworkUid,
    report: Option<NetworkReport>,
    rights: Rights<'a>,
    running: Option<Running>,
}

impl Network<'_> {
    /// By address.
    fn ports(&self) -> BTreeMap<IpAddr, PortName> {
        let ports = self.report.iter().flat_map(|report| &report.ports);
        let of = |port: &ObjectReport<PortStatus>| {
            let ips = port.status.addresses.iter().filter_map(|address| address.ip.parse().ok());
            ips.map(|ip| (ip, port_name(port, ip))).collect::<Vec<_>>()
        };
        ports.flat_map(of).collect()
    }

    fn lease(&self, record: Record, ports: &BTreeMap<IpAddr, PortName>, now: SystemTime) -> Lease {
        let Record { ip, lease, name, expires } = record;
        let mac_address = self.rights.holder(ip, &lease);
        let port = ports.get(&ip).cloned();
        let holder = mac_address.map(|mac| mac.to_string());
        let held_by_other = port.as_ref().is_some_and(|port| match &port.identity {
            Some(_) => !self.rights.has(ip, &lease),
            None => port.mac_address != holder,
        });
        let (client_id, duid, iaid) = match lease {
            dnsmasq::Lease::V4 { client_id, .. } => (client_id, None, None),
            dnsmasq::Lease::V6 { duid, iaid, .. } => (None, Some(duid), Some(iaid)),
        };
        let (namespace, network) = self
            .report
            .as_ref()
            .map(|report| (report.namespace.clone(), report.name.clone()))
            .unwrap_or_default();
        Lease {
            namespace,
            network,
            network_uid: self.uid,
            ip: ip.to_string(),
            family: match Family::of(ip) {
                Family::V4 => "IPv4",
                Family::V6 => "IPv6",
            },
            held_by_other,
            port,
            mac_address,
            client_id,
            duid,
            iaid,
            hostname: name,
            renewed: expires.and_then(|expires| self.renewed(ip, expires, now)),
            expires: expires.and_then(time).map_or(Expiry::Never(Never::Never), Expiry::At),
        }
    }

    /// Where the process that gave it runs still, and so the lease time is known.
    fn renewed(&self, ip: IpAddr, expires: u64, now: SystemTime) -> Option<Timestamp> {
        let Running { argv, since, .. } = self.running.as_ref()?;
        let seconds = u64::from(dnsmasq::lease_seconds(argv, ip)?);
        let renewed = expires.checked_sub(seconds)?;
        let instant = UNIX_EPOCH.checked_add(Duration::from_secs(renewed))?;
        // The one is of whole seconds, the other is not.
        let began = since.checked_sub(Duration::from_secs(1))?;
        (began..=now).contains(&instant).then(|| time(renewed))?
    }
}

/// As DHCP knows it in the protocol of this address.
fn port_name(port: &ObjectReport<PortStatus>, ip: IpAddr) -> PortName {
    let of_protocol = |identity: &Identity| identity.family() == Some(Family::of(ip));
    PortName {
        name: port.name.clone(),
        mac_address: port.mac_address.clone(),
        identity: port.identity.clone().filter(of_protocol),
    }
}

fn time(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn table(leases: &[Lease], now: Timestamp) -> String {
    let mut table = Table::new(&[
        "NETWORK",
        "PORT",
        "ADDRESS",
        "HELD BY",
        "ID",
        "HOST NAME",
        "RENEWED",
        "EXPIRES",
        "NOTE",
    ]);
    for lease in leases {
        let id = match (&lease.duid, lease.iaid) {
            (Some(duid), Some(iaid)) => format!("{duid} {iaid}"),
            _ => lease.client_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        table.row(vec![
            network_name(lease),
            lease.port.as_ref().map(|port| port.name.clone()).unwrap_or_default(),
            lease.ip.clone(),
            lease.mac_address.map(|mac| mac.to_string()).unwrap_or_default(),
            id,
            lease.hostname.clone().unwrap_or_default(),
            lease.renewed.map(|renewed| age(now, renewed) + " ago").unwrap_or_default(),
            expiry(lease.expires, now),
            note(lease),
        ]);
    }
    let text = table.text();
    if text.is_empty() { "No leases.\n".to_owned() } else { text }
}

fn network_name(lease: &Lease) -> String {
    if lease.network.is_empty() {
        return lease.network_uid.to_string();
    }
    format!("{}/{}", lease.namespace, lease.network)
}

fn expiry(expires: Expiry, now: Timestamp) -> String {
    match expires {
        Expiry::Never(_) => "never".to_owned(),
        Expiry::At(then) if then > now => format!("in {}", age(then, now)),
        Expiry::At(then) => format!("{} ago", age(now, then)),
    }
}

fn note(lease: &Lease) -> String {
    match &lease.port {
        None if lease.network.is_empty() => "its agent has said nothing of the network".to_owned(),
        None => "no Port has the address".to_owned(),
        Some(PortName { identity: Some(id), .. }) if lease.held_by_other => format!("it is that of {id}"),
        Some(PortName { mac_address: Some(mac), .. }) if lease.held_by_other => format!("it is {mac}'s"),
        Some(_) if lease.held_by_other => "it is nobody's: its Port has no MAC address".to_owned(),
        Some(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "3f0c9a1b-0000-4000-8000-000000000001";

    /// Of Port `vm1` with this MAC address and 10.0.0.5.
    fn lease(record: &str, port_mac: Option<&str>, running: Option<Running>) -> Lease {
        let hosts = BTreeMap::new();
        let network = Network {
            uid: UID.parse().unwrap(),
            report: None,
            rights: Rights::new(&hosts, Vec::new()),
            running,
        };
        let mac_address = port_mac.map(str::to_owned);
        let port = PortName { name: "vm1".into(), mac_address, identity: None };
        let ports = BTreeMap::from([([10, 0, 0, 5].into(), port)]);
        let record = dnsmasq::records(record).next().unwrap();
        network.lease(record, &ports, UNIX_EPOCH + Duration::from_secs(10_000))
    }

    #[test]
    fn whoever_has_the_ports_address_and_not_its_mac_is_another() {
        let held = |ip: &str, mac| {
            let lease = lease(&format!("1 02:00:00:00:00:01 {ip} * *"), mac, None);
            (lease.held_by_other, note(&lease))
        };
        assert_eq!(held("10.0.0.5", Some("02:00:00:00:00:01")), (false, String::new()));
        assert_eq!(held("10.0.0.5", Some("02:00:00:00:00:02")), (true, "it is 02:00:00:00:00:02's".into()));
        assert!(held("10.0.0.5", None).0);
        assert!(!held("10.0.0.6", None).0);
    }

    #[test]
    fn a_renewal_is_told_only_where_the_lease_time_is_known() {
        let range = "--dhcp-range=set:s1,tag:known,10.0.0.0,static,255.255.255.0,1000".to_owned();
        let renewed = |expires: u64, began: u64| {
            let since = UNIX_EPOCH + Duration::from_secs(began);
            let running = Running { pid: 1, argv: vec![range.clone()], since };
            let text = format!("{expires} 02:00:00:00:00:01 10.0.0.5 * *");
            lease(&text, None, Some(running)).renewed.map(Timestamp::as_second)
        };
        assert_eq!(renewed(10_500, 9_000), Some(9_500));
        assert_eq!(renewed(10_500, 9_600), None, "it was another process");
        assert_eq!(renewed(12_000, 9_000), None, "it was a longer time");
        assert_eq!(renewed(0, 9_000), None, "it is for ever");
        assert_eq!(lease("10500 02:00:00:00:00:01 10.0.0.5 * *", None, None).renewed, None);
    }

    #[test]
    fn the_table_says_never_in_and_ago() {
        let lease =
            |expires: u64| lease(&format!("{expires} 02:00:00:00:00:01 10.0.0.5 vm1 01:02"), None, None);
        let all = [lease(0), lease(10_060), lease(9_940)];
        let text = table(&all, Timestamp::from_second(10_000).unwrap());
        assert!(text.contains("never") && text.contains("in 60s") && text.contains("60s ago"), "{text}");
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json[0]["expires"], "never");
        assert_eq!(json[1]["expires"], "1970-01-01T02:47:40Z");
    }
}
