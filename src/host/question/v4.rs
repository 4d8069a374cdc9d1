//! The question of DHCPv4 and its answer (RFC 2131 §4.4.3: a client that has an address already asks for
//! the rest).
//!
//! Called by `question`. Pure.

use std::net::Ipv4Addr;

use crate::service::Asker;
use crate::types::MacAddr;
use crate::wire::dhcpv4::{self, CLIENT_PORT, MESSAGE_TYPE, SERVER_IDENTIFIER, SERVER_PORT};
use crate::wire::{ETHERTYPE_IPV4, PROTOCOL_UDP, checksum};

const INFORM: u8 = 8;
const ACK: u8 = 5;

/// The frame, with the question of `guest`. dnsmasq answers to the address that the message calls the client's own, where the packet
/// comes from none.
pub(super) fn question(asker: Asker, guest: MacAddr, server: Ipv4Addr, xid: [u8; 4]) -> Vec<u8> {
    let message = dhcpv4::request(guest, server, xid, &[(MESSAGE_TYPE, &[INFORM])]);
    let length = u16::try_from(8 + message.len()).unwrap_or_default();
    // No checksum, which IPv4 allows.
    let ports = [CLIENT_PORT, SERVER_PORT, length, 0].map(u16::to_be_bytes).concat();
    let (header, ethertype) = (header(20 + length), ETHERTYPE_IPV4.to_be_bytes());
    [&asker.device.octets()[..], &asker.mac.octets(), &ethertype, &header, &ports, &message].concat()
}

/// Of IPv4, from nobody to everybody.
fn header(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, 1, PROTOCOL_UDP, 0, 0];
    header.extend(Ipv4Addr::UNSPECIFIED.octets());
    header.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum([&header[..]]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Whether an answer to the question of this transaction is `server`'s, and all that it should be; `None`:
/// it is to another question.
pub(super) fn reply(packet: &[u8], server: Ipv4Addr, xid: [u8; 4]) -> Option<Result<(), String>> {
    if packet.get(4..8)? != xid {
        return None;
    }
    let options = dhcpv4::options(packet)?;
    let kind = options.clone().value_of(MESSAGE_TYPE);
    if kind != Some(&[ACK]) {
        return Some(Err(format!("a message of type {}", kind.and_then(|k| k.first()).unwrap_or(&0))));
    }
    let says = options.value_of(SERVER_IDENTIFIER).and_then(|id| <[u8; 4]>::try_from(id).ok());
    match says.map(Ipv4Addr::from) {
        Some(says) if says == server => Some(Ok(())),
        Some(says) => Some(Err(format!("server identifier {says}"))),
        None => Some(Err("no server identifier".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
    use dhcproto::{Decodable, Decoder};

    /// Of a message, before its options.
    const HEAD: usize = 240;
    const SERVER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_question_is_whole_and_claims_only_the_servers_own_address() {
        let asker = Asker { mac: MacAddr::local([1, 2, 3, 4, 5]), device: MacAddr::local([9; 5]) };
        let guest = MacAddr::local([5; 5]);
        let frame = question(asker, guest, SERVER_IP, [1, 2, 3, 4]);
        assert_eq!(frame.len(), 14 + 20 + 8 + 300);
        assert_eq!(checksum([&frame[14..34]]), 0, "with its sum in its place all together is nothing");
        assert_eq!(&frame[26..34], [0, 0, 0, 0, 255, 255, 255, 255]);
        let message = Message::decode(&mut Decoder::new(&frame[42..])).unwrap();
        assert_eq!((message.xid(), message.ciaddr()), (0x0102_0304, SERVER_IP));
        assert_eq!(message.chaddr(), guest.octets());
        assert_eq!(frame[6..12], asker.mac.octets(), "no switch learns that the guest is here");
        assert_eq!(frame[..6], asker.device.octets(), "a macvlan's would go to all guests otherwise");
        let kind = message.opts().get(OptionCode::MessageType);
        assert_eq!(kind, Some(&DhcpOption::MessageType(MessageType::Inform)));
    }

    fn answer(options: &[u8]) -> Vec<u8> {
        let mut packet = dhcpv4::request(MacAddr::local([1; 5]), SERVER_IP, [7; 4], &[]);
        packet.truncate(HEAD);
        packet.extend(options);
        packet
    }

    #[test]
    fn only_an_ack_of_the_server_itself_will_do() {
        let reply = |options: &[u8]| reply(&answer(options), SERVER_IP, [7; 4]);
        assert_eq!(reply(&[0, 53, 1, 5, 54, 4, 10, 0, 0, 2, 255]), Some(Ok(())));
        let wrong = |options: &[u8]| reply(options).unwrap().unwrap_err();
        assert_eq!(wrong(&[53, 1, 5, 54, 4, 10, 0, 0, 9, 255]), "server identifier 10.0.0.9");
        assert_eq!(wrong(&[53, 1, 5, 54, 3, 10, 0, 0]), "no server identifier");
        assert_eq!(wrong(&[53, 1, 6, 255]), "a message of type 6");
        assert_eq!(wrong(&[53]), "a message of type 0");
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let packet = answer(&[53, 1, 5, 54, 4, 10, 0, 0, 2, 255]);
        assert_eq!(reply(&packet, SERVER_IP, [8; 4]), None);
        for end in 0..HEAD {
            assert_eq!(reply(&packet[..end], SERVER_IP, [7; 4]), None);
        }
    }
}
