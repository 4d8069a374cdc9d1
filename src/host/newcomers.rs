//! Listening for guests that DHCPv6 knows by what they call themselves.
//!
//! Called by `linux`, from inside a network's namespace. It hears only and says nothing. The kernel lets
//! through what clients of DHCPv6 say and nothing else; of a flood of that some is lost, and clients ask
//! again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Error;
use super::netns::Netns;
use super::packet::{self, Pace};
use super::solicit::{Message, filter, message};
use crate::node::Newcomer;
use crate::types::{Identifier, MacAddr};
use crate::wire::{self, dhcpv6};

const PACE: Pace = Pace { rest: Duration::from_millis(50), at_once: 64, room: 64 * 1024 };

/// Guests with one of these identifiers, from now on. It ends when the device does, or when nobody takes it.
pub(super) async fn listen(
    netns: &Netns,
    duids: &BTreeSet<Identifier>,
) -> Result<mpsc::Receiver<Newcomer>, Error> {
    let duids = duids.clone();
    let one_of_them = move |frame: &[u8]| newcomer(frame).filter(|newcomer| duids.contains(&newcomer.duid));
    packet::hear(netns, wire::ETHERTYPE_IPV6, filter(), PACE, one_of_them).await
}

/// Who sent a client's message, if he says what he calls himself.
fn newcomer(frame: &[u8]) -> Option<Newcomer> {
    let Message { mac, from, options, .. } = message(frame)?;
    let duid = Identifier::new(options.value_of(dhcpv6::CLIENT_IDENTIFIER)?)?;
    let mac_address = MacAddr::new(mac)?;
    from.is_unicast_link_local().then_some(Newcomer { duid, mac_address, link_local: from })
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
