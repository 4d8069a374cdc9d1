//! That somebody else holds a Port's address, as the agents tell it.
//!
//! Called by `statuses`. Pure.

use std::sync::Arc;

use crate::api::DHCPServer;
use crate::conditions::held_by_other;
use crate::reason::Problem;

/// A lease of the Port of this name that another holds. Of all servers that are to serve: what one of them
/// holds is so, whether it answers or not.
pub(super) fn foreign_lease(servers: &[&Arc<DHCPServer>], port: &str) -> Option<Problem> {
    servers.iter().find_map(|server| {
        let mut leases = server.status.iter().flat_map(|status| &status.foreign_leases);
        let Problem { reason, message } = held_by_other(leases.find(|lease| lease.port_name == port)?);
        Some(Problem::new(reason, format!("node {}: {message}", server.spec.node_name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DHCPServerSpec, DHCPServerStatus, ForeignLease};

    #[test]
    fn a_ports_conflict_names_the_node_and_the_holder() {
        let lease = ForeignLease {
            ip: "10.0.0.5".into(),
            port_name: "vm1".into(),
            mac_address: Some("02:00:00:00:00:09".into()),
            duid: None,
        };
        let spec = DHCPServerSpec { node_name: "n1".into(), ..DHCPServerSpec::default() };
        let status = DHCPServerStatus { foreign_leases: vec![lease], ..DHCPServerStatus::default() };
        let server = Arc::new(DHCPServer { status: Some(status), ..DHCPServer::new("a.n1", spec) });
        let told = |port| foreign_lease(&[&server], port).map(|problem| problem.message);
        assert_eq!(told("vm1").unwrap(), "node n1: 02:00:00:00:00:09 holds the lease of 10.0.0.5");
        assert_eq!(told("vm2"), None);
    }
}
