//! Many guests on one device: asks for any MAC, and says when it is answered or no longer is.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, MessageType};

use crate::lab::{Datagram, Lab, Mac, Wire};

/// Between two questions for the same: a thousand hosts cost dnsmasq 0.4 ms each.
const AGAIN: Duration = Duration::from_millis(1);
/// Of many at once.
const MANY_AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

pub struct Probe {
    wire: Wire,
    xid: Cell<u32>,
}

impl Probe {
    /// On a bridge, in a namespace of its own.
    pub fn new(lab: &Lab, bridge: &str) -> Self {
        let netns = format!("probe-{bridge}");
        lab.plug(bridge, &netns, "eth0", Mac::nth(0x00fe_0000));
        Self { wire: Wire::open(lab, Some(&netns), "eth0"), xid: Cell::new(1) }
    }

    /// Sends a DISCOVER; gives its number.
    pub fn discover(&self, mac: Mac) -> u32 {
        let xid = self.xid.get();
        self.xid.set(xid + 1);
        let mut message = Message::new_with_id(xid, ANY, ANY, ANY, ANY, &mac.0);
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
        let datagram = Datagram {
            from_mac: mac,
            to_mac: Mac::BROADCAST,
            from: (ANY, 68),
            to: (Ipv4Addr::BROADCAST, 67),
            payload: message.to_vec().unwrap(),
            checksum_ok: true,
        };
        self.wire.send(&datagram.frame());
        xid
    }

    /// The next OFFER: for which DISCOVER, to whom, which address.
    pub fn offer(&self, deadline: Instant) -> Option<(u32, Mac, Ipv4Addr)> {
        while let Some(frame) = self.wire.receive(deadline) {
            let Some(datagram) = Datagram::parse(&frame).filter(|d| d.to.1 == 68) else { continue };
            let message = &datagram.payload;
            let xid = u32::from_be_bytes(message[4..8].try_into().unwrap());
            let ip = <[u8; 4]>::try_from(&message[16..20]).unwrap();
            return Some((xid, Mac(message[28..34].try_into().unwrap()), ip.into()));
        }
        None
    }

    /// How long after `since` this one is answered.
    pub fn answered(&self, mac: Mac, since: Instant) -> Duration {
        let first = self.xid.get();
        let mut next = Instant::now();
        while since.elapsed() < PATIENCE {
            self.discover(mac);
            next += AGAIN;
            while let Some((xid, to, _)) = self.offer(next) {
                if to == mac && xid >= first {
                    return since.elapsed();
                }
            }
        }
        panic!("{mac} is not answered within {PATIENCE:?}");
    }

    /// How long after `since` all of them are: the last is asked for until it is answered, then the rest.
    pub fn all_answered(&self, macs: &[Mac], since: Instant) -> Duration {
        let Some(last) = macs.last() else { return since.elapsed() };
        self.answered(*last, since);
        let mut left: BTreeSet<_> = macs.iter().copied().filter(|mac| mac != last).collect();
        while !left.is_empty() && since.elapsed() < PATIENCE {
            for mac in &left {
                self.discover(*mac);
            }
            let next = Instant::now() + MANY_AGAIN;
            while let Some((_, mac, _)) = self.offer(next) {
                left.remove(&mac);
                if left.is_empty() {
                    return since.elapsed();
                }
            }
        }
        panic!("{} are not answered within {PATIENCE:?}", left.len());
    }

    /// How long after `since` the first DISCOVER was sent that got no answer in `quiet`.
    pub fn silent(&self, mac: Mac, since: Instant, quiet: Duration) -> Duration {
        while since.elapsed() < PATIENCE {
            let asked = since.elapsed();
            let xid = self.discover(mac);
            let deadline = Instant::now() + quiet;
            let answers = std::iter::from_fn(|| self.offer(deadline));
            if !answers.into_iter().any(|(of, _, _)| of == xid) {
                return asked;
            }
        }
        panic!("{mac} is still answered after {PATIENCE:?}");
    }

    /// Takes what is still in the socket.
    pub fn drain(&self) {
        while self.offer(Instant::now()).is_some() {}
    }
}
