//! Giving a lease back in its holder's place.
//!
//! Called by `dnsmasq`, from inside the namespace. There is no answer that tells: the lease file does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use super::Error;
use super::netns::Netns;
use crate::dnsmasq::{self, Lease, Record, Share};
use crate::types::{Identifier, MacAddr, NetworkUid};
use crate::wire::{dhcpv4, dhcpv6};

/// How often, and after which time, a port is tried that is not free.
const TRIES: u32 = 100;
const AGAIN: Duration = Duration::from_millis(10);

/// Tells the `server` of network `uid`, or there the one of a share, that a lease is given back. From `server` itself: whose
/// address dnsmasq has no neighbour entry for, it waits for.
pub(super) async fn release(
    netns: &Netns,
    (uid, share): (NetworkUid, Option<Share>),
    server: IpAddr,
    record: &Record,
) -> Result<(), Error> {
    let (from, to, message) = match (&record.lease, server, record.ip) {
        (Lease::V4 { mac, client_id }, IpAddr::V4(own), IpAddr::V4(ip)) => {
            let port = share.map_or(dhcpv4::SERVER_PORT, Share::dhcp_port);
            (0, port, v4_message(*mac, ip, own, client_id.as_ref()))
        }
        (Lease::V6 { duid, iaid, .. }, IpAddr::V6(_), IpAddr::V6(ip)) => {
            let message = v6_message(&octets(duid), *iaid, ip, &dnsmasq::server_duid(uid));
            (dhcpv6::CLIENT_PORT, dhcpv6::SERVER_PORT, message)
        }
        _ => return Err(Error::NoAddress),
    };
    let send = move || -> io::Result<()> {
        let socket = bind(SocketAddr::new(server, from))?;
        socket.send_to(&message, SocketAddr::new(server, to)).map(drop)
    };
    netns.run(send).await?.map_err(|e| Error::Open("a line to dnsmasq", e))
}

/// Whoever asks the server whether it answers has the port of DHCPv6 for as long as that takes.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    for _ in 0..TRIES {
        match UdpSocket::bind(address) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => sleep(AGAIN),
            bound => return bound,
        }
    }
    UdpSocket::bind(address)
}

/// RFC 2131 §4.4.6. Without a client identifier dnsmasq goes by the MAC address, and finds one lease of it.
fn v4_message(mac: MacAddr, ip: Ipv4Addr, server: Ipv4Addr, client_id: Option<&Identifier>) -> Vec<u8> {
    const RELEASE: u8 = 7;
    let server = server.octets();
    let mut options = vec![(dhcpv4::MESSAGE_TYPE, &[RELEASE][..]), (dhcpv4::SERVER_IDENTIFIER, &server)];
    options.extend(client_id.map(|id| (dhcpv4::CLIENT_IDENTIFIER, id.octets())));
    dhcpv4::request(mac, ip, [0; 4], &options)
}

/// RFC 8415 §18.2.7: the identity association with the address, both identifiers.
fn v6_message(duid: &[u8], iaid: u32, ip: Ipv6Addr, server: &[u8]) -> Vec<u8> {
    use dhcpv6::{CLIENT_IDENTIFIER, ELAPSED_TIME, IA_NA, IAADDR, SERVER_IDENTIFIER, option};
    const RELEASE: u8 = 8;
    let times = [0; 8];
    let address = option(IAADDR, &[&ip.octets()[..], &times].concat());
    let association = [&iaid.to_be_bytes()[..], &times, &address].concat();
    [
        vec![RELEASE, 0, 0, 0],
        option(CLIENT_IDENTIFIER, duid),
        option(SERVER_IDENTIFIER, server),
        option(IA_NA, &association),
        option(ELAPSED_TIME, &[0, 0]),
    ]
    .concat()
}

/// Of hex with colons.
fn octets(text: &str) -> Vec<u8> {
    text.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
    use dhcproto::{Decodable, Decoder, v6};

    #[test]
    fn the_release_is_as_the_holder_would_send_it() {
        let (mac, ip) = (MacAddr::local([1, 2, 3, 4, 5]), Ipv4Addr::new(10, 0, 0, 5));
        let server = Ipv4Addr::new(10, 0, 0, 2);
        let bytes = v4_message(mac, ip, server, None);
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
        let bytes = v4_message(mac, ip, server, Identifier::new(&[1, 2]).as_ref());
        let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        let client = Some(&DhcpOption::ClientIdentifier(vec![1, 2]));
        assert_eq!(message.opts().get(OptionCode::ClientIdentifier), client);
    }

    #[test]
    fn the_longest_client_identifier_is_sent_whole() {
        let (mac, ip) = (MacAddr::local([1; 5]), Ipv4Addr::new(10, 0, 0, 5));
        let client: Vec<u8> = (0..=254).collect();
        let bytes = v4_message(mac, ip, ip, Identifier::new(&client).as_ref());
        let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        let found = message.opts().get(OptionCode::ClientIdentifier);
        assert_eq!(found, Some(&DhcpOption::ClientIdentifier(client)));
    }

    #[test]
    fn that_of_dhcpv6_too() {
        let (ip, server) = ("2001:db8::5".parse().unwrap(), [0, 2, 0, 0, 0, 0, 7]);
        let bytes = v6_message(&octets("00:03:00:01:02:00:00:00:00:01"), 9, ip, &server);
        let message = v6::Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!(message.msg_type(), v6::MessageType::Release);
        let options = message.opts();
        let client = vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
        assert_eq!(options.get(v6::OptionCode::ClientId), Some(&v6::DhcpOption::ClientId(client)));
        assert_eq!(options.get(v6::OptionCode::ServerId), Some(&v6::DhcpOption::ServerId(server.to_vec())));
        let Some(v6::DhcpOption::IANA(association)) = options.get(v6::OptionCode::IANA) else { panic!() };
        let Some(v6::DhcpOption::IAAddr(address)) = association.opts.get(v6::OptionCode::IAAddr) else {
            panic!()
        };
        assert_eq!((association.id, address.addr), (9, ip));
    }
}
