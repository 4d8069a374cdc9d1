//! A guest that speaks IPv6: DHCPv6 whose every message a test can choose, and router solicitations.

use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::wire6::{ALL_DHCP, ALL_ROUTERS};
use super::{Advert, Answer6, Body, Kind6, Lab, Mac, PATIENCE, Packet6, SILENCE, Wire};

/// How long a test listens before it calls a server silent: the first answer to a guest may have to wait
/// half a second for its neighbour entry.
const SILENCE6: Duration = SILENCE.saturating_mul(2);

const CLIENT: u16 = 546;
const SERVER: u16 = 547;
const ROUTER_SOLICITATION: u8 = 133;

/// A client on a segment. The kernel's own IPv6 is off on its device: nobody else speaks for it.
pub struct Guest6<'lab> {
    lab: &'lab Lab,
    netns: String,
    mac: Mac,
    wire: Wire,
    next_xid: AtomicU32,
    duid: Vec<u8>,
    iaid: u32,
    link_local: Ipv6Addr,
    mute: bool,
}

/// A message to send: what a test wants other than the usual.
#[derive(Clone)]
pub struct Ask6 {
    pub kind: Kind6,
    /// Identity associations with the addresses in them; `None`: the guest's own without any.
    pub ias: Option<Vec<(u32, Vec<Ipv6Addr>)>>,
    /// The server it is for, by DUID.
    pub server: Option<Vec<u8>>,
    /// The option request list; empty leaves it out.
    pub want: Vec<u16>,
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Ask6 {
    pub fn new(kind: Kind6) -> Self {
        Self { kind, ias: None, server: None, want: vec![23, 24], options: Vec::new() }
    }

    /// An identity association, with addresses.
    pub fn ia(mut self, iaid: u32, addresses: &[Ipv6Addr]) -> Self {
        self.ias.get_or_insert_default().push((iaid, addresses.to_vec()));
        self
    }

    pub fn to(mut self, server: &[u8]) -> Self {
        self.server = Some(server.to_vec());
        self
    }

    pub fn want(mut self, codes: &[u16]) -> Self {
        self.want = codes.to_vec();
        self
    }

    pub fn option(mut self, code: u16, bytes: &[u8]) -> Self {
        self.options.push((code, bytes.to_vec()));
        self
    }

    /// RFC 8415, 21.15.
    pub fn user_class(self, class: &str) -> Self {
        self.option(15, &counted(class))
    }

    /// RFC 8415, 21.16.
    pub fn vendor_class(self, enterprise: u32, class: &str) -> Self {
        self.option(16, &[&enterprise.to_be_bytes()[..], &counted(class)].concat())
    }

    fn bytes(&self, xid: u32, duid: &[u8], iaid: u32) -> Vec<u8> {
        let [_, a, b, c] = xid.to_be_bytes();
        let mut bytes = vec![self.kind.into(), a, b, c];
        push(&mut bytes, 1, duid);
        if let Some(server) = &self.server {
            push(&mut bytes, 2, server);
        }
        let own = [(iaid, Vec::new())];
        let none = self.kind == Kind6::InformationRequest;
        for (iaid, addresses) in self.ias.as_deref().unwrap_or(if none { &[] } else { &own }) {
            push(&mut bytes, 3, &association(*iaid, addresses));
        }
        push(&mut bytes, 8, &[0, 0]);
        if !self.want.is_empty() {
            push(&mut bytes, 6, &self.want.iter().flat_map(|code| code.to_be_bytes()).collect::<Vec<_>>());
        }
        self.options.iter().for_each(|(code, value)| push(&mut bytes, *code, value));
        bytes
    }
}

fn push(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    bytes.extend(code.to_be_bytes());
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value);
}

/// `IA_NA`: the client leaves all times to the server.
fn association(iaid: u32, addresses: &[Ipv6Addr]) -> Vec<u8> {
    let mut bytes = [&iaid.to_be_bytes()[..], &[0; 8]].concat();
    for address in addresses {
        push(&mut bytes, 5, &[&address.octets()[..], &[0; 8]].concat());
    }
    bytes
}

