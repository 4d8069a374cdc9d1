//! The process in IPv6: addresses that come later, a second server, neighbours, names.

use crate::lab::{Answer6, Ask6, DnsReply, Dnsmasq, Kind6, Mac, rtype, status};
use crate::{leave_leases, machine};

use super::{SERVER, STATEFUL, advertised, guest6, host6, ip6, leases, one_port, serve, setup, with_hosts};

#[test]
fn a_range_is_found_when_the_address_comes_later_and_lost_when_it_goes() {
    let lab = machine();
    let dnsmasq = serve(&lab, setup().addresses(&["10.0.0.2/24"]), &host6(1, 0x11));
    let guest = guest6(&lab, 1);
    assert!(guest.silent());
    assert_eq!(dnsmasq.logged("no address range available for DHCPv6 request via srv0").len(), 1);
    lab.run_in("srv", "ip address add 2001:db8::2/64 dev srv0 nodad");
    assert_eq!(advertised(&guest), Some(vec![ip6(0x11)]));
    lab.run_in("srv", "ip address del 2001:db8::2/64 dev srv0");
    assert!(guest.silent());
    lab.run_in("srv", "ip address add 2001:db8::2/128 dev srv0 nodad");
    assert!(guest.silent(), "the prefix of the address has to hold the range's");
    // Also where the device had no IPv6 at the start.
    dnsmasq.stop();
    lab.set_ipv6("srv", "srv0", "disable_ipv6", "1");
    dnsmasq.start();
    lab.set_ipv6("srv", "srv0", "disable_ipv6", "0");
    lab.run_in("srv", "ip address add 2001:db8::2/64 dev srv0 nodad");
    lab.neighbours("srv", "srv0", [guest.mac()].into_iter());
    assert_eq!(advertised(&guest), Some(vec![ip6(0x11)]));
}

#[test]
fn a_lease_time_of_infinite_is_sent_as_such_and_one_below_two_minutes_raised() {
    for (lease, sent) in [("infinite", u32::MAX), ("4294967295", u32::MAX), ("60", 120), ("600", 600)] {
        let lab = machine();
        let setup = setup().ranges(&[&STATEFUL.replace("86400", lease)]);
        let _dnsmasq = serve(&lab, setup, &host6(1, 0x11));
        let given = guest6(&lab, 1).sarr().lifetimes()[0];
        assert_eq!((given.preferred, given.valid), (sent, sent), "{lease}");
    }
}

#[test]
fn two_servers_with_one_duid_both_answer_and_either_knows_the_lease() {
    let lab = machine();
    let [a, b] = [("a", "10.0.0.2/24", "2001:db8::2/64"), ("b", "10.0.0.3/24", "2001:db8::3/64")]
        .map(|(netns, four, six)| setup().netns(netns).addresses(&[four, six]))
        .map(|setup| serve(&lab, setup, &host6(1, 0x11)));
    let guest = guest6(&lab, 1);
    let addresses = |ask: &Ask6| -> Vec<_> { guest.ask_all(ask).iter().map(Answer6::addresses).collect() };
    let both = [vec![ip6(0x11)], vec![ip6(0x11)]];
    assert_eq!(addresses(&Ask6::new(Kind6::Solicit)), both);
    assert_eq!(addresses(&guest.about(Kind6::Request, ip6(0x11)).to(&SERVER)), both);
    assert_eq!((leases(&a).len(), leases(&b).len()), (1, 1));
    assert_eq!(addresses(&guest.about(Kind6::Renew, ip6(0x11)).to(&SERVER)), both);
    assert_eq!(addresses(&guest.about(Kind6::Rebind, ip6(0x11))), both);
    a.stop();
    assert_eq!(guest.renew(ip6(0x11), &SERVER).unwrap().addresses(), [ip6(0x11)]);
}

#[test]
fn a_fresh_server_confirms_and_rebinds_and_sends_a_renewal_back_to_its_request() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    let fresh = || {
        dnsmasq.stop();
        leave_leases(&dnsmasq, "");
        dnsmasq.start();
    };
    assert_eq!(guest.confirm(ip6(0x11)).unwrap().status(), Some(status::SUCCESS));
    assert_eq!(guest.rebind(ip6(0x11)).unwrap().lifetimes()[0].valid, 86_400);
    fresh();
    let renewal = guest.renew(ip6(0x11), &SERVER).unwrap();
    assert_eq!(renewal.ia_status(), Some(status::NO_BINDING));
    let request = guest.about(Kind6::Request, ip6(0x11)).to(&SERVER);
    assert_eq!(guest.answer(&request).addresses(), [ip6(0x11)]);
}

#[test]
fn a_guest_whose_neighbour_entry_is_neither_there_nor_found_is_a_stranger() {
    let lab = machine();
    let dnsmasq = with_hosts(&lab, &(host6(11, 0x11) + &host6(12, 0x12)));
    let mute = guest6(&lab, 11).muted();
    assert!(mute.silent());
    lab.neighbours(dnsmasq.netns(), "srv0", [mute.mac()].into_iter());
    assert_eq!(mute.sarr().addresses(), [ip6(0x11)]);
    let odd = "fe80::1234".parse().unwrap();
    assert_eq!(guest6(&lab, 12).with_link_local(odd).sarr().addresses(), [ip6(0x12)]);
}

#[test]
fn names_have_both_directions_and_reverse_look_ups_of_the_subnet_stay_here() {
    let lab = machine();
    let setup = setup().more(&["--rev-server=2001:db8::/64", "--local=/test/"]);
    let dnsmasq = Dnsmasq::with_hosts(&lab, setup, "");
    dnsmasq.apply("names", "all", "2001:db8::11 vm1.test\n10.0.0.11 vm1.test\n");
    let dns = dnsmasq.local_dns();
    assert_eq!(dns.ask("vm1.test", rtype::AAAA), DnsReply::found(&["2001:db8::11"]));
    assert_eq!(dns.ask("vm1.test", rtype::A), DnsReply::found(&["10.0.0.11"]));
    assert_eq!(dns.reverse6(ip6(0x11)), DnsReply::found(&["vm1.test"]));
    assert_eq!(dns.reverse6(ip6(0x12)), DnsReply::nxdomain());
    assert_eq!(dns.reverse6("2001:db8:1::1".parse().unwrap()), DnsReply::refused());
}

#[test]
fn the_noise_of_strangers_is_logged_however_quiet_it_is_to_be() {
    let lab = machine();
    let (dnsmasq, stranger) = (with_hosts(&lab, ""), lab.guest6("br0", Mac::nth(9)));
    stranger.renew(ip6(0x11), &SERVER).unwrap();
    stranger.rebind(ip6(0x11)).unwrap();
    assert_eq!(dnsmasq.logged("2001:db8::11 00:03:00:01:02:00:00:00:00:09 lease not found").len(), 1);
    assert_eq!(dnsmasq.logged("2001:db8::11 00:03:00:01:02:00:00:00:00:09 address invalid").len(), 1);
}
