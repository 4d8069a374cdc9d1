//! `extra_dhcp_opts`, in the words of dnsmasq, as options of a Port.
//!
//! Called for each port. Pure. dnsmasq takes a value apart by what it knows of the option; for one that it
//! does not know, by what the value looks like.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::fields::Fields;
use super::report::Notes;
use crate::api::{
    BootLoader, DhcpOption, Family, OptionCondition, OptionEncoding, OptionName, Port, PortSpec,
};
use crate::dhcp_options::route;
use crate::validate;

const FIELD: &str = "extra_dhcp_opts";

/// The most that our API has of options, and of values of one.
const OPTIONS: usize = 32;
const VALUES: usize = 16;

/// The options that this version can send; the others are reported.
pub(super) fn options(items: Vec<Value>, notes: &mut Notes) -> Vec<DhcpOption> {
    let mut options = Vec::new();
    for item in items {
        match option(&item, notes) {
            Ok(_) if options.len() == OPTIONS => notes.lost(FIELD, &item, format!("the most is {OPTIONS}")),
            Ok(option) => {
                // dnsmasq takes the last one.
                options.retain(|old: &DhcpOption| refusal(&[old.clone(), option.clone()]).is_none());
                options.push(option);
            }
            Err(message) => notes.lost(FIELD, &item, message),
        }
    }
    options
}

fn option(item: &Value, notes: &mut Notes) -> Result<DhcpOption, String> {
    let Value::Object(map) = item else { return Err("is not an object".to_owned()) };
    let mut fields = Fields::new(map.clone());
    let (name, value) = (fields.text("opt_name"), fields.text("opt_value"));
    let family = match fields.number("ip_version") {
        None | Some(4) => Family::IPv4,
        Some(6) => Family::IPv6,
        Some(_) => return Err("ip_version is neither 4 nor 6".to_owned()),
    };
    // As Neutron: only what is before it counts.
    let (name, value) = (first_line(&name), first_line(&value));
    if item["opt_name"].as_str().is_some_and(|text| text != name)
        || item["opt_value"].as_str().is_some_and(|text| text != value)
    {
        notes.changed(FIELD, item, "it ends at the first line break, as with Neutron");
    }
    let (when, name) = condition(name)?;
    if name == "client-id" || (name == "61" && family == Family::IPv4) {
        return Err("the guest is known by its MAC address".to_owned());
    }
    let option = match family {
        Family::IPv4 => ipv4(name, value)?,
        Family::IPv6 => ipv6(name, value)?,
    };
    let option = DhcpOption { when, ..option };
    refusal(std::slice::from_ref(&option)).map_or(Ok(option), Err)
}

/// `tag:ipxe,bootfile-name`: Neutron's dnsmasq has tags for requests of iPXE.
fn condition(name: &str) -> Result<(Option<OptionCondition>, &str), String> {
    let Some(tagged) = name.strip_prefix("tag:") else {
        return if name.contains(',') { Err("is no name of an option".to_owned()) } else { Ok((None, name)) };
    };
    let boot_loader = match tagged.split_once(',') {
        Some(("ipxe" | "ipxe6", name)) => (BootLoader::Ipxe, name),
        Some(("!ipxe" | "!ipxe6", name)) => (BootLoader::Other, name),
        _ => return Err("no requests but those of iPXE have a tag (tag:) here".to_owned()),
    };
    match boot_loader {
        (_, name) if name.contains([',', ':']) => {
            Err("more than one tag (tag:) has no counterpart".to_owned())
        }
        (loader, name) => {
            Ok((Some(OptionCondition { architectures: None, boot_loader: Some(loader) }), name))
        }
    }
}

fn first_line(text: &str) -> &str {
    text.split(['\n', '\r']).next().unwrap_or_default()
}

