//! IPv6 beside IPv4: one process that serves both families of a network.

mod adverts;
mod hosts;
mod identity;
mod leases;
mod options;
mod process;
mod removal;
mod shares;

use std::net::Ipv6Addr;

use crate::lab::{Dnsmasq, Guest6, Lab, Mac, Setup};

const RANGE4: &str = "set:s1,tag:known,10.0.0.0,static,255.255.255.0,86400";
const STATEFUL: &str = "set:s6,tag:known,tag:!gone,2001:db8::,static,64,86400";

/// What every server calls itself, on the command line and on the wire.
const DUID: &str = "--dhcp-duid=65535,01:02:03:04:05:06";
const SERVER: [u8; 12] = [0, 2, 0, 0, 0xff, 0xff, 1, 2, 3, 4, 5, 6];

pub(crate) fn setup() -> Setup {
    let addresses = ["10.0.0.2/24", "2001:db8::2/64"];
    Setup::default().addresses(&addresses).ranges(&[RANGE4, STATEFUL]).more(&[DUID, "--quiet-dhcp6"])
}

/// Prepared, and with the neighbour entries of guests 1 to 9, as the driver makes them.
fn prepare(lab: &Lab, setup: Setup) -> Dnsmasq<'_> {
    let dnsmasq = Dnsmasq::prepare(lab, setup);
    lab.neighbours(dnsmasq.netns(), "srv0", (1..=9).map(Mac::nth));
    dnsmasq
}

pub(crate) fn serve<'lab>(lab: &'lab Lab, setup: Setup, hosts: &str) -> Dnsmasq<'lab> {
    let dnsmasq = prepare(lab, setup);
    dnsmasq.write("hosts", "all", hosts);
    dnsmasq.start();
    dnsmasq
}

fn with_hosts<'lab>(lab: &'lab Lab, hosts: &str) -> Dnsmasq<'lab> {
    serve(lab, setup(), hosts)
}

fn ip6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

/// The line of the `n`-th port with the address `2001:db8::last`.
pub(crate) fn host6(n: u32, last: u16) -> String {
    format!("{},tag:dhcpv6,set:p{n},[{}],vm{n}.\n", Mac::nth(n), ip6(last))
}

/// The line of the `n`-th port for IPv4 and for nothing else.
fn host4(n: u32, last: u8) -> String {
    format!("{},tag:!dhcpv6,set:p{n},10.0.0.{last},vm{n}.\n", Mac::nth(n))
}

/// The line that takes a port's IPv6 away.
fn gone6(n: u32) -> String {
    format!("{},tag:dhcpv6,set:gone,ignore\n", Mac::nth(n))
}

/// The line that takes its IPv4 away.
fn gone4(n: u32) -> String {
    format!("{},tag:!dhcpv6,ignore\n", Mac::nth(n))
}

pub(crate) fn guest6(lab: &Lab, n: u32) -> Guest6<'_> {
    lab.guest6("br0", Mac::nth(n))
}

/// A machine whose server knows port 1 in IPv6, and that port's guest.
fn one_port(lab: &Lab) -> (Dnsmasq<'_>, Guest6<'_>) {
    (with_hosts(lab, &host6(1, 0x11)), guest6(lab, 1))
}

/// The addresses advertised to a guest, if there is an answer.
fn advertised(guest: &Guest6<'_>) -> Option<Vec<Ipv6Addr>> {
    guest.solicit().map(|answer| answer.addresses())
}

/// The lease file's lines of IPv6: IAID, address, name and DUID.
fn leases(dnsmasq: &Dnsmasq<'_>) -> Vec<String> {
    // The file is written after the answer is sent.
    dnsmasq.barrier();
    let text = dnsmasq.leases();
    let lines = text.lines().filter(|line| line.contains("2001:db8:"));
    lines.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}
