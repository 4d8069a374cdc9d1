//! Listening for guests that DHCPv6 knows by what they call themselves.
//!
//! Called by `linux`, from inside a network's namespace. It hears only and says nothing. The kernel lets
//! through what clients of DHCPv6 say and nothing else; of a flood of that some is lost, and clients ask
//! again.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::netns::Netns;
use super::solicit::{Message, message};
use super::{Error, packet};
use crate::node::Newcomer;
use crate::types::{Identifier, MacAddr};
use crate::wire::{self, dhcpv6};

/// So many frames are looked at before it rests.
const AT_ONCE: usize = 64;
const REST: Duration = Duration::from_millis(50);
const ROOM: usize = 64 * 1024;
/// The longest frame of which all is of interest.
const LONGEST: u16 = 1_536;

/// Guests with one of these identifiers, from now on. It ends when the device does, or when nobody takes it.
pub(super) async fn listen(
    netns: &Netns,
    duids: &BTreeSet<Identifier>,
) -> Result<mpsc::Receiver<Newcomer>, Error> {
    let socket = packet::inside(netns, wire::ETHERTYPE_IPV6, filter()).await?;
    SockRef::from(&socket).set_recv_buffer_size(ROOM).map_err(packet::failed)?;
    let ((sender, receiver), duids) = (mpsc::channel(AT_ONCE), duids.clone());
    tokio::spawn(async move {
        tokio::select! {
            // Nobody waits for how it ended: the device is gone.
            _ = hear(&socket, &duids, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

async fn hear(
    socket: &UdpSocket,
    duids: &BTreeSet<Identifier>,
    sender: &mpsc::Sender<Newcomer>,
) -> io::Result<()> {
    let mut frame = [0; LONGEST as usize];
    loop {
        for _ in 0..AT_ONCE {
            let length = socket.recv(&mut frame).await?;
            let newcomer = newcomer(&frame[..length]).filter(|newcomer| duids.contains(&newcomer.duid));
            if let Some(newcomer) = newcomer
                && sender.send(newcomer).await.is_err()
            {
                return Ok(());
            }
        }
        sleep(REST).await;
    }
}

/// Who sent a client's message, if he says what he calls himself.
fn newcomer(frame: &[u8]) -> Option<Newcomer> {
    let Message { mac, from, options, .. } = message(frame)?;
    let duid = Identifier::new(options.value_of(dhcpv6::CLIENT_IDENTIFIER)?)?;
    let mac_address = MacAddr::new(mac)?;
    from.is_unicast_link_local().then_some(Newcomer { duid, mac_address, link_local: from })
}

/// UDP over IPv6, with no extension headers, to the port of servers. Numbers of `linux/bpf_common.h`.
fn filter() -> [SockFilter; 6] {
    const HALF: u16 = 0x28;
    const BYTE: u16 = 0x30;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NEXT_HEADER: u32 = 14 + 6;
    const DESTINATION_PORT: u32 = 14 + 40 + 2;
    let program = [
        (BYTE, 0, 0, NEXT_HEADER),
        (EQUAL, 0, 3, wire::PROTOCOL_UDP.into()),
        (HALF, 0, 0, DESTINATION_PORT),
        (EQUAL, 0, 1, dhcpv6::SERVER_PORT.into()),
        (RETURN, 0, 0, LONGEST.into()),
        (RETURN, 0, 0, 0),
    ];
    program.map(|(code, yes, no, value)| SockFilter::new(code, yes, no, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_what_he_calls_himself_is_heard_with_his_device() {
        let mut frame = super::super::solicit::tests::solicit();
        frame[14 + 8..14 + 10].copy_from_slice(&[0xfe, 0x80]);
        frame[14 + 23] = 7;
        let found = newcomer(&frame).unwrap();
        assert_eq!(found.duid, Identifier::new(&[0, 4, 0xab]).unwrap());
        assert_eq!(found.mac_address, MacAddr::local([0, 0, 0, 0, 1]));
        assert_eq!(found.link_local, "fe80::7".parse::<std::net::Ipv6Addr>().unwrap());
        // A renewal, too; and neither a server's word nor a relay's, nor one from an address of a subnet.
        for (at, byte, heard) in
            [(62, 5, true), (62, 7, false), (62, 12, false), (22, 0x20, false), (6, 1, false)]
        {
            let mut other = frame.clone();
            other[at] = byte;
            assert_eq!(newcomer(&other).is_some(), heard, "{at}: {byte}");
        }
    }
}
