//! Asking a segment who has an address.
//!
//! Called by `linux`, from inside a network's namespace. The kernel is not asked: it answers for itself,
//! and would first have to have an address there.

mod arp;
mod nd;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::netns::Netns;
use super::{Error, packet};
use crate::node::Family;
use crate::types::MacAddr;
use crate::wire::ETHERTYPE_IPV6;

/// A question may be lost, and who is busy answers late.
const TRIES: u32 = 3;
/// How long an answer may take; all of them take less than the controller's patience by far.
const PATIENCE: Duration = Duration::from_millis(150);

type Found = BTreeMap<IpAddr, MacAddr>;

/// Who answers at each of `addresses` but we, whose address is `own`.
pub(super) async fn who_has(
    netns: &Netns,
    own: MacAddr,
    addresses: &BTreeSet<IpAddr>,
) -> Result<Found, Error> {
    let of = |family| addresses.iter().copied().filter(move |ip| Family::of(*ip) == family).collect();
    let [v4, v6] = Family::ALL.map(|family| Question { family, own, addresses: of(family) });
    let (mut found, more) = tokio::try_join!(v4.ask(netns), v6.ask(netns))?;
    found.extend(more);
    Ok(found)
}

/// All addresses of one family.
struct Question {
    family: Family,
    own: MacAddr,
    addresses: BTreeSet<IpAddr>,
}

impl Question {
    async fn ask(&self, netns: &Netns) -> Result<Found, Error> {
        let mut found = Found::new();
        if self.addresses.is_empty() {
            return Ok(found);
        }
        let ethertype = match self.family {
            Family::V4 => arp::ETHERTYPE,
            Family::V6 => ETHERTYPE_IPV6,
        };
        let socket = packet::inside(netns, ethertype, []).await?;
        for _ in 0..TRIES {
            for ip in self.addresses.iter().filter(|ip| !found.contains_key(*ip)) {
                socket.send(&self.frame(*ip)).await.map_err(packet::failed)?;
            }
            match timeout(PATIENCE, self.listen(&socket, &mut found)).await {
                Ok(Ok(())) => break,
                Ok(Err(e)) => return Err(packet::failed(e)),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    fn frame(&self, ip: IpAddr) -> Vec<u8> {
        match ip {
            IpAddr::V4(ip) => arp::question(self.own, ip),
            IpAddr::V6(ip) => nd::question(self.own, ip),
        }
    }

    /// Until all are found.
    async fn listen(&self, socket: &UdpSocket, found: &mut Found) -> io::Result<()> {
        let mut frame = [0; 128];
        while found.len() < self.addresses.len() {
            let length = socket.recv(&mut frame).await?;
            let sender = match self.family {
                Family::V4 => arp::sender(&frame[..length]).map(|(ip, mac)| (IpAddr::V4(ip), mac)),
                Family::V6 => nd::sender(&frame[..length]).map(|(ip, mac)| (IpAddr::V6(ip), mac)),
            };
            if let Some((ip, mac)) = sender
                && self.addresses.contains(&ip)
                && mac != self.own
            {
                found.insert(ip, mac);
            }
        }
        Ok(())
    }
}
