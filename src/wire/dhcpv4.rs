//! Messages of DHCPv4 (RFC 2131 §2, RFC 2132).
//!
//! Pure.

use std::net::Ipv4Addr;

use crate::types::MacAddr;

/// UDP port of clients.
pub const CLIENT_PORT: u16 = 68;
/// UDP port of servers.
pub const SERVER_PORT: u16 = 67;

/// `op` of what a server sends.
pub const BOOTREPLY: u8 = 2;
const BOOTREQUEST: u8 = 1;

/// Code of the option with the message's type.
pub const MESSAGE_TYPE: u8 = 53;
/// Code of the option with the server's address.
pub const SERVER_IDENTIFIER: u8 = 54;
/// Code of the option with what a client calls itself.
pub const CLIENT_IDENTIFIER: u8 = 61;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Of a message, before the cookie.
const FIXED: usize = 236;
/// The least that some servers take for a whole message.
const LEAST: usize = 300;

/// What a client of this MAC address and the address `ciaddr` sends.
pub fn request(mac: MacAddr, ciaddr: Ipv4Addr, xid: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
    const ETHERNET: u8 = 1;
    let mut message = vec![0; FIXED];
    message[..3].copy_from_slice(&[BOOTREQUEST, ETHERNET, 6]);
    message[4..8].copy_from_slice(&xid);
    message[12..16].copy_from_slice(&ciaddr.octets());
    message[28..34].copy_from_slice(&mac.octets());
    message.extend(COOKIE);
    for (code, value) in options {
        let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
        message.extend([*code, length]);
        message.extend(&value[..length.into()]);
    }
    message.push(255);
    message.resize(LEAST.max(message.len()), 0);
    message
}

/// The options of a message; `None`: it is none of DHCP.
pub fn options(message: &[u8]) -> Option<Options<'_>> {
    let (cookie, options) = message.get(FIXED..)?.split_first_chunk()?;
    (*cookie == COOKIE).then_some(Options(options))
}

/// Codes and values, until the end or the first that is cut off.
#[derive(Debug, Clone)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The value of the first option of this code.
    pub fn value_of(mut self, code: u8) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == code).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const PAD: u8 = 0;
        const END: u8 = 255;
        loop {
            let (code, rest) = self.0.split_first()?;
            match *code {
                PAD => self.0 = rest,
                END => return None,
                code => {
                    let (length, rest) = rest.split_first()?;
                    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                    self.0 = rest;
                    return Some((code, value));
                }
            }
        }
    }
}
