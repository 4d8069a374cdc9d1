//! Datagrams to a dnsmasq from inside its namespace: a question that only tells that it is awake, and
//! the release of a lease.
//!
//! dnsmasq looks at its watched directories before it answers a query. So an answer means that every
//! change made before the question has been read.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use super::netns::{self, Netns};
use super::process::Process;
use super::{Error, link, route};
use crate::node::INNER_DEVICE;
use crate::types::MacAddr;

/// A thousand leased hosts make it deaf for 30 ms, ten thousand for 4 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// A datagram may be lost where many guests ask at once.
const AGAIN: Duration = Duration::from_millis(500);
/// While it opens its sockets.
const REFUSED: Duration = Duration::from_millis(5);

const DNS_PORT: u16 = 53;
const DHCP_SERVER_PORT: u16 = 67;

/// A query but for its number: for an IPv4 address of a name without a dot, which is never forwarded: `--local=//`.
const QUESTION: [u8; 26] = *b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akube-dhcp-\0\0\x01\0\x01";

/// A socket in the namespace, and the addresses of the server there.
pub(super) struct Line {
    socket: UdpSocket,
    /// The question's number: an answer to an earlier one tells nothing.
    number: AtomicU16,
    addresses: BTreeSet<Ipv4Net>,
}

impl Line {
    /// One thread for the socket and the connection to the kernel; both keep the namespace.
    pub(super) async fn open(netns: &Netns) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::current();
        let open = move || -> io::Result<_> {
            let handle = netns::connect(&runtime)?;
            let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_nonblocking(true)?;
            let _entered = runtime.enter();
            Ok((handle, UdpSocket::from_std(socket)?))
        };
        let opened = netns.run(open).await?;
        let (handle, socket) = opened.map_err(|e| Error::Open("a socket in the namespace", e))?;
        let device = link::get(&handle, INNER_DEVICE).await?;
        let device = device.ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?;
        let number = AtomicU16::new(0);
        Ok(Self { socket, number, addresses: route::addresses(&handle, device.index).await? })
    }

    /// Returns when dnsmasq has read all that was written before.
    pub(super) async fn barrier(&self, process: &Process) -> Result<(), Error> {
        let server = self.addresses.first().ok_or(Error::NoAddress)?.addr();
        let connected = self.socket.connect(SocketAddrV4::new(server, DNS_PORT)).await;
        connected.map_err(|e| Error::Open("a line to dnsmasq", e))?;
        tokio::select! {
            answered = timeout(PATIENCE, self.ask()) => {
                answered.map_err(|_| Error::Deaf(PATIENCE.as_secs()))
            }
            () = process.exited() => Err(Error::NotRunning),
        }
    }

    /// Asks until there is an answer.
    async fn ask(&self) {
        let number = self.number.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let question = [number.as_slice(), &QUESTION].concat();
        loop {
            let sent = Instant::now();
            // An error here is that of the question before: the port was closed.
            let _ = self.socket.send(&question).await;
            match timeout(AGAIN, self.answer(number)).await {
                Ok(Ok(())) => return,
                Ok(Err(_)) => sleep(REFUSED.saturating_sub(sent.elapsed())).await,
                Err(_) => {}
            }
        }
    }

    async fn answer(&self, number: [u8; 2]) -> io::Result<()> {
        let mut packet = [0; 512];
        loop {
            let length = self.socket.recv(&mut packet).await?;
            if packet[..length].starts_with(&number) {
                return Ok(());
            }
        }
    }

    /// Gives a lease back as its holder would. There is no answer to it.
    pub(super) async fn release(&self, mac: MacAddr, ip: Ipv4Addr) -> Result<(), Error> {
        let net = self.addresses.iter().find(|net| net.contains(&ip)).or(self.addresses.first());
        let server = net.ok_or(Error::NoAddress)?.addr();
        let message = release_message(mac, ip, server);
        let connected = self.socket.connect(SocketAddrV4::new(server, DHCP_SERVER_PORT)).await;
        let sent = match connected {
            Ok(()) => self.socket.send(&message).await,
            Err(e) => Err(e),
        };
        sent.map(drop).map_err(|e| Error::Open("a line to dnsmasq", e))
    }
}

/// RFC 2131 §4.4.6, with no client identifier: dnsmasq then goes by the MAC.
fn release_message(mac: MacAddr, ip: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
    const BOOTREQUEST: u8 = 1;
    const ETHERNET: u8 = 1;
    const FIXED_LENGTH: usize = 236;
    let mut message = vec![0; FIXED_LENGTH];
    message[..3].copy_from_slice(&[BOOTREQUEST, ETHERNET, 6]);
    message[12..16].copy_from_slice(&ip.octets());
    message[28..34].copy_from_slice(&mac.octets());
    // The magic cookie, then options: message type 7, server identifier, end.
    message.extend([99, 130, 83, 99, 53, 1, 7, 54, 4]);
    message.extend(server.octets());
    message.push(255);
    // The least that some servers take for a whole message.
    message.resize(300, 0);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
    use dhcproto::{Decodable, Decoder};

    #[test]
    fn the_release_is_as_the_holder_would_send_it() {
        let (mac, ip) = (MacAddr::local([1, 2, 3, 4, 5]), Ipv4Addr::new(10, 0, 0, 5));
        let server = Ipv4Addr::new(10, 0, 0, 2);
        let bytes = release_message(mac, ip, server);
        let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!(message.ciaddr(), ip);
        assert_eq!(message.chaddr(), mac.octets());
        let options = message.opts();
        assert_eq!(
            options.get(OptionCode::MessageType),
            Some(&DhcpOption::MessageType(MessageType::Release))
        );
        assert_eq!(options.get(OptionCode::ServerIdentifier), Some(&DhcpOption::ServerIdentifier(server)));
        assert_eq!(options.get(OptionCode::ClientIdentifier), None);
    }

    #[test]
    fn the_question_is_one_query_for_a_name_without_a_dot() {
        let label = usize::from(QUESTION[10]);
        assert_eq!(&QUESTION[11..11 + label], b"kube-dhcp-");
        assert_eq!(QUESTION.len(), 10 + 1 + label + 1 + 4);
    }
}
