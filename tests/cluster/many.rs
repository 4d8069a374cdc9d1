//! Many Ports of several networks at once.

use crate::inside::inside;
use crate::load::{self, Load};

#[test]
fn each_of_many_ports_gets_its_own_address_by_two_writes() {
    inside("many::each_of_many_ports_gets_its_own_address_by_two_writes", async {
        let load = Load { networks: 5, ports: 20, rate: 50, nodes: 3, grouped: false };
        // One that says which addresses it has, one that it is ready.
        assert!(load::run(&load).await <= 2);
    });
}
