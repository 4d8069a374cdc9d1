//! The YAML that the agent is given, and the lease file that says the same.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::lab::Mac;

/// A guest's NIC.
#[derive(Clone)]
pub struct Nic {
    pub name: String,
    pub mac: Mac,
    pub ip: Ipv4Addr,
}

impl Nic {
    /// The `n`-th of all, with this address.
    pub fn new(n: u32, ip: Ipv4Addr) -> Self {
        Self { name: format!("p{n}"), mac: Mac::nth(n), ip }
    }
}

/// A network with a subnet.
pub fn network(name: &str, physical: &str, vlan: Option<usize>, cidr: &str) -> String {
    let segmentation =
        vlan.map_or_else(String::new, |id| format!("  segmentation: {{type: VLAN, vlan: {{id: {id}}}}}\n"));
    format!(
        "apiVersion: kube-dhcp.io/v1alpha1\nkind: Network\nmetadata: {{name: {name}, namespace: bench}}\n\
         spec:\n  physicalNetworkRef: {{name: {physical}}}\n{segmentation}  dns: {{domain: vm.example.org}}\n---\n\
         apiVersion: kube-dhcp.io/v1alpha1\nkind: Subnet\nmetadata: {{name: {name}-v4, namespace: bench}}\n\
         spec:\n  networkRef: {{name: {name}}}\n  cidr: {cidr}\n"
    )
}

/// Ports of it.
pub fn ports<'a>(network: &str, nics: impl IntoIterator<Item = &'a Nic>) -> String {
    let mut text = String::new();
    for Nic { name, mac, ip } in nics {
        write!(
            text,
            "---\napiVersion: kube-dhcp.io/v1alpha1\nkind: Port\nmetadata: {{name: {network}-{name}, namespace: bench}}\n\
             spec:\n  networkRef: {{name: {network}}}\n  macAddress: \"{mac}\"\n  hostname: {name}\n  addresses: [{{ip: {ip}}}]\n"
        )
        .unwrap();
    }
    text
}

/// dnsmasq's lease file in which each of them has its lease for a day.
pub fn leases(nics: &[Nic]) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let line = |nic: &Nic| format!("{} {} {} {} *\n", now.as_secs() + 86_400, nic.mac, nic.ip, nic.name);
    nics.iter().map(line).collect()
}
