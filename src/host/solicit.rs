//! Listening for who asks for an address by DHCPv6: dnsmasq's log names a guest by an identifier that any
//! guest can have, the frame by its MAC address.
//!
//! Called by `linux`, and by `newcomers` for what a client says. It hears only, at a network's device, and
//! says nothing.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::time::Duration;

use socket2::SockFilter;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::netns::Netns;
use super::packet::bpf::{BYTE, EQUAL, HALF, RETURN};
use super::packet::{self, LONGEST};
use super::{Error, Solicitor};
use crate::types::{Hex, MacAddr};
use crate::wire::{self, dhcpv6};

/// A client asks again after a second, then after two (RFC 8415 §15).
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Whoever sends more than that is not waited for to end.
const FRAMES: usize = 1_024;

/// Until all of these were heard, or for some time.
pub(super) async fn listen(netns: &Netns, duids: &BTreeSet<String>) -> Result<Vec<Solicitor>, Error> {
    // Before the frames of a share's guests are led away.
    let socket = packet::inside(netns, packet::ALL, filter()).await?;
    let mut found = Vec::new();
    // Those that were heard until then count.
    match timeout(PATIENCE, hear(&socket, duids, &mut found)).await {
        Ok(Err(e)) => Err(packet::failed(e)),
        Ok(Ok(())) | Err(_) => Ok(found),
    }
}

async fn hear(socket: &UdpSocket, duids: &BTreeSet<String>, found: &mut Vec<Solicitor>) -> io::Result<()> {
    let mut frame = [0; LONGEST as usize];
    for _ in 0..FRAMES {
        let length = socket.recv(&mut frame).await?;
        let Some(solicitor) = solicitor(&frame[..length]) else { continue };
        if duids.contains(&solicitor.duid) && !found.contains(&solicitor) {
            found.push(solicitor);
            if duids.iter().all(|duid| found.iter().any(|found| found.duid == *duid)) {
                return Ok(());
            }
        }
    }
    Ok(())
}

const SOLICIT: u8 = 1;

/// What a client of DHCPv6 says.
pub(super) struct Message<'a> {
    pub(super) mac: [u8; 6],
    pub(super) from: Ipv6Addr,
    pub(super) kind: u8,
    pub(super) options: dhcpv6::Options<'a>,
}

/// What can be one: UDP over IPv6, with no extension headers, to the port of servers.
pub(super) fn filter() -> [SockFilter; 6] {
    const NEXT_HEADER: u32 = 14 + 6;
    const DESTINATION_PORT: u32 = 14 + 40 + 2;
    packet::filter([
        (BYTE, 0, 0, NEXT_HEADER),
        (EQUAL, 0, 3, wire::PROTOCOL_UDP.into()),
        (HALF, 0, 0, DESTINATION_PORT),
        (EQUAL, 0, 1, dhcpv6::SERVER_PORT.into()),
        (RETURN, 0, 0, LONGEST.into()),
        (RETURN, 0, 0, 0),
    ])
}

/// What a frame says to servers; `None`: it is no client's message.
pub(super) fn message(frame: &[u8]) -> Option<Message<'_>> {
    let (mac, packet) = (frame.get(6..12)?.try_into().ok()?, frame.get(wire::ETHERNET..)?);
    let is_ipv6 = frame[12..wire::ETHERNET] == wire::ETHERTYPE_IPV6.to_be_bytes();
    let is_udp = packet.get(6) == Some(&wire::PROTOCOL_UDP);
    let datagram = packet.get(wire::IPV6..).filter(|_| is_ipv6 && is_udp)?;
    let to_server = datagram.get(2..4)? == dhcpv6::SERVER_PORT.to_be_bytes();
    let from: [u8; 16] = packet[8..24].try_into().ok()?;
    let ([kind, ..], options) = dhcpv6::parse(datagram.get(wire::UDP..)?)?;
    let is_clients = matches!(kind, SOLICIT | 3..=6 | 8 | 9 | 11);
    (to_server && is_clients).then(|| Message { mac, from: from.into(), kind, options })
}

/// Who sent a SOLICIT; `None`: the frame is none.
fn solicitor(frame: &[u8]) -> Option<Solicitor> {
    let Message { mac, options, .. } = message(frame).filter(|message| message.kind == SOLICIT)?;
    let (mut duid, mut iaids) = (None, BTreeSet::new());
    for (code, value) in options {
        match code {
            dhcpv6::CLIENT_IDENTIFIER => duid = Some(value),
            dhcpv6::IA_NA => iaids.extend(value.first_chunk().map(|iaid| u32::from_be_bytes(*iaid))),
            _ => {}
        }
    }
    Some(Solicitor { mac: MacAddr::new(mac)?, duid: Hex(duid?).to_string(), iaids })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::host) fn solicit() -> Vec<u8> {
        let mut frame = vec![0; 14 + 40 + 8];
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        (frame[14 + 6], frame[14 + 40 + 2], frame[14 + 40 + 3]) = (17, 2, 0x23);
        frame.extend([1, 9, 9, 9, 0, 1, 0, 3, 0, 4, 0xab]);
        for iaid in [1, 7] {
            frame.extend([0, 3, 0, 12, 0, 0, 0, iaid, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        frame
    }

    #[test]
    fn a_solicit_names_its_sender_its_identifier_and_its_associations() {
        let mac = MacAddr::local([0, 0, 0, 0, 1]);
        let expected = Solicitor { mac, duid: "00:04:ab".into(), iaids: [1, 7].into() };
        assert_eq!(solicitor(&solicit()), Some(expected));
        for (at, byte) in [(12, 8), (20, 6), (57, 0), (62, 3), (6, 1)] {
            let mut other = solicit();
            other[at] = byte;
            assert_eq!(solicitor(&other), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn any_frame_can_be_heard(cut in 0_usize..105, at in 0_usize..105, byte: u8) {
            let mut frame = solicit();
            let at = at % frame.len();
            frame[at] = byte;
            frame.truncate(cut);
            solicitor(&frame);
        }
    }
}
