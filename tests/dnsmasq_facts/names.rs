//! DNS: names files, what stays here and what is forwarded.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::lab::{DnsReply, DnsSocket, Dnsmasq, Guest, Lab, PATIENCE, Setup, eventually, rtype};
use crate::{MANY_RANGE, host, ip, leave_leases, machine, many_hosts, many_ip, many_leases};

/// A server with an upstream that says nothing but counts.
pub(crate) struct Rig<'lab> {
    pub(crate) dnsmasq: Dnsmasq<'lab>,
    dns: DnsSocket,
    upstream: UdpSocket,
    pub(crate) guest: Guest<'lab>,
}

impl<'lab> Rig<'lab> {
    pub(crate) fn new(lab: &'lab Lab, arguments: &[&str]) -> Self {
        let guest = crate::guest(lab, 9);
        guest.configure("10.0.0.9/16", None);
        let upstream = lab.in_netns(Some(guest.netns()), || UdpSocket::bind("10.0.0.9:53").unwrap());
        let setup = Setup { usual: false, ..Setup::default() };
        let setup = setup.addresses(&["10.0.0.2/16"]).more(&["--server=10.0.0.9"]).more(arguments);
        let dnsmasq = Dnsmasq::with_hosts(lab, setup, &host(1, 11));
        let dns = dnsmasq.local_dns();
        Self { dnsmasq, dns, upstream, guest }
    }

    /// The answer given here, or `None` when the question went upstream.
    pub(crate) fn here(&self, name: &str, rtype: u16) -> Option<DnsReply> {
        self.dns.send(name, rtype, 1);
        eventually("an answer or a forwarded question", PATIENCE, || {
            let reply = self.dns.receive(Duration::from_millis(1));
            reply.map(Some).or_else(|| self.went_upstream().then_some(None))
        })
    }

    fn reverse(&self, address: &str) -> Option<DnsReply> {
        let [a, b, c, d] = address.parse::<Ipv4Addr>().unwrap().octets();
        self.here(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), rtype::PTR)
    }

    fn went_upstream(&self) -> bool {
        self.upstream.set_nonblocking(true).unwrap();
        let mut any = false;
        while self.upstream.recv(&mut [0; 512]).is_ok() {
            any = true;
        }
        any
    }
}

#[test]
fn a_local_domain_is_never_forwarded() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--local=/in.test/"]);
    rig.dnsmasq.apply("names", "all", "10.0.0.11 vm1.in.test\n");
    assert_eq!(rig.here("vm1.in.test", rtype::A), Some(DnsReply::found(&["10.0.0.11"])));
    for other in [rtype::AAAA, rtype::MX, rtype::TXT] {
        assert_eq!(rig.here("vm1.in.test", other), Some(DnsReply::found(&[])), "{other}");
        assert_eq!(rig.here("no.in.test", other), Some(DnsReply::nxdomain()), "{other}");
    }
    assert_eq!(rig.here("elsewhere.test", rtype::A), None);
}

#[test]
fn bare_names_stay_here_with_an_empty_local_domain() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--local=//"]);
    for rtype in [rtype::A, rtype::AAAA, rtype::MX, rtype::TXT, rtype::PTR] {
        assert_eq!(rig.here("bare", rtype), Some(DnsReply::nxdomain()), "{rtype}");
    }
}

#[test]
fn without_an_upstream_the_other_type_of_a_known_bare_name_is_refused_unless_domains_are_needed() {
    for (more, other) in [(&[][..], DnsReply::refused()), (&["--domain-needed"], DnsReply::found(&[]))] {
        let lab = machine();
        let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default().more(more), &host(1, 11));
        crate::guest(&lab, 1).dora();
        let dns = dnsmasq.local_dns();
        assert_eq!(dns.ask("vm1", rtype::A), DnsReply::found(&["10.0.0.11"]));
        assert_eq!(dns.ask("vm1", rtype::AAAA), other, "{more:?}");
        assert_eq!(dns.ask("vm1", rtype::MX), DnsReply::refused());
    }
}

#[test]
fn a_name_of_a_host_line_is_known_only_while_there_is_a_lease() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default().more(&["--domain-needed"]), &host(1, 11));
    let dns = dnsmasq.local_dns();
    assert_eq!(dns.ask("vm1", rtype::A), DnsReply::nxdomain());
    crate::guest(&lab, 1).dora();
    assert_eq!(dns.ask("vm1", rtype::A), DnsReply::found(&["10.0.0.11"]));
}

