//! What the guests of one network shall get, in the terms of the protocols and not of a server.
//!
//! Made by `desired`, rendered by `dnsmasq`. Another server would start from here. Pure.

mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::node::Family;
use crate::types::{DomainName, HostName, Identity, IpRange, MacAddr, TxtRecord};

pub use kinds::{Kind, Kinds, Machine};

/// An option's number in its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// RFC 2132; 255 stands for the packet's `siaddr`.
    V4(u8),
    /// RFC 8415.
    V6(u16),
}

impl Code {
    /// Before and after all there are.
    pub const ALL: RangeInclusive<Self> = Self::V4(0)..=Self::V6(u16::MAX);

    /// In which protocol.
    pub fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(code) => write!(f, "{code}"),
            Self::V6(code) => write!(f, "{code} of DHCPv6"),
        }
    }
}

/// DHCP options by code, each the bytes of its value; no bytes: the option is not sent, not even a
/// default.
pub type Options = BTreeMap<Code, Vec<u8>>;

/// Options, and values for guests of some kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionList {
    /// For all guests for whom no other is.
    pub plain: Options,
    /// No two of a code are for one guest.
    pub special: Vec<SpecialOption>,
}

/// An option for some guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialOption {
    /// Which.
    pub code: Code,
    /// For whom.
    pub kinds: Kinds,
    /// The bytes of its value.
    pub value: Vec<u8>,
}

impl OptionList {
    /// Takes options in that win over these: a plain one over all of its code.
    pub fn extend(&mut self, more: Self) {
        for special in &mut self.special {
            let others = more.special.iter().filter(|other| other.code == special.code);
            special.kinds = others.fold(special.kinds, |kinds, other| kinds.without(other.kinds));
        }
        self.special.retain(|old| !more.plain.contains_key(&old.code) && !old.kinds.is_empty());
        self.special.extend(more.special);
        self.plain.extend(more.plain);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.special.is_empty()
    }

    /// Those of one protocol.
    #[must_use]
    pub fn of(mut self, family: Family) -> Self {
        self.plain.retain(|code, _| code.family() == family);
        self.special.retain(|special| special.code.family() == family);
        self
    }

    /// Each code with each of its values.
    pub fn values(&self) -> impl Iterator<Item = (Code, &[u8])> {
        let special = self.special.iter().map(|special| (special.code, special.value.as_slice()));
        self.plain.iter().map(|(code, value)| (*code, value.as_slice())).chain(special)
    }
}

/// DHCP and DNS of one network on one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The subnets with a server, in the order of their names.
    pub scopes: Vec<Scope>,
    /// What router advertisements say beside the prefixes; `None`: there are none.
    pub advertisement: Option<Advertisement>,
    /// The ports that DHCP answers.
    pub reservations: Vec<Reservation>,
    /// The names of each address, the one of its reverse look-up first.
    pub names: BTreeMap<IpAddr, Vec<DomainName>>,
    /// The link's MTU, which all DHCPv4 guests are told whether they ask or not: one that does not know of a
    /// smaller one loses packets.
    pub mtu: Option<u16>,
    /// The network's domain: names below it are never forwarded.
    pub domain: Option<DomainName>,
    /// TXT records, whoever's name they have.
    pub txt: BTreeSet<TxtRecord>,
    /// Prefixes whose reverse look-ups are never forwarded: all subnets of the network.
    pub reverse: Vec<IpNet>,
    /// Where all other questions go; none: they are refused.
    pub forwarders: Vec<IpAddr>,
    /// What all servers of the network are one DHCPv6 server by: the part of their DUID that is ours to
    /// choose (DUID-EN, RFC 8415 §11.3).
    pub identity: [u8; 16],
    /// Guests whom DHCPv4 does not answer although it answers strangers.
    pub silent: BTreeSet<Identity>,
    /// Who is answered although no guest, if anybody is.
    pub asker: Option<Asker>,
}

impl Service {
    /// Whether DHCP answers strangers.
    pub fn is_open(&self) -> bool {
        self.scopes.iter().any(|scope| !scope.dynamic.is_empty())
    }
}

