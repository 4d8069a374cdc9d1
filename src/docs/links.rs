//! Every link of a page leads somewhere, and every page of the book can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::markdown::{Page, book, is_page, pages};
use super::{assert_none, root};

const CONTENTS: &str = "docs/SUMMARY.md";
/// What `hack/book.sh` puts beside the book.
const BESIDE: [&str; 2] = ["examples/", "deploy/"];

/// `from`'s link to `to` as a path from the top of the repository; `None`: it leads out of it.
fn resolved(from: &str, to: &str) -> Option<String> {
    let mut path = PathBuf::from(from);
    path.pop();
    for component in Path::new(to).components() {
        match component {
            Component::ParentDir => path.pop().then_some(())?,
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path.to_str().map(str::to_owned)
}

/// What is wrong with a link.
fn fault(page: &Page, link: &str, anchors: &BTreeMap<String, Vec<String>>) -> Option<&'static str> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { page.name.clone() } else { resolved(&page.name, file)? };
    if !root().join(&target).exists() {
        return Some("there is no such file");
    }
    if page.in_the_book() && !target.starts_with("docs/") {
        // mdBook makes `.html` of `.md`, and a web server need not list a directory.
        let shown = BESIDE.iter().any(|beside| target.starts_with(beside));
        let file = root().join(&target).is_file() && !is_page(&target);
        return (!shown || !file).then_some("the book does not have it: name a file of examples/ or deploy/");
    }
    let known = anchor.is_none_or(|a| anchors.get(&target).is_some_and(|known| known.iter().any(|k| k == a)));
    (!known).then_some("the page has no such heading")
}

#[test]
fn every_link_leads_somewhere() {
    let anchors = pages().iter().map(|page| (page.name.clone(), page.anchors())).collect();
    let mut wrong = Vec::new();
    for page in pages() {
        for (line, link) in page.links().into_iter().filter(|(_, link)| !link.contains("://")) {
            let fault = fault(&page, &link, &anchors);
            wrong.extend(fault.map(|fault| format!("{}:{line}: {link}: {fault}", page.name)));
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let anchors = BTreeMap::from([("docs/cluster.md".to_owned(), vec!["install".to_owned()])]);
    let fault = |link: &str| fault(&Page::read("docs/cluster.md"), link, &anchors).is_some();
    assert!(!fault("#install") && !fault("options.md") && !fault("../examples/lan/ports.yaml"));
    assert!(fault("#no") && fault("no.md") && fault("../README.md") && fault("../examples/lan"));
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let links: Vec<_> = Page::read(CONTENTS).links().into_iter().map(|(_, link)| link).collect();
    let listed: BTreeSet<_> = links.iter().map(|link| format!("docs/{link}")).collect();
    assert_eq!(links.len(), listed.len(), "{CONTENTS} names a page twice");
    let there: BTreeSet<_> = book().into_iter().map(|page| page.name).filter(|n| n != CONTENTS).collect();
    assert_eq!(listed, there);
}

#[test]
fn the_book_has_what_its_pages_link_to() {
    let script = std::fs::read_to_string(root().join("hack/book.sh")).unwrap();
    let copies = script.lines().find(|line| line.starts_with("cp ")).unwrap();
    assert!(BESIDE.iter().all(|beside| copies.contains(beside.trim_end_matches('/'))), "{copies}");
}