#[test]
fn without_it_mx_and_txt_of_bare_names_are_forwarded() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--domain-needed"]);
    assert!(rig.here("bare", rtype::A).is_some());
    assert_eq!(rig.here("bare", rtype::MX), None);
    assert_eq!(rig.here("bare", rtype::TXT), None);
}

#[test]
fn one_local_argument_takes_many_names() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--local=/a.test/b.test/1.0.0.10.in-addr.arpa/2.0.0.10.in-addr.arpa/"]);
    for name in ["x.a.test", "x.b.test"] {
        assert_eq!(rig.here(name, rtype::A), Some(DnsReply::nxdomain()));
    }
    assert_eq!(rig.reverse("10.0.0.1"), Some(DnsReply::nxdomain()));
    // Its own address is known to it by nobody's name.
    assert_eq!(rig.reverse("10.0.0.2"), Some(DnsReply::nxdomain()));
    assert_eq!(rig.reverse("10.0.0.3"), None);
}

#[test]
fn reverse_zones_of_whole_octets_and_shorter_stay_here() {
    for (subnet, inside, outside) in [
        ("10.0.0.0/24", ["10.0.0.1", "10.0.0.254"], ["10.0.1.1", "10.1.0.1"]),
        ("10.0.4.0/22", ["10.0.4.1", "10.0.7.254"], ["10.0.3.254", "10.0.8.1"]),
        ("10.0.0.0/16", ["10.0.1.1", "10.0.255.254"], ["10.1.0.1", "11.0.0.1"]),
        ("10.0.0.0/8", ["10.1.0.1", "10.255.255.254"], ["11.0.0.1", "9.0.0.1"]),
    ] {
        let lab = machine();
        let rig = Rig::new(&lab, &[&format!("--rev-server={subnet}")]);
        for address in inside {
            assert_eq!(rig.reverse(address), Some(DnsReply::nxdomain()), "{address} of {subnet}");
        }
        for address in outside {
            assert_eq!(rig.reverse(address), None, "{address} is not in {subnet}");
        }
    }
}

#[test]
fn reverse_zones_longer_than_24_are_cut_exactly() {
    for (subnet, inside, outside) in [
        ("10.0.0.0/25", ["10.0.0.1", "10.0.0.126"], ["10.0.0.129", "10.0.1.1"]),
        ("10.0.0.16/28", ["10.0.0.17", "10.0.0.30"], ["10.0.0.15", "10.0.0.32"]),
        ("10.0.0.20/31", ["10.0.0.20", "10.0.0.21"], ["10.0.0.19", "10.0.0.22"]),
    ] {
        let lab = machine();
        let rig = Rig::new(&lab, &[&format!("--rev-server={subnet}")]);
        for address in inside {
            assert_eq!(rig.reverse(address), Some(DnsReply::nxdomain()), "{address} of {subnet}");
        }
        for address in outside {
            assert_eq!(rig.reverse(address), None, "{address} is not in {subnet}");
        }
    }
}

#[test]
fn a_rewritten_names_file_holds_exactly_what_it_says() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--local=/in.test/", "--rev-server=10.0.0.0/24"]);
    let name = |name: &str| rig.here(name, rtype::A).unwrap();
    rig.dnsmasq.apply("names", "all", "10.0.0.11 vm1.in.test vm1\n10.0.0.12 vm2.in.test vm2\n");
    assert_eq!(name("vm1.in.test"), DnsReply::found(&["10.0.0.11"]));
    assert_eq!(name("vm2"), DnsReply::found(&["10.0.0.12"]));
    assert_eq!(rig.reverse("10.0.0.12"), Some(DnsReply::found(&["vm2.in.test"])));
    // vm1 goes, vm2 moves, vm3 takes the address of vm2.
    rig.dnsmasq.apply("names", "all", "10.0.0.13 vm2.in.test vm2\n10.0.0.12 vm3.in.test vm3\n");
    assert_eq!(name("vm1.in.test"), DnsReply::nxdomain());
    assert_eq!(name("vm2.in.test"), DnsReply::found(&["10.0.0.13"]));
    assert_eq!(name("vm3.in.test"), DnsReply::found(&["10.0.0.12"]));
    assert_eq!(rig.reverse("10.0.0.11"), Some(DnsReply::nxdomain()));
    assert_eq!(rig.reverse("10.0.0.12"), Some(DnsReply::found(&["vm3.in.test"])));
    assert_eq!(rig.reverse("10.0.0.13"), Some(DnsReply::found(&["vm2.in.test"])));
}

