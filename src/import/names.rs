//! Names for objects: those that they had where that is possible, else with a piece of their id.
//!
//! Depends on ids and names only, not on their order. Pure.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::plain::cut;
use crate::source::metadata::is_dns_name;

const MOST: usize = 63;

/// A name of its own for each of these ids and names. All that would have the same get their ids.
pub(super) fn names(objects: &[(Uuid, &str)], kind: &str) -> Vec<String> {
    let first = |(_, name): &(Uuid, &str)| if is_label(name) { Form::AsItIs } else { Form::ShortId };
    let mut forms: Vec<Form> = objects.iter().map(first).collect();
    loop {
        let make = |((id, name), form): (&(Uuid, &str), &Form)| form.make(*id, name, kind);
        let names: Vec<String> = objects.iter().zip(&forms).map(make).collect();
        let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &names {
            *holders.entry(name).or_default() += 1;
        }
        let mut settled = true;
        for (name, form) in names.iter().zip(&mut forms) {
            if holders.get(name.as_str()).is_some_and(|count| *count > 1) && *form != Form::WholeId {
                *form = form.longer();
                settled = false;
            }
        }
        if settled {
            return names;
        }
    }
}

/// Neutron's ids are UUIDs; any other stands for one.
pub(super) fn uuid(id: &str) -> Uuid {
    let uuid = id.parse().ok().filter(|uuid: &Uuid| uuid.to_string() == id);
    uuid.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()))
}

/// A physical network's name as a label; the same for the same one, and for no other.
pub(super) fn physical_network(name: &str) -> String {
    if is_label(name) {
        return name.to_owned();
    }
    Form::ShortId.make(uuid(name), name, "physnet")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    AsItIs,
    ShortId,
    WholeId,
}

impl Form {
    fn longer(self) -> Self {
        if self == Self::AsItIs { Self::ShortId } else { Self::WholeId }
    }

    fn make(self, id: Uuid, name: &str, kind: &str) -> String {
        let id = id.to_string();
        let id = match self {
            Self::AsItIs => return name.to_owned(),
            Self::ShortId => &id[..8],
            Self::WholeId => &id,
        };
        let slug = slug(name, MOST - 1 - id.len());
        format!("{}-{id}", if slug.is_empty() { kind } else { &slug })
    }
}

/// An RFC 1123 label.
pub(super) fn is_label(text: &str) -> bool {
    is_dns_name(text, MOST, false)
}

/// What of a text can be in a label.
fn slug(text: &str, most: usize) -> String {
    let mut slug = String::new();
    for c in text.chars().take(4 * MOST) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    cut(&slug, most).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n << 96 | n)
    }

    #[test]
    fn a_good_name_is_kept_and_others_get_a_piece_of_the_id() {
        let objects = [(id(1), "lan"), (id(2), ""), (id(3), "Web\nServer ü"), (id(4), "x.y")];
        let names = names(&objects, "port");
        assert_eq!(names, ["lan", "port-00000002", "web-server-00000003", "x-y-00000004"]);
    }

    #[test]
    fn whoever_shares_a_name_gets_the_id_whatever_the_order() {
        let taken = "lan-00000001";
        let mut objects = [(id(1), "lan"), (id(2), "lan"), (id(3), taken)];
        let forth = names(&objects, "network");
        assert_eq!(forth[1], "lan-00000002");
        assert_eq!(forth[0], "lan-00000001-0000-0000-0000-000000000001");
        assert_eq!(forth[2], "lan-00000001-00000003");
        objects.reverse();
        let mut back = names(&objects, "network");
        back.reverse();
        assert_eq!(forth, back);
    }

    #[test]
    fn other_physical_networks_have_other_names() {
        assert_eq!(physical_network("datacentre"), "datacentre");
        assert_ne!(physical_network("a_b"), physical_network("a.b"));
        assert!(is_label(&physical_network("")) && is_label(&physical_network(&"Ä_".repeat(99))));
    }

    proptest! {
        #[test]
        fn names_are_labels_and_differ(texts in proptest::collection::vec("(a{0,2}|.{0,80}|[a-c-]{1,70})", 0..12)) {
            let objects: Vec<_> = texts.iter().enumerate().map(|(i, text)| (id(i as u128), text.as_str())).collect();
            let mut names = names(&objects, "port");
            prop_assert!(names.iter().all(|name| is_label(name)), "{names:?}");
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), objects.len());
        }
    }
}
