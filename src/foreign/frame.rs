//! Frames of servers and routers, taken apart.
//!
//! Called by `host` with what passed its filter; believes nothing of it. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::{Heard, What};
use crate::types::MacAddr;
use crate::wire::{self, dhcpv4, dhcpv6};

/// Of a router advertisement, before its options.
const ADVERTISEMENT: usize = 16;
/// More than anybody means; what comes after is not looked at.
const PREFIXES: usize = 16;

/// What a frame says, if it is a server's or a router's.
pub fn heard(frame: &[u8]) -> Option<Heard> {
    let mac = MacAddr::new(frame.get(6..12)?.try_into().ok()?)?;
    let packet = frame.get(wire::ETHERNET..)?;
    match u16::from_be_bytes([frame[12], frame[13]]) {
        wire::ETHERTYPE_IPV4 => ipv4(packet, mac),
        wire::ETHERTYPE_IPV6 => ipv6(packet, mac),
        _ => None,
    }
}

/// An answer of a server, not what a relay sends to one.
fn ipv4(packet: &[u8], mac: MacAddr) -> Option<Heard> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let message = packet.get(header + wire::UDP..)?;
    if *message.first()? != dhcpv4::BOOTREPLY {
        return None;
    }
    let identifier = dhcpv4::options(message)?.value_of(dhcpv4::SERVER_IDENTIFIER);
    let source = packet.get(12..16)?.try_into().ok()?;
    let octets: [u8; 4] = identifier.and_then(|id| id.try_into().ok()).unwrap_or(source);
    Some(Heard { mac, ip: Ipv4Addr::from(octets).into(), what: What::Dhcpv4 })
}

fn ipv6(packet: &[u8], mac: MacAddr) -> Option<Heard> {
    let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let ip = IpAddr::V6(Ipv6Addr::from(source));
    let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    // A short frame is filled up.
    let body = packet.get(wire::IPV6..)?;
    let body = body.get(..length).unwrap_or(body);
    let what = match packet[6] {
        wire::PROTOCOL_UDP => server(body.get(wire::UDP..)?)?,
        wire::PROTOCOL_ICMPV6 => router(body)?,
        _ => return None,
    };
    Some(Heard { mac, ip, what })
}

/// An answer to a client, not what relays and servers say to each other.
fn server(message: &[u8]) -> Option<What> {
    const ADVERTISE: u8 = 2;
    const REPLY: u8 = 7;
    const RECONFIGURE: u8 = 10;
    let ([kind, ..], options) = dhcpv6::parse(message)?;
    let identifier = options.value_of(dhcpv6::SERVER_IDENTIFIER).unwrap_or_default();
    matches!(kind, ADVERTISE | REPLY | RECONFIGURE).then(|| What::Dhcpv6(identifier.to_vec()))
}

fn router(message: &[u8]) -> Option<What> {
    const ROUTER_ADVERTISEMENT: u8 = 134;
    const PREFIX: u8 = 3;
    if *message.first()? != ROUTER_ADVERTISEMENT {
        return None;
    }
    let lifetime_seconds = u16::from_be_bytes([*message.get(6)?, *message.get(7)?]);
    let (mut options, mut prefixes) = (message.get(ADVERTISEMENT..)?, BTreeSet::new());
    while let [kind, eights, ..] = *options
        && eights > 0
        && prefixes.len() < PREFIXES
    {
        let Some(option) = options.get(..usize::from(eights) * 8) else { break };
        prefixes.extend((kind == PREFIX).then(|| prefix(option)).flatten());
        options = &options[option.len()..];
    }
    Some(What::Router { prefixes, lifetime_seconds })
}

fn prefix(option: &[u8]) -> Option<Ipv6Net> {
    let address: [u8; 16] = option.get(16..32)?.try_into().ok()?;
    Ipv6Net::new(address.into(), option[2]).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ethernet(ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &ethertype, packet].concat()
    }

    fn offer(op: u8, options: &[u8]) -> Vec<u8> {
        let mut header = vec![0x45; 20];
        header[12..16].copy_from_slice(&[10, 0, 0, 66]);
        let mut message = vec![0; 236];
        message[0] = op;
        message.extend([99, 130, 83, 99]);
        ethernet([8, 0], &[header, vec![0; 8], message, options.to_vec()].concat())
    }

    fn six(protocol: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let source: Ipv6Addr = "fe80::9".parse().unwrap();
        let header = [0x60, 0, 0, 0, length[0], length[1], protocol, 255];
        ethernet([0x86, 0xdd], &[&header[..], &source.octets(), &[0; 16], body].concat())
    }

    #[test]
    fn a_server_is_named_by_its_identifier_else_by_where_it_speaks_from() {
        let named = |options: &[u8]| heard(&offer(2, options)).unwrap().ip;
        assert_eq!(named(&[53, 1, 2, 54, 4, 10, 0, 0, 9, 255]), IpAddr::from([10, 0, 0, 9]));
        assert_eq!(named(&[53, 1, 2, 255]), IpAddr::from([10, 0, 0, 66]));
        assert_eq!(named(&[54, 3, 10, 0, 0]), IpAddr::from([10, 0, 0, 66]));
        assert_eq!(heard(&offer(1, &[54, 4, 10, 0, 0, 9])), None, "a relay's question");
    }

    #[test]
    fn a_server_of_dhcpv6_is_known_by_its_identifier() {
        let said = |message: &[u8]| heard(&six(17, &[&[0; 8], message].concat())).map(|heard| heard.what);
        assert_eq!(said(&[7, 1, 2, 3, 0, 2, 0, 2, 5, 6]), Some(What::Dhcpv6(vec![5, 6])));
        assert_eq!(said(&[2, 1, 2, 3, 0, 1, 0, 9, 5]), Some(What::Dhcpv6(vec![])));
        assert_eq!(said(&[13, 1, 2, 3]), None, "to a relay");
    }

    #[test]
    fn a_router_is_known_by_what_it_advertises() {
        let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([1, 1, 2, 0, 0, 0, 0, 9]);
        message.extend([3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        message.extend("2001:db8:9::1".parse::<Ipv6Addr>().unwrap().octets());
        let wanted =
            What::Router { prefixes: ["2001:db8:9::/64".parse().unwrap()].into(), lifetime_seconds: 1800 };
        let frame = six(58, &message);
        assert_eq!(
            heard(&frame),
            Some(Heard {
                mac: "02:00:00:00:00:09".parse().unwrap(),
                ip: "fe80::9".parse().unwrap(),
                what: wanted
            })
        );
        message[0] = 133;
        assert_eq!(heard(&six(58, &message)), None);
        message[0] = 134;
        message[17] = 0;
        assert!(heard(&six(58, &message)).is_some(), "an option without a length ends it");
    }

    proptest! {
        #[test]
        fn nothing_that_comes_in_a_frame_does_harm(
            kind in 0..3usize, body in prop::collection::vec(any::<u8>(), 0..400)
        ) {
            let _ = heard(&match kind {
                0 => ethernet([8, 0], &body),
                1 => six(17, &body),
                _ => six(58, &[&[134], &body[..]].concat()),
            });
            let _ = heard(&body);
        }
    }
}
