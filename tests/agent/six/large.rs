//! More ports in one network than one dnsmasq can serve well in DHCPv6.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lab::{Ask6, Guest, Guest6, Kind6, Mac, PATIENCE, eventually};
use crate::manifests::{network, object, port, subnet};
use crate::shared_out::{asking_meanwhile, until};
use crate::site::{LONG, Site, files_of, patiently};

use super::{server_duid, until_nothing_to_do};

/// Ports before there are too many for one, and after.
const FEW: u32 = 990;
const MANY: u32 = 1_100;
const SHARES: usize = 2;

fn wide() -> String {
    let six = "ipv6: {addressMode: DHCPv6Stateful}\npools: [{first: '2001:db8::10', last: '2001:db8::ff'}]";
    network("lan", "dns: {domain: vm.example.org}")
        + &subnet("wide", "lan", "10.0.0.0/16", "")
        + &subnet("six", "lan", "2001:db8::/64", six)
}

fn ports(numbers: std::ops::RangeInclusive<u32>) -> String {
    wide() + &numbers.map(one).collect::<String>()
}

fn one(n: u32) -> String {
    let (four, six) = (std::net::Ipv4Addr::from(0x0a00_1000 + n), ip(n));
    port(&format!("vm{n}"), "lan", Mac::nth(n), &format!("addresses: [{{ip: {four}}}, {{ip: '{six}'}}]"))
}

fn ip(n: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::try_from(n).unwrap())
}

/// Of a guest that is known by its DUID, whatever device it has.
const DUID: &[u8] = &[0, 4, 0x0a, 0x0b];
const OF_DUID: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 2, 1);

fn of_duid() -> String {
    let spec = format!(
        "networkRef: {{name: lan}}\naddresses: [{{ip: '{OF_DUID}'}}]\nidentity: {{type: DUID, duid: '00:04:0a:0b'}}"
    );
    object("Port", "of-duid", &spec)
}

struct Large<'a> {
    site: &'a Site,
    like: Guest<'a>,
    server: Vec<u8>,
}

impl<'a> Large<'a> {
    fn guest(&self, n: u32) -> Guest6<'a> {
        self.site.lab.twin6(self.like.netns(), Mac::nth(n))
    }

    fn lease(&self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            self.site.until_leased6(&self.guest(n), ip(n));
        }
    }

    /// As a guest that has its lease: whoever answers knows of it.
    fn renew(&self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            let reply = eventually("an answer", LONG, || self.guest(n).renew(ip(n), &self.server));
            assert_eq!((reply.addresses(), reply.ia_status()), (vec![ip(n)], None), "guest {n}");
        }
    }

    /// Does something, while a guest asks all the time; gives the longest that it waited for an answer.
    fn answered_meanwhile<T>(&self, n: u32, what: impl FnOnce() -> T) -> (T, Duration) {
        let (guest, longest) = (self.guest(n), Mutex::new(Duration::ZERO));
        let ask = || {
            let began = Instant::now();
            let advertise = guest.ask_for(&Ask6::new(Kind6::Solicit), PATIENCE);
            let mut longest = longest.lock().unwrap();
            *longest = longest.max(began.elapsed());
            assert_eq!(advertise.map(|advertise| advertise.addresses()), Some(vec![ip(n)]));
        };
        let came = asking_meanwhile(ask, what);
        (came, longest.into_inner().unwrap())
    }

    /// The namespaces of shares.
    fn rooms(&self) -> Vec<String> {
        let mut names = self.site.lab.netns_names();
        names.retain(|name| name.starts_with("kdhcp-") && name.contains("-v6-"));
        names
    }
}

