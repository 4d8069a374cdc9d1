//! The questions and answers of IPv4 (RFC 5227 §2.1.1: a probe, with no address of our own).
//!
//! Called by `probe`. Pure.

use std::net::Ipv4Addr;

use crate::types::MacAddr;

pub(super) const ETHERTYPE: u16 = 0x0806;
/// Of Ethernet header and ARP packet together.
const LENGTH: usize = 42;
/// Ethernet, IPv4, the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// The frame that asks everybody.
pub(super) fn question(own: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    const REQUEST: [u8; 2] = [0, 1];
    let mut frame = Vec::with_capacity(LENGTH);
    frame.extend([0xff; 6]);
    frame.extend(own.octets());
    frame.extend(ETHERTYPE.to_be_bytes());
    frame.extend(KIND);
    frame.extend(REQUEST);
    frame.extend(own.octets());
    frame.extend([0; 4 + 6]);
    frame.extend(ip.octets());
    frame
}

/// Who sent an ARP packet, and the address that it calls its own.
pub(super) fn sender(frame: &[u8]) -> Option<(Ipv4Addr, MacAddr)> {
    let kind = frame.get(12..14)? == ETHERTYPE.to_be_bytes() && frame.get(14..20)? == KIND;
    let mac: [u8; 6] = frame.get(22..28)?.try_into().ok()?;
    let ip: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    Some((ip.into(), MacAddr::new(mac)?)).filter(|_| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_claims_no_address() {
        let own = MacAddr::local([1, 2, 3, 4, 5]);
        let frame = question(own, [10, 0, 0, 2].into());
        assert_eq!((frame.len(), &frame[38..]), (LENGTH, &[10, 0, 0, 2][..]));
        assert_eq!(sender(&frame), Some((Ipv4Addr::UNSPECIFIED, own)));
    }

    #[test]
    fn what_is_no_arp_packet_names_nobody() {
        let mut frame = question(MacAddr::local([1; 5]), [10, 0, 0, 2].into());
        assert_eq!(sender(&frame[..31]), None);
        frame[12] = 0x86;
        assert_eq!(sender(&frame), None);
    }
}
