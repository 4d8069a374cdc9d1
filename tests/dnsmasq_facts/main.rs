//! What dnsmasq does, fact by fact, as far as the driver relies on it or goes out of its way.
//!
//! These tests are about dnsmasq, not about us: where another version behaves differently, the
//! name of the failing test says what changed. Known to pass with 2.90. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../lab/mod.rs"]
mod lab;

mod barrier;
mod hosts;
mod identity;
mod kinds;
mod leases;
mod names;
mod options;
mod pair;
mod process;
mod ranges;
mod rendering;
mod shares;
mod six;
mod strangers;
mod txt;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use lab::{Answer, Dnsmasq, Guest, Lab, Mac};

/// A machine with the bridge that every server and guest of a test is on.
fn machine() -> Lab {
    let lab = Lab::new();
    lab.bridge("br0");
    lab
}

/// The line of the `n`-th port with the address 10.0.0.`last`, as the driver writes it.
fn host(n: u32, last: u8) -> String {
    format!("{},tag:!dhcpv6,set:p{n},10.0.0.{last},vm{n}.\n", Mac::nth(n))
}

/// The same without a word of a protocol.
fn plain_host(n: u32, last: u8) -> String {
    host(n, last).replace("tag:!dhcpv6,", "")
}

/// The file that takes a port away, as the driver writes it.
fn gone(n: u32) -> String {
    let mac = Mac::nth(n);
    format!("{mac},tag:!dhcpv6,ignore\n{mac},tag:dhcpv6,set:gone,ignore\n")
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn guest(lab: &Lab, n: u32) -> Guest<'_> {
    lab.guest("br0", Mac::nth(n))
}

/// The address offered to a guest, if any.
fn offered(guest: &Guest<'_>) -> Option<Ipv4Addr> {
    guest.discover(&[]).as_ref().map(Answer::yiaddr)
}

/// Address of the `n`-th of many hosts: all in 10.0.0.0/16, from 10.0.4.0 on.
fn many_ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0400 + n)
}

const MANY_RANGE: &str = "set:s1,tag:known,tag:!gone,10.0.0.0,static,255.255.0.0,86400";

/// Host lines of ports 1 to `count`.
fn many_hosts(count: u32) -> String {
    (1..=count).fold(String::new(), |mut text, n| {
        writeln!(text, "{},tag:!dhcpv6,set:p{n},{},vm{n}.", Mac::nth(n), many_ip(n)).unwrap();
        text
    })
}

/// A lease file in which all of them have their lease.
fn many_leases(count: u32) -> String {
    (1..=count).fold(String::new(), |mut text, n| {
        writeln!(text, "{}", lease_line(Mac::nth(n), many_ip(n))).unwrap();
        text
    })
}

fn lease_line(mac: Mac, address: Ipv4Addr) -> String {
    format!("4102444800 {mac} {address} * *")
}

/// Leases a server finds when it starts.
fn leave_leases(dnsmasq: &Dnsmasq<'_>, text: &str) {
    std::fs::write(dnsmasq.path("leases"), text).unwrap();
}
