//! An option's bytes as a person reads them.
//!
//! Called for what `kube-dhcp status --port` shows. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Form, names};
use crate::api::OptionName;
use crate::node::Family;
use crate::plain::plain;
use crate::service::Code;
use crate::types::Hex;

/// The name of an option, if it has one; and its value.
pub fn readable(code: Code, bytes: &[u8]) -> (Option<&'static str>, String) {
    let known = field(code).or_else(|| named(code));
    let text = known
        .and_then(|(_, reading)| reading.text(bytes, code.family()))
        .unwrap_or_else(|| Hex(bytes).to_string());
    (known.map(|(name, _)| name), plain(&text).into_owned())
}

/// How bytes are read.
#[derive(Clone, Copy)]
enum Reading {
    As(Form),
    Routes,
}

/// Those that are made of fields, and never given by name.
fn field(code: Code) -> Option<(&'static str, Reading)> {
    let (name, form) = match code {
        Code::V4(1) => ("netmask", Form::Addresses),
        Code::V4(3) => ("router", Form::Addresses),
        Code::V4(6) | Code::V6(23) => ("dns-server", Form::Addresses),
        Code::V4(12) => ("hostname", Form::Text),
        Code::V4(15) => ("domain-name", Form::Text),
        Code::V4(26) => ("mtu", Form::Uint16),
        Code::V4(28) => ("broadcast", Form::Addresses),
        Code::V4(51) => ("lease-time", Form::Uint32),
        Code::V4(54) => ("server-identifier", Form::Addresses),
        Code::V4(58) => ("T1", Form::Uint32),
        Code::V4(59) => ("T2", Form::Uint32),
        Code::V4(121) => return Some(("classless-static-route", Reading::Routes)),
        Code::V4(249) => return Some(("ms-classless-static-route", Reading::Routes)),
        _ => return None,
    };
    Some((name, Reading::As(form)))
}

fn named(code: Code) -> Option<(&'static str, Reading)> {
    OptionName::ALL.into_iter().find_map(|name| {
        let (of, form) = names::find(name, code.family())?;
        (of == code).then_some((name.as_str(), Reading::As(form)))
    })
}

impl Reading {
    /// `None` where the bytes are not of this form.
    fn text(self, bytes: &[u8], family: Family) -> Option<String> {
        match self {
            Self::Routes => parts(bytes, route),
            Self::As(form) => form.text(bytes, family),
        }
    }
}

impl Form {
    fn text(self, bytes: &[u8], family: Family) -> Option<String> {
        match self {
            Self::Text => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::Hex => None,
            Self::Addresses => parts(bytes, |bytes| address(bytes, family)),
            Self::NtpServers => parts(bytes, |bytes| address(bytes.split_at_checked(4)?.1, family)),
            Self::Parameters => parts(bytes, |bytes| {
                let (length, rest) = bytes.split_first_chunk()?;
                let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
                Some((String::from_utf8_lossy(text).into_owned(), rest))
            }),
            Self::Uint8 => Some(u8::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Uint16 => Some(u16::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Uint32 => Some(u32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Int32 => Some(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            Self::Flag => Some((bytes != [0]).to_string()),
            Self::Names => parts(bytes, name),
        }
    }
}

/// One after the other, to the end.
fn parts(mut bytes: &[u8], part: impl Fn(&[u8]) -> Option<(String, &[u8])>) -> Option<String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (text, rest) = part(bytes)?;
        all.push(text);
        bytes = rest;
    }
    Some(all.join(", "))
}

fn address(bytes: &[u8], family: Family) -> Option<(String, &[u8])> {
    match family {
        Family::V4 => bytes.split_first_chunk().map(|(ip, rest)| (Ipv4Addr::from(*ip).to_string(), rest)),
        Family::V6 => bytes.split_first_chunk().map(|(ip, rest)| (Ipv6Addr::from(*ip).to_string(), rest)),
    }
}

/// RFC 3442.
fn route(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (prefix, rest) = rest.split_at_checked(usize::from(*length).div_ceil(8))?;
    let mut octets = [0; 4];
    octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
    let (hop, rest) = rest.split_first_chunk()?;
    let (net, hop) = (Ipv4Addr::from(octets), Ipv4Addr::from(*hop));
    let hop = if hop.is_unspecified() { "on-link".to_owned() } else { format!("via {hop}") };
    Some((format!("{net}/{length} {hop}"), rest))
}

/// RFC 1035 §3.1.
fn name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        let (label, rest) = rest.split_at_checked((*length).into())?;
        bytes = rest;
        if label.is_empty() {
            return Some((labels.join("."), bytes));
        }
        labels.push(String::from_utf8_lossy(label).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_as_they_were_written() {
        let read = |code, bytes: &[u8]| {
            let (name, text) = readable(code, bytes);
            format!("{} {text}", name.unwrap_or("-"))
        };
        assert_eq!(read(Code::V4(42), &[10, 0, 0, 1, 10, 0, 0, 2]), "ntp-server 10.0.0.1, 10.0.0.2");
        assert_eq!(read(Code::V4(26), &[5, 220]), "mtu 1500");
        let routes = [16, 10, 8, 10, 0, 0, 254, 24, 10, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
        let text =
            "classless-static-route 10.8.0.0/16 via 10.0.0.254, 10.1.0.0/24 on-link, 0.0.0.0/0 via 10.0.0.1";
        assert_eq!(read(Code::V4(121), &routes), text);
        assert_eq!(read(Code::V6(24), b"\x01a\x01b\0\x01c\0"), "domain-search a.b, c");
        assert_eq!(read(Code::V6(60), b"\0\x01a\0\x02bc"), "bootfile-param a, bc");
        assert_eq!(read(Code::V4(224), &[1, 0xab]), "- 01:ab");
        assert_eq!(read(Code::V4(66), b"a\x1b[31m"), "tftp-server a\\u{1b}[31m");
        // What its code does not allow is not made up.
        assert_eq!(read(Code::V4(42), &[10, 0, 0]), "ntp-server 0a:00:00");
        assert_eq!(read(Code::V4(121), &[33, 1]), "classless-static-route 21:01");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(code: u16, bytes: Vec<u8>) {
            for code in [Code::V4(code.to_be_bytes()[1]), Code::V6(code % 70)] {
                let (_, text) = readable(code, &bytes);
                prop_assert!(!text.contains(char::is_control));
            }
        }
    }
}
