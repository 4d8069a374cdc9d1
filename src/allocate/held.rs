//! What each holder has, to be asked for many of them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Allocation, Claim, Holder, Ledger, Wish};

/// Its place among the holder's addresses, the address, and what is written of it.
type Own<'a> = (usize, IpAddr, &'a Allocation);

/// The addresses in use, by holder: one look at the ledger for all of them.
#[derive(Debug)]
pub struct Held<'a>(BTreeMap<(&'a str, u8), Vec<Own<'a>>>);

impl<'a> Held<'a> {
    pub(super) fn new(ledger: &'a Ledger) -> Self {
        let mut held: BTreeMap<_, Vec<Own<'a>>> = BTreeMap::new();
        for (ip, allocation) in ledger.iter().filter(|(_, a)| a.released.is_none()) {
            let own = held.entry(allocation.holder.identity()).or_default();
            own.push((allocation.position, *ip, allocation));
        }
        for own in held.values_mut() {
            own.sort_by_key(|(position, ..)| *position);
        }
        Self(held)
    }

    /// What somebody has, with the Subnets, in the order of its wishes.
    pub fn by(&self, holder: &Holder) -> Vec<(IpAddr, String)> {
        let own = self.0.get(&holder.identity()).into_iter().flatten();
        own.map(|(_, ip, allocation)| (*ip, allocation.subnet_name.clone())).collect()
    }

    /// The claim of one who is to keep what it has and get no more.
    pub fn claim(&self, holder: &Holder) -> Claim<'static> {
        let own = self.0.get(&holder.identity()).map(Vec::as_slice).unwrap_or_default();
        let wishes = own.iter().map(|(_, ip, _)| Wish::Exactly(*ip)).collect();
        // As it is written down: its MAC, too, stays what it was.
        Claim::new(own.first().map_or(holder, |(_, _, a)| &a.holder).clone(), wishes)
    }
}

/// The same, looked up when it is asked for first: mostly it never is.
#[derive(Debug)]
pub struct HeldLater<'a>(&'a Ledger, OnceCell<Held<'a>>);

impl<'a> HeldLater<'a> {
    /// What each holder has in there.
    pub fn new(ledger: &'a Ledger) -> Self {
        Self(ledger, OnceCell::new())
    }

    /// Looks it up, unless that was done.
    pub fn get(&self) -> &Held<'a> {
        self.1.get_or_init(|| self.0.held())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_addresses_in_the_order_of_its_wishes() {
        let port = |name: &str, mac: Option<&str>| Holder::Port {
            name: name.to_owned(),
            mac_address: mac.map(|mac| mac.parse().unwrap()),
            identifier: None,
        };
        let mut ledger = Ledger::default();
        ledger.record([10, 0, 0, 1].into(), "s", &port("a", Some("02:00:00:00:00:01")), 1);
        ledger.record([10, 0, 0, 2].into(), "s", &port("a", Some("02:00:00:00:00:01")), 0);
        ledger.record([10, 0, 0, 3].into(), "s", &Holder::ServerSlot { slot: 0 }, 0);
        ledger.remember([10, 0, 0, 4].into(), "s", &port("b", None), 7);
        let of = |holder: &Holder| -> Vec<String> {
            ledger.held().by(holder).iter().map(|(ip, _)| ip.to_string()).collect()
        };
        assert_eq!(of(&port("a", None)), ["10.0.0.2", "10.0.0.1"]);
        assert_eq!(of(&Holder::ServerSlot { slot: 0 }), ["10.0.0.3"]);
        assert!(of(&port("b", None)).is_empty());
    }
}
