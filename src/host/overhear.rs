//! Overhearing servers and routers on a network's segment.
//!
//! Called by `linux`. It asks nothing: what is heard is what they say to all. The kernel lets through what
//! servers and routers say and nothing else, so that guests' traffic wakes nobody; and whatever they say,
//! and however often, this looks once a second.

use std::io;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::netns::Netns;
use super::{Error, packet};
use crate::foreign::{Heard, frame};

/// Between two looks.
const PACE: Duration = Duration::from_secs(1);
/// So many frames are looked at each time; what has no room meanwhile is lost.
const AT_ONCE: usize = 16;
const ROOM: usize = 32 * 1024;
/// The longest frame of which all is of interest.
const LONGEST: u16 = 1_536;

/// What is heard from now on. It ends when the device does, or when nobody takes it.
pub(super) async fn overhear(netns: &Netns) -> Result<mpsc::Receiver<Heard>, Error> {
    let socket = packet::inside(netns, packet::ALL, filter()).await?;
    SockRef::from(&socket).set_recv_buffer_size(ROOM).map_err(packet::failed)?;
    let (sender, receiver) = mpsc::channel(AT_ONCE);
    tokio::spawn(async move {
        tokio::select! {
            // Nobody waits for how it ended: the device is gone.
            _ = listen(&socket, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

async fn listen(socket: &UdpSocket, sender: &mpsc::Sender<Heard>) -> io::Result<()> {
    let mut bytes = [0; LONGEST as usize];
    loop {
        let mut length = socket.recv(&mut bytes).await?;
        for _ in 0..AT_ONCE {
            if let Some(heard) = frame::heard(&bytes[..length])
                && sender.send(heard).await.is_err()
            {
                return Ok(());
            }
            match socket.try_recv(&mut bytes) {
                Ok(more) => length = more,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        sleep(PACE).await;
    }
}

/// What others send: a BOOTREPLY from UDP port 67 over IPv4, and over IPv6 anything from UDP port 547 and
/// router advertisements. Numbers of `linux/bpf_common.h` and `linux/filter.h`.
fn filter() -> [SockFilter; 23] {
    const WORD: u16 = 0x20;
    const HALF: u16 = 0x28;
    const BYTE: u16 = 0x30;
    const HALF_BEHIND: u16 = 0x48;
    const BYTE_BEHIND: u16 = 0x50;
    const HEADER_LENGTH: u16 = 0xb1;
    const EQUAL: u16 = 0x15;
    const ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f004;
    const OUTGOING: u32 = 4;
    let program = [
        (WORD, 0, 0, PACKET_TYPE),
        (EQUAL, 20, 0, OUTGOING),
        (HALF, 0, 0, 12),
        (EQUAL, 0, 9, 0x0800),
        // IPv4: UDP, not a later fragment, its ports behind a header of whatever length.
        (BYTE, 0, 0, 23),
        (EQUAL, 0, 16, 17),
        (HALF, 0, 0, 20),
        (ANY_BIT, 14, 0, 0x1fff),
        (HEADER_LENGTH, 0, 0, 14),
        (HALF_BEHIND, 0, 0, 14),
        (EQUAL, 0, 11, 67),
        (BYTE_BEHIND, 0, 0, 22),
        (EQUAL, 8, 9, 2),
        // IPv6, with no extension headers: none is sent by anybody who wants to be understood.
        (EQUAL, 0, 8, 0x86dd),
        (BYTE, 0, 0, 20),
        (EQUAL, 0, 2, 17),
        (HALF, 0, 0, 54),
        (EQUAL, 3, 4, 547),
        (EQUAL, 0, 3, 58),
        (BYTE, 0, 0, 54),
        (EQUAL, 0, 1, 134),
        (RETURN, 0, 0, LONGEST.into()),
        (RETURN, 0, 0, 0),
    ];
    program.map(|(code, yes, no, value)| SockFilter::new(code, yes, no, value))
}
