//! From the one server that shall be to a server and those of the shares.
//!
//! Called by `desired`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::render::ADVERTISED;
use super::share::{guest, shares_of};
use super::{
    Client, Host, Hosts, Layout, Limits, OptionKey, OptionSet, Process, Server, Share, Shares, argv,
};
use crate::node::Family;
use crate::service::{Reservation, Scope, Service};
use crate::types::MacAddr;

/// What is needed to share out the guests of a network that may have too many for one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// What is for shares of it.
    services: BTreeMap<Family, Service>,
    layout: Layout,
    limits: Limits,
}

impl Spread {
    /// `None`: so few guests are one process's in any case.
    pub fn new(service: &Service, layout: Layout, limits: Limits) -> Option<Self> {
        let count = |family| {
            let own = |port: &&Reservation| port.family == family && port.identity.mac().is_some();
            service.reservations.iter().filter(own).count()
        };
        let many = Family::ALL.into_iter().filter(|family| count(*family) > limits.of(*family).alone / 2);
        let services: BTreeMap<_, _> = many.map(|family| (family, of_shares(service, family))).collect();
        (!services.is_empty()).then_some(Self { services, layout, limits })
    }

    /// Whose each guest of `server` is, where they are `now`; of the families whose guests are shared out.
    pub fn shares(&self, server: &Server, now: &BTreeMap<Share, Server>) -> BTreeMap<Family, Shares> {
        let of = |family: Family| {
            let own = server.hosts.entries.keys().filter(|client| client.1 == family);
            let guests: Vec<_> = own.filter_map(guest).collect();
            super::share_out(family, &guests, &shares_of(now, family), self.limits.of(family))
        };
        let shares = self.services.keys().map(|family| (*family, of(*family)));
        shares.filter(|(_, shares)| !shares.is_empty()).collect()
    }

    /// Whose some more guests are, where the others are `now`. `None`: not all of them are some share's that is
    /// there.
    pub fn place<'a>(
        &self,
        clients: impl Iterator<Item = &'a Client>,
        now: &BTreeMap<Family, Shares>,
    ) -> Option<BTreeMap<Family, Shares>> {
        let mut guests: BTreeMap<Family, Vec<MacAddr>> = BTreeMap::new();
        for client in clients {
            guests.entry(client.1).or_default().push(guest(client)?);
        }
        let placed = |(family, guests): (Family, Vec<MacAddr>)| {
            let own = self.services.get(&family).and(now.get(&family))?;
            Some((family, super::share::place(&guests, own, self.limits.of(family))?))
        };
        guests.into_iter().map(placed).collect()
    }

    /// `server` without the guests of `shares`, and theirs. The options of subnets are everybody's: the one
    /// server may answer strangers.
    pub fn spread(
        &self,
        server: Server,
        shares: &BTreeMap<Family, Shares>,
    ) -> (Server, BTreeMap<Share, Server>) {
        let of = |client: &Client| shares.get(&client.1)?.get(&guest(client)?).copied();
        let all = shares.values().flat_map(Shares::values).copied().map(Some).chain([None]);
        let mut parts: BTreeMap<_, _> = all.map(|share| (share, Part::default())).collect();
        let tags: BTreeSet<_> = server.options.values.keys().map(|key| key.tag.as_str()).collect();
        let mut owners = BTreeMap::new();
        for (client, host) in server.hosts.entries {
            let share = of(&client);
            if tags.contains(host.tag.as_str()) && !self.is_subnets(client.1, &host.tag) {
                owners.insert((client.1, host.tag.clone()), share);
            }
            parts.entry(share).or_default().hosts.push((client, host));
        }
        for (key, value) in &server.options.values {
            let family = key.code.family();
            let owner = owners.get(&(family, key.tag.clone())).copied();
            let owner = owner.or((key.tag == ADVERTISED).then_some(None));
            let is_told = |share: &Option<Share>| match owner {
                Some(owner) => *share == owner,
                None => share.is_none_or(|share| share.family == family),
            };
            for (_, part) in parts.iter_mut().filter(|(share, _)| is_told(share)) {
                part.options.insert(key.clone(), value.clone());
            }
        }
        let (hosts, options) = parts.remove(&None).unwrap_or_default().read();
        let hosts = hosts.and_silent(server.hosts.silent);
        let of_share = |(share, part): (Option<Share>, Part)| {
            let argv = share_argv(self.services.get(&share?.family)?, &self.layout, share?);
            let (hosts, options) = part.read();
            let process = Some(Process { argv, current: true });
            Some((share?, Server { process, hosts, options, ..Server::default() }))
        };
        let shares = parts.into_iter().filter_map(of_share).collect();
        let Server { process, names, leases, .. } = server;
        (Server { process, hosts, options, names, leases }, shares)
    }

    fn is_subnets(&self, family: Family, tag: &str) -> bool {
        self.services.get(&family).is_some_and(|service| service.scopes.iter().any(|scope| scope.key == tag))
    }
}