/// Why it cannot be sent.
fn refusal(options: &[DhcpOption]) -> Option<String> {
    let printable = |value: &String| {
        (1..=255).contains(&value.len()) && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    let good = |o: &DhcpOption| (1..=VALUES).contains(&o.values.len()) && o.values.iter().all(printable);
    if !options.iter().all(good) {
        return Some(format!("its value is not 1 to {VALUES} texts of 1 to 255 printable ASCII characters"));
    }
    let port = Port::new("", PortSpec { options: options.to_vec(), ..PortSpec::default() });
    let problem = validate::port(&port).into_iter().next()?;
    Some(problem.message.replace("spec.options[0]: ", "").replace("spec.options: ", ""))
}

/// How dnsmasq takes a value apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    List,
    Flag,
    Address,
    Uint8,
    Uint16,
    Uint32,
    Seconds,
    Routes,
}

fn ipv4(name: &str, value: &str) -> Result<DhcpOption, String> {
    let code: Option<u16> = name.parse().ok();
    let known = IPV4.iter().find(|(known, number, _)| *known == name || Some(*number) == code);
    let Some((name, code, form)) = known.copied() else {
        let code = code.ok_or("dnsmasq knows no option of this name")?;
        return Ok(guessed(code, Family::IPv4, value));
    };
    let (encoding, values) = form.values(value)?;
    Ok(match named(name) {
        Some(name) => DhcpOption { name: Some(name), values, ..of(Family::IPv4) },
        None => DhcpOption { code: Some(code), encoding: Some(encoding), values, ..of(Family::IPv4) },
    })
}

fn ipv6(name: &str, value: &str) -> Result<DhcpOption, String> {
    let known = if name == "dns-server" { Some(23) } else { name.parse().ok() };
    if let Some(code) = known {
        return Ok(guessed(code, Family::IPv6, value));
    }
    let name = named(name).ok_or("dnsmasq knows no IPv6 option of this name")?;
    let form = if name.as_str().starts_with("bootfile") { Form::Text } else { Form::List };
    let values = form.values(value)?.1.iter().map(|value| unbracketed(value).to_owned()).collect();
    Ok(DhcpOption { name: Some(name), values, ..of(Family::IPv6) })
}

fn of(family: Family) -> DhcpOption {
    DhcpOption { family: Some(family), ..DhcpOption::default() }
}

fn named(name: &str) -> Option<OptionName> {
    serde_json::from_value(name.into()).ok()
}

/// dnsmasq has IPv6 addresses in brackets.
fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

/// An option that dnsmasq does not know: addresses, octets in hexadecimal, a number, else text.
fn guessed(code: u16, family: Family, value: &str) -> DhcpOption {
    let parts: Vec<_> = value.split(',').map(|part| unbracketed(part.trim())).collect();
    let addresses: Vec<IpAddr> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    let octets: Vec<_> = value.split(':').collect();
    let hex = |text: &&str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (encoding, values) = if addresses.len() == parts.len() {
        (OptionEncoding::IP, addresses.iter().map(ToString::to_string).collect())
    } else if octets.len() > 1 && octets.iter().all(hex) {
        (OptionEncoding::Hex, vec![octets.concat()])
    } else if let Ok(number) = value.parse::<u32>() {
        let encoding = match number {
            0..=0xff => OptionEncoding::Uint8,
            0x100..=0xffff => OptionEncoding::Uint16,
            _ => OptionEncoding::Uint32,
        };
        (encoding, vec![number.to_string()])
    } else {
        let quoted = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        (OptionEncoding::Text, vec![quoted.unwrap_or(value).to_owned()])
    };
    DhcpOption { code: Some(code), encoding: Some(encoding), values, ..of(family) }
}

impl Form {
    fn values(self, value: &str) -> Result<(OptionEncoding, Vec<String>), String> {
        let list = || value.split(',').map(|part| part.trim().to_owned()).collect();
        let one = |encoding, text: String| (encoding, vec![text]);
        Ok(match self {
            Self::Text => one(OptionEncoding::Text, value.to_owned()),
            Self::List => (OptionEncoding::Text, list()),
            Self::Address => (OptionEncoding::IP, list()),
            Self::Uint8 => one(OptionEncoding::Uint8, value.to_owned()),
            Self::Uint16 => one(OptionEncoding::Uint16, value.to_owned()),
            Self::Uint32 => one(OptionEncoding::Uint32, value.to_owned()),
            Self::Seconds => one(OptionEncoding::Uint32, seconds(value)?.to_string()),
            Self::Routes => one(OptionEncoding::Hex, routes(value)?),
            Self::Flag => one(OptionEncoding::Text, (value != "0").to_string()),
        })
    }
}

