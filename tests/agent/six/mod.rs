//! IPv6 beside IPv4, and alone: the whole agent, asked in DHCPv6.

mod alone;
mod answers;
mod boot;
mod changes;
mod clients;
mod endings;
mod formed;
mod identity;
mod large;
mod mistakes;
mod moves;
mod names;
mod reborn;
mod strangers;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::lab::{Answer6, Guest, Guest6, Mac, PATIENCE, eventually};
use crate::manifests::{lan, port, subnet};
use crate::site::{Site, patiently};

/// The servers' address: the first of the pool.
const SERVER: Ipv6Addr = ip6(0x10);

const fn ip4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

const fn ip6(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last as u16)
}

/// A subnet of network `lan` with addresses from DHCPv6, its pool from `::10`.
fn lan_v6(more: &str) -> String {
    let spec = "ipv6: {addressMode: DHCPv6Stateful}\npools: [{first: '2001:db8::10', last: '2001:db8::ff'}]";
    subnet("lan-v6", "lan", "2001:db8::/64", &format!("{spec}\n{more}"))
}

/// Network `lan` with both.
fn lan46() -> String {
    lan() + &lan_v6("")
}

/// Port `vm{n}` of network `lan` with one address of either family.
fn dual(n: u32, last: u8, more: &str) -> String {
    let spec =
        format!("addresses: [{{ip: {}}}, {{ip: '{}'}}]\nhostname: vm{n}\n{more}", ip4(last), ip6(last));
    port(&format!("vm{n}"), "lan", Mac::nth(n), &spec)
}

/// One machine, in the protocols of both families.
struct Both<'s> {
    four: Guest<'s>,
    six: Guest6<'s>,
}

impl<'s> Both<'s> {
    fn new(site: &'s Site, n: u32) -> Self {
        let four = site.guest(n);
        let six = site.lab.twin6(four.netns(), Mac::nth(n));
        Self { four, six }
    }

    /// Waits until it has just these addresses; gives the answer of DHCPv6.
    fn until_leased(&self, site: &Site, last: u8) -> Answer6 {
        let reply = site.until_leased6(&self.six, ip6(last));
        site.until_leased(&self.four, ip4(last));
        reply
    }
}

/// An agent that serves both families and has given the Port of `vm1.yaml` its addresses; their answer.
fn leased(site: &Site) -> (Agent<'_>, Both<'_>, Answer6) {
    site.write("lan.yaml", &lan46());
    site.write("vm1.yaml", &dual(1, 0x20, ""));
    let agent = site.start();
    let guest = Both::new(site, 1);
    let reply = guest.until_leased(site, 0x20);
    (agent, guest, reply)
}

/// After how many questions, of at most so many, and how long it is served. A client that is answered nothing
/// useful asks again after a second, then after two (RFC 8415 §15).
fn served_after(guest: &Guest6<'_>, last: u8, most: usize) -> (usize, Duration) {
    let began = Instant::now();
    for (tries, wait) in (1..=most).zip([1_000, 2_000, 4_000, 4_000]) {
        let sent = Instant::now();
        if guest.solicit().is_some_and(|advertise| advertise.addresses() == [ip6(last)]) {
            assert_eq!(guest.sarr().addresses(), [ip6(last)]);
            return (tries, began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(wait).saturating_sub(sent.elapsed()));
    }
    panic!("not served after {:?}", began.elapsed());
}

/// The lines of the one network's lease file that have this text.
fn leases(site: &Site, part: &str) -> Vec<String> {
    let text = std::fs::read_to_string(site.network_dir().join("leases")).unwrap();
    text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

/// The file is written after the answer is sent.
fn until_leases(site: &Site, part: &str, count: usize) {
    let counted = || (leases(site, part).len() == count).then_some(());
    eventually(&format!("{count} leases with {part}"), PATIENCE, counted);
}

/// For where the last change needs another process, which is there only after a while.
pub fn until_nothing_to_do(site: &Site) {
    patiently("nothing is left to do", |instead| {
        *instead = site.run(&site.launch().arguments("plan"));
        instead.starts_with("Nothing to do.").then_some(())
    });
}

/// The DUID of the one network's servers: of its UID.
fn server_duid(site: &Site) -> Vec<u8> {
    let digits: String = site.namespace().trim_start_matches("kdhcp-").replace('-', "");
    [vec![0, 2, 0, 0, 0, 0], u128::from_str_radix(&digits, 16).unwrap().to_be_bytes().to_vec()].concat()
}
