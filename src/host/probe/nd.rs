//! The questions and answers of IPv6 (RFC 4862 §5.4.2: a solicitation with no address of our own, which is
//! answered to all).
//!
//! Called by `probe`. Pure.

use std::net::Ipv6Addr;

use crate::types::MacAddr;

pub(in crate::host) const ETHERTYPE: u16 = 0x86dd;

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Of the solicitation: type, code, checksum, reserved, target.
const LENGTH: u16 = 24;
/// What comes before: Ethernet header, IPv6 header.
const ETHERNET: usize = 14;
const IPV6: usize = 40;

/// The frame that asks everybody who may have the address.
pub(super) fn question(own: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    const HOP_LIMIT: u8 = 255;
    let group = solicited_node(ip).octets();
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(ip.octets());
    let sum = checksum(Ipv6Addr::UNSPECIFIED, solicited_node(ip), &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0x33, 0x33];
    frame.extend(&group[12..]);
    frame.extend(own.octets());
    frame.extend(ETHERTYPE.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(LENGTH.to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(Ipv6Addr::UNSPECIFIED.octets());
    frame.extend(group);
    frame.extend(message);
    frame
}

/// Who sent an advertisement, and the address that it calls its own.
pub(super) fn sender(frame: &[u8]) -> Option<(Ipv6Addr, MacAddr)> {
    let header = frame.get(ETHERNET..)?;
    let kind = frame.get(12..14)? == ETHERTYPE.to_be_bytes() && *header.get(6)? == ICMPV6;
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

/// RFC 8200 §8.1; `message` has an even length and zeros where the sum will be.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::from(LENGTH).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6]].concat();
    let words = pseudo.chunks_exact(2).chain(message.chunks_exact(2));
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_whole_and_claims_no_address() {
        let (own, ip) = (MacAddr::local([1, 2, 3, 4, 5]), "2001:db8::12:3456".parse().unwrap());
        let frame = question(own, ip);
        assert_eq!(frame.len(), ETHERNET + IPV6 + usize::from(LENGTH));
        assert_eq!(&frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(solicited_node(ip).to_string(), "ff02::1:ff12:3456");
        // With the sum in its place all together is nothing.
        assert_eq!(checksum(Ipv6Addr::UNSPECIFIED, solicited_node(ip), &frame[ETHERNET + IPV6..]), 0);
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