/// What is one process's.
#[derive(Default)]
struct Part {
    /// In order.
    hosts: Vec<(Client, Host)>,
    options: BTreeMap<OptionKey, String>,
}

impl Part {
    fn read(self) -> (Hosts, OptionSet) {
        (Hosts::fresh(self.hosts.into_iter().collect()), OptionSet::fresh(self.options))
    }
}

/// What is in the command lines of shares' processes: what known guests of this family are told by DHCP, and
/// no more.
fn of_shares(service: &Service, family: Family) -> Service {
    let is_own = |scope: &&Scope| Family::of(scope.cidr.addr()) == family && scope.has_dhcp();
    let known = |scope: &Scope| Scope { dynamic: Vec::new(), advertised: false, ..scope.clone() };
    Service {
        identity: service.identity,
        scopes: service.scopes.iter().filter(is_own).map(known).collect(),
        mtu: service.mtu.filter(|_| family == Family::V4),
        domain: service.domain.clone(),
        // In DHCPv4 a share is asked as one of its guests.
        asker: service.asker.filter(|_| family == Family::V6),
        ..Service::default()
    }
}

/// That of the process of one share.
fn share_argv(service: &Service, layout: &Layout, share: Share) -> Vec<String> {
    let mut argv = argv(service, &layout.of(Some(share)));
    if !share.has_room() {
        argv.push(format!("--dhcp-alternate-port={},68", share.dhcp_port()));
        argv.push(format!("--port={}", share.dns_port()));
    }
    argv
}

#[cfg(test)]
mod tests {
    use super::super::Limit;
    use super::*;
    use crate::service::{Addressing, Advertisement, Asker, Code, Offer, OptionList, Options};
    use crate::types::{Identity, IpRange};

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

    /// Only guests of `family` may be too many.
    fn spread(family: Family, alone: usize) -> Spread {
        let scope = Scope {
            key: "s6".into(),
            cidr: if family == Family::V4 { "10.0.0.0/24" } else { "2001:db8::/64" }.parse().unwrap(),
            addressing: Addressing::Dhcp,
            advertised: false,
            dynamic: Vec::new(),
            lease_seconds: 60,
            options: OptionList::default(),
        };
        let (one, never) = (Limit { alone, share: 5 }, Limit::NEVER);
        let limits = match family {
            Family::V4 => Limits { four: one, six: never },
            Family::V6 => Limits { four: never, six: one },
        };
        let service = Service { scopes: vec![scope], ..Service::default() };
        Spread { services: [(family, service)].into(), layout: layout(), limits }
    }

    fn share(family: Family, n: u8) -> Share {
        Share::new(family, n).unwrap()
    }

    fn options_of(server: &Server) -> Vec<String> {
        server.options.values.keys().map(|key| format!("{} {:?}", key.tag, key.code)).collect()
    }