/// The reverse names of an address that is leased and in the names file.
fn reverse_names(names: &str, by_event: bool) -> Vec<String> {
    let lab = machine();
    let dnsmasq = Dnsmasq::prepare(&lab, Setup::default());
    dnsmasq.write("hosts", "all", &host(1, 11));
    leave_leases(&dnsmasq, &(crate::lease_line(crate::lab::Mac::nth(1), ip(11)) + "\n"));
    if !by_event {
        dnsmasq.write("names", "all", names);
    }
    dnsmasq.start();
    if by_event {
        dnsmasq.apply("names", "all", names);
    }
    dnsmasq.local_dns().reverse(ip(11)).answers
}

#[test]
fn the_reverse_name_of_a_leased_address_is_certain_only_if_the_names_file_has_no_other() {
    let one = "10.0.0.11 vm1.in.test\n";
    assert_eq!(reverse_names(one, false), ["vm1.in.test"]);
    assert_eq!(reverse_names(one, true), ["vm1.in.test"]);
    let two = "10.0.0.11 vm1.in.test vm1\n";
    assert_eq!(reverse_names(two, false), ["vm1.in.test"]);
    // By event the second name may become a reverse name too: the order of dnsmasq's hash table
    // decides, and that is another in every process.
    assert!(reverse_names(two, true).contains(&"vm1.in.test".to_owned()));
}

#[test]
fn an_emptied_or_deleted_names_file_takes_its_names_away() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--local=/in.test/"]);
    rig.dnsmasq.apply("names", "a", "10.0.0.11 vm1.in.test\n");
    rig.dnsmasq.apply("names", "b", "10.0.0.12 vm2.in.test\n");
    rig.dnsmasq.apply("names", "a", "");
    assert_eq!(rig.here("vm1.in.test", rtype::A), Some(DnsReply::nxdomain()));
    rig.dnsmasq.remove("names", "b");
    assert_eq!(rig.here("vm2.in.test", rtype::A), Some(DnsReply::nxdomain()));
}

#[test]
fn a_reverse_name_is_lost_with_the_first_of_two_files_for_one_address() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--rev-server=10.0.0.0/24"]);
    rig.dnsmasq.apply("names", "a", "10.0.0.11 first.test\n");
    rig.dnsmasq.apply("names", "b", "10.0.0.11 second.test\n");
    assert_eq!(rig.reverse("10.0.0.11"), Some(DnsReply::found(&["first.test"])));
    rig.dnsmasq.remove("names", "a");
    assert_eq!(rig.reverse("10.0.0.11"), Some(DnsReply::nxdomain()));
}

#[test]
fn names_in_files_are_taken_as_they_are() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--local=/in.test/"]);
    rig.dnsmasq.apply("names", "all", "10.0.0.11 bad_name.in.test -bad.in.test *.in.test 10.0.0.9\n");
    for name in ["bad_name.in.test", "-bad.in.test", "*.in.test"] {
        assert_eq!(rig.here(name, rtype::A), Some(DnsReply::found(&["10.0.0.11"])), "{name}");
    }
    assert_eq!(rig.here("any.in.test", rtype::A), Some(DnsReply::nxdomain()));
}

#[test]
fn one_name_may_have_several_addresses() {
    let lab = machine();
    let rig = Rig::new(&lab, &["--local=/in.test/"]);
    rig.dnsmasq.apply("names", "all", "10.0.0.11 vm1.in.test\n10.0.0.12 vm1.in.test\n");
    assert_eq!(rig.here("vm1.in.test", rtype::A), Some(DnsReply::found(&["10.0.0.11", "10.0.0.12"])));
}

#[test]
fn a_host_without_a_name_may_claim_one_unless_names_are_ignored() {
    let lab = machine();
    let claim = crate::lab::raw(12, b"claimed");
    for (ignore, reply) in [(false, DnsReply::found(&["10.0.0.12"])), (true, DnsReply::nxdomain())] {
        let netns = format!("srv{ignore}");
        let more: &[&str] = if ignore { &["--dhcp-ignore-names"] } else { &[] };
        let setup = Setup::default().netns(&netns).more(&["--domain-needed"]).more(more);
        let dnsmasq = Dnsmasq::with_hosts(&lab, setup, "02:00:00:00:00:05,10.0.0.12\n");
        let guest = crate::guest(&lab, 5);
        let offer = guest.discover(&[]).unwrap();
        let ask = crate::lab::Ask::new(crate::lab::MessageType::Request)
            .option(crate::lab::DhcpOption::RequestedIpAddress(ip(12)))
            .option(crate::lab::DhcpOption::ServerIdentifier(offer.server()))
            .option(claim.clone());
        guest.answer(&ask);
        assert_eq!(dnsmasq.local_dns().ask("claimed", rtype::A), reply, "ignore: {ignore}");
        dnsmasq.stop();
    }
}

