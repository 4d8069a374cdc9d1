//! `kube-dhcp leases`: who holds which address, of this node's networks or of a cluster's, printed.

mod cluster;
mod lease;
mod node;

use anyhow::{Result, bail};
use jiff::Timestamp;

use crate::cli::{LeasesArgs, Look};
use lease::{Found, Lease, Missing};

/// The exit code that goes with [`Incomplete`].
pub const INCOMPLETE: u8 = 3;

/// What is printed is not all; what is missing was named.
#[derive(Debug, thiserror::Error)]
#[error("leases of {0} are missing")]
pub struct Incomplete(String);

/// Prints who holds what.
pub async fn leases(args: LeasesArgs, plugin: bool) -> Result<()> {
    let mut all = match args.look.place(plugin) {
        Look::Cluster(kubeconfig) => cluster::read(kubeconfig, &args).await?,
        Look::Node(state) => match args.of_cluster_only() {
            Some(flag) => bail!("{flag} is of a cluster: say --cluster, too"),
            None => node::read(state)?,
        },
    };
    all.leases.retain(|lease| is_asked_for(lease, &args));
    all.sort();
    let table = |all: &Found| all.table(Timestamp::now());
    super::print(&super::text(args.output, &all, table)?)?;
    all.missing.iter().for_each(|missing| eprintln!("kube-dhcp: {}", named(missing)));
    if all.missing.is_empty() { Ok(()) } else { Err(incomplete(&all.missing).into()) }
}

fn is_asked_for(lease: &Lease, args: &LeasesArgs) -> bool {
    let is = |asked: &Option<String>, name: &str| asked.as_ref().is_none_or(|asked| asked == name);
    let port = lease.port.as_ref().map_or("", |port| &port.name);
    is(&args.namespace, &lease.namespace) && is(&args.network, &lease.network) && is(&args.port, port)
}

fn named(missing: &Missing) -> String {
    let Missing { node, network_uid, message } = missing;
    let node = Some(format!("node {node}")).filter(|_| !node.is_empty());
    let network = network_uid.map(|uid| format!("network {uid}"));
    [node, network, Some(message.clone())].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn incomplete(missing: &[Missing]) -> Incomplete {
    let mut nodes: Vec<_> =
        missing.iter().map(|missing| &missing.node).filter(|node| !node.is_empty()).collect();
    nodes.dedup();
    let (count, what) = if nodes.is_empty() { (missing.len(), "network") } else { (nodes.len(), "node") };
    Incomplete(format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_counted() {
        let uid = "3f0c9a1b-0000-4000-8000-000000000001";
        let missing = |node: &str, uid: Option<&str>| Missing {
            node: node.into(),
            network_uid: uid.map(|uid| uid.parse().unwrap()),
            message: "no answer".into(),
        };
        assert_eq!(named(&missing("n1", Some(uid))), format!("node n1: network {uid}: no answer"));
        assert_eq!(named(&missing("", Some(uid))), format!("network {uid}: no answer"));
        let of_nodes = [missing("n1", Some(uid)), missing("n1", None), missing("n2", None)];
        assert_eq!(incomplete(&of_nodes).to_string(), "leases of 2 nodes are missing");
        assert_eq!(incomplete(&[missing("", Some(uid))]).to_string(), "leases of 1 network are missing");
    }
}
