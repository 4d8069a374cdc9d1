//! Overhearing servers and routers on a network's segment.
//!
//! Called by `linux`. It asks nothing: what is heard is what they say to all. The kernel lets through what
//! servers and routers say and nothing else, so that guests' traffic wakes nobody; and whatever they say,
//! and however often, this looks once a second.

use std::time::Duration;

use socket2::SockFilter;
use tokio::sync::mpsc;

use super::Error;
use super::netns::Netns;
use super::packet::bpf::{ANY_BIT, BYTE, BYTE_BEHIND, EQUAL, HALF, HALF_BEHIND, HEADER_LENGTH, RETURN, WORD};
use super::packet::{self, LONGEST, Pace};
use crate::foreign::{Heard, frame};

const PACE: Pace = Pace { rest: Duration::from_secs(1), at_once: 16, room: 32 * 1024 };

/// What is heard from now on. It ends when the device does, or when nobody takes it.
pub(super) async fn overhear(netns: &Netns) -> Result<mpsc::Receiver<Heard>, Error> {
    packet::hear(netns, packet::ALL, filter(), PACE, frame::heard).await
}

/// What others send: a BOOTREPLY from UDP port 67 over IPv4, and over IPv6 anything from UDP port 547 and
/// router advertisements. `PACKET_TYPE` is of `linux/filter.h`, `OUTGOING` of `linux/if_packet.h`.
fn filter() -> [SockFilter; 23] {
    const PACKET_TYPE: u32 = 0xffff_f004;
    const OUTGOING: u32 = 4;
    packet::filter([
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
    ])
}
