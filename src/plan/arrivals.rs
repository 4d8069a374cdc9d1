//! The steps for guests that come to a large network while all else stays as it is.
//!
//! In the order of a plan for all of it: a guest is directed to its server when that knows it, and heard elsewhere
//! after. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use super::admit;
use crate::dnsmasq::{self, OptionKey, Server, Share, Shares, Spread};
use crate::node::{Action, Family, Segment};
use crate::types::MacAddr;

/// `new` has those who came as its only guests; those who are there are shared out as `spread` says. `None`: more
/// is to be done than telling those who shall serve them.
pub fn arrivals(new: Segment, spread: &Spread, observed: &Segment) -> Option<Vec<Action>> {
    let there = observed.namespace.as_ref().filter(|namespace| namespace.usable)?;
    let server = new.server?;
    let places = spread.place(server.hosts.entries.keys(), &there.directed)?;
    let mut actions = neighbours(&new.device?.neighbours, places.get(&Family::V6), observed)?;
    for (share, wanted) in servers(&server, &places, observed)? {
        let planned = dnsmasq::plan(Some(&wanted), observed.shares.get(&share), false, false);
        if planned.postponed || planned.actions.iter().any(starts) {
            return None;
        }
        actions.extend(planned.actions.into_iter().map(|step| Action::Share(share, step)));
    }
    let direct = |(family, add)| Action::Direct { family, whole: false, add, remove: Shares::new() };
    actions.extend(places.into_iter().map(direct));
    if let Some(known) = new.namespace?.known {
        actions.extend(admit(&known - there.known.as_ref()?));
    }
    Some(actions)
}

fn starts(step: &dnsmasq::Action) -> bool {
    use dnsmasq::Action as Step;
    !matches!(step, Step::AddHosts(_) | Step::AddOptions(_) | Step::Release(..))
}

/// Where each is heard: in the room of its share of DHCPv6, else beside the network's own device.
fn neighbours(
    all: &BTreeMap<Ipv6Addr, MacAddr>,
    rooms: Option<&Shares>,
    observed: &Segment,
) -> Option<Vec<Action>> {
    let mut new: BTreeMap<Option<Share>, BTreeMap<_, _>> = BTreeMap::new();
    for (ip, mac) in all {
        let room = rooms.and_then(|rooms| rooms.get(mac).copied());
        let there = match room {
            Some(room) => observed.rooms.get(&room)?,
            None => observed.device.as_ref()?,
        };
        if there.neighbours.get(ip) != Some(mac) {
            new.entry(room).or_default().insert(*ip, *mac);
        }
    }
    let change = |(room, add)| {
        let change = Action::ChangeNeighbours { add, remove: BTreeSet::new() };
        match room {
            Some(room) => Action::InRoom(room, Box::new(change)),
            None => change,
        }
    };
    Some(new.into_iter().map(change).collect())
}

/// Those who get new guests, with these.
fn servers(
    new: &Server,
    places: &BTreeMap<Family, Shares>,
    observed: &Segment,
) -> Option<BTreeMap<Share, Server>> {
    let mut servers: BTreeMap<Share, Server> = BTreeMap::new();
    for (client, host) in &new.hosts.entries {
        let share = *places.get(&client.1)?.get(&client.0.mac()?)?;
        let server = match servers.entry(share) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(observed.shares.get(&share)?.clone()),
        };
        server.hosts.entries.insert(client.clone(), host.clone());
        let is_own = |key: &OptionKey| key.tag == host.tag && key.code.family() == client.1;
        // What one of this name had before can only a fresh process forget.
        server.options.values.retain(|key, _| !is_own(key));
        let own = new.options.values.iter().filter(|(key, _)| is_own(key));
        server.options.values.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    }
    Some(servers)
}
