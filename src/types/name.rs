//! Names of DNS.
//!
//! Part of `types`. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::{ParseError, bad};

/// A DNS label (RFC 1123): letters, digits and inner hyphens, at most 63, kept in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostName(Arc<str>);

impl HostName {
    /// The name a port without one gets, as Neutron's: `host-10-0-0-20`, `host-2001-db8--5`.
    pub fn of_address(ip: IpAddr) -> Self {
        let hyphen = |c| if matches!(c, '.' | ':') { '-' } else { c };
        let mut name: String = format!("host-{ip}").chars().map(hyphen).collect();
        // A label does not end with a hyphen, and 2001:db8:: does.
        name.extend(name.ends_with('-').then_some('0'));
        Self(name.into())
    }
}

impl FromStr for HostName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if is_label(text) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(bad(text, "a host name: letters, digits and inner hyphens, at most 63"))
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS name of one or more labels, without the root's dot, at most 253 characters, in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomainName(Arc<str>);

impl DomainName {
    /// `name` as a direct child of this domain, unless that is longer than a name may be.
    pub fn child(&self, name: &HostName) -> Result<Self, ParseError> {
        let child = format!("{name}.{self}");
        if child.len() <= LONGEST { Ok(Self(child.into())) } else { child.parse() }
    }

    /// Whether this name is `domain` or lies below it.
    pub fn is_within(&self, domain: &DomainName) -> bool {
        is_within(&self.0, domain)
    }
}

impl FromStr for DomainName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let name = lower_name(text, is_label).map(|name| Self(name.into()));
        name.ok_or_else(|| bad(text, "a domain name of RFC 1123 labels, at most 253 characters"))
    }
}

impl From<&HostName> for DomainName {
    fn from(name: &HostName) -> Self {
        Self(name.0.clone())
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Without the root's dot.
const LONGEST: usize = 253;

fn is_label(text: &str) -> bool {
    is_label_of(text, |b| b.is_ascii_alphanumeric())
}

/// Whether it is made of these characters and inner hyphens, at most 63.
pub(super) fn is_label_of(text: &str, is_of_it: impl Fn(u8) -> bool) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| is_of_it(b) || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A name of such labels, at most 253 characters, in lower case.
pub(super) fn lower_name(text: &str, is_label: impl Fn(&str) -> bool) -> Option<String> {
    (text.len() <= LONGEST && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

/// Whether a name is this domain or lies below it.
pub(super) fn is_within(name: &str, domain: &DomainName) -> bool {
    name.strip_suffix(&*domain.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_only_what_dns_allows() {
        for text in ["-a", "a-", "a_b", "", "a.b", "a\nb", "ä"] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
        assert_eq!("VM1".parse::<HostName>().unwrap().to_string(), "vm1");
        assert!("a..b".parse::<DomainName>().is_err());
        assert!("a.b.".parse::<DomainName>().is_err());
    }

    #[test]
    fn a_name_lies_in_a_domain_only_at_a_label() {
        let domain: DomainName = "example.org".parse().unwrap();
        let within = |text: &str| text.parse::<DomainName>().unwrap().is_within(&domain);
        assert!(within("example.org") && within("a.example.org"));
        assert!(!within("badexample.org") && !within("org"));
    }

    #[test]
    fn a_name_is_made_of_any_address() {
        for (ip, name) in [
            ("10.0.0.20", "host-10-0-0-20"),
            ("2001:db8::5", "host-2001-db8--5"),
            ("2001:db8:0:0:5::", "host-2001-db8-0-0-5--0"),
        ] {
            let made = HostName::of_address(ip.parse().unwrap());
            assert_eq!(made.to_string(), name);
            assert_eq!(name.parse::<HostName>().unwrap(), made);
        }
    }
}
