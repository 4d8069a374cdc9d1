//! The filter before a network's DHCPv6 server, which also advertises: a table with the set of those who
//! may speak to it, and the rules (see `rules`) that drop what others say.
//!
//! Called by `linux` and `observe`. Each change is one transaction: guests that stay are never without
//! an answer.

use std::collections::BTreeSet;

use super::Level;
use super::rules::wanted_rules;
use super::table::{Chain, Priority, Set, Table};
use crate::host::Error;
use crate::node::Family;
use crate::types::MacAddr;

const SET: &str = "known";

/// Who may speak to the server; `None`: there is no filter, or not all of it.
pub(in crate::host) fn look() -> Result<Option<BTreeSet<MacAddr>>, Error> {
    Ok(filter().look("ip6")?.map(|keys| keys.values().flatten().filter_map(|(key, _)| mac(key)).collect()))
}

/// One that no guest can have keeps nobody in or out.
fn mac(key: &[u8]) -> Option<MacAddr> {
    MacAddr::new(key.try_into().ok()?)
}

/// Changes who may speak to the server; `whole`: puts the filter there, in the place of what there is.
pub(in crate::host) fn admit(
    whole: bool,
    add: &BTreeSet<MacAddr>,
    remove: &BTreeSet<MacAddr>,
) -> Result<(), Error> {
    let filter = filter();
    let mut changes = if whole { filter.put() } else { Vec::new() };
    changes.extend(filter.add(SET, keys(add)));
    // What is not there cannot be removed, and nobody is in between.
    changes.extend(filter.add(SET, keys(remove)));
    changes.extend(filter.remove(SET, keys(remove)));
    filter.commit(&changes)
}

/// Removes the filter, if it is there.
pub(in crate::host) fn open() -> Result<(), Error> {
    let filter = filter();
    filter.commit(&filter.gone())
}

fn filter() -> Table {
    const ETHER: u32 = 9;
    const LOCAL_IN: u32 = 1;
    Table {
        level: Level::Ip(Family::V6),
        name: "kube-dhcp",
        sets: vec![Set { name: SET, key_type: ETHER, key_length: 6, data: None }],
        chains: vec![Chain::of_family("input", LOCAL_IN, Priority::Filter, wanted_rules(SET))],
    }
}

fn keys(macs: &BTreeSet<MacAddr>) -> impl Iterator<Item = Vec<u8>> {
    macs.iter().map(|mac| mac.octets().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::{ACK, messages};
    use crate::host::nft::table::{self, BATCH_BEGIN, BATCH_END};
    use crate::host::nft::{SUBSYSTEM, attributes};

    fn guests(count: u16) -> BTreeSet<MacAddr> {
        (0..count).map(|n| MacAddr::local([0, 0, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]])).collect()
    }

    #[test]
    fn however_many_come_no_message_is_too_long_and_none_of_them_is_lost() {
        let all = guests(10_000);
        let batch = filter().batch(&filter().add(SET, keys(&all)));
        let mut found = BTreeSet::new();
        for (_, body) in messages(&batch).filter(|(kind, _)| kind.to_be_bytes()[0] == SUBSYSTEM) {
            assert!(body.len() < usize::from(u16::MAX));
            found.extend(table::keys(attributes(body)).iter().filter_map(|(key, _)| mac(key)));
        }
        assert_eq!(found, all);
    }

    #[test]
    fn a_batch_is_between_its_borders_and_one_answer_ends_it() {
        let batch = filter().batch(&filter().put());
        let kinds: Vec<_> = messages(&batch).map(|(kind, _)| kind).collect();
        assert_eq!((kinds[0], *kinds.last().unwrap(), kinds.len()), (BATCH_BEGIN, BATCH_END, 11));
        let flags = |at: usize| u16::from_ne_bytes([batch[at + 6], batch[at + 7]]);
        let mut at = 0;
        let mut acks = 0;
        while at < batch.len() {
            acks += usize::from(flags(at) & ACK > 0);
            at += u32::from_ne_bytes(batch[at..at + 4].try_into().unwrap()) as usize;
        }
        assert_eq!(acks, 1);
    }
}
