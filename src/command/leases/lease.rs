//! What is told of a lease, and how it is shown.
//!
//! Made by `node` of a node's files, and read again by `cluster` of what nodes say. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::command::status::age;
use crate::command::table::Table;
use crate::types::{Identifier, Identity, MacAddr, NetworkUid};

/// What `-o json` and `-o yaml` give.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    /// Whose they are; in a cluster each lease says that itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) node: String,
    pub(super) leases: Vec<Lease>,
    /// What is missing, by node or network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<Missing>,
}

/// Whose leases are not, or not all, among them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Missing {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) node: String,
    #[serde(rename = "networkUID", default, skip_serializing_if = "Option::is_none")]
    pub(super) network_uid: Option<NetworkUid>,
    pub(super) message: String,
}

/// One lease. What is not known is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lease {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) node: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) network: String,
    #[serde(rename = "networkUID")]
    pub(super) network_uid: NetworkUid,
    pub(super) ip: IpAddr,
    pub(super) family: IpFamily,
    /// The Port that has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<PortName>,
    /// Who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mac_address: Option<MacAddr>,
    /// Whether that is not the Port's guest.
    pub(super) held_by_other: bool,
    #[serde(rename = "clientID", default, skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<Identifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) duid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iaid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<String>,
    /// When the guest last got or renewed it, reckoned from the lease time; one that asks for a shorter
    /// time did so later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) renewed: Option<Timestamp>,
    pub(super) expires: Expiry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum IpFamily {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

impl From<IpAddr> for IpFamily {
    fn from(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortName {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mac_address: Option<String>,
    /// By what it is known in the place of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Identity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(super) enum Expiry {
    Never(Never),
    At(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Never {
    Never,
}

impl Found {
    /// By network, address and node, whoever answered first.
    pub(super) fn sort(&mut self) {
        let key = |lease: &Lease| {
            (lease.namespace.clone(), lease.network.clone(), lease.network_uid, lease.ip, lease.node.clone())
        };
        self.leases.sort_by_cached_key(key);
        self.missing.sort_by_cached_key(|missing| (missing.node.clone(), missing.network_uid));
    }

    /// For people. Only what is of several nodes names them.
    pub(super) fn table(&self, now: Timestamp) -> String {
        let nodes = self.leases.iter().any(|lease| !lease.node.is_empty());
        let mut headings = vec!["NODE"; usize::from(nodes)];
        headings.extend(["NETWORK", "PORT", "ADDRESS", "HELD BY", "ID", "HOST NAME", "RENEWED", "EXPIRES"]);
        headings.push("NOTE");
        let mut table = Table::new(&headings);
        for lease in &self.leases {
            let mut row = vec![lease.node.clone(); usize::from(nodes)];
            row.extend(lease.cells(now));
            table.row(row);
        }
        let text = table.text();
        // What is missing is told elsewhere.
        if text.is_empty() && self.missing.is_empty() { "No leases.\n".to_owned() } else { text }
    }
}

impl Lease {
    fn cells(&self, now: Timestamp) -> [String; 9] {
        let id = match (&self.duid, self.iaid) {
            (Some(duid), Some(iaid)) => format!("{duid} {iaid}"),
            _ => self.client_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        [
            self.network_name(),
            self.port.as_ref().map(|port| port.name.clone()).unwrap_or_default(),
            self.ip.to_string(),
            self.mac_address.map(|mac| mac.to_string()).unwrap_or_default(),
            id,
            self.hostname.clone().unwrap_or_default(),
            self.renewed.map(|renewed| age(now, renewed) + " ago").unwrap_or_default(),
            self.expiry(now),
            self.note(),
        ]
    }

    fn network_name(&self) -> String {
        if self.network.is_empty() {
            return self.network_uid.to_string();
        }
        format!("{}/{}", self.namespace, self.network)
    }

    fn expiry(&self, now: Timestamp) -> String {
        match self.expires {
            Expiry::Never(_) => "never".to_owned(),
            Expiry::At(then) if then > now => format!("in {}", age(then, now)),
            Expiry::At(then) => format!("{} ago", age(now, then)),
        }
    }

    pub(super) fn note(&self) -> String {
        match &self.port {
            None if self.network.is_empty() => "its agent has said nothing of the network".to_owned(),
            None => "no Port has the address".to_owned(),
            Some(PortName { identity: Some(id), .. }) if self.held_by_other => format!("it is that of {id}"),
            Some(PortName { mac_address: Some(mac), .. }) if self.held_by_other => format!("it is {mac}'s"),
            Some(_) if self.held_by_other => "it is nobody's: its Port has no MAC address".to_owned(),
            Some(_) => String::new(),
        }
    }
}
