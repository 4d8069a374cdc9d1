//! The questions and answers of IPv6 (RFC 4862 §5.4.2: a solicitation with no address of our own, which is
//! answered to all).
//!
//! Called by `probe`. Pure.

use std::net::Ipv6Addr;

use crate::types::MacAddr;
use crate::wire::{ETHERNET, ETHERTYPE_IPV6, IPV6, PROTOCOL_ICMPV6, ipv6_checksum, ipv6_packet};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// The frame that asks everybody who may have the address.
pub(super) fn question(own: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    const HOP_LIMIT: u8 = 255;
    const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
    let group = solicited_node(ip);
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(ip.octets());
    let sum = ipv6_checksum(NOBODY, group, PROTOCOL_ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let packet = ipv6_packet(NOBODY, group, PROTOCOL_ICMPV6, HOP_LIMIT, &message);
    let (group, ethertype) = (group.octets(), ETHERTYPE_IPV6.to_be_bytes());
    [&[0x33, 0x33], &group[12..], &own.octets(), &ethertype, &packet].concat()
}

/// Who sent an advertisement, and the address that it calls its own.
pub(super) fn sender(frame: &[u8]) -> Option<(Ipv6Addr, MacAddr)> {
    let header = frame.get(ETHERNET..)?;
    let kind = frame.get(12..14)? == ETHERTYPE_IPV6.to_be_bytes() && *header.get(6)? == PROTOCOL_ICMPV6;
    let message = header.get(IPV6..)?;
    let mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    let ip: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    Some((ip.into(), MacAddr::new(mac)?)).filter(|_| kind && message[0] == ADVERTISEMENT)
}

/// RFC 4291 §2.7.1.
fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_whole_and_claims_no_address() {
        let (own, ip) = (MacAddr::local([1, 2, 3, 4, 5]), "2001:db8::12:3456".parse().unwrap());
        let frame = question(own, ip);
        assert_eq!(frame.len(), ETHERNET + IPV6 + 24);
        assert_eq!(&frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(solicited_node(ip).to_string(), "ff02::1:ff12:3456");
        // With the sum in its place all together is nothing.
        let message = &frame[ETHERNET + IPV6..];
        assert_eq!(ipv6_checksum(Ipv6Addr::UNSPECIFIED, solicited_node(ip), PROTOCOL_ICMPV6, message), 0);
        assert_eq!(sender(&frame), None, "it is no answer");
    }

    #[test]
    fn an_answer_names_its_sender() {
        let (own, ip) = (MacAddr::local([1; 5]), "2001:db8::5".parse().unwrap());
        let mut frame = question(own, ip);
        frame[ETHERNET + IPV6] = ADVERTISEMENT;
        assert_eq!(sender(&frame), Some((ip, own)));
        assert_eq!(sender(&frame[..ETHERNET + IPV6 + 23]), None);
        frame[ETHERNET + 6] = 17;
        assert_eq!(sender(&frame), None);
    }
}
