//! The docs' table of what Neutron does: each row has its word, and the tests that it names are there.

use std::collections::BTreeMap;
use std::path::Path;

const WORDS: [&str; 4] = ["Done", "Otherwise", "Not wanted", "Not yet"];

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// Its number, what Neutron does, the word, and how.
fn rows() -> Vec<[String; 4]> {
    let text = read("docs/neutron-coverage.md").unwrap();
    let is_row = |line: &&str| {
        let number = line.strip_prefix("| ").and_then(|rest| rest.split_once(" |")).map_or("", |row| row.0);
        let digits = number.strip_prefix(|c: char| c.is_ascii_uppercase());
        digits.is_some_and(|digits| digits.parse::<u8>().is_ok())
    };
    let cells = |line: &str| -> [String; 4] {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("not four: {cells:?}"))
    };
    text.lines().filter(is_row).map(cells).collect()
}

/// Program and path of each test that a cell names: nothing else in such quotes has `::` and a blank.
fn named(cell: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let parts = quoted.filter(|quoted| quoted.contains("::")).filter_map(|quoted| quoted.split_once(' '));
    parts.map(|(target, path)| (target, path.split("::").collect()))
}

/// Where a module of the library or of a program in `tests/` may be.
fn files(target: &str, modules: &[&str]) -> Vec<String> {
    let root = if target == "lib" { "src".to_owned() } else { format!("tests/{target}") };
    let of = |modules: &[&str]| {
        let path = [&[root.as_str()], modules].concat().join("/");
        [format!("{path}.rs"), format!("{path}/mod.rs")]
    };
    let own = of(modules).into_iter();
    // At the foot of the file that they are of.
    let foot = modules.split_last().filter(|(last, _)| **last == "tests").map(|(_, file)| of(file));
    own.chain(foot.into_iter().flatten()).collect()
}

fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let is_it = |line: &&str| {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        function.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    let Some(at) = lines.iter().position(is_it) else { return false };
    let is_of_it = |line: &&&str| line.starts_with("#[") || line.starts_with("//");
    let mut above = lines[..at].iter().rev().take_while(is_of_it);
    above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

fn is_there(target: &str, path: &[&str]) -> bool {
    let Some((name, modules)) = path.split_last() else { return false };
    let mut texts = files(target, modules).into_iter().filter_map(|file| read(&file));
    texts.any(|text| has_test(&text, name))
}

#[test]
fn each_row_of_neutrons_has_its_word() {
    let mut sections: BTreeMap<char, u8> = BTreeMap::new();
    for [number, does, word, how] in rows() {
        let (section, n) = number.split_at(1);
        let last = sections.entry(section.parse().unwrap()).or_default();
        *last += 1;
        assert_eq!(n.parse::<u8>(), Ok(*last), "{number} is out of order");
        assert!(!does.is_empty() && WORDS.contains(&word.as_str()), "{number}: {word:?}");
        assert!(word == "Not yet" || !how.is_empty(), "{number} does not say how");
        assert!(word != "Done" || named(&how).next().is_some(), "{number} names no test");
    }
    let rows: u32 = sections.range('A'..='U').map(|(_, rows)| u32::from(*rows)).sum();
    assert_eq!(rows, 196);
}

#[test]
fn each_test_that_stands_in_the_table_is_there() {
    let rows = rows();
    let named: Vec<_> =
        rows.iter().flat_map(|[number, .., how]| named(how).map(move |n| (number, n))).collect();
    assert!(named.len() > 300, "{}", named.len());
    let missing: Vec<_> = named.iter().filter(|(_, (target, path))| !is_there(target, path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
