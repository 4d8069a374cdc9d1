//! Options as they were written to what is sent, by a table of our own (RFC 2132, 3442, 3397).

use std::net::Ipv4Addr;

use serde_json::Value;

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

/// Code and bytes; `None`: it cannot be sent.
pub fn option(written: &Value) -> Option<(u8, Vec<u8>)> {
    let (code, form) = match written["name"].as_str() {
        Some("server-ip-address") => (255, "IP"),
        Some(name) => NAMED.iter().find(|row| row.0 == name).map(|row| (row.1, row.2))?,
        None => {
            let code = u8::try_from(written["code"].as_u64()?).ok()?;
            (code, written["encoding"].as_str().unwrap_or("Text"))
        }
    };
    let values: Vec<_> = written["values"].as_array()?.iter().filter_map(Value::as_str).collect();
    Some((code, bytes(form, &values)?))
}

fn bytes(form: &str, values: &[&str]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for value in values {
        match form {
            "Text" => all.extend_from_slice(value.as_bytes()),
            "IP" => all.extend(value.parse::<Ipv4Addr>().ok()?.octets()),
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
            _ => {
                for label in value.split('.') {
                    all.push(u8::try_from(label.len()).ok()?);
                    all.extend(label.to_ascii_lowercase().bytes());
                }
                all.push(0);
            }
        }
    }
    Some(all)
}

type Net = (u32, u32);

/// Classless routes: what is on the link as far as there is room, the tenant's own, the default one.
pub fn routes(on_link: &[Net], own: &[(Net, Ipv4Addr)], gateway: Option<Ipv4Addr>, subnet: Net) -> Vec<u8> {
    let route = |(net, length): Net, hop: Ipv4Addr| {
        let mut bytes = vec![u8::try_from(length).unwrap()];
        bytes.extend(&net.to_be_bytes()[..length.div_ceil(8) as usize]);
        bytes.extend(hop.octets());
        bytes
    };
    let own = own.iter().filter(|((_, length), _)| *length > 0 || gateway.is_none());
    let mut last: Vec<u8> = own.flat_map(|(net, hop)| route(*net, *hop)).collect();
    let mut some = !on_link.is_empty() || !last.is_empty();
    if let Some(gateway) = gateway {
        let (net, length) = subnet;
        let outside = length > 0 && (u32::from(gateway) ^ net) >> (32 - length) != 0;
        if outside {
            last.extend(route((gateway.into(), 32), Ipv4Addr::UNSPECIFIED));
        }
        some |= outside;
        if some {
            last.extend(route((0, 0), gateway));
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
