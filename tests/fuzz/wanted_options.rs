//! Options as they were written to what is sent, by a table of our own (RFC 2132, 3442, 3397; of DHCPv6
//! RFC 3319, 3646, 3898, 4075, 4833, 5908, 5970, 8415).

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::model::Code;
use crate::net::{Net, octets};

const NAMED: [(&str, u8, &str); 34] = [
    ("time-offset", 2, "Int32"),
    ("log-server", 7, "IP"),
    ("lpr-server", 9, "IP"),
    ("boot-file-size", 13, "Uint16"),
    ("swap-server", 16, "IP"),
    ("root-path", 17, "Text"),
    ("extension-path", 18, "Text"),
    ("ip-forward-enable", 19, "Flag"),
    ("default-ttl", 23, "Uint8"),
    ("tcp-ttl", 37, "Uint8"),
    ("tcp-keepalive", 38, "Uint32"),
    ("nis-domain", 40, "Text"),
    ("nis-server", 41, "IP"),
    ("ntp-server", 42, "IP"),
    ("netbios-ns", 44, "IP"),
    ("netbios-dd", 45, "IP"),
    ("netbios-nodetype", 46, "Uint8"),
    ("netbios-scope", 47, "Text"),
    ("x-windows-fs", 48, "IP"),
    ("x-windows-dm", 49, "IP"),
    ("nis+-domain", 64, "Text"),
    ("nis+-server", 65, "IP"),
    ("tftp-server", 66, "Text"),
    ("bootfile-name", 67, "Text"),
    ("mobile-ip-home", 68, "IP"),
    ("smtp-server", 69, "IP"),
    ("pop3-server", 70, "IP"),
    ("nntp-server", 71, "IP"),
    ("irc-server", 74, "IP"),
    ("posix-timezone", 100, "Text"),
    ("tzdb-timezone", 101, "Text"),
    ("domain-search", 119, "Names"),
    ("sip-server", 120, "IP"),
    ("tftp-server-address", 150, "IP"),
];

/// Of DHCPv6.
const NAMED_SIX: [(&str, u16, &str); 14] = [
    ("sip-server-domain", 21, "Names"),
    ("sip-server", 22, "IP"),
    ("domain-search", 24, "Names"),
    ("nis-server", 27, "IP"),
    ("nis+-server", 28, "IP"),
    ("nis-domain", 29, "Names"),
    ("nis+-domain", 30, "Names"),
    ("sntp-server", 31, "IP"),
    ("information-refresh-time", 32, "Uint32"),
    ("posix-timezone", 41, "Text"),
    ("tzdb-timezone", 42, "Text"),
    ("ntp-server", 56, "NTP"),
    ("bootfile-url", 59, "Text"),
    ("bootfile-param", 60, "Texts"),
];

/// Codes and bytes, of the protocol of a Subnet if it is one's; `None`: it cannot be sent.
pub fn option(written: &Value, six: Option<bool>) -> Option<Vec<(Code, Vec<u8>)>> {
    let values: Vec<_> = written["values"].as_array()?.iter().filter_map(Value::as_str).collect();
    let six = six.or(written["family"].as_str().map(|family| family == "IPv6"));
    let Some(name) = written["name"].as_str() else {
        let (code, form) = (written["code"].as_u64()?, written["encoding"].as_str().unwrap_or("Text"));
        let code = if six? { Code::V6(code.try_into().ok()?) } else { Code::V4(code.try_into().ok()?) };
        return Some(vec![(code, bytes(code, form, &values)?)]);
    };
    let of_four = match name {
        "server-ip-address" => Some((Code::V4(255), "IP")),
        _ => NAMED.iter().find(|row| row.0 == name).map(|row| (Code::V4(row.1), row.2)),
    };
    let of_six = NAMED_SIX.iter().find(|row| row.0 == name).map(|row| (Code::V6(row.1), row.2));
    // Addresses say themselves where they belong.
    let of_addresses = values.first().map(|ip| ip.contains(':')).filter(|_| {
        let both = of_four.zip(of_six);
        both.is_some_and(|(four, _)| four.1 == "IP")
    });
    let six = six.or(of_addresses);
    let of_four = of_four.filter(|_| six != Some(true));
    let of_six = of_six.filter(|_| six != Some(false));
    let sent = of_four.into_iter().chain(of_six);
    let sent = sent.map(|(code, form)| Some((code, bytes(code, form, &values)?)));
    sent.collect::<Option<Vec<_>>>().filter(|sent| !sent.is_empty())
}

fn bytes(code: Code, form: &str, values: &[&str]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for value in values {
        match form {
            "Text" => all.extend_from_slice(value.as_bytes()),
            "Texts" => {
                all.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
                all.extend_from_slice(value.as_bytes());
            }
            "IP" if matches!(code, Code::V4(_)) => all.extend(value.parse::<Ipv4Addr>().ok()?.octets()),
            "IP" => all.extend(value.parse::<Ipv6Addr>().ok()?.octets()),
            "NTP" => {
                let ip = value.parse::<Ipv6Addr>().ok()?.octets();
                all.extend([0, if ip[0] == 0xff { 2 } else { 1 }, 0, 16]);
                all.extend(ip);
            }
            "Uint8" => all.push(value.parse().ok()?),
            "Uint16" => all.extend(value.parse::<u16>().ok()?.to_be_bytes()),
            "Uint32" => all.extend(value.parse::<u32>().ok()?.to_be_bytes()),
            "Int32" => all.extend(value.parse::<i32>().ok()?.to_be_bytes()),
            "Flag" => all.push(u8::from(*value == "true")),
            "Hex" => {
                for at in (0..value.len()).step_by(2) {
                    all.push(u8::from_str_radix(value.get(at..at + 2)?, 16).ok()?);
                }
            }
            _ => all.extend(wire_name(value)?),
        }
    }
    Some(all)
}

/// RFC 1035.
pub fn wire_name(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend(label.to_ascii_lowercase().bytes());
    }
    bytes.push(0);
    Some(bytes)
}

/// Classless routes: what is on the link as far as there is room, the tenant's own, the default one.
pub fn routes(on_link: &[Net], own: &[(Net, Ipv4Addr)], gateway: Option<Ipv4Addr>, subnet: Net) -> Vec<u8> {
    let route = |net: Net, hop: Ipv4Addr| {
        let mut bytes = vec![u8::try_from(net.length).unwrap()];
        bytes.extend(&octets(net.ip)[..net.length.div_ceil(8) as usize]);
        bytes.extend(hop.octets());
        bytes
    };
    let own = own.iter().filter(|(net, _)| net.length > 0 || gateway.is_none());
    let mut last: Vec<u8> = own.flat_map(|(net, hop)| route(*net, *hop)).collect();
    let mut some = !on_link.is_empty() || !last.is_empty();
    if let Some(gateway) = gateway {
        let outside = !subnet.contains(gateway.into());
        if outside {
            last.extend(route(Net { ip: gateway.into(), length: 32 }, Ipv4Addr::UNSPECIFIED));
        }
        some |= outside;
        if some {
            last.extend(route(Net { ip: Ipv4Addr::UNSPECIFIED.into(), length: 0 }, gateway));
        }
    }
    if !some {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    for net in on_link {
        let route = route(*net, Ipv4Addr::UNSPECIFIED);
        if bytes.len() + route.len() + last.len() <= 255 {
            bytes.extend(route);
        }
    }
    bytes.extend(last);
    bytes
}