#[test]
fn many_are_shared_out_in_dhcpv6_and_each_keeps_its_lease() {
    let site = Site::new();
    site.write("lan.yaml", &ports(1..=FEW));
    site.write("of-duid.yaml", &of_duid());
    let agent = site.start();
    let like = site.guest(60_000);
    until("there is a namespace", || {
        site.lab.netns_names().iter().any(|name| name.starts_with("kdhcp-")).then_some(())
    });
    let large = Large { site: &site, like, server: server_duid(&site) };
    large.site.until_all_ready(FEW + 1);
    large.lease([1, 700, FEW]);
    let called = large.guest(50_001).with_duid(DUID);
    site.until_leased6(&called, OF_DUID);
    let alone = large.site.until_processes(1);

    let (shared, longest) = large.answered_meanwhile(3, || {
        site.write("lan.yaml", &ports(1..=MANY));
        large.site.until_all_ready(MANY + 1);
        large.site.until_processes(1 + SHARES)
    });
    println!("while they were shared out one waited for {longest:?}");
    assert!(!shared.contains(&alone[0]), "it was started anew without its guests");
    assert_eq!(large.rooms().len(), SHARES);
    large.renew([1, 700, FEW]);
    large.lease([2, MANY]);
    site.until_leased6(&called, OF_DUID);
    for n in [1, 700, FEW, 2, MANY] {
        large.site.until_given(ip(n), true);
    }
    large.site.until_given(OF_DUID, false);
    large.site.until_holders(6);
    assert!(large.guest(50_000).silent(), "a stranger is answered");
    assert!(large.guest(1).rebind(ip(1)).is_none(), "no REBIND is heard");
    let answers = large.guest(1).ask_all(&Ask6::new(Kind6::Solicit));
    assert_eq!(answers.len(), 1, "one answers");
    // Whose link-local address nobody can know is found by it.
    let elsewhere = large.guest(3).with_link_local("fe80::1:2:3".parse().unwrap());
    site.until_leased6(&elsewhere, ip(3));

    // Installed anew it has another DUID.
    large.lease([MANY - 1]);
    site.until_leased6(&large.guest(MANY - 1).with_duid(&[0, 4, 9, 9]), ip(MANY - 1));

    one_more_and_one_less(&large, &shared);
    site.the_end_of("v6-1", || large.renew([1]));
    let server = site.status().servers("lan").into_iter().find(IpAddr::is_ipv6).unwrap();
    let said = format!("dnsmasq of share v6-2 does not answer a DHCPv6 question to {server}");
    site.one_that_hangs("v6-2", &said, || large.renew([1]));
    what_is_damaged_is_mended(&large);

    // An agent that comes again finds all as it is.
    let pids = site.dnsmasq_pids();
    agent.kill9();
    let agent = site.start();
    large.renew([1, MANY]);
    assert_eq!(site.dnsmasq_pids(), pids);
    until_nothing_to_do(&site);

    few_again(&large, &called);
    site.remove_all();
    until("only the bridge is left, in which there is a guest", || {
        (site.remains(true) == ["br0"]).then_some(())
    });
    drop(agent);
}

/// Only the process of its share is told of a port, others' guests do not wait, and a lease of who goes is given
/// back there.
fn one_more_and_one_less(large: &Large<'_>, pids: &[u32]) {
    let shares = large.site.network_dir().join("shares");
    let hosts = || [1, 2].map(|n| files_of(&shares.join(format!("v6-{n}/hosts"))).len());
    let before = hosts();
    let ((), longest) = large.answered_meanwhile(700, || {
        large.site.write("more.yaml", &one(MANY + 1));
        large.site.until_all_ready(MANY + 2);
        large.lease([MANY + 1]);
    });
    println!("while one more came another waited for {longest:?}");
    large.site.until_given(ip(MANY + 1), true);
    let told = |after: [usize; 2]| [after[0] - before[0], after[1] - before[1]];
    assert_eq!(told(hosts()), [1, 0]);
    large.site.remove("more.yaml");
    large.site.until_silent6(&large.guest(MANY + 1));
    large.site.until_all_ready(MANY + 1);
    assert_eq!(told(hosts()), [2, 0]);
    let lease = format!(" {} ", ip(MANY + 1));
    patiently("the lease is given back", |instead| {
        *instead = std::fs::read_to_string(shares.join("v6-1/leases")).unwrap();
        (!instead.contains(&lease)).then_some(())
    });
    assert_eq!(large.site.dnsmasq_pids(), pids, "nobody is started for it");
}

/// In namespaces in which nobody watches: at the next look.
fn what_is_damaged_is_mended(large: &Large<'_>) {
    let (site, netns) = (large.site, large.site.namespace());
    let room = large.rooms()[0].clone();
    for damage in [
        (netns.as_str(), "nft delete table netdev kube-dhcp-shares"),
        (netns.as_str(), "ip link del feed1"),
        (netns.as_str(), "ip link set feed2 down"),
        (room.as_str(), "ip address flush dev dhcp0 scope global"),
        (room.as_str(), "ip neighbour flush dev dhcp0 nud permanent"),
    ] {
        let pids = site.dnsmasq_pids();
        site.lab.run_in(damage.0, damage.1);
        // The end of any process has the agent look.
        site.lab.signal("KILL", large.site.of_share("v6-2"));
        until("it runs again", || {
            let now = site.dnsmasq_pids();
            (now != pids && now.len() == pids.len()).then_some(())
        });
        until_nothing_to_do(site);
        large.renew([1, 700, MANY]);
    }
}

fn few_again(large: &Large<'_>, called: &Guest6<'_>) {
    let ((), longest) = large.answered_meanwhile(1, || {
        large.site.write("lan.yaml", &ports(1..=450));
        large.site.until_processes(1);
        large.site.until_all_ready(451);
    });
    println!("while they came back one waited for {longest:?}");
    large.renew([1, 2]);
    large.site.until_leased6(called, OF_DUID);
    large.site.until_given(ip(1), false);
    large.site.until_holders(4);
    assert!(large.guest(MANY).silent());
    until_nothing_to_do(large.site);
    assert!(!large.site.network_dir().join("shares").exists());
    assert!(large.rooms().is_empty());
}