    #[test]
    fn each_gets_its_guests_and_their_options_and_the_server_keeps_all_else() {
        for family in Family::ALL {
            let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
            let code = |family, n: u8| if family == Family::V4 { Code::V4(n) } else { Code::V6(n.into()) };
            let tag = |n: u8| if n == 3 { "s6".to_owned() } else { format!("p{n}") };
            let line = |(client, host): (Client, Host), n| (client, Host { tag: tag(n), ..host });
            let all = (1..=5).flat_map(|n| Family::ALL.map(|family| line(host(n, family), n)));
            let options = [
                ("s6", code(family, 3)),
                ("p1", code(family, 42)),
                ("p5", code(family, 42)),
                ("p1", code(other, 23)),
                (ADVERTISED, Code::V6(23)),
            ];
            let options = options.map(|(tag, code)| (OptionKey::plain(tag, code), "x".to_owned()));
            let server = Server {
                hosts: Hosts::fresh(all.collect()).and_silent([(mac(9).into(), Family::V4)].into()),
                options: OptionSet::fresh(options.into()),
                names: [([10, 0, 0, 1].into(), vec!["vm1".parse().unwrap()])].into(),
                ..Server::default()
            };
            let spread = spread(family, 2);
            let shares = spread.shares(&server, &BTreeMap::new());
            assert_eq!(shares.iter().map(|(f, s)| (*f, s.len())).collect::<Vec<_>>(), [(family, 5)]);
            let (rest, servers) = spread.spread(server.clone(), &shares);
            let sizes: Vec<_> = servers.values().map(|server| server.hosts.entries.len()).collect();
            assert_eq!(sizes, [3, 2]);
            assert!(rest.hosts.entries.keys().all(|(_, family)| *family == other));
            assert_eq!((rest.hosts.entries.len(), &rest.hosts.silent), (5, &server.hosts.silent));
            assert_eq!(rest.names, server.names);
            let option = |tag, code| format!("{tag} {code:?}");
            let subnets = option("s6", code(family, 3));
            let mut expected =
                vec![option(ADVERTISED, Code::V6(23)), option("p1", code(other, 23)), subnets.clone()];
            expected.sort();
            assert_eq!(options_of(&rest), expected);
            let of = |n| options_of(&servers[&share(family, n)]);
            assert_eq!(of(1), [option("p1", code(family, 42)), subnets.clone()]);
            assert_eq!(of(2), [option("p5", code(family, 42)), subnets]);
            assert_eq!(super::super::shares_of(&servers, family), shares[&family]);
        }
    }

    #[test]
    fn who_is_known_by_an_identifier_stays_with_the_server_and_counts_for_no_share() {
        let duid = |text| (Identity::duid(text).unwrap(), Family::V6);
        let client_id = |text| (Identity::client_id(text).unwrap(), Family::V4);
        for (family, code) in [(Family::V4, Code::V4(42)), (Family::V6, Code::V6(31))] {
            let id = |text| if family == Family::V4 { client_id(text) } else { duid(text) };
            let known = [(id("00:04:01"), 4), (id("00:04:02"), 5)];
            let known = known.map(|(client, n)| (client.clone(), host(n, client.1).1));
            let all: BTreeMap<_, _> = (1..=3).map(|n| host(n, family)).chain(known.clone()).collect();
            let options = ["s9", "p1", "p4"].map(|tag| (OptionKey::plain(tag, code), "x".to_owned()));
            let (hosts, options) = (Hosts::fresh(all), OptionSet::fresh(options.into()));
            let server = Server { hosts, options, ..Server::default() };
            let nobody = BTreeMap::new();
            let three = spread(family, 3).shares(&server, &nobody);
            assert!(three.is_empty(), "there are three by MAC address");
            let shares = spread(family, 2).shares(&server, &nobody);
            let (rest, servers) = spread(family, 2).spread(server, &shares);
            assert_eq!(rest.hosts.entries, known.into());
            let one = share(family, 1);
            assert_eq!((servers.len(), &shares[&family]), (1, &(1..=3).map(|n| (mac(n), one)).collect()));
            let codes = |tags: [&str; 2]| tags.map(|tag| format!("{tag} {code:?}"));
            assert_eq!(options_of(&rest), codes(["p4", "s9"]));
            assert_eq!(options_of(&servers[&one]), codes(["p1", "s9"]));
        }
    }

