//! An option's bytes in the words that make dnsmasq send just these bytes.
//!
//! dnsmasq guesses a value's type from its look and from the option's code (`parse_dhcp_opt`), so
//! each code has one form here. Numbers and colon-separated hex are never mistaken; options that it
//! knows as addresses or as names take nothing else.

use super::options6;
use crate::service::Code;
use crate::types::Hex;

/// Why dnsmasq cannot be made to send a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// It makes this option itself, or the protocol does.
    #[error("option {0} is made by the server and cannot be set")]
    Reserved(Code),
    /// RFC 2132: the length is one byte.
    #[error("the value of option {0} has {1} bytes, the most is 255")]
    TooLong(Code, usize),
    /// It knows this option as a list of addresses.
    #[error("option {0} takes {family} addresses", family = .0.family())]
    NotAddresses(Code),
    /// It knows this option as a time.
    #[error("option {0} takes a number of seconds in four bytes")]
    NotSeconds(Code),
    /// It knows this option as a text.
    #[error("option {0} takes printable ASCII text")]
    NotText(Code),
    /// It takes the last letter of such a text for a unit.
    #[error("option {0}: dnsmasq cannot send a text that is \"i\" or \"s\", alone or after hyphens")]
    LooksLikeUnit(Code),
    /// It sends its own address instead.
    #[error("option {0}: dnsmasq cannot send 0.0.0.0, ::, fd00:: and fe80::")]
    OwnAddress(Code),
    /// It has no form for a value of no bytes.
    #[error("option {0} needs a value")]
    Empty(Code),
}

/// The value for a line of the options' file. No bytes: the option is not sent where that can be said
/// (router, DNS servers), and refused elsewhere, for dnsmasq would send it with length 0.
pub fn render_option(code: Code, bytes: &[u8]) -> Result<String, OptionError> {
    match code {
        _ if bytes.len() > 255 => Err(OptionError::TooLong(code, bytes.len())),
        Code::V4(number) => render_v4(number, bytes),
        Code::V6(number) => options6::render(number, bytes),
    }
}

fn render_v4(number: u8, bytes: &[u8]) -> Result<String, OptionError> {
    let code = Code::V4(number);
    match (number, bytes.len()) {
        (0 | 1 | 12 | 28 | 50..=57 | 61 | 81 | 82 | 118, _) => Err(OptionError::Reserved(code)),
        (3 | 6, 0) => Ok(String::new()),
        (_, 0) => Err(OptionError::Empty(code)),
        (58 | 59, _) => seconds(code, bytes),
        _ if ADDRESSES.contains(&number) => addresses(code, bytes),
        _ if TEXTS.contains(&number) => text(code, bytes),
        (119, _) => names(bytes).ok_or(OptionError::NotText(code)),
        (_, 1) => Ok(format!("{}b", bytes[0])),
        _ => Ok(Hex(bytes).to_string()),
    }
}

/// Codes that dnsmasq knows as lists of addresses (`OT_ADDR_LIST`).
const ADDRESSES: [u8; 22] =
    [3, 6, 7, 9, 16, 21, 32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 74, 150, 255];

/// Codes that dnsmasq knows as names (`OT_NAME`).
const TEXTS: [u8; 9] = [15, 17, 18, 40, 64, 66, 67, 100, 101];

fn addresses(code: Code, bytes: &[u8]) -> Result<String, OptionError> {
    let (quads, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(OptionError::NotAddresses(code));
    }
    if quads.contains(&[0; 4]) {
        return Err(OptionError::OwnAddress(code));
    }
    let dotted: Vec<_> = quads.iter().map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")).collect();
    Ok(dotted.join(","))
}

pub(super) fn seconds(code: Code, bytes: &[u8]) -> Result<String, OptionError> {
    let bytes = bytes.try_into().map_err(|_| OptionError::NotSeconds(code))?;
    Ok(u32::from_be_bytes(bytes).to_string())
}

