//! Leases of IPv6: their lines, whose they are, and how they are given back.

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use crate::lab::{ALL_DHCP, Dnsmasq, Guest6, Lab, Mac, PATIENCE, eventually, status};
use crate::{leave_leases, machine};

use super::{SERVER, advertised, guest6, host6, ip6, leases, one_port, prepare, setup, with_hosts};

const DUID_LINE: &str = "duid 00:02:00:00:ff:ff:01:02:03:04:05:06\n";
const LEASE: &str = "4102444800 1 2001:db8::11 vm1 00:03:00:01:02:00:00:00:00:01\n";

/// Started on a lease file with this text, port 1 known.
fn start_on<'lab>(lab: &'lab Lab, text: &str) -> Dnsmasq<'lab> {
    let dnsmasq = prepare(lab, setup());
    dnsmasq.write("hosts", "all", &host6(1, 0x11));
    leave_leases(&dnsmasq, text);
    dnsmasq.start();
    dnsmasq
}

/// Whether the server holds the lease of the guest's address.
fn holds(guest: &Guest6<'_>) -> bool {
    guest.renew(ip6(0x11), &SERVER).unwrap().ia_status() != Some(status::NO_BINDING)
}

#[test]
fn a_lease_has_its_iaid_its_hosts_name_and_the_duid_behind_the_servers_own() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.with_iaid(4_000_000_000).sarr();
    assert_eq!(leases(&dnsmasq), ["4000000000 2001:db8::11 vm1 00:03:00:01:02:00:00:00:00:01"]);
    assert!(dnsmasq.leases().starts_with(DUID_LINE), "{}", dnsmasq.leases());
    dnsmasq.restart();
    assert!(holds(&guest6(&lab, 1).with_iaid(4_000_000_000)));
}

#[test]
fn the_duid_in_the_lease_file_beats_the_command_line() {
    let lab = machine();
    let _dnsmasq = start_on(&lab, "duid 00:02:00:00:ff:ff:0a\n");
    assert_eq!(guest6(&lab, 1).solicit().unwrap().server(), [0, 2, 0, 0, 0xff, 0xff, 0x0a]);
}

#[test]
fn a_lease_needs_no_duid_line_and_no_order_of_lines() {
    let four = "4102444800 02:00:00:00:00:01 10.0.0.11 vm1 *\n";
    for text in [LEASE.to_owned(), format!("{LEASE}{DUID_LINE}"), format!("{DUID_LINE}{LEASE}{four}")] {
        let lab = machine();
        let _dnsmasq = start_on(&lab, &text);
        assert!(holds(&guest6(&lab, 1)), "{text}");
    }
}

#[test]
fn a_bad_line_costs_itself_and_a_short_one_the_next() {
    for (line, kept) in [
        ("4102444800 7 2001:db8::zz * 00:03", true),
        ("4102444800 xx 2001:db8::21 * 00:03", true),
        ("4102444800 7 2001:db8::22 * zz", true),
        ("4102444800 7 2001:db9::23 * 00:03", true),
        ("4102444800 7 2001:db8::24", false),
        ("rubbish", false),
    ] {
        let lab = machine();
        let _dnsmasq = start_on(&lab, &format!("{DUID_LINE}{line}\n{LEASE}"));
        let guest = guest6(&lab, 1);
        assert_eq!(holds(&guest), kept, "{line}");
        assert_eq!(guest.sarr().addresses(), [ip6(0x11)], "{line}");
    }
}

#[test]
fn a_bad_duid_line_takes_the_servers_identity_or_the_leases_behind_it() {
    let lab = machine();
    let dnsmasq = start_on(&lab, &format!("duid zz:zz\n{LEASE}"));
    let guest = guest6(&lab, 1);
    assert!(!holds(&guest));
    dnsmasq.stop();
    leave_leases(&dnsmasq, &format!("{DUID_LINE}duid zz:zz\n{LEASE}"));
    dnsmasq.start();
    assert!(guest.renew(ip6(0x11), &SERVER).is_none());
}

