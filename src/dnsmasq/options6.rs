//! A DHCPv6 option's bytes in the words that make dnsmasq send just these bytes.
//!
//! Called by `options`, and as that: one form for each code (dnsmasq's `opttab6`).

use std::net::Ipv6Addr;

use super::options::{OptionError, names, seconds, text};
use crate::dhcp_options::ntp_server;
use crate::service::Code;
use crate::types::Hex;

/// The value for a line of the options' file; no bytes: the option is not sent.
pub(super) fn render(number: u16, bytes: &[u8]) -> Result<String, OptionError> {
    let code = Code::V6(number);
    match (number, bytes.len()) {
        (0..=16 | 18..=20 | 25 | 26 | 39, _) => Err(OptionError::Reserved(code)),
        (23, 0) => Ok(String::new()),
        (_, 0) => Err(OptionError::Empty(code)),
        (22 | 23 | 27 | 28 | 31, _) => addresses(code, bytes),
        (21 | 24 | 29 | 30, _) => names(bytes).ok_or(OptionError::NotText(code)),
        (32, _) => seconds(code, bytes),
        (41 | 42 | 59, _) => text(code, bytes),
        (56, _) => ntp_servers(code, bytes),
        (60, _) => parameters(code, bytes),
        (_, 1) => Ok(format!("{}b", bytes[0])),
        _ => Ok(Hex(bytes).to_string()),
    }
}

fn addresses(code: Code, bytes: &[u8]) -> Result<String, OptionError> {
    let (all, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(OptionError::NotAddresses(code));
    }
    list(code, all.iter().map(|octets| Ipv6Addr::from(*octets)))
}

/// Suboptions for addresses (RFC 5908 §4.1, §4.2), as dnsmasq makes them.
fn ntp_servers(code: Code, bytes: &[u8]) -> Result<String, OptionError> {
    let (all, rest) = bytes.as_chunks::<20>();
    let address = |suboption: &[u8; 20]| {
        let (_, octets) = suboption.split_last_chunk::<16>()?;
        let ip = Ipv6Addr::from(*octets);
        (ntp_server(ip) == *suboption).then_some(ip)
    };
    let ips: Option<Vec<_>> = all.iter().map(address).collect();
    let ips = ips.filter(|_| rest.is_empty()).ok_or(OptionError::NotAddresses(code))?;
    list(code, ips.into_iter())
}

/// Addresses that dnsmasq sends its own for: any, that of its own prefix (or none), its link-local one.
const OWN: [Ipv6Addr; 3] = [
    Ipv6Addr::UNSPECIFIED,
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
];

fn list(code: Code, mut ips: impl Iterator<Item = Ipv6Addr> + Clone) -> Result<String, OptionError> {
    if ips.clone().any(|ip| OWN.contains(&ip)) {
        return Err(OptionError::OwnAddress(code));
    }
    Ok(ips.by_ref().map(|ip| format!("[{ip}]")).collect::<Vec<_>>().join(","))
}

/// Each with its length (RFC 5970 §3.2), without the comma that would make two of it.
fn parameters(code: Code, mut bytes: &[u8]) -> Result<String, OptionError> {
    let mut all = Vec::new();
    while let [high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(OptionError::NotText(code))?;
        // It would be taken for the end of the list.
        if value.is_empty() {
            return Err(OptionError::Empty(code));
        }
        all.push(text(code, value)?);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(all.join(",")) } else { Err(OptionError::NotText(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_sent_as_something_else_is_refused() {
        let suboption = |code: u8, ip: &str| {
            let ip: Ipv6Addr = ip.parse().unwrap();
            [&[0, code, 0, 16], &ip.octets()[..]].concat()
        };
        assert_eq!(render(56, &suboption(1, "2001:db8::1")).unwrap(), "[2001:db8::1]");
        assert_eq!(render(56, &suboption(2, "ff05::101")).unwrap(), "[ff05::101]");
        assert_eq!(render(60, b"\0\x01a\0\x02,b").unwrap(), "\"a\",\",b\"");
        assert_eq!(render(24, b"\x0310b\0").unwrap(), "10b.");
        for (code, bytes, error) in [
            (56, suboption(1, "ff05::101"), OptionError::NotAddresses(Code::V6(56))),
            (56, suboption(1, "fd00::"), OptionError::OwnAddress(Code::V6(56))),
            (31, suboption(1, "fe80::")[4..].to_vec(), OptionError::OwnAddress(Code::V6(31))),
            (60, b"\0\0".to_vec(), OptionError::Empty(Code::V6(60))),
            (60, b"\0\x01a\0\0\0\x01b".to_vec(), OptionError::Empty(Code::V6(60))),
            (60, b"\0\x02a".to_vec(), OptionError::NotText(Code::V6(60))),
            (59, b"s".to_vec(), OptionError::LooksLikeUnit(Code::V6(59))),
            (24, b"\x01A\0".to_vec(), OptionError::NotText(Code::V6(24))),
            (39, vec![0], OptionError::Reserved(Code::V6(39))),
        ] {
            assert_eq!(render(code, &bytes), Err(error), "{code} {bytes:?}");
        }
    }
}
