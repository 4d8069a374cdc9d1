//! The options that users write, as codes and bytes (RFC 2132, RFC 8415).
//!
//! Called by `validate` and `desired`. Pure, and of no particular server: whether one can send a value
//! is asked there.

mod condition;
mod names;
mod readable;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

use crate::api::{self, DhcpOption, OptionEncoding, OptionName};
use crate::node::Family;
use crate::reason::{Problem, Reason};
use crate::service::{Code, Kinds, OptionList, SpecialOption};
use crate::types::DomainName;

pub use readable::readable;

/// The options of a list, a later one of a code instead of an earlier one; and what is wrong. All are of
/// the family of `subnet`; `None`: of any, as it is said or where an option of the name takes the values.
pub fn options(list: &[DhcpOption], field: &str, subnet: Option<Family>) -> (OptionList, Vec<Problem>) {
    let mut options = OptionList::default();
    let mut problems = Vec::new();
    for (i, option) in list.iter().enumerate() {
        if let Err(message) = add(option, subnet, &mut options) {
            let message = format!("{field}[{i}]: {message}");
            problems.push(Problem::new(Reason::InvalidOption, message));
        }
    }
    (options, problems)
}

fn add(option: &DhcpOption, subnet: Option<Family>, options: &mut OptionList) -> Result<(), String> {
    let found = one(option, subnet)?;
    let Some(condition) = &option.when else {
        options.plain.extend(found);
        return Ok(());
    };
    let kinds = condition::kinds(condition)?;
    let same = |code| options.special.iter().any(|other| other.code == code && !is_apart(other.kinds, kinds));
    if found.iter().any(|(code, _)| same(*code)) {
        return Err("when: some guests are those of an earlier one of this option as well".to_owned());
    }
    let special = found.into_iter().map(|(code, value)| SpecialOption { code, kinds, value });
    options.special.extend(special);
    Ok(())
}

fn is_apart(a: Kinds, b: Kinds) -> bool {
    a.without(b) == a
}

fn one(option: &DhcpOption, subnet: Option<Family>) -> Result<Vec<(Code, Vec<u8>)>, String> {
    let said = option.family.map(|family| match family {
        api::Family::IPv4 => Family::V4,
        api::Family::IPv6 => Family::V6,
    });
    if let (Some(said), Some(subnet)) = (said, subnet)
        && said != subnet
    {
        return Err(format!("an option of {said} is none for a Subnet of {subnet}"));
    }
    let family = subnet.or(said);
    match (option.name, option.code) {
        (Some(name), _) => named(name, &option.values, family),
        (None, Some(code)) => {
            let family = family.ok_or("an option given by code needs its family here")?;
            let form = Form::from(option.encoding.unwrap_or_default());
            Ok(vec![(numbered(code, family)?, form.bytes(&option.values, family)?)])
        }
        (None, None) => Err("name or code is needed".to_owned()),
    }
}

fn numbered(code: u16, family: Family) -> Result<Code, String> {
    match (family, u8::try_from(code)) {
        (Family::V4, Ok(code @ 1..=254)) => Ok(Code::V4(code)),
        (Family::V4, _) => Err("an IPv4 code is 1 to 254".to_owned()),
        (Family::V6, _) if code == 0 => Err("an IPv6 code is 1 to 65535".to_owned()),
        (Family::V6, _) => Ok(Code::V6(code)),
    }
}

