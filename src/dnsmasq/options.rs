//! An option's bytes in the words that make dnsmasq send just these bytes.
//!
//! dnsmasq guesses a value's type from its look and from the option's code (`parse_dhcp_opt`), so
//! each code has one form here. Numbers and colon-separated hex are never mistaken; options that it
//! knows as addresses or as names take nothing else.

use std::fmt::Write;

/// Why dnsmasq cannot be made to send a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// It makes this option itself, or the protocol does.
    #[error("option {0} is made by the server and cannot be set")]
    Reserved(u8),
    /// RFC 2132: the length is one byte.
    #[error("the value of option {0} has {1} bytes, the most is 255")]
    TooLong(u8, usize),
    /// It knows this option as a list of addresses.
    #[error("option {0} takes IPv4 addresses")]
    NotAddresses(u8),
    /// It knows this option as a time.
    #[error("option {0} takes a number of seconds in four bytes")]
    NotSeconds(u8),
    /// It knows this option as a text.
    #[error("option {0} takes printable ASCII text")]
    NotText(u8),
    /// It takes the last letter of such a text for a unit.
    #[error("option {0}: dnsmasq cannot send a text that is \"i\" or \"s\", alone or after hyphens")]
    LooksLikeUnit(u8),
    /// It sends its own address instead.
    #[error("option {0}: dnsmasq cannot send the address 0.0.0.0")]
    Unspecified(u8),
    /// It has no form for a value of no bytes.
    #[error("option {0} needs a value")]
    Empty(u8),
}

/// The value for a line of the options' file. No bytes: the option is not sent where that can be said
/// (router, DNS servers), and refused elsewhere, for dnsmasq would send it with length 0.
pub fn render_option(code: u8, bytes: &[u8]) -> Result<String, OptionError> {
    match (code, bytes.len()) {
        (0 | 1 | 12 | 28 | 50..=57 | 61 | 81 | 82 | 118, _) => Err(OptionError::Reserved(code)),
        (3 | 6, 0) => Ok(String::new()),
        (_, 0) => Err(OptionError::Empty(code)),
        (_, 256..) => Err(OptionError::TooLong(code, bytes.len())),
        (58 | 59, _) => seconds(code, bytes),
        _ if ADDRESSES.contains(&code) => addresses(code, bytes),
        _ if TEXTS.contains(&code) => text(code, bytes),
        (119, _) => search_list(bytes).ok_or(OptionError::NotText(code)),
        (_, 1) => Ok(format!("{}b", bytes[0])),
        _ => Ok(hex(bytes)),
    }
}

/// Codes that dnsmasq knows as lists of addresses (`OT_ADDR_LIST`).
const ADDRESSES: [u8; 22] =
    [3, 6, 7, 9, 16, 21, 32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 74, 150, 255];

/// Codes that dnsmasq knows as names (`OT_NAME`).
const TEXTS: [u8; 9] = [15, 17, 18, 40, 64, 66, 67, 100, 101];

fn addresses(code: u8, bytes: &[u8]) -> Result<String, OptionError> {
    let (quads, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(OptionError::NotAddresses(code));
    }
    if quads.contains(&[0; 4]) {
        return Err(OptionError::Unspecified(code));
    }
    let dotted: Vec<_> = quads.iter().map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")).collect();
    Ok(dotted.join(","))
}

fn seconds(code: u8, bytes: &[u8]) -> Result<String, OptionError> {
    let bytes = bytes.try_into().map_err(|_| OptionError::NotSeconds(code))?;
    Ok(u32::from_be_bytes(bytes).to_string())
}

fn text(code: u8, bytes: &[u8]) -> Result<String, OptionError> {
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

/// Option 119 (RFC 3397) as a list of names; `None` if the bytes are no such list.
fn search_list(bytes: &[u8]) -> Option<String> {
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
    (labels.is_empty() && names.iter().all(|name| !name.is_empty())).then(|| names.join(","))
}

fn is_label(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * bytes.len());
    for (i, byte) in bytes.iter().enumerate() {
        let colon = if i == 0 { "" } else { ":" };
        let _ = write!(text, "{colon}{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_of_option_has_its_form() {
        let render = |code, bytes: &[u8]| render_option(code, bytes).unwrap();
        assert_eq!(render(3, &[10, 0, 0, 1]), "10.0.0.1");
        assert_eq!(render(42, &[10, 0, 0, 1, 10, 0, 0, 2]), "10.0.0.1,10.0.0.2");
        assert_eq!(render(67, b"ipxe.efi"), "\"ipxe.efi\"");
        assert_eq!(render(66, b"a\"b\\c,d"), "\"a\\\"b\\\\c,d\"");
        assert_eq!(render(58, &[0, 0, 0xa8, 0xc0]), "43200");
        assert_eq!(render(224, &[10, 11]), "0a:0b");
        assert_eq!(render(224, &[10]), "10b");
        assert_eq!(render(119, b"\x02vm\x07example\x03org\x00\x01a\x00"), "vm.example.org,a");
        assert_eq!(render(6, b""), "");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let refused = |code, bytes: &[u8]| render_option(code, bytes).unwrap_err();
        assert_eq!(refused(53, &[1]), OptionError::Reserved(53));
        assert_eq!(refused(3, &[10, 0, 0]), OptionError::NotAddresses(3));
        assert_eq!(refused(67, b"a\nb"), OptionError::NotText(67));
        assert_eq!(refused(67, b"--s"), OptionError::LooksLikeUnit(67));
        assert_eq!(refused(42, &[0; 4]), OptionError::Unspecified(42));
        assert_eq!(refused(224, &[0; 256]), OptionError::TooLong(224, 256));
        assert_eq!(refused(224, &[]), OptionError::Empty(224));
    }

    proptest! {
        #[test]
        fn a_value_stays_on_its_line(code: u8, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = render_option(code, &bytes) {
                prop_assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)));
                // fgets(MAXDNAME) in dnsmasq's read_file: a longer line would become two.
                prop_assert!(value.len() < 1_024 - 64);
            }
        }
    }
}
