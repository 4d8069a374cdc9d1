//! The addresses of a network's servers: one of each slot in each subnet, and others in their place while
//! a predecessor still answers there.
//!
//! Called where addresses are allocated. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::subnet::Served;
use crate::allocate::{Allocation, Claim, Given, Holder, Ledger, Wish};
use crate::api::ServerAddress;

/// The servers that a network is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// How many.
    pub slots: u8,
    /// By slot, its addresses at which somebody else answers.
    pub held: BTreeMap<u8, BTreeSet<IpAddr>>,
}

/// What they got.
pub(super) struct Allotted {
    /// By slot.
    pub(super) slots: Vec<Given>,
    /// By slot, in the place of what is held.
    pub(super) temporary: BTreeMap<u8, Given>,
}

impl Servers {
    /// So many, each at its own addresses.
    pub fn new(slots: u8) -> Self {
        Self { slots, ..Self::default() }
    }

    /// An address in each subnet with DHCP; in one that waits, a server keeps what it has.
    pub(super) fn claims(
        &self,
        with_dhcp: &[String],
        waiting: &[String],
        ledger: &Ledger,
    ) -> Vec<Claim<'static>> {
        let claim = |slot| {
            let holder = Holder::ServerSlot { slot };
            let mut wishes: Vec<_> = with_dhcp.iter().cloned().map(Wish::In).collect();
            let in_waiting = |(_, held): &(&IpAddr, &Allocation)| {
                held.released.is_none() && held.holder == holder && waiting.contains(&held.subnet_name)
            };
            wishes.extend(ledger.iter().filter(in_waiting).map(|(ip, _)| Wish::Exactly(*ip)));
            Claim::new(holder, wishes)
        };
        (0..self.slots).map(claim).collect()
    }

    /// One for each slot of which something is held.
    pub(super) fn temporary_claims(&self, with_dhcp: &[&mut Served]) -> Vec<Claim<'static>> {
        let claim = |(slot, held): (&u8, &BTreeSet<IpAddr>)| {
            let is_held = |subnet: &&&mut Served| held.iter().any(|ip| subnet.pool.cidr.contains(ip));
            let wish = |subnet: &&mut Served| Wish::In(subnet.pool.subnet_name.clone());
            let wishes = with_dhcp.iter().filter(is_held).map(wish).collect();
            Claim::new(Holder::TemporaryServer { slot: *slot }, wishes)
        };
        self.held.iter().map(claim).collect()
    }
}

impl Allotted {
    /// For each slot what its server is told.
    pub(super) fn addresses(&self, servers: &Servers, subnets: &[Served]) -> Vec<Vec<ServerAddress>> {
        let with_dhcp = || subnets.iter().filter(|subnet| subnet.scope);
        let of =
            |slot: u8| with_dhcp().filter_map(move |subnet| self.address(servers, slot, subnet)).collect();
        (0..servers.slots).map(of).collect()
    }

    fn address(&self, servers: &Servers, slot: u8, subnet: &Served) -> Option<ServerAddress> {
        let name = &subnet.pool.subnet_name;
        let own = in_subnet(self.slots.get(usize::from(slot))?, name)?;
        let is_held = servers.held.get(&slot).is_some_and(|held| held.contains(&own));
        let temporary = self.temporary.get(&slot).and_then(|given| in_subnet(given, name));
        let temporary = temporary.filter(|_| is_held);
        Some(ServerAddress {
            subnet_name: name.clone(),
            ip: temporary.unwrap_or(own).to_string(),
            prefix_length: subnet.pool.cidr.prefix_len(),
            in_place_of: temporary.map(|_| own.to_string()),
            // Those that stay: what guests were told is not changed by a failover.
            resolvers: self
                .slots
                .iter()
                .filter_map(|given| in_subnet(given, name))
                .map(|ip| ip.to_string())
                .collect(),
        })
    }
}

fn in_subnet(given: &Given, name: &str) -> Option<IpAddr> {
    given.addresses.iter().find(|(_, subnet)| subnet == name).map(|(ip, _)| *ip)
}
