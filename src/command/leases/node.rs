//! The leases of this node's networks: what dnsmasq wrote into its files, and what the agent reported.
//!
//! It needs no agent and no dnsmasq that runs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use jiff::Timestamp;

use super::lease::{Expiry, Found, Lease, Missing, Never, PortName};
use crate::api::PortStatus;
use crate::command::running::{Running, running};
use crate::dnsmasq::{self, Layout, Record, Rights};
use crate::durable;
use crate::host;
use crate::node::Family;
use crate::report::{self, NetworkReport, NodeReport, ObjectReport};
use crate::types::{Identity, NetworkUid};

/// All of them; of which networks they are missing.
pub(super) fn read(state: &Path) -> Result<Found> {
    let directory = report::directory(state);
    anyhow::ensure!(
        directory.is_dir() || Layout::all(state).is_dir(),
        "no agent has served anything in {}, or --state-dir is not the agent's; --cluster asks the agents \
         of a cluster",
        state.display()
    );
    let mut all = Found::default();
    for uid in host::kept_networks(state)? {
        match of_network(state, uid) {
            Ok(found) => all.leases.extend(found),
            // The others are all the more worth seeing.
            Err(error) => all.missing.push(missing(uid, &error)),
        }
    }
    let node: NodeReport = durable::read(&report::node_path(state)).unwrap_or_default().unwrap_or_default();
    all.node = node.node;
    Ok(all)
}

fn missing(uid: NetworkUid, error: &anyhow::Error) -> Missing {
    Missing { node: String::new(), network_uid: Some(uid), message: format!("{error:#}") }
}

fn of_network(state: &Path, uid: NetworkUid) -> Result<Vec<Lease>> {
    let mut leases = Vec::new();
    for layout in host::layouts(&Layout::new(state, uid))?.into_values() {
        leases.extend(of_server(state, uid, &layout)?);
    }
    Ok(leases)
}

fn of_server(state: &Path, uid: NetworkUid, layout: &Layout) -> Result<Vec<Lease>> {
    let text = host::read_text(&layout.leases())?;
    let hosts = host::kept_hosts(layout)?.entries;
    // Found are leases, whatever the agent says of the network.
    let report = durable::read(&report::network_path(state, uid)).unwrap_or_default();
    let running = running(layout);
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
            node: String::new(),
            namespace,
            network,
            network_uid: self.uid,
            ip,
            family: ip.into(),
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
            (lease.held_by_other, lease.note())
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
        let all = Found { leases: all.to_vec(), ..Found::default() };
        let text = all.table(Timestamp::from_second(10_000).unwrap());
        assert!(text.contains("never") && text.contains("in 60s") && text.contains("60s ago"), "{text}");
        assert!(!text.contains("NODE"), "{text}");
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json["leases"][0]["expires"], "never");
        assert_eq!(json["leases"][1]["expires"], "1970-01-01T02:47:40Z");
        assert_eq!(serde_json::from_value::<Found>(json).unwrap(), all, "it is read as it is written");
    }
}
