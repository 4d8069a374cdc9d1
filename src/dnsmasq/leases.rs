//! dnsmasq's lease file: who holds which address.
//!
//! Called by `host`, and by `kube-dhcp leases`. dnsmasq writes the file anew at each change, in place:
//! whoever reads meanwhile sees a part of it, and guests have a say in what is in it. So what is no lease
//! is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Client, Files, Host, Lease, Rights};
use crate::types::MacAddr;

/// A line of a lease file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The address.
    pub ip: IpAddr,
    /// Who has it.
    pub lease: Lease,
    /// The host name that goes with it.
    pub name: Option<String>,
    /// Until when, in seconds since 1970; `None`: for ever.
    pub expires: Option<u64>,
}

/// All lines of a lease file that are leases.
pub fn records(text: &str) -> impl Iterator<Item = Record> + '_ {
    text.lines().filter_map(record)
}

/// The leases of a lease file.
pub fn leases(text: &str) -> BTreeMap<IpAddr, Lease> {
    records(text).map(|record| (record.ip, record.lease)).collect()
}

/// The lines of a lease file that still hold with `files` where there were other hosts `before`; a bad line
/// would stop dnsmasq at its start.
pub fn lease_file(text: &str, before: &BTreeMap<Client, Host>, files: &Files) -> String {
    let before = Rights::new(before, Vec::new());
    let rights = Rights::new(&files.hosts, files.dynamic.clone());
    let has = |Record { ip, lease, .. }| rights.has(ip, &lease) && !rights.took(ip, &before);
    let holds = |line: &&str| record(line).is_some_and(has);
    text.lines().filter(holds).fold(String::new(), |kept, line| kept + line + "\n")
}

/// With those of `others` that `files` gives a right to, of addresses that nobody has yet.
pub fn with_handed_over(mut text: String, others: &str, files: &Files) -> String {
    if others.is_empty() {
        return text;
    }
    let rights = Rights::new(&files.hosts, Vec::new());
    let mut held: BTreeSet<IpAddr> = records(&text).map(|record| record.ip).collect();
    for line in others.lines() {
        let Some(record) = record(line).filter(|record| rights.has(record.ip, &record.lease)) else {
            continue;
        };
        if held.insert(record.ip) {
            text += line;
            text += "\n";
        }
    }
    text
}

/// `expiry mac ip name|* client-id|*`, in DHCPv6 `expiry iaid ip name|* duid`; an expiry of 0 is none.
fn record(line: &str) -> Option<Record> {
    let fields: Vec<_> = line.split(' ').collect();
    let [expiry, who, ip, name, id] = fields[..] else { return None };
    let expires = Some(expiry.parse().ok()?).filter(|expiry| *expiry != 0);
    let ip: IpAddr = ip.parse().ok()?;
    let lease = match ip {
        IpAddr::V4(_) => Lease::V4 { mac: who.parse().ok()?, client_id: id.parse().ok() },
        IpAddr::V6(_) => {
            let duid = Some(id).filter(|id| is_hex(id))?.to_owned();
            Lease::V6 { duid, iaid: who.parse().ok()?, name: name.parse().ok() }
        }
    };
    let name = Some(name).filter(|name| *name != "*").map(str::to_owned);
    Some(Record { ip, lease, name, expires })
}

pub(super) fn is_hex(text: &str) -> bool {
    let is_octet = |octet: &str| octet.len() == 2 && octet.bytes().all(|b| b.is_ascii_hexdigit());
    text.split(':').all(is_octet)
}

