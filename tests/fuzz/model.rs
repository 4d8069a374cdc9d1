//! What a dnsmasq is told, read from its files by rules of our own: none of the program's code is used.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Options by tag and code.
pub type Options = BTreeMap<(String, u8), Vec<u8>>;

/// The command line and the files of one dnsmasq.
#[derive(Debug, Default, PartialEq)]
pub struct Model {
    pub argv: Vec<String>,
    /// MAC address → tag, address, name.
    pub hosts: BTreeMap<String, (String, Ipv4Addr, String)>,
    pub options: Options,
    pub names: BTreeMap<Ipv4Addr, Vec<String>>,
}

/// As dnsmasq reads a line: at most so many bytes, else it is two.
const LINE: usize = 1_024;

/// Codes under which dnsmasq takes addresses, or texts, and nothing else.
const ADDRESSES: [u8; 22] =
    [3, 6, 7, 9, 16, 21, 32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 74, 150, 255];
const TEXTS: [u8; 9] = [15, 17, 18, 40, 64, 66, 67, 100, 101];

impl Model {
    pub fn read(argv: &[String], hosts: &str, options: &str, names: &str) -> Result<Self, String> {
        let mut model = Self { argv: argv.to_vec(), ..Self::default() };
        for line in lines(hosts)? {
            let (mac, host) = host(line).ok_or_else(|| format!("no host: {line:?}"))?;
            if model.hosts.insert(mac, host).is_some() {
                return Err(format!("two lines for one MAC address: {line:?}"));
            }
        }
        for line in lines(options)? {
            let (key, bytes) = option(line).ok_or_else(|| format!("no option: {line:?}"))?;
            if model.options.insert(key, bytes).is_some() {
                return Err(format!("two lines for one option: {line:?}"));
            }
        }
        for line in lines(names)? {
            let (ip, name) = name(line).ok_or_else(|| format!("no name: {line:?}"))?;
            model.names.entry(ip).or_default().push(name);
        }
        Ok(model)
    }
}

fn lines(text: &str) -> Result<Vec<&str>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let lines: Vec<_> = text.split_terminator('\n').collect();
    match lines
        .iter()
        .find(|line| line.len() + 1 >= LINE || !line.bytes().all(|b| (b' '..=b'~').contains(&b)))
    {
        Some(line) => Err(format!("not one line of plain text: {line:?}")),
        None => Ok(lines),
    }
}

/// `02:00:00:00:00:01,set:p1,10.0.0.5,name.`
fn host(line: &str) -> Option<(String, (String, Ipv4Addr, String))> {
    let [mac, tag, ip, name] = line.split(',').collect::<Vec<_>>()[..] else { return None };
    let octets: Vec<_> = mac.split(':').collect();
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if octets.len() != 6 || !octets.iter().all(|octet| octet.len() == 2 && octet.bytes().all(hex)) {
        return None;
    }
    let tag = tag.strip_prefix("set:").filter(|tag| is_tag(tag))?;
    let name = name.strip_suffix('.').filter(|name| is_label(name))?;
    Some((mac.to_owned(), (tag.to_owned(), address(ip)?, name.to_owned())))
}

/// `tag:p1,67,"ipxe.efi"`
fn option(line: &str) -> Option<((String, u8), Vec<u8>)> {
    let (tag, rest) = line.strip_prefix("tag:")?.split_once(',')?;
    let (code, value) = match rest.split_once(',') {
        Some((code, value)) => (code, Some(value)),
        None => (rest, None),
    };
    let code: u8 = code.parse().ok().filter(|number: &u8| number.to_string() == code)?;
    let bytes = match (code, value) {
        (3 | 6, None) => Vec::new(),
        (58 | 59, Some(value)) => value.parse::<u32>().ok()?.to_be_bytes().to_vec(),
        (119, Some(value)) => names_on_the_wire(value)?,
        (_, Some(value)) if ADDRESSES.contains(&code) => addresses(value)?,
        (_, Some(value)) if TEXTS.contains(&code) => quoted(value)?,
        (_, Some(value)) => raw(value)?,
        (_, None) => return None,
    };
    (is_tag(tag) && bytes.len() <= 255).then(|| ((tag.to_owned(), code), bytes))
}

fn addresses(value: &str) -> Option<Vec<u8>> {
    // 0.0.0.0 would become the server's own.
    let ips = value.split(',').map(|text| address(text).filter(|ip| !ip.is_unspecified()));
    Some(ips.collect::<Option<Vec<_>>>()?.iter().flat_map(Ipv4Addr::octets).collect())
}

/// A text in quotes, in which a backslash takes the next one as it is. dnsmasq takes the last letter of
/// one that is "s" or "i" after hyphens for a unit.
fn quoted(value: &str) -> Option<Vec<u8>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    let (mut text, mut rest) = (Vec::new(), inner.bytes());
    while let Some(byte) = rest.next() {
        text.push(match byte {
            b'"' => return None,
            b'\\' => rest.next().filter(|b| matches!(b, b'"' | b'\\'))?,
            byte => byte,
        });
    }
    let unit = matches!(text[..], [ref hyphens @ .., b's' | b'i'] if hyphens.iter().all(|b| *b == b'-'));
    (!unit).then_some(text)
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

fn names_on_the_wire(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for name in value.split(',') {
        for label in name.split('.') {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
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

/// `10.0.0.5 name.of.it`
fn name(line: &str) -> Option<(Ipv4Addr, String)> {
    let (ip, name) = line.split_once(' ')?;
    (name.len() <= 253 && name.split('.').all(is_label)).then_some((address(ip)?, name.to_owned()))
}

fn address(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok().filter(|ip: &Ipv4Addr| ip.to_string() == text)
}

fn is_tag(text: &str) -> bool {
    let digits = text.strip_prefix(['p', 's']).unwrap_or_default();
    digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}
