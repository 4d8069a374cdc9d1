//! One network with 10,000 ports of IPv4, all leased.

use std::time::Instant;

use crate::lab::Mac;
use crate::manifests::{leases, network, ports};
use crate::one_more::{Guests, OneMore};
use crate::probe::Probe;
use crate::table::Table;

pub const ROWS: [&str; 4] = [
    "port added to 10,000 leased → answered",
    "10,000 leased, one added: longest wait of others",
    "port added to 10,000 leased → answered, in a flood",
    "10,000 leased, one added: longest wait of others, in a flood",
];

const NETWORK: &str = "largest";

pub fn all_leased(table: &mut Table) {
    let largest = OneMore {
        network: NETWORK,
        rows: ROWS,
        manifests: network(NETWORK, "lan", None, "10.0.0.0/16"),
        ports: |nics| ports(NETWORK, nics),
        leases,
    };
    largest.measure(table, Probe::new);
}

impl Guests for Probe {
    fn ask(&self, mac: Mac) -> u32 {
        self.discover(mac)
    }

    fn answer(&self, deadline: Instant) -> Option<(u32, Mac)> {
        self.offer(deadline).map(|(xid, to, _)| (xid, to))
    }
}
