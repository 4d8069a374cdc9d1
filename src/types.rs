//! Values parsed once and printed one way: MAC addresses, names, ranges.
//!
//! Used by everything. A value of these types cannot hold what its text form must not hold, so no
//! later layer checks again. No I/O, no Kubernetes.

mod address;
mod identity;
mod name;
mod txt;

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use address::{IpRange, is_reserved, is_same, next_address, spelled_out};
pub use identity::{Identifier, Identity};
pub use name::{DomainName, HostName};
pub use txt::{MOST_TEXTS, RecordName, RecordNameError, RecordText, TxtRecord};

/// Why a text is not a value of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {wanted}")]
pub struct ParseError {
    value: String,
    wanted: &'static str,
}

fn bad(value: &str, wanted: &'static str) -> ParseError {
    ParseError { value: value.chars().take(80).collect(), wanted }
}

/// Octets, printed in hex, in lower case, with colons between them.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, octet) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}

/// An octet as [`Hex`] prints it, in either case.
fn octet(text: &str) -> Option<u8> {
    let is_hex = text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

/// A unicast Ethernet address, printed in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// The six bytes, first on the wire first; `None` for a group address.
    pub fn new(octets: [u8; 6]) -> Option<Self> {
        (octets[0] & 1 == 0).then_some(Self(octets))
    }

    /// A locally administered address made of `seed`'s first five bytes.
    pub fn local(seed: [u8; 5]) -> Self {
        Self([0x02, seed[0], seed[1], seed[2], seed[3], seed[4]])
    }

    /// The six bytes, first on the wire first.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The link-local IPv6 address that its owner has by default.
    pub fn link_local(self) -> Ipv6Addr {
        self.address_in(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
    }

    /// The address that its owner makes itself in this /64 (RFC 4291 appendix A, modified EUI-64).
    pub fn address_in(self, prefix: Ipv6Addr) -> Ipv6Addr {
        let [first, second, third, rest @ ..] = self.0;
        let mut octets = prefix.octets();
        octets[8..13].copy_from_slice(&[first ^ 2, second, third, 0xff, 0xfe]);
        octets[13..].copy_from_slice(&rest);
        octets.into()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wanted = "a unicast MAC address like 02:00:00:00:00:01";
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for own in &mut octets {
            *own = parts.next().and_then(octet).ok_or_else(|| bad(text, wanted))?;
        }
        if parts.next().is_some() {
            return Err(bad(text, wanted));
        }
        Self::new(octets).ok_or_else(|| bad(text, wanted))
    }
}

impl TryFrom<String> for MacAddr {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

/// The identity of a Network: its `metadata.uid`. Names namespaces, devices and directories.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkUid(Uuid);

impl NetworkUid {
    /// The sixteen bytes of the UUID.
    pub fn bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Sixteen bytes that belong to this network and `name`, and to no other pair.
    pub fn derive(self, name: &str) -> [u8; 16] {
        Uuid::new_v5(&self.0, name.as_bytes()).into_bytes()
    }
}

impl FromStr for NetworkUid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let uid = Uuid::try_parse(text).map_err(|_| bad(text, "a UUID"))?;
        // One spelling only: the text names files, and two spellings would name two.
        if uid.to_string() == text { Ok(Self(uid)) } else { Err(bad(text, "a UUID")) }
    }
}

impl fmt::Display for NetworkUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NetworkUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A namespaced object's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ObjectName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectName {
    /// `namespace` and `name` as they are.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ObjectName {
    type Err = ParseError;

    /// `namespace/name`
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(bad(text, "an object's name: NAMESPACE/NAME")),
        }
    }
}

/// A resource version of an API server. Those of one kind are in order (KEP-5504).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Revision(pub u64);

impl Revision {
    /// Of a field that may be empty, or hold what is none.
    pub fn read(text: Option<&str>) -> Option<Self> {
        text?.parse().ok()
    }
}

impl FromStr for Revision {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self).map_err(|_| bad(text, "a resource version: a decimal number"))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mac_is_unicast_and_printed_in_lower_case() {
        let mac: MacAddr = "02:AB:00:00:00:01".parse().unwrap();
        assert_eq!(mac.to_string(), "02:ab:00:00:00:01");
        for text in [
            "01:00:00:00:00:01",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "02:00:00:00:00:+1",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_made_of_a_mac() {
        let mac: MacAddr = "02:11:22:33:44:55".parse().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::11:22ff:fe33:4455");
        let mac: MacAddr = "00:11:22:33:44:55".parse().unwrap();
        let formed = mac.address_in("2001:db8:0:1::".parse().unwrap());
        assert_eq!(formed.to_string(), "2001:db8:0:1:211:22ff:fe33:4455");
    }

    #[test]
    fn a_uid_has_one_spelling() {
        assert!("3f0c9a1b-0000-4000-8000-000000000001".parse::<NetworkUid>().is_ok());
        for text in ["3F0C9A1B-0000-4000-8000-000000000001", "3f0c9a1b000040008000000000000001", "../etc"] {
            assert!(text.parse::<NetworkUid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_plain_text(text in ".*") {
            if let Ok(name) = text.parse::<DomainName>() {
                prop_assert!(name.to_string().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'));
            }
            if let Ok(mac) = text.parse::<MacAddr>() {
                prop_assert_eq!(mac.to_string().parse::<MacAddr>().unwrap(), mac);
            }
        }
    }
}