/// In the family that is said; else in each that has an option of the name, but for addresses in that of
/// the addresses.
fn named(
    name: OptionName,
    values: &[String],
    family: Option<Family>,
) -> Result<Vec<(Code, Vec<u8>)>, String> {
    let known = Family::ALL.into_iter().filter_map(|family| Some((family, names::find(name, family)?)));
    let mut known: Vec<_> = known.filter(|(in_family, _)| family.is_none_or(|f| f == *in_family)).collect();
    if let (true, Some(family)) = (known.len() > 1, values.first().and_then(|ip| family_of(ip))) {
        known.retain(|(in_family, (_, form))| !form.has_addresses() || *in_family == family);
    }
    if known.is_empty() {
        let other = if family == Some(Family::V4) { Family::V6 } else { Family::V4 };
        return Err(format!("{} exists in {other} only", name.as_str()));
    }
    let both = known.len() > 1;
    let one = |(family, (code, form)): (Family, (Code, Form))| match form.bytes(values, family) {
        Err(message) if both => Err(format!("in {family} {message}; with family it is sent in one only")),
        bytes => Ok((code, bytes?)),
    };
    known.into_iter().map(one).collect()
}

fn family_of(text: &str) -> Option<Family> {
    text.parse().ok().map(Family::of)
}

/// How values become bytes.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Hex,
    Addresses,
    /// RFC 5908: each in a suboption.
    NtpServers,
    /// RFC 5970: each with its length before it.
    Parameters,
    Uint8,
    Uint16,
    Uint32,
    Int32,
    Flag,
    Names,
}

impl From<OptionEncoding> for Form {
    fn from(encoding: OptionEncoding) -> Self {
        match encoding {
            OptionEncoding::Text => Self::Text,
            OptionEncoding::Hex => Self::Hex,
            OptionEncoding::IP => Self::Addresses,
            OptionEncoding::Uint8 => Self::Uint8,
            OptionEncoding::Uint16 => Self::Uint16,
            OptionEncoding::Uint32 => Self::Uint32,
        }
    }
}

impl Form {
    fn has_addresses(self) -> bool {
        matches!(self, Self::Addresses | Self::NtpServers)
    }

    fn bytes(self, values: &[String], family: Family) -> Result<Vec<u8>, String> {
        let bytes = self.all_bytes(values, family)?;
        let most = match family {
            Family::V4 => 255,
            Family::V6 => OPTION6,
        };
        if bytes.len() > most {
            return Err(format!("the value has {} bytes, the most is {most}", bytes.len()));
        }
        Ok(bytes)
    }

    fn all_bytes(self, values: &[String], family: Family) -> Result<Vec<u8>, String> {
        let one = || match values {
            [value] => Ok(value),
            _ => Err(format!("takes one value, not {}", values.len())),
        };
        match self {
            Self::Text => one().map(|text| text.as_bytes().to_vec()),
            Self::Flag => Ok(vec![u8::from(one()?.parse::<bool>().map_err(|_| "takes true or false")?)]),
            Self::Int32 => Ok(number::<i32>(one()?)?.to_be_bytes().to_vec()),

            Self::Addresses => each(values, |v| address(v, family)),
            Self::NtpServers => each(values, |v| Ok(ntp_server(number(v)?))),
            Self::Parameters => each(values, |v| {
                let length = u16::try_from(v.len()).map_err(|_| "it is too long")?;
                Ok([&length.to_be_bytes(), v.as_bytes()].concat())
            }),
            Self::Uint8 => each(values, |v| Ok(number::<u8>(v)?.to_be_bytes())),
            Self::Uint16 => each(values, |v| Ok(number::<u16>(v)?.to_be_bytes())),
            Self::Uint32 => each(values, |v| Ok(number::<u32>(v)?.to_be_bytes())),
            Self::Hex => each(values, |v| hex(v).ok_or_else(|| format!("{v:?} is not pairs of hex digits"))),
            Self::Names => each(values, |v| Ok(wire_name(&number::<DomainName>(v)?))),
        }
    }
}

fn each<B: AsRef<[u8]>>(
    values: &[String],
    bytes: impl Fn(&str) -> Result<B, String>,
) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    for value in values {
        all.extend_from_slice(bytes(value)?.as_ref());
    }
    Ok(all)
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error| format!("{value:?}: {error}"))
}

