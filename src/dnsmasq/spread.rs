//! From the one server that shall be to a server and those of the shares.
//!
//! Called by `desired`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::argv::{of_shares, share_argv};
use super::share::guest;
use super::{Client, Hosts, Layout, Limits, OptionSet, Process, Server, Share, Shares};
use crate::node::Family;
use crate::service::{Reservation, Service};

/// What is needed to share out the guests of a network that may have too many for one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// What is for shares of it.
    service: Service,
    layout: Layout,
    limits: Limits,
}

impl Spread {
    /// `None`: so few guests are one process's in any case.
    pub fn new(service: &Service, layout: Layout, limits: Limits) -> Option<Self> {
        let client = |port: &Reservation| guest(&(port.identity.clone(), port.family));
        let four = service.reservations.iter().filter_map(client).count();
        (four > limits.alone / 2).then(|| Self { service: of_shares(service), layout, limits })
    }

    /// Whose each guest of `server` is, where they are `now`.
    pub fn shares(&self, server: &Server, now: &Shares) -> Shares {
        super::share_out(&server.hosts.entries.keys().filter_map(guest).collect(), now, self.limits)
    }

    /// `server` without the guests of `shares`, and theirs. The options of subnets are everybody's: the one
    /// server may answer strangers.
    pub fn spread(&self, server: Server, shares: &Shares) -> (Server, BTreeMap<Share, Server>) {
        let of = |client: &Client| guest(client).and_then(|mac| shares.get(&mac).copied());
        let all: BTreeSet<Share> = shares.values().copied().collect();
        let mut hosts: BTreeMap<Option<Share>, BTreeMap<_, _>> = BTreeMap::new();
        let mut tags = BTreeMap::new();
        for (client, host) in server.hosts.entries {
            let share = of(&client);
            if client.1 == Family::V4 {
                tags.insert(host.tag.clone(), share);
            }
            hosts.entry(share).or_default().insert(client, host);
        }
        let mut options: BTreeMap<Option<Share>, BTreeMap<_, _>> = BTreeMap::new();
        for (key, value) in server.options.values {
            let whose: Vec<_> = match tags.get(&key.tag) {
                _ if key.code.family() == Family::V6 => vec![None],
                Some(share) => vec![*share],
                None => std::iter::once(None).chain(all.iter().copied().map(Some)).collect(),
            };
            for share in whose {
                options.entry(share).or_default().insert(key.clone(), value.clone());
            }
        }
        let mut part = |share| Server {
            hosts: Hosts::fresh(hosts.remove(&share).unwrap_or_default()),
            options: OptionSet::fresh(options.remove(&share).unwrap_or_default()),
            ..Server::default()
        };
        let process = |share| Process { argv: share_argv(&self.service, &self.layout, share), current: true };
        let shares = all
            .into_iter()
            .map(|share| (share, Server { process: Some(process(share)), ..part(Some(share)) }));
        let shares = shares.collect();
        let rest = part(None);
        let silent = server.hosts.silent;
        (
            Server {
                hosts: rest.hosts.and_silent(silent),
                options: rest.options,
                process: server.process,
                names: server.names,
                leases: server.leases,
            },
            shares,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Host, OptionKey};
    use super::*;
    use crate::service::{Code, Offer};
    use crate::types::{Identity, MacAddr};

    fn mac(n: u8) -> MacAddr {
        MacAddr::local([0, 0, 0, 0, n])
    }

    fn host(n: u8, family: Family) -> (Client, Host) {
        let ip = match family {
            Family::V4 => [10, 0, 0, n].into(),
            Family::V6 => format!("2001:db8::{n}").parse().unwrap(),
        };
        let offer = Offer { ip, more: Vec::new(), name: format!("vm{n}").parse().unwrap() };
        ((mac(n).into(), family), Host { offer: Some(offer), tag: format!("p{n}") })
    }

    fn layout() -> Layout {
        Layout::new("/state".as_ref(), "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap())
    }

    fn spread(alone: usize) -> Spread {
        Spread { service: Service::default(), layout: layout(), limits: Limits { alone, share: 5 } }
    }

    fn share(n: u8) -> Share {
        Share::new(n).unwrap()
    }

    fn options_of(server: &Server) -> Vec<String> {
        server.options.values.keys().map(|key| format!("{} {:?}", key.tag, key.code)).collect()
    }

    #[test]
    fn each_gets_its_guests_and_their_options_and_the_server_keeps_all_else() {
        let all = (1..=5).flat_map(|n| Family::ALL.map(|family| host(n, family)));
        let options = [("s1", Code::V4(3)), ("p1", Code::V4(42)), ("p5", Code::V4(42)), ("p1", Code::V6(23))];
        let options = options.map(|(tag, code)| (OptionKey::plain(tag, code), "x".to_owned()));
        let server = Server {
            hosts: Hosts::fresh(all.collect()).and_silent([(mac(9).into(), Family::V4)].into()),
            options: OptionSet::fresh(options.into()),
            names: [([10, 0, 0, 1].into(), vec!["vm1".parse().unwrap()])].into(),
            ..Server::default()
        };
        let spread = spread(2);
        let shares = spread.shares(&server, &Shares::new());
        assert_eq!(shares.len(), 5);
        let (rest, servers) = spread.spread(server.clone(), &shares);
        let sizes: Vec<_> = servers.values().map(|server| server.hosts.entries.len()).collect();
        assert_eq!(sizes, [3, 2]);
        assert!(rest.hosts.entries.keys().all(|(_, family)| *family == Family::V6));
        assert_eq!((rest.hosts.entries.len(), &rest.hosts.silent), (5, &server.hosts.silent));
        assert_eq!(rest.names, server.names);
        assert_eq!(options_of(&rest), ["p1 V6(23)", "s1 V4(3)"]);
        assert_eq!(options_of(&servers[&share(1)]), ["p1 V4(42)", "s1 V4(3)"]);
        assert_eq!(options_of(&servers[&share(2)]), ["p5 V4(42)", "s1 V4(3)"]);
        assert_eq!(super::super::shares_of(&servers), shares);
    }

    #[test]
    fn who_is_known_by_an_identifier_stays_with_the_server_and_counts_for_no_share() {
        let id = |text| (Identity::client_id(text).unwrap(), Family::V4);
        let duid = (Identity::duid("00:04:0a").unwrap(), Family::V6);
        let known = [(id("0a:01"), 4), (id("0a:02"), 5), (duid, 6)];
        let known = known.map(|(client, n)| (client.clone(), host(n, client.1).1));
        let all: BTreeMap<_, _> = (1..=3).map(|n| host(n, Family::V4)).chain(known.clone()).collect();
        let options = [("s1", 3), ("p1", 42), ("p4", 42)];
        let options =
            options.map(|(tag, code)| (OptionKey::plain(tag, Code::V4(code)), "x".to_owned())).into();
        let (hosts, options) = (Hosts::fresh(all), OptionSet::fresh(options));
        let server = Server { hosts, options, ..Server::default() };
        assert!(spread(3).shares(&server, &Shares::new()).is_empty(), "there are three by MAC address");
        let shares = spread(2).shares(&server, &Shares::new());
        let (rest, servers) = spread(2).spread(server, &shares);
        assert_eq!(rest.hosts.entries, known.into());
        assert_eq!((servers.len(), shares), (1, (1..=3).map(|n| (mac(n), share(1))).collect()));
        assert_eq!(options_of(&rest), ["p4 V4(42)", "s1 V4(3)"]);
        assert_eq!(options_of(&servers[&share(1)]), ["p1 V4(42)", "s1 V4(3)"]);
    }
}
