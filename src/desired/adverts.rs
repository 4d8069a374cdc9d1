//! What router advertisements of a network's servers say beside the prefixes.
//!
//! Called by `desired`. dnsmasq sends one for all advertised subnets, and every guest that hears it makes
//! itself addresses in all of them: so it has what is told in any of them.

use super::network::Admitted;
use super::options6::{DNS_SERVERS, DOMAIN_SEARCH};
use crate::service::{Advertisement, Options, Scope};

/// The bytes that a list has room for.
const ROOM: usize = 255;

/// `None`: no subnet is advertised.
pub(super) fn advertisement(network: &Admitted, scopes: &[Scope]) -> Option<Advertisement> {
    let advertised: Vec<_> = scopes.iter().filter(|scope| scope.advertised).collect();
    let list = |code, first: fn(&[u8]) -> usize| {
        let all: Vec<_> = advertised.iter().filter_map(|scope| scope.options.plain.get(&code)).collect();
        union(&all, first)
    };
    let servers = (DNS_SERVERS, list(DNS_SERVERS, |_| 16));
    let search = (DOMAIN_SEARCH, list(DOMAIN_SEARCH, first_name));
    // Without servers dnsmasq would tell its own address; without names it tells none.
    let options: Options = [servers, search]
        .into_iter()
        .filter(|(code, list)| *code != DOMAIN_SEARCH || !list.is_empty())
        .collect();
    (!advertised.is_empty()).then_some(Advertisement { mtu: network.mtu, options })
}

/// Each item once, in the order of the lists, as far as there is room. `first` is the length of a list's
/// first item.
fn union(lists: &[&Vec<u8>], first: fn(&[u8]) -> usize) -> Vec<u8> {
    let mut items: Vec<&[u8]> = Vec::new();
    for list in lists {
        let mut rest = list.as_slice();
        while !rest.is_empty() {
            let (item, others) = rest.split_at(first(rest).min(rest.len()));
            let room = items.iter().map(|item| item.len()).sum::<usize>() + item.len() <= ROOM;
            if room && !items.contains(&item) {
                items.push(item);
            }
            rest = others;
        }
    }
    items.concat()
}

/// With the root's empty label (RFC 1035 §3.1).
fn first_name(names: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = names.get(at) {
        at += 1 + usize::from(*length);
        if *length == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_union_has_each_item_once_and_no_more_than_there_is_room_for() {
        let (a, b) = (b"\x01a\x04test\0".to_vec(), b"\x01b\0\x01a\x04test\0".to_vec());
        assert_eq!(union(&[&a, &b], first_name), b"\x01a\x04test\0\x01b\0");
        assert_eq!(union(&[], first_name), b"");
        let many: Vec<u8> = (0..=u8::MAX).flat_map(|n| [n; 16]).collect();
        assert_eq!(union(&[&many], |_| 16), many[..15 * 16]);
        // What is no list of names ends all the same.
        assert_eq!(union(&[&vec![9, 1]], first_name), [9, 1]);
    }
}