#[test]
fn a_known_guest_takes_any_address_by_rebinding_and_the_name_tells_whose_line_it_used() {
    let lab = machine();
    let dnsmasq = with_hosts(&lab, &(host6(1, 0x11) + &host6(2, 0x12)));
    let (owner, thief) = (guest6(&lab, 1), guest6(&lab, 2));
    assert_eq!(thief.rebind(ip6(0x11)).unwrap().lifetimes()[0].valid, 86_400);
    assert_eq!(leases(&dnsmasq), ["1 2001:db8::11 vm2 00:03:00:01:02:00:00:00:00:02"]);
    assert_eq!(owner.solicit().unwrap().status(), Some(status::NO_ADDRS_AVAIL));
    thief.release(ip6(0x11), &SERVER).unwrap();
    assert_eq!(owner.sarr().addresses(), [ip6(0x11)]);
    // Beside the owner's lease a second one of the same address.
    thief.rebind(ip6(0x11)).unwrap();
    assert_eq!(leases(&dnsmasq).iter().filter(|line| line.contains("::11 ")).count(), 2);
    assert!(holds(&owner));
    assert_eq!(thief.rebind(ip6(2)).unwrap().lifetimes()[0].valid, 86_400, "the server's own address");
}

#[test]
fn a_new_identity_of_a_mac_gets_nothing_until_the_old_lease_is_released() {
    let lab = machine();
    let (dnsmasq, old) = one_port(&lab);
    old.sarr();
    let duid = [0, 4, 9, 9, 9, 9];
    let new = lab.twin6(old.netns(), Mac::nth(1)).with_duid(&duid);
    assert_eq!(new.solicit().unwrap().status(), Some(status::NO_ADDRS_AVAIL));
    let other_iaid = lab.twin6(old.netns(), Mac::nth(1)).with_iaid(2);
    assert_eq!(other_iaid.solicit().unwrap().status(), Some(status::NO_ADDRS_AVAIL));
    // The log says so however quiet it is to be, by DUID alone.
    let said = dnsmasq.logged("DHCPADVERTISE(srv0) 00:04:09:09:09:09 no addresses available");
    assert_eq!(said.len(), 1, "{}", dnsmasq.log());
    old.release(ip6(0x11), &SERVER).unwrap();
    assert_eq!(new.sarr().addresses(), [ip6(0x11)]);
}

#[test]
fn a_declined_address_is_not_advertised_until_its_line_is_read_again() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.sarr();
    guest.decline(ip6(0x11), &SERVER).unwrap();
    assert_eq!(dnsmasq.logged("disabling DHCP static address 2001:db8::11 for 10m").len(), 1);
    assert!(leases(&dnsmasq).is_empty());
    assert_eq!(guest.solicit().unwrap().status(), Some(status::NO_ADDRS_AVAIL));
    dnsmasq.apply("hosts", "add-1", &host6(1, 0x11));
    assert_eq!(advertised(&guest), Some(vec![ip6(0x11)]));
}

#[test]
fn a_release_from_inside_needs_the_duid_the_iaid_and_the_server_and_comes_from_any_address() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    for source in ["fe80::9", "2001:db8::2"] {
        lab.address(dnsmasq.netns(), "srv0", &format!("{source}/64"));
        permanent(&lab, &dnsmasq, source.parse().unwrap(), Mac::nth(9));
    }
    guest.sarr();
    let release = |from: &str, duid: &[u8], iaid, server: &[u8]| {
        let answered = release_from_inside(&lab, &dnsmasq, from, &release(duid, iaid, ip6(0x11), server));
        (answered.is_some(), leases(&dnsmasq).is_empty())
    };
    assert_eq!(release("fe80::9", guest.duid(), 2, &SERVER), (true, false));
    assert_eq!(release("fe80::9", &[0, 3, 0, 1, 9], 1, &SERVER), (true, false));
    assert_eq!(release("fe80::9", guest.duid(), 1, &[0, 2, 9, 9]), (false, false));
    assert_eq!(release("fe80::9", guest.duid(), 1, &SERVER), (true, true));
    guest.sarr();
    assert_eq!(release("2001:db8::2", guest.duid(), 1, &SERVER), (true, true));
}

