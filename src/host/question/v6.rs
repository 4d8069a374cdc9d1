//! The question of DHCPv6 and its answer (RFC 8415 §18.2.6: a client that wants no address).
//!
//! Called by `question`. Pure.

use std::net::Ipv6Addr;

use crate::service::Asker;
use crate::types::MacAddr;
use crate::wire::dhcpv6::{
    self, CLIENT_IDENTIFIER, CLIENT_PORT, ELAPSED_TIME, SERVER_IDENTIFIER, SERVER_PORT, SERVERS, option,
};
use crate::wire::{ETHERTYPE_IPV6, PROTOCOL_UDP, ipv6_checksum, ipv6_packet};

const INFORMATION_REQUEST: u8 = 11;
const REPLY: u8 = 7;

/// The frame, from the server's own address: for that dnsmasq has a neighbour entry.
pub(super) fn question(asker: Asker, server: Ipv6Addr, number: [u8; 4]) -> Vec<u8> {
    let message = message(asker.mac, number);
    let length = u16::try_from(8 + message.len()).unwrap_or_default();
    let ports = [CLIENT_PORT, SERVER_PORT, length, 0].map(u16::to_be_bytes).concat();
    let mut datagram = [ports, message].concat();
    // A sum of zero would mean that there is none.
    let sum = match ipv6_checksum(server, SERVERS, PROTOCOL_UDP, &datagram) {
        0 => u16::MAX,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    let packet = ipv6_packet(server, SERVERS, PROTOCOL_UDP, 1, &datagram);
    let ethertype = ETHERTYPE_IPV6.to_be_bytes();
    [&asker.device.octets()[..], &asker.mac.octets(), &ethertype, &packet].concat()
}

/// With a DUID-LL (RFC 8415 §11.4).
fn message(asker: MacAddr, [_, number @ ..]: [u8; 4]) -> Vec<u8> {
    let duid = [&[0, 3, 0, 1][..], &asker.octets()].concat();
    let options = [option(CLIENT_IDENTIFIER, &duid), option(ELAPSED_TIME, &[0, 0])].concat();
    [&[INFORMATION_REQUEST][..], &number, &options].concat()
}

/// Whether an answer to the question of this number is that of the server with this DUID; `None`: it is to
/// another question.
pub(super) fn reply(packet: &[u8], server: &[u8], number: [u8; 4]) -> Option<Result<(), String>> {
    let ([kind, its_number @ ..], options) = dhcpv6::parse(packet)?;
    if its_number != number[1..] {
        return None;
    }
    if kind != REPLY {
        return Some(Err(format!("a message of type {kind}")));
    }
    match options.value_of(SERVER_IDENTIFIER) {
        Some(says) if says == server => Some(Ok(())),
        Some(_) => Some(Err("another server's identifier".to_owned())),
        None => Some(Err("no server identifier".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v6::{DhcpOption, Message, MessageType, OptionCode};
    use dhcproto::{Decodable, Decoder};

    #[test]
    fn a_question_is_whole() {
        let asker = Asker { mac: MacAddr::local([1, 2, 3, 4, 5]), device: MacAddr::local([9; 5]) };
        let server: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let frame = question(asker, server, [1, 2, 3, 4]);
        let datagram = &frame[54..];
        let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
        assert_eq!(frame[18..20], length);
        let pseudo = [&frame[22..54], &[0, 0], &length, &[0, 0, 0, 17]].concat();
        assert_eq!(crate::wire::checksum([&pseudo[..], datagram]), 0);
        let message = Message::decode(&mut Decoder::new(&datagram[8..])).unwrap();
        assert_eq!((message.msg_type(), message.xid()), (MessageType::InformationRequest, [2, 3, 4]));
        let duid = vec![0, 3, 0, 1, 2, 1, 2, 3, 4, 5];
        assert_eq!(message.opts().get(OptionCode::ClientId), Some(&DhcpOption::ClientId(duid)));
    }

    #[test]
    fn only_a_reply_of_the_server_itself_will_do() {
        let answer = |kind: u8, options: &[u8]| [&[kind, 2, 3, 4][..], options].concat();
        let reply = |packet: &[u8]| reply(packet, &[9, 9], [1, 2, 3, 4]);
        assert_eq!(reply(&answer(7, &[0, 1, 0, 1, 5, 0, 2, 0, 2, 9, 9])), Some(Ok(())));
        let wrong = |packet: &[u8]| reply(packet).unwrap().unwrap_err();
        assert_eq!(wrong(&answer(7, &[0, 2, 0, 1, 9])), "another server's identifier");
        assert_eq!(wrong(&answer(7, &[0, 2, 0, 9, 9])), "no server identifier");
        assert_eq!(wrong(&answer(2, &[])), "a message of type 2");
        assert_eq!(reply(&[7, 2, 3, 5]), None);
        assert_eq!(reply(&[7, 2, 3]), None);
    }
}
