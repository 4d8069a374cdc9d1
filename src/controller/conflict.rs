//! That somebody else has a Port's address, as the agents tell it.
//!
//! Called by `statuses`. Pure.

use std::sync::Arc;

use crate::api::DHCPServer;
use crate::conditions::{declined, held_by_other};
use crate::reason::Problem;

/// A lease of the Port of this name that another holds, or an address that its guest declined. Of all
/// servers that are to serve: what one of them holds is so, whether it answers or not.
pub(super) fn conflict(servers: &[&Arc<DHCPServer>], port: &str) -> Option<Problem> {
    let on = |server: &DHCPServer, Problem { reason, message }| {
        Problem::new(reason, format!("node {}: {message}", server.spec.node_name))
    };
    let statuses = || servers.iter().filter_map(|server| Some((server, server.status.as_ref()?)));
    let leased = statuses().find_map(|(server, status)| {
        let lease = status.foreign_leases.iter().find(|lease| lease.port_name == port)?;
        Some(on(server, held_by_other(lease)))
    });
    leased.or_else(|| {
        statuses().find_map(|(server, status)| {
            let address = status.declined_addresses.iter().find(|address| address.port_name == port)?;
            Some(on(server, declined(address)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DHCPServerSpec, DHCPServerStatus, DeclinedAddress, ForeignLease};

    #[test]
    fn a_ports_conflict_names_the_node_and_the_holder() {
        let lease = ForeignLease {
            ip: "10.0.0.5".into(),
            port_name: "vm1".into(),
            mac_address: Some("02:00:00:00:00:09".into()),
            duid: None,
        };
        let spec = DHCPServerSpec { node_name: "n1".into(), ..DHCPServerSpec::default() };
        let refused = |port: &str, held_by: Option<&str>| DeclinedAddress {
            ip: "10.0.0.6".into(),
            port_name: port.into(),
            held_by: held_by.map(str::to_owned),
        };
        let status = DHCPServerStatus {
            foreign_leases: vec![lease],
            declined_addresses: vec![
                refused("vm1", None),
                refused("vm2", Some("02:00:00:00:00:08")),
                refused("vm3", None),
            ],
            ..DHCPServerStatus::default()
        };
        let server = Arc::new(DHCPServer { status: Some(status), ..DHCPServer::new("a.n1", spec) });
        let told = |port| conflict(&[&server], port).map(|problem| problem.message);
        assert_eq!(told("vm1").unwrap(), "node n1: 02:00:00:00:00:09 holds the lease of 10.0.0.5");
        assert_eq!(told("vm2").unwrap(), "node n1: the guest declined 10.0.0.6: 02:00:00:00:00:08 has it");
        assert_eq!(told("vm3").unwrap(), "node n1: the guest declined 10.0.0.6: nobody has it now");
        assert_eq!(told("vm4"), None);
    }
}
