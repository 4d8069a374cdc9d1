//! That somebody else has a Port's address, as the agents tell it.
//!
//! Called by `statuses`. Pure.

use std::sync::Arc;

use crate::api::DHCPServer;
use crate::conditions::{declined, held_by_other};
use crate::reason::Problem;

/// A lease of the Port of this name that another holds, or an address that its guest declined. What one of
/// `all` servers holds is so, whether it answers or not; what was declined is news of those that are `heard`.
pub(super) fn conflict(all: &[&Arc<DHCPServer>], heard: &[&Arc<DHCPServer>], port: &str) -> Option<Problem> {
    let on = |server: &DHCPServer, Problem { reason, message }| {
        Problem::new(reason, format!("node {}: {message}", server.spec.node_name))
    };
    let leased = all.iter().find_map(|server| {
        let mut leases = server.status.iter().flat_map(|status| &status.foreign_leases);
        Some(on(server, held_by_other(leases.find(|lease| lease.port_name == port)?)))
    });
    leased.or_else(|| {
        heard.iter().find_map(|server| {
            let mut all = server.status.iter().flat_map(|status| &status.declined_addresses);
            Some(on(server, declined(all.find(|address| address.port_name == port)?)))
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
        let told = |port| conflict(&[&server], &[&server], port).map(|problem| problem.message);
        assert_eq!(told("vm1").unwrap(), "node n1: 02:00:00:00:00:09 holds the lease of 10.0.0.5");
        assert_eq!(told("vm2").unwrap(), "node n1: the guest declined 10.0.0.6: 02:00:00:00:00:08 has it");
        assert_eq!(told("vm3").unwrap(), "node n1: the guest declined 10.0.0.6: nobody has it now");
        assert_eq!(told("vm4"), None);
        assert_eq!(conflict(&[&server], &[], "vm2"), None, "nobody knows whether it is still so");
    }
}
