//! A guest: a DHCPv4 client whose every message a test can choose.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dhcproto::Encodable;
use dhcproto::v4::{Flags, Message};

use super::wire::{arp_answer, arp_found, arp_question};
use super::{Answer, Datagram, DhcpOption, Lab, Mac, MessageType, OptionCode, PATIENCE, SILENCE, Wire};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// A client on a segment, in its own namespace, with a device called `eth0`.
pub struct Guest<'lab> {
    lab: &'lab Lab,
    netns: String,
    mac: Mac,
    wire: Wire,
    next_xid: AtomicU32,
    /// The address it answers ARP for, as a number.
    mine: AtomicU32,
    /// What it calls itself in every message (option 61).
    client_id: Option<Vec<u8>>,
}

/// A message to send: what a test wants other than the usual.
#[derive(Clone)]
pub struct Ask {
    pub kind: MessageType,
    pub ciaddr: Ipv4Addr,
    pub options: Vec<DhcpOption>,
    /// The parameter request list; `None` leaves option 55 out.
    pub want: Option<Vec<u8>>,
    /// A server to send to by unicast.
    pub server: Option<Ipv4Addr>,
    /// Its MAC address, where the guest need not ask for it.
    pub server_mac: Option<Mac>,
    pub broadcast_flag: bool,
}

impl Ask {
    pub fn new(kind: MessageType) -> Self {
        let want = vec![1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 119, 121];
        let (options, broadcast_flag) = (Vec::new(), false);
        let (server, server_mac) = (None, None);
        Self { kind, ciaddr: ANY, options, want: Some(want), server, server_mac, broadcast_flag }
    }

    pub fn option(mut self, option: DhcpOption) -> Self {
        self.options.push(option);
        self
    }

    pub fn options(mut self, options: &[DhcpOption]) -> Self {
        self.options.extend_from_slice(options);
        self
    }

    pub fn want(mut self, codes: &[u8]) -> Self {
        self.want = Some(codes.to_vec());
        self
    }

    pub fn ciaddr(mut self, address: Ipv4Addr) -> Self {
        self.ciaddr = address;
        self
    }

    pub fn to(mut self, server: Ipv4Addr) -> Self {
        self.server = Some(server);
        self
    }

    /// To a server whose MAC address is known.
    pub fn reaching(self, server: Ipv4Addr, mac: Mac) -> Self {
        Self { server_mac: Some(mac), ..self.to(server) }
    }

    fn message(&self, xid: u32, mac: Mac, client_id: Option<&Vec<u8>>) -> Message {
        let mut message = Message::new_with_id(xid, self.ciaddr, ANY, ANY, ANY, &mac.0);
        if self.broadcast_flag {
            message.set_flags(Flags::default().set_broadcast());
        }
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(self.kind));
        if let Some(want) = &self.want {
            let codes = want.iter().map(|code| OptionCode::from(*code)).collect();
            options.insert(DhcpOption::ParameterRequestList(codes));
        }
        let own = client_id.map(|id| DhcpOption::ClientIdentifier(id.clone()));
        for option in own.iter().chain(&self.options) {
            options.insert(option.clone());
        }
        message
    }
}

impl<'lab> Guest<'lab> {
    pub(super) fn new(lab: &'lab Lab, netns: String, mac: Mac) -> Self {
        let wire = Wire::open(lab, Some(&netns), "eth0");
        let next_xid = AtomicU32::new(u32::from_be_bytes([mac.0[4], mac.0[5], 0, 1]));
        let mine = AtomicU32::new(ANY.into());
        Self { lab, netns, mac, wire, next_xid, mine, client_id: None }
    }

    /// The same machine, which calls itself so in every message.
    pub fn with_client_id(self, id: &[u8]) -> Self {
        Self { client_id: Some(id.to_vec()), ..self }
    }

    fn mine(&self) -> Ipv4Addr {
        self.mine.load(Ordering::Relaxed).into()
    }

    /// From now on it answers ARP for this address.
    fn holds(&self, address: Ipv4Addr) {
        self.mine.store(address.into(), Ordering::Relaxed);
    }