fn address(value: &str, family: Family) -> Result<Vec<u8>, String> {
    Ok(match family {
        Family::V4 => number::<Ipv4Addr>(value)?.octets().to_vec(),
        Family::V6 => number::<Ipv6Addr>(value)?.octets().to_vec(),
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = pairs.iter().map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// The most that one DHCPv6 option may have here: all that dnsmasq reads of a line.
const OPTION6: usize = 255;

/// What an answer of 1,500 bytes has room for, beside headers and what every answer has.
const ROOM: usize = 1_500 - 20 - 8 - 240 - 40;

/// Options that no usual answer has room for. They are sent as far as they fit, in the order in which the
/// guest asks for them.
pub fn crowded(options: &OptionList) -> Option<Problem> {
    let mut longest: BTreeMap<Code, usize> = BTreeMap::new();
    for (code, value) in options.values() {
        let length = longest.entry(code).or_default();
        *length = value.len().max(*length);
    }
    let of = |family| {
        let its = longest.iter().filter(|(code, _)| code.family() == family);
        its.map(|(_, length)| length + header(family)).sum::<usize>()
    };
    let bytes = Family::ALL.map(of).into_iter().max().unwrap_or_default();
    let message = || {
        format!(
            "spec.options: they take {bytes} bytes, and an answer has room for {ROOM}: a guest that asks for all gets those that it asks for first"
        )
    };
    (bytes > ROOM).then(|| Problem::new(Reason::OptionsTooLong, message()))
}

/// A suboption of the NTP servers, of one or of a multicast address (RFC 5908 §4.1, §4.2).
pub fn ntp_server(ip: Ipv6Addr) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[1] = if ip.is_multicast() { 2 } else { 1 };
    bytes[3] = 16;
    bytes[4..].copy_from_slice(&ip.octets());
    bytes
}

/// Code and length before a value.
fn header(family: Family) -> usize {
    match family {
        Family::V4 => 2,
        Family::V6 => 4,
    }
}

/// A route to a destination over a next hop, RFC 3442: prefix length, as many bytes of the prefix as it
/// needs, next hop.
pub fn route((net, next_hop): (Ipv4Net, Ipv4Addr)) -> Vec<u8> {
    let significant = usize::from(net.prefix_len()).div_ceil(8);
    let mut bytes = vec![net.prefix_len()];
    bytes.extend(&net.network().octets()[..significant]);
    bytes.extend(next_hop.octets());
    bytes
}

/// How many bytes a route to `net` takes.
pub fn route_length(net: Ipv4Net) -> usize {
    1 + usize::from(net.prefix_len()).div_ceil(8) + 4
}

/// RFC 1035 §3.1, without compression.
pub fn wire_name(name: &DomainName) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.to_string().split('.') {
        // A label has at most 63 characters.
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(
        name: Option<OptionName>,
        code: Option<u16>,
        encoding: Option<OptionEncoding>,
        values: &[&str],
    ) -> DhcpOption {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        DhcpOption { name, code, encoding, values, family: None, when: None }
    }

    fn bytes(option: &DhcpOption, family: Option<Family>) -> Vec<(Code, Vec<u8>)> {
        one(option, family).unwrap()
    }

    #[test]
    fn values_become_bytes() {
        let named = |name, values: &[&str]| bytes(&option(Some(name), None, None, values), Some(Family::V4));
        assert_eq!(
            named(OptionName::NtpServer, &["10.0.0.1", "10.0.0.2"]),
            [(Code::V4(42), vec![10, 0, 0, 1, 10, 0, 0, 2])]
        );
        assert_eq!(named(OptionName::BootfileName, &["a,b"]), [(Code::V4(67), b"a,b".to_vec())]);
        let search = vec![1, b'a', 1, b'b', 0];
        assert_eq!(named(OptionName::DomainSearch, &["a.b"]), [(Code::V4(119), search)]);
        let coded = |encoding, values: &[&str]| {
            bytes(&option(None, Some(224), Some(encoding), values), Some(Family::V4)).remove(0).1
        };
        assert_eq!(coded(OptionEncoding::Hex, &["0a0B", "ff"]), [10, 11, 255]);
        assert_eq!(coded(OptionEncoding::Uint16, &["258"]), [1, 2]);
    }

    #[test]
    fn an_option_goes_where_there_is_one_of_its_name_for_its_values() {
        let codes = |name, values: &[&str], family| -> Vec<_> {
            bytes(&option(Some(name), None, None, values), family).into_iter().map(|(code, _)| code).collect()
        };
        let (v4, v6) = (Code::V4(42), Code::V6(56));
        assert_eq!(codes(OptionName::NtpServer, &["10.0.0.1"], None), [v4]);
        assert_eq!(codes(OptionName::NtpServer, &["2001:db8::1"], None), [v6]);
        assert_eq!(codes(OptionName::NtpServer, &["2001:db8::1"], Some(Family::V6)), [v6]);
        assert_eq!(codes(OptionName::DomainSearch, &["a.b"], None), [Code::V4(119), Code::V6(24)]);
        assert_eq!(codes(OptionName::BootfileUrl, &["tftp://[2001:db8::1]/x"], None), [Code::V6(59)]);
        let ntp = option(Some(OptionName::NtpServer), None, None, &["2001:db8::1"]);
        let address = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(bytes(&ntp, None), [(v6, [&[0, 1, 0, 16], &address[..]].concat())]);
        let boot = option(Some(OptionName::BootfileParam), None, None, &["a", "bc"]);
        assert_eq!(bytes(&boot, None), [(Code::V6(60), b"\0\x01a\0\x02bc".to_vec())]);
    }

    #[test]
    fn a_bad_option_names_its_place() {
        let mut foreign = option(None, Some(23), Some(OptionEncoding::IP), &["2001:db8::1"]);
        foreign.family = Some(api::Family::IPv6);
        let ipxe = api::OptionCondition { boot_loader: Some(api::BootLoader::Ipxe), ..Default::default() };
        let uefi = api::OptionCondition {
            architectures: Some(vec![api::Architecture::X64Uefi]),
            ..Default::default()
        };
        let file = |when| DhcpOption {
            when: Some(when),
            ..option(Some(OptionName::BootfileName), None, None, &["x"])
        };
        let (kept, problems) =
            super::options(&[file(ipxe), file(uefi), file(api::OptionCondition::default())], "o", None);
        assert_eq!((kept.special.len(), problems.len()), (1, 2));
        assert!(problems[0].message.starts_with("o[1]: when: some guests"), "{problems:?}");
        assert!(problems[1].message.starts_with("o[2]: when: it says nothing"), "{problems:?}");
        let nis = option(Some(OptionName::NisDomain), None, None, &["not a name"]);
        assert!(one(&nis, None).unwrap_err().starts_with("in IPv6 "));
        assert_eq!(bytes(&nis, Some(Family::V4)), [(Code::V4(40), b"not a name".to_vec())]);
        let list = [
            option(Some(OptionName::BootfileUrl), None, None, &["tftp://x"]),
            option(None, Some(224), Some(OptionEncoding::Hex), &["0a0"]),
            option(Some(OptionName::RootPath), None, None, &["a", "b"]),
            option(Some(OptionName::NtpServer), None, None, &["2001:db8::1"]),
            foreign,
        ];
        let (options, problems) = options(&list, "spec.options", Some(Family::V4));
        assert_eq!(options, OptionList::default());
        let messages: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "spec.options[0]: bootfile-url exists in IPv6 only",
                "spec.options[1]: \"0a0\" is not pairs of hex digits",
                "spec.options[2]: takes one value, not 2",
                "spec.options[3]: \"2001:db8::1\": invalid IPv4 address syntax",
                "spec.options[4]: an option of IPv6 is none for a Subnet of IPv4",
            ]
        );
    }
}