fn counted(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

impl<'lab> Guest6<'lab> {
    pub(super) fn new(lab: &'lab Lab, netns: String, mac: Mac) -> Self {
        lab.set_ipv6(&netns, "eth0", "disable_ipv6", "1");
        let wire = Wire::open(lab, Some(&netns), "eth0");
        let next_xid = AtomicU32::new(u32::from_be_bytes([0, mac.0[5], 0, 1]));
        // DUID-LL of Ethernet.
        let duid = [&[0, 3, 0, 1], &mac.0[..]].concat();
        Self { lab, netns, mac, wire, next_xid, duid, iaid: 1, link_local: mac.link_local(), mute: false }
    }

    /// The same machine with another identity, as after a new installation.
    pub fn with_duid(self, duid: &[u8]) -> Self {
        Self { duid: duid.to_vec(), ..self }
    }

    pub fn with_iaid(self, iaid: u32) -> Self {
        Self { iaid, ..self }
    }

    /// With a link-local address that does not come from its MAC.
    pub fn with_link_local(self, link_local: Ipv6Addr) -> Self {
        Self { link_local, ..self }
    }

    /// From now on it answers no neighbour solicitation.
    pub fn muted(self) -> Self {
        Self { mute: true, ..self }
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

    pub fn duid(&self) -> &[u8] {
        &self.duid
    }

    pub fn iaid(&self) -> u32 {
        self.iaid
    }

    pub fn link_local(&self) -> Ipv6Addr {
        self.link_local
    }

    pub fn solicit(&self) -> Option<Answer6> {
        self.ask(&Ask6::new(Kind6::Solicit))
    }

    /// The REQUEST that takes what was advertised.
    pub fn request(&self, advertise: &Answer6) -> Option<Answer6> {
        self.ask(&taking(advertise))
    }

    pub fn renew(&self, address: Ipv6Addr, server: &[u8]) -> Option<Answer6> {
        self.ask(&self.about(Kind6::Renew, address).to(server))
    }

    pub fn rebind(&self, address: Ipv6Addr) -> Option<Answer6> {
        self.ask(&self.about(Kind6::Rebind, address))
    }

    pub fn confirm(&self, address: Ipv6Addr) -> Option<Answer6> {
        self.ask(&self.about(Kind6::Confirm, address))
    }

    pub fn release(&self, address: Ipv6Addr, server: &[u8]) -> Option<Answer6> {
        self.ask(&self.about(Kind6::Release, address).to(server))
    }

    pub fn decline(&self, address: Ipv6Addr, server: &[u8]) -> Option<Answer6> {
        self.ask(&self.about(Kind6::Decline, address).to(server))
    }

    pub fn information_request(&self) -> Option<Answer6> {
        self.ask(&Ask6::new(Kind6::InformationRequest))
    }

    /// SOLICIT to REPLY; panics when it does not come to an address. Asks again as every client does: a
    /// server that finds no neighbour entry takes no notice.
    pub fn sarr(&self) -> Answer6 {
        let advertise = self.answer(&Ask6::new(Kind6::Solicit));
        let reply = self.answer(&taking(&advertise));
        assert!(!reply.addresses().is_empty(), "{reply:?}");
        reply
    }

    /// A message of the guest about one address.
    pub fn about(&self, kind: Kind6, address: Ipv6Addr) -> Ask6 {
        Ask6::new(kind).ia(self.iaid, &[address])
    }

    /// Sends it, and again as a client does; the first answer. Panics when there is none.
    pub fn answer(&self, ask: &Ask6) -> Answer6 {
        super::eventually("an answer", PATIENCE, || self.ask_for(ask, PATIENCE / 5))
    }

    /// Sends and waits for the first answer to it; `None` when there is none for [`SILENCE6`].
    pub fn ask(&self, ask: &Ask6) -> Option<Answer6> {
        self.ask_for(ask, SILENCE6)
    }

    pub fn ask_for(&self, ask: &Ask6, patience: Duration) -> Option<Answer6> {
        let xid = self.send(ask);
        self.answer_to(xid, Instant::now() + patience)
    }

    /// Every answer to one message until [`SILENCE6`] has passed: for more than one server.
    pub fn ask_all(&self, ask: &Ask6) -> Vec<Answer6> {
        let (xid, deadline) = (self.send(ask), Instant::now() + SILENCE6);
        std::iter::from_fn(|| self.answer_to(xid, deadline)).collect()
    }

    /// Sends without waiting; gives the transaction's number.
    pub fn send(&self, ask: &Ask6) -> u32 {
        let xid = self.next_xid.fetch_add(1, Ordering::Relaxed);
        let payload = ask.bytes(xid, &self.duid, self.iaid);
        self.to_group(ALL_DHCP, Body::Udp { from: CLIENT, to: SERVER, payload });
        xid
    }

    fn to_group(&self, group: Ipv6Addr, body: Body) {
        self.wire.send(&Packet6::to_group(self.mac, self.link_local, group, body).frame());
    }

    /// Whether a SOLICIT meets silence.
    pub fn silent(&self) -> bool {
        self.solicit().is_none()
    }

    /// Asks for routers; the first advertisement, also one that had been under way.
    pub fn router_solicit(&self) -> Option<Advert> {
        self.send_router_solicitation();
        self.advert_within(PATIENCE)
    }

    pub fn send_router_solicitation(&self) {
        let rest = [&[0, 0, 0, 0, 1, 1], &self.mac.0[..]].concat();
        self.to_group(ALL_ROUTERS, Body::Icmp { kind: ROUTER_SOLICITATION, rest });
    }

    /// The next router advertisement, if one comes in time.
    pub fn advert_within(&self, patience: Duration) -> Option<Advert> {
        self.receive(Instant::now() + patience, Advert::parse)
    }

    /// The adverts that were seen and not yet asked for.
    pub fn adverts(&self) -> Vec<Advert> {
        std::iter::from_fn(|| self.advert_within(Duration::ZERO)).collect()
    }

    fn answer_to(&self, xid: u32, deadline: Instant) -> Option<Answer6> {
        self.receive(deadline, |packet| {
            let Body::Udp { to: CLIENT, .. } = packet.body else { return None };
            let answer = Answer6::parse(packet).filter(|_| packet.to_mac == self.mac)?;
            (answer.xid() == xid && answer.client() == Some(&self.duid)).then_some(answer)
        })
    }

    /// The next packet that `wanted` takes. Whoever asks for the guest's address meanwhile is told.
    fn receive<T>(&self, deadline: Instant, wanted: impl Fn(&Packet6) -> Option<T>) -> Option<T> {
        while let Some(frame) = self.wire.receive(deadline) {
            let Some(packet) = Packet6::parse(&frame) else { continue };
            if let Some(found) = wanted(&packet) {
                return Some(found);
            }
            let mine = |address| !self.mute && address == self.link_local;
            if let Some(answer) = packet.neighbour_answer(self.mac, mine) {
                self.wire.send(&answer.frame());
            }
        }
        None
    }

    /// Forgets what others were told meanwhile, which else would fill the socket.
    pub fn clear(&self) {
        while self.wire.receive(Instant::now()).is_some() {}
    }
}

/// The REQUEST that takes what a server advertised.
fn taking(advertise: &Answer6) -> Ask6 {
    let ask = Ask6::new(Kind6::Request).to(&advertise.server());
    advertise.given().iter().fold(ask, |ask, given| {
        let addresses: Vec<_> = given.addresses.iter().map(|a| a.address).collect();
        ask.ia(given.iaid, &addresses)
    })
}
