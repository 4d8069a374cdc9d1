//! By what DHCP knows a guest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Hex, MacAddr, ParseError, bad, octet};
use crate::node::Family;

/// What a client calls itself: 1 to 255 octets, printed in hex, in lower case, with colons.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identifier(Box<[u8]>);

impl Identifier {
    /// `None` if there are none, or too many.
    pub fn new(octets: &[u8]) -> Option<Self> {
        (1..=255).contains(&octets.len()).then(|| Self(octets.into()))
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Without the zeros that it begins with: dnsmasq takes an identifier of DHCPv4 with one zero before it
    /// for the same, as some clients send a text.
    #[must_use]
    pub fn without_zeros(&self) -> Self {
        let zeros = self.0.iter().take_while(|octet| **octet == 0).count();
        Self::new(&self.0[zeros..]).unwrap_or_else(|| Self([0].into()))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Identifier {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        let wanted = "1 to 255 octets in hexadecimal with colons";
        octets.and_then(|octets| Self::new(&octets)).ok_or_else(|| bad(text, wanted))
    }
}

impl TryFrom<String> for Identifier {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> Self {
        identifier.to_string()
    }
}

/// By what DHCP knows a guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// Its MAC address, whatever it calls itself.
    #[serde(rename = "macAddress")]
    Mac(MacAddr),
    /// What it calls itself in DHCPv4 (RFC 2132 §9.14), whatever its MAC address.
    #[serde(rename = "clientID")]
    ClientId(Identifier),
    /// What it calls itself in DHCPv6 (RFC 8415 §11), whatever its MAC address.
    Duid(Identifier),
}

impl Identity {
    /// A client identifier as users write it.
    pub fn client_id(text: &str) -> Result<Self, ParseError> {
        let wanted = "2 to 255 octets in hexadecimal with colons, like 01:02:00:00:00:00:01";
        Ok(Self::ClientId(bounded(text, 2, 255, wanted)?))
    }

    /// A DUID as users write it: its type, and 1 to 128 octets (RFC 8415 §11.1).
    pub fn duid(text: &str) -> Result<Self, ParseError> {
        let wanted = "3 to 130 octets in hexadecimal with colons, like 00:03:00:01:02:00:00:00:00:01";
        Ok(Self::Duid(bounded(text, 3, 130, wanted)?))
    }

    /// The client identifier that guests with this MAC address have by default: its kind of hardware, and it.
    pub fn default_client_id(mac: MacAddr) -> Self {
        Self::ClientId(Identifier([&[1][..], &mac.octets()].concat().into()))
    }

    /// The DUID that guests with this MAC address have by default, where they cannot keep one (RFC 8415
    /// §11.4).
    pub fn default_duid(mac: MacAddr) -> Self {
        Self::Duid(Identifier([&[0, 3, 0, 1][..], &mac.octets()].concat().into()))
    }

    /// In which protocol alone it is of use; `None`: in both.
    pub fn family(&self) -> Option<Family> {
        match self {
            Self::Mac(_) => None,
            Self::ClientId(_) => Some(Family::V4),
            Self::Duid(_) => Some(Family::V6),
        }
    }

    /// The MAC address, if it is one.
    pub fn mac(&self) -> Option<MacAddr> {
        match self {
            Self::Mac(mac) => Some(*mac),
            Self::ClientId(_) | Self::Duid(_) => None,
        }
    }
}

fn bounded(text: &str, least: usize, most: usize, wanted: &'static str) -> Result<Identifier, ParseError> {
    let identifier: Identifier = text.parse().map_err(|_| bad(text, wanted))?;
    let fits = (least..=most).contains(&identifier.octets().len());
    fits.then_some(identifier).ok_or_else(|| bad(text, wanted))
}

impl From<MacAddr> for Identity {
    fn from(mac: MacAddr) -> Self {
        Self::Mac(mac)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "{mac}"),
            Self::ClientId(id) => write!(f, "client-id {id}"),
            Self::Duid(id) => write!(f, "DUID {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_identity_has_its_bounds_and_one_spelling() {
        let octets = |count: usize| vec!["0a"; count].join(":");
        for (count, client_id, duid) in [
            (1, false, false),
            (2, true, false),
            (3, true, true),
            (130, true, true),
            (131, true, false),
            (255, true, false),
            (256, false, false),
        ] {
            assert_eq!(Identity::client_id(&octets(count)).is_ok(), client_id, "{count}");
            assert_eq!(Identity::duid(&octets(count)).is_ok(), duid, "{count}");
        }
        for text in ["", ":", "0a", "0a:", "0a:b", "0a:0b,ignore", "0a:0b\n", "0a-0b", "+a:0b", "0a:0b "] {
            assert!(Identity::client_id(text).is_err() && Identity::duid(text).is_err(), "{text:?}");
        }
        assert_eq!(Identity::client_id("0A:fF").unwrap().to_string(), "client-id 0a:ff");
    }

    #[test]
    fn a_guest_calls_itself_by_its_mac_by_default() {
        let mac = MacAddr::local([0, 0, 0, 0, 1]);
        assert_eq!(Identity::default_client_id(mac).to_string(), "client-id 01:02:00:00:00:00:01");
        assert_eq!(Identity::default_duid(mac).to_string(), "DUID 00:03:00:01:02:00:00:00:00:01");
    }

    #[test]
    fn zeros_before_an_identifier_are_not_counted() {
        let without = |text: &str| text.parse::<Identifier>().unwrap().without_zeros().to_string();
        assert_eq!(without("00:00:01:00"), "01:00");
        assert_eq!((without("01"), without("00:00")), ("01".to_owned(), "00".to_owned()));
    }

    proptest! {
        #[test]
        fn an_identifier_comes_back_as_it_was_printed(octets in proptest::collection::vec(any::<u8>(), 1..=255)) {
            let identifier = Identifier::new(&octets).unwrap();
            prop_assert_eq!(identifier.to_string().parse::<Identifier>(), Ok(identifier));
        }

        #[test]
        fn no_text_is_more_than_its_octets(text in ".*") {
            if let Ok(identifier) = text.parse::<Identifier>() {
                prop_assert_eq!(identifier.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}
