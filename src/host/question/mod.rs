//! Asking a network's server as a guest does.
//!
//! Called by `linux`. The question goes the way of a guest's: from the outer end of the device, or to a
//! macvlan by way of its parent, which returns what is for its own, through the filter and the rules to
//! dnsmasq's sockets. The way back would lead past guests; so the question says that its sender has the
//! server's own address, and the answer does not leave the namespace. Neither makes a lease.

mod v4;
mod v6;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use uuid::Uuid;

use super::Error;
use super::netns::Netns;
use crate::node::Attached;
use crate::service::Asker;
use crate::types::NetworkUid;
use crate::wire::{dhcpv4, dhcpv6};

pub(super) use wire::Wires;

/// Ten thousand leased hosts make dnsmasq deaf for 4 s.
const TRIES: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(1);

/// Which server, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who asks, and what is asked.
    pub asker: Asker,
    /// What the server's device is attached to.
    pub attached: Attached,
    /// One of its addresses in each family.
    pub servers: BTreeSet<IpAddr>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// What a guest would be glad of.
    Right,
    /// Something else, and what.
    Wrong(String),
    /// Nothing.
    Silence,
}

impl Reply {
    /// A short name, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong(_) => "wrong",
            Self::Silence => "silence",
        }
    }
}

/// What of each of its addresses the server of `uid` answers.
pub(super) async fn ask(
    netns: &Netns,
    wire: &UdpSocket,
    uid: NetworkUid,
    asked: &Asked,
) -> Result<BTreeMap<IpAddr, Reply>, Error> {
    let each = asked.servers.iter().map(|server| async move {
        let question = Question { uid, asker: asked.asker, server: *server, number: number() };
        Ok((*server, question.ask(netns, wire).await?))
    });
    Ok(futures::future::try_join_all(each).await?.into_iter().collect())
}

/// Nobody else can know it.
fn number() -> [u8; 4] {
    let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
    [a, b, c, d]
}

struct Question {
    uid: NetworkUid,
    asker: Asker,
    server: IpAddr,
    /// The transaction's.
    number: [u8; 4],
}

impl Question {
    async fn ask(&self, netns: &Netns, wire: &UdpSocket) -> Result<Reply, Error> {
        let failed = |e| Error::Open("a line to dnsmasq", e);
        let address = SocketAddr::new(self.server, self.port());
        let socket = netns.run(move || std::net::UdpSocket::bind(address)).await?.map_err(failed)?;
        let socket =
            socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket)).map_err(failed)?;
        let (frame, mut reply) = (self.frame(), Reply::Silence);
        for _ in 0..TRIES {
            wire.send(&frame).await.map_err(|e| Error::Open("a way to dnsmasq", e))?;
            if let Ok(heard) = timeout(PATIENCE, self.listen(&socket, &mut reply)).await {
                return heard.map(|()| Reply::Right).map_err(failed);
            }
        }
        Ok(reply)
    }

    /// Until there is the right answer.
    async fn listen(&self, socket: &UdpSocket, reply: &mut Reply) -> io::Result<()> {
        let mut packet = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut packet).await?;
            if from.ip() != self.server {
                continue;
            }
            match self.reply(&packet[..length]) {
                Some(Ok(())) => return Ok(()),
                Some(Err(wrong)) => *reply = Reply::Wrong(wrong),
                None => {}
            }
        }
    }

    fn port(&self) -> u16 {
        if self.server.is_ipv4() { dhcpv4::CLIENT_PORT } else { dhcpv6::CLIENT_PORT }
    }

    fn frame(&self) -> Vec<u8> {
        match self.server {
            IpAddr::V4(server) => v4::question(self.asker, server, self.number),
            IpAddr::V6(server) => v6::question(self.asker, server, self.number),
        }
    }

    fn reply(&self, packet: &[u8]) -> Option<Result<(), String>> {
        match self.server {
            IpAddr::V4(server) => v4::reply(packet, server, self.number),
            IpAddr::V6(_) => v6::reply(packet, &crate::dnsmasq::server_duid(self.uid), self.number),
        }
    }
}
