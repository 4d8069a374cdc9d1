//! Asking a network's server as a guest does.
//!
//! Called by `linux`. The question goes the way of a guest's: from the outer end of the device, or to a
//! macvlan by way of its parent, which returns what is for its own, through the filter and the rules to
//! dnsmasq's sockets. The way back would lead past guests; so the question says that its sender has the
//! server's own address, and the answer does not leave the namespace. Neither makes a lease. To the process
//! of a share it is led by the MAC address of one of that share's guests; to one that has a room, into which a
//! guest's frame is led by the address that it is from, it goes by the device that leads there.

mod v4;
mod v6;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use uuid::Uuid;

use super::netns::{self, Netns};
use super::{Error, packet};
use crate::dnsmasq::Share;
use crate::node::Attached;
use crate::service::Asker;
use crate::types::{MacAddr, NetworkUid};
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
    /// Of each share of its guests one whose questions its process answers: in DHCPv4 a guest, in a room whoever
    /// asks everywhere.
    pub shares: BTreeMap<Share, MacAddr>,
}

/// At which address, and the process of which share, if it is not the one of none.
pub type Whom = (IpAddr, Option<Share>);

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

/// What the processes of `uid` answer at each of its addresses.
pub(super) async fn ask(
    netns: &Netns,
    wire: &UdpSocket,
    uid: NetworkUid,
    asked: &Asked,
) -> Result<BTreeMap<Whom, Reply>, Error> {
    let each = asked.servers.iter().map(|server| Questions::new(uid, asked, *server).ask(netns, wire));
    let rooms = asked.rooms().map(async |(share, server)| {
        ask_in_room(netns, uid, asked, share, server).await.unwrap_or_else(|error| {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::warn!(network_uid = %uid, %share, error, "cannot ask dnsmasq");
            // That says nothing of the others.
            Vec::new()
        })
    });
    let (each, rooms) = futures::join!(try_join_all(each), join_all(rooms));
    Ok(each?.into_iter().chain(rooms).flatten().collect())
}

/// The one process that is there.
async fn ask_in_room(
    netns: &Netns,
    uid: NetworkUid,
    asked: &Asked,
    share: Share,
    server: IpAddr,
) -> Result<Vec<(Whom, Reply)>, Error> {
    let room = netns::open((uid, share))?;
    let wire = packet::sender(netns, share.feed()).await?;
    let question = Question::of(Some(share), asked.asker.mac);
    let questions = Questions { uid, asker: asked.asker, server, all: vec![question] };
    questions.ask(&room, &wire).await
}

impl Asked {
    /// Those that have one, and the address of the server there.
    fn rooms(&self) -> impl Iterator<Item = (Share, IpAddr)> {
        let server = self.servers.iter().copied().find(IpAddr::is_ipv6);
        let shares = self.shares.keys().filter(|share| share.has_room());
        shares.filter_map(move |share| Some((*share, server?)))
    }
}

/// Nobody else can know it.
fn number() -> [u8; 4] {
    let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
    [a, b, c, d]
}

/// Those that are asked at one address.
struct Questions {
    uid: NetworkUid,
    asker: Asker,
    server: IpAddr,
    all: Vec<Question>,
}

struct Question {
    share: Option<Share>,
    /// Whose it is said to be in DHCPv4.
    guest: MacAddr,
    /// The transaction's.
    number: [u8; 4],
    reply: Reply,
}

impl Questions {
    fn new(uid: NetworkUid, asked: &Asked, server: IpAddr) -> Self {
        let shares = asked.shares.iter().filter(|(share, _)| server.is_ipv4() && !share.has_room());
        let shares = shares.map(|(share, guest)| Question::of(Some(*share), *guest));
        let all = std::iter::once(Question::of(None, asked.asker.mac)).chain(shares).collect();
        Self { uid, asker: asked.asker, server, all }
    }

    async fn ask(mut self, netns: &Netns, wire: &UdpSocket) -> Result<Vec<(Whom, Reply)>, Error> {
        let failed = |e| Error::Open("a line to dnsmasq", e);
        let address = SocketAddr::new(self.server, self.port());
        let socket = netns.run(move || std::net::UdpSocket::bind(address)).await?.map_err(failed)?;
        let socket =
            socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket)).map_err(failed)?;
        for _ in 0..TRIES {
            for question in self.all.iter().filter(|question| question.is_open()) {
                wire.send(&self.frame(question)).await.map_err(|e| Error::Open("a way to dnsmasq", e))?;
            }
            if let Ok(heard) = timeout(PATIENCE, self.listen(&socket)).await {
                heard.map_err(failed)?;
                break;
            }
        }
        let server = self.server;
        Ok(self.all.into_iter().map(|question| ((server, question.share), question.reply)).collect())
    }

    /// Until there is the right answer to each.
    async fn listen(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut packet = [0; 1500];
        while self.all.iter().any(Question::is_open) {
            let (length, from) = socket.recv_from(&mut packet).await?;
            if from.ip() == self.server {
                self.hear(&packet[..length]);
            }
        }
        Ok(())
    }

    fn hear(&mut self, packet: &[u8]) {
        let (uid, server) = (self.uid, self.server);
        let reply = |number| match server {
            IpAddr::V4(server) => v4::reply(packet, server, number),
            IpAddr::V6(_) => v6::reply(packet, &crate::dnsmasq::server_duid(uid), number),
        };
        for question in self.all.iter_mut().filter(|question| question.is_open()) {
            match reply(question.number) {
                Some(Ok(())) => question.reply = Reply::Right,
                Some(Err(wrong)) => question.reply = Reply::Wrong(wrong),
                None => {}
            }
        }
    }

    fn port(&self) -> u16 {
        if self.server.is_ipv4() { dhcpv4::CLIENT_PORT } else { dhcpv6::CLIENT_PORT }
    }

    fn frame(&self, question: &Question) -> Vec<u8> {
        match self.server {
            IpAddr::V4(server) => v4::question(self.asker, question.guest, server, question.number),
            IpAddr::V6(server) => v6::question(self.asker, server, question.number),
        }
    }
}

impl Question {
    fn of(share: Option<Share>, guest: MacAddr) -> Self {
        Self { share, guest, number: number(), reply: Reply::Silence }
    }

    fn is_open(&self) -> bool {
        self.reply != Reply::Right
    }
}