/// The Ethernet address in a DUID of the kinds that have one (RFC 8415 §11.2, §11.4). It is that of one of
/// the client's devices, not always of the one that asks.
pub(super) fn mac_of(duid: &str) -> Option<MacAddr> {
    const LINK_LAYER: &str = "00:03:00:01:";
    const LINK_LAYER_AND_TIME: &str = "00:01:00:01:";
    const TIME: usize = "00:00:00:00:".len();
    let timed = || duid.strip_prefix(LINK_LAYER_AND_TIME)?.get(TIME..);
    duid.strip_prefix(LINK_LAYER).or_else(timed)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Family;
    use crate::types::IpRange;
    use proptest::prelude::*;

    fn host(ip: &str, name: &str) -> Host {
        let mut ips = ip.split(',').map(|ip| ip.parse().unwrap());
        let ip = ips.next().unwrap();
        let offer = crate::service::Offer { ip, more: ips.collect(), name: name.parse().unwrap() };
        Host { offer: Some(offer), tag: "p".into() }
    }

    #[test]
    fn a_guest_that_comes_from_another_server_brings_its_lease() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let hosts = BTreeMap::from([((mac.into(), Family::V4), host("10.0.0.5", "a"))]);
        let files = Files { hosts, ..Files::default() };
        let [own, other] = ["1700000000", "1600000000"].map(|at| format!("{at} {mac} 10.0.0.5 a *\n"));
        let others = format!("duid 00:02\n1600000000 02:00:00:00:00:02 10.0.0.6 b *\n{other}");
        assert_eq!(with_handed_over(String::new(), &others, &files), other);
        assert_eq!(with_handed_over(own.clone(), &others, &files), own);
        assert_eq!(with_handed_over(own.clone(), "", &files), own);
    }

    #[test]
    fn a_lease_file_keeps_only_leases_that_hold() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let hosts = BTreeMap::from([
            ((mac.into(), Family::V4), host("10.0.0.5", "a")),
            ((mac.into(), Family::V6), host("2001:db8::5,2001:db8::6", "a")),
        ]);
        let good = "1700000000 02:00:00:00:00:01 10.0.0.5 a 01:02:00:00:00:00:01\n\
                    1700000000 1 2001:db8::5 a 00:03:00:01:02:00:00:00:00:01\n\
                    1700000000 2 2001:db8::6 a 00:03:00:01:02:00:00:00:00:01\n";
        let bad = "0 02:00:00:00:00:01 10.0.0.6 * *\n\
                   0 zz:00:00:00:00:01 10.0.0.5 * *\n\
                   rubbish\nduid 00:02:00:00:00:00:01\n\
                   1700000000 3 2001:db8::5 b 00:03:00:01:02:00:00:00:00:09\n\
                   1700000000 1 2001:db8::6 a nothex\n";
        let files = |hosts: BTreeMap<Client, Host>| Files { hosts, ..Files::default() };
        assert_eq!(lease_file(&(good.to_owned() + bad), &hosts, &files(hosts.clone())), good);
        assert_eq!(lease_file(good, &BTreeMap::new(), &files(hosts.clone())), good);
        let strangers = "0 02:00:00:00:00:09 10.0.0.6 * *\n0 02:00:00:00:00:09 10.0.0.7 * *\n";
        let ip: IpAddr = [10, 0, 0, 7].into();
        let open = Files { dynamic: vec![IpRange { first: ip, last: ip }], ..files(hosts.clone()) };
        assert_eq!(lease_file(strangers, &hosts, &open), "0 02:00:00:00:00:09 10.0.0.7 * *\n");
        // The same name, and another MAC address: it gets the address once nobody has it.
        let other: MacAddr = "02:00:00:00:00:02".parse().unwrap();
        let moved = hosts.iter().map(|((_, family), host)| ((other.into(), *family), host.clone())).collect();
        assert_eq!(lease_file(good, &hosts, &files(moved)), "");
    }

    #[test]
    fn a_line_says_who_until_when_and_by_which_identifier() {
        let text = "0 02:00:00:00:00:01 10.0.0.5 * 01:02\n1700000000 7 2001:db8::5 a 00:04:09\n";
        let found: Vec<_> = records(text).collect();
        let [four, six] = &found[..] else { panic!("{found:?}") };
        assert_eq!((four.expires, six.expires), (None, Some(1_700_000_000)));
        let client_id = Some("01:02".parse().unwrap());
        assert_eq!(four.lease, Lease::V4 { mac: "02:00:00:00:00:01".parse().unwrap(), client_id });
        assert_eq!((&four.name, six.name.as_deref()), (&None, Some("a")));
    }

    #[test]
    fn a_holder_of_dhcpv6_is_known_by_its_line_or_by_its_identifier() {
        let mac = |n| MacAddr::local([0, 0, 0, 0, n]);
        let client = |n| (mac(n).into(), Family::V6);
        let hosts =
            BTreeMap::from([(client(1), host("2001:db8::1", "a")), (client(2), host("2001:db8::2", "b"))]);
        let held = |name: Option<&str>, duid: &str| {
            let name = name.map(|name| name.parse().unwrap());
            let lease = Lease::V6 { duid: duid.to_owned(), iaid: 1, name };
            Rights::new(&hosts, Vec::new()).holder("2001:db8::1".parse().unwrap(), &lease)
        };
        assert_eq!(held(Some("a"), "00:04:01"), Some(mac(1)));
        assert_eq!(held(Some("b"), "00:04:01"), Some(mac(2)));
        assert_eq!(held(Some("c"), "00:03:00:01:02:00:00:00:00:09"), Some(mac(9)));
        assert_eq!(held(Some("c"), "00:01:00:01:2c:00:00:00:02:00:00:00:00:09"), Some(mac(9)));
        assert_eq!(held(Some("c"), "00:04:01"), None);
    }

    proptest! {
        #[test]
        fn any_lease_file_can_be_read(text in ".*") {
            leases(&text);
        }

        #[test]
        fn a_damaged_lease_file_costs_no_lease_but_the_damaged(at in 0_usize..150, byte: u8) {
            let lines = ["1 02:00:00:00:00:01 10.0.0.5 a 01:02\n", "1 7 2001:db8::5 a 00:04:09\n",
                "1 02:00:00:00:00:02 10.0.0.6 b *\n", "1 02:00:00:00:00:03 10.0.0.7 c *\n"];
            let mut bytes = lines.concat().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let text = String::from_utf8_lossy(&bytes);
            // A line's end that is damaged makes one of two.
            prop_assert!(records(&text).count() >= lines.len() - 2);
            bytes.truncate(at);
            records(&String::from_utf8_lossy(&bytes)).for_each(drop);
        }

        #[test]
        fn any_duid_can_be_asked_for_its_mac(text in "(00:0[13]:00:01:)?.*") {
            mac_of(&text);
        }
    }
}
