//! A line of the options' file, as dnsmasq takes it: the bytes that it sends.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::{Code, address, bracketed, is_tag};

/// No client of DHCPv6 has it, so it is that of router advertisements.
pub const ADVERTISED: &str = "!dhcpv6";

/// The server's own address of a prefix that none of these tests has: nothing is sent.
const NO_SERVER: &str = "[fd00::]";

/// Codes under which dnsmasq takes addresses, or texts, and nothing else.
const ADDRESSES: [u8; 22] =
    [3, 6, 7, 9, 16, 21, 32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 74, 150, 255];
const TEXTS: [u8; 9] = [15, 17, 18, 40, 64, 66, 67, 100, 101];

/// `tag:p1,67,"ipxe.efi"`, `tag:p1,tag:dhcpv6,option6:23,[2001:db8::53]`, and for router advertisements
/// `tag:!dhcpv6,option6:23,[2001:db8::53]`
pub fn option(line: &str) -> Option<((String, Code), Vec<u8>)> {
    let (tag, rest) = line.strip_prefix("tag:")?.split_once(',')?;
    let advertised = tag == ADVERTISED;
    let of_dhcpv6 = rest.strip_prefix("tag:dhcpv6,").filter(|_| !advertised);
    let rest = of_dhcpv6.unwrap_or(rest);
    let (code, value) = match rest.split_once(',') {
        Some((code, value)) => (code, Some(value)),
        None => (rest, None),
    };
    let plain = |code: &str| code.parse().ok().filter(|number: &u16| number.to_string() == code);
    let (code, bytes) = if let Some(code) = code.strip_prefix("option6:") {
        let code = plain(code)?;
        let none = code == 23 && of_dhcpv6.is_some() && value == Some(NO_SERVER);
        (Code::V6(code), if none { Vec::new() } else { six(code, value)? })
    } else {
        let code = u8::try_from(plain(code)?).ok()?;
        (Code::V4(code), four(code, value)?)
    };
    let six = matches!(code, Code::V6(_));
    let is_said = if advertised { six } else { is_tag(tag) && six == of_dhcpv6.is_some() };
    (is_said && bytes.len() <= 255).then(|| ((tag.to_owned(), code), bytes))
}

fn four(code: u8, value: Option<&str>) -> Option<Vec<u8>> {
    match (code, value) {
        (3 | 6, None) => Some(Vec::new()),
        (_, None) => None,
        (58 | 59, Some(value)) => seconds(value),
        (119, Some(value)) => names_on_the_wire(value),
        (_, Some(value)) if ADDRESSES.contains(&code) => quads(value),
        (_, Some(value)) if TEXTS.contains(&code) => quoted(value),
        (_, Some(value)) => raw(value),
    }
}

fn six(code: u16, value: Option<&str>) -> Option<Vec<u8>> {
    match (code, value) {
        // Made by the server, or by the protocol: a second one, or a wrong one, loses the answer.
        (0..=16 | 18..=20 | 25 | 26 | 39, _) | (..=22 | 24.., None) => None,
        (23, None) => Some(Vec::new()),
        (22 | 23 | 27 | 28 | 31, Some(value)) => Some(in_brackets(value)?.concat()),
        (21 | 24 | 29 | 30, Some(value)) => names_on_the_wire(value),
        (32, Some(value)) => seconds(value),
        (41 | 42 | 59, Some(value)) => quoted(value),
        (56, Some(value)) => {
            // A multicast address becomes another suboption.
            let suboption = |ip: &[u8; 16]| [&[0, 1 + u8::from(ip[0] == 255), 0, 16], &ip[..]].concat();
            Some(in_brackets(value)?.iter().flat_map(suboption).collect())
        }
        (60, Some(value)) => {
            let texts = quoted_list(value)?;
            let with_length = |text: Vec<u8>| {
                // An empty one would be the end of the list.
                let length = u16::try_from(text.len()).ok().filter(|length| *length > 0)?;
                Some([&length.to_be_bytes()[..], &text].concat())
            };
            Some(texts.into_iter().map(with_length).collect::<Option<Vec<_>>>()?.concat())
        }
        (_, Some(value)) => raw(value),
    }
}

fn seconds(value: &str) -> Option<Vec<u8>> {
    Some(value.parse::<u32>().ok()?.to_be_bytes().to_vec())
}

fn quads(value: &str) -> Option<Vec<u8>> {
    let quad = |text| match address(text)? {
        // 0.0.0.0 would become the server's own.
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip.octets()),
        _ => None,
    };
    Some(value.split(',').map(quad).collect::<Option<Vec<_>>>()?.concat())
}

fn in_brackets(value: &str) -> Option<Vec<[u8; 16]>> {
    // These would become the server's own, or nothing.
    let own = ["::", "fd00::", "fe80::"];
    let octets = |ip: Ipv6Addr| (!own.contains(&ip.to_string().as_str())).then(|| ip.octets());
    value.split(',').map(|text| bracketed(text).and_then(octets)).collect()
}

/// One text in quotes. dnsmasq takes the last letter of one that is "s" or "i" after hyphens for a unit.
fn quoted(value: &str) -> Option<Vec<u8>> {
    let [text] = &quoted_list(value)?[..] else { return None };
    Some(text.clone())
}

/// Texts in quotes, in which a backslash takes the next one as it is, with commas between.
fn quoted_list(value: &str) -> Option<Vec<Vec<u8>>> {
    let (mut texts, mut rest) = (Vec::new(), value.bytes());
    loop {
        let mut text = Vec::new();
        rest.next().filter(|byte| *byte == b'"')?;
        loop {
            match rest.next()? {
                b'"' => break,
                b'\\' => text.push(rest.next().filter(|b| matches!(b, b'"' | b'\\'))?),
                byte => text.push(byte),
            }
        }
        texts.push(text);
        match rest.next() {
            Some(b',') => {}
            Some(_) => return None,
            None => break,
        }
    }
    let unit =
        |text: &[u8]| matches!(text, [hyphens @ .., b's' | b'i'] if hyphens.iter().all(|b| *b == b'-'));
    (texts.len() > 1 || !unit(&texts[0])).then_some(texts)
}

/// `10b`, or pairs of hex digits with colons, two pairs at least.
fn raw(value: &str) -> Option<Vec<u8>> {
    if let Some(number) = value.strip_suffix('b').filter(|_| !value.contains(':')) {
        return number.parse().ok().map(|byte: u8| vec![byte]).filter(|byte| byte[0].to_string() == number);
    }
    let pairs: Vec<_> = value.split(':').collect();
    let pair = |pair: &&str| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten();
    (pairs.len() > 1).then(|| pairs.iter().map(pair).collect()).flatten()
}

/// Names, of which dnsmasq makes capital letters small ones. It takes the last letter of the whole for a
/// unit if it is one and nothing but digits and hyphens is before it.
fn names_on_the_wire(value: &str) -> Option<Vec<u8>> {
    let number = value.strip_suffix(['b', 'i', 's']);
    if number.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'-')) {
        return None;
    }
    let mut bytes = Vec::new();
    for name in value.split(',') {
        for label in name.strip_suffix('.').unwrap_or(name).split('.') {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
            let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
            if !label.bytes().all(plain) {
                return None;
            }
            bytes.push(length);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
    }
    Some(bytes)
}
