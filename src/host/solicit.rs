//! Listening for who asks for an address by DHCPv6: dnsmasq's log names a guest by an identifier that any
//! guest can have, the frame by its MAC address.
//!
//! Called by `linux`, from inside a network's namespace. It hears only and says nothing.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::netns::Netns;
use super::probe::{self, nd::ETHERTYPE};
use super::{Error, Solicitor};
use crate::types::{Hex, MacAddr};

/// A client asks again after a second, then after two (RFC 8415 §15).
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Whoever sends more than that is not waited for to end.
const FRAMES: usize = 1_024;

/// Until all of these were heard, or for some time.
pub(super) async fn listen(netns: &Netns, duids: &BTreeSet<String>) -> Result<Vec<Solicitor>, Error> {
    let socket = probe::open(netns, ETHERTYPE).await?;
    let mut found = Vec::new();
    // Those that were heard until then count.
    match timeout(PATIENCE, hear(&socket, duids, &mut found)).await {
        Ok(Err(e)) => Err(probe::failed(e)),
        Ok(Ok(())) | Err(_) => Ok(found),
    }
}

async fn hear(socket: &UdpSocket, duids: &BTreeSet<String>, found: &mut Vec<Solicitor>) -> io::Result<()> {
    let mut frame = [0; 2_048];
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

/// Who sent a SOLICIT; `None`: the frame is none.
fn solicitor(frame: &[u8]) -> Option<Solicitor> {
    const ETHERNET: usize = 14;
    const IPV6: usize = 40;
    const UDP: u8 = 17;
    const SERVER_PORT: [u8; 2] = 547_u16.to_be_bytes();
    const SOLICIT: u8 = 1;
    const CLIENT_ID: u16 = 1;
    const IA_NA: u16 = 3;
    let (mac, packet) = (frame.get(6..12)?.try_into().ok()?, frame.get(ETHERNET..)?);
    let is_ipv6 = frame[12..ETHERNET] == ETHERTYPE.to_be_bytes() && packet.get(6) == Some(&UDP);
    let datagram = packet.get(IPV6..).filter(|_| is_ipv6)?;
    let message = datagram.get(8..).filter(|_| datagram[2..4] == SERVER_PORT)?;
    let options = message.get(4..).filter(|_| message[0] == SOLICIT)?;
    let (mut duid, mut iaids) = (None, BTreeSet::new());
    for (code, value) in Options(options) {
        match code {
            CLIENT_ID => duid = Some(value),
            IA_NA => iaids.extend(value.first_chunk().map(|iaid| u32::from_be_bytes(*iaid))),
            _ => {}
        }
    }
    Some(Solicitor { mac: MacAddr::new(mac)?, duid: Hex(duid?).to_string(), iaids })
}

/// The options of a message, until one is cut off.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let (code, length) = ([head[0], head[1]], u16::from_be_bytes([head[2], head[3]]));
        let (value, rest) = rest.split_at_checked(length.into())?;
        self.0 = rest;
        Some((u16::from_be_bytes(code), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solicit() -> Vec<u8> {
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
