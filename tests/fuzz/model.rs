//! What a dnsmasq is told, read from its files by rules of our own: none of the program's code is used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use crate::identity::is_identifier;
use crate::model_options::option;

/// An option's number in its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    V4(u8),
    V6(u16),
}

/// Options by tag and code.
pub type Options = BTreeMap<(String, Code), Vec<u8>>;

/// A line for one MAC address in one protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    pub tag: String,
    /// The one that is offered, and others that may be had; none: it gets options alone.
    pub ips: Vec<IpAddr>,
    /// Empty where there is no address: dnsmasq would look for one by it.
    pub name: String,
}

/// The command line and the files of one dnsmasq, and what is around it.
#[derive(Debug, Default, PartialEq)]
pub struct Model {
    pub argv: Vec<String>,
    /// By MAC address or identifier, and whether it is of DHCPv6.
    pub hosts: BTreeMap<(String, bool), Host>,
    /// MAC addresses and identifiers that DHCPv4 does not answer.
    pub silent: BTreeSet<String>,
    pub options: Options,
    pub names: BTreeMap<IpAddr, Vec<String>>,
    /// The MAC addresses that DHCPv6 hears; `None`: all.
    pub known: Option<BTreeSet<String>>,
    pub neighbours: BTreeMap<Ipv6Addr, String>,
}

/// As dnsmasq reads a line: at most so many bytes, else it is two.
const LINE: usize = 1_024;

impl Model {
    pub fn read(argv: &[String], hosts: &str, options: &str, names: &str) -> Result<Self, String> {
        let mut model = Self { argv: argv.to_vec(), ..Self::default() };
        for line in lines(hosts)? {
            let is_guest = |who: &&str| is_mac(who) || is_identifier(who);
            if let Some(who) = line.strip_suffix(",tag:!dhcpv6,ignore").filter(is_guest) {
                model.silent.insert(who.to_owned());
                continue;
            }
            let (client, host) = host(line).ok_or_else(|| format!("no host: {line:?}"))?;
            if model.hosts.insert(client, host).is_some() {
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

/// `02:00:00:00:00:01,tag:!dhcpv6,set:p1,10.0.0.5,name.`, or
/// `02:00:00:00:00:01,tag:dhcpv6,set:p1,[2001:db8::6],[2001:db8::5],name.`, or
/// `02:00:00:00:00:01,tag:dhcpv6,set:s1`
fn host(line: &str) -> Option<((String, bool), Host)> {
    let fields: Vec<_> = line.split(',').collect();
    let [mac, protocol, tag, rest @ ..] = &fields[..] else { return None };
    if !is_mac(mac) && !is_identifier(mac) {
        return None;
    }
    let six = match *protocol {
        "tag:dhcpv6" => true,
        "tag:!dhcpv6" => false,
        _ => return None,
    };
    let tag = tag.strip_prefix("set:").filter(|tag| is_tag(tag))?.to_owned();
    let client = ((*mac).to_owned(), six);
    let [ips @ .., name] = rest else {
        return six.then(|| (client, Host { tag, ips: Vec::new(), name: String::new() }));
    };
    let ip = |text: &&str| {
        if six { bracketed(text).map(IpAddr::V6) } else { address(text).filter(IpAddr::is_ipv4) }
    };
    // Of several it offers the last; DHCPv4 has but one.
    let ips: Vec<IpAddr> = ips.iter().rev().map(ip).collect::<Option<_>>()?;
    if ips.is_empty() || (!six && ips.len() > 1) {
        return None;
    }
    let name = name.strip_suffix('.').filter(|name| is_label(name))?.to_owned();
    Some((client, Host { tag, ips, name }))
}

pub fn is_mac(text: &str) -> bool {
    let octets: Vec<_> = text.split(':').collect();
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    octets.len() == 6 && octets.iter().all(|octet| octet.len() == 2 && octet.bytes().all(hex))
}

/// `10.0.0.5 name.of.it`
fn name(line: &str) -> Option<(IpAddr, String)> {
    let (ip, name) = line.split_once(' ')?;
    (name.len() <= 253 && name.split('.').all(is_label)).then_some((address(ip)?, name.to_owned()))
}

/// In its one spelling.
pub fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|ip: &IpAddr| ip.to_string() == text)
}

/// Without brackets an IPv6 address is something else in most places.
pub fn bracketed(text: &str) -> Option<Ipv6Addr> {
    match address(text.strip_prefix('[')?.strip_suffix(']')?)? {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

pub fn is_tag(text: &str) -> bool {
    let digits = text.strip_prefix(['p', 's']).unwrap_or_default();
    digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}
