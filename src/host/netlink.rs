//! Netlink by hand, for what `rtnetlink` does not do: many requests in one packet, and what it does not
//! speak of: nftables, a device's offloads, one port's VLANs.
//!
//! Called by `nft`, `neighbour` and `ethtool` on a thread in a network's namespace, by `vlan` in the node's
//! own; it waits for the kernel's answers there.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::{Socket, SocketAddr};

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP` of linux/netlink.h.
pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const DUMP: u16 = 0x300;

/// Message types of linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Of `struct nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;

/// The kernel sends no longer packet.
const PACKET: usize = 64 * 1024;

/// A message as it is sent.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// The messages of a packet: type and what follows the header.
pub(super) fn messages(mut packet: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = packet.first_chunk::<HEADER>()?;
        let length = u32::from_ne_bytes(*header.first_chunk::<4>()?) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let body = packet.get(HEADER..length)?;
        packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// A socket to one of the kernel's subsystems.
pub(super) struct Exchange {
    socket: Socket,
}

impl Exchange {
    /// In the namespace of the calling thread.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        // A refusal need not repeat what was asked.
        socket.set_cap_ack(true)?;
        Ok(Self { socket })
    }

    /// What the kernel answers to one question, a dump or one with [`ACK`]: the bodies of its messages.
    pub(super) fn ask(&self, question: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.send(question)?;
        let (mut answers, mut ended) = (Vec::new(), false);
        while !ended {
            self.receive(|kind, body| {
                match kind {
                    DONE => ended = true,
                    ERROR => (ended, ()) = (true, refusal(body)?),
                    _ => answers.push(body.to_vec()),
                }
                Ok(())
            })?;
        }
        Ok(answers)
    }

    /// Sends messages of which so many have [`ACK`], together, and waits until all of these are done.
    /// Some errors may be `fine`; any other ends it.
    pub(super) fn tell(&self, messages: &[u8], acks: usize, fine: impl Fn(i32) -> bool) -> io::Result<()> {
        if messages.len() > PACKET {
            // As the tools do for nf_tables: a transaction is one packet, however long.
            setsockopt(&self.socket, sockopt::SndBufForce, &(2 * messages.len()))?;
        }
        self.send(messages)?;
        let mut left = acks;
        while left > 0 {
            self.receive(|kind, body| {
                if kind != ERROR {
                    return Ok(());
                }
                left = left.saturating_sub(1);
                refusal(body).or_else(|e| if e.raw_os_error().is_some_and(&fine) { Ok(()) } else { Err(e) })
            })?;
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map(drop)
    }

    fn receive(&self, mut each: impl FnMut(u16, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut packet = Vec::with_capacity(PACKET);
        self.socket.recv(&mut packet, 0)?;
        messages(&packet).try_for_each(|(kind, body)| each(kind, body))
    }
}

/// An error message; one with the code 0 is none.
fn refusal(body: &[u8]) -> io::Result<()> {
    match body.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes)) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let packet = [message(7, DUMP, b"abcde"), message(8, ACK, b"")].concat();
        assert_eq!(messages(&packet).collect::<Vec<_>>(), [(7, &b"abcde"[..]), (8, b"")]);
    }

    #[test]
    fn a_torn_packet_ends_the_reading() {
        let packet = message(7, DUMP, b"abcd");
        for end in 0..packet.len() {
            assert_eq!(messages(&packet[..end]).count(), 0);
        }
    }
}