/// The agent, who asks the server whether it answers. It gets no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// What its frames come from, and what it calls itself in DHCPv4. No guest sees it, so that none can
    /// speak in its name.
    pub mac: MacAddr,
    /// Who it is in DHCPv6: the server's own device, from whose address it asks.
    pub device: MacAddr,
}

/// A subnet with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Stands for the subnet in the server's files: letters and digits.
    pub key: String,
    /// The subnet.
    pub cidr: IpNet,
    /// How its guests get addresses.
    pub addressing: Addressing,
    /// Whether the servers advertise it.
    pub advertised: bool,
    /// Addresses for strangers; empty: they are not answered.
    pub dynamic: Vec<IpRange>,
    /// Lease time in seconds; `u32::MAX` is infinite (RFC 2131 §3.3). Of an advertised prefix its lifetime.
    pub lease_seconds: u32,
    /// What the guests of the subnet get.
    pub options: OptionList,
}

/// How the guests of a subnet get addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// From DHCP.
    Dhcp,
    /// By themselves, of the prefix that is advertised; options from DHCP.
    Stateless,
    /// By themselves, and nothing from DHCP.
    Slaac,
}

impl Scope {
    /// Whether it has guests that DHCP answers.
    pub fn has_dhcp(&self) -> bool {
        self.cidr.addr().is_ipv4() || self.has_dhcpv6()
    }

    /// Whether it has IPv6 guests that DHCP answers.
    pub fn has_dhcpv6(&self) -> bool {
        self.cidr.addr().is_ipv6() && self.addressing != Addressing::Slaac
    }
}

/// What router advertisements say beside the prefixes. That whoever sends them is no router is always said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// Of the link.
    pub mtu: Option<u16>,
    /// DNS servers and search list (RFC 8106), as the options 23 and 24 of DHCPv6.
    pub options: Options,
}

/// What a port is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The address that it is offered.
    pub ip: IpAddr,
    /// Others that it may have besides: a DHCPv6 client may ask for several (RFC 8415 §12.1, an IAID for
    /// each).
    pub more: Vec<IpAddr>,
    /// Its host name, and its name while it has a lease (option 12; in DHCPv6 option 39).
    pub name: HostName,
}

impl Offer {
    /// All of its addresses.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        std::iter::once(self.ip).chain(self.more.iter().copied())
    }
}

/// A port that DHCP answers, in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Stands for the port in the server's files: letters and digits.
    pub key: String,
    /// Whom to answer.
    pub identity: Identity,
    /// The device that it has, or has most of the time, if that is known.
    pub device: Option<MacAddr>,
    /// In which family.
    pub family: Family,
    /// With which address; `None`: with options alone.
    pub offer: Option<Offer>,
    /// The key of the subnet whose options it gets.
    pub scope: String,
    /// What it gets besides, or instead of, the subnet's: of its family.
    pub options: OptionList,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_more_special_wins_but_never_over_the_nearer_object() {
        let (boot, other) = (Code::V4(67), Code::V4(66));
        let special = |code, machines: Option<&[Machine]>, ipxe, value: &[u8]| SpecialOption {
            code,
            kinds: Kinds::new(machines, ipxe),
            value: value.to_vec(),
        };
        let mut network = OptionList {
            plain: Options::from([(boot, b"n".to_vec())]),
            special: vec![
                special(boot, Some(&[Machine::X64Uefi]), None, b"x"),
                special(other, None, Some(true), b"t"),
            ],
        };
        let ipxe = special(boot, None, Some(true), b"i");
        network.extend(OptionList { special: vec![ipxe.clone()], ..OptionList::default() });
        let left = special(boot, Some(&[Machine::X64Uefi]), Some(false), b"x");
        assert_eq!(network.special, [left, special(other, None, Some(true), b"t"), ipxe]);
        network.extend(OptionList { plain: Options::from([(boot, b"s".to_vec())]), ..OptionList::default() });
        assert_eq!(network.special, [special(other, None, Some(true), b"t")]);
        assert_eq!(network.plain[&boot], b"s");
    }
}