    pub fn lab(&self) -> &'lab Lab {
        self.lab
    }

    pub fn netns(&self) -> &str {
        &self.netns
    }

    pub fn mac(&self) -> Mac {
        self.mac
    }

    pub fn discover(&self, options: &[DhcpOption]) -> Option<Answer> {
        self.ask(&Ask::new(MessageType::Discover).options(options))
    }

    /// The REQUEST that takes an offer.
    pub fn request_selecting(&self, offer: &Answer) -> Option<Answer> {
        self.select(offer.yiaddr(), offer.server())
    }

    /// The same with an address and a server of one's own choice.
    pub fn select(&self, address: Ipv4Addr, server: Ipv4Addr) -> Option<Answer> {
        self.ask(&selecting(address, server))
    }

    pub fn init_reboot(&self, address: Ipv4Addr) -> Option<Answer> {
        self.ask(&Ask::new(MessageType::Request).option(DhcpOption::RequestedIpAddress(address)))
    }

    pub fn renew(&self, address: Ipv4Addr, server: Ipv4Addr) -> Option<Answer> {
        self.ask(&Ask::new(MessageType::Request).ciaddr(address).to(server))
    }

    pub fn rebind(&self, address: Ipv4Addr) -> Option<Answer> {
        self.ask(&Ask::new(MessageType::Request).ciaddr(address))
    }

    pub fn inform(&self, address: Ipv4Addr) -> Option<Answer> {
        self.ask(&Ask::new(MessageType::Inform).ciaddr(address))
    }

    pub fn release(&self, address: Ipv4Addr, server: Ipv4Addr) {
        let ask = Ask::new(MessageType::Release)
            .ciaddr(address)
            .to(server)
            .option(DhcpOption::ServerIdentifier(server));
        self.send(&Ask { want: None, ..ask });
    }

    pub fn decline(&self, address: Ipv4Addr, server: Ipv4Addr) {
        let ask = Ask::new(MessageType::Decline)
            .option(DhcpOption::RequestedIpAddress(address))
            .option(DhcpOption::ServerIdentifier(server));
        self.send(&Ask { want: None, ..ask });
    }

    /// DISCOVER to ACK; panics when it does not come to that. Patient: a server that waits for a busy disk
    /// answers late, and one that is started anew has not heard what was asked before.
    pub fn dora(&self) -> Answer {
        let offer = self.answer(&Ask::new(MessageType::Discover));
        let ack = self.answer(&selecting(offer.yiaddr(), offer.server()));
        assert_eq!(ack.kind(), MessageType::Ack, "{}", ack.reason());
        self.holds(ack.yiaddr());
        ack
    }

    /// Sends it, and again as a client does; the first answer. Panics when there is none.
    pub fn answer(&self, ask: &Ask) -> Answer {
        super::eventually("an answer", PATIENCE, || self.ask_for(ask, PATIENCE / 5))
    }

    /// Sends and waits for the first answer to it; `None` when there is none for [`SILENCE`].
    pub fn ask(&self, ask: &Ask) -> Option<Answer> {
        self.ask_for(ask, SILENCE)
    }

    pub fn ask_for(&self, ask: &Ask, patience: Duration) -> Option<Answer> {
        let xid = self.send(ask);
        self.answer_to(|x| x == xid, Instant::now() + patience)
    }

    /// Every answer to one message until [`SILENCE`] has passed: for more than one server.
    pub fn ask_all(&self, ask: &Ask) -> Vec<Answer> {
        let (xid, deadline) = (self.send(ask), Instant::now() + SILENCE);
        std::iter::from_fn(|| self.answer_to(|x| x == xid, deadline)).collect()
    }

    /// Sends without waiting; gives the transaction's number.
    pub fn send(&self, ask: &Ask) -> u32 {
        let xid = self.next_xid.fetch_add(1, Ordering::Relaxed);
        if ask.ciaddr != ANY {
            self.holds(ask.ciaddr);
        }
        let server_mac = ask.server.map(|server| ask.server_mac.unwrap_or_else(|| self.resolve(server)));
        let datagram = Datagram {
            from_mac: self.mac,
            to_mac: server_mac.unwrap_or(Mac::BROADCAST),
            from: (if server_mac.is_some() { ask.ciaddr } else { ANY }, 68),
            to: (ask.server.unwrap_or(Ipv4Addr::BROADCAST), 67),
            payload: ask.message(xid, self.mac, self.client_id.as_ref()).to_vec().unwrap(),
            checksum_ok: true,
        };
        self.wire.send(&datagram.frame());
        xid
    }

    /// A DISCOVER every `interval` until the first OFFER: how long that took.
    pub fn discover_until_answered(&self, interval: Duration, patience: Duration) -> Duration {
        let (start, first) = (Instant::now(), self.next_xid.load(Ordering::Relaxed));
        let mut next = start;
        while start.elapsed() < patience {
            self.send(&Ask::new(MessageType::Discover));
            next += interval;
            let ours = |xid: u32| xid.wrapping_sub(first) < u32::MAX / 2;
            if self.answer_to(ours, next).is_some() {
                return start.elapsed();
            }
        }
        panic!("no OFFER in {patience:?}");
    }

    /// A DISCOVER every `interval` until one of them is not answered within `patience_each`.
    pub fn discover_until_silent(&self, patience_each: Duration, patience: Duration) -> Duration {
        let start = Instant::now();
        while start.elapsed() < patience {
            let asked = start.elapsed();
            if self.ask_for(&Ask::new(MessageType::Discover), patience_each).is_none() {
                return asked;
            }
        }
        panic!("still answered after {patience:?}");
    }

    /// Whether a DISCOVER meets silence.
    pub fn silent(&self) -> bool {
        self.discover(&[]).is_none()
    }

    fn answer_to(&self, ours: impl Fn(u32) -> bool, deadline: Instant) -> Option<Answer> {
        while let Some(frame) = self.wire.receive(deadline) {
            if let Some(arp) = arp_answer(&frame, self.mac, |ip| ip == self.mine()) {
                self.wire.send(&arp);
            }
            let datagram = Datagram::parse(&frame).filter(|d| d.to.1 == 68);
            let answer = datagram.and_then(|d| Answer::parse(&d));
            if let Some(answer) = answer.filter(|a| ours(a.xid()) && a.client() == self.mac) {
                return Some(answer);
            }
        }
        None
    }

    fn resolve(&self, server: Ipv4Addr) -> Mac {
        self.find(server, PATIENCE).unwrap_or_else(|| panic!("nobody has {server}"))
    }

    /// The MAC address of a server, if one says that it has this address.
    pub fn find(&self, server: Ipv4Addr, patience: Duration) -> Option<Mac> {
        self.wire.send(&arp_question(self.mac, self.mine(), server));
        let deadline = Instant::now() + patience;
        while let Some(frame) = self.wire.receive(deadline) {
            if let Some(mac) = arp_found(&frame, server) {
                return Some(mac);
            }
        }
        None
    }

    /// Forgets what others were told meanwhile, which else would fill the socket.
    pub fn clear(&self) {
        while self.wire.receive(Instant::now()).is_some() {}
    }
}

/// The REQUEST that takes what a server offered.
fn selecting(address: Ipv4Addr, server: Ipv4Addr) -> Ask {
    let ask = Ask::new(MessageType::Request).option(DhcpOption::RequestedIpAddress(address));
    ask.option(DhcpOption::ServerIdentifier(server))
}