fn seconds(text: &str) -> Result<u32, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let unit = units.iter().find(|(letter, _)| text.ends_with(*letter));
    let digits = unit.map_or(text, |(letter, _)| text.trim_end_matches(*letter));
    let number: Option<u32> = digits.parse().ok();
    let all = number.and_then(|number| number.checked_mul(unit.map_or(1, |(_, seconds)| *seconds)));
    all.ok_or_else(|| format!("{text:?} is not a time"))
}

/// `10.0.0.0/8,10.0.0.1,…` as RFC 3442 has it.
fn routes(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    let pairs = parts.chunks(2).map(|pair| match pair {
        [net, hop] => Some((net.parse::<Ipv4Net>().ok()?, hop.parse::<Ipv4Addr>().ok()?)),
        _ => None,
    });
    let routes: Option<Vec<_>> = pairs.collect();
    let bytes = routes.ok_or("is not a list of networks and next hops")?.into_iter().flat_map(route);
    Ok(bytes.fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

/// The options that dnsmasq knows by name, with their codes.
const IPV4: [(&str, u16, Form); 58] = [
    ("netmask", 1, Form::Address),
    ("time-offset", 2, Form::List),
    ("router", 3, Form::Address),
    ("dns-server", 6, Form::Address),
    ("log-server", 7, Form::List),
    ("lpr-server", 9, Form::List),
    ("hostname", 12, Form::Text),
    ("boot-file-size", 13, Form::List),
    ("domain-name", 15, Form::Text),
    ("swap-server", 16, Form::List),
    ("root-path", 17, Form::Text),
    ("extension-path", 18, Form::Text),
    ("ip-forward-enable", 19, Form::Flag),
    ("non-local-source-routing", 20, Form::Uint8),
    ("policy-filter", 21, Form::Address),
    ("max-datagram-reassembly", 22, Form::Uint16),
    ("default-ttl", 23, Form::List),
    ("mtu", 26, Form::Uint16),
    ("all-subnets-local", 27, Form::Uint8),
    ("broadcast", 28, Form::Address),
    ("router-discovery", 31, Form::Uint8),
    ("router-solicitation", 32, Form::Address),
    ("static-route", 33, Form::Address),
    ("trailer-encapsulation", 34, Form::Uint8),
    ("arp-timeout", 35, Form::Uint32),
    ("ethernet-encap", 36, Form::Uint8),
    ("tcp-ttl", 37, Form::List),
    ("tcp-keepalive", 38, Form::List),
    ("nis-domain", 40, Form::Text),
    ("nis-server", 41, Form::List),
    ("ntp-server", 42, Form::List),
    ("netbios-ns", 44, Form::List),
    ("netbios-dd", 45, Form::List),
    ("netbios-nodetype", 46, Form::List),
    ("netbios-scope", 47, Form::Text),
    ("x-windows-fs", 48, Form::List),
    ("x-windows-dm", 49, Form::List),
    ("requested-address", 50, Form::Address),
    ("lease-time", 51, Form::Seconds),
    ("T1", 58, Form::Seconds),
    ("T2", 59, Form::Seconds),
    ("vendor-class", 60, Form::Text),
    ("nis+-domain", 64, Form::Text),
    ("nis+-server", 65, Form::List),
    ("tftp-server", 66, Form::Text),
    ("bootfile-name", 67, Form::Text),
    ("mobile-ip-home", 68, Form::List),
    ("smtp-server", 69, Form::List),
    ("pop3-server", 70, Form::List),
    ("nntp-server", 71, Form::List),
    ("irc-server", 74, Form::List),
    ("posix-timezone", 100, Form::Text),
    ("tzdb-timezone", 101, Form::Text),
    ("domain-search", 119, Form::List),
    ("sip-server", 120, Form::List),
    ("classless-static-route", 121, Form::Routes),
    ("tftp-server-address", 150, Form::List),
    ("server-ip-address", 255, Form::List),
];

#[cfg(test)]
mod tests;
