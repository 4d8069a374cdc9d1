//! What a page is made of, as far as checks need to know: lines of text, headings, links, blocks.
//!
//! Of Markdown it knows what our pages use, not more.

use std::collections::HashMap;
use std::path::Path;

use super::root;

/// A page.
pub(super) struct Page {
    /// Where it is, from the top of the repository.
    pub(super) name: String,
    text: String,
}

/// What stands between two fences.
pub(super) struct Block {
    /// The line of the first fence.
    pub(super) line: usize,
    /// What the first fence says: the language, and for some where the text belongs.
    pub(super) info: String,
    /// The text.
    pub(super) text: String,
}

/// All pages that somebody reads.
pub(super) fn pages() -> Vec<Page> {
    let mut pages: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(Page::read).into();
    pages.extend(book());
    pages.extend(below("examples"));
    pages
}

/// The pages of the book, its table of contents among them.
pub(super) fn book() -> Vec<Page> {
    below("docs")
}

fn below(directory: &str) -> Vec<Page> {
    let entries = std::fs::read_dir(root().join(directory)).unwrap().map(Result::unwrap);
    let mut pages = Vec::new();
    for entry in entries {
        let name = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            pages.extend(below(&name));
        } else if is_page(&name) {
            pages.push(Page::read(&name));
        }
    }
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

/// Whether that is the name of a page.
pub(super) fn is_page(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "md")
}

impl Page {
    /// Reads it.
    pub(super) fn read(name: &str) -> Self {
        Self { name: name.to_owned(), text: std::fs::read_to_string(root().join(name)).unwrap() }
    }

    fn of(text: &str) -> Self {
        Self { name: "docs/x.md".to_owned(), text: text.to_owned() }
    }

    /// Whether it is in the book.
    pub(super) fn in_the_book(&self) -> bool {
        self.name.starts_with("docs/")
    }

    /// Its lines outside of blocks, each with its number.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut inside = false;
        self.text.lines().enumerate().filter_map(move |(n, line)| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            (!fence && !inside).then_some((n + 1, line))
        })
    }

    /// Its blocks.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open) = (Vec::new(), None::<(Block, usize)>);
        for (n, line) in self.text.lines().enumerate() {
            let stripped = line.trim_start();
            let fence = stripped.strip_prefix("```");
            open = match (open, fence) {
                (None, None) => None,
                (None, Some(info)) => {
                    let block = Block { line: n + 1, info: info.trim().to_owned(), text: String::new() };
                    Some((block, line.len() - stripped.len()))
                }
                (Some((block, _)), Some(_)) => {
                    blocks.push(block);
                    None
                }
                (Some((mut block, indent)), None) => {
                    block.text.push_str(line.get(indent..).unwrap_or_default());
                    block.text.push('\n');
                    Some((block, indent))
                }
            };
        }
        assert!(open.is_none(), "{}: a block has no end", self.name);
        blocks
    }

    /// What a link may name after `#`, as GitHub and mdBook both make it of the headings.
    pub(super) fn anchors(&self) -> Vec<String> {
        let mut times = HashMap::new();
        let headings = self.lines().filter(|(_, line)| line.starts_with('#'));
        let anchor = |(_, line): (usize, &str)| {
            let anchor = anchor(line.trim_start_matches('#').trim());
            let seen = times.entry(anchor.clone()).or_insert(0);
            *seen += 1;
            if *seen == 1 { anchor } else { format!("{anchor}-{}", *seen - 1) }
        };
        headings.map(anchor).collect()
    }

    /// Where its links lead, each with its line.
    pub(super) fn links(&self) -> Vec<(usize, String)> {
        let of = |(n, line): (usize, &str)| {
            let text = without_code(line);
            let targets: Vec<_> = text
                .split("](")
                .skip(1)
                .filter_map(|rest| Some((n, rest.split_once(')')?.0.to_owned())))
                .collect();
            targets
        };
        self.lines().flat_map(of).collect()
    }
}

fn anchor(heading: &str) -> String {
    let keep = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || "-_".contains(c) => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.chars().filter_map(keep).collect()
}

/// Without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

#[test]
fn a_page_is_taken_apart() {
    let page = Page::of(
        "# A `b`, c\n[x](y.md#z) and `[no](code)` [v](w)\n```yaml Network\nkind: x\n# [no](text)\n```\n- x:\n\n  ```\n  $ y\n  ```\n# A b c\n",
    );
    assert_eq!(page.anchors(), ["a-b-c", "a-b-c-1"]);
    assert_eq!(page.links(), [(2, "y.md#z".to_owned()), (2, "w".to_owned())]);
    let blocks: Vec<_> = page.blocks().into_iter().map(|b| (b.line, b.info, b.text)).collect();
    let wanted = [(3, "yaml Network", "kind: x\n# [no](text)\n"), (9, "", "$ y\n")];
    assert_eq!(blocks, wanted.map(|(line, info, text)| (line, info.to_owned(), text.to_owned())));
}
