//! Addresses of either family: ranges, which are nobody's, how they are spelled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses of one family from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IpRange {
    /// Lowest address.
    pub first: IpAddr,
    /// Highest address.
    pub last: IpAddr,
}

impl IpRange {
    /// All addresses of a prefix.
    pub fn of(net: IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }

    /// Whether `ip` lies in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.first <= ip && ip <= self.last
    }

    /// What is left of it before and after `other`.
    pub fn without(self, other: &Self) -> impl Iterator<Item = Self> {
        let before = previous_address(other.first).map(|end| (self.first, self.last.min(end)));
        let after = next_address(other.last).map(|start| (self.first.max(start), self.last));
        let left = if self.first <= other.last && other.first <= self.last {
            [before, after]
        } else {
            [Some((self.first, self.last)), None]
        };
        left.into_iter()
            .flatten()
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| Self { first, last })
    }

    /// How many addresses; `u128::MAX` for all there are of IPv6.
    pub fn len(&self) -> u128 {
        bits(self.last).saturating_sub(bits(self.first)).saturating_add(1)
    }

    /// Never: a range holds at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

fn previous_address(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => Some(Ipv4Addr::from(u32::from(ip).checked_sub(1)?).into()),
        IpAddr::V6(ip) => Some(Ipv6Addr::from(u128::from(ip).checked_sub(1)?).into()),
    }
}

/// The address after `ip`.
pub fn next_address(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => Some(Ipv4Addr::from(u32::from(ip).checked_add(1)?).into()),
        IpAddr::V6(ip) => Some(Ipv6Addr::from(u128::from(ip).checked_add(1)?).into()),
    }
}

/// Whether no guest can have this address of a prefix: the network's and the broadcast address of IPv4
/// (RFC 3021 for /31), the anycast address of the routers of IPv6 (RFC 4291 §2.6.1, RFC 6164 for /127).
pub fn is_reserved(net: IpNet, ip: IpAddr) -> bool {
    let small = net.prefix_len() + 1 >= net.max_prefix_len();
    !small && (ip == net.network() || (ip.is_ipv4() && ip == net.broadcast()))
}

/// Whether two texts are one address: of IPv6 there is more than one spelling.
pub fn is_same(a: &str, b: &str) -> bool {
    a == b || a.parse::<IpAddr>().is_ok_and(|a| b.parse() == Ok(a))
}

/// An IPv6 address with all its digits: a part of a name, where `::` could be at an end.
pub fn spelled_out(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|segment| format!("{segment:04x}")).join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_addresses_of_a_prefix_are_nobodys() {
        let reserved = |net: &str, ip: &str| is_reserved(net.parse().unwrap(), ip.parse().unwrap());
        assert!(reserved("10.0.0.0/24", "10.0.0.0") && reserved("10.0.0.0/24", "10.0.0.255"));
        assert!(!reserved("10.0.0.0/31", "10.0.0.0") && !reserved("2001:db8::/127", "2001:db8::"));
        assert!(reserved("2001:db8::/64", "2001:db8::"));
        assert!(!reserved("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff"));
    }

    #[test]
    fn a_range_may_hold_all_there_is() {
        let range = |net: &str| IpRange::of(net.parse().unwrap()).len();
        assert_eq!((range("0.0.0.0/0"), range("::/0"), range("::/64")), (1 << 32, u128::MAX, 1 << 64));
        assert_eq!(next_address("255.255.255.255".parse().unwrap()), None);
    }

    #[test]
    fn an_ipv6_address_has_many_spellings_and_one_name() {
        let ip: IpAddr = "2001:db8::".parse().unwrap();
        assert_eq!(spelled_out(ip), "2001:0db8:0000:0000:0000:0000:0000:0000");
        assert!(is_same(&spelled_out(ip), "2001:db8::") && !is_same("2001:db8::", "2001:db8::1"));
        assert!(is_same("10.0.0.1", &spelled_out([10, 0, 0, 1].into())) && !is_same("x", "y"));
    }

    #[test]
    fn a_range_without_another_is_what_is_before_and_after() {
        let range =
            |first: u8, last: u8| IpRange { first: [10, 0, 0, first].into(), last: [10, 0, 0, last].into() };
        let without = |a: IpRange, b: IpRange| a.without(&b).collect::<Vec<_>>();
        assert_eq!(without(range(1, 9), range(3, 5)), [range(1, 2), range(6, 9)]);
        assert_eq!(without(range(1, 9), range(0, 5)), [range(6, 9)]);
        assert_eq!(without(range(1, 9), range(5, 20)), [range(1, 4)]);
        assert_eq!(without(range(1, 9), range(0, 20)), []);
        assert_eq!(without(range(1, 9), range(10, 20)), [range(1, 9)]);
        let all = IpRange { first: [0; 4].into(), last: [255; 4].into() };
        assert_eq!(without(all, all), []);
    }
}