pub(super) fn text(code: Code, bytes: &[u8]) -> Result<String, OptionError> {
    if !bytes.iter().all(|b| matches!(b, b' '..=b'~')) {
        return Err(OptionError::NotText(code));
    }
    // parse_dhcp_opt looks for a unit before it knows that this is no number. Digits in quotes are safe.
    if let [hyphens @ .., b'i' | b's'] = bytes
        && hyphens.iter().all(|byte| *byte == b'-')
    {
        return Err(OptionError::LooksLikeUnit(code));
    }
    let mut quoted = String::from("\"");
    for &byte in bytes {
        if matches!(byte, b'"' | b'\\') {
            quoted.push('\\');
        }
        quoted.push(char::from(byte));
    }
    Ok(quoted + "\"")
}

/// Names one after the other (RFC 1035 §3.1) as a list; `None` if the bytes are no such list.
pub(super) fn names(bytes: &[u8]) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    let mut labels: Vec<&str> = Vec::new();
    let mut rest = bytes;
    while let [length, tail @ ..] = rest {
        let (label, tail) = tail.split_at_checked(usize::from(*length))?;
        if label.is_empty() {
            names.push(labels.join("."));
            labels.clear();
        } else {
            labels.push(std::str::from_utf8(label).ok().filter(|label| is_label(label))?);
        }
        rest = tail;
    }
    if !labels.is_empty() || names.iter().any(String::is_empty) {
        return None;
    }
    // As of a text, it would take the last letter of "s" or "10b" for a unit.
    let dot = if matches!(&names[..], [name] if !name.contains('.')) { "." } else { "" };
    Some(names.join(",") + dot)
}

/// dnsmasq makes capital letters small ones, and refuses some names that have any.
fn is_label(label: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    label.len() < 64 && label.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_of_option_has_its_form() {
        let render = |code, bytes: &[u8]| render_option(Code::V4(code), bytes).unwrap();
        assert_eq!(render(3, &[10, 0, 0, 1]), "10.0.0.1");
        assert_eq!(render(42, &[10, 0, 0, 1, 10, 0, 0, 2]), "10.0.0.1,10.0.0.2");
        assert_eq!(render(67, b"ipxe.efi"), "\"ipxe.efi\"");
        assert_eq!(render(66, b"a\"b\\c,d"), "\"a\\\"b\\\\c,d\"");
        assert_eq!(render(58, &[0, 0, 0xa8, 0xc0]), "43200");
        assert_eq!(render(224, &[10, 11]), "0a:0b");
        assert_eq!(render(224, &[10]), "10b");
        assert_eq!(render(119, b"\x02vm\x07example\x03org\x00\x01a\x00"), "vm.example.org,a");
        assert_eq!(render(119, b"\x01s\x00"), "s.");
        assert_eq!(render(6, b""), "");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let refused = |code, bytes: &[u8]| render_option(Code::V4(code), bytes).unwrap_err();
        assert_eq!(refused(53, &[1]), OptionError::Reserved(Code::V4(53)));
        assert_eq!(refused(3, &[10, 0, 0]), OptionError::NotAddresses(Code::V4(3)));
        assert_eq!(refused(67, b"a\nb"), OptionError::NotText(Code::V4(67)));
        assert_eq!(refused(67, b"--s"), OptionError::LooksLikeUnit(Code::V4(67)));
        assert_eq!(refused(42, &[0; 4]), OptionError::OwnAddress(Code::V4(42)));
        let long = [&[64][..], &[b'a'; 64], &[0]].concat();
        for names in [&b"\x01A\x00"[..], b"\x01a", b"\x00", b"\x01a\x00\x00", &long] {
            assert_eq!(refused(119, names), OptionError::NotText(Code::V4(119)), "{names:?}");
        }
        assert_eq!(refused(224, &[0; 256]), OptionError::TooLong(Code::V4(224), 256));
        assert_eq!(refused(224, &[]), OptionError::Empty(Code::V4(224)));
    }

    proptest! {
        #[test]
        fn a_value_stays_on_its_line(code: u8, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for value in [Code::V4(code), Code::V6(code.into())].into_iter().flat_map(|c| render_option(c, &bytes)) {
                prop_assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)));
                // fgets(MAXDNAME) in dnsmasq's read_file: a longer line would become two.
                prop_assert!(value.len() < 1_024 - 64);
            }
        }
    }
}
