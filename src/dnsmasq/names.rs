//! The files of the names' directory, in the form of hosts(5).
//!
//! Called by `host` (writing, observing). For each line of a file that changed dnsmasq 2.90 goes through all
//! names that it has, and answers nobody meanwhile: a thousand ports in one file cost it 40 ms whichever of
//! them changed, ten thousand 4 s. So that few lines are read again, many names are in many files. Pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::IpAddr;

use crate::types::DomainName;

/// Of a network, by address; the first is the one of reverse look-ups.
pub type Names = BTreeMap<IpAddr, Vec<DomainName>>;

/// The files of a directory, by name.
type Files = BTreeMap<String, String>;

/// So many addresses are in one file: all of its lines are read in less than 2 ms.
const FEW: usize = 128;
/// It is always there.
const FIRST: &str = "names";
/// Where there are more they are in at most so many others. Each costs a start a file to open, and a look at all
/// before it.
const MORE: u32 = 2_048;

/// The files that hold `names` where these are `there`. What is in two files dnsmasq loses when one of them
/// goes, so all of an address is in one, and in that one for as long as it has names.
pub fn name_files(names: &Names, there: &Files) -> Files {
    let mut places: BTreeMap<IpAddr, String> = BTreeMap::new();
    for (file, text) in there.iter().filter(|(file, _)| is_ours(file)) {
        for ip in text.lines().filter_map(address).filter(|ip| names.contains_key(ip)) {
            places.entry(ip).or_insert_with(|| file.clone());
        }
    }
    let are_few = names.len() <= FEW;
    let mut files = Files::from([(FIRST.to_owned(), String::new())]);
    for (ip, names) in names {
        let new = || if are_few { FIRST.to_owned() } else { another(*ip) };
        let place = places.remove(ip).unwrap_or_else(new);
        let text = files.entry(place).or_default();
        for name in names {
            // A name a line: of several in a line the second sometimes answers reverse look-ups as well.
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{ip} {name}");
        }
    }
    files
}

fn is_ours(file: &str) -> bool {
    let number = file.strip_prefix(FIRST).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
    file == FIRST || number.is_some_and(|number| number < MORE && file == numbered(number))
}

fn numbered(number: u32) -> String {
    format!("{FIRST}-{number:03}")
}

/// By FNV-1a: neighbours are in different ones.
fn another(ip: IpAddr) -> String {
    let mix = |hash: u32, octet: &u8| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
    let hash = match ip {
        IpAddr::V4(ip) => ip.octets().iter().fold(0x811c_9dc5, mix),
        IpAddr::V6(ip) => ip.octets().iter().fold(0x811c_9dc5, mix),
    };
    numbered(hash % MORE)
}

fn address(line: &str) -> Option<IpAddr> {
    line.split_once(' ')?.0.parse().ok()
}

/// The names in such files; `None` if they are not as [`name_files`] makes them.
pub fn read_names(files: &Files) -> Option<Names> {
    let (mut names, mut places) = (HashMap::new(), HashMap::new());
    files.get(FIRST)?;
    for (file, text) in files {
        if !is_ours(file) {
            return None;
        }
        for line in text.lines() {
            let (ip, name) = line.split_once(' ')?;
            let ip = ip.parse().ok()?;
            if *places.entry(ip).or_insert(file) != file {
                return None;
            }
            names.entry(ip).or_insert_with(Vec::new).push(name.parse().ok()?);
        }
    }
    Some(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(numbers: std::ops::Range<u16>) -> Names {
        let one = |n: u16| ([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]].into(), format!("vm{n}"));
        numbers.map(one).map(|(ip, name)| (ip, vec![name.parse().unwrap()])).collect()
    }

    fn changed(before: &Files, after: &Files) -> usize {
        after.iter().filter(|(name, text)| before.get(*name) != Some(text)).count()
    }

    #[test]
    fn few_are_in_one_file_and_one_of_many_more_changes_a_small_one() {
        let none = name_files(&Names::new(), &Files::new());
        assert_eq!(none, Files::from([("names".into(), String::new())]));
        assert_eq!(name_files(&names(0..128), &none).len(), 1);
        let most = name_files(&names(0..2_000), &none);
        assert!(most.len() > 1_000, "{}", most.len());
        assert!(most.values().all(|text| text.lines().count() <= 16), "{most:?}");
        for range in [0..2_001, 1..2_000, 0..1_999] {
            let next = name_files(&names(range), &most);
            assert_eq!(changed(&most, &next), 1);
        }
    }

    #[test]
    fn nothing_moves_to_another_file() {
        let few = name_files(&names(0..100), &Files::new());
        let many = name_files(&names(0..300), &few);
        assert_eq!(many["names"], few["names"]);
        let others = name_files(&names(50..300), &many);
        assert_eq!(changed(&many, &others), 1, "fifty less in the first");
        assert_eq!(name_files(&names(50..350), &others)["names"], others["names"], "it is read no more");
    }

    #[test]
    fn files_that_are_not_as_they_were_written_are_nobodys_and_are_mended() {
        let whole = name_files(&names(0..200), &name_files(&names(0..100), &Files::new()));
        assert_eq!(read_names(&whole), Some(names(0..200)));
        let with = |file: &str, text: &str| {
            let mut files = whole.clone();
            files.insert(file.to_owned(), text.to_owned());
            files
        };
        let twice = whole["names"].clone();
        let bad = [
            with("names-9999", "10.9.0.1 a\n"),
            with("stranger", "10.9.0.1 a\n"),
            with("names-7", "10.9.0.1 a\n"),
            with("names-007", &twice),
            with("names", "10.0.0.1\n"),
            Files::new(),
        ];
        for files in bad {
            assert_eq!(read_names(&files), None, "{files:?}");
            let mended = name_files(&names(0..200), &files);
            assert_eq!(read_names(&mended), Some(names(0..200)), "{files:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn names_come_back_as_they_were_written(all in proptest::collection::vec(
            proptest::collection::btree_map(any::<[u8; 2]>(), proptest::collection::vec("[a-z0-9]{1,9}(\\.[a-z]{1,5}){0,2}", 1..4), 0..300), 1..4)
        ) {
            let mut files = Files::new();
            for names in all {
                let names: Names = names.into_iter().map(|([a, b], names)| {
                    ([10, 0, a, b].into(), names.iter().map(|name| name.parse().unwrap()).collect())
                }).collect();
                files = name_files(&names, &files);
                let lines = files.values().map(|text| text.lines().count()).sum::<usize>();
                prop_assert_eq!(lines, names.values().map(Vec::len).sum::<usize>());
                prop_assert_eq!(read_names(&files), Some(names.clone()));
                prop_assert_eq!(&name_files(&names, &files), &files);
            }
        }
    }
}