    #[test]
    fn a_share_is_for_known_guests_of_one_family_only() {
        let (four, six) = ("10.0.0.0/16".parse().unwrap(), "2001:db8::/64".parse().unwrap());
        let scope = |cidr: ipnet::IpNet, first: std::net::IpAddr| Scope {
            key: "s1".into(),
            cidr,
            addressing: Addressing::Dhcp,
            dynamic: vec![IpRange { first, last: first }],
            advertised: cidr.addr().is_ipv6(),
            lease_seconds: 3600,
            options: OptionList::default(),
        };
        let service = Service {
            scopes: vec![scope(four, [10, 0, 1, 1].into()), scope(six, "2001:db8::1".parse().unwrap())],
            mtu: Some(1400),
            advertisement: Some(Advertisement { mtu: None, options: Options::new() }),
            domain: Some("vm.example.org".parse().unwrap()),
            reverse: vec![four],
            forwarders: vec!["192.0.2.53".parse().unwrap()],
            asker: Some(Asker { mac: mac(8), device: mac(9) }),
            ..Service::default()
        };
        let uid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let layout = Layout::new("/state".as_ref(), uid);
        let all = argv(&service, &layout);
        let share =
            |family| share_argv(&of_shares(&service, family), &layout, Share::new(family, 2).unwrap());
        let own = |share: &[String]| {
            let own = share.iter().filter(|arg| !all.contains(arg)).map(String::as_str).collect::<Vec<_>>();
            own.join("\n").replace(&uid.to_string(), "UID")
        };
        let (four, six) = (share(Family::V4), share(Family::V6));
        assert_eq!(
            own(&four),
            "\
--dhcp-ignore=tag:!known
--pid-file=/state/networks/UID/shares/2/pid
--log-facility=/state/networks/UID/shares/2/log
--dhcp-leasefile=/state/networks/UID/shares/2/leases
--dhcp-hostsdir=/state/networks/UID/shares/2/hosts
--dhcp-optsdir=/state/networks/UID/shares/2/options
--hostsdir=/state/networks/UID/shares/2/names
--dhcp-alternate-port=602,68
--port=802"
        );
        assert_eq!(
            own(&six),
            "\
--dhcp-ignore=tag:!known
--pid-file=/state/networks/UID/shares/v6-2/pid
--log-facility=/state/networks/UID/shares/v6-2/log
--dhcp-leasefile=/state/networks/UID/shares/v6-2/leases
--dhcp-hostsdir=/state/networks/UID/shares/v6-2/hosts
--dhcp-optsdir=/state/networks/UID/shares/v6-2/options
--hostsdir=/state/networks/UID/shares/v6-2/names"
        );
        let parts = |share: &[String], part: &str| -> Vec<String> {
            share.iter().filter(|arg| arg.starts_with(part)).cloned().collect()
        };
        let range = "--dhcp-range=";
        assert_eq!(parts(&four, range), ["--dhcp-range=set:s1,tag:known,10.0.0.0,static,255.255.0.0,3600"]);
        let of_six = ["--dhcp-range=set:s1,tag:known,tag:!gone,2001:db8::,static,64,3600"];
        assert_eq!(parts(&six, range), of_six);
        assert!(four.iter().any(|arg| arg.ends_with("option:mtu,1400")));
        let duid = "--dhcp-duid=";
        assert_eq!(parts(&six, duid), parts(&all, duid), "they are one server");
        let asker = "--dhcp-host=";
        assert_eq!(parts(&six, asker), parts(&all, asker), "it is asked by who asks everywhere");
        assert_eq!(parts(&six, asker).len(), 2);
        assert!(parts(&four, duid).is_empty() && parts(&four, asker).is_empty());
        for part in ["--server=", "--rev-server=", "--enable-ra", "--ra-param="] {
            assert!(parts(&four, part).is_empty() && parts(&six, part).is_empty(), "{part}");
        }
    }
}
