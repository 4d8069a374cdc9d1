//! A DNS question without a process: for loops of hundreds and for timing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Lab, PATIENCE};

/// The record types that tests ask for.
pub mod rtype {
    pub const A: u16 = 1;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
}

/// A UDP socket in a namespace of the lab.
pub struct DnsSocket {
    socket: UdpSocket,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsReply {
    /// 0 NOERROR, 3 NXDOMAIN, 5 REFUSED.
    pub rcode: u8,
    pub answers: Vec<String>,
}

impl DnsReply {
    fn of(rcode: u8, answers: &[&str]) -> Self {
        Self { rcode, answers: answers.iter().map(|a| (*a).to_owned()).collect() }
    }

    pub fn found(answers: &[&str]) -> Self {
        Self::of(0, answers)
    }

    pub fn nxdomain() -> Self {
        Self::of(3, &[])
    }

    pub fn refused() -> Self {
        Self::of(5, &[])
    }
}

impl DnsSocket {
    pub fn new(lab: &Lab, netns: Option<&str>, server: impl Into<IpAddr>) -> Self {
        Self::at(lab, netns, SocketAddr::new(server.into(), 53))
    }

    /// To a server at another port.
    pub fn at(lab: &Lab, netns: Option<&str>, server: SocketAddr) -> Self {
        let any =
            if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = lab.in_netns(netns, || {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect(server).unwrap();
            socket
        });
        Self { socket }
    }

    /// Asks class IN; panics when there is no answer.
    pub fn ask(&self, name: &str, rtype: u16) -> DnsReply {
        self.ask_class(name, rtype, 1, PATIENCE).expect("no DNS answer")
    }

    pub fn ask_class(&self, name: &str, rtype: u16, class: u16, patience: Duration) -> Option<DnsReply> {
        self.send(name, rtype, class);
        self.receive(patience)
    }

    pub fn send(&self, name: &str, rtype: u16, class: u16) {
        self.socket.send(&question(name, rtype, class)).unwrap();
    }

    /// For a server that may not be there: what the network says of it is no answer.
    pub fn try_send(&self, name: &str, rtype: u16) {
        let question = question(name, rtype, 1);
        // The first call may tell of an earlier question's fate.
        let _ = self.socket.send(&question).or_else(|_| self.socket.send(&question));
    }

    pub fn receive(&self, patience: Duration) -> Option<DnsReply> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut reply = [0; 4096];
        let length = self.socket.recv(&mut reply).ok()?;
        Some(parse(&reply[..length]))
    }

    /// PTR of an IPv6 address.
    pub fn reverse6(&self, address: Ipv6Addr) -> DnsReply {
        let bytes = address.octets().into_iter().rev();
        let labels: Vec<_> = bytes.map(|byte| format!("{:x}.{:x}", byte & 15, byte >> 4)).collect();
        self.ask(&format!("{}.ip6.arpa", labels.join(".")), rtype::PTR)
    }

    /// PTR of an address.
    pub fn reverse(&self, address: Ipv4Addr) -> DnsReply {
        let [a, b, c, d] = address.octets();
        self.ask(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), rtype::PTR)
    }
}

fn question(name: &str, rtype: u16, class: u16) -> Vec<u8> {
    let mut packet = vec![0x4b, 0x44, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(rtype.to_be_bytes());
    packet.extend(class.to_be_bytes());
    packet
}

fn parse(reply: &[u8]) -> DnsReply {
    let count = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let mut at = name_at(reply, 12).1 + 4;
    let mut answers = Vec::new();
    for _ in 0..count(6) {
        at = name_at(reply, at).1;
        let (rtype, length) = (count(at), usize::from(count(at + 8)));
        answers.push(data(reply, rtype, at + 10, length));
        at += 10 + length;
    }
    answers.sort();
    DnsReply { rcode: reply[3] & 0x0f, answers }
}

fn data(reply: &[u8], rtype: u16, at: usize, length: usize) -> String {
    let bytes = &reply[at..at + length];
    match rtype {
        rtype::A => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap()).to_string(),
        rtype::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string(),
        rtype::PTR => name_at(reply, at).0,
        rtype::TXT => texts(bytes),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// The texts of a record, each in quotes: [`txt`] of what was declared.
fn texts(mut data: &[u8]) -> String {
    let mut texts = Vec::new();
    while let [length, rest @ ..] = data {
        let (text, next) = rest.split_at(usize::from(*length));
        texts.push(std::str::from_utf8(text).unwrap());
        data = next;
    }
    txt(&texts)
}

/// How a record with these texts is told.
pub fn txt(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" ")
}

/// A name and where what follows it begins.
fn name_at(reply: &[u8], mut at: usize) -> (String, usize) {
    let (mut labels, mut end) = (Vec::new(), None);
    loop {
        match usize::from(reply[at]) {
            0 => return (labels.join("."), end.unwrap_or(at + 1)),
            length if length >= 0xc0 => {
                end = end.or(Some(at + 2));
                at = (length & 0x3f) << 8 | usize::from(reply[at + 1]);
            }
            length => {
                let label = &reply[at + 1..=at + length];
                labels.push(String::from_utf8_lossy(label).into_owned());
                at += 1 + length;
            }
        }
    }
}
