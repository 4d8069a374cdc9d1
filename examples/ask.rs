//! A guest that asks for an address again and again: how long after a manifest appears is it answered?
//!
//! `ask MAC FILE MANIFEST`: renames FILE to MANIFEST while DHCPDISCOVERs go out through `eth0`, and
//! prints the time until the DHCPOFFER. Used by `make demo`, in a guest's network namespace.

use std::io::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const DEVICE: &[u8] = b"eth0";
const BETWEEN: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(10);
const COOKIE: [u8; 4] = [99, 130, 83, 99];

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mac, file, manifest] = &arguments[..] else {
        return Err(Error::other("usage: ask MAC FILE MANIFEST"));
    };
    let mac: Vec<u8> = mac.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let socket = socket()?;
    if ask(&socket, &mac, Duration::from_millis(300))?.is_some() {
        return Err(Error::other("it is answered already"));
    }
    println!("before: silence");
    std::fs::rename(file, manifest)?;
    let written = Instant::now();
    let address = ask(&socket, &mac, PATIENCE)?.ok_or_else(|| Error::other("no answer"))?;
    println!(
        "offered {address} {:.1} ms after the manifest was there",
        written.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

fn socket() -> Result<std::net::UdpSocket, Error> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    // Without an address of its own the guest needs to be told the way.
    socket.bind_device(Some(DEVICE))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
    socket.set_read_timeout(Some(BETWEEN))?;
    Ok(socket.into())
}

/// Sends until an offer comes.
fn ask(socket: &std::net::UdpSocket, mac: &[u8], patience: Duration) -> Result<Option<Ipv4Addr>, Error> {
    let began = Instant::now();
    let mut answer = [0; 1500];
    while began.elapsed() < patience {
        socket.send_to(&discover(mac), (Ipv4Addr::BROADCAST, 67))?;
        if let Ok(length) = socket.recv(&mut answer)
            && length > 240
            && answer[28..34] == *mac
        {
            return Ok(Some(Ipv4Addr::new(answer[16], answer[17], answer[18], answer[19])));
        }
    }
    Ok(None)
}

/// RFC 2131 §2, with the broadcast flag: the answer finds a guest that has no address.
fn discover(mac: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(b"demo");
    message[10] = 0x80;
    message[28..28 + mac.len()].copy_from_slice(mac);
    message.extend(COOKIE);
    message.extend([53, 1, 1, 255]);
    message
}
