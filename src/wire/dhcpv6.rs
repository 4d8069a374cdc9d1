//! Messages of DHCPv6 between clients and servers (RFC 8415 §8, §21).
//!
//! Pure.

use std::net::Ipv6Addr;

/// UDP port of clients.
pub const CLIENT_PORT: u16 = 546;
/// UDP port of servers.
pub const SERVER_PORT: u16 = 547;
/// `All_DHCP_Relay_Agents_and_Servers`.
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// `OPTION_CLIENTID`.
pub const CLIENT_IDENTIFIER: u16 = 1;
/// `OPTION_SERVERID`.
pub const SERVER_IDENTIFIER: u16 = 2;
/// `OPTION_IA_NA`.
pub const IA_NA: u16 = 3;
/// `OPTION_IAADDR`.
pub const IAADDR: u16 = 5;
/// `OPTION_ELAPSED_TIME`.
pub const ELAPSED_TIME: u16 = 8;

/// An option as it stands in a message; of a value that is too long what fits.
pub fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    [&code.to_be_bytes()[..], &length.to_be_bytes(), &value[..length.into()]].concat()
}

/// A message's type with the number of its transaction, and its options; `None`: it is none.
pub fn parse(message: &[u8]) -> Option<([u8; 4], Options<'_>)> {
    let (head, options) = message.split_first_chunk()?;
    Some((*head, Options(options)))
}

/// Codes and values, until the first that is cut off.
#[derive(Debug, Clone)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The value of the first option of this code.
    pub fn value_of(mut self, code: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == code).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[a, b, c, d], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes([c, d]).into())?;
        self.0 = rest;
        Some((u16::from_be_bytes([a, b]), value))
    }
}