#[test]
fn a_change_of_a_thousand_names_is_answered_at_once() {
    for leased in [false, true] {
        let lab = machine();
        let setup = Setup::default().ranges(&[MANY_RANGE]).addresses(&["10.0.0.2/16"]);
        let setup = setup.more(&["--local=/in.test/", "--rev-server=10.0.0.0/16"]);
        let dnsmasq = Dnsmasq::prepare(&lab, setup);
        dnsmasq.write("hosts", "all", &many_hosts(1000));
        if leased {
            leave_leases(&dnsmasq, &many_leases(1000));
        }
        dnsmasq.start();
        let dns = dnsmasq.local_dns();
        let mut took = Vec::new();
        dnsmasq.apply("names", "all", &thousand_names(0));
        for generation in 0..40 {
            let text = thousand_names(generation);
            let start = Instant::now();
            dnsmasq.write("names", "all", &text);
            let reply = dns.ask(&format!("vm500-{generation}.in.test"), rtype::A);
            took.push(start.elapsed());
            assert_eq!(reply, DnsReply::found(&["10.0.5.244"]));
            assert_eq!(dns.ask("vm500-999.in.test", rtype::A), DnsReply::nxdomain());
            let named = format!("vm1000-{generation}.in.test");
            assert_eq!(dns.reverse(many_ip(1000)), DnsReply::found(&[&named]));
        }
        took.sort();
        println!("1,000 names rewritten, leased: {leased}: median {:?}, most {:?}", took[20], took[39]);
    }
}

fn thousand_names(generation: u32) -> String {
    (1..=1000).fold(String::new(), |mut text, n| {
        writeln!(text, "{} vm{n}-{generation}.in.test vm{n}", many_ip(n)).unwrap();
        text
    })
}

/// For each line of a file that is read again dnsmasq goes through all names that it has.
#[test]
fn a_file_that_changed_costs_its_lines_times_all_names() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let lines = |names: std::ops::Range<u32>| {
        names.fold(String::new(), |mut text, n| {
            writeln!(text, "{} vm{n}\n{} vm{n}.in.test", many_ip(n), many_ip(n)).unwrap();
            text
        })
    };
    let took = |name: &str, text: &str| {
        let began = Instant::now();
        dnsmasq.apply("names", name, text);
        began.elapsed()
    };
    dnsmasq.apply("names", "most", &lines(0..2_990));
    let (mut whole, mut small) = (Vec::new(), Vec::new());
    for n in 0..5 {
        small.push(took("few", &lines(2_990..2_995 + n)));
        whole.push(took("most", &lines(n..2_990)));
    }
    // The least of each: what else the machine does is in none of them, or in all.
    let [whole, small] = [whole, small].map(|all| all.into_iter().min().unwrap());
    println!("3,000 addresses: a file of all but ten {whole:?}, a file of ten {small:?}");
    assert!(small * 10 < whole, "{small:?}, {whole:?}");
}

#[test]
fn what_was_in_two_files_is_lost_with_one_until_the_other_is_written_again() {
    let lab = machine();
    let dnsmasq = Dnsmasq::with_hosts(&lab, Setup::default(), &host(1, 11));
    let dns = dnsmasq.local_dns();
    let found = || {
        let reverse = dns.ask("11.0.0.10.in-addr.arpa", rtype::PTR).answers;
        (dns.ask("vm1", rtype::A).answers, reverse)
    };
    let answers = |of: &[&str]| of.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
    dnsmasq.apply("names", "one", "10.0.0.11 vm1\n");
    dnsmasq.apply("names", "two", "10.0.0.11 vm1\n");
    let whole = (answers(&["10.0.0.11"]), answers(&["vm1"]));
    assert_eq!(found(), whole);
    dnsmasq.remove("names", "one");
    assert_eq!(found(), (answers(&[]), answers(&[])));
    dnsmasq.apply("names", "two", "10.0.0.11 vm1\n");
    assert_eq!(found(), whole);
}
