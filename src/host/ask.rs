//! A question to a dnsmasq from inside its namespace that only tells that it is awake.
//!
//! dnsmasq looks at its watched directories before it answers a query. So an answer means that every
//! change made before the question has been read.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use super::netns::{self, Netns};
use super::process::Process;
use super::{Error, link, machine, route};
use crate::dnsmasq::Share;
use crate::node::INNER_DEVICE;

/// A thousand leased hosts make it deaf for 30 ms, ten thousand for 4 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// A datagram may be lost where many guests ask at once.
const AGAIN: Duration = Duration::from_millis(500);
/// While it opens its sockets.
const REFUSED: Duration = Duration::from_millis(5);

const DNS_PORT: u16 = 53;

/// A query but for its number: for an IPv4 address of a name without a dot, which is never forwarded: `--local=//`.
const QUESTION: [u8; 26] = *b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akube-dhcp-\0\0\x01\0\x01";

/// Sockets in the namespace, and the addresses of the server there.
pub(super) struct Line {
    four: UdpSocket,
    /// Where the kernel has IPv6.
    six: Option<UdpSocket>,
    /// The question's number: an answer to an earlier one tells nothing.
    number: AtomicU16,
    addresses: BTreeSet<IpNet>,
}

impl Line {
    /// One thread for the sockets and the connection to the kernel; all keep the namespace.
    pub(super) async fn open(netns: &Netns) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::current();
        let open = move || -> io::Result<_> {
            let handle = netns::connect(&runtime)?;
            let _entered = runtime.enter();
            let six = machine::has_ipv6().then(|| bind(Ipv6Addr::UNSPECIFIED.into())).transpose()?;
            Ok((handle, bind(Ipv4Addr::UNSPECIFIED.into())?, six))
        };
        let opened = netns.run(open).await?;
        let (handle, four, six) = opened.map_err(|e| Error::Open("a socket in the namespace", e))?;
        let device = link::get(&handle, INNER_DEVICE).await?;
        let device = device.ok_or_else(|| Error::NoLink(INNER_DEVICE.into()))?;
        let number = AtomicU16::new(0);
        Ok(Self { four, six, number, addresses: route::addresses(&handle, device.index).await? })
    }

    /// Returns when dnsmasq has read all that was written before.
    pub(super) async fn barrier(&self, process: &Process) -> Result<(), Error> {
        let server = self.addresses.first().ok_or(Error::NoAddress)?.addr();
        let socket = if server.is_ipv4() { Some(&self.four) } else { self.six.as_ref() };
        let socket = socket.ok_or(Error::NoAddress)?;
        let connected =
            socket.connect(SocketAddr::new(server, process.share.map_or(DNS_PORT, Share::dns_port))).await;
        connected.map_err(|e| Error::Open("a line to dnsmasq", e))?;
        tokio::select! {
            answered = timeout(PATIENCE, self.ask(socket)) => {
                answered.map_err(|_| Error::Deaf(PATIENCE.as_secs()))
            }
            () = process.exited() => Err(Error::NotRunning),
        }
    }

    /// Asks until there is an answer.
    async fn ask(&self, socket: &UdpSocket) {
        let number = self.number.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let question = [number.as_slice(), &QUESTION].concat();
        loop {
            let sent = Instant::now();
            // An error here is that of the question before: the port was closed.
            let _ = socket.send(&question).await;
            match timeout(AGAIN, answer(socket, number)).await {
                Ok(Ok(())) => return,
                Ok(Err(_)) => sleep(REFUSED.saturating_sub(sent.elapsed())).await,
                Err(_) => {}
            }
        }
    }

    /// The server's address for a message about `ip`.
    pub(super) fn server(&self, ip: IpAddr) -> Result<IpAddr, Error> {
        let alike = || self.addresses.iter().filter(|net| net.addr().is_ipv4() == ip.is_ipv4());
        let net = alike().find(|net| net.contains(&ip)).or(alike().next());
        Ok(net.ok_or(Error::NoAddress)?.addr())
    }
}

fn bind(ip: IpAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((ip, 0))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

async fn answer(socket: &UdpSocket, number: [u8; 2]) -> io::Result<()> {
    let mut packet = [0; 512];
    loop {
        let length = socket.recv(&mut packet).await?;
        if packet[..length].starts_with(&number) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_one_query_for_a_name_without_a_dot() {
        let label = usize::from(QUESTION[10]);
        assert_eq!(&QUESTION[11..11 + label], b"kube-dhcp-");
        assert_eq!(QUESTION.len(), 10 + 1 + label + 1 + 4);
    }
}
