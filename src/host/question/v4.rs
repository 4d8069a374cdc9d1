//! The question of DHCPv4 and its answer (RFC 2131 §4.4.3: a client that has an address already asks for
//! the rest).
//!
//! Called by `question`. Pure.

use std::net::Ipv4Addr;

use super::checksum;
use crate::service::Asker;
use crate::types::MacAddr;

pub(super) const CLIENT: u16 = 68;
const SERVER: u16 = 67;
const ETHERTYPE: [u8; 2] = [0x08, 0x00];
/// Of a message, before its options.
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The least that some servers take for a whole message.
const LEAST: usize = 300;

const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const INFORM: u8 = 8;
const ACK: u8 = 5;

/// The frame. dnsmasq answers to the address that the message calls the client's own, where the packet
/// comes from none.
pub(super) fn question(asker: Asker, server: Ipv4Addr, number: [u8; 4]) -> Vec<u8> {
    let message = message(asker.mac, server, number);
    let length = u16::try_from(8 + message.len()).unwrap_or_default();
    // No checksum, which IPv4 allows.
    let ports = [CLIENT, SERVER, length, 0].map(u16::to_be_bytes).concat();
    let header = header(20 + length);
    [&asker.device.octets()[..], &asker.mac.octets(), &ETHERTYPE, &header, &ports, &message].concat()
}

fn message(asker: MacAddr, server: Ipv4Addr, number: [u8; 4]) -> Vec<u8> {
    const BOOTREQUEST: u8 = 1;
    const ETHERNET: u8 = 1;
    let mut message = vec![0; FIXED];
    message[..3].copy_from_slice(&[BOOTREQUEST, ETHERNET, 6]);
    message[4..8].copy_from_slice(&number);
    message[12..16].copy_from_slice(&server.octets());
    message[28..34].copy_from_slice(&asker.octets());
    message.extend(COOKIE);
    message.extend([MESSAGE_TYPE, 1, INFORM, 255]);
    message.resize(LEAST, 0);
    message
}

/// Of IPv4, from nobody to everybody.
fn header(length: u16) -> Vec<u8> {
    const UDP: u8 = 17;
    let [high, low] = length.to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, 1, UDP, 0, 0];
    header.extend(Ipv4Addr::UNSPECIFIED.octets());
    header.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum([&header[..]]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Whether an answer to the question of this number is `server`'s, and all that it should be; `None`: it
/// is to another question.
pub(super) fn reply(packet: &[u8], server: Ipv4Addr, number: [u8; 4]) -> Option<Result<(), String>> {
    if packet.get(4..8)? != number || packet.get(FIXED..FIXED + 4)? != COOKIE {
        return None;
    }
    let options = &packet[FIXED + 4..];
    let kind = option(options, MESSAGE_TYPE);
    if kind != Some(&[ACK]) {
        return Some(Err(format!("a message of type {}", kind.and_then(|k| k.first()).unwrap_or(&0))));
    }
    let says = option(options, SERVER_IDENTIFIER).and_then(|id| <[u8; 4]>::try_from(id).ok());
    match says.map(Ipv4Addr::from) {
        Some(says) if says == server => Some(Ok(())),
        Some(says) => Some(Err(format!("server identifier {says}"))),
        None => Some(Err("no server identifier".to_owned())),
    }
}

/// The value of an option, if it is there.
fn option(mut options: &[u8], code: u8) -> Option<&[u8]> {
    loop {
        match *options.first()? {
            0 => options = &options[1..],
            255 => return None,
            found => {
                let end = 2 + usize::from(*options.get(1)?);
                let value = options.get(2..end)?;
                if found == code {
                    return Some(value);
                }
                options = &options[end..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
    use dhcproto::{Decodable, Decoder};

    const SERVER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_question_is_whole_and_claims_only_the_servers_own_address() {
        let asker = Asker { mac: MacAddr::local([1, 2, 3, 4, 5]), device: MacAddr::local([9; 5]) };
        let frame = question(asker, SERVER_IP, [1, 2, 3, 4]);
        assert_eq!(frame.len(), 14 + 20 + 8 + LEAST);
        assert_eq!(checksum([&frame[14..34]]), 0, "with its sum in its place all together is nothing");
        assert_eq!(&frame[26..34], [0, 0, 0, 0, 255, 255, 255, 255]);
        let message = Message::decode(&mut Decoder::new(&frame[42..])).unwrap();
        assert_eq!((message.xid(), message.ciaddr()), (0x0102_0304, SERVER_IP));
        assert_eq!(message.chaddr(), asker.mac.octets());
        assert_eq!(frame[..6], asker.device.octets(), "a macvlan's would go to all guests otherwise");
        let kind = message.opts().get(OptionCode::MessageType);
        assert_eq!(kind, Some(&DhcpOption::MessageType(MessageType::Inform)));
    }

    fn answer(options: &[u8]) -> Vec<u8> {
        let mut packet = message(MacAddr::local([1; 5]), SERVER_IP, [7; 4]);
        packet.truncate(FIXED + 4);
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
        for end in 0..FIXED + 4 {
            assert_eq!(reply(&packet[..end], SERVER_IP, [7; 4]), None);
        }
    }
}