#[test]
fn a_release_from_inside_blocks_for_half_a_second_unless_its_source_is_a_permanent_neighbour() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    let release = release(guest.duid(), 1, ip6(0x11), &SERVER);
    let took = || release_from_inside(&lab, &dnsmasq, "2001:db8::2", &release).expect("no answer");
    let blocked = took();
    assert!(blocked >= Duration::from_millis(490), "{blocked:?}");
    permanent(&lab, &dnsmasq, ip6(2), Mac::nth(9));
    let quick = took();
    assert!(quick < Duration::from_millis(400), "{quick:?}");
    println!("a release from inside: {blocked:?}, with a permanent neighbour {quick:?}");
}

fn permanent(lab: &Lab, dnsmasq: &Dnsmasq<'_>, address: Ipv6Addr, mac: Mac) {
    let entry = format!("{address} lladdr {mac} dev srv0 nud permanent");
    lab.run_in(dnsmasq.netns(), &format!("ip -6 neighbour replace {entry}"));
}

/// A RELEASE as the agent sends it.
fn release(duid: &[u8], iaid: u32, address: Ipv6Addr, server: &[u8]) -> Vec<u8> {
    let option = |code: u16, value: &[u8]| {
        let length = u16::try_from(value.len()).unwrap();
        [&code.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
    };
    let given = option(5, &[&address.octets()[..], &[0; 8]].concat());
    let association = option(3, &[&iaid.to_be_bytes()[..], &[0; 8], &given].concat());
    [&[8, 1, 2, 3], &option(1, duid)[..], &option(2, server), &association].concat()
}

/// Sends it to all servers on the device; how long the answer took, if there was one.
fn release_from_inside(lab: &Lab, dnsmasq: &Dnsmasq<'_>, from: &str, packet: &[u8]) -> Option<Duration> {
    let from: Ipv6Addr = from.parse().unwrap();
    let (socket, device) = lab.in_netns(Some(dnsmasq.netns()), || {
        let device = nix::net::if_::if_nametoindex("srv0").unwrap();
        let scope = if from.is_unicast_link_local() { device } else { 0 };
        // A child that another test starts has all sockets of this process for a moment.
        let bind = || UdpSocket::bind(SocketAddrV6::new(from, 546, 0, scope)).ok();
        (eventually("port 546 is free", PATIENCE, bind), device)
    });
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let start = Instant::now();
    socket.send_to(packet, SocketAddrV6::new(ALL_DHCP, 547, 0, device)).unwrap();
    let answer = socket.recv(&mut [0; 1500]);
    answer.ok().map(|_| start.elapsed())
}

#[test]
fn rebinds_alone_can_be_dropped_by_their_first_byte() {
    let lab = machine();
    let (dnsmasq, guest) = one_port(&lab);
    guest.sarr();
    // Behind 40 bytes of IPv6 and 8 of UDP stands the kind of the message.
    let rule = "-A INPUT -p udp --dport 547 -m u32 --u32 48>>24=6 -j DROP";
    lab.run_in(dnsmasq.netns(), &format!("ip6tables -w {rule}"));
    assert!(guest.rebind(ip6(0x11)).is_none());
    assert_eq!(guest.renew(ip6(0x11), &SERVER).unwrap().lifetimes()[0].valid, 86_400);
    assert_eq!(guest.confirm(ip6(0x11)).unwrap().status(), Some(status::SUCCESS));
    assert_eq!(guest.sarr().addresses(), [ip6(0x11)]);
}
