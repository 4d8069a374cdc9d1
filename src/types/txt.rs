//! TXT records (RFC 1035 §3.3.14).

use std::fmt;
use std::str::FromStr;

use super::name::{is_label_of, is_within, lower_name};
use super::{DomainName, ParseError, bad};

/// The texts that a record has at most.
pub const MOST_TEXTS: usize = 8;

/// A name that a record may have: as [`DomainName`], and underscores (RFC 8552).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordName(String);

/// Why a name is none that a record can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordNameError {
    /// It is no name.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is to be completed, and there is nothing for that.
    #[error("{0:?} needs a dot at its end: the Network has no dns.domain that could follow")]
    NoDomain(String),
    /// It would have its domain twice.
    #[error("{0:?} needs a dot at its end: it has the Network's domain already")]
    DomainTwice(String),
}

impl RecordName {
    /// As zone files have it: with a dot at its end `text` is the whole name, without one `domain` follows.
    pub fn in_domain(text: &str, domain: Option<&DomainName>) -> Result<Self, RecordNameError> {
        if let Some(whole) = text.strip_suffix('.') {
            return Ok(whole.parse()?);
        }
        let Self(name) = text.parse()?;
        let domain = domain.ok_or_else(|| RecordNameError::NoDomain(name.clone()))?;
        if is_within(&name, domain) {
            return Err(RecordNameError::DomainTwice(name));
        }
        Ok(format!("{name}.{domain}").parse()?)
    }
}

impl FromStr for RecordName {
    type Err = ParseError;

    /// The whole name, without the root's dot.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_label = |label: &str| is_label_of(label, |b| b.is_ascii_alphanumeric() || b == b'_');
        let wanted = "a name of labels of letters, digits, hyphens and underscores, at most 253 characters";
        lower_name(text, is_label).map(Self).ok_or_else(|| bad(text, wanted))
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One text of a record: 1 to 255 characters, each printable ASCII.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordText(String);

impl RecordText {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RecordText {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if printable && (1..=255).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(bad(text, "1 to 255 characters of printable ASCII"))
    }
}

/// A TXT record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TxtRecord {
    name: RecordName,
    texts: Vec<RecordText>,
}

impl TxtRecord {
    /// `None`: it has no text, or too many.
    pub fn new(name: RecordName, texts: Vec<RecordText>) -> Option<Self> {
        (1..=MOST_TEXTS).contains(&texts.len()).then_some(Self { name, texts })
    }

    /// The whole name.
    pub fn name(&self) -> &RecordName {
        &self.name
    }

    /// In this order.
    pub fn texts(&self) -> &[RecordText] {
        &self.texts
    }
}

impl FromStr for TxtRecord {
    type Err = ParseError;

    /// `NAME,TEXT[,TEXT…]`: the whole name, with or without the root's dot; a comma is in no text.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, texts) = text.split_once(',').ok_or_else(|| bad(text, "NAME,TEXT[,TEXT...]"))?;
        let name = name.strip_suffix('.').unwrap_or(name).parse()?;
        let texts = texts.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Self::new(name, texts).ok_or_else(|| bad(text, "a name and at most 8 texts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(text: &str, domain: Option<&str>) -> Result<String, String> {
        let domain = domain.map(|domain| domain.parse().unwrap());
        let name = RecordName::in_domain(text, domain.as_ref());
        name.map(|name| name.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_without_a_dot_at_its_end_is_in_the_domain() {
        let domain = Some("vm.example.org");
        assert_eq!(named("_dmarc", domain).unwrap(), "_dmarc.vm.example.org");
        assert_eq!(named("A.b", domain).unwrap(), "a.b.vm.example.org");
        assert_eq!(named("xvm.example.org", domain).unwrap(), "xvm.example.org.vm.example.org");
        for (whole, domain) in [("vm.example.org.", domain), ("_a.b.", domain), ("version.", None)] {
            assert_eq!(named(whole, domain).unwrap(), whole.trim_end_matches('.'));
        }
        for (text, domain, word) in [
            ("version", None, "no dns.domain"),
            ("vm.example.org", domain, "already"),
            ("_a.vm.example.org", domain, "already"),
            (".", domain, "labels"),
            ("a..", domain, "labels"),
            ("", domain, "labels"),
        ] {
            let error = named(text, domain).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let room = |n: usize| [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), &*"d".repeat(n)].join(".");
        assert_eq!(named(&room(46), domain).unwrap().len(), 253);
        assert!(named(&room(47), domain).is_err() && named(&format!("{}.", room(61)), None).is_ok());
        assert!(named(&format!("{}.", room(62)), None).is_err());
    }

    #[test]
    fn a_record_is_a_name_and_its_texts() {
        let record: TxtRecord = "Info.Example.ORG.,a b, c".parse().unwrap();
        let texts: Vec<_> = record.texts().iter().map(RecordText::as_str).collect();
        assert_eq!((record.name().to_string().as_str(), texts), ("info.example.org", vec!["a b", " c"]));
        let (most, more) = (format!("a{}", ",b".repeat(8)), format!("a{}", ",b".repeat(9)));
        assert!(most.parse::<TxtRecord>().is_ok());
        let long = format!("a,{}", "b".repeat(256));
        for text in ["a", "a,", "a,b,", ",b", "-a,b", "a,b\n", "a,ä", "a b,c", &more, &long] {
            assert!(text.parse::<TxtRecord>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_printable(text in ".*") {
            if let Ok(RecordText(text)) = text.parse() {
                prop_assert!(text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            }
            if let Ok(RecordName(name)) = text.parse() {
                prop_assert!(name.len() <= 253 && !name.contains([',', ' ', '/']) && !name.starts_with('-'));
            }
        }
    }
}
