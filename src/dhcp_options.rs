//! The options that users write, as codes and bytes (RFC 2132).
//!
//! Called by `validate` and `desired`. Pure, and of no particular server: whether one can send a value
//! is asked there.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::api::{DhcpOption, Family, OptionEncoding, OptionName};
use crate::reason::{Problem, Reason};
use crate::service::Options;
use crate::types::DomainName;

/// The IPv4 options of a list, a later one of a code instead of an earlier one; and what is wrong.
pub fn ipv4_options(list: &[DhcpOption], field: &str) -> (Options, Vec<Problem>) {
    let mut options = Options::new();
    let mut problems = Vec::new();
    for (i, option) in list.iter().enumerate() {
        match ipv4_option(option) {
            Ok((code, bytes)) => {
                options.insert(code, bytes);
            }
            Err(Problem { reason, message }) => {
                problems.push(Problem::new(reason, format!("{field}[{i}]: {message}")));
            }
        }
    }
    (options, problems)
}

fn ipv4_option(option: &DhcpOption) -> Result<(u8, Vec<u8>), Problem> {
    if option.family == Some(Family::IPv6) {
        return Err(Problem::new(Reason::NotSupported, "IPv6 options are not served yet"));
    }
    let (code, form) = match (option.name, option.code) {
        (Some(name), _) => named(name).ok_or_else(|| {
            invalid(format!("{} exists in IPv6 only, which is not served yet", name.as_str()))
        })?,
        (None, Some(code)) => {
            let code = u8::try_from(code).ok().filter(|code| (1..=254).contains(code));
            let code = code.ok_or_else(|| invalid("an IPv4 code is 1 to 254".to_owned()))?;
            (code, Form::from(option.encoding.unwrap_or_default()))
        }
        (None, None) => return Err(invalid("name or code is needed".to_owned())),
    };
    let bytes = form.bytes(&option.values).map_err(invalid)?;
    if bytes.len() > 255 {
        return Err(invalid(format!("the value has {} bytes, the most is 255", bytes.len())));
    }
    Ok((code, bytes))
}

fn invalid(message: String) -> Problem {
    Problem::new(Reason::InvalidOption, message)
}

/// How values become bytes.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Hex,
    Addresses,
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
    fn bytes(self, values: &[String]) -> Result<Vec<u8>, String> {
        let one = || match values {
            [value] => Ok(value),
            _ => Err(format!("takes one value, not {}", values.len())),
        };
        match self {
            Self::Text => one().map(|text| text.as_bytes().to_vec()),
            Self::Flag => Ok(vec![u8::from(one()?.parse::<bool>().map_err(|_| "takes true or false")?)]),
            Self::Int32 => Ok(number::<i32>(one()?)?.to_be_bytes().to_vec()),

            Self::Addresses => each(values, |v| Ok(number::<Ipv4Addr>(v)?.octets())),
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

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = pairs.iter().map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// What an answer of 1,500 bytes has room for, beside headers and what every answer has.
const ROOM: usize = 1_500 - 20 - 8 - 240 - 40;

/// Options that no usual answer has room for. They are sent as far as they fit, in the order in which the
/// guest asks for them.
pub fn crowded(options: &Options) -> Option<Problem> {
    let bytes: usize = options.values().map(|value| value.len() + 2).sum();
    let message = || {
        format!(
            "spec.options: they take {bytes} bytes, and an answer has room for {ROOM}: a guest that asks for all gets those that it asks for first"
        )
    };
    (bytes > ROOM).then(|| Problem::new(Reason::OptionsTooLong, message()))
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

/// Code and form of a named option in IPv4; `None` where it exists in IPv6 only. 255 stands for the
/// packet's `siaddr`.
fn named(name: OptionName) -> Option<(u8, Form)> {
    use OptionName as N;
    let option = match name {
        N::TimeOffset => (2, Form::Int32),
        N::LogServer => (7, Form::Addresses),
        N::LprServer => (9, Form::Addresses),
        N::BootFileSize => (13, Form::Uint16),
        N::SwapServer => (16, Form::Addresses),
        N::RootPath => (17, Form::Text),
        N::ExtensionPath => (18, Form::Text),
        N::IpForwardEnable => (19, Form::Flag),
        N::DefaultTtl => (23, Form::Uint8),
        N::TcpTtl => (37, Form::Uint8),
        N::TcpKeepalive => (38, Form::Uint32),
        N::NisDomain => (40, Form::Text),
        N::NisServer => (41, Form::Addresses),
        N::NtpServer => (42, Form::Addresses),
        N::NetbiosNs => (44, Form::Addresses),
        N::NetbiosDd => (45, Form::Addresses),
        N::NetbiosNodetype => (46, Form::Uint8),
        N::NetbiosScope => (47, Form::Text),
        N::XWindowsFs => (48, Form::Addresses),
        N::XWindowsDm => (49, Form::Addresses),
        N::NisPlusDomain => (64, Form::Text),
        N::NisPlusServer => (65, Form::Addresses),
        N::TftpServer => (66, Form::Text),
        N::BootfileName => (67, Form::Text),
        N::MobileIpHome => (68, Form::Addresses),
        N::SmtpServer => (69, Form::Addresses),
        N::Pop3Server => (70, Form::Addresses),
        N::NntpServer => (71, Form::Addresses),
        N::IrcServer => (74, Form::Addresses),
        N::PosixTimezone => (100, Form::Text),
        N::TzdbTimezone => (101, Form::Text),
        N::DomainSearch => (119, Form::Names),
        N::SipServer => (120, Form::Addresses),
        N::TftpServerAddress => (150, Form::Addresses),
        N::ServerIpAddress => (255, Form::Addresses),
        N::SntpServer
        | N::SipServerDomain
        | N::InformationRefreshTime
        | N::BootfileUrl
        | N::BootfileParam => {
            return None;
        }
    };
    Some(option)
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
        DhcpOption { name, code, encoding, values, family: None }
    }

    #[test]
    fn values_become_bytes() {
        let named = |name, values: &[&str]| ipv4_option(&option(Some(name), None, None, values)).unwrap();
        assert_eq!(
            named(OptionName::NtpServer, &["10.0.0.1", "10.0.0.2"]),
            (42, vec![10, 0, 0, 1, 10, 0, 0, 2])
        );
        assert_eq!(named(OptionName::BootfileName, &["a,b"]), (67, b"a,b".to_vec()));
        assert_eq!(named(OptionName::DomainSearch, &["a.b"]), (119, vec![1, b'a', 1, b'b', 0]));
        let coded = |encoding, values: &[&str]| {
            ipv4_option(&option(None, Some(224), Some(encoding), values)).unwrap().1
        };
        assert_eq!(coded(OptionEncoding::Hex, &["0a0B", "ff"]), [10, 11, 255]);
        assert_eq!(coded(OptionEncoding::Uint16, &["258"]), [1, 2]);
    }

    #[test]
    fn a_bad_option_names_its_place() {
        let list = [
            option(Some(OptionName::BootfileUrl), None, None, &["tftp://x"]),
            option(None, Some(224), Some(OptionEncoding::Hex), &["0a0"]),
            option(Some(OptionName::RootPath), None, None, &["a", "b"]),
        ];
        let (options, problems) = ipv4_options(&list, "spec.options");
        assert!(options.is_empty());
        let messages: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "spec.options[0]: bootfile-url exists in IPv6 only, which is not served yet",
                "spec.options[1]: \"0a0\" is not pairs of hex digits",
                "spec.options[2]: takes one value, not 2",
            ]
        );
    }
}
